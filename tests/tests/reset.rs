//! `pod reset` on real Mesos with real etcd: a member's data is built anew where it
//! is, and no acknowledged write is lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
use etcd_tests::service::pod;
use etcd_tests::under_clients::has_another_member;
use etcd_tests::{Service, UnderClients, etcd};
use serde_json::json;

/// Without a leader nobody can write; an election takes one or two seconds, and a
/// client holds to a member that is gone for three at most.
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// Data that was set aside on a volume.
fn set_aside(volume: &Path) -> Vec<String> {
    let entries = fs::read_dir(volume).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("aside-")).collect()
}

async fn reset(service: &mut UnderClients, name: &str) {
    let before = service.status().await.unwrap();
    let agent = service.agent_of(&before, name).unwrap();
    let volume = service.volume_on(agent).unwrap();
    let old = pod(&before, name).unwrap().clone();
    let said = service.dcos_etcd(&format!("pod reset {name}")).await;
    assert!(said.unwrap().contains(&format!("{name}-node")));

    let was_set_aside = Cell::new(false);
    let fewest_well = Cell::new(usize::MAX);
    let done = |status: &_| {
        was_set_aside.set(was_set_aside.get() || !set_aside(&volume).is_empty());
        let etcd_api::ServiceStatus { pods, .. } = status;
        let well = pods.iter().filter(|pod| pod.healthy).count();
        fewest_well.set(fewest_well.get().min(well));
        has_another_member(status, name, &before)
    };
    let what = format!("{name} is another member");
    let after = service.wait_for(&what, done).await.unwrap();
    assert_eq!(fewest_well.get(), 2, "a member at a time");
    assert!(was_set_aside.get(), "the old data was set aside");
    let new = pod(&after, name).unwrap();
    assert_eq!(new.host, old.host);
    // There is no other volume on the agent, either.
    assert_eq!(service.volume_on(agent).unwrap(), volume);
    assert!(
        !after
            .warnings
            .iter()
            .any(|warning| warning.contains("left its volume")),
        "{:?}",
        after.warnings
    );
    let gone = |_: &_| set_aside(&volume).is_empty();
    let what = "the old data is deleted, as the new member votes";
    service.wait_for(what, gone).await.unwrap();
}

#[tokio::test]
async fn each_member_in_turn_under_writing_clients() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let first = service.before.clone();
    etcd::put(&first, "before", "all").await.unwrap();
    for name in ["etcd-0", "etcd-1", "etcd-2"] {
        reset(&mut service, name).await;
    }
    let (last, longest_gap) = service.wait_until_well().await.unwrap();
    assert_eq!(last.cluster.cluster_id, first.cluster.cluster_id);
    let value = etcd::get(&last, "before").await.unwrap();
    assert_eq!(value.as_deref(), Some("all"));
    assert!(longest_gap < LONGEST_GAP, "{longest_gap:?} without a write");
    let events = service.dcos_etcd("events").await.unwrap();
    let asked = "reset etcd-1 [asked by token-on-line-1]";
    assert!(events.contains(asked), "{events}");
}

#[tokio::test]
async fn the_only_voter_is_not_reset() {
    let mut service = Service::on_agents(1).await.unwrap();
    service.set_option("node", "count", json!(1));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let refusal = service.refused("pod reset etcd-0").await.unwrap();
    assert!(refusal.contains("it is the only voter"), "{refusal}");
    let (after, _) = service.wait_until_well().await.unwrap();
    assert_eq!(after.pods[0].member_id, service.before.pods[0].member_id);
    assert_eq!(after.pods[0].task_id, service.before.pods[0].task_id);
}

/// Nobody can write while etcd calls a member corrupt. It begins anew by itself, since
/// the others have the same data, and its alarm is taken back.
#[tokio::test]
async fn a_member_that_etcd_calls_corrupt() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    let member_id = pod(&before, "etcd-1").unwrap().member_id.clone().unwrap();
    let mut client = etcd::client(&before).await.unwrap();
    let mut options = AlarmOptions::new();
    options.with_member(u64::from_str_radix(&member_id, 16).unwrap());
    client
        .alarm(AlarmAction::Activate, AlarmType::Corrupt, Some(options))
        .await
        .unwrap();
    let begun_anew = |status: &_| has_another_member(status, "etcd-1", &before);
    let what = "etcd-1 is another member";
    let after = service.wait_for(what, begun_anew).await.unwrap();
    let alarms = after
        .warnings
        .iter()
        .filter(|warning| warning.contains("alarm"));
    assert_eq!(alarms.count(), 0, "{:?}", after.warnings);
    etcd::put(&after, "after", "the alarm").await.unwrap();
    service.wait_until_well().await.unwrap();
    let events = service.dcos_etcd("events").await.unwrap();
    assert!(events.contains("etcd-1"), "{events}");
}
