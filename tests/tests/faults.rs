//! What breaks under a running cluster, on real Mesos with real etcd. After
//! each fault the same members are back with the same data.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use etcd_api::status::{MesosState, ServiceStatus};
use etcd_tests::service::{PATIENCE, is_healthy, member_ids, pod_on, task_ids};
use etcd_tests::witness::Witness;
use etcd_tests::{Service, etcd};
use rustix::process::{Pid, Signal, test_kill_process};

const LIMIT: Duration = Duration::from_secs(60);

/// A deployed service with one acknowledged write, how it was then, and clients
/// that have worked on it since.
struct Deployed {
    service: Service,
    witness: Option<Witness>,
    before: ServiceStatus,
    etcds: BTreeSet<i32>,
}

impl Deref for Deployed {
    type Target = Service;
    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Deployed {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

impl Deployed {
    async fn new() -> Self {
        let mut service = Service::deployed().await.unwrap();
        let status = service.status().await.unwrap();
        etcd::put(&status, "before", "the fault").await.unwrap();
        let before = service.wait_until_healthy().await.unwrap();
        let etcds = etcds(&service);
        let witness = Some(Witness::start(&before).await.unwrap());
        Deployed {
            service,
            witness,
            before,
            etcds,
        }
    }

    /// Waits until Mesos runs another task in place of at least one.
    async fn wait_until_a_task_was_replaced(&mut self, what: &str) {
        let tasks = task_ids(&self.before);
        let replaced =
            |status: &ServiceStatus| is_healthy(status) && task_ids(status) != tasks;
        self.service.wait_for(what, replaced).await.unwrap();
    }

    /// Waits until all is well and the data there; gives how it is now. The
    /// witness then says whether any client was ever told what cannot be.
    async fn wait_until_all_is_back(&mut self) -> ServiceStatus {
        let status = self.wait_until_healthy().await.unwrap();
        let value = etcd::get(&status, "before").await.unwrap();
        assert_eq!(value.as_deref(), Some("the fault"));
        if let Some(witness) = self.witness.take() {
            witness.members_are(&status);
            let testimony = witness.finish().await.unwrap();
            println!("{}", testimony.summary());
            testimony.check().unwrap();
        }
        status
    }

    /// As before, with the same members on the same volumes.
    async fn wait_until_the_same_members_are_back(&mut self) -> ServiceStatus {
        let after = self.wait_until_all_is_back().await;
        assert_eq!(
            member_ids(&after),
            member_ids(&self.before),
            "no change of members"
        );
        after
    }

    /// As before, to the last process.
    async fn wait_until_all_is_as_before(&mut self) -> ServiceStatus {
        let after = self.wait_until_the_same_members_are_back().await;
        assert_eq!(
            task_ids(&after),
            task_ids(&self.before),
            "nothing that runs was restarted"
        );
        assert_eq!(etcds(self), self.etcds, "etcd never stopped");
        after
    }

    async fn kill_executor(&mut self, agent: usize) {
        let etcd = self.process_on("etcd", agent).unwrap();
        let executor = self.process_on("etcd-executor", agent).unwrap();
        self.signal(executor, Signal::KILL).unwrap();
        wait_until_gone(etcd).await;
    }
}

fn etcds(service: &Service) -> BTreeSet<i32> {
    let processes = service.processes("etcd").unwrap();
    processes
        .into_iter()
        .map(|(pid, _)| pid.as_raw_nonzero().get())
        .collect()
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

#[tokio::test]
async fn a_killed_etcd_comes_back_in_place() {
    let mut service = Deployed::new().await;
    let killed = service.process_on("etcd", 1).unwrap();
    service.signal(killed, Signal::KILL).unwrap();
    wait_until_gone(killed).await;
    let started = Instant::now();
    while etcds(&service).len() < 3 {
        assert!(
            started.elapsed() < LIMIT,
            "the killed etcd was not started again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = service.wait_until_the_same_members_are_back().await;
    assert_eq!(
        task_ids(&after),
        task_ids(&service.before),
        "the executor restarts etcd, not Mesos"
    );
}

#[tokio::test]
async fn a_killed_executor_takes_its_etcd_with_it() {
    let mut service = Deployed::new().await;
    service.kill_executor(0).await;
    service
        .wait_until_a_task_was_replaced("another task runs in place of the killed one")
        .await;
    service.wait_until_the_same_members_are_back().await;
}

#[tokio::test]
async fn an_agent_restart_does_not_touch_etcd() {
    let mut service = Deployed::new().await;
    let agent = &mut service.cluster.agents()[2];
    agent.kill(Signal::KILL).unwrap();
    agent.wait_until_ended(LIMIT).await.unwrap();
    agent.start_again().unwrap();
    agent.wait_until_registered(LIMIT).await.unwrap();
    service.wait_until_all_is_as_before().await;
}

#[tokio::test]
async fn a_host_reboot_brings_back_the_same_member() {
    let mut service = Deployed::new().await;
    let agent = &mut service.cluster.agents()[1];
    agent.host_reboot().unwrap();
    agent.start_again().unwrap();
    service
        .wait_until_a_task_was_replaced("the member of the rebooted host runs again")
        .await;
    service.wait_until_the_same_members_are_back().await;
}

#[tokio::test]
async fn a_killed_scheduler_adopts_what_runs() {
    let mut service = Deployed::new().await;
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let after = service.wait_until_all_is_as_before().await;
    assert_eq!(after.framework_id, service.before.framework_id);
}

#[tokio::test]
async fn a_killed_master_does_not_stop_anything() {
    let mut service = Deployed::new().await;
    let master = service.cluster.master();
    master.kill(Signal::KILL).unwrap();
    master.wait_until_ended(LIMIT).await.unwrap();
    service
        .wait_for("the lost master is told", |status| {
            status.mesos.state != MesosState::Connected
        })
        .await
        .unwrap();
    assert_eq!(
        etcd::get(&service.before, "before")
            .await
            .unwrap()
            .as_deref(),
        Some("the fault"),
        "data service goes on without a master"
    );
    let master = service.cluster.master();
    master.start_again().unwrap();
    master.wait_until_registered(3, PATIENCE).await.unwrap();
    service.wait_until_all_is_as_before().await;
}

#[tokio::test]
async fn a_restart_that_was_asked_for_keeps_the_member() {
    let mut service = Deployed::new().await;
    let leader = service.before.leader.clone();
    let leader = leader.and_then(|leader| leader.pod).unwrap();
    let path = format!("/v1/pod/{leader}/restart");
    let (code, body) = service.post(&path).await.unwrap();
    assert!(code.is_success(), "{code} {body}");
    service
        .wait_until_a_task_was_replaced("the leader's pod was restarted")
        .await;
    let after = service.wait_until_the_same_members_are_back().await;
    assert_ne!(
        after.leader.and_then(|leader| leader.pod).as_deref(),
        Some(leader.as_str()),
        "leadership was moved before the stop"
    );
}

#[tokio::test]
async fn an_agent_given_up_is_replaced_by_growth() {
    let mut service = Deployed::new().await;
    service.cluster.add_agent().unwrap();
    let master = service.cluster.master();
    master.wait_until_registered(4, LIMIT).await.unwrap();
    let lost = service.before.pods[0].clone();
    service
        .mark_agent_gone(lost.host.as_deref().unwrap())
        .await
        .unwrap();
    service
        .wait_for("a new member took the place of the lost one", |status| {
            is_healthy(status) && status.pods[0].member_id != lost.member_id
        })
        .await
        .unwrap();
    let after = service.wait_until_all_is_back().await;
    assert_eq!(
        after.cluster.cluster_id, service.before.cluster.cluster_id,
        "still the one cluster"
    );
    assert_eq!(member_ids(&after)[1..], member_ids(&service.before)[1..]);
}

/// etcd would accept the empty directory under the old id and forget what it
/// had acknowledged. The executor refuses, and the member joins anew.
#[tokio::test]
async fn an_emptied_volume_is_a_lost_member() {
    let mut service = Deployed::new().await;
    service.kill_scheduler().unwrap();
    service.kill_executor(1).await;
    for entry in std::fs::read_dir(service.volume_on(1).unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    let address = service.cluster.lease().address(3, 0).ip().to_string();
    let lost = pod_on(&service.before, &address).unwrap().clone();
    service.start_scheduler(None).unwrap();
    service
        .wait_for("the emptied member has joined anew", |status| {
            is_healthy(status)
                && status
                    .pods
                    .iter()
                    .any(|pod| pod.name == lost.name && pod.member_id != lost.member_id)
        })
        .await
        .unwrap();
    let after = service.wait_until_all_is_back().await;
    assert_eq!(after.cluster.cluster_id, service.before.cluster.cluster_id);
}
