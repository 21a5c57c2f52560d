//! From a stored target to the SDK's words for it.

use std::collections::BTreeMap;

use serde_json::Value;

use etcd_api::ServiceSpec;
use etcd_api::configurations::{
    CommandSpec, PlacementRule, PodSpec, ResourceSet, ResourceSpec, ResourceValue,
    TaskSpec, VolumeSpec,
};
use etcd_api::pods::{Range, Ranges, Scalar};
use etcd_config::Options;
use etcd_launch::DATA_DIRECTORY;
use etcd_planner::Target;
use etcd_planner::target::{DiskWish, Network};

/// The one kind of pods that we have, and the program that it runs.
const ETCD: &str = "etcd";

/// The SDK's goal state, and the only one of ours.
const RUNNING: &str = "RUNNING";

/// Whom resources belong to, as far as the options that were stored with the
/// target still tell.
#[derive(Default)]
struct Owner {
    role: Option<String>,
    principal: Option<String>,
    user: Option<String>,
    pre_reserved_role: Option<String>,
}

impl Owner {
    fn of(options: &Value) -> Self {
        // Options of a newer release may hold what this one does not know.
        let Ok(Options { service, .. }) = serde_json::from_value(options.clone()) else {
            return Owner::default();
        };
        Owner {
            role: Some(service.role()),
            principal: Some(service.principal()),
            pre_reserved_role: service.pre_reserved_role,
            user: Some(service.user),
        }
    }

    /// As the SDK writes it: none is a word, too.
    fn pre_reserved_role(&self) -> String {
        self.pre_reserved_role
            .clone()
            .unwrap_or_else(|| "*".to_owned())
    }
}

/// The SDK's specification of the service that a target and its options stand
/// for.
pub(super) fn service_spec(target: &Target, options: &Value) -> ServiceSpec {
    let owner = Owner::of(options);
    ServiceSpec {
        name: target.service.clone(),
        role: owner.role.clone(),
        principal: owner.principal.clone(),
        user: owner.user.clone(),
        goal: RUNNING.to_owned(),
        region: target.region.clone(),
        web_url: None,
        zookeeper: None,
        replacement_failure_policy: None,
        pod_specs: vec![pod_spec(target, &owner)],
    }
}

fn pod_spec(target: &Target, owner: &Owner) -> PodSpec {
    PodSpec {
        kind: ETCD.to_owned(),
        user: owner.user.clone(),
        count: target.members,
        allow_decommission: target.allow_scale_in,
        image: None,
        networks: networks(target),
        rlimits: Vec::new(),
        uris: Vec::new(),
        placement_rule: placement_rule(target),
        pre_reserved_role: owner.pre_reserved_role(),
        secrets: Vec::new(),
        share_pid_namespace: false,
        task_specs: vec![task_spec(target, owner)],
    }
}

fn networks(target: &Target) -> Vec<String> {
    match &target.network {
        Network::Host => Vec::new(),
        Network::Virtual(network) => vec![network.name.clone()],
    }
}

fn placement_rule(target: &Target) -> Option<PlacementRule> {
    let constraints: Vec<Vec<String>> = target
        .placement
        .constraints()
        .iter()
        .map(|constraint| {
            let rule = &constraint.rule;
            let mut words =
                vec![constraint.field.to_string(), rule.operator().to_owned()];
            words.extend(rule.parameter());
            words
        })
        .collect();
    (!constraints.is_empty())
        .then_some(PlacementRule::MarathonConstraints { constraints })
}

fn task_spec(target: &Target, owner: &Owner) -> TaskSpec {
    TaskSpec {
        name: "node".to_owned(),
        goal: RUNNING.to_owned(),
        essential: true,
        resource_set: ResourceSet {
            id: "node-resource-set".to_owned(),
            resource_specifications: resources(target, owner),
            volume_specifications: vec![volume(target, owner)],
        },
        command_spec: CommandSpec {
            value: ETCD.to_owned(),
            environment: environment(target),
        },
        health_check_spec: None,
        readiness_check_spec: None,
        config_files: Vec::new(),
        discovery_spec: None,
        // Whole seconds are all that the SDK has; a part of one counts.
        kill_grace_period: target.stop_grace_ms.div_ceil(1000),
        transport_encryption: Vec::new(),
    }
}

/// What a pod takes, the executor's share included: that is what is reserved.
#[expect(clippy::cast_precision_loss, reason = "amounts of one machine")]
fn resources(target: &Target, owner: &Owner) -> Vec<ResourceSpec> {
    let needs = &target.needs;
    let amount = |name: &str, value: f64| ResourceSpec::DefaultResourceSpec {
        name: name.to_owned(),
        value: scalar(value),
        role: owner.role.clone(),
        pre_reserved_role: owner.pre_reserved_role(),
        principal: owner.principal.clone(),
    };
    vec![
        amount("cpus", needs.total_cpus().0 as f64 / 1000.0),
        amount("mem", needs.total_mem().0 as f64),
        amount("disk", needs.executor_disk.0 as f64),
        ResourceSpec::NamedVIPSpec {
            name: "ports".to_owned(),
            value: port(needs.client_port),
            role: owner.role.clone(),
            pre_reserved_role: owner.pre_reserved_role(),
            principal: owner.principal.clone(),
            env_key: "PORT_CLIENT".to_owned(),
            port_name: "api".to_owned(),
            visibility: "EXTERNAL".to_owned(),
            network_names: networks(target),
            protocol: "tcp".to_owned(),
            vip_name: "api".to_owned(),
            vip_port: needs.client_port,
        },
        ResourceSpec::PortSpec {
            name: "ports".to_owned(),
            value: port(needs.peer_port),
            role: owner.role.clone(),
            pre_reserved_role: owner.pre_reserved_role(),
            principal: owner.principal.clone(),
            env_key: "PORT_PEER".to_owned(),
            port_name: "peer".to_owned(),
            visibility: "CLUSTER".to_owned(),
            network_names: networks(target),
        },
    ]
}

#[expect(clippy::cast_precision_loss, reason = "amounts of one machine")]
fn volume(target: &Target, owner: &Owner) -> VolumeSpec {
    let (kind, profiles) = match &target.disk {
        DiskWish::Root => ("ROOT", Vec::new()),
        DiskWish::Path => ("PATH", Vec::new()),
        DiskWish::Mount { profiles } => ("MOUNT", profiles.clone()),
    };
    VolumeSpec::DefaultVolumeSpec {
        kind: kind.to_owned(),
        container_path: DATA_DIRECTORY.to_owned(),
        profiles,
        name: "disk".to_owned(),
        value: scalar(target.needs.volume.0 as f64),
        role: owner.role.clone(),
        pre_reserved_role: owner.pre_reserved_role(),
        principal: owner.principal.clone(),
    }
}

fn environment(target: &Target) -> BTreeMap<String, String> {
    let tuning = &target.tuning;
    let mut variables = BTreeMap::from(
        [
            ("ETCD_HEARTBEAT_INTERVAL", tuning.heartbeat_interval_ms),
            ("ETCD_ELECTION_TIMEOUT", tuning.election_timeout_ms),
            ("ETCD_SNAPSHOT_COUNT", tuning.snapshot_count),
            ("ETCD_QUOTA_BACKEND_BYTES", tuning.quota_backend_bytes),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_string())),
    );
    if let Some(compaction) = tuning.auto_compaction {
        let (mode, retention) = compaction.mode_and_retention();
        variables.insert("ETCD_AUTO_COMPACTION_MODE".to_owned(), mode.to_owned());
        variables.insert("ETCD_AUTO_COMPACTION_RETENTION".to_owned(), retention);
    }
    if tuning.enable_v2 {
        variables.insert("ETCD_ENABLE_V2".to_owned(), "true".to_owned());
    }
    variables
}

fn scalar(value: f64) -> ResourceValue {
    ResourceValue {
        kind: "SCALAR".to_owned(),
        scalar: Some(Scalar { value }),
        ranges: None,
    }
}

fn port(port: u16) -> ResourceValue {
    let range = Range {
        begin: port.into(),
        end: port.into(),
    };
    ResourceValue {
        kind: "RANGES".to_owned(),
        scalar: None,
        ranges: Some(Ranges { range: vec![range] }),
    }
}
