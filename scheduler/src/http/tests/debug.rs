//! `/v1/debug` and `/v2/debug`.

use etcd_planner::decision::{Judged, OfferOutcome};
use etcd_planner::offer::{AgentId, Hostname};

use super::*;

#[tokio::test]
async fn plans() {
    let step = |pod: u16, status: &str, errors: Value| json!({"name": format!("etcd-{pod}:[node]"), "status": status, "errors": errors});
    let why = "no offer is suitable: hostname UNIQUE (2 agents refused)";
    let element = |name: &str, kind: &str, children: Value| json!({"name": name, "type": kind, "children": children});
    let leaf = |pod: u16| element(&format!("etcd-{pod}:[node]"), "step", Value::Null);
    let through_all = |plan: &str| {
        let steps = json!([leaf(0), leaf(1), leaf(2)]);
        element(plan, "plan", json!([element("agents", "phase", steps)]))
    };
    assert_eq!(
        deploying()
            .get("/v1/debug/plans?plan=deploy&sync=true")
            .await
            .json(),
        json!({
            "schedulerState": "DEPLOYING",
            "activePlans": ["deploy"],
            "plans": [{
                "name": "deploy", "status": "IN_PROGRESS", "strategy": "serial",
                "phases": [{
                    "name": "agents", "status": "IN_PROGRESS", "strategy": "parallel",
                    "steps": [
                        step(0, "COMPLETE", json!([])),
                        step(1, "COMPLETE", json!([])),
                        step(2, "PREPARED", json!([why])),
                    ],
                }],
                "totalSteps": 3, "completedSteps": 2,
            }],
            "serviceTopology": [
                element("deploy", "plan", json!([
                    element("agents", "phase", json!([leaf(0), leaf(1), leaf(2)])),
                ])),
                element("recovery", "plan", json!([])),
                through_all("update"),
                through_all("rolling-restart"),
                element("decommission", "plan", json!([])),
                through_all("maintenance"),
            ],
        })
    );
    let answer = healthy().get("/v1/debug/plans").await.json();
    assert_eq!(answer["schedulerState"], "DEPLOYED");
    assert_eq!(answer["activePlans"], json!([]));
    assert_eq!(answer["plans"].as_array().unwrap().len(), 6);
    let answer = Service::of(&recovering())
        .get("/v1/debug/plans")
        .await
        .json();
    assert_eq!(answer["schedulerState"], "RECOVERING");
    assert_eq!(answer["activePlans"], json!(["recovery"]));
}

#[tokio::test]
async fn parts_of_plans() {
    let service = deploying();
    // As with the SDK: 200, and what is wrong.
    for path in ["/v1/debug/plans", "/v1/debug/taskStatuses"] {
        for (query, words) in [
            ("plan=backup", "there is no plan backup"),
            ("phase=agents", "a phase is asked for without a plan"),
            ("plan=deploy&step=x", "a step is asked for without a phase"),
            ("plan=deploy&phase=x", "the plan has no phase x"),
            ("plan=deploy&phase=agents&step=x", "the phase has no step x"),
        ] {
            let answer = service.get(&format!("{path}?{query}")).await;
            let expected = json!({"invalid-input": words});
            assert_eq!((answer.status, answer.json()), (200, expected), "{query}");
        }
    }
    let query = "plan=deploy&phase=agents&step=etcd-1:%5Bnode%5D";
    let answer = service
        .get(&format!("/v1/debug/plans?{query}"))
        .await
        .json();
    let steps = &answer["plans"][0]["phases"][0]["steps"];
    assert_eq!(steps.as_array().unwrap().len(), 1);
    assert_eq!(steps[0]["name"], "etcd-1:[node]");
    // What was not asked for is still counted.
    assert_eq!(answer["plans"][0]["totalSteps"], 3);
}

#[tokio::test]
async fn task_statuses() {
    let task = |pod: u16, task_id: Value, status: Value| {
        json!({"name": format!("etcd-{pod}:[node]"), "taskStatus": [{
            "name": format!("etcd-{pod}-node"), "taskId": task_id, "taskStatus": status,
        }]})
    };
    let running = |pod: u16| {
        let task_id = json!(format!("etcd__etcd-{pod}-node__{pod}"));
        task(pod, task_id, json!("TASK_RUNNING"))
    };
    let through_all = |plan: &str| {
        let steps = [running(0), running(1), task(2, Value::Null, Value::Null)];
        json!({"name": plan, "phases": [{"name": "agents", "steps": steps}]})
    };
    assert_eq!(
        deploying().get("/v1/debug/taskStatuses").await.json(),
        json!([
            through_all("deploy"),
            {"name": "recovery", "phases": []},
            through_all("update"),
            through_all("rolling-restart"),
            {"name": "decommission", "phases": []},
            through_all("maintenance"),
        ])
    );
}

#[tokio::test]
async fn reservations() {
    let mut model = samples::healthy_model();
    let pod = model.record.pods.get_mut(&PodIndex(1)).unwrap();
    let placement = pod.placement.take().unwrap();
    model.record.abandoned.push(AbandonedPlacement {
        pod: PodIndex(1),
        placement,
        since: samples::NOW,
        why: "its agent is gone".into(),
        awaits_approval: false,
        can_be_missed: false,
        absent_since: None,
    });
    assert_eq!(
        Service::of(&model)
            .get("/v1/debug/reservations")
            .await
            .json(),
        json!({
            "agent-0.example": ["reservation-0"],
            "agent-1.example": ["reservation-1"],
            "agent-2.example": ["reservation-2"],
        })
    );
}

#[tokio::test]
async fn offers() {
    let service = healthy();
    let judged = Judged {
        reasons: BTreeMap::from([(OfferRefusal::Port { port: 2379 }, 2)]),
        refused_agents: BTreeMap::from([(AgentId("agent-7".into()), 2)]),
        outcomes: vec![OfferOutcome {
            pod: PodIndex(2),
            agent_id: AgentId("agent-7".into()),
            hostname: Hostname("agent-7.example".into()),
            taken: false,
            why: vec!["port 2379 not offered".into(), "fewer than 1.1 cpus".into()],
        }],
    };
    service.state.offer_history.note(&judged, samples::NOW);
    let expected = json!({
        "acceptedCount": 0,
        "rejectedCount": 2,
        "failureReasons": {"port 2379 not offered": 2},
        "rejectedAgents": {"agent-7": 2},
        "offers": [{
            "timestamp": samples::NOW.0,
            "pod-instance-name": "etcd-2",
            "outcome": "fail",
            "explanation": ["FAIL: port 2379 not offered", "FAIL: fewer than 1.1 cpus"],
            "offer": "agent agent-7 on agent-7.example",
        }],
    });
    for path in [
        "/v2/debug/offers",
        "/v1/debug/offers",
        "/v1/debug/offers?json=true",
    ] {
        assert_eq!(service.get(path).await.json(), expected, "{path}");
    }
    assert_eq!(
        service.ask("GET", "/v2/debug/offers", None).await.status,
        401
    );
}
