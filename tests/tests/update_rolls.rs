//! A changed target goes through a live cluster on real Mesos, one member at a time,
//! under clients whose histories are checked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use etcd_api::ServiceStatus;
use etcd_local::cluster::{ClusterOptions, Host};
use etcd_tests::service::{is_healthy, member_ids, pod, task_ids};
use etcd_tests::{Service, UnderClients};
use mesos_v1::v1::Resource;
use mesos_v1::{Access, OperatorClient};
use serde_json::{Value, json};

async fn update(service: &UnderClients, options: &Value) {
    let file = service.root().join("update.json");
    fs::write(&file, options.to_string()).unwrap();
    let words = format!("update start --options {}", file.display());
    let said = service.dcos_etcd(&words).await.unwrap();
    assert!(said.contains("Update started."), "{said}");
}

/// The value of an argument of every etcd that runs.
fn arguments(service: &UnderClients, name: &str) -> Vec<String> {
    let etcds = service.processes("etcd").unwrap();
    let argument = |pid: i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        words
            .find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let pids = etcds.iter().map(|(pid, _)| pid.as_raw_nonzero().get());
    pids.filter_map(argument).collect()
}

/// The last member has to be well for five seconds before its step is complete.
async fn wait_until_update_is_complete(service: &UnderClients) {
    let complete = "update (serial strategy) (COMPLETE)";
    service
        .wait_until_said("plan status update", complete)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tunable_is_changed_in_place_though_the_scheduler_is_killed() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    update(&service, &json!({"etcd": {"heartbeat_interval": 150}})).await;
    let old = task_ids(&before);
    let begun = |status: &ServiceStatus| is_healthy(status) && task_ids(status) != old;
    service.wait_for("one is restarted", begun).await.unwrap();
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();

    let all_restarted = |status: &ServiceStatus| {
        let new = task_ids(status);
        is_healthy(status) && new.iter().all(|task| !old.contains(task))
    };
    let what = "all run with what is new";
    let after = service.wait_for(what, all_restarted).await.unwrap();
    assert_eq!(
        member_ids(&after),
        member_ids(&before),
        "restarted in place"
    );
    assert_eq!(arguments(&service, "--heartbeat-interval"), ["150"; 3]);
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    wait_until_update_is_complete(&service).await;
}

/// Memory of the host that has a member and next to nothing beside it, MB.
const TIGHT: u32 = MEM + EXECUTOR_MEM + 12;

/// More memory is reserved under the places that there are, and members are restarted
/// on them; less memory is given back. One agent has no room: its member is left alone,
/// and says so. The scheduler is killed while it has more reserved, and less.
#[tokio::test]
async fn memory_changes_in_place_where_there_is_room() {
    let hosts = [Host::new(), Host::new(), Host::new().mem(TIGHT)];
    let mut service = Service::on(ClusterOptions::of(hosts)).await.unwrap();
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let at_first = service.before.clone();
    let tight = service.pod_on_agent(&at_first, 2).unwrap();
    let roomy = service.pod_on_agent(&at_first, 0).unwrap();
    // It is to be among those that grow.
    service.give_lead_to(&roomy).await.unwrap();
    let before = service.status().await.unwrap();

    service.set_option("node", "mem", json!(MEM + 64));
    for failpoint in ["before-store-grow", "before-grow", "after-grow"] {
        service.crash_at(failpoint).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    let waits = |status: &ServiceStatus| {
        let waiting = pod(status, &tight).unwrap().waiting.as_ref();
        waiting.is_some_and(|why| why.code == "no_room_to_grow")
    };
    let others_grew =
        |status: &ServiceStatus| waits(status) && restarted(status, &before) == 2;
    let what = "one has no room, and the others have grown";
    let grown = service.wait_for(what, others_grew).await.unwrap();
    let text = &pod(&grown, &tight).unwrap().waiting.as_ref().unwrap().text;
    println!("{text}");
    assert!(text.contains("to have 64 MB of memory more"), "{text}");
    assert!(text.contains("does not offer 52 MB of memory"), "{text}");
    is_as_before(&grown, &before, &tight);
    let words = "does not offer 52 MB of memory";
    let said = service.wait_until_said("plan status update", words).await;
    said.unwrap();

    service.set_option("node", "mem", json!(MEM));
    for failpoint in ["before-shrink", "after-shrink"] {
        service.crash_at(failpoint).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    let back = |status: &ServiceStatus| {
        let waits = pod(status, &tight).unwrap().waiting.is_some();
        restarted(status, &grown) == 2 && is_healthy(status) && !waits
    };
    let what = "nobody waits for room any more";
    let after = service.wait_for(what, back).await.unwrap();
    is_as_before(&after, &before, &tight);
    wait_until_update_is_complete(&service).await;
    wait_until_mesos_has(&service, MEM).await;

    // Less than they were founded with, for all three.
    update(&service, &json!({"node": {"mem": MEM - 64}})).await;
    let all =
        |status: &ServiceStatus| restarted(status, &after) == 3 && is_healthy(status);
    let least = service.wait_for("all run with less memory", all).await;
    let least = least.unwrap();
    assert_eq!(member_ids(&least), member_ids(&before), "in place");
    assert_eq!(places(&least), places(&before), "in place");
    wait_until_update_is_complete(&service).await;
    wait_until_mesos_has(&service, MEM - 64).await;
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
}

/// How many are well with another task than before.
fn restarted(status: &ServiceStatus, before: &ServiceStatus) -> usize {
    let old = task_ids(before);
    let well = status.pods.iter().filter(|pod| pod.healthy);
    well.filter(|pod| !old.contains(&(pod.name.clone(), pod.task_id.clone())))
        .count()
}

/// All members are where they were, and this one was not even restarted.
#[track_caller]
fn is_as_before(status: &ServiceStatus, before: &ServiceStatus, untouched: &str) {
    assert_eq!(member_ids(status), member_ids(before), "in place");
    assert_eq!(places(status), places(before), "in place");
    let task = |status| pod(status, untouched).unwrap().task_id.clone();
    assert_eq!(task(status), task(before), "{untouched} was restarted");
}

/// Memory of each member, with the tests' options, MB.
const MEM: u32 = 256;

/// Memory of each executor, with the tests' options, MB.
const EXECUTOR_MEM: u32 = 32;

/// Waits until tasks have so much memory, and agents nothing more reserved for them.
async fn wait_until_mesos_has(service: &UnderClients, mem: u32) {
    let wanted = [mem, mem + EXECUTOR_MEM].map(|each| vec![u64::from(each); 3]);
    let master = service.cluster.master_address().to_string();
    let operator =
        OperatorClient::new(master.parse().unwrap(), &Access::default()).unwrap();
    let mut found = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let tasks = operator.get_tasks().await.unwrap().tasks;
        let agents = operator.get_agents().await.unwrap().agents;
        let of_tasks = tasks.iter().map(|task| memory(&task.resources, |_| true));
        let reserved = agents.iter().map(|agent| {
            let is_reserved = |resource: &Resource| !resource.reservations.is_empty();
            memory(&agent.total_resources, is_reserved)
        });
        found = (of_tasks.collect(), reserved.collect());
        if [&found.0, &found.1] == wanted.each_ref() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("memory of tasks, and reserved on agents: {found:?}; wanted: {wanted:?}");
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole megabytes"
)]
fn memory(resources: &[Resource], which: impl Fn(&Resource) -> bool) -> u64 {
    let mem = resources.iter().filter(|it| it.name == "mem" && which(it));
    let values = mem.map(|it| it.scalar.as_ref().map_or(0.0, |scalar| scalar.value));
    values.sum::<f64>() as u64
}

/// Where the pods are.
fn places(status: &ServiceStatus) -> Vec<(String, Option<String>)> {
    let pods = status.pods.iter();
    pods.map(|pod| (pod.name.clone(), pod.address.clone()))
        .collect()
}

#[tokio::test]
async fn other_disks_take_other_places() {
    let mut service = UnderClients::on_agents(4).await.unwrap();
    let before = service.before.clone();
    let disk = 704;
    update(&service, &json!({"node": {"disk": disk}})).await;
    let old = member_ids(&before);
    let all_moved = |status: &ServiceStatus| {
        let new = member_ids(status);
        let moved = new.len() == 3 && new.iter().all(|member| !old.contains(member));
        moved && is_healthy(status) && status.pods.len() == 3
    };
    let what = "all members are others, on other places";
    service.wait_for(what, all_moved).await.unwrap();
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    wait_until_update_is_complete(&service).await;
}

/// The data on a volume belongs to a user, so another one comes with other volumes.
#[tokio::test]
async fn another_user_takes_other_places() {
    let mut service = UnderClients::on_agents(4).await.unwrap();
    if !is_root() {
        println!("SKIPPED: only root's agents run tasks as other users");
        return;
    }
    let old = member_ids(&service.before);
    update(&service, &json!({"service": {"user": OTHER_USER}})).await;
    let all_moved = |status: &ServiceStatus| {
        let new = member_ids(status);
        let moved = new.len() == 3 && new.iter().all(|member| !old.contains(member));
        moved && is_healthy(status) && status.pods.len() == 3
    };
    let what = "all members are others, on other places";
    service.wait_for(what, all_moved).await.unwrap();
    let etcds = service.processes("etcd").unwrap();
    let users = etcds
        .iter()
        .map(|(pid, _)| user_of(pid.as_raw_nonzero().get()));
    assert_eq!(users.collect::<Vec<_>>(), [user_id(OTHER_USER); 3]);
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    wait_until_update_is_complete(&service).await;
}

/// Every system has it.
const OTHER_USER: &str = "nobody";

/// Mesos runs nothing as another user otherwise.
fn is_root() -> bool {
    user_of(std::process::id().try_into().unwrap()) == 0
}

/// Whose process it is.
fn user_of(pid: i32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}

fn user_id(name: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|line| line[0] == name).unwrap();
    line[2].parse().unwrap()
}
