//! What is wanted: the options, boiled down to what plans are made from.

use serde::{Deserialize, Serialize};

use etcd_launch::{EtcdProgram, Scheme, Tuning};

use crate::offer::{Megabytes, MilliCpus};

/// The wanted state of the service. Immutable once stored; the record points
/// to it by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The service's name, slashes included.
    pub service: String,
    /// Number of members.
    pub members: u16,
    /// Where members may go.
    pub placement: PlacementRule,
    /// Resources of one pod.
    pub needs: Needs,
    /// First part of the cluster's token; a random part follows.
    pub token_prefix: String,
    /// etcd's tunables.
    pub tuning: Tuning,
    /// The etcd that members run.
    pub program: EtcdProgram,
    /// Scheme of etcd's ports.
    pub scheme: Scheme,
    /// How long etcd may take to stop, milliseconds.
    pub stop_grace_ms: u64,
}

/// Which agents may hold a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlacementRule {
    /// Any agent. The fixed ports still keep two members apart.
    Anywhere,
    /// At most one member on a host.
    UniqueHostname,
}

/// Resources of one pod: what is reserved together on one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// For etcd.
    pub cpus: MilliCpus,
    /// For etcd.
    pub mem: Megabytes,
    /// Size of the persistent volume.
    pub volume: Megabytes,
    /// For the executor.
    pub executor_cpus: MilliCpus,
    /// For the executor.
    pub executor_mem: Megabytes,
    /// For the executor: the sandbox with programs and logs.
    pub executor_disk: Megabytes,
    /// Port for clients.
    pub client_port: u16,
    /// Port for peers.
    pub peer_port: u16,
}

impl Needs {
    /// All CPUs of the pod.
    pub fn total_cpus(&self) -> MilliCpus {
        MilliCpus(self.cpus.0 + self.executor_cpus.0)
    }

    /// All memory of the pod.
    pub fn total_mem(&self) -> Megabytes {
        Megabytes(self.mem.0 + self.executor_mem.0)
    }

    /// All disk of the pod.
    pub fn total_disk(&self) -> Megabytes {
        Megabytes(self.volume.0 + self.executor_disk.0)
    }
}
