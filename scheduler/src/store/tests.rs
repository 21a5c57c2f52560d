//! What the store promises: what was saved is there, and what is damaged is
//! said to be damaged.

use std::fs;
use std::path::PathBuf;

use etcd_config::GivenOptions;
use etcd_launch::{ClusterId, ClusterToken, MemberId, PodIndex};
use etcd_planner::offer::FrameworkId;
use etcd_planner::programs::ExecutorProgram;
use etcd_planner::record::{Cluster, Enrolled, Incarnation, Membership, Pod};
use etcd_planner::target::Network;
use etcd_planner::{Model, Timestamp};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::etcd_choice::Served;
use crate::samples;
use crate::wanted::{self, Started};

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn record(framework_id: &str) -> Record {
    let mut record = Record::new(TargetId("t-1".into()));
    record.framework_id = Some(FrameworkId(framework_id.into()));
    record
}

#[test]
fn what_was_saved_is_there_after_a_restart() {
    let directory = directory();
    let record = samples::formed_record();
    {
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.load().unwrap(), None);
        assert_eq!(store.save(&record, 0).unwrap(), 1);
        assert_eq!(store.save(&record, 1).unwrap(), 2);
    }
    let store = Store::open(directory.path()).unwrap();
    let stored = store.load().unwrap().unwrap();
    assert_eq!(stored, StoredRecord { record, version: 2 });
    assert_eq!(store.save(&stored.record, stored.version).unwrap(), 3);
}

#[test]
fn saving_over_somebody_elses_record_is_refused() {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    store.save(&record("a"), 0).unwrap();
    store.save(&record("b"), 1).unwrap();
    for stale in [0, 1, 3] {
        let error = store.save(&record("c"), stale).unwrap_err();
        assert!(
            matches!(error, StoreError::Conflict { expected, stored: 2 } if expected == stale),
            "{error}"
        );
    }
    assert_eq!(store.load().unwrap().unwrap().record, record("b"));
}

#[test]
fn a_record_over_the_limit_is_refused_and_changes_nothing() {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    store.save(&record("a"), 0).unwrap();
    let error = store
        .save(&record(&"x".repeat(RECORD_LIMIT_BYTES)), 1)
        .unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(store.load().unwrap().unwrap().version, 1);
}

#[test]
fn targets_are_never_changed() {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    let target = samples::target();
    let options = json!({"node": {"count": 3}});
    let wanted = StoredTarget {
        target,
        options,
        given: Some(json!({"node": {}})),
    };
    let id = wanted.id();
    store.put_target(&id, &wanted).unwrap();
    store.put_target(&id, &wanted).unwrap();
    let mut other = wanted.clone();
    other.target.members = 5;
    let error = store.put_target(&id, &other).unwrap_err();
    assert!(matches!(error, StoreError::TargetExists { .. }), "{error}");
    assert_ne!(other.id(), id);
    other = wanted.clone();
    other.given = None;
    assert_ne!(other.id(), id);
    assert_eq!(store.targets().unwrap(), std::slice::from_ref(&id));
    assert_eq!(store.target(&id).unwrap().unwrap(), wanted);
    assert_eq!(store.target(&TargetId("other".into())).unwrap(), None);
}

#[test]
fn properties() {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.property("b").unwrap(), None);
    store.put_property("b", &json!(1)).unwrap();
    store.put_property("a", &json!({"x": "y"})).unwrap();
    store.put_property("b", &json!([2])).unwrap();
    assert_eq!(store.properties().unwrap(), ["a", "b"]);
    assert_eq!(store.property("b").unwrap(), Some(json!([2])));
}

#[test]
fn start_options() {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.start_options().unwrap(), None);
    for given in [json!({"node": {"count": 3}}), json!({})] {
        store.put_start_options(&given).unwrap();
        store.put_start_options(&given).unwrap();
        assert_eq!(store.start_options().unwrap(), Some(given));
    }
    assert_eq!(store.load().unwrap(), None);
}

#[test]
fn one_scheduler_for_one_directory() {
    let directory = directory();
    let first = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains(&directory.path().display().to_string()),
        "{text}"
    );
    assert!(text.contains("in use by another scheduler"), "{text}");
    assert!(
        text.contains(&format!("(process {})", std::process::id())),
        "{text}"
    );
    drop(first);
    Store::open(directory.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Store::open(&file).err().unwrap();
    assert!(matches!(error, StoreError::System { .. }), "{error}");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_new_directory_is_nobody_elses_business() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let state = directory.path().join("service/state");
    Store::open(&state).unwrap();
    let mode = fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// A first start that was cut short leaves nothing that a second one takes for
/// a store.
#[test]
fn a_first_start_that_was_cut_short_is_made_again() {
    let directory = directory();
    let unfinished = directory.path().join("scheduler.redb.unfinished");
    fs::write(unfinished, b"half").unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.load().unwrap(), None);
}

/// What is on disk while a store is open is what a crash leaves behind. It must
/// open again by itself: a killed scheduler that needs an operator to start
/// would be worse than none.
#[test]
fn a_crash_at_any_time_leaves_a_store_that_opens() {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    for version in 0..20 {
        store
            .save(&record(&format!("after {version}")), version)
            .unwrap();
        let left_behind = tempfile::tempdir().unwrap();
        fs::copy(store.path(), left_behind.path().join(STORE_FILE)).unwrap();
        let reopened = Store::open(left_behind.path()).unwrap();
        let stored = reopened.load().unwrap().unwrap();
        assert_eq!(stored.version, version + 1);
        assert_eq!(stored.record, record(&format!("after {version}")));
        // And it takes new records.
        reopened
            .save(&record("after the crash"), version + 1)
            .unwrap();
    }
}

/// A store with a record in it, closed, and its file.
fn saved() -> (TempDir, PathBuf) {
    let directory = directory();
    let store = Store::open(directory.path()).unwrap();
    store.save(&samples::formed_record(), 0).unwrap();
    store
        .put_target(
            &TargetId("t-1".into()),
            &StoredTarget {
                target: samples::target(),
                options: json!({"node": {}}),
                given: None,
            },
        )
        .unwrap();
    let path = store.path().to_owned();
    (directory, path)
}

#[track_caller]
fn check_damaged(directory: &TempDir, what: &str) {
    let error = match Store::open(directory.path()) {
        Err(error) => error,
        Ok(store) => panic!("{what}: opened, with {:?}", store.load()),
    };
    let text = error.to_string();
    assert!(
        matches!(error, StoreError::Damaged { .. }),
        "{what}: {text}"
    );
    assert!(text.contains("scheduler.redb"), "{what}: {text}");
    assert!(text.contains("put back a copy"), "{what}: {text}");
}

#[test]
fn a_file_that_was_cut_is_damaged_and_left_alone() {
    for keep_percent in [0, 1, 10, 50, 90, 99] {
        let (directory, path) = saved();
        let whole = fs::read(&path).unwrap();
        let cut = &whole[..whole.len() * keep_percent / 100];
        fs::write(&path, cut).unwrap();
        check_damaged(&directory, &format!("{keep_percent} %"));
        // It may be all that is left to rescue something from.
        assert_eq!(fs::read(&path).unwrap().len(), cut.len());
    }
}

#[test]
fn other_files_are_no_stores() {
    for content in [&b"{}"[..], b"redb", &[0; 4096], &[0xff; 1 << 20]] {
        let (directory, path) = saved();
        fs::write(&path, content).unwrap();
        check_damaged(&directory, "another file");
    }
}

/// Flips bits all over the part of the file that holds anything. Each time the
/// store either says that it is damaged, or gives the very record that was
/// saved: the flip hit free space.
#[test]
fn flipped_bits_never_change_a_record() {
    let (directory, path) = saved();
    let whole = fs::read(&path).unwrap();
    let mut damaged = 0;
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // Each opening waits for the disk, so this many and no more; an odd step, so
    // that all offsets within pages are met.
    for offset in (0..used).step_by((used / 150) | 1) {
        let mut changed = whole.clone();
        changed[offset] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        match Store::open(directory.path()) {
            Ok(store) => {
                let stored = store.load().unwrap().unwrap();
                assert_eq!(stored.record, samples::formed_record(), "at {offset}");
            }
            Err(StoreError::Damaged { .. }) => damaged += 1,
            Err(other) => panic!("at {offset}: {other}"),
        }
    }
    assert!(damaged > 0, "no flip was seen; the test does not test");
}

#[test]
fn a_flipped_bit_in_the_record_is_seen() {
    let (directory, path) = saved();
    let mut whole = fs::read(&path).unwrap();
    // The framework id, wherever it lies; older copies of the page included.
    let needle = samples::FRAMEWORK_ID.as_bytes();
    let places: Vec<usize> = (0..whole.len() - needle.len())
        .filter(|at| whole[*at..].starts_with(needle))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        whole[at] ^= 1;
    }
    fs::write(&path, &whole).unwrap();
    check_damaged(&directory, "a bit in the record");
}

/// Puts any bytes in the record's place, sealed as if we had written them.
fn put_raw(directory: &TempDir, json: &serde_json::Value) {
    let store = Store::open(directory.path()).unwrap();
    let json = serde_json::to_vec(json).unwrap();
    store.put(RECORDS, RECORD_KEY, &json).unwrap();
}

#[test]
fn a_newer_record_is_refused() {
    let directory = directory();
    // Of a newer format nothing but the place of the number is promised.
    put_raw(
        &directory,
        &json!({"record": {"format": 2, "pods": "elsewhere"}}),
    );
    let error = Store::open(directory.path()).err().unwrap();
    assert!(
        matches!(error, StoreError::Newer { found: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("newer release"), "{error}");
}

#[test]
fn a_newer_layout_is_refused() {
    let directory = directory();
    {
        let store = Store::open(directory.path()).unwrap();
        let transaction = store.database.begin_write().unwrap();
        transaction
            .open_table(NUMBERS)
            .unwrap()
            .insert(FORMAT_KEY, 2)
            .unwrap();
        transaction.commit().unwrap();
    }
    let error = Store::open(directory.path()).err().unwrap();
    assert!(
        matches!(error, StoreError::Newer { found: 2, .. }),
        "{error}"
    );
}

/// Frozen: a scheduler of this release or any later one must read it. Never
/// edit the sample; add another beside it when the format changes.
#[test]
fn format_1_stays_readable() {
    let frozen = include_str!("../../tests/samples/record-format-1.json");
    let directory = directory();
    put_raw(&directory, &serde_json::from_str(frozen).unwrap());
    let store = Store::open(directory.path()).unwrap();
    let stored = store.load().unwrap().unwrap();
    assert_eq!(stored.version, 7);
    let record = stored.record;
    assert_eq!(
        record.cluster,
        Cluster::Formed(Incarnation {
            token: ClusterToken("dcos-5d1c".into()),
            cluster_id: ClusterId(0xc1),
            since: Timestamp(1_763_690_000_000),
        })
    );
    let pod: &Pod = &record.pods[&PodIndex(0)];
    assert_eq!(
        pod.membership,
        Membership::Founder(Enrolled {
            member_id: MemberId(0xb0),
            peer_url: "http://127.0.0.2:2380".into(),
            launched: true,
            started: true,
        })
    );
    assert_eq!(
        pod.placement.as_ref().unwrap().hostname.0,
        "agent-0.example"
    );
    assert_eq!(record.pods.len(), 3);
    assert_eq!(record.abandoned.len(), 1);
}

/// Frozen, too: what the release before changes of targets has stored, which knew no
/// start options. It starts under the same target, and a change goes on from there.
#[test]
fn the_release_before_start_options_goes_on() {
    let record = include_str!("../../tests/samples/record-format-1.json");
    let target = include_str!("../../tests/samples/target-format-1.json");
    let directory = directory();
    put_raw(&directory, &serde_json::from_str(record).unwrap());
    let store = Store::open(directory.path()).unwrap();
    let id = store.load().unwrap().unwrap().record.target;
    store.put(TARGETS, &id.0, target.as_bytes()).unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let before = store.target(&id).unwrap().unwrap();
    assert_eq!(
        (before.given.as_ref(), store.start_options().unwrap()),
        (None, None)
    );

    let mut served = Served {
        programs: before.target.program.clone(),
        contradiction: None,
    };
    served.programs.executor = Some(ExecutorProgram {
        sha256: "e".repeat(64).parse().unwrap(),
        uri: None,
    });
    let start = |mem: u64, count: u64, user: &str| {
        let mut options = samples::options();
        options.service.user = user.into();
        options.node.mem = etcd_config::Megabytes(mem);
        options.node.count = etcd_config::MemberCount::try_from(count).unwrap();
        let started = Started {
            given: GivenOptions::beside_defaults(&options)
                .only(|row| !row.change.only_at_start),
            options,
            marathon_app: None,
        };
        wanted::begin(&store, &started, &served).unwrap()
    };
    // What targets did not hold then is as the stored options say.
    let as_before = Target {
        update_strategy: samples::options().service.update_strategy,
        program: served.programs.clone(),
        user: "root".into(),
        ..before.target.clone()
    };
    // A file that does not fit the service any more.
    let beginning = start(1024, 1, "root");
    assert_eq!(beginning.model.observed.target_errors.len(), 1);
    assert_eq!(beginning.model.target, as_before);
    assert_eq!(beginning.options.node.mem, etcd_config::Megabytes(2048));
    // The same file as ever.
    let beginning = start(2048, 3, "root");
    assert_eq!(beginning.model.observed.target_errors, Vec::<String>::new());
    assert_eq!(beginning.model.target, as_before);
    let stored = store.target(&beginning.model.target_id).unwrap().unwrap();
    assert_eq!(stored.given, Some(json!({"node": {"mem": 2048}})));
    // No member is restarted for it: each is known to run with the same recipe.
    let recipe = as_before.recipe();
    let launched = |pod: &&Pod| {
        let launch = pod.launch.as_ref();
        launch.is_some_and(|launch| launch.target == id)
    };
    let mut pods = beginning
        .model
        .record
        .pods
        .values()
        .filter(launched)
        .peekable();
    assert!(pods.peek().is_some());
    assert!(pods.all(|pod| pod.recipe.as_ref() == Some(&recipe)));
    // Another one. What is there belongs to whom it did.
    let beginning = start(2048, 5, "etcd");
    let Model { target, record, .. } = beginning.model;
    assert_eq!((target.members, target.user.as_str()), (5, "etcd"));
    assert_eq!(record.framework_user.as_deref(), Some("root"));
    let abandoned = record.abandoned.iter().map(|place| &place.placement);
    let of_pods = record
        .pods
        .values()
        .filter_map(|pod| pod.placement.as_ref());
    for place in of_pods.chain(abandoned) {
        assert_eq!(place.user.as_deref(), Some("root"));
        assert_eq!(place.network, Some(Network::Host));
    }
}

/// redb's unless told otherwise.
const PAGE_BYTES: usize = 4096;

/// The file that a killed scheduler leaves behind, with records of the versions
/// 1 to 3 in it, of which the last is the truth.
fn killed() -> (TempDir, PathBuf, Vec<u8>) {
    let running = directory();
    let store = Store::open(running.path()).unwrap();
    for version in 0..3 {
        let id = format!("framework-after-{version}");
        store.save(&record(&id), version).unwrap();
    }
    // Read before the store is closed, which would mark it as closed properly.
    let whole = fs::read(store.path()).unwrap();
    let left_behind = directory();
    let path = left_behind.path().join(STORE_FILE);
    (left_behind, path, whole)
}

/// Opens a file as a scheduler does that is started again and again, and says
/// whether it was refused. An older record is never given for the newest.
#[track_caller]
fn refused_for_good(directory: &TempDir, what: &str) -> bool {
    let mut refused = false;
    for start in ["first", "second"] {
        match Store::open(directory.path()) {
            Ok(store) => {
                assert!(!refused, "{what}: refused, and then taken");
                let stored = store.load().unwrap();
                let version = stored.map(|stored| stored.version);
                assert_eq!(version, Some(3), "{what}: at the {start} start");
            }
            Err(StoreError::Damaged { .. }) => refused = true,
            Err(other) => panic!("{what}: {other}"),
        }
    }
    refused
}

/// redb repairs a file that was not closed properly. Going back to the record
/// before the newest is no repair: that one may not know of a launch.
#[test]
fn a_killed_schedulers_damaged_record_is_not_replaced_by_an_older_one() {
    let (directory, path, whole) = killed();
    let needle = b"framework-after-2";
    let places: Vec<usize> = (0..whole.len() - needle.len())
        .filter(|at| whole[*at..].starts_with(needle))
        .collect();
    assert!(!places.is_empty());
    let mut changed = whole;
    for at in places {
        changed[at] ^= 1;
    }
    fs::write(&path, &changed).unwrap();
    assert!(refused_for_good(&directory, "a bit in the newest record"));
}

#[test]
fn flipped_bits_after_a_kill_never_bring_back_an_older_record() {
    let (directory, path, whole) = killed();
    // Which of its two commits redb goes on from is decided by the header's
    // first bytes.
    let header = (0..16).flat_map(|offset| (0..8).map(move |bit| (offset, bit)));
    let used: Vec<usize> = whole
        .chunks(PAGE_BYTES)
        .enumerate()
        .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
        .flat_map(|(page, _)| page * PAGE_BYTES..(page + 1) * PAGE_BYTES)
        .collect();
    // As above: so many and no more, with an odd step.
    let sample = used
        .iter()
        .step_by((used.len() / 100) | 1)
        .map(|offset| (*offset, offset % 8));
    let mut refused = 0;
    for (offset, bit) in header.chain(sample) {
        let mut changed = whole.clone();
        changed[offset] ^= 1 << bit;
        fs::write(&path, &changed).unwrap();
        let what = format!("bit {bit} at {offset}");
        refused += u32::from(refused_for_good(&directory, &what));
    }
    assert!(refused > 0, "no flip was seen; the test does not test");
}
