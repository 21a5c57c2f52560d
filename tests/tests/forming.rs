//! A cluster that forms under difficulties ends as three voters of one
//! cluster: late agents, an etcd that crashes, agents that are given up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use etcd_api::status::{ClusterState, ServiceStatus};
use etcd_tests::service::is_healthy;
use etcd_tests::{Service, etcd};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(60);

/// How many calls the scheduler has sent to the master, acknowledgements
/// included.
async fn mesos_calls(service: &Service) -> u64 {
    let (_, page) = service.get("/v1/metrics/prometheus").await.unwrap();
    page.lines()
        .filter(|line| line.starts_with("etcd_scheduler_mesos_calls"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn waiting_text(status: &ServiceStatus, pod: usize) -> String {
    status.pods[pod]
        .waiting
        .as_ref()
        .map(|waiting| waiting.text.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn two_agents_are_explained_and_the_third_completes_it() {
    let mut service = Service::on_agents(2).await.unwrap();
    service.start_scheduler(None).unwrap();
    let status = service
        .wait_for("the third pod explains itself", |status| {
            waiting_text(status, 2).contains("hostname UNIQUE (2 agents refused)")
        })
        .await
        .unwrap();
    assert_eq!(status.cluster.state, ClusterState::Unborn);
    assert!(
        waiting_text(&status, 0).contains("etcd-2"),
        "{}",
        waiting_text(&status, 0)
    );

    // Nothing spins while it waits.
    let (calls, started) = (mesos_calls(&service).await, Instant::now());
    let window = Duration::from_secs(10);
    while started.elapsed() < window {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let made = mesos_calls(&service).await - calls;
    assert!(
        made < 50,
        "{made} calls in {window:?}, five a second is the limit"
    );

    let (code, text) = service.get("/v1/plans/deploy").await.unwrap();
    assert_eq!(code.as_u16(), 202, "{text}");
    assert!(text.contains("hostname UNIQUE"), "{text}");
    let (code, _) = service.get("/v1/endpoints/api").await.unwrap();
    assert_eq!(
        code.as_u16(),
        404,
        "nothing is published before the cluster has formed"
    );

    service.cluster.add_agent().unwrap();
    service.wait_until_healthy().await.unwrap();
    let (code, text) = service.get("/v1/plans/deploy").await.unwrap();
    assert_eq!(code.as_u16(), 200, "{text}");
    let (code, text) = service.get("/v1/endpoints/api").await.unwrap();
    assert_eq!(code.as_u16(), 200, "{text}");
}

#[tokio::test]
async fn at_rest_offers_are_suppressed_and_nothing_spins() {
    let service = Service::deployed().await.unwrap();
    let started = Instant::now();
    while service.status().await.unwrap().mesos.offers_suppressed != Some(true) {
        assert!(started.elapsed() < LIMIT, "offers are not suppressed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = mesos_calls(&service).await;
    let (window, started) = (Duration::from_secs(10), Instant::now());
    while started.elapsed() < window {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let made = mesos_calls(&service).await - calls;
    assert!(made <= 2, "{made} calls in {window:?} at rest");
}

#[tokio::test]
async fn an_etcd_that_crashes_while_the_cluster_forms() {
    let mut service = Service::start().await.unwrap();
    let killed = service.signal_the_first("etcd", Signal::KILL).await;
    killed.unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    etcd::put(&status, "formed", "after all").await.unwrap();
}

#[tokio::test]
async fn an_executor_that_is_killed_while_the_cluster_forms() {
    let mut service = Service::start().await.unwrap();
    let killed = service.signal_the_first("etcd-executor", Signal::KILL);
    killed.await.unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    etcd::put(&status, "formed", "after all").await.unwrap();
    assert_eq!(service.processes("etcd").unwrap().len(), 3);
}

/// An agent is given up as soon as its founder is on record: a new birth if no
/// quorum was seen, growth if it was, and never two clusters.
#[tokio::test]
async fn an_agent_given_up_during_the_birth() {
    let mut service = Service::on_agents(4).await.unwrap();
    service.start_scheduler(None).unwrap();
    let status = service
        .wait_for("the founders have their places", |status| {
            status.pods.iter().all(|pod| pod.host.is_some())
        })
        .await
        .unwrap();
    service
        .mark_agent_gone(status.pods[1].host.as_deref().unwrap())
        .await
        .unwrap();
    let lost = status.pods[1].host.clone();
    let status = service
        .wait_for("three voters without the lost agent", |status| {
            is_healthy(status) && status.pods[1].host != lost
        })
        .await
        .unwrap();
    etcd::put(&status, "formed", "without the lost one")
        .await
        .unwrap();
    assert_eq!(service.processes("etcd").unwrap().len(), 3);
}

/// O2 of the original package: a member that starts after the others have
/// formed a quorum removed itself for ever.
#[tokio::test]
async fn a_member_that_starts_twenty_seconds_late() {
    let late_by = Duration::from_secs(20);
    let mut service = Service::start().await.unwrap();
    let late = service.signal_the_first("etcd-executor", Signal::STOP);
    let late = late.await.unwrap();
    let stopped = Instant::now();
    let formed = service
        .wait_for(
            "the others have formed a cluster without the late one",
            |status| {
                status.cluster.state == ClusterState::Formed
                    && stopped.elapsed() >= late_by
            },
        )
        .await
        .unwrap();
    let missing = formed.pods.iter().filter(|pod| !pod.healthy).count();
    assert!(missing <= 1, "{missing} members are missing");
    service.signal(late, Signal::CONT).unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    assert_eq!(status.cluster.cluster_id, formed.cluster.cluster_id);
    etcd::put(&status, "late", "and there").await.unwrap();
}
