//! Commands to plans, with the codes that clients of the DC/OS SDK expect.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use etcd_api::plans::PlanInfo;
use etcd_tests::Service;
use etcd_tests::service::{PATIENCE, is_healthy, member_ids, task_ids};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);
/// For this long nothing may happen to a paused plan for which all is at hand. Each
/// step of a deployment takes less.
const QUIET: Duration = Duration::from_secs(5);

async fn plan(service: &Service) -> PlanInfo {
    let (_, body) = service.get("/v1/plans/deploy").await.unwrap();
    serde_json::from_str(&body).unwrap()
}

/// The statuses of the plan's steps.
async fn steps(service: &Service) -> Vec<String> {
    let plan = plan(service).await;
    let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
    steps.map(|step| step.status.clone()).collect()
}

async fn check(service: &Service, path: &str, expected: u16) -> String {
    let (code, body) = service.post(&format!("/v1/plans/{path}")).await.unwrap();
    assert_eq!(code.as_u16(), expected, "{path}: {body}");
    body
}

async fn wait_until_first_step_is_complete(service: &Service) {
    let started = Instant::now();
    loop {
        if let Ok((_, body)) = service.get("/v1/plans/deploy").await
            && let Ok(plan) = serde_json::from_str::<PlanInfo>(&body)
            && plan.phases[0].steps[0].status == "COMPLETE"
        {
            return;
        }
        assert!(started.elapsed() < LIMIT, "the first step is not complete");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The second step waits for an agent when the plan is paused, so that the pause falls
/// between two steps for sure.
#[tokio::test]
async fn a_paused_plan_stays_paused_when_the_scheduler_is_killed() {
    let mut service = Service::on_agents(1).await.unwrap();
    service.set_option("service", "deploy_strategy", json!("serial"));
    service.start_scheduler(None).unwrap();
    wait_until_first_step_is_complete(&service).await;
    check(&service, "deploy/interrupt", 200).await;
    check(&service, "deploy/interrupt", 208).await;
    assert_eq!(plan(&service).await.status, "WAITING");

    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    for _ in 0..2 {
        service.cluster.add_agent().unwrap();
    }
    let master = service.cluster.master();
    master.wait_until_registered(3, PATIENCE).await.unwrap();
    service
        .wait_for("the first member answers the new scheduler", |status| {
            status.pods[0].healthy
        })
        .await
        .unwrap();
    let paused = Instant::now();
    while paused.elapsed() < QUIET {
        let plan = plan(&service).await;
        assert_eq!(plan.status, "WAITING", "{plan:?}");
        assert_eq!(service.processes("etcd-executor").unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    check(&service, "deploy/continue", 200).await;
    service.wait_until_healthy().await.unwrap();
    assert_eq!(steps(&service).await, ["COMPLETE"; 3]);
    check(&service, "deploy/continue", 208).await;
}

#[tokio::test]
async fn codes_and_a_restarted_step() {
    let mut service = Service::deployed().await.unwrap();
    check(&service, "no-such-plan/continue", 404).await;
    check(&service, "deploy/continue?phase=no-such-phase", 404).await;
    let step = "phase=agents&step=etcd-1:%5Bnode%5D";
    check(&service, &format!("deploy/forceComplete?{step}"), 208).await;
    check(
        &service,
        "deploy/forceComplete?phase=agents&step=no-such-step",
        404,
    )
    .await;
    let missing = check(&service, "deploy/forceComplete?step=etcd-1:%5Bnode%5D", 400);
    assert!(missing.await.contains("Missing phase"));

    let before = service.wait_until_healthy().await.unwrap();
    check(&service, &format!("deploy/restart?{step}"), 200).await;
    let after = service
        .wait_for("the step's pod was restarted", |status| {
            is_healthy(status) && task_ids(status) != task_ids(&before)
        })
        .await
        .unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
    let (tasks_before, tasks_after) = (task_ids(&before), task_ids(&after));
    assert_eq!(tasks_after[0], tasks_before[0]);
    assert_ne!(tasks_after[1], tasks_before[1]);
    assert_eq!(tasks_after[2], tasks_before[2]);
}
