//! Paused: the container and the volume stay, etcd does not run, and an operator
//! may work inside.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_launch::{DATA_DIRECTORY, FORMAT, Guard, Identity, LaunchSpec, MemberId, Phase};
use etcd_launch::{INITIALIZED_MARKER, Refusal};
use rustix::process::{Pid, Signal, kill_process};

use crate::data::stopped_member;
use crate::etcd_program::etcd_directory;
use crate::executor::{Executor, wait_until};
use crate::sandbox::{Sandbox, superseded};

/// A paused executor has nothing to wait for; the machine may be busy.
const ENDS_PROMPTLY: Duration = Duration::from_secs(5);

/// Runs a paused launch until it says so, and ends it.
#[track_caller]
fn pause_and_end(sandbox: &Sandbox, spec: &LaunchSpec) {
    let spec = LaunchSpec {
        paused: true,
        ..spec.clone()
    };
    let mut executor = Executor::start(sandbox, &spec);
    executor.wait_for("it is paused", |phase| {
        (*phase == Phase::Paused).then_some(())
    });
    assert_eq!(executor.children(), []);
    assert_eq!(executor.phases(), ["preparing", "paused"]);
    let asked = Instant::now();
    assert_eq!(executor.stop(), "etcd was paused");
    let took = asked.elapsed();
    assert!(took < ENDS_PROMPTLY, "{took:?}");
}

/// Names, sizes and times of all that lies in a directory.
fn picture(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let found = entry.metadata().unwrap();
        let (path, changed) = (entry.path(), found.modified().unwrap());
        lines.push(format!("{} {} {changed:?}", path.display(), found.len()));
        if found.is_dir() {
            lines.extend(picture(&path));
        }
    }
    lines.sort();
    lines
}

#[test]
fn a_paused_member_runs_nothing_and_writes_nothing() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("paused-1");
    // It needs no programs either: perhaps they are why it is paused.
    fs::remove_file(sandbox.path().join("etcd")).unwrap();
    pause_and_end(&sandbox, &spec);
    assert_eq!(picture(&sandbox.data()), Vec::<String>::new());
}

#[test]
fn a_member_with_data_goes_on_after_a_pause() {
    let (sandbox, mut spec) = stopped_member("paused-2");
    let before = picture(&sandbox.data());
    pause_and_end(&sandbox, &spec);
    assert_eq!(picture(&sandbox.data()), before);
    spec.history.was_started = true;
    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("owner"), "paused-2");
    executor.stop();
}

/// An etcd that an operator runs in the container. Killed when dropped.
struct ByHand(Child);

impl ByHand {
    fn start(sandbox: &Sandbox, spec: &LaunchSpec) -> Self {
        let peers: Vec<String> = spec
            .peers
            .iter()
            .map(|peer| format!("{}={}", peer.name, peer.peer_url))
            .collect();
        let client_url = format!("http://{}:{}", sandbox.host(), spec.client_port);
        let peer_url = format!("http://{}:{}", sandbox.host(), spec.peer_port);
        let etcd = Command::new(etcd_directory().join("etcd"))
            .arg(format!("--name={}", spec.pod.task_name()))
            .arg(format!("--data-dir={DATA_DIRECTORY}"))
            .arg(format!("--listen-client-urls={client_url}"))
            .arg(format!("--advertise-client-urls={client_url}"))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg(format!("--initial-advertise-peer-urls={peer_url}"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .arg("--initial-cluster-state=existing")
            .current_dir(sandbox.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        ByHand(etcd)
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // It may have ended; that is all right.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The manual recovery of the original package: the scheduler's own learner never
/// got far, the operator pauses the pod, adds a member by hand and runs it on the
/// volume, marks the data as ready and resumes.
#[test]
fn a_member_that_an_operator_added_by_hand_is_resumed() {
    let first = Sandbox::new();
    let spec = first.spec("paused-3");
    let leader = Executor::answering(&first, &spec);
    first.put("owner", "paused-3");

    let second = Sandbox::new();
    let mut added = first.add_member(&spec, &second, false);
    let of_the_learner = Identity {
        member_id: MemberId(0xbad),
        ..spec.identity.clone()
    };
    second.write_guard(&Guard {
        format: FORMAT,
        identity: of_the_learner.clone(),
        wal_seen: false,
    });
    pause_and_end(&second, &added);

    let by_hand = ByHand::start(&second, &added);
    wait_until("the log on the volume is that of the new member", || {
        etcd_admin::wal_identity(&second.data())
            .is_some_and(|log| log.member_id == added.identity.member_id.0)
    });
    assert_eq!(second.get("owner"), "paused-3");
    second.put("by", "hand");
    by_hand.stop();
    fs::write(second.data().join(INITIALIZED_MARKER), "").unwrap();

    // While the other identity may still be somebody's, nothing is started.
    let refusal = Executor::start(&second, &added).refusal();
    assert!(
        matches!(refusal, Refusal::ForeignData { .. }),
        "{refusal:?}"
    );
    added.history.superseded = vec![superseded(&of_the_learner)];
    let executor = Executor::answering(&second, &added);
    assert_eq!(second.get("by"), "hand");
    executor.stop();
    assert_eq!(second.guard().unwrap().identity, added.identity);
    leader.stop();
}
