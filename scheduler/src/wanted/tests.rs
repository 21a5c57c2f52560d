//! Which options hold, start after start and request after request, on a real
//! store.

use etcd_planner::programs::{EtcdVersion, ExecutorProgram};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::samples;

/// A service whose scheduler is started again and again.
struct Service {
    store: Store,
    _directory: TempDir,
}

/// What a start serves whose files have this in them.
fn served(etcd: &str, version: &str, executor: &str) -> Served {
    let sum = |letter: &str| letter.repeat(64).parse().unwrap();
    Served {
        programs: Programs {
            directory: ".".into(),
            checksums: ["etcd", "etcdctl"]
                .map(|name| (name.to_owned(), sum(etcd)))
                .into(),
            archive: None,
            executor: Some(ExecutorProgram {
                sha256: sum(executor),
                uri: None,
            }),
            version: EtcdVersion::parse(version),
        },
        contradiction: None,
    }
}

fn usual() -> Served {
    served("a", "3.5.30", "e")
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
        self.start_with(options, &usual())
    }

    fn start_with(&self, options: &Value, served: &Served) -> Beginning {
        let beginning = begin(&self.store, &started(options), served).unwrap();
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
        let proposal = propose(&started, &present, sent.as_bytes(), replace)
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

/// The database has 64 MB.
#[test]
fn a_quota_that_a_database_has_outgrown() {
    let service = Service::new();
    let start = file(3, 100);
    service.start(&start);
    let stored = service.store.load().unwrap().unwrap().record.target;
    let present = service.store.target(&stored).unwrap().unwrap();
    let check = |sent: Value, expected: &str| {
        let sent = sent.to_string();
        let started = started(&start);
        let proposal = propose(&started, &present, sent.as_bytes(), false);
        let found = proposal.and_then(|proposal| judge_quota(&proposal, 64 << 20));
        let found = found.map_or_else(|why| why.to_string(), |()| String::new());
        assert_eq!(found, expected, "{sent}");
    };
    check(json!({"etcd": {"quota": 65}}), "");
    check(json!({"node": {"count": 5}}), "");
    check(
        json!({"etcd": {"quota": 64}}),
        "Field: 'etcd.quota'; Transition: '2048' => '64'; Message: 'a database has 64 MB, \
         and etcd takes no writes once the quota is reached; expected more than that; \
         `defragment` gives free room back first'; Fatal: false",
    );
}

/// A release that has changed a default leaves a service as it is until somebody
/// changes its options.
#[test]
fn what_somebody_gave_is_known_even_if_nobody_noted_it() {
    let mut options = samples::options();
    options.etcd.heartbeat_interval = etcd_config::Millis(150);
    let stored = StoredTarget {
        target: target(&options, usual().programs),
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
        |options: &Value| match foresee(&service.store, &started(options), &usual())
            .unwrap()
        {
            Ok(foreseen) => {
                let options = foreseen.changes.iter().map(|change| change.option);
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

/// The recipes of a record, as the letters of etcd and of the executor.
fn recipes(record: &Record) -> String {
    let letters = record.recipes_in_use().map(|recipe| {
        let program = &recipe.program;
        let letter = |sum: &str| sum[..1].to_owned();
        let etcd = letter(program.checksums["etcd"].as_str());
        let executor = program.executor.as_ref();
        etcd + &executor.map_or("-".to_owned(), |it| letter(it.sha256.as_str()))
    });
    letters.collect::<Vec<_>>().join(" ")
}

#[test]
fn programs_change_with_a_start_and_what_is_refused_leaves_all_as_it_was() {
    let service = Service::new();
    let options = file(3, 100);
    let old = served("a", "3.4.23", "e");
    service.start_with(&options, &old);
    #[track_caller]
    fn check_programs(beginning: &Beginning, served: &Served, errors: &[&str]) {
        assert_eq!(beginning.model.target.program, served.programs);
        let found = &beginning.model.observed.target_errors;
        assert_eq!(found.len(), errors.len(), "{found:?}");
        for (found, expected) in found.iter().zip(errors) {
            assert!(found.contains(expected), "{found}");
        }
    }
    // Members run it by now.
    let stored = service.store.load().unwrap().unwrap();
    let mut record = samples::formed_record();
    record.target = stored.record.target;
    let recipe = service.start_with(&options, &old).model.target.recipe();
    let pods = record.pods.values_mut();
    pods.for_each(|pod| pod.recipe = Some(recipe.clone()));
    service.store.save(&record, stored.version).unwrap();

    let skipping = served("c", "3.6.14", "f");
    let beginning = service.start_with(&options, &skipping);
    let transition = "Field: 'etcd.version'; Transition: '\"3.4.23\"' => '\"3.6.14\"'; Message: 'etcd goes";
    check_programs(&beginning, &old, &[transition]);
    // As a whole: good options do not come with bad programs.
    let beginning = service.start_with(&file(5, 100), &skipping);
    check_programs(&beginning, &old, &[transition]);
    check(&beginning, (3, 100), &[transition]);
    // Nor good programs with bad options.
    let new = served("b", "3.5.30", "f");
    let beginning = service.start_with(&file(1, 100), &new);
    check_programs(&beginning, &old, &["Field: 'node.count'"]);
    // What is asked for while the programs of this start are refused keeps the others.
    let other_dir = json!({"node": {"count": 3}, "scheduler": {"etcd_dir": "/opt/3.6"}});
    service.start_with(&other_dir, &skipping);
    let sent = json!({"etcd": {"heartbeat_interval": 150}});
    service.put(&other_dir, &sent, false).unwrap();
    let beginning = service.start_with(&other_dir, &skipping);
    check_programs(&beginning, &old, &[transition]);
    check(&beginning, (3, 150), &[transition]);
    assert_eq!(
        beginning.options.scheduler.etcd_dir,
        samples::options().scheduler.etcd_dir
    );

    let beginning = service.start_with(&file(3, 150), &new);
    check_programs(&beginning, &new, &[]);
    assert_eq!(recipes(&beginning.model.record), "ae ae ae");
}

#[test]
fn a_first_start_with_what_loses_data_is_none() {
    let service = Service::new();
    let bad = served("a", "3.5.1", "e");
    let error = begin(&service.store, &started(&file(3, 100)), &bad)
        .err()
        .unwrap();
    assert!(error.to_string().contains("take 3.5.3 or later"), "{error}");
    assert!(service.store.load().unwrap().is_none());
}

/// What the release before kept of a service whose update to another etcd had failed on
/// one member and was under way on another. This text is frozen: never edit it.
const BEFORE_PROGRAMS_WERE_KEPT: &str =
    include_str!("../../tests/samples/store-before-programs-were-kept.json");

#[test]
fn the_release_before_programs_were_kept_goes_on() {
    let kept: Value = serde_json::from_str(BEFORE_PROGRAMS_WERE_KEPT).unwrap();
    let of_target = |name: &str| kept["target"][name].clone();
    let record: Record =
        serde_json::from_value(kept["record"]["record"].clone()).unwrap();
    let stored = StoredTarget {
        target: serde_json::from_value(of_target("target")).unwrap(),
        options: of_target("options"),
        given: Some(of_target("given")),
    };
    let service = Service::new();
    let id = TargetId(kept["target_id"].as_str().unwrap().to_owned());
    service.store.put_target(&id, &stored).unwrap();
    service.store.save(&record, 0).unwrap();
    let start_options = kept["start_options"].clone();
    service.store.put_start_options(&start_options).unwrap();
    assert_eq!(recipes(&record), "a- a- 9-");

    // The same etcd, and the executor of this release: nobody is restarted for it.
    let mut now = served("a", "3.5.30", "e");
    let ctl = "b".repeat(64).parse().unwrap();
    now.programs.checksums.insert("etcdctl".into(), ctl);
    let beginning = service.start_with(&start_options, &now);
    check(&beginning, (3, 150), &[]);
    let model = &beginning.model;
    assert_eq!(model.target.program, now.programs);
    assert_eq!(recipes(&model.record), "ae ae 9e");
    let of = |index| model.record.pods[&etcd_launch::PodIndex(index)].clone();
    let recipe = model.target.recipe();
    assert_eq!(of(0).recipe, Some(recipe.clone()));
    assert_eq!(of(1).recipe, Some(recipe));
    let went_back = of(1).updating.unwrap().from.unwrap().program;
    assert_eq!(of(2).recipe.unwrap().program, went_back);
    // The update that had failed is not tried again for an upgrade of the scheduler.
    assert_eq!(of(2).kept_back.unwrap().target, model.target_id);
    // The one that went back runs something of which nobody knows the version.
    assert_eq!(
        (went_back.version, went_back.executor.is_some()),
        (None, true)
    );

    // Options under names that they had then are understood.
    let renamed = under_new_names(json!({
        "etcd": {"enable_v2": false},
        "scheduler": {"etcd_uri": "https://x/etcd.tgz", "etcd_sha256": null, "executor": null},
    }));
    assert_eq!(
        renamed,
        json!({
            "etcd": {"enable_v2": false, "uri": "https://x/etcd.tgz", "sha256": null},
            "scheduler": {"executor": null},
        })
    );
}
