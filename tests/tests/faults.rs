//! What breaks under a running cluster, on real Mesos with real etcd. After
//! each fault the same members are back with the same data.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_tests::service::{PATIENCE, member_ids, task_ids};
use etcd_tests::{Service, etcd};
use rustix::process::{Pid, Signal, test_kill_process};

const LIMIT: Duration = Duration::from_secs(60);

/// A deployed service with one acknowledged write.
async fn deployed() -> (Service, etcd_api::status::ServiceStatus) {
    let mut service = Service::deployed().await.unwrap();
    let status = service.status().await.unwrap();
    etcd::put(&status, "before", "the fault").await.unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    (service, status)
}

async fn assert_data_is_there(service: &mut Service) {
    let status = service.wait_until_healthy().await.unwrap();
    let value = etcd::get(&status, "before").await.unwrap();
    assert_eq!(value.as_deref(), Some("the fault"));
}

async fn wait_until_gone(pid: Pid) {
    let started = Instant::now();
    while test_kill_process(pid).is_ok()
        && std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).is_ok()
    {
        assert!(
            started.elapsed() < LIMIT,
            "process {pid:?} still runs after {LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn pids(service: &Service, program: &str) -> BTreeSet<i32> {
    let processes = service.processes(program).unwrap();
    processes
        .into_iter()
        .map(|(pid, _)| pid.as_raw_nonzero().get())
        .collect()
}

#[tokio::test]
async fn a_killed_etcd_comes_back_in_place() {
    let (mut service, before) = deployed().await;
    let killed = service.process_on("etcd", 1).unwrap();
    service.signal(killed, Signal::KILL).unwrap();
    wait_until_gone(killed).await;
    service
        .wait_for("three etcds run again and are healthy", |status| {
            etcd_tests::service::is_healthy(status)
        })
        .await
        .unwrap();
    let started = Instant::now();
    while pids(&service, "etcd").len() < 3 {
        assert!(
            started.elapsed() < LIMIT,
            "the killed etcd was not started again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_data_is_there(&mut service).await;
    let after = service.wait_until_healthy().await.unwrap();
    assert_eq!(
        member_ids(&after),
        member_ids(&before),
        "no change of members"
    );
    assert_eq!(
        task_ids(&after),
        task_ids(&before),
        "the executor restarts etcd, not Mesos"
    );
}

#[tokio::test]
async fn a_killed_executor_takes_its_etcd_with_it() {
    let (mut service, before) = deployed().await;
    let etcd = service.process_on("etcd", 0).unwrap();
    let executor = service.process_on("etcd-executor", 0).unwrap();
    service.signal(executor, Signal::KILL).unwrap();
    wait_until_gone(etcd).await;
    let tasks_before = task_ids(&before);
    service
        .wait_for("another task runs in place of the killed one", |status| {
            etcd_tests::service::is_healthy(status) && task_ids(status) != tasks_before
        })
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    let after = service.status().await.unwrap();
    assert_eq!(
        member_ids(&after),
        member_ids(&before),
        "the same member on the same volume"
    );
}

#[tokio::test]
async fn an_agent_restart_does_not_touch_etcd() {
    let (mut service, before) = deployed().await;
    let etcds = pids(&service, "etcd");
    service.cluster.agents()[2].kill(Signal::KILL).unwrap();
    service.cluster.agents()[2]
        .wait_until_ended(LIMIT)
        .await
        .unwrap();
    service.cluster.agents()[2].start_again().unwrap();
    service.cluster.agents()[2]
        .wait_until_registered(LIMIT)
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    let after = service.wait_until_healthy().await.unwrap();
    assert_eq!(pids(&service, "etcd"), etcds, "etcd never stopped");
    assert_eq!(task_ids(&after), task_ids(&before));
}

#[tokio::test]
async fn a_host_reboot_brings_back_the_same_member() {
    let (mut service, before) = deployed().await;
    let tasks_before = task_ids(&before);
    service.cluster.agents()[1].host_reboot().unwrap();
    service.cluster.agents()[1].start_again().unwrap();
    service
        .wait_for("the member of the rebooted host runs again", |status| {
            etcd_tests::service::is_healthy(status) && task_ids(status) != tasks_before
        })
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    let after = service.status().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
}

#[tokio::test]
async fn a_killed_scheduler_adopts_what_runs() {
    let (mut service, before) = deployed().await;
    let etcds = pids(&service, "etcd");
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    assert_data_is_there(&mut service).await;
    let after = service.status().await.unwrap();
    assert_eq!(
        task_ids(&after),
        task_ids(&before),
        "nothing that runs was restarted"
    );
    assert_eq!(pids(&service, "etcd"), etcds);
    assert_eq!(after.framework_id, before.framework_id);
}

#[tokio::test]
async fn a_killed_master_does_not_stop_anything() {
    let (mut service, before) = deployed().await;
    let etcds = pids(&service, "etcd");
    service.cluster.master().kill(Signal::KILL).unwrap();
    service
        .cluster
        .master()
        .wait_until_ended(LIMIT)
        .await
        .unwrap();
    service
        .wait_for("the lost master is told", |status| {
            status.mesos.state != etcd_api::status::MesosState::Connected
        })
        .await
        .unwrap();
    assert_eq!(
        etcd::get(&before, "before").await.unwrap().as_deref(),
        Some("the fault"),
        "data service goes on without a master"
    );
    service.cluster.master().start_again().unwrap();
    service
        .cluster
        .master()
        .wait_until_registered(3, PATIENCE)
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    let after = service.wait_until_healthy().await.unwrap();
    assert_eq!(pids(&service, "etcd"), etcds);
    assert_eq!(task_ids(&after), task_ids(&before));
}

#[tokio::test]
async fn a_restart_that_was_asked_for_keeps_the_member() {
    let (mut service, before) = deployed().await;
    let leader = before.leader.clone().and_then(|leader| leader.pod).unwrap();
    let (code, body) = service
        .post(&format!("/v1/pod/{leader}/restart"))
        .await
        .unwrap();
    assert!(code.is_success(), "{code} {body}");
    let tasks_before = task_ids(&before);
    service
        .wait_for("the leader's pod was restarted", |status| {
            etcd_tests::service::is_healthy(status) && task_ids(status) != tasks_before
        })
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    let after = service.status().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
    assert_ne!(
        after.leader.and_then(|leader| leader.pod).as_deref(),
        Some(leader.as_str()),
        "leadership was moved before the stop"
    );
}

#[tokio::test]
async fn an_agent_given_up_is_replaced_by_growth() {
    let (mut service, before) = deployed().await;
    service.cluster.add_agent().unwrap();
    service
        .cluster
        .master()
        .wait_until_registered(4, LIMIT)
        .await
        .unwrap();
    let lost = before.pods[0].clone();
    service
        .mark_agent_gone(lost.host.as_deref().unwrap())
        .await
        .unwrap();
    let lost_member = lost.member_id.clone();
    let after = service
        .wait_for("a new member took the place of the lost one", |status| {
            etcd_tests::service::is_healthy(status)
                && status.pods[0].member_id != lost_member
        })
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    assert_eq!(
        after.cluster.cluster_id, before.cluster.cluster_id,
        "still the one cluster"
    );
    assert_eq!(member_ids(&after)[1..], member_ids(&before)[1..]);
}

/// Where the data of the member on an agent lies.
fn volume_on(service: &Service, agent: usize) -> std::path::PathBuf {
    let roles = service
        .root()
        .join(format!("mesos-agent-{}/work/volumes/roles", agent + 1));
    let only = |directory: &std::path::Path| {
        let mut entries = std::fs::read_dir(directory).unwrap();
        let entry = entries.next().expect("one entry").unwrap();
        assert!(
            entries.next().is_none(),
            "{} holds more than one",
            directory.display()
        );
        entry.path()
    };
    only(&only(&roles))
}

/// etcd would accept the empty directory under the old id and forget what it
/// had acknowledged. The executor refuses, and the member joins anew.
#[tokio::test]
async fn an_emptied_volume_is_a_lost_member() {
    let (mut service, before) = deployed().await;
    service.kill_scheduler().unwrap();
    let etcd = service.process_on("etcd", 1).unwrap();
    let executor = service.process_on("etcd-executor", 1).unwrap();
    service.signal(executor, Signal::KILL).unwrap();
    wait_until_gone(etcd).await;
    let volume = volume_on(&service, 1);
    for entry in std::fs::read_dir(&volume).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    let address = service.cluster.lease().address(3, 0).ip().to_string();
    let lost = etcd_tests::service::pod_on(&before, &address)
        .unwrap()
        .clone();
    service.start_scheduler(None).unwrap();
    let after = service
        .wait_for("the emptied member has joined anew", |status| {
            etcd_tests::service::is_healthy(status)
                && status
                    .pods
                    .iter()
                    .any(|pod| pod.name == lost.name && pod.member_id != lost.member_id)
        })
        .await
        .unwrap();
    assert_data_is_there(&mut service).await;
    assert_eq!(after.cluster.cluster_id, before.cluster.cluster_id);
}
