//! Start, stop, crash, and the death of the executor.

use std::fs;
use std::path::Path;
use std::time::Duration;

use etcd_launch::{FORMAT, Guard, INITIALIZED_MARKER, Phase};

use crate::executor::{Executor, wait_until};
use crate::sandbox::{Sandbox, make_executable};

/// The kernel kills etcd at once; the rest is a busy machine.
const DIES_WITH_EXECUTOR: Duration = Duration::from_secs(5);

#[test]
fn starts_as_the_member_it_must_be_and_stops_gracefully() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("life-1");
    let mut executor = Executor::answering(&sandbox, &spec);
    assert_eq!(
        executor.phases(),
        ["preparing", "etcd started", "answering"]
    );
    let guard = sandbox.guard().unwrap();
    assert_eq!(guard.identity, spec.identity);
    assert!(guard.wal_seen);
    assert!(sandbox.data().join(INITIALIZED_MARKER).is_file());
    sandbox.put("key", "value");

    let etcd = executor.etcd();
    executor.terminate();
    assert!(executor.wait_until_ended().success());
    assert_eq!(
        executor.phases(),
        [
            "preparing",
            "etcd started",
            "answering",
            "stopping",
            "stopped"
        ]
    );
    assert!(!etcd.runs());
    // etcd closed its store itself, it was not cut off.
    assert!(executor.log().contains("closed etcd server"));

    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("key"), "value");
    let exit = executor.stop();
    // After its own clean-up etcd ends by the signal that it got.
    assert_eq!(exit, "killed by signal 15");
}

#[test]
fn a_killed_etcd_is_restarted_in_place() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("life-2");
    let mut executor = Executor::answering(&sandbox, &spec);
    sandbox.put("key", "value");
    let first = executor.etcd();
    first.kill();
    let (exit, lines, crashes) =
        executor.wait_for("the crash is reported", |phase| match phase {
            Phase::Crashed {
                exit,
                last_log_lines,
                crashes,
                ..
            } => Some((exit.clone(), last_log_lines.clone(), *crashes)),
            _ => None,
        });
    assert_eq!((exit.as_str(), crashes), ("killed by signal 9", 1));
    let log = executor.log();
    assert!(!lines.is_empty() && lines.len() <= 12, "{lines:?}");
    assert!(log.contains(lines.last().unwrap()), "{lines:?}");

    executor.wait_until_answering();
    assert_ne!(executor.etcd(), first);
    assert_eq!(sandbox.get("key"), "value");
    executor.stop();

    // As the scheduler would launch it again: known to have been started.
    spec.history.was_started = true;
    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("key"), "value");
    executor.stop();
}

#[test]
fn etcd_dies_with_its_executor() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("life-3");
    let executor = Executor::answering(&sandbox, &spec);
    sandbox.put("key", "value");
    let etcd = executor.etcd();
    assert!(etcd.runs());
    executor.kill();
    etcd.ends_within(DIES_WITH_EXECUTOR);

    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("key"), "value");
    executor.stop();
}

/// Without a quorum etcd answers nobody. That is no reason to end it, and must
/// not hide that it has written its log.
#[test]
fn a_founder_alone_waits_and_can_be_stopped() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec_of_three("life-7");
    let mut executor = Executor::start(&sandbox, &spec);
    executor.wait_for("etcd is started", |phase| {
        (*phase == Phase::EtcdStarted).then_some(())
    });
    wait_until("the guard knows of etcd's log", || {
        sandbox.guard().is_some_and(|guard| guard.wal_seen)
    });
    let etcd = executor.etcd();
    assert!(etcd.runs());
    executor.terminate();
    assert!(executor.wait_until_ended().success());
    assert!(!etcd.runs());
    assert_eq!(
        executor.phases(),
        ["preparing", "etcd started", "stopping", "stopped"]
    );
}

#[test]
fn an_etcd_that_does_not_stop_is_killed() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("life-4");
    spec.stop_grace_ms = 300;
    let executor = Executor::answering(&sandbox, &spec);
    // A stopped process takes no SIGTERM.
    executor.etcd().freeze();
    assert_eq!(executor.stop(), "killed by signal 9");
}

/// Nor does it have to wait when there is no time left after all.
#[test]
fn a_later_stop_may_shorten_the_grace_period() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("life-8");
    spec.stop_grace_ms = 3_600_000;
    let mut executor = Executor::answering(&sandbox, &spec);
    executor.etcd().freeze();
    executor.terminate();
    executor.wait_for("it is stopping", |phase| {
        (*phase == Phase::Stopping).then_some(())
    });
    assert_eq!(executor.stop(), "killed by signal 9");
}

/// A full disk or a dead logger under the sandbox's log is no reason to lose a
/// voter.
#[test]
fn a_log_that_cannot_be_written_does_no_harm() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("life-9");
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-executor"));
    let mut executor =
        Executor::start_with(&sandbox, &spec, program, Path::new("/dev/full"));
    executor.wait_until_answering();
    sandbox.put("key", "value");
    executor.etcd().kill();
    let lines = executor.wait_for("etcd has crashed", |phase| match phase {
        Phase::Crashed { last_log_lines, .. } => Some(last_log_lines.clone()),
        _ => None,
    });
    assert!(!lines.is_empty(), "the log can still be reported");
    executor.wait_until_answering();
    executor.stop();
}

#[test]
fn etcd_is_restarted_by_an_executor_whose_file_is_gone() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("life-10");
    let program = sandbox.path().join("etcd-executor");
    fs::copy(env!("CARGO_BIN_EXE_etcd-executor"), &program).unwrap();
    let log = sandbox.path().join("stderr");
    fs::File::create(&log).unwrap();
    let mut executor = Executor::start_with(&sandbox, &spec, &program, &log);
    executor.wait_until_answering();
    fs::remove_file(&program).unwrap();
    executor.etcd().kill();
    executor.wait_until_answering();
    executor.stop();
}

/// etcd panics on a database that is none. Its reason stands far above the end
/// of its log, where Go prints stacks.
#[test]
fn a_crash_report_has_the_reason_of_a_panic() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("life-11");
    sandbox.write_guard(&Guard {
        format: FORMAT,
        identity: spec.identity.clone(),
        wal_seen: false,
    });
    let snap = sandbox.data().join("member/snap");
    fs::create_dir_all(&snap).unwrap();
    fs::write(snap.join("db"), "not a database").unwrap();
    let mut executor = Executor::start(&sandbox, &spec);
    let lines = executor.wait_for("etcd has crashed", |phase| match phase {
        Phase::Crashed { last_log_lines, .. } => Some(last_log_lines.clone()),
        _ => None,
    });
    assert!(lines[0].contains("failed to open database"), "{lines:#?}");
    assert_eq!(executor.stop(), "etcd was not running");
}

#[test]
fn a_crash_loop_slows_down_and_can_be_stopped() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("life-5");
    // Answers for its version and fails for the rest.
    let etcd = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho broken >&2\nexit 3\n";
    let path = sandbox.replace_program("etcd", etcd.as_bytes());
    make_executable(&path);
    let mut executor = Executor::start(&sandbox, &spec);
    for (crashes, restart_in_ms) in [(1, 1000), (2, 2000)] {
        let expected = Phase::Crashed {
            exit: "exited with code 3".into(),
            last_log_lines: vec!["broken".into()],
            crashes,
            restart_in_ms,
        };
        executor.wait_for("etcd has crashed again", |phase| {
            (*phase == expected).then_some(())
        });
    }
    assert_eq!(executor.stop(), "etcd was not running");
}
