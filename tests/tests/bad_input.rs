//! Bad input: a clear error or waiting reason, an exit code by class, nothing
//! lost, nothing half done.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::process::Command;

use etcd_tests::service::is_healthy;
use etcd_tests::{Service, etcd, programs};
use mesos_v1::{Access, OperatorClient, v1};

const WRONG_OPTIONS: i32 = 64;
const REFUSED_BY_MESOS: i32 = 69;
const STORE: i32 = 74;

/// Runs the scheduler with arguments that must make it end at once.
#[track_caller]
fn check(arguments: &[&str], code: i32, expected: &[&str]) {
    let output = Command::new(programs::own_program("etcd-scheduler").unwrap())
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for part in expected {
        assert!(
            text.contains(part),
            "{arguments:?}: {part:?} is not in: {text}"
        );
    }
}

#[test]
fn options_that_cannot_be() {
    let all_at_once = [
        "--set",
        "node.count=2",
        "--set",
        "node.mem=-1",
        "--set",
        "node.colour=red",
    ];
    check(
        &all_at_once,
        WRONG_OPTIONS,
        &["node.count", "node.mem", "node.colour"],
    );
    check(
        &["--set", "node.count=0"],
        WRONG_OPTIONS,
        &["node.count", "1, 3, 5, 7"],
    );
    check(
        &["--set", "node.cpus=many"],
        WRONG_OPTIONS,
        &["node.cpus", "many"],
    );
    check(
        &["--masters", "nowhere"],
        WRONG_OPTIONS,
        &["scheduler.masters"],
    );
    check(
        &["--options", "/does/not/exist.json"],
        WRONG_OPTIONS,
        &["/does/not/exist.json"],
    );
}

#[test]
fn programs_that_are_not_there() {
    let state = std::env::temp_dir().join(format!("etcd-tests-{}", std::process::id()));
    let state = state.to_str().unwrap();
    let etcd = programs::etcd_directory().unwrap();
    let arguments = |etcd: &'static str| {
        [
            "--masters",
            "127.0.0.1:1",
            "--state-dir",
            state,
            "--etcd-dir",
            etcd,
            "--set",
        ]
        .into_iter()
        .chain(["etcd.quota=64", "--set", "node.disk=600"])
        .map(str::to_owned)
        .collect::<Vec<_>>()
    };
    let missing = arguments("/does/not/exist");
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    check(
        &missing,
        WRONG_OPTIONS,
        &["/does/not/exist", "scheduler.etcd_dir"],
    );
    assert!(etcd.join("etcd").is_file());
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test]
async fn tokens() {
    let service = Service::deployed().await.unwrap();
    assert_eq!(
        service.get_as(None, "/v1/status").await.unwrap().as_u16(),
        401
    );
    let wrong = Some("not-the-token-of-this-service");
    assert_eq!(
        service.get_as(wrong, "/v1/status").await.unwrap().as_u16(),
        401
    );
    assert_eq!(
        service.get_as(None, "/v1/livez").await.unwrap().as_u16(),
        200
    );
}

#[tokio::test]
async fn a_master_that_cannot_be_reached_is_waited_for() {
    let mut service = Service::on_agents(0).await.unwrap();
    // Nobody listens on this port of our own range.
    let nobody = service.cluster.lease().address(200, 5050).to_string();
    service.set_option("scheduler", "masters", serde_json::json!([nobody]));
    service.start_scheduler(None).unwrap();
    service
        .wait_for("the reason names the master", |status| {
            status
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.text.contains(&nobody))
        })
        .await
        .unwrap();
    assert!(service.scheduler_runs());
}

#[tokio::test]
async fn a_framework_that_was_torn_down_is_told_so() {
    let mut service = Service::deployed().await.unwrap();
    let framework = service.status().await.unwrap().framework_id.unwrap();
    service.kill_scheduler().unwrap();
    let master = service.cluster.master_address().to_string();
    let operator =
        OperatorClient::new(master.parse().unwrap(), &Access::default()).unwrap();
    operator
        .teardown(v1::FrameworkId { value: framework })
        .await
        .unwrap();
    service.start_scheduler(None).unwrap();
    let status = service.wait_until_scheduler_ends().await.unwrap();
    assert_eq!(
        status.code(),
        Some(REFUSED_BY_MESOS),
        "{}",
        service.end_of_log()
    );
    assert!(
        service.end_of_log().contains("framework"),
        "{}",
        service.end_of_log()
    );
}

#[tokio::test]
async fn a_damaged_store_is_not_started_over() {
    let mut service = Service::deployed().await.unwrap();
    service.kill_scheduler().unwrap();
    let store = service.root().join("scheduler/scheduler.redb");
    let store = if store.is_file() {
        store
    } else {
        std::fs::read_dir(service.root().join("scheduler"))
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .max_by_key(|path| std::fs::metadata(path).map_or(0, |data| data.len()))
            .unwrap()
    };
    let whole = std::fs::read(&store).unwrap();
    std::fs::write(&store, &whole[..whole.len() / 3]).unwrap();
    service.start_scheduler(None).unwrap();
    let status = service.wait_until_scheduler_ends().await.unwrap();
    assert_eq!(status.code(), Some(STORE), "{}", service.end_of_log());
    assert_eq!(
        service.processes("etcd").unwrap().len(),
        3,
        "members run on"
    );
    // With the file back, all is as it was.
    std::fs::write(&store, whole).unwrap();
    service.start_scheduler(None).unwrap();
    service.wait_until_healthy().await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_explained_and_used_when_free() {
    let mut service = Service::on_agents(3).await.unwrap();
    let taken = service.cluster.lease().address(3, 2379);
    let somebody = TcpListener::bind(taken).unwrap();
    service.start_scheduler(None).unwrap();
    service
        .wait_for("the taken port is named", |status| {
            status.pods.iter().any(|pod| {
                pod.waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.text.contains(&taken.to_string()))
            })
        })
        .await
        .unwrap();
    drop(somebody);
    let status = service.wait_until_healthy().await.unwrap();
    assert!(is_healthy(&status));
    etcd::put(&status, "port", "free").await.unwrap();
}

#[tokio::test]
async fn an_etcd_that_does_not_run_is_explained() {
    let mut service = Service::on_agents(3).await.unwrap();
    let broken = service.root().join("programs");
    std::fs::create_dir(&broken).unwrap();
    for name in ["etcd", "etcdctl"] {
        std::fs::write(broken.join(name), "not a program\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(broken.join(name), executable).unwrap();
    }
    service.set_option("scheduler", "etcd_dir", serde_json::json!(broken));
    service.start_scheduler(None).unwrap();
    let status = service
        .wait_for("the failure is explained", |status| {
            status.pods.iter().any(|pod| pod.failures.in_a_row > 0)
        })
        .await
        .unwrap();
    let failed = status
        .pods
        .iter()
        .find(|pod| pod.failures.in_a_row > 0)
        .unwrap();
    let why = failed.failures.last.clone().unwrap_or_default();
    assert!(why.contains("cannot be executed"), "{why}");
}
