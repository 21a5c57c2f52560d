//! Endpoints, state, health, status, metrics.

use super::*;

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
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
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
            "db_size_in_use_bytes": 16384,
            "db_quota_bytes": 2_147_483_648u64,
            "disk_free_bytes": 10_737_418_240u64,
            "raft_term": 2,
            "raft_index": 11,
            "alarms": [],
            "probe_error": null,
            "waiting": null,
            "failures": {"in_a_row": 0, "last": null, "retry_at_ms": null},
            "down_since_ms": null,
            "replaced_from_ms": null,
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
