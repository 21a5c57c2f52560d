use std::time::Duration;

use bytes::Bytes;
use mesos_v1::executor::{Call, Event, call, event};
use mesos_v1::v1::{TaskId, TaskInfo, TaskState, TaskStatus, task_status};
use mesos_v1::{
    CallError, ExecutorEnvironment, ExecutorEvent, ExecutorHandle, ExecutorSession,
};
use tokio::sync::mpsc::Receiver;

use crate::stand_in::{StandIn, Stream, within};

struct Session {
    handle: ExecutorHandle,
    events: Receiver<ExecutorEvent>,
}

impl Session {
    fn start(agent: &StandIn, recovery_timeout: &str) -> Self {
        let environment = ExecutorEnvironment::read(|name| {
            let value = match name {
                "MESOS_SLAVE_PID" => format!("slave(1)@{}", agent.address),
                "MESOS_FRAMEWORK_ID" => "F1".to_owned(),
                "MESOS_EXECUTOR_ID" => "E1".to_owned(),
                "MESOS_CHECKPOINT" => "1".to_owned(),
                "MESOS_RECOVERY_TIMEOUT" => recovery_timeout.to_owned(),
                "MESOS_EXECUTOR_AUTHENTICATION_TOKEN" => "t0ken".to_owned(),
                _ => return None,
            };
            Some(value)
        });
        let (handle, events) =
            ExecutorSession::start(environment.unwrap(), None).unwrap();
        Self { handle, events }
    }

    async fn hear(&mut self) -> ExecutorEvent {
        within("an executor event", self.events.recv())
            .await
            .expect("the session is over")
    }
}

async fn subscribe(agent: &mut StandIn) -> (Stream, call::Subscribe) {
    let request = agent.request().await;
    let call: Call = request.decode();
    assert_eq!(call.r#type(), call::Type::Subscribe);
    assert_eq!(request.path, "/slave(1)/api/v1/executor");
    assert_eq!(request.header("authorization"), "Bearer t0ken");
    assert_eq!(
        (&*call.framework_id.value, &*call.executor_id.value),
        ("F1", "E1")
    );
    let mut stream = request.open_stream("").await;
    stream
        .send(&Event {
            subscribed: Some(event::Subscribed::default()),
            ..event_of(event::Type::Subscribed)
        })
        .await;
    (stream, call.subscribe.unwrap())
}

fn event_of(kind: event::Type) -> Event {
    Event {
        r#type: Some(kind.into()),
        ..Event::default()
    }
}

fn task_id() -> TaskId {
    TaskId {
        value: "t".to_owned(),
    }
}

fn status(state: TaskState) -> TaskStatus {
    TaskStatus {
        task_id: task_id(),
        state: state.into(),
        ..TaskStatus::default()
    }
}

fn acknowledged(uuid: Bytes) -> Event {
    let acknowledged = event::Acknowledged {
        task_id: task_id(),
        uuid,
    };
    Event {
        acknowledged: Some(acknowledged),
        ..event_of(event::Type::Acknowledged)
    }
}

#[tokio::test]
async fn an_executor_outlives_its_agents_restart() {
    let mut agent = StandIn::start().await;
    let mut session = Session::start(&agent, "15mins");
    let (mut stream, first) = subscribe(&mut agent).await;
    assert_eq!(first, call::Subscribe::default());
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Subscribed { .. }
    ));

    let task = TaskInfo {
        task_id: task_id(),
        ..TaskInfo::default()
    };
    let launch = Some(event::Launch { task: task.clone() });
    stream
        .send(&Event {
            launch,
            ..event_of(event::Type::Launch)
        })
        .await;
    assert_eq!(
        session.hear().await,
        ExecutorEvent::Launch(Box::new(task.clone()))
    );

    let running = session
        .handle
        .update(status(TaskState::TaskRunning))
        .unwrap();
    let request = agent.request().await;
    let sent = request.decode::<Call>().update.unwrap().status;
    assert_eq!(sent.uuid.as_ref(), Some(&running));
    assert_eq!(running.len(), 16);
    assert_eq!(sent.source(), task_status::Source::Executor);
    assert_eq!(sent.executor_id.as_ref().unwrap().value, "E1");
    assert!(sent.timestamp.unwrap() > 1.7e9);
    request.answer(202, "", b"").await;

    // The agent dies with the update.
    drop(stream);
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Disconnected { .. }
    ));
    let failed = session
        .handle
        .update(status(TaskState::TaskFailed))
        .unwrap();
    agent
        .request()
        .await
        .answer(503, "", b"Agent has not finished recovery")
        .await;
    let why = "status 503: Agent has not finished recovery".to_owned();
    assert_eq!(session.hear().await, ExecutorEvent::Waiting { why });
    let (mut stream, again) = subscribe(&mut agent).await;
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Subscribed { .. }
    ));
    assert_eq!(again.unacknowledged_tasks, [task]);
    let uuids: Vec<_> = again
        .unacknowledged_updates
        .into_iter()
        .filter_map(|update| update.status.uuid)
        .collect();
    assert_eq!(uuids, [running.clone(), failed.clone()]);

    let handle = session.handle.clone();
    let settled = tokio::spawn(async move { handle.updates_settled().await });
    stream.send(&acknowledged(running)).await;
    session.hear().await;
    assert!(!settled.is_finished());
    stream.send(&acknowledged(failed)).await;
    assert_eq!(within("the updates", settled).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn messages_pass_while_subscribed() {
    let mut agent = StandIn::start().await;
    let mut session = Session::start(&agent, "15mins");
    let lost = session.handle.message(Bytes::from_static(b"early")).await;
    assert_eq!(lost, Err(CallError::NotConnected));
    let (mut stream, _) = subscribe(&mut agent).await;
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Subscribed { .. }
    ));

    let message = Some(event::Message {
        data: Bytes::from_static(b"down"),
    });
    stream
        .send(&Event {
            message,
            ..event_of(event::Type::Message)
        })
        .await;
    assert_eq!(
        session.hear().await,
        ExecutorEvent::Message(Bytes::from_static(b"down"))
    );

    let handle = session.handle.clone();
    let sent = tokio::spawn(async move { handle.message(&b"up"[..]).await });
    let request = agent.request().await;
    assert_eq!(request.decode::<Call>().message.unwrap().data, &b"up"[..]);
    request.answer(202, "", b"").await;
    assert_eq!(within("the message", sent).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_lost_agent_is_told_and_found_again() {
    let mut agent = StandIn::start().await;
    let mut session = Session::start(&agent, "100ms");
    let (stream, _) = subscribe(&mut agent).await;
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Subscribed { .. }
    ));
    drop(stream);
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Disconnected { .. }
    ));
    let request = agent.request().await;
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::AgentLost { .. }
    ));
    request.answer(400, "", b"Executor cannot be found").await;
    let body = "Executor cannot be found".to_owned();
    assert_eq!(
        session.hear().await,
        ExecutorEvent::Refused { status: 400, body }
    );
    let (_stream, _) = subscribe(&mut agent).await;
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Subscribed { .. }
    ));
}

#[tokio::test]
async fn an_update_that_is_not_taken_is_sent_again() {
    let mut agent = StandIn::start().await;
    let mut session = Session::start(&agent, "15mins");
    let (_stream, _) = subscribe(&mut agent).await;
    assert!(matches!(
        session.hear().await,
        ExecutorEvent::Subscribed { .. }
    ));
    let uuid = session
        .handle
        .update(status(TaskState::TaskRunning))
        .unwrap();
    for status in [500, 503, 202] {
        let request = agent.request().await;
        let sent = request.decode::<Call>().update.unwrap().status;
        assert_eq!(sent.uuid.as_ref(), Some(&uuid));
        request.answer(status, "", b"").await;
    }
    let wait = session.handle.updates_settled();
    let unsettled = tokio::time::timeout(Duration::from_millis(50), wait).await;
    assert!(unsettled.is_err(), "taken is not acknowledged");
}
