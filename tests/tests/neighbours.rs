//! Others on the same Mesos: a second service of ours and a framework of somebody
//! else, which takes every offer that it can get and holds it for a while. All are
//! served.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use etcd_local::cluster::LocalCluster;
use etcd_tests::service::{is_healthy, member_ids, task_ids};
use etcd_tests::stranger::{Stranger, StrangerOptions};
use etcd_tests::{Scheduler, Service, etcd};
use rustix::process::Signal;
use serde_json::json;

/// Six tasks of the stranger, with twelve seconds in which it holds all that is free.
const HOARDER: StrangerOptions = StrangerOptions {
    role: "stranger",
    rounds: 6,
    hold_seconds: 2.0,
};

/// A second service beside `service`, on ports of its own: agents offer them once.
fn beside(cluster: &LocalCluster, name: &str) -> Scheduler {
    let directory = cluster.root().join("second");
    let mut scheduler = Scheduler::new(cluster, &directory, 1).unwrap();
    scheduler.set_option("service", "name", json!(name));
    scheduler.set_option("service", "role", json!("team/second"));
    scheduler.set_option("etcd", "client_port", json!(31379));
    scheduler.set_option("etcd", "peer_port", json!(31380));
    scheduler
}

async fn check_that_it_serves(scheduler: &mut Scheduler, value: &str) {
    let status = scheduler.wait_until_healthy().await.unwrap();
    etcd::put(&status, "whose", value).await.unwrap();
    let found = etcd::get(&status, "whose").await.unwrap();
    assert_eq!(found.as_deref(), Some(value));
}

/// Names with slashes, as DC/OS groups have them. The stranger was there first and
/// holds everything when the services come.
#[tokio::test]
async fn two_services_and_a_stranger_are_all_served() {
    let mut service = Service::on_agents(3).await.unwrap();
    let cluster = &service.cluster;
    let mut stranger =
        Stranger::start(cluster.master_address(), cluster.root(), &HOARDER).unwrap();
    stranger.wait_until_says("holds").await.unwrap();
    let mut second = beside(&service.cluster, "team/etcd-b");
    service.set_option("service", "name", json!("team/etcd-a"));
    service.start_scheduler(None).unwrap();
    second.start_scheduler(None).unwrap();

    check_that_it_serves(&mut service, "team/etcd-a").await;
    check_that_it_serves(&mut second, "team/etcd-b").await;
    stranger.wait_until_served().await.unwrap();

    // Each was told of its own members alone, and nobody's work was disturbed.
    check_that_it_serves(&mut service, "still team/etcd-a").await;
    let (first, second) = (
        service.status().await.unwrap(),
        second.status().await.unwrap(),
    );
    assert_ne!(first.cluster.cluster_id, second.cluster.cluster_id);
    assert_eq!(service.processes("etcd").unwrap().len(), 6);
    for status in [&first, &second] {
        // What there is to say about this etcd has nothing to do with others.
        let of_others = status
            .warnings
            .iter()
            .filter(|warning| !warning.contains("known data bug"))
            .filter(|warning| !warning.contains("should be updated: "));
        assert_eq!(of_others.count(), 0, "{:?}", status.warnings);
    }
}

/// The stranger subscribes with our own role, so that it is offered what we have
/// reserved, and holds it just when we need it back.
#[tokio::test]
async fn a_stranger_with_our_role_harms_nobody() {
    let mut service = Service::on_agents(3).await.unwrap();
    let options = StrangerOptions {
        role: "etcd-role",
        ..HOARDER
    };
    service.start_scheduler(None).unwrap();
    let cluster = &service.cluster;
    let mut stranger =
        Stranger::start(cluster.master_address(), cluster.root(), &options).unwrap();
    check_that_it_serves(&mut service, "ours").await;
    let before = service.status().await.unwrap();
    stranger.wait_until_says("holds").await.unwrap();
    let executor = service.process_on("etcd-executor", 0).unwrap();
    service.signal(executor, Signal::KILL).unwrap();
    service
        .wait_for("the killed member runs again", |status| {
            is_healthy(status) && task_ids(status) != task_ids(&before)
        })
        .await
        .unwrap();

    stranger.wait_until_served().await.unwrap();
    check_that_it_serves(&mut service, "still ours").await;
    let after = service.status().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
    assert_eq!(service.processes("etcd").unwrap().len(), 3);
}
