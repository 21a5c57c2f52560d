//! Volumes on disks of their own, real ones: parts of a disk (PATH) and whole disks
//! (MOUNT). Needs root, as whole disks are file systems in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use etcd_api::status::ServiceStatus;
use etcd_local::cluster::{ClusterOptions, Disk, Host};
use etcd_local::mounts;
use etcd_tests::service::{is_healthy, member_ids, task_ids};
use etcd_tests::{Service, etcd};
use serde_json::json;

/// More than `node.disk` of the tests.
const MEGABYTES: u32 = 640;

async fn service_on(hosts: impl IntoIterator<Item = Host>, disk_type: &str) -> Service {
    let mut service = Service::on(ClusterOptions::of(hosts)).await.unwrap();
    service.set_option("node", "disk_type", json!(disk_type));
    service
}

/// Where a disk of a host is.
fn disk(service: &Service, host: usize, name: &str) -> PathBuf {
    let directory = service.root().join(format!("mesos-agent-{}", host + 1));
    Host::disk_root(&directory, name)
}

/// Whether a member has written its log somewhere below.
fn holds_a_member(directory: &Path) -> bool {
    std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .any(|entry| {
            entry.file_name() == "wal"
                || entry.file_type().unwrap().is_dir() && holds_a_member(&entry.path())
        })
}

/// Deploys, checks on which disks the members are, reboots a host: its volume is found
/// again, with the same member.
async fn check(service: &mut Service, expected: &[(usize, &str)], not: &[(usize, &str)]) {
    service.start_scheduler(None).unwrap();
    let before = service.wait_until_healthy().await.unwrap();
    etcd::put(&before, "written", "on a disk of its own")
        .await
        .unwrap();
    for (host, name) in expected {
        assert!(
            holds_a_member(&disk(service, *host, name)),
            "{name} of host {host} is not used"
        );
    }
    for (host, name) in not {
        assert!(
            !holds_a_member(&disk(service, *host, name)),
            "{name} of host {host} is used"
        );
    }

    let agent = &mut service.cluster.agents()[1];
    agent.host_reboot().unwrap();
    agent.start_again().unwrap();
    let after = service
        .wait_for("the member of the rebooted host runs again", |status| {
            is_healthy(status) && task_ids(status) != task_ids(&before)
        })
        .await
        .unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
    let value = etcd::get(&after, "written").await.unwrap();
    assert_eq!(value.as_deref(), Some("on a disk of its own"));
}

#[tokio::test]
async fn parts_of_a_disk() {
    let host = || Host::new().disk(Disk::path("shared", 2 * MEGABYTES));
    let mut service = service_on([host(), host(), host()], "PATH").await;
    let everywhere = [(0, "shared"), (1, "shared"), (2, "shared")];
    check(&mut service, &everywhere, &[]).await;
}

/// Of whole disks that are large enough and of the wanted profile, the smallest.
#[tokio::test]
async fn whole_disks() {
    let plain = || Host::new().disk(Disk::mount("fast", MEGABYTES).with_profile("fast"));
    let rich = plain()
        .disk(Disk::mount("larger", 2 * MEGABYTES).with_profile("fast"))
        .disk(Disk::mount("too-small", 100).with_profile("fast"))
        .disk(Disk::mount("slow", MEGABYTES).with_profile("slow"));
    let mut service = service_on([plain(), plain(), rich], "MOUNT").await;
    service.set_option("node", "disk_profiles", json!(["fast"]));
    let fast = [(0, "fast"), (1, "fast"), (2, "fast")];
    let others = [(2, "larger"), (2, "too-small"), (2, "slow")];
    check(&mut service, &fast, &others).await;
}

fn reasons(status: &ServiceStatus) -> String {
    let mut words = String::new();
    for pod in &status.pods {
        let waiting = pod.waiting.as_ref().map(|waiting| waiting.text.as_str());
        for text in waiting.into_iter().chain(pod.failures.last.as_deref()) {
            words = format!("{words}{}: {text}\n", pod.name);
        }
    }
    words
}

/// Mesos makes nothing on a whole disk and calls CREATE finished, so the executor is
/// the first to find out that it cannot be written to.
#[tokio::test]
async fn a_whole_disk_that_is_read_only_is_explained_and_left() {
    let host = || Host::new().disk(Disk::mount("whole", MEGABYTES));
    let mut service = service_on([host(), host(), host()], "MOUNT").await;
    mounts::make_read_only(&disk(&service, 1, "whole")).unwrap();
    service.start_scheduler(None).unwrap();
    let status = service
        .wait_for("the read-only disk is explained", |status| {
            reasons(status).contains("Read-only file system")
        })
        .await
        .unwrap();
    eprintln!("{}", reasons(&status));

    service.cluster.add_host(&host()).unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    let mut hosts = service.hosts_of(&status);
    hosts.sort_unstable();
    assert_eq!(hosts, [0, 2, 3]);
    etcd::put(&status, "placed", "elsewhere").await.unwrap();
}
