//! The launch spec: everything an executor must know to run one member.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, ClusterToken, MemberId, PodGeneration, PodIndex, Sha256};

/// What to run, and as whom. Travels as JSON in `TaskInfo.data`.
///
/// It carries no secrets: `TaskInfo` is shown to everyone who may read the
/// master's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// See [`crate::FORMAT`].
    pub format: u32,
    /// Which pod this is.
    pub pod: PodIndex,
    /// Which life of the pod; repeated in every report.
    pub generation: PodGeneration,
    /// The program to run.
    pub etcd: EtcdProgram,
    /// Whom the data directory must belong to.
    pub identity: Identity,
    /// How etcd comes to know its cluster when it has no data yet.
    pub start: ClusterStart,
    /// What is known of the volume's past.
    pub history: DataHistory,
    /// Members by name and peer URL, this one among them, in the order of
    /// their pods; etcd's `initial-cluster`.
    pub peers: Vec<Founder>,
    /// URL scheme of both ports. The certificate directory goes with it.
    pub scheme: Scheme,
    /// Where certificates lie in the sandbox, with [`Scheme::Https`].
    pub certificate_directory: Option<String>,
    /// The address at which peers and clients reach this member: an IP
    /// address or a name that resolves without help.
    pub advertise_host: String,
    /// The address that etcd listens at, where that is another one: in a
    /// container with a network of its own all of the container's, `0.0.0.0`.
    #[serde(default)]
    pub listen_host: Option<String>,
    /// Port for clients.
    pub client_port: u16,
    /// Port for peers.
    pub peer_port: u16,
    /// etcd's tunables.
    pub tuning: Tuning,
    /// How long etcd may take to stop after SIGTERM before SIGKILL,
    /// in milliseconds.
    pub stop_grace_ms: u64,
    /// Keep the container and the volume, but do not run etcd.
    pub paused: bool,
}

impl LaunchSpec {
    /// The address that etcd listens at.
    pub fn bind_host(&self) -> &str {
        self.listen_host.as_deref().unwrap_or(&self.advertise_host)
    }

    /// The address at which the executor, which shares etcd's network, asks it.
    pub fn local_host(&self) -> &str {
        match self.bind_host() {
            "0.0.0.0" => "127.0.0.1",
            host => host,
        }
    }
}

/// The etcd program in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdProgram {
    /// Directory below the sandbox that holds `etcd`, `etcdctl` and, where
    /// the version has it, `etcdutl`; `.` when the fetcher put them at the top.
    pub directory: String,
    /// Expected checksum of each file by name. A file that is not listed is
    /// not checked, and the scheduler lists all that it serves.
    pub checksums: BTreeMap<String, Sha256>,
}

/// The one (cluster, member) that a data directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The incarnation's token.
    pub token: ClusterToken,
    /// The cluster id that etcd must report.
    pub cluster_id: ClusterId,
    /// The member id that etcd must report.
    pub member_id: MemberId,
}

/// etcd's `initial-cluster-state`, for a member without a WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterStart {
    /// A founder of a cluster that is still forming.
    New,
    /// A member that was added to a formed cluster.
    Existing,
}

/// What the scheduler knows about the volume's past, which decides what an
/// empty or foreign directory means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataHistory {
    /// Whether etcd was ever reported started under this identity. If it was,
    /// an empty directory is a lost member and must not be started.
    pub was_started: bool,
    /// Identities whose data may be set aside to make room: members that were
    /// removed, founders of abandoned births.
    pub superseded: Vec<SupersededIdentity>,
    /// How far the member's log is known to have come. A log that ends before
    /// is an older copy and must not be started. None where nobody knows, as
    /// in specs from before there was this check.
    #[serde(default)]
    pub reached: Option<LogPosition>,
}

/// A place in a member's raft log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term of the entry; 0 where only the index is known.
    pub term: u64,
    /// The index of the entry.
    pub index: u64,
}

impl LogPosition {
    /// Each of the two as far as either says. Terms and indexes only grow along
    /// a log, so a log that has come to both positions has come to this one.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        LogPosition {
            term: self.term.max(other.term),
            index: self.index.max(other.index),
        }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.term {
            0 => write!(f, "index {}", self.index),
            term => write!(f, "term {term} index {}", self.index),
        }
    }
}

/// An identity that will never be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SupersededIdentity {
    /// The cluster it belonged to.
    pub cluster_id: ClusterId,
    /// The member it was.
    pub member_id: MemberId,
}

/// One entry of etcd's `initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Founder {
    /// The member's name, which is its task's name.
    pub name: String,
    /// Its one peer URL.
    pub peer_url: String,
}

/// URL scheme of etcd's ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// Plain text.
    #[default]
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// How etcd forgets old revisions by itself: `auto-compaction-mode` and
/// `auto-compaction-retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutoCompaction {
    /// `periodic`: those that are older than so many seconds.
    Seconds(u64),
    /// `revision`: all but so many.
    Revisions(u64),
}

impl AutoCompaction {
    /// Mode and retention, as etcd writes them.
    pub fn mode_and_retention(self) -> (&'static str, String) {
        match self {
            AutoCompaction::Seconds(seconds) => ("periodic", format!("{seconds}s")),
            AutoCompaction::Revisions(count) => ("revision", count.to_string()),
        }
    }
}

/// etcd's tunables, in etcd's own units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// `heartbeat-interval`, milliseconds.
    pub heartbeat_interval_ms: u64,
    /// `election-timeout`, milliseconds.
    pub election_timeout_ms: u64,
    /// `snapshot-count`, entries.
    pub snapshot_count: u64,
    /// `quota-backend-bytes`.
    pub quota_backend_bytes: u64,
    /// How etcd forgets old revisions by itself; none for not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_compaction: Option<AutoCompaction>,
    /// `enable-v2`: serve the v2 API, too. Gone since etcd 3.6.
    #[serde(default)]
    pub enable_v2: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> LaunchSpec {
        LaunchSpec {
            format: crate::FORMAT,
            pod: PodIndex(1),
            generation: PodGeneration(3),
            etcd: EtcdProgram {
                directory: ".".into(),
                checksums: BTreeMap::new(),
            },
            identity: Identity {
                token: ClusterToken("dcos-1".into()),
                cluster_id: ClusterId(0xc1),
                member_id: MemberId(0xb1),
            },
            start: ClusterStart::New,
            history: DataHistory {
                was_started: false,
                superseded: vec![],
                reached: None,
            },
            peers: vec![Founder {
                name: "etcd-1-node".into(),
                peer_url: "http://127.0.0.3:2380".into(),
            }],
            scheme: Scheme::Http,
            certificate_directory: None,
            advertise_host: "127.0.0.3".into(),
            listen_host: None,
            client_port: 2379,
            peer_port: 2380,
            tuning: Tuning {
                heartbeat_interval_ms: 100,
                election_timeout_ms: 1000,
                snapshot_count: 100_000,
                quota_backend_bytes: 2 << 30,
                auto_compaction: None,
                enable_v2: false,
            },
            stop_grace_ms: 30_000,
            paused: false,
        }
    }

    /// A spec written by format 1 must be readable for as long as executors of
    /// that release may run. This text is frozen: never edit it.
    #[test]
    fn format_1_stays_readable() {
        let frozen = r#"{"format":1,"pod":1,"generation":3,"etcd":{"directory":".",
            "checksums":{}},"identity":{"token":"dcos-1","cluster_id":"c1","member_id":"b1"},
            "start":"New","history":{"was_started":false,"superseded":[]},
            "peers":[{"name":"etcd-1-node","peer_url":"http://127.0.0.3:2380"}],
            "scheme":"Http","certificate_directory":null,"advertise_host":"127.0.0.3",
            "client_port":2379,"peer_port":2380,"tuning":{"heartbeat_interval_ms":100,
            "election_timeout_ms":1000,"snapshot_count":100000,
            "quota_backend_bytes":2147483648},"stop_grace_ms":30000,"paused":false}"#;
        assert_eq!(
            serde_json::from_str::<LaunchSpec>(frozen).unwrap(),
            sample()
        );
    }

    #[test]
    fn round_trip() {
        let mut spec = sample();
        spec.history.reached = Some(LogPosition { term: 3, index: 7 });
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<LaunchSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn the_later_of_two_positions() {
        let at = |term, index| LogPosition { term, index };
        assert_eq!(at(2, 9).or_later(at(3, 8)), at(3, 9));
        assert_eq!(at(0, 0).or_later(at(1, 1)), at(1, 1));
        assert_eq!(at(3, 9).to_string(), "term 3 index 9");
        assert_eq!(at(0, 9).to_string(), "index 9");
    }

    /// A newer writer may add fields; an older reader ignores them.
    #[test]
    fn unknown_fields_are_ignored() {
        let mut value = serde_json::to_value(sample()).unwrap();
        value["added_later"] = serde_json::json!({"x": 1});
        assert_eq!(
            serde_json::from_value::<LaunchSpec>(value).unwrap(),
            sample()
        );
    }
}
