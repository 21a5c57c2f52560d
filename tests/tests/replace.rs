//! `pod replace` on real Mesos with real etcd, under clients whose histories are
//! checked: no acknowledged write is lost, nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use etcd_api::status::{PodStatus, ServiceStatus};
use etcd_tests::service::{is_healthy, member_ids, pod_on};
use etcd_tests::witness::Witness;
use etcd_tests::{Service, etcd};
use rustix::process::Signal;

const MEMBERS: usize = 3;

async fn deployed_on(agents: u8) -> Service {
    let mut service = Service::on_agents(agents).await.unwrap();
    service.start_scheduler(None).unwrap();
    service.wait_until_healthy().await.unwrap();
    service
}

/// Asks for the replacement; it is taken.
async fn replace(service: &Service, pod: &str) {
    let (code, body) = service
        .post(&format!("/v1/pod/{pod}/replace"))
        .await
        .unwrap();
    assert_eq!(code.as_u16(), 200, "{body}");
    assert!(body.contains(&format!("{pod}-node")), "{body}");
}

/// Waits until nobody leaves any more, and the pod is a voter under another id.
async fn wait_until_replaced(
    service: &mut Service,
    pod: &str,
    before: &ServiceStatus,
) -> ServiceStatus {
    let id = |status: &ServiceStatus| {
        let mut pods = status.pods.iter();
        pods.find(|found| found.name == pod)
            .and_then(|found| found.member_id.clone())
    };
    let old = id(before);
    let replaced = |status: &ServiceStatus| {
        is_healthy(status) && status.pods.len() == MEMBERS && id(status) != old
    };
    let what = format!("{pod} is another member");
    service.wait_for(&what, replaced).await.unwrap()
}

fn leaves_something(status: &ServiceStatus) -> bool {
    let mut warnings = status.warnings.iter();
    warnings.any(|warning| warning.contains("left its volume"))
}

/// Waits until old places are given back, and says which hosts hold reservations.
async fn wait_until_nothing_is_left_behind(service: &mut Service) {
    let none = |status: &ServiceStatus| !leaves_something(status);
    let what = "old places are given back";
    let status = service.wait_for(what, none).await.unwrap();
    let hosts: BTreeSet<_> = status.pods.iter().map(|pod| pod.host.clone()).collect();
    assert_eq!(hosts.len(), MEMBERS, "{hosts:?}");
}

#[tokio::test]
async fn each_member_in_turn_under_writing_clients() {
    let mut service = deployed_on(4).await;
    let first = service.status().await.unwrap();
    let witness = Witness::start(&first).await.unwrap();
    etcd::put(&first, "before", "all").await.unwrap();
    for pod in ["etcd-0", "etcd-1", "etcd-2"] {
        let before = service.status().await.unwrap();
        replace(&service, pod).await;
        let after = wait_until_replaced(&mut service, pod, &before).await;
        witness.members_are(&after);
        wait_until_nothing_is_left_behind(&mut service).await;
    }
    let last = service.status().await.unwrap();
    let (old, new) = (member_ids(&first), member_ids(&last));
    assert!(old.iter().all(|id| !new.contains(id)), "{old:?} {new:?}");
    let value = etcd::get(&last, "before").await.unwrap();
    assert_eq!(value.as_deref(), Some("all"));
    let testimony = witness.finish().await.unwrap();
    println!("{}", testimony.summary());
    testimony.check().unwrap();
}

#[tokio::test]
async fn a_member_whose_agent_is_lost() {
    let mut service = deployed_on(4).await;
    let before = service.status().await.unwrap();
    let witness = Witness::start(&before).await.unwrap();
    // One of the four agents has no member, and any of them may be that one.
    let lost = before.pods[1].clone();
    let agent = service.agent_of(&before, &lost.name).unwrap();
    service.cluster.agents()[agent].host_reboot().unwrap();
    replace(&service, &lost.name).await;
    let after = wait_until_replaced(&mut service, &lost.name, &before).await;
    let address = lost.address.unwrap();
    assert!(pod_on(&after, &address).is_none(), "it is placed elsewhere");
    let testimony = witness.finish().await.unwrap();
    println!("{}", testimony.summary());
    testimony.check().unwrap();
    // Its place is given back once its agent is there again.
    assert!(leaves_something(&service.status().await.unwrap()));
    service.cluster.agents()[agent].start_again().unwrap();
    wait_until_nothing_is_left_behind(&mut service).await;
}

#[tokio::test]
async fn the_scheduler_is_killed_meanwhile() {
    let mut service = deployed_on(4).await;
    let led = |status: &ServiceStatus| status.leader.is_some();
    let before = service.wait_for("one leads", led).await.unwrap();
    let leader = before.pods.iter().find(|pod| pod.leader).unwrap();
    let witness = Witness::start(&before).await.unwrap();
    // At every effect of it, in their order.
    let mut asked = false;
    for failpoint in [
        "after-revive",
        "after-reserve",
        "after-decline",
        "before-add-learner",
        "after-add-learner",
        "after-launch",
        "after-reconcile-all",
        "after-reconcile",
        "after-promote",
        "after-move-leader",
        "after-remove-member",
        "after-kill",
        "after-release",
        "after-suppress",
    ] {
        if failpoint == "after-move-leader" {
            let leaves = |pod: &PodStatus| pod.name.ends_with("-leaving");
            service.crash_at_handover(failpoint, leaves).await.unwrap();
            continue;
        }
        service.kill_scheduler().unwrap();
        service.start_scheduler(Some(failpoint)).unwrap();
        if !asked {
            let at_rest = |status: &ServiceStatus| {
                is_healthy(status) && status.mesos.offers_suppressed == Some(true)
            };
            service.wait_for("nobody waits", at_rest).await.unwrap();
            let path = format!("/v1/pod/{}/replace", leader.name);
            // Taken, though the scheduler may die before it can say so.
            if let Ok((code, body)) = service.post(&path).await {
                assert_eq!(code.as_u16(), 200, "{body}");
            }
            asked = true;
        }
        service.wait_until_crash(failpoint).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    wait_until_replaced(&mut service, &leader.name, &before).await;
    wait_until_nothing_is_left_behind(&mut service).await;
    let testimony = witness.finish().await.unwrap();
    testimony.check().unwrap();
}

#[tokio::test]
async fn what_would_cost_the_data_or_the_quorum_is_refused() {
    let mut service = deployed_on(3).await;
    let status = service.status().await.unwrap();
    let down = service.process_on("etcd-executor", 1).unwrap();
    let address = service.cluster.lease().address(3, 0).ip().to_string();
    let pod = pod_on(&status, &address).unwrap().name.clone();
    // It cannot end, and so is not started again.
    service.signal(down, Signal::STOP).unwrap();
    let etcd = service.process_on("etcd", 1).unwrap();
    service.signal(etcd, Signal::STOP).unwrap();
    let is_down = |status: &ServiceStatus| {
        let mut pods = status.pods.iter();
        pods.any(|found| found.name == pod && !found.healthy)
    };
    service.wait_for("it is down", is_down).await.unwrap();
    let other = ["etcd-0", "etcd-1", "etcd-2"]
        .into_iter()
        .find(|name| *name != pod)
        .unwrap();
    let (code, body) = service
        .post(&format!("/v1/pod/{other}/replace"))
        .await
        .unwrap();
    assert_eq!(code.as_u16(), 409, "{body}");
    assert!(body.contains("1 of 3 voters"), "{body}");
    service.signal(etcd, Signal::CONT).unwrap();
    service.signal(down, Signal::CONT).unwrap();
    service.wait_until_healthy().await.unwrap();
}
