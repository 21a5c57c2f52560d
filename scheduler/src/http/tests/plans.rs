//! `/v1/plans`.

use super::*;

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
    assert_eq!(service.get("/v1/plans/x").await.body, "Plan x not found");
}
