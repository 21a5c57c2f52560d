//! `/v1/pod`: pods and their tasks as the SDK writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/pod/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServicePods {
    /// The service's name.
    pub service: String,
    /// One entry for each kind of pod; we have one kind, `etcd`.
    pub pods: Vec<PodType>,
}

/// All pods of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodType {
    /// `etcd`.
    pub name: String,
    /// By number.
    pub instances: Vec<PodInstance>,
}

/// One pod; also `GET /v1/pod/{pod}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodInstance {
    /// For example `etcd-0`.
    pub name: String,
    /// Its tasks; none before its first launch.
    pub tasks: Vec<PodTask>,
}

/// One task of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodTask {
    /// The id of the newest launch.
    pub id: String,
    /// For example `etcd-0-node`.
    pub name: String,
    /// Mesos' state without `TASK_`. Absent while Mesos has not told us one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The answer to `POST /v1/pod/{pod}/restart` and its like: what is affected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodCommandResult {
    /// The pod.
    pub pod: String,
    /// Its tasks.
    pub tasks: Vec<String>,
}

/// One entry of `GET /v1/pod/{pod}/info`: Mesos' TaskInfo and TaskStatus in
/// the words of Mesos' first API (`slaveId`), as the SDK shows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRecord {
    /// What was launched.
    pub info: TaskInfo,
    /// What Mesos last said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
}

/// The part of Mesos' TaskInfo that the scheduler knows for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskInfo {
    /// For example `etcd-0-node`.
    pub name: String,
    /// The id of the launch.
    pub task_id: Wrapped,
    /// The agent.
    pub slave_id: Wrapped,
    /// What the pod holds on its agent.
    pub resources: Vec<Resource>,
    /// Always without variables: nothing secret is passed that way, and nothing
    /// else either.
    pub command: Command,
    /// Where the pod lives, by name and value.
    pub labels: Labels,
}

/// Mesos wraps ids in an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wrapped {
    /// The id.
    pub value: String,
}

/// One of Mesos' resources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// `cpus`, `mem`, `disk`, `ports`.
    pub name: String,
    /// `SCALAR` or `RANGES`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The amount, of a scalar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// The ranges, of ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
}

/// An amount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scalar {
    /// Cpus, or megabytes of 2^20 bytes.
    pub value: f64,
}

/// Ranges of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ranges {
    /// In order.
    pub range: Vec<Range>,
}

/// An inclusive range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// First.
    pub begin: u64,
    /// Last.
    pub end: u64,
}

/// A command's shape, for readers that expect one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Environment of the command.
    pub environment: Environment,
}

/// Environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// By name and value.
    pub variables: Vec<Label>,
}

/// Labels of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Labels {
    /// By key and value.
    pub labels: Vec<Label>,
}

/// A key and a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// The part of Mesos' TaskStatus that matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The id of the launch.
    pub task_id: Wrapped,
    /// For example `TASK_RUNNING`.
    pub state: String,
    /// Seconds since the Unix epoch at which it reached the scheduler.
    pub timestamp: f64,
    /// Mesos' or the executor's words.
    pub message: String,
    /// Whether the member is a healthy voter.
    pub healthy: bool,
    /// Mesos' container status; always empty, for readers that expect one.
    pub container_status: ContainerStatus,
}

/// See [`TaskStatus::container_status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerStatus {}
