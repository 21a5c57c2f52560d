//! `/v1/plans`.

use etcd_planner::overrides::{PlanName, PlanPart};
use etcd_planner::plan_commands::{PlanCommand, PlanVerb};

use super::*;

#[tokio::test]
async fn plans_of_a_healthy_service() {
    let service = healthy();
    let answer = service.get("/v1/plans").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!([
            "decommission",
            "deploy",
            "maintenance",
            "recovery",
            "rolling-restart",
            "update"
        ])
    );

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
    assert_eq!(service.get("/v1/plan").await.body, answer.body);
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
async fn a_paused_plan_says_who_paused_it() {
    let mut model = recovering();
    let command = PlanCommand {
        verb: PlanVerb::Interrupt,
        part: PlanPart::plan(PlanName::Recovery),
        by: "alice".into(),
    };
    model.apply(etcd_planner::Event::PlanCommand(command), samples::NOW);
    let plan = Service::of(&model).get("/v1/plans/recovery").await.json();
    assert_eq!(plan["status"], "WAITING");
    assert_eq!(
        plan["waiting"],
        "alice has paused plan recovery; it goes on with `continue`"
    );
    assert_eq!(plan["phases"][0]["status"], "PENDING");
    assert_eq!(plan["phases"][0]["waiting"], Value::Null);
}
