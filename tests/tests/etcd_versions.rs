//! Another etcd, and another executor, go through a live cluster on real Mesos.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use etcd_api::ServiceStatus;
use etcd_api::status::PodStatus;
use etcd_tests::service::{PATIENCE, has_its_task_of, is_healthy, member_ids, task_ids};
use etcd_tests::{Service, UnderClients, programs};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The newest etcd of a minor version, and its version.
fn etcd_of(minor: &str) -> (PathBuf, String) {
    programs::newest_etcd_of(minor).unwrap()
}

async fn restart_with_etcd(service: &mut Service, directory: &Path) {
    service.kill_scheduler().unwrap();
    service.set_option("scheduler", "etcd_dir", json!(directory));
    service.start_scheduler(None).unwrap();
}

fn all_run(status: &ServiceStatus, version: &str) -> bool {
    let mut pods = status.pods.iter();
    is_healthy(status) && pods.all(|pod| pod.etcd_version.as_deref() == Some(version))
}

/// The cluster's version as its first member tells it.
async fn cluster_version(status: &ServiceStatus) -> String {
    let url = format!("{}/version", status.pods[0].client_url.as_ref().unwrap());
    let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["etcdcluster"].as_str().unwrap().to_owned()
}

/// It rises some seconds after all members run the new version.
async fn wait_for_cluster_version(status: &ServiceStatus, minor: &str) {
    let started = Instant::now();
    loop {
        let version = cluster_version(status).await;
        if version.starts_with(minor) {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "the cluster is still at {version}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The errors of the deploy plan.
async fn refusals(service: &Service) -> Vec<String> {
    let (_, body) = service.get("/v1/plans/deploy").await.unwrap();
    let plan: Value = serde_json::from_str(&body).unwrap();
    serde_json::from_value(plan["errors"].clone()).unwrap()
}

/// Where the first line with these words is in the scheduler's log.
fn first_line(service: &Service, words: &str) -> usize {
    let log = fs::read_to_string(service.scheduler_log()).unwrap();
    let found = log.lines().position(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("no {words:?} in the log"))
}

/// What a change does to its members one after the other, in the end to the leader.
const AT_EACH_MEMBER: [&str; 5] = [
    "before-kill",
    "after-kill",
    "before-launch",
    "after-launch",
    "after-reconcile",
];
const AT_THE_LEADER: [&str; 2] = ["before-move-leader", "after-move-leader"];

/// The scheduler is killed at every effect of it.
#[tokio::test]
async fn a_minor_version_up_under_clients_and_not_down() {
    let ((old_directory, old), (new_directory, new)) = (etcd_of("3.4"), etcd_of("3.5"));
    println!("{old} -> {new}");
    let mut service = Service::on_agents(3).await.unwrap();
    service.set_option("scheduler", "etcd_dir", json!(old_directory));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let before = service.before.clone();
    assert!(all_run(&before, &old));

    // Its effects in their order. The first start brings the new etcd, and nobody may be
    // touched before the snapshot is taken, and noted.
    service.set_option("scheduler", "etcd_dir", json!(new_directory));
    let untouched = service.processes("etcd").unwrap();
    for failpoint in [
        "after-try-recipe",
        "before-take-snapshot",
        "after-take-snapshot",
    ] {
        service.crash_at(failpoint).await.unwrap();
        // Beside them there may be one that is tried.
        let running = service.processes("etcd").unwrap();
        let runs = |etcd| running.contains(etcd);
        assert!(untouched.iter().all(runs), "{failpoint}: {running:?}");
    }
    for failpoint in AT_EACH_MEMBER {
        service.crash_at(failpoint).await.unwrap();
    }
    for failpoint in AT_THE_LEADER {
        let is_old = |pod: &PodStatus| has_its_task_of(&before, pod);
        service.crash_at_handover(failpoint, is_old).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    let what = "all run the new version";
    let after = service.wait_for(what, |status| all_run(status, &new)).await;
    let after = after.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before), "in place");
    let (after, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    service
        .wait_until_said("plan status update", "update (serial strategy) (COMPLETE)")
        .await
        .unwrap();
    wait_for_cluster_version(&after, "3.5.").await;

    // Whoever has to go back to the old version has all data of that time.
    let snapshot = after.update_snapshot.clone().unwrap();
    let etcdctl = Command::new(old_directory.join("etcdctl"))
        .args(["snapshot", "status", &snapshot.path, "--write-out=json"])
        .env("ETCDCTL_API", "3")
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&etcdctl.stdout).unwrap();
    assert!(
        said["revision"].as_i64().unwrap() >= snapshot.revision,
        "{said}"
    );
    assert!(snapshot.revision > 1);
    let whole = first_line(&service, "a snapshot is whole");
    assert!(whole < first_line(&service, "issued effect=kill etcd-"));

    not_down(&mut service, &after, &old_directory, &new).await;
}

/// The old version is refused, and members go on, and come back, with the new one.
async fn not_down(
    service: &mut Service,
    after: &ServiceStatus,
    old_directory: &Path,
    new: &str,
) {
    restart_with_etcd(service, old_directory).await;
    let what = "all go on";
    let on = service.wait_for(what, |status| all_run(status, new)).await;
    assert_eq!(task_ids(&on.unwrap()), task_ids(after));
    let refused = refusals(service).await;
    println!("{refused:?}");
    assert_eq!(refused.len(), 1);
    for words in ["Field: 'etcd.version'", "cannot go back to 3.4"] {
        assert!(refused[0].contains(words), "{refused:?}");
    }
    // The scheduler serves another etcd than this member has, and keeps its own.
    let executor = service.process_on("etcd-executor", 0).unwrap();
    service.signal(executor, Signal::KILL).unwrap();
    let came_back = |status: &ServiceStatus| {
        all_run(status, new) && task_ids(status) != task_ids(after)
    };
    let what = "the member whose executor was killed is back with its own etcd";
    service.wait_for(what, came_back).await.unwrap();
}

/// An etcd that works when it is tried on empty data, and ends on a member's own.
fn etcd_that_ends(root: &Path, version: &str, real: &Path) -> PathBuf {
    let directory = root.join("etcd-that-ends");
    fs::create_dir(&directory).unwrap();
    fs::copy(real.join("etcdctl"), directory.join("etcdctl")).unwrap();
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = --version ]; then echo 'etcd Version: {version}'; exit 0; fi\n\
         case \"$*\" in *--data-dir=data\\ *) exec {} \"$@\";; esac\n\
         echo 'this data is too old' >&2\nexit 1\n",
        real.join("etcd").display()
    );
    let etcd = directory.join("etcd");
    fs::write(&etcd, script).unwrap();
    fs::set_permissions(&etcd, Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The sizes of the executors that run.
fn executor_sizes(service: &Service) -> Vec<u64> {
    let executors = service.processes("etcd-executor").unwrap();
    let size = |sandbox: &PathBuf| fs::metadata(sandbox.join("etcd-executor"));
    let sizes = executors.iter().map(|(_, sandbox)| size(sandbox));
    let mut sizes: Vec<u64> = sizes.map(|found| found.unwrap().len()).collect();
    sizes.dedup();
    sizes
}

#[tokio::test]
async fn another_executor_rolls_and_an_etcd_that_ends_goes_no_further() {
    let (directory, version) = etcd_of("3.5");
    let mut service = Service::on_agents(3).await.unwrap();
    service.set_option("scheduler", "etcd_dir", json!(directory));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let before = service.before.clone();

    let executor = programs::own_program("etcd-executor").unwrap();
    let mut bytes = fs::read(&executor).unwrap();
    bytes.extend_from_slice(b"another release");
    let other = service.root().join("etcd-executor-of-another-release");
    fs::write(&other, &bytes).unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
    service.kill_scheduler().unwrap();
    service.set_option("scheduler", "executor", json!(other));
    service.start_scheduler(None).unwrap();
    let old = task_ids(&before);
    let all_restarted = |status: &ServiceStatus| {
        let new = task_ids(status);
        is_healthy(status) && new.iter().all(|task| !old.contains(task))
    };
    let what = "all run under the new executor";
    let after = service.wait_for(what, all_restarted).await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before), "in place");
    assert_eq!(executor_sizes(&service), [bytes.len() as u64]);
    // Only etcd's own programs take a snapshot first.
    assert_eq!(after.update_snapshot, None);

    let bad = etcd_that_ends(service.root(), "3.5.99", &directory);
    let complete = |status: &ServiceStatus| {
        let mut plans = status.plans.iter();
        let update = plans.find(|plan| plan.name == "update");
        is_healthy(status) && update.is_some_and(|plan| plan.status == "COMPLETE")
    };
    service
        .wait_for("the update is complete", complete)
        .await
        .unwrap();
    restart_with_etcd(&mut service, &bad).await;
    let failed = |status: &ServiceStatus| {
        let mut plans = status.plans.iter();
        let update = plans.find(|plan| plan.name == "update");
        update.is_some_and(|plan| plan.status == "ERROR") && all_run(status, &version)
    };
    let what = "the first member failed and is back on its own etcd";
    let failed = service.wait_for(what, failed).await.unwrap();
    let same = task_ids(&failed)
        .into_iter()
        .filter(|task| task_ids(&after).contains(task));
    assert_eq!(same.count(), 2, "the others were left alone");
    assert!(failed.update_snapshot.is_some());
    let (_, plan) = service.get("/v1/plans/update").await.unwrap();
    assert!(plan.contains("etcd ended 3 times in a row"), "{plan}");

    restart_with_etcd(&mut service, &directory).await;
    service
        .wait_for("the old etcd is wanted again", complete)
        .await
        .unwrap();
    let (last, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    assert_eq!(member_ids(&last), member_ids(&before), "in place");
    // Nobody needs the program that ends any more.
    let kept = fs::read_dir(service.root().join("scheduler/programs")).unwrap();
    let of_directory = fs::read_dir(&directory).unwrap();
    assert_eq!(kept.count(), of_directory.count() + 1);
}
