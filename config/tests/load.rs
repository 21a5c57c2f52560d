//! Loading options: what wins, what is said about mistakes, what is shown.

use std::path::Path;

use etcd_config::load::{LoadError, Loaded, Origin, Override, Sources, load};
use etcd_config::{MilliCpus, Options, PlacementConstraints};
use serde_json::{Value, json};

/// What the scheduler cannot do without, as flags.
fn must_have() -> Vec<Override> {
    vec![
        flag("scheduler.masters", "--master", json!("127.0.0.1:5050")),
        flag("scheduler.etcd_dir", "--etcd-dir", json!("/opt/etcd")),
    ]
}

fn flag(option: &str, flag: &str, value: Value) -> Override {
    Override {
        option: option.to_owned(),
        flag: flag.to_owned(),
        value,
    }
}

/// An options file in a directory of its own, and what it and others load to.
struct Scene {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Scene {
    fn new(file: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("options.json");
        std::fs::write(&path, file).expect("a written options file");
        let sources = Sources {
            file: Some(path),
            overrides: must_have(),
            ..Sources::default()
        };
        Self { directory, sources }
    }

    fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        self.sources.environment = variables.iter().map(owned).collect();
        self
    }

    fn flags(mut self, flags: Vec<Override>) -> Self {
        self.sources.overrides.extend(flags);
        self
    }

    fn load(&self) -> Loaded {
        load(&self.sources).expect("good options")
    }

    /// The errors as an operator sees them, with the directory's name cut off.
    fn errors(&self) -> String {
        let errors = load(&self.sources).expect_err("bad options");
        errors
            .to_string()
            .replace(&format!("{}/", self.directory.path().display()), "")
    }
}

#[track_caller]
fn check(file: &str, expected: &str) {
    assert_eq!(Scene::new(file).errors(), expected, "{file}");
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let loaded = Scene::new("{}").load();
    let mut expected = Options::default();
    expected.scheduler.masters = vec!["127.0.0.1:5050".to_owned()];
    expected.scheduler.etcd_dir = Some("/opt/etcd".into());
    assert_eq!(loaded.options, expected);
    assert_eq!(loaded.provenance["node.count"], Origin::Default);
    assert_eq!(loaded.provenance["scheduler.token_file"], Origin::Default);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn flags_win_over_environment_over_file() {
    let scene = Scene::new(
        r#"{"node": {"count": 5, "cpus": 2, "disk": 8000}, "etcd": {"quota": 1000}}"#,
    )
    .environment(&[
        ("ETCDFW_NODE__CPUS", "0.5"),
        ("ETCDFW_NODE__DISK", "9000"),
        ("ETCDFW_SERVICE__LOG_LEVEL", "debug"),
        ("ETCDFW_OPTIONS_FILE", "not an option"),
        ("ETCD_NODE__CPUS", "seven"),
        ("PATH", "/bin"),
    ])
    .flags(vec![
        flag("node.disk", "--disk", json!(10_000)),
        flag("node.disk", "--set node.disk=", json!("11000")),
    ]);
    let loaded = scene.load();
    assert_eq!(loaded.options.node.count.get(), 5);
    assert_eq!(loaded.options.node.cpus, MilliCpus(500));
    assert_eq!(loaded.options.node.disk.0, 11_000);
    assert_eq!(loaded.options.service.log_level.as_str(), "DEBUG");
    let origins = |name: &str| loaded.provenance[name].to_string();
    assert!(origins("node.count").starts_with("options file "));
    assert_eq!(
        origins("node.cpus"),
        "environment variable ETCDFW_NODE__CPUS"
    );
    assert_eq!(origins("node.disk"), "flag --set node.disk=");
    assert_eq!(origins("node.mem"), "default");
}

#[test]
fn every_kind_is_read_from_text() {
    let loaded = Scene::new("{}")
        .environment(&[
            ("ETCDFW_NODE__COUNT", "5"),
            ("ETCDFW_ETCD__TLS_ENABLED", "false"),
            ("ETCDFW_SERVICE__NAME", "/team-a/etcd"),
            ("ETCDFW_SERVICE__ROLE", ""),
            (
                "ETCDFW_NODE__PLACEMENT_CONSTRAINT",
                "[[\"hostname\", \"UNIQUE\"]]",
            ),
            ("ETCDFW_ETCD__CLIENT_PORT", " 3379 "),
            ("ETCDFW_SCHEDULER__LISTEN", "127.0.0.1:0"),
            ("ETCDFW_SCHEDULER__TOKEN_FILE", "/etc/tokens"),
        ])
        .flags(vec![flag(
            "scheduler.masters",
            "--masters",
            json!("a:5050, b:5050"),
        )])
        .load();
    let options = loaded.options;
    assert_eq!(options.node.count.get(), 5);
    assert_eq!(options.service.name.as_str(), "/team-a/etcd");
    assert_eq!(options.service.role(), "team-a__etcd-role");
    assert_eq!(options.etcd.client_port.get(), 3379);
    assert_eq!(options.scheduler.listen.port(), 0);
    assert_eq!(options.scheduler.token_file, Some("/etc/tokens".into()));
    assert_eq!(options.scheduler.masters, ["a:5050", "b:5050"]);
}

#[test]
fn a_constraint_may_be_json_or_text_with_json() {
    for constraint in [r#"[["hostname", "UNIQUE"]]"#, r#""hostname:UNIQUE""#] {
        let file = format!(r#"{{"node": {{"placement_constraint": {constraint}}}}}"#);
        let loaded = Scene::new(&file).load();
        assert_eq!(
            loaded.options.node.placement_constraint,
            PlacementConstraints::default()
        );
        assert_eq!(loaded.warnings, []);
    }
    let file = r#"{"node": {"placement_constraint": [["@zone", "GROUP"]]}}"#;
    let errors = Scene::new(file).errors();
    assert!(
        errors.starts_with(
            "node.placement_constraint = [[\"@zone\",\"GROUP\"]] is refused (options file \
             options.json); allowed: a list of constraints"
        ),
        "{errors:?}"
    );
}

#[test]
fn single_values_are_refused_with_what_is_allowed() {
    let from = "(options file options.json)";
    let counts = "allowed: 1, 3, 5, 7 or 9";
    for count in [
        "0", "2", "-3", "11", "3.5", "\"two\"", "null", "[3]", "true",
    ] {
        check(
            &format!(r#"{{"node": {{"count": {count}}}}}"#),
            &format!("node.count = {count} is refused {from}; {counts}"),
        );
    }
    check(
        r#"{"node": {"count": "3"}}"#,
        &format!("node.count = \"3\" is refused {from}; {counts}, without quotes"),
    );
    check(
        r#"{"node": {"mem": -256}}"#,
        &format!(
            "node.mem = -256 is refused {from}; allowed: a whole number of MB from 128 \
             to 16777216"
        ),
    );
    check(
        r#"{"node": {"cpus": "many"}}"#,
        &format!(
            "node.cpus = \"many\" is refused {from}; allowed: a number of cpus from 0.1 \
             to 1024.0"
        ),
    );
    check(
        r#"{"service": {"log_level": "LOUD"}}"#,
        &format!(
            "service.log_level = \"LOUD\" is refused {from}; allowed: OFF, FATAL, ERROR, \
             WARN, INFO, DEBUG, TRACE or ALL"
        ),
    );
    check(
        r#"{"scheduler": {"masters": ["zk://a:2181/mesos"]}}"#,
        &format!(
            "scheduler.masters = [\"zk://a:2181/mesos\"] is refused {from}; allowed: a \
             list, each item host:port of a Mesos master, like 10.0.0.1:5050 (a zk:// \
             address is not understood yet: list the masters)"
        ),
    );
    check(
        r#"{"etcd": {"tls_enabled": true}}"#,
        &format!(
            "etcd.tls_enabled = true is refused {from}; allowed: false until TLS is built"
        ),
    );
}

#[test]
fn options_are_checked_against_each_other() {
    check(
        r#"{"node": {"disk": 1000}}"#,
        "node.disk = 1000 is refused (options file options.json; etcd.quota: default); \
         allowed: at least 2448 MB, which is etcd.quota (2048 MB) and 400 MB of log; or \
         make etcd.quota smaller",
    );
    check(
        r#"{"etcd": {"heartbeat_interval": 500}}"#,
        "etcd.election_timeout = 1000 is refused (default; etcd.heartbeat_interval: \
         options file options.json); allowed: at least 2500 ms, five times \
         etcd.heartbeat_interval; etcd does not start otherwise",
    );
    check(
        r#"{"etcd": {"peer_port": 2379}}"#,
        "etcd.client_port = 2379 is refused (default; etcd.peer_port: options file \
         options.json); allowed: a port other than etcd.peer_port",
    );
    check(
        r#"{"scheduler": {"listen": "0.0.0.0:80"}}"#,
        "scheduler.advertise_url is missing (scheduler.listen: options file \
         options.json); allowed: the URL under which agents reach this scheduler; it \
         cannot be guessed while scheduler.listen is 0.0.0.0:80",
    );
}

#[test]
fn all_errors_are_told_at_once() {
    let scene =
        Scene::new(r#"{"node": {"count": 2, "disk": -1}, "nodes": {}, "etcd": 7}"#)
            .environment(&[
                ("ETCDFW_NODE_COUNT", "3"),
                ("ETCDFW_ETCD__CLIENT_PORT", "70000"),
                ("ETCDFW_ETCD__PEER_PORT", "2379"),
                ("ETCDFW_ETCD__ELECTION_TIMEOUT", "100"),
            ])
            .flags(vec![
                flag("node.cuont", "--set node.cuont=3", json!("3")),
                flag(
                    "scheduler.executor_uri",
                    "--executor-uri",
                    json!("http://h/executor"),
                ),
            ]);
    assert_eq!(
        scene.errors(),
        "etcd is 7 (options file options.json); it must be an object of options, like \
         {\"node\": {\"count\": 3}}\n\
         node.count = 2 is refused (options file options.json); allowed: 1, 3, 5, 7 or 9\n\
         node.disk = -1 is refused (options file options.json); allowed: a whole number \
         of MB from 512 to 16777216\n\
         there is no option nodes (options file options.json); did you mean node?\n\
         there is no option node_count (environment variable ETCDFW_NODE_COUNT); did you \
         mean ETCDFW_NODE__COUNT?\n\
         etcd.client_port = \"70000\" is refused (environment variable \
         ETCDFW_ETCD__CLIENT_PORT); allowed: a whole number from 1 to 65535\n\
         there is no option node.cuont (flag --set node.cuont=3); did you mean \
         node.count?\n\
         etcd.election_timeout = 100 is refused (environment variable \
         ETCDFW_ETCD__ELECTION_TIMEOUT; etcd.heartbeat_interval: default); allowed: at \
         least 500 ms, five times etcd.heartbeat_interval; etcd does not start \
         otherwise\n\
         scheduler.executor_sha256 is missing (scheduler.executor_uri: flag \
         --executor-uri); allowed: the SHA-256 sum of scheduler.executor_uri, so that \
         agents run nothing else",
        "and nothing about ports or space, which follow from values refused already"
    );
}

#[test]
fn broken_files_are_told_with_line_and_column() {
    check(
        "{\n  \"node\": {\n    \"count\": 3,\n  }\n}",
        "options.json:4:3: not JSON: trailing comma",
    );
    check("", "options.json:1:0: not JSON: EOF while parsing a value");
    check("{} {}", "options.json:1:4: not JSON: trailing characters");
    check(
        "[]",
        "the whole file is [] (options file options.json); it must be an object of \
         options, like {\"node\": {\"count\": 3}}",
    );
    check(
        r#"{"node": {"count": 3}, "node": {"count": 5}}"#,
        "node is given twice (options file options.json); keep one of them",
    );
}

#[test]
fn a_missing_file_is_told_beside_other_errors() {
    let sources = Sources {
        file: Some("/no/such/file".into()),
        ..Sources::default()
    };
    let errors = load(&sources).expect_err("bad options").0;
    assert!(matches!(&errors[0], LoadError::UnreadableFile { path, .. }
            if path == Path::new("/no/such/file")));
    assert_eq!(errors[1..].len(), 2, "no masters, no etcd: {errors:?}");
}

#[test]
fn the_configuration_is_printed_with_its_sources() {
    let scene = Scene::new(r#"{"service": {"name": "kv"}}"#)
        .environment(&[("ETCDFW_NODE__COUNT", "5")]);
    let printed = scene.load().print_config();
    let line = |start: &str| {
        let found = printed.lines().find(|line| line.starts_with(start));
        found
            .expect(start)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(printed.lines().count(), etcd_config::option_table().count());
    assert_eq!(
        line("node.count"),
        "node.count = 5 # environment variable ETCDFW_NODE__COUNT"
    );
    assert!(line("service.name").starts_with("service.name = \"kv\" # options file /"));
    assert_eq!(line("node.cpus"), "node.cpus = 1.0 # default");
    assert_eq!(line("service.role"), "service.role = null # default");
    assert_eq!(
        line("scheduler.masters"),
        "scheduler.masters = [\"127.0.0.1:5050\"] # flag --master"
    );
}
