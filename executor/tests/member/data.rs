//! Whose data may be started: what keeps a member from forgetting.

use std::fs;

use etcd_launch::guard::GUARD_FILE;
use etcd_launch::{FORMAT, Guard, LaunchSpec, Refusal};

use crate::executor::{Executor, wait_until};
use crate::sandbox::{Sandbox, aside_name, superseded};

/// A member that has run, holds a key and was stopped.
pub(crate) fn stopped_member(token: &str) -> (Sandbox, LaunchSpec) {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec(token);
    let executor = Executor::answering(&sandbox, &spec);
    sandbox.put("owner", token);
    executor.stop();
    (sandbox, spec)
}

#[track_caller]
fn check_refused(sandbox: &Sandbox, spec: &LaunchSpec, expected: &str) {
    let guard = sandbox.guard();
    let refusal = Executor::start(sandbox, spec).refusal();
    assert_eq!(refusal.to_string(), expected);
    // A refusal leaves everything as it was found.
    assert_eq!(sandbox.guard(), guard);
}

#[test]
fn an_emptied_volume_of_a_started_member() {
    let (sandbox, mut spec) = stopped_member("data-1");
    fs::remove_dir_all(sandbox.data()).unwrap();
    fs::create_dir(sandbox.data()).unwrap();
    spec.history.was_started = true;
    check_refused(
        &sandbox,
        &spec,
        "the member's data is missing on its volume \
            (etcd was started here before, and the volume is empty)",
    );
    assert!(!sandbox.data().join("member").exists());
    // Even the volume itself may be missing.
    fs::remove_dir(sandbox.data()).unwrap();
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert!(
        matches!(refusal, Refusal::DataMissing { .. }),
        "{refusal:?}"
    );
}

#[test]
fn a_guard_without_the_log_that_it_saw() {
    let (sandbox, spec) = stopped_member("data-2");
    assert!(sandbox.guard().unwrap().wal_seen);
    let missing = "the member's data is missing on its volume \
        (etcd's log was here and is gone)";
    fs::remove_dir_all(sandbox.data().join("member/wal")).unwrap();
    check_refused(&sandbox, &spec, missing);
    fs::remove_dir_all(sandbox.data().join("member")).unwrap();
    check_refused(&sandbox, &spec, missing);
    assert!(!sandbox.data().join("member").exists());
}

#[test]
fn data_without_a_guard_is_adopted_if_it_is_ours() {
    let (sandbox, mut spec) = stopped_member("data-3");
    fs::remove_file(sandbox.data().join(GUARD_FILE)).unwrap();
    spec.history.was_started = true;
    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("owner"), "data-3");
    executor.stop();
    assert!(sandbox.guard().unwrap().wal_seen);
}

#[test]
fn data_of_a_superseded_member_is_set_aside() {
    let (sandbox, old) = stopped_member("data-4-old");
    // Without a quorum: it does not get as far as a vote.
    let mut spec = sandbox.spec_of_three("data-4-new");
    spec.history.superseded = vec![superseded(&old.identity)];
    let executor = Executor::start(&sandbox, &spec);
    wait_until("the guard is ours and knows of etcd's log", || {
        let guard = sandbox.guard();
        guard.is_some_and(|guard| guard.identity == spec.identity && guard.wal_seen)
    });
    executor.stop();
    // Nothing was deleted.
    let aside = sandbox.data().join(aside_name(&old.identity));
    let kept = etcd_admin::wal_identity(&aside).unwrap();
    assert_eq!(kept.member_id, old.identity.member_id.0);
    assert!(aside.join(GUARD_FILE).is_file());
    assert!(aside.join("member/snap/db").is_file());
}

/// A new birth on a volume that an old one had used, and then found empty: its
/// own history does not say started, so it starts; after that it does not.
#[test]
fn setting_aside_does_not_hide_a_later_loss() {
    let (sandbox, old) = stopped_member("data-5-old");
    let mut spec = sandbox.spec("data-5-new");
    spec.history.superseded = vec![superseded(&old.identity)];
    Executor::answering(&sandbox, &spec).stop();
    fs::remove_dir_all(sandbox.data().join("member")).unwrap();
    check_refused(
        &sandbox,
        &spec,
        "the member's data is missing on its volume \
            (etcd's log was here and is gone)",
    );
}

#[test]
fn foreign_data_is_not_touched() {
    let (sandbox, other) = stopped_member("data-6-other");
    let spec = sandbox.spec("data-6-ours");
    let expected = format!(
        "the volume holds other data: data of member {} of cluster {}",
        other.identity.member_id, other.identity.cluster_id
    );
    check_refused(&sandbox, &spec, &expected);
    // Without a guard the log alone says whose it is.
    fs::remove_file(sandbox.data().join(GUARD_FILE)).unwrap();
    check_refused(&sandbox, &spec, &expected);
    let executor = Executor::answering(&sandbox, &other);
    assert_eq!(sandbox.get("owner"), "data-6-other");
    executor.stop();
}

#[test]
fn files_without_guard_and_log_are_not_touched() {
    let (sandbox, spec) = stopped_member("data-9");
    fs::remove_file(sandbox.data().join(GUARD_FILE)).unwrap();
    fs::remove_dir_all(sandbox.data().join("member/wal")).unwrap();
    let database = sandbox.data().join("member/snap/db");
    let before = fs::read(&database).unwrap();
    check_refused(
        &sandbox,
        &spec,
        "the volume holds other data: files of etcd's without a log and a guard",
    );
    assert!(fs::read(&database).unwrap() == before);
    assert!(!sandbox.data().join("member/wal").exists());
}

/// Moving it aside would leave an empty volume and no trace of our loss.
#[test]
fn a_superseded_log_behind_our_guard_is_not_set_aside() {
    let (sandbox, old) = stopped_member("data-10-old");
    let mut spec = sandbox.spec("data-10-new");
    spec.history.superseded = vec![superseded(&old.identity)];
    sandbox.write_guard(&Guard {
        format: FORMAT,
        identity: spec.identity.clone(),
        wal_seen: true,
    });
    let expected = format!(
        "the volume holds other data: data of member {} of cluster {}, \
            though the guard is ours",
        old.identity.member_id, old.identity.cluster_id
    );
    check_refused(&sandbox, &spec, &expected);
}

#[test]
fn a_volume_that_is_not_mounted() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("data-11");
    fs::remove_dir(sandbox.data()).unwrap();
    check_refused(
        &sandbox,
        &spec,
        "the volume cannot be used: there is no directory etcd-data: it is not mounted",
    );
    assert!(!sandbox.data().exists());
}

#[test]
fn an_unreadable_guard_is_no_permission() {
    let (sandbox, spec) = stopped_member("data-7");
    fs::write(sandbox.data().join(GUARD_FILE), "{").unwrap();
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert!(
        matches!(refusal, Refusal::VolumeUnusable { .. }),
        "{refusal:?}"
    );
}

#[test]
fn a_damaged_log_is_not_an_empty_one() {
    let (sandbox, spec) = stopped_member("data-8");
    let wal = sandbox.data().join("member/wal");
    for entry in fs::read_dir(wal).unwrap().flatten() {
        if entry.path().extension().is_some_and(|end| end == "wal") {
            fs::write(entry.path(), "").unwrap();
        }
    }
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert!(
        matches!(refusal, Refusal::VolumeUnusable { .. }),
        "{refusal:?}"
    );
}
