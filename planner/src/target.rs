//! What is wanted: the options, boiled down to what plans are made from.

use std::fmt;

use serde::{Deserialize, Serialize};

use etcd_config::DeployStrategy;
use etcd_config::placement::PlacementConstraints;
use etcd_launch::{PodIndex, Scheme, Tuning};

use crate::offer::{Bundle, DiskKind, DiskSource, Megabytes, MilliCpus, PortRange};
use crate::programs::Programs;

/// The wanted state of the service. Immutable once stored; the record points
/// to it by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The service's name, slashes included.
    pub service: String,
    /// Number of members.
    pub members: u16,
    /// Where members may go.
    pub placement: PlacementConstraints,
    /// The region that members must be in; none for the one of the masters.
    #[serde(default)]
    pub region: Option<String>,
    /// Resources of one pod.
    pub needs: Needs,
    /// The kind of disk that volumes are made on.
    #[serde(default)]
    pub disk: DiskWish,
    /// For how long offers are collected, from the first one on, before places
    /// are chosen among them. Milliseconds.
    #[serde(default)]
    pub offer_collection_ms: u64,
    /// The network that new places are on. Peer URLs depend on it, so a member
    /// changes it by moving.
    #[serde(default)]
    pub network: Network,
    /// The user on the agents that members of new places run as; empty in targets of
    /// older releases. Data belongs to it, so a member changes it by moving.
    #[serde(default)]
    pub user: String,
    /// First part of the cluster's token; a random part follows.
    pub token_prefix: String,
    /// etcd's tunables.
    pub tuning: Tuning,
    /// The etcd that members run, and the executor that runs it.
    pub program: Programs,
    /// Scheme of etcd's ports.
    pub scheme: Scheme,
    /// How long etcd may take to stop, milliseconds.
    pub stop_grace_ms: u64,
    /// How a change goes through the members.
    #[serde(default)]
    pub update_strategy: DeployStrategy,
    /// In which order members are brought up for the first time. Targets that
    /// were stored before there was a choice are `parallel`.
    #[serde(default)]
    pub deploy_strategy: DeployStrategy,
    /// After how long a member that is down is replaced by itself, milliseconds;
    /// none for never.
    #[serde(default)]
    pub replace_after_ms: Option<u64>,
    /// Whether a smaller number of members is taken.
    #[serde(default)]
    pub allow_scale_in: bool,
    /// How long an updated member may take to become healthy before the update
    /// stops, milliseconds.
    #[serde(default = "ten_minutes")]
    pub update_timeout_ms: u64,
    /// Whether a member that does not become healthy after its update is put back
    /// on the target that it had before.
    #[serde(default = "yes")]
    pub update_rollback: bool,
    /// Whether a member moves to another agent when its own has no room for the
    /// resources that are now wanted.
    #[serde(default)]
    pub move_on_resize: bool,
    /// When databases are defragmented although nobody asks for it; none for never.
    #[serde(default)]
    pub defragment: Option<DefragmentWhen>,
}

/// When databases are defragmented by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefragmentWhen {
    /// So often is looked, milliseconds.
    pub every_ms: u64,
    /// At least this share of the file has to be free, in percent.
    pub free_percent: u64,
    /// The file has to be at least so large.
    pub from_bytes: u64,
}

fn ten_minutes() -> u64 {
    600_000
}

fn yes() -> bool {
    true
}

/// What a member is launched with: all of a target that takes a restart to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// etcd's tunables.
    pub tuning: Tuning,
    /// The etcd that it runs, and the executor that runs it.
    pub program: Programs,
    /// Scheme of etcd's ports.
    pub scheme: Scheme,
    /// How long etcd may take to stop, milliseconds.
    pub stop_grace_ms: u64,
}

impl Target {
    /// What members are launched with.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            tuning: self.tuning.clone(),
            program: self.program.clone(),
            scheme: self.scheme,
            stop_grace_ms: self.stop_grace_ms,
        }
    }

    /// Whether members take fixed ports of their agents, so that no two can be
    /// on one.
    pub fn reserves_ports(&self) -> bool {
        self.network.takes_ports()
    }

    /// Under which address or name a pod is reached that is placed on an agent
    /// with this address: part of its peer URL for as long as it stays there.
    pub fn address_of(&self, pod: PodIndex, agent_address: &str) -> String {
        match &self.network {
            Network::Host => agent_address.to_owned(),
            Network::Virtual(network) => {
                format!("{}.{}", pod.task_name(), network.dns_domain)
            }
        }
    }
}

/// A network that members are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// That of their agents.
    #[default]
    Host,
    /// One on which each container has an address of its own, another one after
    /// every launch.
    Virtual(VirtualNetwork),
}

impl Network {
    /// Whether members on it take fixed ports of their agents.
    pub fn takes_ports(&self) -> bool {
        match self {
            Network::Host => true,
            Network::Virtual(network) => network.maps_ports,
        }
    }

    /// Where a member listens, if not at the address under which it is reached:
    /// that of its container is not known before the launch.
    pub fn listen_host(&self) -> Option<String> {
        match self {
            Network::Host => None,
            Network::Virtual(_) => Some("0.0.0.0".to_owned()),
        }
    }
}

/// A network that containers are attached to by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualNetwork {
    /// Its name on the agents.
    pub name: String,
    /// Labels for its plugin, in the operator's order.
    pub labels: Vec<(String, String)>,
    /// Whether ports of the agent lead to the same ports of the container, as
    /// on Mesos' bridge. Without that, containers are reached on addresses of
    /// their own, and no port of the agent is taken.
    pub maps_ports: bool,
    /// What follows a task's name in the DNS name that leads to it.
    pub dns_domain: String,
}

/// The kind of disk that a volume is made on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskWish {
    /// The agent's own disk, which all its sandboxes share.
    #[default]
    Root,
    /// A further disk that volumes may share.
    Path,
    /// A whole disk.
    Mount {
        /// Made by one of these profiles; empty for a disk without a profile.
        profiles: Vec<String>,
    },
}

impl DiskWish {
    /// The kind of disk beside the agent's ROOT disk; none for that itself.
    pub fn kind(&self) -> Option<DiskKind> {
        match self {
            DiskWish::Root => None,
            DiskWish::Path => Some(DiskKind::Path),
            DiskWish::Mount { .. } => Some(DiskKind::Mount),
        }
    }

    /// Whether a disk is one of those that are wanted; none is the agent's own.
    pub fn is_met_by(&self, source: Option<&DiskSource>) -> bool {
        match (self, source) {
            (DiskWish::Root, None) => true,
            (DiskWish::Path, Some(source)) => source.kind == DiskKind::Path,
            (DiskWish::Mount { profiles }, Some(source)) => {
                source.kind == DiskKind::Mount
                    && match &source.profile {
                        None => profiles.is_empty(),
                        Some(profile) => profiles.contains(profile),
                    }
            }
            (DiskWish::Root, Some(_)) | (_, None) => false,
        }
    }
}

impl fmt::Display for DiskWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskWish::Root => f.write_str("ROOT"),
            DiskWish::Path => f.write_str("PATH"),
            DiskWish::Mount { profiles } if profiles.is_empty() => f.write_str("MOUNT"),
            DiskWish::Mount { profiles } => {
                write!(f, "MOUNT with profile {}", profiles.join(" or "))
            }
        }
    }
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

    /// All that is reserved for the pod beside its volume.
    pub fn beside_volume(&self, takes_ports: bool) -> Bundle {
        let mut ports = Vec::new();
        if takes_ports {
            let mut both = [self.client_port, self.peer_port];
            both.sort_unstable();
            ports.extend(both.map(|port| PortRange {
                begin: port,
                end: port,
            }));
        }
        Bundle {
            cpus: self.total_cpus(),
            mem: self.total_mem(),
            disk: self.executor_disk,
            ports,
        }
    }

    /// All disk of the pod.
    pub fn total_disk(&self) -> Megabytes {
        Megabytes(self.volume.0 + self.executor_disk.0)
    }
}
