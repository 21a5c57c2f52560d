//! `/v1/status`: the whole service on one page, in clean JSON.
//!
//! Words are lower case, times are milliseconds since the Unix epoch and end in
//! `_ms`, sizes end in `_bytes`, ids are hexadecimal text as `etcdctl` prints
//! them. What is not known is `null`, never a zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// The service's name.
    pub service: String,
    /// The scheduler's version.
    pub version: String,
    /// When the scheduler last looked at everything.
    pub at_ms: u64,
    /// Who the service is to Mesos; none before the first subscription.
    pub framework_id: Option<String>,
    /// The connection to Mesos.
    pub mesos: MesosStatus,
    /// The life of the cluster.
    pub cluster: ClusterStatus,
    /// The leader, where a member knows one.
    pub leader: Option<Leader>,
    /// Every wanted or recorded pod, by number.
    pub pods: Vec<PodStatus>,
    /// The plans in short.
    pub plans: Vec<PlanSummary>,
    /// The newest snapshot that was taken before members got another etcd.
    #[serde(default)]
    pub update_snapshot: Option<SnapshotFile>,
    /// Why the service as a whole does not go on.
    pub waiting: Option<Waiting>,
    /// What an operator should know although all goes on: known data bugs of
    /// the etcd version, alarms, reservations that nobody knows.
    pub warnings: Vec<String>,
}

/// A snapshot on the scheduler's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotFile {
    /// The file on the scheduler's machine.
    pub path: String,
    /// The revision of the key space that it holds at least.
    pub revision: i64,
    /// Its size.
    pub size_bytes: u64,
    /// When it was whole.
    pub taken_at_ms: u64,
    /// Before the change to which target.
    pub target_id: String,
}

/// The connection to Mesos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MesosStatus {
    /// Whether there is a subscription.
    pub state: MesosState,
    /// Since when, if there is.
    pub since_ms: Option<u64>,
    /// Why not, if there is none.
    pub why: Option<String>,
    /// Whether the master was told to send no offers.
    pub offers_suppressed: Option<bool>,
}

/// Whether there is a subscription at a Mesos master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MesosState {
    /// There is.
    Connected,
    /// There is none.
    Disconnected,
}

/// The life of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStatus {
    /// Where it stands.
    pub state: ClusterState,
    /// Its id, once it is fixed.
    pub cluster_id: Option<String>,
    /// When its ids were fixed.
    pub since_ms: Option<u64>,
    /// Why its birth is given up, if it is.
    pub why: Option<String>,
}

/// Where the cluster stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterState {
    /// No member was ever launched.
    Unborn,
    /// Founders are launched; there was no quorum yet.
    Forming,
    /// The birth failed and is being cleared away.
    Abandoning,
    /// It had quorum once.
    Formed,
}

/// The leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leader {
    /// Its member id.
    pub member_id: String,
    /// Its pod, unless the member is none of ours.
    pub pod: Option<String>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodStatus {
    /// For example `etcd-0`.
    pub name: String,
    /// The host name of its agent, once placed.
    pub host: Option<String>,
    /// The address at which the member is reached.
    pub address: Option<String>,
    /// The URL for clients.
    pub client_url: Option<String>,
    /// The id of the newest launch.
    pub task_id: Option<String>,
    /// Mesos' newest word on it: `TASK_RUNNING`, or, once it has ended, how.
    pub task_state: Option<String>,
    /// What the executor last reported.
    pub executor: Option<String>,
    /// Its member id.
    pub member_id: Option<String>,
    /// Its part in the cluster.
    pub role: Role,
    /// Whether it is a voter that answers linearizable reads.
    pub healthy: bool,
    /// Whether it leads.
    pub leader: bool,
    /// When its etcd was last asked. What follows is null if it did not answer.
    pub probed_at_ms: Option<u64>,
    /// For example `3.5.30`.
    pub etcd_version: Option<String>,
    /// Size of the database file.
    pub db_size_bytes: Option<u64>,
    /// How much of it holds data; the rest a defragmentation gives back.
    #[serde(default)]
    pub db_size_in_use_bytes: Option<u64>,
    /// The most that it may grow to before etcd refuses writes.
    #[serde(default)]
    pub db_quota_bytes: Option<u64>,
    /// What etcd may still write on the disk under it, as its executor last told; it
    /// tells twice a minute.
    #[serde(default)]
    pub disk_free_bytes: Option<u64>,
    /// Raft term.
    pub raft_term: Option<u64>,
    /// Raft index.
    pub raft_index: Option<u64>,
    /// Alarms of the cluster (`NOSPACE of member cbc9845a94fcc2dc`), and what else etcd
    /// complains of, in its own words.
    pub alarms: Vec<String>,
    /// Why there is no answer, when it was asked and did not answer.
    pub probe_error: Option<String>,
    /// Why the pod does not go on.
    pub waiting: Option<Waiting>,
    /// Failed launches.
    pub failures: PodFailures,
    /// Since when its member is down, as far as this is known.
    pub down_since_ms: Option<u64>,
    /// From when on another member takes its place by itself if it stays down
    /// (`service.replace_after`), and the others can do without it.
    pub replaced_from_ms: Option<u64>,
}

/// A pod's part in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// None (yet).
    Absent,
    /// A founder of a cluster that has not formed yet.
    Founder,
    /// Being added as a learner.
    Adding,
    /// Added, without a vote.
    Learner,
    /// With a vote.
    Voter,
    /// Its data is gone; it is to be removed.
    Lost,
}

/// Why something does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Fixed, for programs and metrics: `no_suitable_offer`.
    pub code: String,
    /// For people.
    pub text: String,
}

/// Failed launches of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodFailures {
    /// In a row.
    pub in_a_row: u32,
    /// The newest reason.
    pub last: Option<String>,
    /// Before this moment no further launch is made.
    pub retry_at_ms: Option<u64>,
}

/// A plan in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanSummary {
    /// For example `deploy`.
    pub name: String,
    /// One of the SDK's statuses.
    pub status: String,
    /// Steps that are complete.
    pub complete_steps: usize,
    /// All steps.
    pub total_steps: usize,
}
