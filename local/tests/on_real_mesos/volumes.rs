//! What Apache Mesos 1.11.0 does with a persistent volume that cannot be made or
//! written to. These are facts about Mesos on which the product relies; none of them
//! is as one would guess.
//!
//! | disk | what is wrong | what Mesos does |
//! |---|---|---|
//! | ROOT, PATH | no directory can be made | the agent **exits**, and exits again at each start until it is mended; CREATE becomes OPERATION_UNREACHABLE, RESERVE before it that or OPERATION_FINISHED, the task TASK_UNREACHABLE, and none of them says why; once mended, the same agent makes the volume and offers it |
//! | MOUNT | its root is read-only | CREATE is OPERATION_FINISHED, since nothing is made for it, and the task is launched: it alone can find out |
//! | MOUNT | it is mounted no more | the same, and the task writes to the disk below |
//!
//! An OPERATION_FAILED for RESERVE or CREATE exists with resource providers only.

use std::fs;

use etcd_local::cluster::{ClusterOptions, Disk, Host, LocalCluster};
use etcd_local::mounts;
use etcd_local::waiting::{Look, wait_until};
use serde_json::{Value, json};

use crate::framework::Framework;
use crate::support::{LIMIT, start};

const WRITES: &str = "echo written > data/proof; echo $? > result; exec sleep 1000";

async fn wait_for_log(cluster: &mut LocalCluster, words: &str) {
    let log = cluster.agents()[0].log_path();
    wait_until(&format!("the agent says {words:?}"), LIMIT, || async {
        Ok(match fs::read_to_string(&log).unwrap().contains(words) {
            true => Look::Reached(()),
            false => Look::NotYet("it does not".to_owned()),
        })
    })
    .await
    .unwrap();
}

async fn check_that_the_agent_exits(host: Host, source: &str, fails_below: &str) {
    const REASON: &str = "Failed to create the persistent volume";
    let mut cluster = start(ClusterOptions::of([host])).await;
    let directory = cluster.root().join("mesos-agent-1");
    let source = match source {
        "" => Value::Null,
        name => json!({"type": "PATH",
            "path": {"root": Host::disk_root(&directory, name)}}),
    };
    let read_only = directory.join(fails_below);
    fs::create_dir_all(&read_only).unwrap();
    mounts::make_read_only(&read_only).unwrap();

    let mut framework = Framework::subscribe(cluster.master_address()).await;
    framework.launch_on_volume(WRITES, &source, 100).await;
    cluster.agents()[0].wait_until_ended(LIMIT).await.unwrap();
    wait_for_log(&mut cluster, REASON).await;
    // That of RESERVE may or may not have got through before the agent's end.
    let status = loop {
        let update = framework.next("UPDATE_OPERATION_STATUS").await;
        let status = &update["update_operation_status"]["status"];
        match status["operation_id"]["value"].as_str() {
            Some("reserve") => {}
            _ => break status.clone(),
        }
    };
    assert_eq!(status["operation_id"]["value"], "create");
    assert_eq!(status["state"], "OPERATION_UNREACHABLE");
    assert_eq!(status["message"], "Agent was marked unreachable");
    let update = framework.next("UPDATE").await;
    assert_eq!(update["update"]["status"]["state"], "TASK_UNREACHABLE");

    cluster.agents()[0].start_again().unwrap();
    cluster.agents()[0].wait_until_ended(LIMIT).await.unwrap();

    mounts::make_writable(&read_only).unwrap();
    cluster.agents()[0].start_again().unwrap();
    wait_until_as_if_nothing_had_been(&mut framework).await;
}

/// Waits until an operation is finished and the volume offered. Which is told first
/// is chance: the agent sends the one, the master's allocator the other.
async fn wait_until_as_if_nothing_had_been(framework: &mut Framework) {
    let both = async {
        let (mut finished, mut offered) = (false, false);
        while !(finished && offered) {
            let event = framework.next_event().await;
            let status = &event["update_operation_status"]["status"];
            finished |= status["state"] == "OPERATION_FINISHED";
            offered |= event["offers"].to_string().contains(r#""persistence""#);
        }
    };
    tokio::time::timeout(LIMIT, both)
        .await
        .expect("a finished operation and an offered volume");
}

#[tokio::test]
async fn a_volume_on_a_root_disk_that_cannot_be_made() {
    check_that_the_agent_exits(Host::new(), "", "work/volumes").await;
}

#[tokio::test]
async fn a_volume_on_a_path_disk_that_cannot_be_made() {
    let host = Host::new().disk(Disk::path("shared", 700));
    check_that_the_agent_exits(host, "shared", "disks/shared").await;
}

async fn launched_on_mount_disk(
    break_it: fn(&std::path::Path),
) -> (LocalCluster, String) {
    let host = Host::new().disk(Disk::mount("whole", 64));
    let mut cluster = start(ClusterOptions::of([host])).await;
    let directory = cluster.root().join("mesos-agent-1");
    let root = Host::disk_root(&directory, "whole");
    let mut framework = Framework::subscribe(cluster.master_address()).await;
    break_it(&root);
    let source = json!({"type": "MOUNT", "mount": {"root": root}});
    framework.launch_on_volume(WRITES, &source, 64).await;
    for _ in 0..2 {
        let update = framework.next("UPDATE_OPERATION_STATUS").await;
        let state = &update["update_operation_status"]["status"]["state"];
        assert_eq!(state, "OPERATION_FINISHED");
    }
    let sandboxes = directory.join("work/slaves");
    let result = wait_until("the task has tried to write", LIMIT, || async {
        Ok(match find(&sandboxes, "result") {
            Some(result) if !result.is_empty() => Look::Reached(result),
            _ => Look::NotYet("no result".to_owned()),
        })
    });
    let result = result.await.unwrap().trim().to_owned();
    assert!(cluster.agents()[0].is_running());
    (cluster, result)
}

/// What a file of this name holds, wherever it is below.
fn find(directory: &std::path::Path, name: &str) -> Option<String> {
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let found = match entry.file_type().ok()?.is_dir() {
            true => find(&entry.path(), name),
            false if entry.file_name() == name => fs::read_to_string(entry.path()).ok(),
            false => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[tokio::test]
async fn a_read_only_mount_disk_is_found_out_by_the_task_alone() {
    let (_cluster, result) =
        launched_on_mount_disk(|root| mounts::make_read_only(root).unwrap()).await;
    assert_ne!(result, "0", "the task could not write");
}

#[tokio::test]
async fn a_mount_disk_that_is_mounted_no_more_is_not_found_out() {
    let (cluster, result) =
        launched_on_mount_disk(|root| mounts::make_writable(root).unwrap()).await;
    assert_eq!(result, "0", "the task wrote to the disk below");
    let below = cluster.root().join("mesos-agent-1/disks/whole/proof");
    assert_eq!(fs::read_to_string(below).unwrap(), "written\n");
}
