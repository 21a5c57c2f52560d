//! Data that is older than what the member had, and data that etcd cannot go on
//! with: made with a real etcd, and told in its own words.

use std::fs;
use std::path::{Path, PathBuf};

use etcd_launch::{LaunchSpec, LogPosition, Phase, Refusal};

use crate::executor::{Executor, wait_until};
use crate::sandbox::{Sandbox, three_members};

/// Copies a data directory to a place beside it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Puts a copy in the place of the data directory.
fn put_back(sandbox: &Sandbox, copied: &Path) {
    fs::remove_dir_all(sandbox.data()).unwrap();
    copy(copied, &sandbox.data());
}

fn position_of(data: &Path) -> LogPosition {
    let end = etcd_admin::log_end(data).unwrap();
    LogPosition {
        term: end.term,
        index: end.index,
    }
}

#[test]
fn an_older_copy_is_refused_and_the_newer_one_starts() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("signs-1");
    let executor = Executor::answering(&sandbox, &spec);
    sandbox.put("a", "1");
    executor.stop();
    let older = sandbox.path().join("older");
    copy(&sandbox.data(), &older);

    let executor = Executor::answering(&sandbox, &spec);
    sandbox.put("a", "2");
    executor.stop();
    let newer = sandbox.path().join("newer");
    copy(&sandbox.data(), &newer);
    let (ends_at, reached) = (position_of(&older), position_of(&newer));
    assert!(ends_at.index < reached.index && ends_at.term < reached.term);

    put_back(&sandbox, &older);
    spec.history.reached = Some(reached);
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert_eq!(refusal, Refusal::DataBehind { ends_at, reached });
    assert_eq!(
        refusal.to_string(),
        format!(
            "the data is older than what this member had: its log ends at term {} \
             index {}, the member had reached term {} index {}; reset or replace it",
            ends_at.term, ends_at.index, reached.term, reached.index
        )
    );
    // It was looked at, and nothing else.
    assert_eq!(position_of(&sandbox.data()), ends_at);

    put_back(&sandbox, &newer);
    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("a"), "2");
    executor.stop();

    // A scheduler that does not know is told nothing, as before.
    put_back(&sandbox, &older);
    spec.history.reached = None;
    Executor::answering(&sandbox, &spec).stop();
}

/// The launch spec is as old as the launch. What the executor has seen on the
/// volume itself holds as well.
#[test]
fn an_older_copy_put_in_place_while_the_executor_lives() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("signs-2");
    let executor = Executor::answering(&sandbox, &spec);
    sandbox.put("a", "1");
    executor.stop();
    let older = sandbox.path().join("older");
    copy(&sandbox.data(), &older);
    for number in 0..5 {
        let executor = Executor::answering(&sandbox, &spec);
        sandbox.put("a", &number.to_string());
        executor.stop();
    }
    let mut executor = Executor::answering(&sandbox, &spec);
    executor.etcd().kill();
    executor.wait_for("etcd has crashed", |phase| {
        matches!(phase, Phase::Crashed { .. }).then_some(())
    });
    put_back(&sandbox, &older);
    let refusal = executor.wait_for("the older copy is refused", |phase| match phase {
        Phase::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    assert!(matches!(refusal, Refusal::DataBehind { .. }), "{refusal:?}");
}

/// Nobody knows how far the member had come, except its leader.
#[test]
fn a_leader_that_knows_better_is_heard_at_once() {
    let sandboxes = [Sandbox::new(), Sandbox::new(), Sandbox::new()];
    let specs = three_members(&sandboxes, "signs-3");
    let start = |index: usize| Executor::start(&sandboxes[index], &specs[index]);
    let mut executors = [start(0), start(1), start(2)];
    executors
        .iter_mut()
        .for_each(Executor::wait_until_answering);
    let follower = (0..3).find(|index| !sandboxes[*index].leads()).unwrap();
    let other = &sandboxes[(follower + 1) % 3];
    let [ref mut executor] = executors[follower..=follower] else {
        panic!("there are three")
    };

    other.put("before", "the copy");
    executor.stop_in_place();
    let older = sandboxes[follower].path().join("older");
    copy(&sandboxes[follower].data(), &older);
    *executor = start(follower);
    executor.wait_until_answering();
    for number in 0..20 {
        other.put("after", &number.to_string());
    }
    let written = position_of(&other.data()).index;
    wait_until("the follower has it all", || {
        position_of(&sandboxes[follower].data()).index >= written
    });
    executor.stop_in_place();
    put_back(&sandboxes[follower], &older);

    *executor = start(follower);
    let refusal = executor.wait_for("the executor gives up", |phase| match phase {
        Phase::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    let Refusal::DataBehind { ends_at, reached } = refusal else {
        panic!("{refusal:?}")
    };
    assert!(ends_at.index < reached.index, "{ends_at} {reached}");
    assert!(!executor.phases().contains(&"crashed"), "not tried again");
    assert!(executor.log().contains("is out of range [lastIndex("));
    // With what the leader said it does not even come to a start.
    let mut spec = specs[follower].clone();
    spec.history.reached = Some(reached);
    let refusal = Executor::start(&sandboxes[follower], &spec).refusal();
    assert!(matches!(refusal, Refusal::DataBehind { .. }), "{refusal:?}");
}

/// A member that has taken snapshots, holds a key and was stopped.
fn with_snapshots(token: &str) -> (Sandbox, LaunchSpec) {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(token);
    spec.tuning.snapshot_count = 5;
    let executor = Executor::answering(&sandbox, &spec);
    for number in 0..20 {
        sandbox.put("key", &number.to_string());
    }
    executor.stop();
    (sandbox, spec)
}

/// Damages the data of a member; its executor starts etcd three times and gives
/// up with etcd's words.
#[track_caller]
fn check_damage(token: &str, damage: impl Fn(&Path), expected: &[&str]) {
    let (sandbox, spec) = with_snapshots(token);
    damage(&sandbox.data().join("member"));
    let mut executor = Executor::start(&sandbox, &spec);
    let refusal = executor.wait_for("the executor gives up", |phase| match phase {
        Phase::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    let crashes = executor
        .phases()
        .iter()
        .filter(|name| **name == "crashed")
        .count();
    assert_eq!(crashes, 2, "{refusal}");
    let Refusal::DataDamaged { what } = refusal else {
        panic!("{refusal:?}")
    };
    println!("{what}");
    let told = expected.iter().any(|words| what.contains(words));
    assert!(told, "{what}");
}

fn only_wal(member: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(member.join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "wal"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Flips a bit in the data of a record of a log file. Bits
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

#[test]
fn a_log_with_a_flipped_bit() {
    let flip = |member: &Path| flip_a_bit(&only_wal(member));
    check_damage("signs-4", flip, &["crc mismatch"]);
}

#[test]
fn a_log_without_its_beginning() {
    let rename = |member: &Path| {
        let later = "0000000000000001-0000000000001000.wal";
        fs::rename(only_wal(member), member.join("wal").join(later)).unwrap();
    };
    check_damage("signs-5", rename, &["wal: file not found"]);
}

/// etcd goes on from a log that has lost its end, as from a torn one. What the
/// scheduler knows is all that tells.
#[test]
fn a_log_without_its_end() {
    let (sandbox, mut spec) = with_snapshots("signs-6");
    let member = sandbox.data().join("member");
    let reached = position_of(&sandbox.data());
    let file = fs::File::options()
        .write(true)
        .open(only_wal(&member))
        .unwrap();
    file.set_len(2000).unwrap();
    spec.history.reached = Some(reached);
    let refusal = Executor::start(&sandbox, &spec).refusal();
    let ends_at = position_of(&sandbox.data());
    assert!(0 < ends_at.index && ends_at.index < reached.index);
    assert_eq!(refusal, Refusal::DataBehind { ends_at, reached });
}

#[test]
fn a_database_that_is_gone() {
    let remove = |member: &Path| fs::remove_file(member.join("snap/db")).unwrap();
    let expected = ["failed to recover v3 backend from snapshot"];
    check_damage("signs-7", remove, &expected);
}

#[test]
fn a_database_that_is_none() {
    let write = |member: &Path| fs::write(member.join("snap/db"), "none").unwrap();
    check_damage("signs-8", write, &["failed to open database"]);
}

#[test]
fn a_database_that_was_cut_off() {
    let cut = |member: &Path| {
        let file = fs::File::options()
            .write(true)
            .open(member.join("snap/db"))
            .unwrap();
        file.set_len(2 * 4096).unwrap();
    };
    check_damage("signs-9", cut, &["fatal error: fault"]);
}

#[test]
fn a_database_full_of_nonsense() {
    let fill = |member: &Path| {
        let path = member.join("snap/db");
        let mut bytes = fs::read(&path).unwrap();
        bytes[2 * 4096..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
    };
    let expected = ["Page expected to be: ", "freepages: failed"];
    check_damage("signs-10", fill, &expected);
}

/// etcd compares itself with its peers before it serves. The database is damaged
/// so that only this can notice: a value is another one. It knows its peers from
/// the newest snapshot of its log: before the first it compares nothing.
#[test]
fn a_database_with_other_values_than_its_peers() {
    let sandboxes = [Sandbox::new(), Sandbox::new(), Sandbox::new()];
    let mut specs = three_members(&sandboxes, "signs-11");
    for spec in &mut specs {
        spec.tuning.snapshot_count = 5;
    }
    let start = |index: usize| Executor::start(&sandboxes[index], &specs[index]);
    let mut executors = [start(0), start(1), start(2)];
    executors
        .iter_mut()
        .for_each(Executor::wait_until_answering);
    let follower = (0..3).find(|index| !sandboxes[*index].leads()).unwrap();
    for number in 0..20 {
        sandboxes[follower].put("other", &number.to_string());
    }
    sandboxes[follower].put("key", "right-value");
    assert_eq!(sandboxes[follower].get("key"), "right-value");
    executors[follower].stop_in_place();
    let path = sandboxes[follower].data().join("member/snap/db");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len())
        .filter(|place| bytes[*place..].starts_with(b"right-value"))
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..][..5].copy_from_slice(b"wrong");
    }
    fs::write(&path, bytes).unwrap();

    let refusal = start(follower).refusal();
    let Refusal::DataDamaged { what } = refusal else {
        panic!("{refusal:?}")
    };
    let id = specs[follower].identity.member_id;
    let expected = format!(
        "etcd ended 3 times in a row with: discovery failed: {id} found data \
         inconsistency with peers (either may be the damaged one: compare the hashes \
         of all members first)"
    );
    assert_eq!(what, expected);
}
