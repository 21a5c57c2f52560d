//! Which options hold, start after start and request after request, on a real
//! store.

use std::collections::BTreeMap;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::samples;

/// A service whose scheduler is started again and again.
struct Service {
    store: Store,
    _directory: TempDir,
}

fn program() -> EtcdProgram {
    EtcdProgram {
        directory: ".".into(),
        checksums: BTreeMap::new(),
    }
}

/// A start with these options, and with what has no default.
fn started(options: &Value) -> Started {
    let text = options.to_string();
    let given = GivenOptions::parse(text.as_bytes(), &Origin::Stored).unwrap();
    Started {
        options: given.applied_to(&samples::options()),
        given: given.only(is_about_the_service),
        marathon_app: None,
    }
}

impl Service {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Service {
            store: Store::open(directory.path()).unwrap(),
            _directory: directory,
        }
    }

    /// Starts the scheduler, which stores its record at once.
    fn start(&self, options: &Value) -> Beginning {
        let beginning = begin(&self.store, &started(options), program()).unwrap();
        if beginning.version == 0 {
            self.store.save(&beginning.model.record, 0).unwrap();
        }
        beginning
    }

    /// What the API and the loop do with a change.
    fn put(&self, start: &Value, sent: &Value, replace: bool) -> Result<String, String> {
        let stored = self.store.load().unwrap().unwrap();
        let present = self.store.target(&stored.record.target).unwrap().unwrap();
        let started = started(start);
        let sent = sent.to_string();
        let proposal = propose(&started, &present, sent.as_bytes(), replace, program())
            .map_err(|why| why.to_string())?;
        let mut record = stored.record;
        record.target = proposal.wanted.id();
        let wanted = &proposal.wanted;
        self.store.put_target(&record.target, wanted).unwrap();
        self.store.save(&record, stored.version).unwrap();
        self.store
            .put_start_options(&started.given.to_json())
            .unwrap();
        let changes = proposal.changes.iter().map(|change| change.option);
        Ok(changes.collect::<Vec<_>>().join(" "))
    }
}

/// The members and the heartbeat that are wanted, and the reasons against what the
/// scheduler was started with.
#[track_caller]
fn check(beginning: &Beginning, expected: (u16, u64), errors: &[&str]) {
    let model = &beginning.model;
    let heartbeat = model.target.tuning.heartbeat_interval_ms;
    assert_eq!((model.target.members, heartbeat), expected);
    assert_eq!(model.record.target, model.target_id);
    let found = &model.observed.target_errors;
    assert_eq!(found.len(), errors.len(), "{found:?}");
    for (found, expected) in found.iter().zip(errors) {
        assert!(found.starts_with(expected), "{found}");
    }
}

fn file(count: u64, heartbeat: u64) -> Value {
    json!({"node": {"count": count}, "etcd": {"heartbeat_interval": heartbeat}})
}

#[test]
fn nothing_new_is_stored_when_nothing_changed() {
    let service = Service::new();
    let first = service.start(&file(3, 100));
    check(&first, (3, 100), &[]);
    let again = service.start(&file(3, 100));
    check(&again, (3, 100), &[]);
    assert_eq!(first.model.target_id, again.model.target_id);
    assert_eq!(again.version, 1);
    assert_eq!(service.store.targets().unwrap().len(), 1);
}

#[test]
fn another_file_changes_the_target_and_an_old_one_does_not_undo_a_request() {
    let service = Service::new();
    service.start(&file(1, 100));
    check(&service.start(&file(3, 100)), (3, 100), &[]);
    let sent = json!({"etcd": {"heartbeat_interval": 200}});
    let changed = service.put(&file(3, 100), &sent, false).unwrap();
    assert_eq!(changed, "etcd.heartbeat_interval");
    check(&service.start(&file(3, 100)), (3, 200), &[]);
    // Only the process is another: nothing is undone.
    let mut elsewhere = file(3, 100);
    elsewhere["scheduler"] = json!({"listen": "127.0.0.1:9"});
    elsewhere["service"] = json!({"log_level": "DEBUG", "role": "team"});
    let beginning = service.start(&elsewhere);
    check(&beginning, (3, 200), &[]);
    assert_eq!(beginning.options.scheduler.listen.port(), 9);
    assert_eq!(beginning.options.service.role(), "team");
    // A file that differs from the last one counts as a whole.
    check(&service.start(&file(5, 100)), (5, 100), &[]);
}

#[test]
fn what_is_refused_changes_nothing_and_is_said_at_each_start() {
    let service = Service::new();
    service.start(&file(3, 100));
    let mut bad = file(1, 200);
    bad["etcd"]["initial_cluster_token"] = json!("other");
    bad["scheduler"] = json!({"listen": "127.0.0.1:9"});
    let reasons = [
        "Field: 'node.count'; Transition: '3' => '1'; Message: 'expected at least 3",
        "Field: 'etcd.initial_cluster_token'; Transition: '\"dcos\"' => '\"other\"'; ",
    ];
    for _ in 0..2 {
        let beginning = service.start(&bad);
        check(&beginning, (3, 100), &reasons);
        assert_eq!(beginning.options.etcd.initial_cluster_token, "dcos");
        // The process is what it was started as, all the same.
        assert_eq!(beginning.options.scheduler.listen.port(), 9);
    }
    check(&service.start(&file(3, 100)), (3, 100), &[]);
    // Something that is taken overtakes what was refused.
    check(&service.start(&bad), (3, 100), &reasons);
    service
        .put(&bad, &json!({"node": {"cpus": 2}}), false)
        .unwrap();
    let beginning = service.start(&bad);
    check(&beginning, (3, 100), &[]);
    assert_eq!(beginning.options.node.cpus.cpus(), 2.0);
}

#[test]
fn requests() {
    let service = Service::new();
    let start = file(3, 100);
    service.start(&start);
    let check = |sent: Value, replace: bool, expected: Result<&str, &str>| {
        let found = service.put(&start, &sent, replace);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{sent}"),
            (Err(found), Err(expected)) => {
                assert!(found.contains(expected), "{sent}: {found}");
            }
            (found, expected) => panic!("{sent}: {found:?}, expected {expected:?}"),
        }
    };
    check(json!({}), false, Ok(""));
    check(
        json!({"node": {"count": 5, "mem": 2048}}),
        false,
        Ok("node.count node.mem"),
    );
    // Merged: the count stays.
    check(json!({"node": {"mem": 1024}}), false, Ok("node.mem"));
    check(
        json!({"node": {"count": 3}}),
        false,
        Err("a cluster shrinks only with service.allow_scale_in = true"),
    );
    // Replaced: what is not sent goes back to its default.
    check(
        json!({"etcd": {"heartbeat_interval": 150}}),
        true,
        Err("Field: 'node.count'; Transition: '5' => '3'"),
    );
    check(
        json!({"node": {"count": 5}, "etcd": {"heartbeat_interval": 150}}),
        true,
        Ok("etcd.heartbeat_interval"),
    );
    check(
        json!({"node": {"count": 5}}),
        true,
        Ok("etcd.heartbeat_interval"),
    );
    // What is about the process may be sent as it is, also when the rest is replaced.
    let same = json!({"node": {"count": 5}, "scheduler": {"etcd_dir": "/opt/etcd"}});
    check(same, true, Ok(""));
    check(
        json!({"scheduler": {"etcd_dir": "/opt/other"}}),
        false,
        Err("restart the scheduler with scheduler.etcd_dir = \"/opt/other\""),
    );
    check(
        json!({"node": 3}),
        false,
        Err("node is 3 (request); it must be an object"),
    );
    check(
        json!({"node": {"size": 3}}),
        false,
        Err("there is no option node.size"),
    );
}

/// A release that has changed a default leaves a service as it is until somebody
/// changes its options.
#[test]
fn what_somebody_gave_is_known_even_if_nobody_noted_it() {
    let mut options = samples::options();
    options.etcd.heartbeat_interval = etcd_config::Millis(150);
    let stored = StoredTarget {
        target: target(&options, program()),
        options: serde_json::to_value(&options).unwrap(),
        given: None,
    };
    let (read, given) = options_of(&stored).unwrap();
    assert_eq!(read, options);
    assert_eq!(
        given.to_json(),
        json!({"etcd": {"heartbeat_interval": 150}})
    );
    let other_release = StoredTarget {
        options: json!({"node": {"of": "another release"}}),
        ..stored
    };
    assert!(options_of(&other_release).is_none());
}

#[test]
fn what_a_start_would_change() {
    let service = Service::new();
    service.start(&file(3, 100));
    let foreseen =
        |options: &Value| match foresee(&service.store, &started(options)).unwrap() {
            Ok(changes) => {
                let options = changes.iter().map(|change| change.option);
                options.collect::<Vec<_>>().join(" ")
            }
            Err(why) => why.to_string(),
        };
    assert_eq!(foreseen(&file(3, 100)), "");
    assert_eq!(foreseen(&file(5, 100)), "node.count");
    let refused = foreseen(&file(1, 100));
    assert!(refused.starts_with("Field: 'node.count'; "), "{refused}");
    service
        .put(&file(3, 100), &json!({"node": {"count": 5}}), false)
        .unwrap();
    let mut elsewhere = file(3, 100);
    elsewhere["scheduler"] = json!({"listen": "127.0.0.1:9"});
    assert_eq!(foreseen(&elsewhere), "scheduler.listen");
}
