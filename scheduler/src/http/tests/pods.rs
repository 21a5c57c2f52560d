//! `/v1/pod`.

use etcd_planner::pausing::PauseRefusal;
use etcd_planner::record::{Exchange, Paused};
use etcd_planner::replacing::ReplaceRefusal;

use super::*;

#[tokio::test]
async fn pods() {
    let service = healthy();
    assert_eq!(
        service.get("/v1/pod").await.json(),
        json!(["etcd-0", "etcd-1", "etcd-2"])
    );
    let instance = |index: u16| {
        json!({"name": format!("etcd-{index}"), "tasks": [{
            "id": format!("etcd__etcd-{index}-node__{index}"),
            "name": format!("etcd-{index}-node"),
            "status": "RUNNING",
        }]})
    };
    assert_eq!(
        service.get("/v1/pod/status").await.json(),
        json!({"service": "etcd", "pods": [
            {"name": "etcd", "instances": [instance(0), instance(1), instance(2)]}
        ]})
    );
    assert_eq!(
        service.get("/v1/pod/etcd-1/status").await.json(),
        instance(1)
    );
    for path in ["/v1/pod/etcd-3/status", "/v1/pod/etcd-3/info"] {
        let answer = service.get(path).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.body, "Pod etcd-3 not found");
    }
    assert_eq!(service.get("/v1/pod/kafka-1/status").await.status, 404);

    let service = deploying();
    assert_eq!(
        service.get("/v1/pod/etcd-2/status").await.json(),
        json!({"name": "etcd-2", "tasks": []})
    );
}

#[tokio::test]
async fn task_states() {
    #[track_caller]
    fn check(answer: &Answer, expected: Value) {
        assert_eq!(answer.json()["tasks"][0]["status"], expected);
    }
    for (state, expected) in [
        (TaskState::Staging, "STAGING"),
        (TaskState::Starting, "STARTING"),
        (TaskState::Killing, "KILLING"),
        (TaskState::Unreachable, "UNREACHABLE"),
        (TaskState::Unknown, "UNKNOWN"),
    ] {
        let mut model = samples::healthy_model();
        model.observed.tasks.get_mut(&PodIndex(0)).unwrap().state = state;
        let answer = Service::of(&model).get("/v1/pod/etcd-0/status").await;
        check(&answer, json!(expected));
    }
    // A scheduler that has just started has heard of no task: the field is not
    // there.
    let mut model = samples::healthy_model();
    model.observed = Default::default();
    let answer = Service::of(&model).get("/v1/pod/etcd-0/status").await;
    check(&answer, Value::Null);
    let answer = Service::of(&recovering())
        .get("/v1/pod/etcd-1/status")
        .await;
    check(&answer, json!("FAILED"));
}

#[tokio::test]
async fn pod_info() {
    let answer = healthy().get("/v1/pod/etcd-0/info").await.json();
    assert_eq!(
        answer,
        json!([{
            "info": {
                "name": "etcd-0-node",
                "taskId": {"value": "etcd__etcd-0-node__0"},
                "slaveId": {"value": "agent-0"},
                "resources": [
                    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.1}},
                    {"name": "mem", "type": "SCALAR", "scalar": {"value": 1056.0}},
                    {"name": "disk", "type": "SCALAR", "scalar": {"value": 5376.0}},
                    {"name": "ports", "type": "RANGES", "ranges": {"range": [
                        {"begin": 2379, "end": 2379}, {"begin": 2380, "end": 2380},
                    ]}},
                ],
                "command": {"environment": {"variables": []}},
                "labels": {"labels": [
                    {"key": "offer_hostname", "value": "agent-0.example"},
                    {"key": "reservation_id", "value": "reservation-0"},
                    {"key": "volume_id", "value": "volume-0"},
                ]},
            },
            "status": {
                "taskId": {"value": "etcd__etcd-0-node__0"},
                "state": "TASK_RUNNING",
                "timestamp": 1_763_690_001.5,
                "message": "TASK_RUNNING",
                "healthy": true,
                "containerStatus": {},
            },
        }])
    );
}

/// Asks, answers for the loop, and gives what was asked of it and what came back.
async fn asked_of_the_loop(
    service: &mut Service,
    path: &str,
    answer: Result<(), CommandRefusal>,
) -> (Command, u16, String) {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, WRITE)
        .body(Body::empty())
        .unwrap();
    let asking = tokio::spawn(router(service.state.clone()).oneshot(request));
    let order = service.commands.recv().await.unwrap();
    assert_eq!(order.by, Actor::named("alice"));
    order.reply.send(answer).unwrap();
    let response = asking.await.unwrap().unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (order.command, status, body)
}

#[tokio::test]
async fn restarting_a_pod() {
    let mut service = healthy();
    let path = "/v1/pod/etcd-1/restart";
    let pod = PodIndex(1);
    let refused = CommandRefusal::NotNow { why: "busy".into() };
    let replies = [
        (Ok(()), 200, "etcd-1-node"),
        (
            Err(CommandRefusal::UnknownPod(pod)),
            404,
            "Pod etcd-1 not found",
        ),
        (Err(refused), 409, "busy"),
    ];
    for (answer, expected, text) in replies {
        let (command, status, body) = asked_of_the_loop(&mut service, path, answer).await;
        assert_eq!(command, Command::RestartPod { pod });
        assert_eq!(status, expected);
        assert!(body.contains(text), "{body}");
        if status == 200 {
            assert_eq!(
                serde_json::from_str::<Value>(&body).unwrap(),
                json!({"pod": "etcd-1", "tasks": ["etcd-1-node"]})
            );
        }
    }
    let unknown = "/v1/pod/etcd-9/restart";
    assert_eq!(service.ask("POST", unknown, Some(WRITE)).await.status, 404);

    // A loop that is gone is said to be gone.
    let state = service.state.clone();
    drop(service.commands);
    let request = Request::post(path)
        .header(header::AUTHORIZATION, WRITE)
        .body(Body::empty())
        .unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
}

#[tokio::test]
async fn replacing_a_pod() {
    let mut service = healthy();
    let pod = PodIndex(1);
    for (path, how) in [
        ("/v1/pod/etcd-1/replace", Exchange::JoinFirst),
        ("/v1/pod/etcd-1/replace?force=false", Exchange::JoinFirst),
        ("/v1/pod/etcd-1/replace?force=true", Exchange::LeaveFirst),
        ("/v1/pod/etcd-1/reset", Exchange::InPlace),
    ] {
        let (command, status, _) = asked_of_the_loop(&mut service, path, Ok(())).await;
        assert_eq!(command, Command::ExchangePod { pod, how });
        assert_eq!(status, 200);
    }
    for (path, how, expected) in [
        ("/v1/pod/etcd-1/replace", Exchange::JoinFirst, "replaced"),
        ("/v1/pod/etcd-1/reset", Exchange::InPlace, "reset"),
    ] {
        let refusal = CommandRefusal::Exchange(pod, ReplaceRefusal::OnlyVoter, how);
        let asked = asked_of_the_loop(&mut service, path, Err(refusal));
        let (_, status, body) = asked.await;
        assert_eq!(status, 409);
        let expected = format!("etcd-1 is not {expected}: it is the only voter");
        assert!(body.contains(&expected), "{body}");
    }
    let unclear = "/v1/pod/etcd-1/replace?force=perhaps";
    assert_eq!(service.ask("POST", unclear, Some(WRITE)).await.status, 400);
}

#[tokio::test]
async fn pausing_a_pod_and_letting_it_go_on() {
    let mut service = healthy();
    let pod = PodIndex(1);
    for (path, expected) in [
        ("/v1/pod/etcd-1/pause", Command::PausePod { pod }),
        ("/v1/pod/etcd-1/resume", Command::ResumePod { pod }),
    ] {
        let (command, status, _) = asked_of_the_loop(&mut service, path, Ok(())).await;
        assert_eq!((command, status), (expected, 200));
    }
    let cost = PauseRefusal::WouldCostQuorum {
        healthy_without: 1,
        voters: 3,
    };
    let refusal = Err(CommandRefusal::Pause(pod, cost));
    let path = "/v1/pod/etcd-1/pause";
    let (_, status, body) = asked_of_the_loop(&mut service, path, refusal).await;
    assert_eq!(status, 409);
    assert!(body.contains("1 of 3 voters"), "{body}");
}

#[tokio::test]
async fn states_around_a_pause() {
    for (wanted, launched_paused, expected) in [
        (false, false, "RUNNING"),
        (true, false, "PAUSING"),
        (true, true, "PAUSED"),
        (false, true, "STARTING"),
    ] {
        let mut model = samples::healthy_model();
        let pod = model.record.pods.get_mut(&PodIndex(1)).unwrap();
        pod.paused = wanted.then(|| Paused {
            by: "alice".into(),
            since: Timestamp(1),
        });
        pod.launch.as_mut().unwrap().paused = launched_paused;
        let status = Service::of(&model).get("/v1/pod/etcd-1/status").await;
        assert_eq!(status.json()["tasks"][0]["status"], expected);
    }
}

#[tokio::test]
async fn a_member_that_leaves_is_found_by_its_name() {
    let mut model = samples::healthy_model();
    let old = model.record.pods.remove(&PodIndex(0)).unwrap();
    model.record.pods.insert(PodIndex(0).leaving(), old);
    let service = Service::of(&model);
    let names = service.get("/v1/pod").await.json();
    assert_eq!(
        names,
        json!(["etcd-0", "etcd-1", "etcd-2", "etcd-0-leaving"])
    );
    let path = "/v1/pod/etcd-0-leaving/status";
    assert_eq!(service.get(path).await.status, 200);
    assert_eq!(service.get("/v1/pod/etcd-10000/status").await.status, 404);
}
