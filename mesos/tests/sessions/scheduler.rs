use std::time::Duration;

use mesos_v1::scheduler::{Call, Event, call, event};
use mesos_v1::v1::{FrameworkId, FrameworkInfo, Offer};
use mesos_v1::{
    CallError, Credential, Epoch, Masters, SchedulerHandle, SchedulerSession,
    SessionConfig, SessionEvent, SubscriptionError,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;

use crate::stand_in::{Request, StandIn, Stream, within};

struct Session {
    handle: SchedulerHandle,
    events: Receiver<SessionEvent>,
}

impl Session {
    fn start(masters: &str) -> Self {
        Self::start_with(masters, |_| {})
    }

    fn start_with(masters: &str, change: impl FnOnce(&mut SessionConfig)) -> Self {
        let masters: Masters = masters.parse().unwrap();
        let framework = FrameworkInfo {
            name: "stand-in test".to_owned(),
            ..FrameworkInfo::default()
        };
        let mut config = SessionConfig::new(masters, framework);
        config.timing.first_backoff = Duration::from_millis(10);
        change(&mut config);
        let (handle, events) = SchedulerSession::start(config).unwrap();
        Self { handle, events }
    }

    async fn hear(&mut self) -> String {
        let event = within("a session event", self.events.recv()).await;
        match event.expect("the session is over") {
            SessionEvent::Connected {
                epoch,
                framework_id,
                ..
            } => {
                format!("connected {epoch} {framework_id}")
            }
            SessionEvent::Disconnected { epoch, why } => {
                format!("disconnected {epoch}: {why}")
            }
            SessionEvent::Event { epoch, event } => {
                format!("event {epoch} {}", event.r#type().as_str_name())
            }
            SessionEvent::Waiting { why } => format!("waiting: {why}"),
            SessionEvent::Failed { error } => format!("failed: {error}"),
        }
    }
}

fn subscribed(heartbeat_interval_seconds: f64) -> Event {
    Event {
        r#type: Some(event::Type::Subscribed.into()),
        subscribed: Some(event::Subscribed {
            framework_id: FrameworkId {
                value: "F1".to_owned(),
            },
            heartbeat_interval_seconds: Some(heartbeat_interval_seconds),
            master_info: None,
        }),
        ..Event::default()
    }
}

fn offers(count: usize) -> Event {
    Event {
        r#type: Some(event::Type::Offers.into()),
        offers: Some(event::Offers {
            offers: vec![Offer::default(); count],
        }),
        ..Event::default()
    }
}

/// Takes a SUBSCRIBE and opens its stream; shows the framework id it came with.
async fn subscribe(
    master: &mut StandIn,
    stream_id: &str,
    heartbeat: f64,
) -> (Stream, String) {
    let request = master.request().await;
    let call: Call = request.decode();
    assert_eq!(call.r#type(), call::Type::Subscribe);
    assert_eq!(request.path, "/api/v1/scheduler");
    assert_eq!(request.header("mesos-stream-id"), "");
    let framework = call.subscribe.unwrap().framework_info;
    assert_eq!(framework.id, call.framework_id);
    let mut stream = request.open_stream(stream_id).await;
    stream.send(&subscribed(heartbeat)).await;
    (
        stream,
        call.framework_id.map_or_else(String::new, |id| id.value),
    )
}

/// Makes a call and lets the master answer it.
async fn call_and_answer(
    session: &Session,
    master: &mut StandIn,
    epoch: u64,
    status: u16,
    body: &str,
) -> (Result<(), CallError>, SeenCall) {
    let handle = session.handle.clone();
    let result =
        tokio::spawn(async move { handle.call(Epoch(epoch), Call::revive([])).await });
    let request = master.request().await;
    let seen = SeenCall::of(&request);
    request.answer(status, "", body.as_bytes()).await;
    (within("the call", result).await.unwrap(), seen)
}

/// What a call looked like.
#[derive(Debug, PartialEq)]
struct SeenCall {
    kind: &'static str,
    framework_id: String,
    stream_id: String,
    authorization: String,
}

impl SeenCall {
    fn of(request: &Request) -> Self {
        let call: Call = request.decode();
        Self {
            kind: call.r#type().as_str_name(),
            framework_id: call.framework_id.map_or_else(String::new, |id| id.value),
            stream_id: request.header("mesos-stream-id").to_owned(),
            authorization: request.header("authorization").to_owned(),
        }
    }
}

#[tokio::test]
async fn a_follower_redirects_and_calls_go_to_the_leader() {
    let (mut follower, mut leader) = (StandIn::start().await, StandIn::start().await);
    let mut session = Session::start_with(&follower.address.to_string(), |config| {
        config.access.credential = Some(Credential::basic("etcd", "s3cret"));
    });
    follower.request().await.redirect(leader.address).await;
    let (_stream, framework_id) = subscribe(&mut leader, "S1", 15.0).await;
    assert_eq!(framework_id, "");
    assert_eq!(session.hear().await, "connected 1 F1");
    let (result, seen) = call_and_answer(&session, &mut leader, 1, 202, "").await;
    assert_eq!(result, Ok(()));
    let expected = SeenCall {
        kind: "REVIVE",
        framework_id: "F1".to_owned(),
        stream_id: "S1".to_owned(),
        // etcd:s3cret
        authorization: "Basic ZXRjZDpzM2NyZXQ=".to_owned(),
    };
    assert_eq!(seen, expected);
    assert!(follower.no_request_came());
}

#[tokio::test]
async fn events_arrive_whole_however_the_stream_is_cut() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (mut stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    for (count, size) in [(1, 1), (3, 2), (7, 5), (100, 64), (2_000, 10_000)] {
        stream.send_in_chunks(&offers(count), size).await;
        let event = within("offers", session.events.recv()).await;
        let Some(SessionEvent::Event { event, .. }) = event else {
            panic!("{event:?}")
        };
        assert_eq!(event.offers.unwrap().offers.len(), count);
    }
}

#[tokio::test]
async fn a_silent_master_is_left_and_its_epoch_is_over() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (stream, _) = subscribe(&mut master, "S1", 0.02).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    assert_eq!(
        session.hear().await,
        "disconnected 1: no heartbeat for 0.1 s"
    );
    stream.closed().await;
    let call = session.handle.call(Epoch(1), Call::revive([])).await;
    assert_eq!(call, Err(CallError::NotConnected));
    let (_stream, framework_id) = subscribe(&mut master, "S2", 15.0).await;
    assert_eq!(framework_id, "F1");
    assert_eq!(session.hear().await, "connected 2 F1");
    let call = session.handle.call(Epoch(1), Call::revive([])).await;
    assert_eq!(call, Err(CallError::StaleEpoch { asked: Epoch(1) }));
    let (result, seen) = call_and_answer(&session, &mut master, 2, 202, "").await;
    assert_eq!((result, seen.stream_id.as_str()), (Ok(()), "S2"));
}

#[tokio::test]
async fn a_master_that_is_not_ready_is_asked_again() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    for _ in 0..3 {
        let body = b"Master has not finished recovery";
        master.request().await.answer(503, "", body).await;
    }
    let (_stream, _) = subscribe(&mut master, "S1", 15.0).await;
    let expected = format!(
        "waiting: {}: status 503: Master has not finished recovery",
        master.address
    );
    assert_eq!(session.hear().await, expected);
    assert_eq!(session.hear().await, "connected 1 F1");
}

#[tokio::test]
async fn where_nobody_listens_the_reason_is_plain_and_the_next_master_is_asked() {
    let mut master = StandIn::start().await;
    // Bound and dropped: nothing listens there now.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut session = Session::start(&format!("{nobody},{}", master.address));
    let told = session.hear().await;
    assert!(told.starts_with(&format!("waiting: {nobody}: ")), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
    let (_stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
}

#[tokio::test]
async fn a_cut_and_a_finished_stream_are_renewed() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    stream.finish().await;
    assert_eq!(
        session.hear().await,
        "disconnected 1: the other side closed the event stream"
    );
    let (stream, _) = subscribe(&mut master, "S2", 15.0).await;
    assert_eq!(session.hear().await, "connected 2 F1");
    drop(stream);
    let told = session.hear().await;
    assert!(told.starts_with("disconnected 2: "), "{told}");
    let (mut stream, _) = subscribe(&mut master, "S3", 15.0).await;
    assert_eq!(session.hear().await, "connected 3 F1");
    stream.send(&offers(1)).await;
    assert_eq!(session.hear().await, "event 3 OFFERS");
}

#[tokio::test]
async fn refused_calls_say_why_and_only_some_end_the_subscription() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (_stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    let body = "Failed to validate scheduler::Call";
    let (result, _) = call_and_answer(&session, &mut master, 1, 400, body).await;
    assert_eq!(
        result,
        Err(CallError::Refused {
            status: 400,
            body: body.to_owned()
        })
    );
    let (result, _) = call_and_answer(&session, &mut master, 1, 202, "").await;
    assert_eq!(result, Ok(()));
    let body = "Framework is not subscribed";
    let (result, _) = call_and_answer(&session, &mut master, 1, 403, body).await;
    assert_eq!(
        result,
        Err(CallError::Refused {
            status: 403,
            body: body.to_owned()
        })
    );
    assert_eq!(
        session.hear().await,
        "disconnected 1: a call was refused with status 403: Framework is not subscribed"
    );
    let (_stream, _) = subscribe(&mut master, "S2", 15.0).await;
    assert_eq!(session.hear().await, "connected 2 F1");
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_in_time() {
    let mut master = StandIn::start().await;
    let mut session = Session::start_with(&master.address.to_string(), |config| {
        config.call_timeout = Duration::from_millis(100);
    });
    let (_stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    let call = session.handle.call(Epoch(1), Call::revive([]));
    let result = within("the call's timeout", call).await;
    let Err(CallError::Transport(why)) = result else {
        panic!("{result:?}")
    };
    assert!(why.contains("timed out"), "{why}");
}

#[tokio::test]
async fn an_error_event_ends_the_session() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (mut stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    stream
        .send(&Event {
            r#type: Some(event::Type::Error.into()),
            error: Some(event::Error {
                message: "Framework failed over".to_owned(),
            }),
            ..Event::default()
        })
        .await;
    let event = within("the end", session.events.recv()).await;
    let error = SubscriptionError::FailedOver;
    assert_eq!(event, Some(SessionEvent::Failed { error }));
    stream.closed().await;
    assert_eq!(
        within("the end of events", session.events.recv()).await,
        None
    );
    let call = session.handle.call(Epoch(1), Call::revive([])).await;
    assert_eq!(call, Err(CallError::NotConnected));
}

#[tokio::test]
async fn dropping_the_receiver_ends_the_subscription() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (stream, _) = subscribe(&mut master, "S1", 15.0).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    drop(session.events);
    stream.closed().await;
}

/// The master is not silent, the application is slow.
#[tokio::test]
async fn a_slow_application_does_not_lose_the_subscription() {
    let mut master = StandIn::start().await;
    let mut session = Session::start(&master.address.to_string());
    let (mut stream, _) = subscribe(&mut master, "S1", 0.2).await;
    assert_eq!(session.hear().await, "connected 1 F1");
    const EVENTS: usize = 1_000;
    let sender = tokio::spawn(async move {
        for _ in 0..EVENTS {
            stream.send(&offers(20)).await;
        }
        stream
    });
    // Twice the silence that ends a subscription.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..EVENTS {
        assert_eq!(session.hear().await, "event 1 OFFERS");
    }
    drop(within("the sender", sender).await);
}
