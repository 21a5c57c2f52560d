//! Commands to plans: the SDK's words and codes, with a loop that obeys.

use etcd_planner::plan_commands::{self, PlanCommand};

use super::*;

const NOTHING_TO_DO: &str = "Command has already been reported or completed";

/// A service whose loop takes plan commands as the real one does, without storing
/// and planning.
fn obeying(mut model: Model) -> Service {
    let service = Service::of(&model);
    let (commands, mut received) = mpsc::channel::<Order>(1);
    let (published, receiver) = watch::channel(Arc::new(samples::published(&model)));
    tokio::spawn(async move {
        while let Some(order) = received.recv().await {
            let Command::TellPlan { verb, part } = order.command else {
                panic!("{}", order.command)
            };
            let command = PlanCommand {
                verb,
                part,
                by: order.by.to_string(),
            };
            let judged = plan_commands::judge(&model, &command);
            if judged.is_ok() {
                let event = etcd_planner::Event::PlanCommand(command);
                model.apply(event, samples::NOW);
                published.send_replace(Arc::new(samples::published(&model)));
            }
            order
                .reply
                .send(judged.map_err(CommandRefusal::Plan))
                .unwrap();
        }
    });
    Service {
        state: ApiState {
            commands,
            published: receiver,
            ..service.state.clone()
        },
        ..service
    }
}

/// Tells a plan one thing after the other: path below `/v1`, body, and what is
/// answered; a text that begins with `Received` is the message of a 200.
async fn check(service: &Service, told: &[(&str, &str, u16, &str)]) {
    for (path, body, status, text) in told {
        let path = path.replace('[', "%5B").replace(']', "%5D");
        let body = (*body).to_owned().into();
        let answer = service
            .ask_with("POST", &format!("/v1/{path}"), Some(WRITE), body)
            .await;
        assert_eq!(answer.status, *status, "{path}: {}", answer.body);
        if *status == 200 {
            assert_eq!(answer.json(), json!({"message": text}), "{path}");
        } else {
            assert!(answer.body.starts_with(text), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_understood() {
    check(
        &obeying(samples::healthy_model()),
        &[
            ("plans/backup/start", "{}", 404, "Plan backup not found"),
            ("plans/x/interrupt", "", 404, "Plan x not found"),
            (
                "plans/deploy/continue?phase=x",
                "",
                404,
                "Phase x not found",
            ),
            (
                "plans/deploy/restart?phase=agents&step=x",
                "",
                404,
                "Step x not found",
            ),
            (
                "plans/deploy/forceComplete?step=etcd-0:[node]",
                "",
                400,
                "Missing phase",
            ),
            (
                "plans/deploy/start",
                r#"{"1X":"y"}"#,
                400,
                "Couldn't parse parameters: 1X is not a valid environment variable name",
            ),
            (
                "plans/deploy/start",
                "nonsense",
                400,
                "Couldn't parse parameters",
            ),
            (
                "plans/deploy/start",
                r#"{"X":"y"}"#,
                400,
                "Couldn't parse parameters: X is given, and this plan does not take it",
            ),
            ("plan/interrupt?phase=x", "", 404, "Phase x not found"),
        ],
    )
    .await;
    let service = obeying(samples::healthy_model());
    let path = "/v1/plans/deploy/explode";
    let answer = service.ask("POST", path, Some(WRITE)).await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json()["message"],
        "plan commands are start, stop, continue, interrupt, forceComplete, restart"
    );
}

#[tokio::test]
async fn a_complete_plan() {
    check(
        &obeying(samples::healthy_model()),
        &[
            ("plans/deploy/interrupt", "", 208, NOTHING_TO_DO),
            (
                "plans/deploy/interrupt?phase=agents",
                "",
                208,
                NOTHING_TO_DO,
            ),
            ("plans/deploy/continue", "", 208, NOTHING_TO_DO),
            ("plans/deploy/forceComplete", "", 208, NOTHING_TO_DO),
            ("plans/recovery/restart", "", 208, NOTHING_TO_DO),
            ("plans/recovery/stop", "", 200, "Received cmd: stop"),
            (
                "plans/update/start",
                "{}",
                200,
                "Received cmd: start update with parameters: {}",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_step_again_paused_resumed_and_forced() {
    let service = obeying(samples::healthy_model());
    let step = "phase=agents&step=etcd-0:[node]";
    check(
        &service,
        &[
            (
                &format!("plans/deploy/restart?{step}"),
                "",
                200,
                "Received cmd: restart for Plan: deploy, Phase: agents, Step: etcd-0:[node]",
            ),
            (&format!("plans/deploy/restart?{step}"), "", 208, NOTHING_TO_DO),
            ("plans/deploy/interrupt", "", 200, "Received cmd: interrupt"),
            ("plan/interrupt", "", 208, NOTHING_TO_DO),
            (
                "plans/deploy/interrupt?phase=agents",
                "",
                200,
                "Received cmd: interrupt",
            ),
        ],
    )
    .await;
    let plan = service.get("/v1/plans/deploy").await;
    assert_eq!(plan.status, 202);
    let plan = plan.json();
    assert_eq!(plan["status"], "WAITING");
    assert_eq!(
        plan["waiting"],
        "alice has paused plan deploy; it goes on with `continue`"
    );
    assert_eq!(plan["phases"][0]["status"], "WAITING");
    assert_eq!(plan["phases"][0]["steps"][0]["status"], "PENDING");
    let phase_id = plan["phases"][0]["id"].as_str().unwrap();
    check(
        &service,
        &[
            ("plans/deploy/continue", "", 200, "Received cmd: continue"),
            (
                &format!("plans/deploy/continue?phase={phase_id}"),
                "",
                200,
                "Received cmd: continue",
            ),
            ("plans/deploy/continue?phase=agents", "", 208, NOTHING_TO_DO),
            ("plans/deploy/continue", "", 208, NOTHING_TO_DO),
            (
                &format!("plans/deploy/forceComplete?{step}"),
                "",
                200,
                "Received cmd: forceComplete for Plan: deploy, Phase: agents, Step: etcd-0:[node]",
            ),
            (&format!("plans/deploy/forceComplete?{step}"), "", 208, NOTHING_TO_DO),
            (
                "plans/deploy/restart",
                "",
                200,
                "Received cmd: restart for Plan: deploy, Phase: null, Step: null",
            ),
            ("plans/deploy/stop", "", 200, "Received cmd: stop"),
        ],
    )
    .await;
    let plan = service.get("/v1/plans/deploy").await.json();
    assert_eq!(plan["status"], "WAITING");
}

#[tokio::test]
async fn a_loop_that_is_gone_is_said_to_be_gone() {
    let mut service = healthy();
    service.commands.close();
    let path = "/v1/plans/deploy/interrupt";
    let answer = service.ask("POST", path, Some(WRITE)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("stopping"), "{}", answer.body);
}
