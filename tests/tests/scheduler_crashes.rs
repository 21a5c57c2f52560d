//! The scheduler crashes at every failpoint that a deployment, a restart and
//! the exchange of a lost member pass, and goes on where it was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use etcd_api::status::ServiceStatus;
use etcd_tests::service::{is_healthy, member_ids};
use etcd_tests::{Service, etcd};
use serde_json::json;

/// Starts a scheduler that crashes at the failpoint, and then one that does
/// not.
async fn crash_and_start_again(service: &mut Service, failpoint: &str) {
    service.wait_until_crash(failpoint).await.unwrap();
    service.start_scheduler(None).unwrap();
}

async fn assert_one_cluster(service: &mut Service, failpoint: &str) -> ServiceStatus {
    let status = service
        .wait_until_healthy()
        .await
        .unwrap_or_else(|error| panic!("after a crash at {failpoint}: {error:#}"));
    assert_eq!(status.pods.len(), 3);
    etcd::put(&status, "after", failpoint).await.unwrap();
    let etcds = service.processes("etcd").unwrap();
    assert_eq!(etcds.len(), 3, "{failpoint}: {etcds:?}");
    status
}

async fn crash_during_deploy(failpoints: &[&str]) {
    crash_during_deploy_by("parallel", failpoints).await;
}

async fn crash_during_deploy_by(strategy: &str, failpoints: &[&str]) {
    for failpoint in failpoints {
        let mut service = Service::on_agents(3).await.unwrap();
        service.set_option("service", "deploy_strategy", json!(strategy));
        service.start_scheduler(Some(failpoint)).unwrap();
        crash_and_start_again(&mut service, failpoint).await;
        assert_one_cluster(&mut service, failpoint).await;
    }
}

#[tokio::test]
async fn while_subscribing() {
    crash_during_deploy(&[
        "before-store-event",
        "after-store-event",
        "before-reconcile-all",
        "after-reconcile-all",
    ])
    .await;
}

#[tokio::test]
async fn around_the_record_of_the_birth() {
    crash_during_deploy(&[
        "before-store-reserve-and-launch",
        "after-store-reserve-and-launch",
        "before-reserve-and-launch",
        "after-reserve-and-launch",
    ])
    .await;
}

#[tokio::test]
async fn between_the_launches() {
    crash_during_deploy(&[
        "before-reserve-and-launch:2",
        "after-reserve-and-launch:2",
        "before-reserve-and-launch:3",
        "after-reserve-and-launch:3",
    ])
    .await;
}

#[tokio::test]
async fn when_all_is_done() {
    crash_during_deploy(&["before-suppress", "after-suppress"]).await;
}

#[tokio::test]
async fn around_the_birth_of_a_cluster_of_one() {
    crash_during_deploy_by(
        "serial",
        &[
            "before-store-reserve-and-launch",
            "after-store-reserve-and-launch",
            "before-reserve-and-launch",
            "after-reserve-and-launch",
        ],
    )
    .await;
}

#[tokio::test]
async fn while_a_cluster_of_one_takes_its_first_learner() {
    crash_during_deploy_by(
        "serial",
        &[
            "before-store-add-learner",
            "after-store-add-learner",
            "before-add-learner",
            "after-add-learner",
        ],
    )
    .await;
}

#[tokio::test]
async fn while_a_cluster_of_one_has_grown() {
    crash_during_deploy_by(
        "serial",
        &[
            "before-promote",
            "after-promote",
            "after-add-learner:2",
            "after-promote:2",
        ],
    )
    .await;
}

#[tokio::test]
async fn during_a_restart() {
    for failpoint in [
        "before-store-kill",
        "after-store-kill",
        "before-kill",
        "after-kill",
        "before-move-leader",
        "after-move-leader",
    ] {
        let mut service = Service::deployed().await.unwrap();
        let before = service.status().await.unwrap();
        etcd::put(&before, "before", "the crash").await.unwrap();
        service.kill_scheduler().unwrap();
        service.start_scheduler(Some(failpoint)).unwrap();
        let before = service.wait_until_healthy().await.unwrap();
        let leader = before.leader.clone().and_then(|leader| leader.pod).unwrap();
        let task = task_of(&before, &leader);
        // The answer may be lost in the crash; the wish is stored before it.
        let _ = service.post(&format!("/v1/pod/{leader}/restart")).await;
        crash_and_start_again(&mut service, failpoint).await;
        service
            .wait_for("the pod was restarted", |status| {
                is_healthy(status) && task_of(status, &leader) != task
            })
            .await
            .unwrap_or_else(|error| panic!("after a crash at {failpoint}: {error:#}"));
        let after = assert_one_cluster(&mut service, failpoint).await;
        assert_eq!(member_ids(&after), member_ids(&before), "{failpoint}");
        let value = etcd::get(&after, "before").await.unwrap();
        assert_eq!(value.as_deref(), Some("the crash"), "{failpoint}");
    }
}

fn task_of(status: &ServiceStatus, pod: &str) -> Option<String> {
    status
        .pods
        .iter()
        .find(|candidate| candidate.name == pod)?
        .task_id
        .clone()
}

async fn crash_while_a_member_is_exchanged(failpoints: &[&str]) {
    for failpoint in failpoints {
        let mut service = Service::deployed().await.unwrap();
        let before = service.status().await.unwrap();
        etcd::put(&before, "before", "the crash").await.unwrap();
        service.cluster.add_agent().unwrap();
        let limit = Duration::from_secs(60);
        service
            .cluster
            .master()
            .wait_until_registered(4, limit)
            .await
            .unwrap();
        service.kill_scheduler().unwrap();
        service.start_scheduler(Some(failpoint)).unwrap();
        let before = service.wait_until_healthy().await.unwrap();
        service
            .mark_agent_gone(before.pods[0].host.as_deref().unwrap())
            .await
            .unwrap();
        crash_and_start_again(&mut service, failpoint).await;
        let lost = before.pods[0].member_id.clone();
        service
            .wait_for("a new member took the place of the lost one", |status| {
                is_healthy(status) && status.pods[0].member_id != lost
            })
            .await
            .unwrap_or_else(|error| panic!("after a crash at {failpoint}: {error:#}"));
        let after = assert_one_cluster(&mut service, failpoint).await;
        assert_eq!(
            after.cluster.cluster_id, before.cluster.cluster_id,
            "{failpoint}"
        );
        let value = etcd::get(&after, "before").await.unwrap();
        assert_eq!(value.as_deref(), Some("the crash"), "{failpoint}");
    }
}

#[tokio::test]
async fn around_the_removal_of_a_lost_member() {
    crash_while_a_member_is_exchanged(&[
        "after-store-remove-member",
        "after-remove-member",
    ])
    .await;
}

#[tokio::test]
async fn around_the_addition_of_a_learner() {
    crash_while_a_member_is_exchanged(&[
        "before-store-add-learner",
        "after-store-add-learner",
        "after-add-learner",
    ])
    .await;
}

#[tokio::test]
async fn around_a_promotion() {
    crash_while_a_member_is_exchanged(&["before-promote", "after-promote"]).await;
}
