//! Every route's shape, against samples in the reference's form, and who gets
//! in. The router is asked directly; sockets come in at the end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use etcd_launch::PodIndex;
use etcd_planner::observed::{MesosLink, Probe, TaskState};
use etcd_planner::record::{Cluster, EndKind, LaunchEnd};
use etcd_planner::waiting::OfferRefusal;
use etcd_planner::{Model, Timestamp, WaitingReason};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::artifacts::{EtcdSource, ExecutorSource};
use crate::commands::CommandRefusal;
use crate::samples;

const READ: &str = "Bearer read-read-read-read";
const WRITE: &str = "Bearer write-write-write";

/// A service behind the router, and the ends that the loop would hold.
struct Service {
    state: ApiState,
    commands: mpsc::Receiver<Command>,
    _published: watch::Sender<Arc<Published>>,
    _directory: TempDir,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Service {
    fn showing(published: Published) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["etcd-executor", "etcd", "etcdctl"] {
            write_program(&directory, name);
        }
        let tokens = directory.path().join("tokens");
        std::fs::write(&tokens, "read:read-read-read-read\nwrite-write-write\n").unwrap();
        let artifacts = Artifacts::open(
            &ExecutorSource::File(directory.path().join("etcd-executor")),
            &EtcdSource::Directory(directory.path().to_owned()),
        )
        .unwrap();
        let (sender, receiver) = watch::channel(Arc::new(published));
        let (commands, received) = mpsc::channel(1);
        Service {
            state: ApiState {
                published: receiver,
                commands,
                metrics: Arc::new(Metrics::new(Default::default())),
                store: Arc::new(Store::open(&directory.path().join("state")).unwrap()),
                artifacts: Arc::new(artifacts),
                access: Arc::new(Access::from_file(&tokens).unwrap()),
                facts: Arc::new(ServiceFacts::default()),
            },
            commands: received,
            _published: sender,
            _directory: directory,
        }
    }

    fn of(model: &Model) -> Self {
        Service::showing(samples::published(model))
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        self.ask_with(method, path, token, Body::empty()).await
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = router(self.state.clone())
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Some(READ)).await
    }
}

fn write_program(directory: &TempDir, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.path().join(name);
    std::fs::write(&path, format!("this is {name}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn healthy() -> Service {
    Service::of(&samples::healthy_model())
}

/// Two members run, and no agent is good enough for the third.
fn deploying() -> Service {
    let mut model = samples::healthy_model();
    let third = PodIndex(2);
    model.record.pods.remove(&third);
    model.observed.tasks.remove(&third);
    model.observed.probes.remove(&third);
    let Cluster::Formed(incarnation) = model.record.cluster.clone() else {
        panic!("the sample is formed")
    };
    model.record.cluster = Cluster::Forming(incarnation);
    let reason = WaitingReason::NoSuitableOffer {
        refusals: BTreeMap::from([(OfferRefusal::HostTaken, 2)]),
    };
    let waiting = BTreeMap::from([(third, reason)]);
    Service::showing(Published::of(&model, waiting, None, samples::NOW))
}

/// All were complete, and etcd-1 has failed.
fn recovering() -> Model {
    let mut model = samples::healthy_model();
    let pod = PodIndex(1);
    let launch = model.record.pods.get_mut(&pod).unwrap().launch.as_mut();
    launch.unwrap().end = Some(LaunchEnd {
        at: samples::NOW,
        kind: EndKind::Failed,
        why: "TASK_FAILED: out of memory".into(),
    });
    model.observed.tasks.remove(&pod);
    model.observed.probes.remove(&pod);
    model
}

#[tokio::test]
async fn plans_of_a_healthy_service() {
    let service = healthy();
    let answer = service.get("/v1/plans").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!(["deploy", "recovery"]));

    let answer = service.get("/v1/plans/deploy").await;
    assert_eq!(answer.status, 200);
    let plan = answer.json();
    assert_eq!(plan["status"], "COMPLETE");
    assert_eq!(plan["strategy"], "serial");
    assert_eq!(plan["errors"], json!([]));
    assert_eq!(plan["phases"][0]["name"], "agents");
    assert_eq!(plan["phases"][0]["strategy"], "parallel");
    let step = &plan["phases"][0]["steps"][1];
    let id = step["id"].as_str().unwrap();
    assert_eq!(
        *step,
        json!({
            "id": id,
            "status": "COMPLETE",
            "name": "etcd-1:[node]",
            "message": format!("etcd-1:[node] [{id}] with status: COMPLETE"),
        })
    );
    // The same, whoever asks and whenever: ids are made from names.
    assert_eq!(healthy().get("/v1/plans/deploy").await.body, answer.body);
    for alias in ["/v1/plan", "/v1/plans/update"] {
        assert_eq!(service.get(alias).await.body, answer.body, "{alias}");
    }
    // Two spaces, as the SDK writes it.
    assert!(answer.body.contains("\n  \"phases\": ["), "{}", answer.body);
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");

    let recovery = service.get("/v1/plans/recovery").await;
    assert_eq!(recovery.status, 200);
    assert_eq!(recovery.json()["phases"], json!([]));
    assert_eq!(recovery.json()["strategy"], "parallel");
}

#[tokio::test]
async fn a_plan_says_why_it_waits() {
    let answer = deploying().get("/v1/plans/deploy").await;
    assert_eq!(answer.status, 202);
    let plan = answer.json();
    assert_eq!(plan["status"], "IN_PROGRESS");
    let step = &plan["phases"][0]["steps"][2];
    assert_eq!(step["status"], "PREPARED");
    let message = step["message"].as_str().unwrap();
    assert!(
        message.ends_with("no offer is suitable: hostname UNIQUE (2 agents refused)"),
        "{message}"
    );
}

#[tokio::test]
async fn a_plan_with_errors_is_417() {
    let mut published = samples::published(&samples::healthy_model());
    published.plans[0].errors.push("count: 3 => 1".into());
    let service = Service::showing(published);
    let answer = service.get("/v1/plans/deploy").await;
    assert_eq!(answer.status, 417);
    assert_eq!(answer.json()["errors"], json!(["count: 3 => 1"]));
    assert_eq!(service.get("/v1/health").await.status, 500);
}

#[tokio::test]
async fn plan_commands() {
    let service = healthy();
    let plan = service.get("/v1/plans/deploy").await.json();
    let phase_id = plan["phases"][0]["id"].as_str().unwrap().to_owned();
    for (path, body, status, text) in [
        ("/v1/plans/deploy/continue", "", 501, "Nothing was changed"),
        ("/v1/plan/interrupt", "", 501, "interrupt"),
        ("/v1/plans/backup/start", "{}", 404, "Plan backup not found"),
        (
            "/v1/plans/deploy/start",
            r#"{"1X":"y"}"#,
            400,
            "1X is not a valid",
        ),
        (
            "/v1/plans/deploy/start",
            "nonsense",
            400,
            "Couldn't parse parameters",
        ),
        (
            "/v1/plans/deploy/continue?phase=x",
            "",
            404,
            "Phase x not found",
        ),
        (
            "/v1/plans/deploy/restart?phase=agents",
            "",
            501,
            "later release",
        ),
        (
            "/v1/plans/deploy/forceComplete?step=etcd-0:[node]",
            "",
            400,
            "Missing phase",
        ),
        (
            "/v1/plans/deploy/forceComplete?phase=agents&step=x",
            "",
            404,
            "Step x not found",
        ),
        (
            "/v1/plans/deploy/forceComplete?phase=agents&step=etcd-0:%5Bnode%5D",
            "",
            501,
            "later release",
        ),
        ("/v1/plans/deploy/explode", "", 404, "forceComplete"),
    ] {
        let path = path.replace('[', "%5B").replace(']', "%5D");
        let answer = service
            .ask_with("POST", &path, Some(WRITE), body.to_owned().into())
            .await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.body.contains(text), "{path}: {}", answer.body);
    }
    let by_id = format!("/v1/plans/deploy/restart?phase={phase_id}");
    assert_eq!(service.ask("POST", &by_id, Some(WRITE)).await.status, 501);
    assert_eq!(service.get("/v1/plans/x").await.body, "Plan x not found\n");
}

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
        assert_eq!(answer.body, "Pod etcd-3 not found\n");
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

#[tokio::test]
async fn restarting_a_pod() {
    let mut service = healthy();
    let state = service.state.clone();
    let path = "/v1/pod/etcd-1/restart";
    let replies = [
        (Ok(()), 200, "etcd-1-node"),
        (
            Err(CommandRefusal::UnknownPod(PodIndex(1))),
            404,
            "Pod etcd-1 not found",
        ),
        (
            Err(CommandRefusal::NotNow { why: "busy".into() }),
            409,
            "busy",
        ),
    ];
    for (reply_with, status, text) in replies {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, WRITE)
            .body(Body::empty())
            .unwrap();
        let asking = tokio::spawn(router(state.clone()).oneshot(request));
        let Command::RestartPod { pod, reply } = service.commands.recv().await.unwrap();
        assert_eq!(pod, PodIndex(1));
        reply.send(reply_with).unwrap();
        let response = asking.await.unwrap().unwrap();
        assert_eq!(response.status().as_u16(), status);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
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
    let later = "/v1/pod/etcd-1/replace";
    assert_eq!(service.ask("POST", later, Some(WRITE)).await.status, 501);

    // A loop that is gone is said to be gone.
    drop(service.commands);
    let request = Request::post(path)
        .header(header::AUTHORIZATION, WRITE)
        .body(Body::empty())
        .unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
}

#[tokio::test]
async fn endpoints() {
    let service = healthy();
    assert_eq!(service.get("/v1/endpoints").await.json(), json!(["api"]));
    let names = |index: u16| {
        format!("etcd-{index}-node.etcd.autoip.dcos.thisdcos.directory:2379")
    };
    assert_eq!(
        service.get("/v1/endpoints/api").await.json(),
        json!({
            "address": ["127.0.0.2:2379", "127.0.0.3:2379", "127.0.0.4:2379"],
            "dns": [names(0), names(1), names(2)],
            "vip": "api.etcd.l4lb.thisdcos.directory:2379",
        })
    );
    assert_eq!(service.get("/v1/endpoints/x").await.status, 404);

    let service = deploying();
    assert_eq!(service.get("/v1/endpoints").await.json(), json!([]));
    let answer = service.get("/v1/endpoints/api").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("has not formed"), "{}", answer.body);

    let mut model = samples::healthy_model();
    model.target.service = "/test/etcd".into();
    let endpoint = Service::of(&model).get("/v1/endpoints/api").await.json();
    assert_eq!(endpoint["vip"], "api.testetcd.l4lb.thisdcos.directory:2379");
}

#[tokio::test]
async fn state() {
    let service = healthy();
    assert_eq!(
        service.get("/v1/state/frameworkId").await.json(),
        json!([samples::FRAMEWORK_ID])
    );
    let store = &service.state.store;
    store
        .put_property("last-completed-update-type", &json!("DEPLOY"))
        .unwrap();
    assert_eq!(
        service.get("/v1/state/properties").await.json(),
        json!(["last-completed-update-type"])
    );
    let property = service
        .get("/v1/state/properties/last-completed-update-type")
        .await;
    assert_eq!(property.json(), json!("DEPLOY"));
    assert_eq!(service.get("/v1/state/properties/x").await.status, 404);

    let mut model = samples::healthy_model();
    model.record.framework_id = None;
    let service = Service::of(&model);
    assert_eq!(service.get("/v1/state/frameworkId").await.status, 404);
    assert_eq!(service.get("/v1/health").await.status, 318);
}

#[tokio::test]
async fn health() {
    #[track_caller]
    fn check(answer: &Answer, code: u16) {
        assert_eq!(answer.status, code);
        assert_eq!(answer.json(), json!({"value": code}));
    }
    check(&healthy().get("/v1/health").await, 200);
    check(&deploying().get("/v1/health").await, 202);
    check(&Service::of(&recovering()).get("/v1/health").await, 203);

    let mut published = samples::published(&samples::healthy_model());
    published.plans[0].phases[0].steps[0].status = etcd_planner::plans::Status::Delayed;
    check(&Service::showing(published).get("/v1/health").await, 208);

    let answer = deploying().get("/v1/health?verbose").await.json();
    let reasons: Vec<&str> = answer["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason.as_str().unwrap())
        .collect();
    assert_eq!(
        *reasons.last().unwrap(),
        "Priority 3. Status Code 202 is TRUE, Steps: Total(3) Pending(0) Prepared(1) \
         Starting(0) Started(0) Completed(2) Delayed(0)"
    );
    let head = healthy().ask("HEAD", "/v1/health", Some(READ)).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn livez_is_open_and_sees_a_loop_that_hangs() {
    let answer = healthy().ask("GET", "/v1/livez", None).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    let mut published = samples::published(&samples::healthy_model());
    published.taken = std::time::Instant::now() - Duration::from_secs(3600);
    let answer = Service::showing(published)
        .ask("GET", "/v1/livez", None)
        .await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("3600 s"), "{}", answer.body);
}

#[tokio::test]
async fn the_status_page() {
    let body = healthy().get("/v1/status").await.body;
    let status: etcd_api::ServiceStatus = serde_json::from_str(&body).unwrap();
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status.service, "etcd");
    assert_eq!(value["mesos"]["state"], "connected");
    assert_eq!(value["mesos"]["offers_suppressed"], true);
    assert_eq!(value["cluster"]["state"], "formed");
    assert_eq!(value["cluster"]["cluster_id"], "c1");
    assert_eq!(value["leader"], json!({"member_id": "b0", "pod": "etcd-0"}));
    assert_eq!(
        value["pods"][1],
        json!({
            "name": "etcd-1",
            "host": "agent-1.example",
            "address": "127.0.0.3",
            "client_url": "http://127.0.0.3:2379",
            "task_id": "etcd__etcd-1-node__1",
            "task_state": "TASK_RUNNING",
            "executor": null,
            "member_id": "b1",
            "role": "voter",
            "healthy": true,
            "leader": false,
            "probed_at_ms": samples::NOW.0,
            "etcd_version": "3.4.23",
            "db_size_bytes": 20480,
            "raft_term": 2,
            "raft_index": 11,
            "alarms": [],
            "probe_error": null,
            "waiting": null,
            "failures": {"in_a_row": 0, "last": null, "retry_at_ms": null},
        })
    );
    assert_eq!(value["pods"][0]["leader"], true);
    assert_eq!(
        value["plans"][0],
        json!({
            "name": "deploy", "status": "COMPLETE",
            "complete_steps": 3, "total_steps": 3,
        })
    );
    assert!(
        status
            .warnings
            .iter()
            .any(|text| text.contains("3.4.23 has a known data bug")),
        "{:?}",
        status.warnings
    );
    // Whoever knows the token can start a member of this cluster.
    assert!(!body.contains("5d1c"), "{body}");
}

#[tokio::test]
async fn the_status_page_of_trouble() {
    let value = deploying().get("/v1/status").await.json();
    assert_eq!(value["cluster"]["state"], "forming");
    assert_eq!(value["pods"][0]["role"], "founder");
    assert_eq!(value["pods"][2]["role"], "absent");
    assert_eq!(
        value["pods"][2]["waiting"],
        json!({
            "code": "no_suitable_offer",
            "text": "no offer is suitable: hostname UNIQUE (2 agents refused)",
        })
    );

    let mut model = samples::healthy_model();
    model.observed.mesos = MesosLink::Disconnected {
        why: "connection refused".into(),
    };
    model.observed.probes.insert(
        PodIndex(0),
        Probe {
            at: Timestamp(1),
            answer: Err("deadline exceeded".into()),
        },
    );
    model.observed.unknown_reservations = ["r-9".to_owned()].into();
    let value = Service::of(&model).get("/v1/status").await.json();
    assert_eq!(value["mesos"]["state"], "disconnected");
    assert_eq!(value["mesos"]["why"], "connection refused");
    assert_eq!(value["pods"][0]["probe_error"], "deadline exceeded");
    assert_eq!(value["pods"][0]["etcd_version"], Value::Null);
    assert_eq!(value["pods"][0]["healthy"], false);
    let warnings = value["warnings"].to_string();
    assert!(warnings.contains("reservation r-9"), "{warnings}");
}

#[tokio::test]
async fn metrics() {
    let service = deploying();
    let metrics = &service.state.metrics;
    metrics.note_offers(5);
    metrics.note_effect_issued(&etcd_planner::Effect::Suppress);
    metrics.note_task_status("TASK_RUNNING");
    metrics.note_mesos_call("SUPPRESS");
    metrics.note_turn(Duration::from_micros(300));
    service.get("/v1/pod").await;
    let answer = service.get("/v1/metrics/prometheus").await;
    assert!(
        answer
            .header(header::CONTENT_TYPE)
            .starts_with("application/openmetrics-text")
    );
    for line in [
        "etcd_scheduler_offers_received_total 5",
        "etcd_scheduler_suppresses_total 1",
        "etcd_scheduler_task_status_total{state=\"task_running\"} 1",
        "etcd_scheduler_mesos_calls_total{type=\"SUPPRESS\"} 1",
        "etcd_scheduler_effects_total{name=\"suppress\",outcome=\"issued\"} 1",
        "etcd_scheduler_turn_duration_seconds_count 1",
        "etcd_scheduler_api_requests_total{method=\"GET\",status=\"200\"} 1",
        "etcd_scheduler_members 3",
        "etcd_scheduler_healthy_voters 2",
        "etcd_scheduler_plan_status{plan=\"deploy\"} 2",
        "etcd_scheduler_plan_status{plan=\"recovery\"} 0",
        "etcd_scheduler_waiting{reason=\"no_suitable_offer\"} 1",
        "etcd_scheduler_is_suppressed 1",
    ] {
        assert!(
            answer.body.lines().any(|found| found == line),
            "{line} is not in\n{}",
            answer.body
        );
    }
    assert!(answer.body.ends_with("# EOF\n"));
    // Each name is described once, or Prometheus refuses the page.
    let mut described: Vec<&str> = answer
        .body
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let all = described.len();
    described.sort_unstable();
    described.dedup();
    assert_eq!(described.len(), all);

    let codahale = service.get("/v1/metrics").await.json();
    assert_eq!(codahale["gauges"]["is_suppressed"], json!({"value": true}));
    assert_eq!(
        codahale["gauges"]["plan_status.deploy"],
        json!({"value": 2})
    );
    assert_eq!(codahale["counters"]["offers.received"], json!({"count": 5}));
    assert_eq!(
        codahale["counters"]["task_status.task_running"],
        json!({"count": 1})
    );
}

#[tokio::test]
async fn who_gets_in() {
    let service = healthy();
    for (method, path, token, status) in [
        ("GET", "/v1/status", None, 401),
        ("GET", "/v1/status", Some("Bearer wrong-wrong-wrong"), 401),
        ("GET", "/v1/status", Some(READ), 200),
        ("GET", "/v1/status", Some(WRITE), 200),
        ("GET", "/v1/status", Some("token=write-write-write"), 200),
        ("GET", "/nowhere", None, 401),
        ("GET", "/nowhere", Some(READ), 404),
        ("POST", "/v1/pod/etcd-0/restart", None, 401),
        ("POST", "/v1/pod/etcd-0/restart", Some(READ), 403),
        ("POST", "/v1/plans/deploy/stop", Some(READ), 403),
        ("POST", "/v1/status", Some(WRITE), 405),
        ("GET", "/v1/pod/etcd-0/restart", Some(WRITE), 405),
        ("GET", "/v1/metrics/prometheus", None, 401),
        ("GET", "/v1/livez", None, 200),
        ("GET", "/artifacts/x/etcd", None, 404),
        ("GET", "/artifacts/../v1/status", None, 404),
        ("GET", "//v1/livez", None, 401),
    ] {
        let answer = service.ask(method, path, token).await;
        assert_eq!(answer.status, status, "{method} {path} {token:?}");
        if status == 401 {
            let challenge = answer.header(header::WWW_AUTHENTICATE);
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        }
        if matches!(status, 401 | 403 | 404 | 405) {
            let problem: etcd_api::Problem = serde_json::from_str(&answer.body).unwrap();
            assert!(!problem.message.contains("wrong-wrong"), "{path}");
        }
    }
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let answer = healthy()
        .ask_with(
            "POST",
            "/v1/plans/deploy/start",
            Some(WRITE),
            vec![b' '; BODY_LIMIT_BYTES + 1].into(),
        )
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn fetching_programs() {
    let service = healthy();
    let now = std::time::Instant::now();
    let uris = service.state.artifacts.uris_for_launch("http://x", now);
    for uri in uris {
        let path = uri.uri.strip_prefix("http://x").unwrap();
        let answer = service.ask("GET", path, None).await;
        let expected = format!("this is {}", uri.output_file);
        assert_eq!((answer.status, &answer.body), (200, &expected));
        assert_eq!(
            answer.header(header::CONTENT_LENGTH),
            expected.len().to_string()
        );
        let head = service.ask("HEAD", path, None).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let base = path.rsplit_once('/').unwrap().0;
        for bad in ["tokens", "..%2Ftokens", "%2e%2e/tokens", "etcdutl", ""] {
            let answer = service.ask("GET", &format!("{base}/{bad}"), None).await;
            assert_eq!(answer.status, 404, "{bad}");
        }
    }
}

/// Over a socket: that it listens, answers, and ends when told to although a
/// client still holds its connection.
#[tokio::test]
async fn serving_and_stopping() {
    let service = healthy();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, service.state.clone(), async {
        stopped.await.unwrap();
    }));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /v1/livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 1024];
    let length = client.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK"));
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), serving)
        .await
        .expect("it ends within its drain time")
        .unwrap()
        .unwrap();
}
