//! `pod reset` on real Mesos with real etcd, under clients whose histories are
//! checked: the member's data is set aside on its volume, built anew, and what was
//! set aside goes when the new member votes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use etcd_api::status::ServiceStatus;
use etcd_tests::service::{PATIENCE, is_healthy, task_ids};
use etcd_tests::witness::Witness;
use etcd_tests::{Service, etcd};

const MEMBERS: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How many directories lie aside on a volume.
fn set_aside(volume: &Path) -> usize {
    let entries = std::fs::read_dir(volume).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("aside-"))
        .count()
}

async fn wait_until_set_aside(volume: &Path, wanted: usize) {
    let started = Instant::now();
    while set_aside(volume) != wanted {
        let found = set_aside(volume);
        assert!(started.elapsed() < PATIENCE, "{found} aside, not {wanted}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn each_member_in_turn_is_reset_under_writing_clients() {
    let mut service = Service::deployed().await.unwrap();
    let first = service.status().await.unwrap();
    let hosts = service.hosts_of(&first);
    assert_eq!(hosts.len(), MEMBERS);
    let witness = Witness::start(&first).await.unwrap();
    etcd::put(&first, "before", "all").await.unwrap();
    for (index, host) in hosts.into_iter().enumerate() {
        let volume = service.volume_on(host).unwrap();
        let before = service.wait_until_healthy().await.unwrap();
        let pod = before.pods[index].name.clone();
        let (code, body) = service.post(&format!("/v1/pod/{pod}/reset")).await.unwrap();
        assert_eq!(code.as_u16(), 200, "{body}");
        wait_until_set_aside(&volume, 1).await;

        let old = before.pods[index].member_id.clone();
        let is_new = |status: &ServiceStatus| {
            is_healthy(status) && status.pods[index].member_id != old
        };
        let what = format!("{pod} is another member");
        let after = service.wait_for(&what, is_new).await.unwrap();
        assert_eq!(after.pods.len(), MEMBERS);
        assert_eq!(after.pods[index].host, before.pods[index].host);
        assert_ne!(task_ids(&after)[index], task_ids(&before)[index]);
        witness.members_are(&after);
        wait_until_set_aside(&volume, 0).await;
    }
    let last = service.status().await.unwrap();
    let value = etcd::get(&last, "before").await.unwrap();
    assert_eq!(value.as_deref(), Some("all"));
    let testimony = witness.finish().await.unwrap();
    println!("{}", testimony.summary());
    testimony.check().unwrap();
}
