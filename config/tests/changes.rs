//! Every option, changed in a service that runs: taken, and at what cost to its
//! members, or refused, and why.

use std::path::PathBuf;

use etcd_config::load::Origin;
use etcd_config::{
    Asked, GivenOptions, Options, Refusal, changes, judge_change, option_table,
};

/// The options of a service that runs.
fn running() -> Options {
    let mut options = Options::default();
    options.scheduler.masters = vec!["127.0.0.1:5050".to_owned()];
    options.scheduler.etcd_dir = Some(PathBuf::from("/opt/etcd"));
    options
}

fn given(json: &str) -> GivenOptions {
    GivenOptions::parse(json.as_bytes(), &Origin::Request).expect("good options")
}

/// One option as JSON with its section.
fn one(option: &str, value: &str) -> String {
    let (section, key) = option.split_once('.').expect("a dotted name");
    format!("{{\"{section}\": {{\"{key}\": {value}}}}}")
}

/// The class of each change, or every reason against, in one line.
fn verdict(old: &Options, new: &Options, asked: Asked) -> String {
    let shown = |refusal: &Refusal| {
        assert!(
            refusal.to_string().contains(&refusal.reason),
            "{refusal} {refusal:?}"
        );
        format!("{}: {}", refusal.option, refusal.reason)
    };
    match judge_change(old, new, asked) {
        Ok(changes) => changes
            .iter()
            .map(|change| format!("{} {}", change.option, change.class.as_str()))
            .collect::<Vec<_>>()
            .join(", "),
        Err(refusals) => format!(
            "refused {}",
            refusals.iter().map(shown).collect::<Vec<_>>().join("; ")
        ),
    }
}

/// Option, another value, and what becomes of it.
const ROWS: &[(&str, &str, &str)] = &[
    ("service.name", "\"other\"", "refused: install a second"),
    ("service.user", "\"etcd\"", "rolling_replace"),
    (
        "service.service_account",
        "\"robot\"",
        "refused: the principal would become",
    ),
    ("service.service_account_secret", "\"a/b\"", "scheduler"),
    ("service.role", "\"team\"", "scheduler"),
    ("service.pre_reserved_role", "\"ssd\"", "scheduler"),
    ("service.region", "\"north\"", "free"),
    (
        "service.principal",
        "\"me\"",
        "refused: Mesos lets no framework change",
    ),
    ("service.virtual_network_enabled", "true", "rolling_replace"),
    ("service.virtual_network_name", "\"calico\"", "free"),
    ("service.virtual_network_plugin_labels", "\"a:b\"", "free"),
    ("service.virtual_network_domain", "\"example.org\"", "free"),
    ("service.log_level", "\"DEBUG\"", "scheduler"),
    ("service.deploy_strategy", "\"serial\"", "free"),
    ("service.update_strategy", "\"parallel\"", "free"),
    ("service.update_timeout", "60", "free"),
    ("service.update_rollback", "false", "free"),
    ("service.move_on_resize", "true", "free"),
    ("service.allow_scale_in", "true", "free"),
    ("service.replace_after", "60", "free"),
    ("node.count", "5", "scale"),
    ("node.placement_constraint", "\"@zone:UNIQUE\"", "free"),
    ("node.cpus", "2", "resize"),
    ("node.mem", "2048", "resize"),
    ("node.disk", "8192", "rolling_replace"),
    ("node.disk_type", "\"MOUNT\"", "rolling_replace"),
    (
        "node.disk_profiles",
        "[\"fast\"]",
        "refused: only whole disks",
    ),
    ("etcd.client_port", "2479", "resize"),
    ("etcd.peer_port", "2480", "rolling_replace"),
    ("etcd.tls_enabled", "true", "refused: switching TLS"),
    ("etcd.use_auto_tls", "true", "refused: switching TLS"),
    (
        "etcd.initial_cluster_token",
        "\"x\"",
        "refused: cluster's identity",
    ),
    ("etcd.heartbeat_interval", "200", "rolling_restart"),
    ("etcd.election_timeout", "2000", "rolling_restart"),
    ("etcd.snapshot_count", "5000", "rolling_restart"),
    ("etcd.quota", "1024", "rolling_restart"),
    ("etcd.auto_compaction_period", "60", "rolling_restart"),
    ("etcd.auto_compaction_revisions", "9", "rolling_restart"),
    ("etcd.defragment_every", "60", "free"),
    ("etcd.defragment_free_percent", "30", "free"),
    ("etcd.defragment_from", "1", "free"),
    ("etcd.enable_v2", "true", "rolling_restart"),
    ("etcd.uri", "\"http://x/e.tar.gz\"", "refused: not both"),
    ("etcd.sha256", SUM, "rolling_restart"),
    ("etcd.version", "\"3.5.30\"", "rolling_restart"),
    ("etcd.kill_grace_seconds", "60", "rolling_restart"),
    ("scheduler.masters", "\"127.0.0.2:5050\"", "scheduler"),
    ("scheduler.listen", "\"127.0.0.2:80\"", "scheduler"),
    ("scheduler.advertise_url", "\"http://x:80\"", "scheduler"),
    ("scheduler.state_dir", "\"/x\"", "scheduler"),
    ("scheduler.token_file", "\"/x\"", "scheduler"),
    ("scheduler.executor", "\"/x\"", "rolling_restart"),
    (
        "scheduler.executor_uri",
        "\"http://x/e\"",
        "refused: the SHA-256 sum",
    ),
    ("scheduler.executor_sha256", SUM, "rolling_restart"),
    ("scheduler.etcd_dir", "\"/x\"", "rolling_restart"),
    ("scheduler.log_format", "\"json\"", "scheduler"),
    ("scheduler.offer_collection", "500", "free"),
    ("scheduler.framework_failover_timeout", "60", "scheduler"),
    ("scheduler.executor_cpus", "0.2", "resize"),
    ("scheduler.executor_mem", "64", "resize"),
    ("scheduler.executor_disk", "512", "resize"),
];

const SUM: &str = "\"5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9\"";

#[test]
fn every_option_changed_at_a_start() {
    for (option, value, expected) in ROWS {
        let old = running();
        let new = given(&one(option, value)).applied_to(&old);
        assert_eq!(changes(&old, &new).len(), 1, "{option}");
        let verdict = verdict(&old, &new, Asked::AtStart);
        match expected.strip_prefix("refused: ") {
            Some(words) => {
                assert!(
                    verdict.starts_with("refused ") && verdict.contains(words),
                    "{option}: {verdict}"
                );
            }
            None => assert_eq!(verdict, format!("{option} {expected}")),
        }
    }
}

/// What the process is made of and what it serves is taken at a start alone.
#[test]
fn every_option_changed_while_running() {
    for row in option_table().filter(|row| row.change.only_at_start) {
        let (option, value, _) = ROWS
            .iter()
            .find(|(option, ..)| *option == row.name)
            .expect("a row");
        let old = running();
        let new = given(&one(option, value)).applied_to(&old);
        let verdict = verdict(&old, &new, Asked::WhileRunning);
        let expected = format!("restart the scheduler with {option} = ");
        assert!(verdict.contains(&expected), "{option}: {verdict}");
    }
}

#[test]
fn every_option_has_a_row_here() {
    let rows: Vec<&str> = ROWS.iter().map(|(option, ..)| *option).collect();
    let table: Vec<&str> = option_table().map(|row| row.name).collect();
    assert_eq!(rows, table);
}

#[test]
fn changes_that_depend_on_other_options() {
    #[track_caller]
    fn check(before: &str, change: &str, expected: &str) {
        let old = given(before).applied_to(&running());
        let new = given(change).applied_to(&old);
        let verdict = verdict(&old, &new, Asked::WhileRunning);
        assert!(verdict.contains(expected), "{change}: {verdict}");
    }
    let five = one("node.count", "5");
    check(
        &five,
        &one("node.count", "3"),
        "refused node.count: expected at least 5 members",
    );
    let allowed = r#"{"node": {"count": 3}, "service": {"allow_scale_in": true}}"#;
    check(
        &five,
        allowed,
        "service.allow_scale_in free, node.count scale",
    );
    check(
        &one("service.allow_scale_in", "true"),
        &one("node.count", "1"),
        "scale",
    );
    let network = one("service.virtual_network_enabled", "true");
    let name = one("service.virtual_network_name", "\"calico\"");
    check(
        &network,
        &name,
        "refused service.virtual_network_name: on a virtual network a member and its",
    );
    check(
        &network,
        &one("service.user", "\"etcd\""),
        "refused service.user: on a virtual network a member and its",
    );
    let off = one("service.virtual_network_enabled", "false");
    check(
        &network,
        &off,
        "service.virtual_network_enabled rolling_replace",
    );
    let domain = one("service.virtual_network_domain", "\"example.org\"");
    check(
        &network,
        &domain,
        "service.virtual_network_domain rolling_replace",
    );
    // The principal is what it was.
    let by_name = one("service.principal", "\"me\"");
    check(
        &by_name,
        &one("service.principal", "\"etcd-principal\""),
        "the principal would become \"etcd-principal\"",
    );
    check(
        "{}",
        &one("service.principal", "\"etcd-principal\""),
        "service.principal free",
    );
    // Every reason is told, and each option once.
    check(
        "{}",
        r#"{"service": {"name": "x"}, "etcd": {"initial_cluster_token": "y",
            "tls_enabled": true, "heartbeat_interval": 900}, "node": {"count": 1}}"#,
        "refused service.name: ",
    );
    let many = r#"{"service": {"name": "x"}, "etcd": {"tls_enabled": true,
        "heartbeat_interval": 900}, "node": {"count": 1}}"#;
    let new = given(many).applied_to(&running());
    let refusals = judge_change(&running(), &new, Asked::AtStart).expect_err("refused");
    let options: Vec<&str> = refusals.iter().map(|refusal| refusal.option).collect();
    assert_eq!(
        options,
        [
            "service.name",
            "node.count",
            "etcd.tls_enabled",
            "etcd.election_timeout"
        ]
    );
}

#[test]
fn refusals_read_like_the_sdks() {
    let new = given(&one("node.count", "1")).applied_to(&running());
    let refusals = judge_change(&running(), &new, Asked::AtStart).expect_err("refused");
    assert_eq!(
        refusals[0].to_string(),
        "Field: 'node.count'; Transition: '3' => '1'; Message: 'expected at least 3 \
         members: a cluster shrinks only with service.allow_scale_in = true, because \
         members that go take their copy of the data with them'; Fatal: false"
    );
    let new = given(&one("etcd.election_timeout", "60")).applied_to(&running());
    let refusals = judge_change(&running(), &new, Asked::AtStart).expect_err("refused");
    let text = refusals[0].to_string();
    assert!(
        text.starts_with("Field: 'etcd.election_timeout'; Value: '60'; Message: '"),
        "{text}"
    );
}

#[test]
fn options_that_were_given_are_merged() {
    #[track_caller]
    fn check(base: &str, change: &str, expected: &str) {
        let merged = given(change).onto(&given(base));
        let expected: serde_json::Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!(merged.to_json(), expected, "{change} onto {base}");
        // What is stored is read back as it was.
        assert_eq!(given(&merged.to_json().to_string()), merged);
    }
    check("{}", "{}", "{}");
    check(
        r#"{"node": {"count": 5, "cpus": 1.5}, "service": {"region": "north"}}"#,
        r#"{"node": {"cpus": 0.5}, "service": {"region": null}, "etcd": {}}"#,
        r#"{"node": {"count": 5, "cpus": 0.5}, "service": {"region": null}}"#,
    );
    check(
        r#"{"node": {"disk_profiles": ["a", "b"], "disk_type": "mount"}}"#,
        r#"{"node": {"disk_profiles": ["c"]}}"#,
        r#"{"node": {"disk_profiles": ["c"], "disk_type": "MOUNT"}}"#,
    );
    // The default, given on purpose, is given.
    check(
        "{}",
        r#"{"node": {"count": 3}}"#,
        r#"{"node": {"count": 3}}"#,
    );
    check(
        "{}",
        r#"{"node": {"placement_constraint": [["hostname", "UNIQUE"]]}}"#,
        r#"{"node": {"placement_constraint": "[[\"hostname\", \"UNIQUE\"]]"}}"#,
    );
}

#[test]
fn bad_documents_are_refused_with_everything_that_is_wrong() {
    let check = |text: &str, expected: &[&str]| {
        let errors = GivenOptions::parse(text.as_bytes(), &Origin::Request)
            .expect_err(text)
            .to_string();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines, expected, "{text}");
    };
    check("{", &["request:1:1: not JSON: EOF while parsing an object"]);
    check(
        "[]",
        &[
            "the whole file is [] (request); it must be an object of options, like \
          {\"node\": {\"count\": 3}}",
        ],
    );
    check(
        r#"{"node": {"count": 2, "cores": 1}, "etdc": {}, "etcd": {"quota": "1024"}}"#,
        &[
            "etcd.quota = \"1024\" is refused (request); allowed: a whole number of MB \
             from 16 to 102400, without quotes",
            "there is no option etdc (request)",
            "there is no option node.cores (request); did you mean node.count?",
            "node.count = 2 is refused (request); allowed: 1, 3, 5, 7 or 9",
        ],
    );
}
