//! What a whole configuration is refused or warned about.

use std::path::PathBuf;

use etcd_config::{
    DeployStrategy, DiskType, LogLevel, Megabytes, MemberCount, MilliCpus, Millis,
    Options, PlacementConstraints, PluginLabels, Port,
};

/// The defaults with what has none.
fn complete() -> Options {
    let mut options = Options::default();
    options.scheduler.masters = vec!["127.0.0.1:5050".to_owned()];
    options.scheduler.etcd_dir = Some(PathBuf::from("/opt/etcd"));
    options
}

/// Changes a complete configuration and compares the names of the options that are
/// refused and warned about.
#[track_caller]
fn check(change: impl FnOnce(&mut Options), refused: &[&str], warned: &[&str]) {
    let mut options = complete();
    change(&mut options);
    let (problems, warnings) = options.check();
    let problem_names: Vec<_> = problems.iter().map(|problem| problem.option).collect();
    let warning_names: Vec<_> = warnings.iter().map(|warning| warning.option).collect();
    assert_eq!(problem_names, refused, "{problems:?}");
    assert_eq!(warning_names, warned, "{warnings:?}");
}

#[test]
fn defaults_are_good_but_for_what_only_the_operator_knows() {
    check(|_| {}, &[], &[]);
    check(
        |options| options.scheduler = Options::default().scheduler,
        &["scheduler.etcd_dir", "scheduler.masters"],
        &[],
    );
}

#[test]
fn limits_of_single_options_hold_for_typed_values_too() {
    check(
        |options| options.etcd.client_port = Port(0),
        &["etcd.client_port"],
        &[],
    );
    check(
        |options| options.node.cpus = MilliCpus(0),
        &["node.cpus"],
        &[],
    );
    check(
        |options| options.service.user = String::new(),
        &["service.user"],
        &[],
    );
    check(
        |options| options.node.disk = Megabytes(u64::MAX),
        &["node.disk"],
        &[],
    );
    check(
        |options| options.scheduler.token_file = Some(PathBuf::new()),
        &["scheduler.token_file"],
        &[],
    );
    for role in ["*", "", "-a", "a//b", "a/..", "a b", "a/"] {
        let change = |options: &mut Options| options.service.role = Some(role.to_owned());
        check(change, &["service.role"], &[]);
    }
}

#[test]
fn plugin_labels_are_pairs() {
    for (labels, read_as) in [
        ("", Some(&[][..])),
        ("a:b", Some(&[("a", "b")])),
        (" a : b ,c:", Some(&[("a", "b"), ("c", "")])),
        ("a", None),
        (":b", None),
        ("a:b:c", None),
        ("a:b,", None),
    ] {
        let parsed = labels.parse::<PluginLabels>().ok();
        let pairs = parsed.map(|labels| labels.pairs().to_vec());
        let expected = read_as.map(|pairs| {
            let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
            pairs.iter().map(own).collect::<Vec<_>>()
        });
        assert_eq!(pairs, expected, "{labels:?}");
    }
}

#[test]
fn places_that_cannot_be_are_refused_at_once() {
    let placement = |text: &'static str| {
        move |options: &mut Options| {
            options.node.placement_constraint = text.parse().expect("constraints");
        }
    };
    check(
        placement("hostname:CLUSTER:a"),
        &["node.placement_constraint"],
        &[],
    );
    check(
        placement("hostname:IS:a"),
        &["node.placement_constraint"],
        &[],
    );
    check(placement("rack:CLUSTER:a"), &[], &[]);
    check(
        |options| {
            placement("hostname:IS:a")(options);
            options.node.count = MemberCount::try_from(1).expect("an allowed count");
        },
        &[],
        &["node.count"],
    );
    check(
        |options| {
            placement("hostname:IS:a")(options);
            options.service.virtual_network_enabled = true;
        },
        &[],
        &[],
    );
    check(
        |options| {
            placement("hostname:IS:a")(options);
            options.service.virtual_network_enabled = true;
            options.service.virtual_network_name = "mesos-bridge".to_owned();
        },
        &["node.placement_constraint"],
        &[],
    );
    check(
        |options| {
            placement("@region:IS:a")(options);
            options.service.region = Some("b".to_owned());
        },
        &["service.region"],
        &[],
    );
    check(
        |options| options.node.disk_profiles = vec!["fast".to_owned()],
        &["node.disk_profiles"],
        &[],
    );
    check(
        |options| {
            options.node.disk_type = DiskType::Mount;
            options.node.disk_profiles = vec!["fast".to_owned()];
        },
        &[],
        &[],
    );
}

#[test]
fn masters_are_host_and_port() {
    for (master, good) in [
        ("127.0.0.1:5050", true),
        ("leader.mesos:5050", true),
        ("[::1]:5050", true),
        ("127.0.0.1", false),
        ("127.0.0.1:0", false),
        ("127.0.0.1:99999", false),
        ("http://127.0.0.1:5050", false),
        ("zk://127.0.0.1:2181/mesos", false),
        (":5050", false),
    ] {
        let mut options = complete();
        options.scheduler.masters = vec![master.to_owned()];
        let (problems, _) = options.check();
        assert_eq!(problems.is_empty(), good, "{master}: {problems:?}");
    }
}

#[test]
fn ports_and_timeouts_are_compared() {
    check(
        |options| options.etcd.peer_port = Port(2379),
        &["etcd.client_port"],
        &[],
    );
    check(
        |options| options.etcd.election_timeout = Millis(499),
        &["etcd.election_timeout"],
        &[],
    );
    check(
        |options| options.etcd.election_timeout = Millis(500),
        &[],
        &[],
    );
    check(
        |options| options.etcd.election_timeout = Millis(50_001),
        &["etcd.election_timeout"],
        &[],
    );
}

#[test]
fn disk_must_hold_database_and_log() {
    let disk = |megabytes| move |options: &mut Options| options.node.disk = megabytes;
    check(disk(Megabytes(100)), &["node.disk"], &[]);
    check(disk(Megabytes(2_447)), &["node.disk"], &[]);
    check(disk(Megabytes(2_448)), &[], &["node.disk"]);
    check(disk(Megabytes(4_496)), &[], &[]);
    check(
        |options| options.etcd.quota = Megabytes(10_000),
        &["node.disk"],
        &["etcd.quota"],
    );
}

#[test]
fn memory_is_warned_about() {
    check(
        |options| options.node.mem = Megabytes(256),
        &[],
        &["node.mem"],
    );
    check(
        |options| options.etcd.snapshot_count = 100_000,
        &[],
        &["node.mem"],
    );
    check(
        |options| options.node.mem = Megabytes(127),
        &["node.mem"],
        &[],
    );
}

#[test]
fn what_is_not_built_is_refused_and_not_ignored() {
    check(
        |options| options.etcd.tls_enabled = true,
        &["etcd.tls_enabled"],
        &[],
    );
    check(
        |options| options.etcd.use_auto_tls = true,
        &["etcd.use_auto_tls"],
        &[],
    );
    check(
        |options| options.service.deploy_strategy = DeployStrategy::Serial,
        &[],
        &[],
    );
    check(
        |options| options.service.update_strategy = DeployStrategy::Parallel,
        &[],
        &["service.update_strategy"],
    );
}

#[test]
fn weak_clusters_are_warned_about() {
    let one = MemberCount::try_from(1).expect("an allowed count");
    check(|options| options.node.count = one, &[], &["node.count"]);
    check(
        |options| options.node.placement_constraint = PlacementConstraints::anywhere(),
        &[],
        &["node.placement_constraint"],
    );
}

#[test]
fn artifacts_come_from_one_place_and_are_proven() {
    let uri = || Some("http://host/file".to_owned());
    let sum = || Some("ab".repeat(32));
    check(
        |options| options.scheduler.executor_uri = uri(),
        &["scheduler.executor_sha256"],
        &[],
    );
    check(
        |options| {
            options.scheduler.executor_uri = uri();
            options.scheduler.executor_sha256 = sum();
        },
        &[],
        &[],
    );
    check(
        |options| {
            options.etcd.uri = uri();
            options.etcd.sha256 = sum();
        },
        &["etcd.uri", "etcd.version"],
        &[],
    );
    check(
        |options| options.scheduler.executor_sha256 = sum(),
        &[],
        &["scheduler.executor_sha256"],
    );
    check(
        |options| options.etcd.uri = Some("ftp://host".to_owned()),
        &["etcd.uri"],
        &[],
    );
}

#[test]
fn an_open_or_hidden_api_is_warned_about() {
    let listen = |address: &str| address.parse().expect("an address");
    check(
        |options| options.scheduler.listen = listen("10.0.0.1:80"),
        &[],
        &["scheduler.token_file"],
    );
    check(
        |options| options.scheduler.listen = listen("0.0.0.0:80"),
        &["scheduler.advertise_url"],
        &["scheduler.token_file"],
    );
    check(
        |options| options.scheduler.masters = vec!["10.0.0.1:5050".to_owned()],
        &[],
        &["scheduler.listen"],
    );
}

#[test]
fn options_survive_being_stored() {
    let mut options = complete();
    options.service.name = "/team-a/etcd".parse().expect("a good name");
    options.service.log_level = LogLevel::All;
    options.service.role = Some("slave_public".to_owned());
    options.node.cpus = MilliCpus(1_001);
    options.node.placement_constraint = PlacementConstraints::anywhere();
    let stored = serde_json::to_string(&options).expect("options as JSON");
    let read: Options = serde_json::from_str(&stored).expect("stored options");
    assert_eq!(read, options);

    let partial: Options = serde_json::from_str(r#"{"node": {"cpus": 2}}"#)
        .expect("what is not given is the default");
    assert_eq!(partial.node.cpus, MilliCpus(2_000));
    assert_eq!(partial.etcd, Options::default().etcd);

    for bad in [
        r#"{"nodes": {}}"#,
        r#"{"node": {"count": 2}}"#,
        r#"{"node": {"x": 1}}"#,
    ] {
        assert!(serde_json::from_str::<Options>(bad).is_err(), "{bad}");
    }
}

#[test]
fn thousandths_of_cpus_survive_floating_point() {
    for millis in (0..20_000).chain([1_024_000]) {
        let cpus = f64::from(MilliCpus(millis));
        assert_eq!(MilliCpus::try_from(cpus), Ok(MilliCpus(millis)));
    }
    for bad in [-0.1, f64::NAN, f64::INFINITY, 1e300] {
        assert!(MilliCpus::try_from(bad).is_err(), "{bad}");
    }
}
