//! A changed target goes through a live cluster on real Mesos, one member at a time,
//! under clients whose histories are checked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt;

use etcd_api::ServiceStatus;
use etcd_tests::UnderClients;
use etcd_tests::service::{is_healthy, member_ids, task_ids};
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

#[tokio::test]
async fn other_resources_take_other_places() {
    let mut service = UnderClients::on_agents(4).await.unwrap();
    let before = service.before.clone();
    update(&service, &json!({"node": {"mem": 288}})).await;
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
