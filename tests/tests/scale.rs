//! A service that grows and shrinks by its `node.count` on real Mesos with real etcd,
//! under clients whose histories are checked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use etcd_api::plans::PlanInfo;
use etcd_api::status::Role;
use etcd_api::{EventList, ServiceStatus, What};
use etcd_tests::service::{PATIENCE, is_healthy};
use etcd_tests::{Service, UnderClients, etcd};
use mesos_v1::{Access, OperatorClient};
use serde_json::{Value, json};

/// For this long a volume has to be kept that nobody has given up.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// One member, and five agents, with clients at work.
async fn one_member() -> UnderClients {
    let mut service = Service::on_agents(5).await.unwrap();
    service.set_option("node", "count", json!(1));
    service.start_scheduler(None).unwrap();
    UnderClients::of(service).await.unwrap()
}

async fn update(service: &UnderClients, options: Value) -> Result<(), String> {
    let file = service.root().join("update.json");
    fs::write(&file, options.to_string()).unwrap();
    let words = format!("update start --options {}", file.display());
    let ended = service.command_line().unwrap().run(&words).await.unwrap();
    println!("{options}: {}{}", ended.out, ended.error);
    match ended.code {
        0 => Ok(()),
        _ => Err(ended.error),
    }
}

/// Waits for so many healthy voters and nobody else, in the service and in etcd, and
/// tells clients of them. Fails if two join at the same time.
async fn wait_for_members(service: &mut UnderClients, members: usize) -> ServiceStatus {
    let done = |status: &ServiceStatus| {
        let learners = status.pods.iter().filter(|pod| pod.role == Role::Learner);
        assert!(learners.count() <= 1, "{:?}", status.pods);
        is_healthy(status) && status.pods.len() == members
    };
    let what = format!("{members} members are healthy voters");
    let status = service.wait_for(&what, done).await.unwrap();
    service.members_are(&status);
    let list = etcd::client(&status).await.unwrap().member_list().await;
    let list = list.unwrap();
    let voters = list.members().iter().filter(|member| !member.is_learner());
    assert_eq!((voters.count(), list.members().len()), (members, members));
    status
}

async fn plan(service: &UnderClients, name: &str) -> PlanInfo {
    let (_, body) = service.get(&format!("/v1/plans/{name}")).await.unwrap();
    serde_json::from_str(&body).unwrap()
}

/// Agents on which something is reserved dynamically.
async fn agents_with_reservations(service: &Service) -> BTreeSet<String> {
    let master = service.cluster.master_address().to_string();
    let operator =
        OperatorClient::new(master.parse().unwrap(), &Access::default()).unwrap();
    let agents = operator.get_agents().await.unwrap().agents;
    let holding = agents.into_iter().filter(|agent| {
        let mut resources = agent.total_resources.iter();
        resources.any(|resource| !resource.reservations.is_empty())
    });
    holding.map(|agent| agent.agent_info.hostname).collect()
}

fn hosts(status: &ServiceStatus) -> BTreeSet<String> {
    let hosts = status.pods.iter().map(|pod| pod.host.clone().unwrap());
    hosts.collect()
}

/// Pods in the order in which their members were removed.
async fn removed(service: &UnderClients) -> Vec<String> {
    let (_, body) = service.get("/v1/events").await.unwrap();
    let list: EventList = serde_json::from_str(&body).unwrap();
    let removed = list
        .events
        .into_iter()
        .filter(|event| matches!(event.what, What::MemberRemoved { .. }));
    removed.filter_map(|event| event.pod).collect()
}

#[tokio::test]
async fn from_one_to_three_to_five_and_back_to_three() {
    let mut service = one_member().await;
    update(&service, json!({"node": {"count": 3}}))
        .await
        .unwrap();
    let three = wait_for_members(&mut service, 3).await;
    update(&service, json!({"node": {"count": 5}}))
        .await
        .unwrap();
    let five = wait_for_members(&mut service, 5).await;
    assert_eq!(five.cluster.cluster_id, three.cluster.cluster_id);
    assert_eq!(agents_with_reservations(&service).await, hosts(&five));

    let refused = update(&service, json!({"node": {"count": 3}})).await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("service.allow_scale_in"), "{refused}");
    assert_eq!(service.status().await.unwrap().pods.len(), 5);
    let smaller = json!({"node": {"count": 3}, "service": {"allow_scale_in": true}});
    update(&service, smaller).await.unwrap();
    let after = wait_for_members(&mut service, 3).await;
    assert_eq!(removed(&service).await, ["etcd-4", "etcd-3"]);
    let names: Vec<&str> = after.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["etcd-0", "etcd-1", "etcd-2"]);

    // Their volumes are there until somebody gives them up, whatever happens.
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let after = wait_for_members(&mut service, 3).await;
    let since = Instant::now();
    while since.elapsed() < KEPT_FOR {
        let kept = agents_with_reservations(&service).await;
        assert_eq!(kept, hosts(&five));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let decommission = plan(&service, "decommission").await;
    assert_eq!(decommission.status, "WAITING", "{decommission:?}");
    let said = service.dcos_etcd("plan status decommission").await.unwrap();
    println!("{said}");
    assert_eq!(service.processes("etcd").unwrap().len(), 3);

    service.dcos_etcd("plan resume decommission").await.unwrap();
    let resumed = Instant::now();
    while agents_with_reservations(&service).await != hosts(&after) {
        assert!(
            resumed.elapsed() < PATIENCE,
            "places are not given back: {:?}",
            service.status().await.unwrap().warnings
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = resumed.elapsed().as_secs_f64();
    println!("given back after {took:.1} s");
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    assert_eq!(plan(&service, "decommission").await.status, "COMPLETE");
}

/// The scheduler crashes on the way; of one who leaves, and of one who joins, nothing
/// is forgotten.
#[tokio::test]
async fn the_scheduler_is_killed_while_it_grows_and_shrinks() {
    let mut service = one_member().await;
    update(&service, json!({"node": {"count": 3}}))
        .await
        .unwrap();
    for failpoint in ["after-add-learner", "after-promote"] {
        service.crash_at(failpoint).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    wait_for_members(&mut service, 3).await;
    let smaller = json!({"node": {"count": 1}, "service": {"allow_scale_in": true}});
    update(&service, smaller).await.unwrap();
    for failpoint in ["after-remove-member", "after-kill"] {
        service.crash_at(failpoint).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    let last = wait_for_members(&mut service, 1).await;
    service.dcos_etcd("plan resume decommission").await.unwrap();
    let resumed = Instant::now();
    while agents_with_reservations(&service).await != hosts(&last) {
        assert!(resumed.elapsed() < PATIENCE, "places are not given back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    service.wait_until_well().await.unwrap();
}
