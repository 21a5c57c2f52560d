//! `/v1/configurations`.

use etcd_planner::Target;
use etcd_planner::record::TargetId;
use etcd_planner::target::{DiskWish, Network, VirtualNetwork};

use super::*;
use crate::store::StoredTarget;

const OLD: &str = "0e2fbc5d-7a1e-8c33-b2a4-1a9b5f0c6d11";
const NEW: &str = "c4f7a4f0-5a55-8d0e-9a6c-2f6f3bb0e222";

fn stored(target: Target, options: Value) -> StoredTarget {
    StoredTarget {
        target,
        options,
        given: None,
    }
}

/// Two stored targets, of which the service is brought to the newer one.
fn two_targets() -> Service {
    let mut model = samples::healthy_model();
    model.target_id = TargetId(NEW.into());
    let service = Service::of(&model);
    let store = &service.state.store;
    let options = json!({"service": {"role": "our-role", "user": "etcd"}});
    store
        .put_target(
            &TargetId(NEW.into()),
            &stored(model.target.clone(), options),
        )
        .unwrap();
    let mut old = model.target.clone();
    old.disk = DiskWish::Mount {
        profiles: vec!["fast".into()],
    };
    old.network = Network::Virtual(VirtualNetwork {
        name: "dcos".into(),
        labels: Vec::new(),
        maps_ports: false,
        dns_domain: "etcd.example".into(),
    });
    old.tuning.enable_v2 = true;
    old.placement = "hostname:UNIQUE,@zone:GROUP_BY:3".parse().unwrap();
    store
        .put_target(
            &TargetId(OLD.into()),
            &stored(old, json!({"of": "a newer release"})),
        )
        .unwrap();
    service
}

#[tokio::test]
async fn ids() {
    let service = two_targets();
    assert_eq!(
        service.get("/v1/configurations").await.json(),
        json!([OLD, NEW])
    );
    assert_eq!(
        service.get("/v1/configurations/targetId").await.json(),
        json!([NEW])
    );
    for (id, status, words) in [
        (NEW, 200, "pod-specs"),
        (&NEW.to_uppercase(), 200, "pod-specs"),
        (OLD, 200, "pod-specs"),
        ("7", 400, "\"7\" is no configuration id"),
        (
            "00000000-0000-0000-0000-000000000000",
            404,
            "Configuration 00000000-0000-0000-0000-000000000000 not found",
        ),
    ] {
        let answer = service.get(&format!("/v1/configurations/{id}")).await;
        assert_eq!(answer.status, status, "{id}");
        assert!(answer.body.contains(words), "{id}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_target() {
    let service = two_targets();
    let answer = service.get("/v1/configurations/target").await;
    let scalar = |value: f64| json!({"type": "SCALAR", "scalar": {"value": value}});
    let port = |port: u16| json!({"type": "RANGES", "ranges": {"range": [{"begin": port, "end": port}]}});
    let with_owner = |mut value: Value| {
        value["role"] = json!("our-role");
        value["principal"] = json!("etcd-principal");
        value["pre-reserved-role"] = json!("*");
        value
    };
    let amount = |name: &str, value: f64| {
        with_owner(json!({
            "@type": "DefaultResourceSpec", "name": name, "value": scalar(value),
        }))
    };
    let client_port = with_owner(json!({
        "@type": "NamedVIPSpec", "name": "ports", "value": port(2379),
        "env-key": "PORT_CLIENT", "port-name": "api", "visibility": "EXTERNAL",
        "network-names": [], "protocol": "tcp", "vip-name": "api", "vip-port": 2379,
    }));
    let peer_port = with_owner(json!({
        "@type": "PortSpec", "name": "ports", "value": port(2380),
        "env-key": "PORT_PEER", "port-name": "peer", "visibility": "CLUSTER",
        "network-names": [],
    }));
    let volume = with_owner(json!({
        "@type": "DefaultVolumeSpec", "type": "ROOT", "container-path": "etcd-data",
        "profiles": [], "name": "disk", "value": scalar(5120.0),
    }));
    let resources = [
        amount("cpus", 1.1),
        amount("mem", 1056.0),
        amount("disk", 256.0),
        client_port,
        peer_port,
    ];
    let environment = json!({
        "ETCD_ELECTION_TIMEOUT": "1000", "ETCD_HEARTBEAT_INTERVAL": "100",
        "ETCD_QUOTA_BACKEND_BYTES": "2147483648", "ETCD_SNAPSHOT_COUNT": "100000",
    });
    let task = json!({
        "name": "node", "goal": "RUNNING", "essential": true,
        "resource-set": {
            "id": "node-resource-set",
            "resource-specifications": resources,
            "volume-specifications": [volume],
        },
        "command-spec": {"value": "etcd", "environment": environment},
        "health-check-spec": null, "readiness-check-spec": null,
        "config-files": [], "discovery-spec": null,
        "kill-grace-period": 30, "transport-encryption": [],
    });
    let pod = json!({
        "type": "etcd", "user": "etcd", "count": 3,
        "allow-decommission": false, "image": null, "networks": [],
        "rlimits": [], "uris": [],
        "placement-rule": {
            "@type": "MarathonConstraints",
            "constraints": [["hostname", "UNIQUE"]],
        },
        "pre-reserved-role": "*", "secrets": [], "share-pid-namespace": false,
        "task-specs": [task],
    });
    assert_eq!(
        answer.json(),
        json!({
            "name": "etcd", "role": "our-role", "principal": "etcd-principal",
            "user": "etcd", "goal": "RUNNING", "region": null, "web-url": null,
            "zookeeper": null, "replacement-failure-policy": null,
            "pod-specs": [pod],
        })
    );
    let read: etcd_api::ServiceSpec = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(read.pod_specs[0].count, 3);
}

#[tokio::test]
async fn targets_of_other_kinds() {
    let service = two_targets();
    let spec = service
        .get(&format!("/v1/configurations/{OLD}"))
        .await
        .json();
    // The options that were stored with it are none that this release knows.
    assert_eq!(spec["role"], Value::Null);
    let pod = &spec["pod-specs"][0];
    assert_eq!(pod["networks"], json!(["dcos"]));
    assert_eq!(
        pod["placement-rule"]["constraints"],
        json!([["hostname", "UNIQUE"], ["@zone", "GROUP_BY", "3"]])
    );
    let task = &pod["task-specs"][0];
    let volume = &task["resource-set"]["volume-specifications"][0];
    assert_eq!(volume["type"], "MOUNT");
    assert_eq!(volume["profiles"], json!(["fast"]));
    let environment = &task["command-spec"]["environment"];
    assert_eq!(environment["ETCD_ENABLE_V2"], "true");

    // The entry of the target in use is missing.
    let service = healthy();
    let answer = service.get("/v1/configurations/target").await;
    assert_eq!(
        (answer.status, &answer.json()["name"]),
        (200, &json!("etcd"))
    );
}
