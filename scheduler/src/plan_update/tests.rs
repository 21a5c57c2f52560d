//! What is foreseen without a scheduler that runs, with programs that are scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use etcd_launch::PodIndex;
use etcd_planner::Timestamp;
use etcd_planner::record::{EndKind, LaunchEnd};
use tempfile::TempDir;

use super::*;
use crate::command_line::CommandLine;
use crate::samples;

/// A service whose scheduler has ended, and what it was started with.
struct Service {
    directory: TempDir,
}

impl Service {
    /// Three members that run with executor `one` and etcd 3.5.30.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let service = Service { directory };
        service.put_program("executor", "one");
        service.put_etcd("etcd", "3.5.30");
        let loaded = service.load(&[]);
        let state = &loaded.options.scheduler.state_dir;
        let store = Store::open(state).unwrap();
        let (executor, etcd) = start::sources(&loaded.options).unwrap();
        let programs = Artifacts::open(&executor, &etcd, state).unwrap();
        let served = Served::with(&loaded.options, &programs).await;
        let begun = wanted::begin(&store, &Started::with(&loaded, None), &served);
        let model = begun.unwrap().model;
        let mut record = samples::formed_record();
        record.target = model.target_id;
        for pod in record.pods.values_mut() {
            pod.recipe = Some(model.target.recipe());
        }
        store.save(&record, 0).unwrap();
        service
    }

    fn put_program(&self, name: &str, content: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{content}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn put_etcd(&self, directory: &str, version: &str) {
        self.put_program(
            &format!("{directory}/etcd"),
            &format!("echo etcd Version: {version}"),
        );
        self.put_program(&format!("{directory}/etcdctl"), "echo etcdctl");
    }

    /// The options of a start, with these set beside.
    fn load(&self, set: &[&str]) -> Loaded {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        let usual = [
            format!("scheduler.state_dir={}", at("state")),
            format!("scheduler.executor={}", at("executor")),
            format!("scheduler.etcd_dir={}", at("etcd")),
            "scheduler.masters=127.0.0.1:5050".to_owned(),
        ];
        let option = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
        let set: Vec<String> = set
            .iter()
            .map(|text| text.replace("HERE", &at("")))
            .collect();
        let is_set_anew =
            |text: &&String| set.iter().any(|set| option(set) == option(text));
        let mut line = vec!["etcd-scheduler".to_owned()];
        let usual = usual.iter().filter(|text| !is_set_anew(text));
        for text in usual.chain(set.iter().filter(|text| !text.ends_with('='))) {
            line.extend(["--set".to_owned(), text.clone()]);
        }
        CommandLine::try_parse_from(line).unwrap().load().unwrap()
    }

    fn change_record(&self, change: impl FnOnce(&mut etcd_planner::Record)) {
        let store = Store::open(&self.directory.path().join("state")).unwrap();
        let mut stored = store.load().unwrap().unwrap();
        change(&mut stored.record);
        store.save(&stored.record, stored.version).unwrap();
    }

    async fn foresee(&self, set: &[&str]) -> String {
        let told = from_store(&self.load(set)).await;
        told.unwrap_or_else(|why| why.to_string())
    }

    #[track_caller]
    fn check(told: &str, expected: &[&str]) {
        let mut rest = told;
        for words in expected {
            let Some((_, after)) = rest.split_once(words) else {
                panic!("{words:?} does not come in its place in:\n{told}");
            };
            rest = after;
        }
    }
}

const ALL_THREE: &str = "\nMembers to be restarted: etcd-0, etcd-1, etcd-2\n";

#[tokio::test]
async fn the_same_programs_are_no_change_wherever_they_lie() {
    let service = Service::new().await;
    assert_eq!(service.foresee(&[]).await, "Nothing would change.\n");
    service.put_etcd("elsewhere", "3.5.30");
    let told = service.foresee(&["scheduler.etcd_dir=HEREelsewhere"]).await;
    assert!(
        told.starts_with("scheduler.etcd_dir: ")
            && told.ends_with(" (about the scheduler itself; members do not notice)\n"),
        "{told}"
    );
}

#[tokio::test]
async fn another_executor_restarts_members_though_no_option_differs() {
    let service = Service::new().await;
    service.put_program("executor", "two");
    let told = service.foresee(&[]).await;
    assert!(told.starts_with("the executor: SHA-256 "), "{told}");
    Service::check(
        &told,
        &[
            "... => SHA-256 ",
            "... (members are restarted in place, one at a time)\n",
            "followers, the leader last",
            ALL_THREE,
        ],
    );
    assert!(!told.contains("etcd: "), "{told}");
    // Whom the record knows to be without a task is first.
    service.change_record(|record| {
        let pod = record.pods.get_mut(&PodIndex(2)).unwrap();
        pod.launch.as_mut().unwrap().end = Some(LaunchEnd {
            at: Timestamp(1),
            kind: EndKind::Failed,
            why: "TASK_FAILED".into(),
        });
    });
    let told = service.foresee(&[]).await;
    let order = "restarted: etcd-2 (has no task), etcd-0, etcd-1\n";
    assert!(told.ends_with(order), "{told}");
}

#[tokio::test]
async fn another_etcd_is_told_and_judged() {
    let service = Service::new().await;
    let check = async |version: &str, expected: &[&str]| {
        service.put_etcd("etcd", version);
        Service::check(&service.foresee(&[]).await, expected);
    };
    check(
        "3.5.31",
        &[
            "etcd: 3.5.30 (etcd SHA-256 ",
            ", etcdctl SHA-256 ",
            " => 3.5.31 (etcd SHA-256 ",
            "(members are restarted in place, one at a time)\n",
            ALL_THREE,
        ],
    )
    .await;
    check(
        "3.7.0",
        &[
            "the change would be refused:\nField: 'etcd.version'; Transition: \
             '\"3.5.30\"' => '\"3.7.0\"'",
        ],
    )
    .await;
    // It does not matter that no option is another one than at the last start.
    check(
        "3.5.1",
        &["the change would be refused:\n", "take 3.5.3 or later"],
    )
    .await;
}

/// Nothing is fetched to find out more than the options say.
#[tokio::test]
async fn an_archive_is_known_by_what_the_options_say() {
    let service = Service::new().await;
    let sum = format!("etcd.sha256={}", "a".repeat(64));
    let uri = "etcd.uri=http://127.0.0.1:1/etcd-v3.5.31-linux-amd64.tar.gz";
    let version = "etcd.version=3.5.31";
    let archive = ["scheduler.etcd_dir=", uri, sum.as_str(), version];
    let told = service.foresee(&archive).await;
    Service::check(
        &told,
        &[
            "etcd: 3.5.30 (etcd SHA-256 ",
            "=> 3.5.31 (http://127.0.0.1:1/etcd-v3.5.31-linux-amd64.tar.gz, SHA-256 \
             aaaaaaaaaaaa...) (members are",
            ALL_THREE,
        ],
    );
}

#[tokio::test]
async fn members_that_have_it_already_are_not_named() {
    let service = Service::new().await;
    service.put_program("executor", "two");
    let loaded = service.load(&[]);
    let (executor, etcd) = start::sources(&loaded.options).unwrap();
    let programs = Artifacts::foresee(&executor, &etcd).unwrap();
    let served = Served::foreseen(&loaded.options, programs).await;
    service.change_record(|record| {
        let pod = record.pods.get_mut(&PodIndex(1)).unwrap();
        pod.recipe.as_mut().unwrap().program = served.programs;
    });
    let told = service.foresee(&[]).await;
    assert!(told.ends_with("restarted: etcd-0, etcd-2\n"), "{told}");
    // Other amounts of resources are for all, whatever they run with.
    let told = service.foresee(&["node.mem=2048"]).await;
    Service::check(&told, &["node.mem: ", "the executor: ", ALL_THREE]);
}

#[tokio::test]
async fn programs_that_are_not_there_end_a_start() {
    let service = Service::new().await;
    fs::remove_file(service.directory.path().join("etcd/etcd")).unwrap();
    let told = service.foresee(&[]).await;
    let expected = "a start with these options would end: cannot read etcd ";
    assert!(told.starts_with(expected), "{told}");
}

#[tokio::test]
async fn nothing_is_written() {
    let service = Service::new().await;
    service.put_program("executor", "two");
    let state = service.directory.path().join("state");
    let found = || {
        let copies = fs::read_dir(state.join("programs")).unwrap().count();
        let store = Store::open(&state).unwrap();
        (copies, store.load().unwrap(), store.targets().unwrap())
    };
    let before = found();
    service.foresee(&["node.mem=2048"]).await;
    assert_eq!(found(), before);
}

#[test]
fn a_scheduler_that_runs_keeps_its_programs() {
    let change = TargetChange {
        target_id: "b".into(),
        previous_id: "a".into(),
        dry_run: true,
        changes: Vec::new(),
        restarts_members: false,
        order: Vec::new(),
        warnings: Vec::new(),
    };
    let told = told_live(&change);
    assert_eq!(told, format!("Nothing would change.\n{KEEPS_PROGRAMS}\n"));
}
