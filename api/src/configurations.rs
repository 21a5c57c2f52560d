//! `/v1/configurations`: what the service is brought to, as the DC/OS SDK
//! writes a service's specification.
//!
//! What the SDK has and we do not is `null`, empty, or the one value that it
//! can have with us; the fields say which.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pods::{Ranges, Scalar};

/// `GET /v1/configurations/target` and `GET /v1/configurations/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceSpec {
    /// The service's name.
    pub name: String,
    /// The Mesos role that its reservations belong to.
    pub role: Option<String>,
    /// Its Mesos principal.
    pub principal: Option<String>,
    /// The user on the agents.
    pub user: Option<String>,
    /// Always `RUNNING`.
    pub goal: String,
    /// The region that members must be in; null for the one of the masters.
    pub region: Option<String>,
    /// Always null.
    pub web_url: Option<String>,
    /// Always null: the state is in a file of the scheduler.
    pub zookeeper: Option<String>,
    /// Always null: nothing is replaced by itself.
    pub replacement_failure_policy: Option<String>,
    /// One entry: the members.
    pub pod_specs: Vec<PodSpec>,
}

/// A kind of pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PodSpec {
    /// `etcd`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The user on the agents.
    pub user: Option<String>,
    /// How many.
    pub count: u16,
    /// Whether there may be fewer later.
    pub allow_decommission: bool,
    /// Always null: members run on the agent's own file system.
    pub image: Option<String>,
    /// The names of the networks that members are on; empty for that of the
    /// agents.
    pub networks: Vec<String>,
    /// Always empty.
    pub rlimits: Vec<String>,
    /// Always empty: the addresses from which agents fetch are secrets of one
    /// launch each.
    pub uris: Vec<String>,
    /// Where they may be placed; null for anywhere.
    pub placement_rule: Option<PlacementRule>,
    /// The role that resources were reserved for beforehand; `*` for none.
    pub pre_reserved_role: String,
    /// Always empty.
    pub secrets: Vec<String>,
    /// Always false.
    pub share_pid_namespace: bool,
    /// One entry: etcd.
    pub task_specs: Vec<TaskSpec>,
}

/// Where pods may be placed. The SDK has a tree of rules here; we have the
/// list of constraints that the operator wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "@type")]
pub enum PlacementRule {
    /// Constraints in Marathon's grammar, all of which must hold.
    MarathonConstraints {
        /// Each is a field, an operator and, with some, a parameter.
        constraints: Vec<Vec<String>>,
    },
}

/// A task of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TaskSpec {
    /// `node`.
    pub name: String,
    /// Always `RUNNING`.
    pub goal: String,
    /// Always true.
    pub essential: bool,
    /// What it takes from its agent.
    pub resource_set: ResourceSet,
    /// What it runs.
    pub command_spec: CommandSpec,
    /// Always null: the executor watches etcd, and the scheduler asks it.
    pub health_check_spec: Option<String>,
    /// Always null.
    pub readiness_check_spec: Option<String>,
    /// Always empty.
    pub config_files: Vec<String>,
    /// Always null: DNS names are made from the names of the tasks.
    pub discovery_spec: Option<String>,
    /// Seconds.
    pub kill_grace_period: u64,
    /// Always empty.
    pub transport_encryption: Vec<String>,
}

/// What a task takes from its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ResourceSet {
    /// `node-resource-set`.
    pub id: String,
    /// Without volumes.
    pub resource_specifications: Vec<ResourceSpec>,
    /// One entry: the data.
    pub volume_specifications: Vec<VolumeSpec>,
}

/// A resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "@type", rename_all_fields = "kebab-case")]
pub enum ResourceSpec {
    /// An amount.
    DefaultResourceSpec {
        /// `cpus`, `mem` or `disk` (without the volume).
        name: String,
        /// How much.
        value: ResourceValue,
        /// The role that it is reserved for.
        role: Option<String>,
        /// The role that it was reserved for beforehand; `*` for none.
        pre_reserved_role: String,
        /// The principal that reserves it.
        principal: Option<String>,
    },
    /// A port.
    PortSpec {
        /// `ports`.
        name: String,
        /// Which.
        value: ResourceValue,
        /// The role that it is reserved for.
        role: Option<String>,
        /// The role that it was reserved for beforehand; `*` for none.
        pre_reserved_role: String,
        /// The principal that reserves it.
        principal: Option<String>,
        /// The variable that named it in the original package.
        env_key: String,
        /// `peer`.
        port_name: String,
        /// Who may find it.
        visibility: String,
        /// As in [`PodSpec::networks`].
        network_names: Vec<String>,
    },
    /// A port behind a virtual address.
    NamedVIPSpec {
        /// `ports`.
        name: String,
        /// Which.
        value: ResourceValue,
        /// The role that it is reserved for.
        role: Option<String>,
        /// The role that it was reserved for beforehand; `*` for none.
        pre_reserved_role: String,
        /// The principal that reserves it.
        principal: Option<String>,
        /// The variable that named it in the original package.
        env_key: String,
        /// `api`.
        port_name: String,
        /// Who may find it.
        visibility: String,
        /// As in [`PodSpec::networks`].
        network_names: Vec<String>,
        /// `tcp`.
        protocol: String,
        /// First part of the virtual address' name.
        vip_name: String,
        /// The port of the virtual address.
        vip_port: u16,
    },
}

/// An amount or ranges, as Mesos writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceValue {
    /// `SCALAR` or `RANGES`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The amount, of a scalar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// The ranges, of ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "@type", rename_all_fields = "kebab-case")]
pub enum VolumeSpec {
    /// A persistent volume.
    DefaultVolumeSpec {
        /// `ROOT`, `PATH` or `MOUNT`.
        #[serde(rename = "type")]
        kind: String,
        /// `etcd-data`, in the task's sandbox.
        container_path: String,
        /// Profiles of MOUNT disks, one of which the disk must have.
        profiles: Vec<String>,
        /// `disk`.
        name: String,
        /// How large at least, megabytes of 2^20 bytes.
        value: ResourceValue,
        /// The role that it is reserved for.
        role: Option<String>,
        /// The role that it was reserved for beforehand; `*` for none.
        pre_reserved_role: String,
        /// The principal that reserves it.
        principal: Option<String>,
    },
}

/// What a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandSpec {
    /// The program. Its arguments are made for each launch.
    pub value: String,
    /// etcd's settings that do not differ between members, under the names that
    /// etcd has for them. They are passed as arguments.
    pub environment: BTreeMap<String, String>,
}

/// `PUT /v1/configurations/target`, when it was taken or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetChange {
    /// The id of the target that the service is brought to from now on.
    pub target_id: String,
    /// The id of the target before.
    pub previous_id: String,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// What changes.
    pub changes: Vec<OptionChange>,
    /// Whether members that run are restarted or exchanged for it.
    pub restarts_members: bool,
    /// If so, in which order, as the members are now: those that are not well, then
    /// followers, the leader last.
    pub order: Vec<String>,
    /// What the operator should know of the new options.
    pub warnings: Vec<String>,
}

/// One option that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptionChange {
    /// Its name, like `node.count`.
    pub option: String,
    /// Its value so far.
    pub from: serde_json::Value,
    /// Its new value.
    pub to: serde_json::Value,
    /// `free`, `rolling_restart`, `resize`, `rolling_replace`, `scale`, `scheduler` or
    /// `refused`.
    pub class: String,
    /// The class in words.
    pub meaning: String,
}

/// `PUT /v1/configurations/target`, when it was not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeRefused {
    /// Fixed, for programs: `not_understood`, `refused`, `managed_elsewhere`.
    pub code: String,
    /// All reasons, one a line.
    pub message: String,
    /// Each reason with its option.
    pub reasons: Vec<ChangeReason>,
}

/// One reason against a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeReason {
    /// The option; null where what was sent is no options at all.
    pub option: Option<String>,
    /// The reason, and what to do instead.
    pub reason: String,
}

/// `GET /v1/configurations/{id}/diff/{other}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationDiff {
    /// The id of the one.
    pub from: String,
    /// The id of the other.
    pub to: String,
    /// What differs.
    pub changes: Vec<OptionChange>,
    /// Whether a change from the one to the other restarts members.
    pub restarts_members: bool,
}

/// `GET /v1/configurations/target/options`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationOptions {
    /// The target's id.
    pub target_id: String,
    /// What somebody gave, as an options file holds it: what changes are merged
    /// onto. Null for targets of releases that did not note it.
    pub given: Option<serde_json::Value>,
    /// All options.
    pub options: serde_json::Value,
}
