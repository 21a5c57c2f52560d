//! Where members go on agents that differ: attributes, zones, regions; and what is said
//! of places that cannot be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use etcd_api::status::ServiceStatus;
use etcd_local::cluster::{ClusterOptions, Host};
use etcd_tests::Service;
use serde_json::json;

/// How soon it is said that something cannot be: agents are asked for once the
/// scheduler has subscribed, which takes a second on an idle machine.
const AT_ONCE: Duration = Duration::from_secs(20);

async fn service_on(hosts: impl IntoIterator<Item = Host>, constraint: &str) -> Service {
    let options = ClusterOptions::of(hosts).region("east");
    let mut service = Service::on(options).await.unwrap();
    service.set_option("node", "placement_constraint", json!(constraint));
    service.start_scheduler(None).unwrap();
    service
}

/// Deploys on these hosts, and gives those that hold a member, in order.
async fn placed(hosts: impl IntoIterator<Item = Host>, constraint: &str) -> Vec<usize> {
    let mut service = service_on(hosts, constraint).await;
    let status = service.wait_until_healthy().await.unwrap();
    let mut hosts = service.hosts_of(&status);
    hosts.sort_unstable();
    hosts
}

fn host(rack: &str, disks: &str) -> Host {
    Host::new()
        .attribute("rack", rack)
        .attribute("disks", disks)
        .zone("east", "a")
}

#[tokio::test]
async fn attributes() {
    let hosts = [
        host("r1", "spinning"),
        host("r2", "solid"),
        host("r1", "solid"),
        host("r2", "solid"),
        host("r3", "solid"),
    ];
    let constraint = r#"[["rack", "UNIQUE"], ["disks", "CLUSTER", "solid"]]"#;
    let placed = placed(hosts, constraint).await;
    assert!(
        placed == [1, 2, 4] || placed == [2, 3, 4],
        "one of each rack, all on solid disks: {placed:?}"
    );
}

/// One member for each zone, and none in a region that is not the masters', although
/// it has a zone of its own.
#[tokio::test]
async fn zones_of_the_masters_region() {
    let hosts = [
        Host::new().zone("west", "d"),
        Host::new().zone("east", "a"),
        Host::new().zone("east", "a"),
        Host::new().zone("east", "b"),
        Host::new().zone("east", "c"),
    ];
    let placed = placed(hosts, r#"[["@zone", "GROUP_BY", "3"]]"#).await;
    assert!(
        placed == [1, 3, 4] || placed == [2, 3, 4],
        "one for each zone: {placed:?}"
    );
}

fn reasons(status: &ServiceStatus) -> Vec<(&str, &str)> {
    let of_pods = status.pods.iter().filter_map(|pod| pod.waiting.as_ref());
    of_pods
        .chain(&status.waiting)
        .map(|waiting| (waiting.code.as_str(), waiting.text.as_str()))
        .collect()
}

/// There are three agents and offers from all of them, but only two are in the rack.
#[tokio::test]
async fn places_that_cannot_be_are_told_at_once() {
    let hosts = [
        host("r1", "solid"),
        host("r1", "solid"),
        host("r2", "solid"),
    ];
    let constraint = r#"[["hostname", "UNIQUE"], ["rack", "CLUSTER", "r1"]]"#;
    let mut service = service_on(hosts, constraint).await;
    let started = Instant::now();
    let status = service
        .wait_for("it is told that this cannot be", |status| {
            reasons(status)
                .iter()
                .any(|(code, _)| *code == "cannot_be_placed")
        })
        .await
        .unwrap();
    let took = started.elapsed();
    assert!(took < AT_ONCE, "told only after {took:?}");
    let reasons = reasons(&status);
    assert!(
        reasons
            .iter()
            .any(|(code, text)| *code == "cannot_be_placed"
                && text.contains("allows 2 members on the 3 agents")
                && text.contains("rack CLUSTER r1 (1 agent refused)")),
        "{reasons:?}"
    );
    assert_eq!(
        service.processes("etcd").unwrap().len(),
        0,
        "a cluster that cannot be is not begun"
    );

    let third = host("r1", "solid");
    service.cluster.add_host(&third).unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    let mut hosts = service.hosts_of(&status);
    hosts.sort_unstable();
    assert_eq!(hosts, [0, 1, 3]);
}
