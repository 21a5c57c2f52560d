//! Hosts that differ: real agents say what we have told them.

use std::fs;

use etcd_local::cluster::{ClusterOptions, Disk, Host, LocalCluster};
use etcd_local::mounts;
use serde_json::{Value, json};

use crate::support::{AgentApi, helper, mounts_below, start};

/// What the agent with this number, from 0, says of itself.
async fn agent_info(cluster: &mut LocalCluster, agent: usize) -> Value {
    let api = AgentApi(cluster.agents()[agent].config().address);
    let answer = api.call(&json!({"type": "GET_AGENT"})).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["get_agent"]["agent_info"].clone()
}

fn resource(info: &Value, wanted: impl Fn(&Value) -> bool) -> &Value {
    let all = info["resources"].as_array().unwrap();
    all.iter().find(|resource| wanted(resource)).unwrap()
}

#[tokio::test]
async fn attributes_and_domains() {
    let hosts = [
        Host::new()
            .attribute("rack", "r1")
            .attribute("class", "ssd")
            .zone("east", "a"),
        Host::new().attribute("rack", "r2").zone("west", "b"),
    ];
    let mut cluster = start(ClusterOptions::of(hosts).region("east")).await;
    let info = agent_info(&mut cluster, 0).await;
    assert_eq!(
        info["domain"]["fault_domain"],
        json!({"region": {"name": "east"}, "zone": {"name": "a"}})
    );
    let attributes: Vec<String> = info["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attribute| format!("{}={}", attribute["name"], attribute["text"]["value"]))
        .collect();
    assert_eq!(attributes, [r#""class"="ssd""#, r#""rack"="r1""#]);
    let info = agent_info(&mut cluster, 1).await;
    assert_eq!(info["domain"]["fault_domain"]["region"]["name"], "west");
}

#[tokio::test]
async fn sizes_reservations_and_flags() {
    let host = Host::new()
        .cpus(1.5)
        .mem(300)
        .root_disk(900)
        .ports([(2379, 2380), (3000, 3001)])
        .reserved_for("slave_public");
    let options = ClusterOptions::of([host, Host::new().flag("--switch_user")])
        .master_flag("--allocation_interval=50ms")
        .master_flag("--min_allocatable_resources=cpus:0.5|mem:64")
        .agent_flag("--executor_registration_timeout=5secs");
    let mut cluster = start(options).await;
    let info = agent_info(&mut cluster, 0).await;
    for (name, value) in [("cpus", 1.5), ("mem", 300.0), ("disk", 900.0)] {
        let found = resource(&info, |resource| resource["name"] == name);
        assert_eq!(found["scalar"]["value"], value, "{name}");
        assert_eq!(
            found["reservations"],
            json!([{"type": "STATIC", "role": "slave_public"}]),
            "{name}"
        );
    }
    let ports = resource(&info, |resource| resource["name"] == "ports");
    assert_eq!(ports["ranges"]["range"].as_array().unwrap().len(), 2);
    let info = agent_info(&mut cluster, 1).await;
    let cpus = resource(&info, |resource| resource["name"] == "cpus");
    assert_eq!(cpus["scalar"]["value"], 4.0);
    assert_eq!(cpus.get("reservations"), None);
}

/// Needs root: only root may mount.
#[tokio::test]
async fn disks_are_there_and_their_mounts_go_with_the_cluster() {
    let host = Host::new()
        .disk(Disk::path("shared", 700))
        .disk(Disk::mount("whole", 64))
        .disk(Disk::mount("fast", 32).with_profile("fast"));
    let mut cluster = start(ClusterOptions::of([host])).await;
    let root = cluster.root().to_owned();
    let disks = root.join("mesos-agent-1/disks");
    let info = agent_info(&mut cluster, 0).await;
    for (field, name, size) in [("path", "shared", 700.0), ("mount", "whole", 64.0)] {
        let place = json!(disks.join(name));
        let found = resource(&info, |resource| {
            resource["disk"]["source"][field]["root"] == place
        });
        assert_eq!(found["scalar"]["value"], size, "{found}");
    }
    let fast = resource(&info, |resource| {
        resource["disk"]["source"]["profile"] == "fast"
    });
    assert_eq!(
        fast["disk"]["source"]["mount"]["root"],
        json!(disks.join("fast"))
    );

    let whole = disks.join("whole");
    assert_eq!(mounts_below(&root), 2);
    fs::write(whole.join("a"), "written").unwrap();
    mounts::make_read_only(&whole).unwrap();
    assert!(fs::write(whole.join("b"), "refused").is_err());
    assert_eq!(fs::read_to_string(whole.join("a")).unwrap(), "written");
    mounts::make_writable(&whole).unwrap();
    fs::write(whole.join("b"), "written").unwrap();

    drop(cluster);
    assert_eq!(mounts_below(&root), 0);
    assert!(!root.exists());
}

/// A panic keeps the directory with its logs; the mounts are taken away all the same.
#[test]
fn a_failed_test_leaves_no_mounts() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("cluster");
    let options = ClusterOptions::of([Host::new().disk(Disk::mount("whole", 16))]);
    let options = options.root(&place);
    let failed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let cluster = LocalCluster::start_with(options, helper()).await.unwrap();
            assert_eq!(mounts_below(cluster.root()), 1);
            panic!("on purpose");
        });
    });
    assert!(failed.join().is_err());
    assert_eq!(mounts_below(&place), 0);
    assert!(place.join("mesos-agent-1").is_dir(), "its logs are kept");
}
