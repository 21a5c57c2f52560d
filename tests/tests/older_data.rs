//! A member's directory that went back in time, or was damaged, while the member was
//! down: it is not started, the pod says why, the right disk or a reset brings it
//! back, and nothing that was acknowledged is lost. On real Mesos with real etcd.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use etcd_api::status::{MesosState, PodStatus, ServiceStatus};
use etcd_tests::service::{is_healthy, member_ids, pod_on};
use etcd_tests::witness::Witness;
use etcd_tests::{Service, etcd};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(60);

/// Entries that a member must have got since its directory was copied.
const NEWER_BY: u64 = 50;

/// A deployed service with clients at work on it, and the follower whose disk is
/// going to be meddled with.
struct Meddled {
    service: Service,
    witness: Option<Witness>,
    before: ServiceStatus,
    agent: usize,
    pod: String,
}

impl Deref for Meddled {
    type Target = Service;
    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Meddled {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

impl Meddled {
    async fn new() -> Self {
        let mut service = Service::deployed().await.unwrap();
        let led = |status: &ServiceStatus| is_healthy(status) && status.leader.is_some();
        let before = service.wait_for("a leader is known", led).await.unwrap();
        let lease = service.cluster.lease();
        let address = |host: u8| lease.address(host, 0).ip().to_string();
        let (agent, pod) = (0..3)
            .zip(2..)
            .filter_map(|(agent, host)| Some((agent, pod_on(&before, &address(host))?)))
            .find(|(_, pod)| !pod.leader)
            .map(|(agent, pod)| (agent, pod.name.clone()))
            .unwrap();
        let witness = Some(Witness::start(&before).await.unwrap());
        Meddled {
            service,
            witness,
            before,
            agent,
            pod,
        }
    }

    /// A copy of the follower's directory, as a snapshot of its host would have it:
    /// everything at one moment, etcd unasked.
    async fn copy_of_the_disk(&self) -> PathBuf {
        let copy = self.root().join("copy");
        let etcd = self.process_on("etcd", self.agent).unwrap();
        self.signal(etcd, Signal::STOP).unwrap();
        let volume = self.volume_on(self.agent).unwrap();
        copy_all(&volume, &copy);
        self.signal(etcd, Signal::CONT).unwrap();
        copy
    }

    /// Waits until the scheduler knows that the follower has more than it had.
    async fn wait_until_it_has_more(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_ms = u64::try_from(now.as_millis()).unwrap();
        let name = self.pod.clone();
        let index_since = |status: &ServiceStatus| {
            let pod = pod(status, &name);
            let index = pod.raft_index.filter(|_| pod.healthy)?;
            (pod.probed_at_ms? > now_ms).then_some(index)
        };
        let what = "the follower was asked since its disk was copied";
        let asked = self
            .service
            .wait_for(what, |status| index_since(status).is_some());
        let copied = index_since(&asked.await.unwrap()).unwrap();
        let what = "the follower has got more entries";
        let more = |status: &ServiceStatus| {
            index_since(status).is_some_and(|index| index > copied + NEWER_BY)
        };
        self.service.wait_for(what, more).await.unwrap();
    }

    /// Kills the follower's executor, and with it etcd, and meddles with the volume
    /// before the scheduler can launch it again.
    async fn meddle_while_down(&mut self, meddle: impl FnOnce(&Path)) {
        let scheduler = self.scheduler_pid().unwrap();
        self.signal(scheduler, Signal::STOP).unwrap();
        let executor = self.process_on("etcd-executor", self.agent).unwrap();
        self.signal(executor, Signal::KILL).unwrap();
        self.wait_until_nothing_runs().await;
        meddle(&self.volume_on(self.agent).unwrap());
        self.signal(scheduler, Signal::CONT).unwrap();
    }

    async fn wait_until_nothing_runs(&self) {
        let started = Instant::now();
        let runs = |program: &str| self.process_on(program, self.agent).is_ok();
        while runs("etcd") || runs("etcd-executor") {
            assert!(started.elapsed() < LIMIT, "still runs after {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the pod waits for this reason after so many failures.
    async fn wait_for_reason(&mut self, code: &str, failures: u32) -> String {
        let name = self.pod.clone();
        let text = |status: &ServiceStatus| {
            let pod = pod(status, &name);
            let waiting = pod
                .waiting
                .as_ref()
                .filter(|waiting| waiting.code == code)?;
            (pod.failures.in_a_row >= failures).then(|| waiting.text.clone())
        };
        let what = format!("{name} waits with {code} after {failures} failures");
        let status = self
            .service
            .wait_for(&what, |status| text(status).is_some());
        text(&status.await.unwrap()).unwrap()
    }

    /// What an operator does who has found the right disk again. To be called while
    /// the pod waits before its next launch.
    async fn mend_and_restart(&mut self, mend: impl FnOnce(&Path)) {
        self.kill_scheduler().unwrap();
        self.wait_until_nothing_runs().await;
        mend(&self.volume_on(self.agent).unwrap());
        self.start_scheduler(None).unwrap();
        let connected =
            |status: &ServiceStatus| status.mesos.state == MesosState::Connected;
        self.wait_for("the scheduler is back", connected)
            .await
            .unwrap();
        let path = format!("/v1/pod/{}/restart", self.pod);
        let (code, body) = self.post(&path).await.unwrap();
        assert!(code.is_success(), "{code} {body}");
    }

    /// What an operator does whose right disk is gone: the member begins anew where
    /// it is.
    async fn reset(&mut self) {
        let operator = self.command_line().unwrap();
        let reset = format!("pod reset {}", self.pod);
        operator.succeed(&reset).await.unwrap();
        let name = self.pod.clone();
        let old = pod(&self.before, &name).clone();
        let done = |status: &ServiceStatus| {
            is_healthy(status) && pod(status, &name).member_id != old.member_id
        };
        let what = format!("{name} has begun anew");
        let after = self.service.wait_for(&what, done).await.unwrap();
        assert_eq!(pod(&after, &name).host, old.host);
    }

    /// All members are well, and no client was ever told what cannot be.
    async fn wait_until_nothing_was_lost(&mut self) {
        let after = self.wait_until_healthy().await.unwrap();
        let witness = self.witness.take().unwrap();
        witness.members_are(&after);
        let testimony = witness.finish().await.unwrap();
        println!("{}", testimony.summary());
        testimony.check().unwrap();
    }
}

fn pod<'s>(status: &'s ServiceStatus, name: &str) -> &'s PodStatus {
    status.pods.iter().find(|pod| pod.name == name).unwrap()
}

/// Copies a directory; not the files that etcd makes for later, which are empty and
/// large.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else if entry.path().extension().is_none_or(|end| end != "tmp") {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Moves everything that lies in one directory into another one.
fn move_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Flips a bit in the data of a record of a log file; doing it twice mends it. Bits
/// elsewhere, as in the padding between records, may matter to nobody.
fn flip_a_bit(wal: &Path) {
    let mut bytes = fs::read(wal).unwrap();
    let mut offset = 0;
    let place = loop {
        let field = u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        let length = (field & 0x00ff_ffff_ffff_ffff) as usize;
        assert!(length > 0, "the log is too short");
        if offset > 700 && length > 40 {
            break offset + 8 + 24;
        }
        let padding = if field >> 63 == 1 { field >> 56 & 7 } else { 0 };
        offset += 8 + length + padding as usize;
    };
    bytes[place] ^= 1;
    fs::write(wal, bytes).unwrap();
}

async fn check_older_copy(leader_changes: bool) {
    let mut service = Meddled::new().await;
    let copy = service.copy_of_the_disk().await;
    service.wait_until_it_has_more().await;
    let newest = service.root().join("newest");
    service
        .meddle_while_down(|volume| {
            move_all(volume, &newest);
            move_all(&copy, volume);
        })
        .await;
    if leader_changes {
        let other = |pod: &&PodStatus| !pod.leader && pod.name != service.pod;
        let other = service.before.pods.iter().find(other).unwrap().name.clone();
        service.give_lead_to(&other).await.unwrap();
    }
    let text = service.wait_for_reason("data_behind", 2).await;
    println!("{text}");
    assert!(
        text.starts_with("data behind the cluster: reset or replace (launched in vain"),
        "{text}"
    );
    assert!(
        text.contains("the data is older than what this member had"),
        "{text}"
    );
    // The others serve, and a scheduler that starts anew knows as much.
    let mut others = service.before.clone();
    others.pods.retain(|pod| pod.name != service.pod);
    etcd::put(&others, "meanwhile", "written").await.unwrap();
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    service.wait_for_reason("data_behind", 3).await;

    service.reset().await;
    service.wait_until_nothing_was_lost().await;
}

#[tokio::test]
async fn an_older_copy_is_refused_and_explained() {
    check_older_copy(false).await;
}

/// Now no other member knows any more what this one had acknowledged: etcd by
/// itself would take it in.
#[tokio::test]
async fn an_older_copy_is_refused_after_a_change_of_leaders() {
    check_older_copy(true).await;
}

#[tokio::test]
async fn a_damaged_log_is_refused_and_explained() {
    let mut service = Meddled::new().await;
    service.wait_until_it_has_more().await;
    let flip = |volume: &Path| {
        let wal = volume.join("member/wal");
        let name = fs::read_dir(&wal)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut names: Vec<PathBuf> = name
            .filter(|path| path.extension().is_some_and(|end| end == "wal"))
            .collect();
        names.sort();
        let newest = names.pop().unwrap();
        flip_a_bit(&newest);
    };
    service.meddle_while_down(flip).await;
    let text = service.wait_for_reason("data_damaged", 3).await;
    println!("{text}");
    assert!(text.starts_with("data damaged: reset or replace"), "{text}");
    service.mend_and_restart(flip).await;
    let mended = service.wait_until_healthy().await.unwrap();
    assert_eq!(member_ids(&mended), member_ids(&service.before));

    service.wait_until_it_has_more().await;
    service.meddle_while_down(flip).await;
    service.wait_for_reason("data_damaged", 1).await;
    service.reset().await;
    service.wait_until_nothing_was_lost().await;
}

/// A value that the disk has changed: the log is whole, and the database opens. Only
/// the others can tell.
#[tokio::test]
async fn a_database_that_differs_is_noticed() {
    let mut service = Meddled::new().await;
    let agreed = "what all members have agreed upon";
    let before = service.before.clone();
    etcd::put(&before, "agreed", agreed).await.unwrap();
    service.wait_until_it_has_more().await;
    let differ = |volume: &Path| {
        let database = volume.join("member/snap/db");
        let mut bytes = fs::read(&database).unwrap();
        let places: Vec<usize> = bytes
            .windows(agreed.len())
            .enumerate()
            .filter(|(_, window)| *window == agreed.as_bytes())
            .map(|(place, _)| place)
            .collect();
        assert!(!places.is_empty(), "the value is on the disk");
        for place in places {
            bytes[place] ^= 1;
        }
        fs::write(database, bytes).unwrap();
    };
    service.meddle_while_down(differ).await;
    // etcd itself does not notice, having no raft snapshot yet to tell it its peers.
    let found = |status: &ServiceStatus| {
        let waiting = status.waiting.as_ref();
        waiting.is_some_and(|it| it.code == "data_differs")
    };
    let differs = service.wait_for("the difference is said", found).await;
    let text = differs.unwrap().waiting.unwrap().text;
    println!("{text}");
    assert!(text.contains(&service.pod), "{text}");
    service.reset().await;
    let settled = |status: &ServiceStatus| status.waiting.is_none();
    service.wait_for("all agree", settled).await.unwrap();
    service.wait_until_nothing_was_lost().await;
    let found = etcd::get(&before, "agreed").await.unwrap();
    assert_eq!(found.as_deref(), Some(agreed));
}
