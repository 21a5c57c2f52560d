//! What Mesos offers, in the planner's own terms.
//!
//! The scheduler translates protobuf into these types and back; a resource
//! that the planner does not use keeps its place only there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use etcd_launch::PodIndex;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Mesos' id of an offer.
    OfferId
);
text_id!(
    /// Mesos' id of an agent. It survives restarts and reboots of the agent.
    AgentId
);
text_id!(
    /// Mesos' id of this framework.
    FrameworkId
);
text_id!(
    /// The id of one launch of a task: `etcd__etcd-0-node__<uuid>`.
    TaskId
);
text_id!(
    /// The id of one executor run: `etcd__etcd__<uuid>`.
    ExecutorId
);
text_id!(
    /// Our label on the reservations of one placement. One placement, one id.
    ReservationId
);
text_id!(
    /// The id of a persistent volume.
    VolumeId
);
text_id!(
    /// Our name for one operation of an ACCEPT, under which Mesos tells what
    /// became of it.
    OperationId
);
text_id!(
    /// The name of a host as Mesos knows it.
    Hostname
);

impl Hostname {
    /// What is said of a host that nobody knows.
    pub(crate) fn unknown() -> Self {
        Hostname("an unknown host".to_owned())
    }
}

/// Thousandths of a CPU; Mesos itself rounds to three digits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct MilliCpus(pub u64);

/// Megabytes as Mesos counts them (2^20 bytes).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Megabytes(pub u64);

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    /// First port.
    pub begin: u16,
    /// Last port.
    pub end: u16,
}

/// One offer: free resources of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Mesos' id.
    pub id: OfferId,
    /// Whose resources these are.
    pub agent_id: AgentId,
    /// The agent's host name.
    pub hostname: Hostname,
    /// The address at which tasks on this agent are reached: the agent's IP
    /// address from the offer's URL, or its host name without one.
    pub address: String,
    /// Attributes that the agent was started with. One name may have several
    /// values.
    pub attributes: Attributes,
    /// Where the agent stands, if it says so.
    pub domain: Option<Domain>,
    /// The role that these resources are offered to: one of ours.
    pub role: String,
    /// From when on the agent is planned to be away for maintenance.
    pub unavailable_from: Option<Timestamp>,
    /// Resources that may be reserved for a pod: those that nobody has
    /// reserved or, where the service is to live in a pre-reserved role, those
    /// that are reserved for that role.
    pub free: Bundle,
    /// The reservations that `free` and `disks` lie under, the outermost
    /// first; none if nobody has reserved them.
    pub base: Vec<BaseReservation>,
    /// Disks beside the agent's ROOT disk, as free as `free`.
    pub disks: Vec<Disk>,
    /// Resources that carry our reservation labels, by reservation.
    pub reserved: BTreeMap<ReservationId, ReservedBundle>,
    /// When it reached us.
    pub received: Timestamp,
}

/// Attributes of an agent: names with their values.
pub type Attributes = BTreeMap<String, BTreeSet<String>>;

/// Where an agent stands: Mesos' fault domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Domain {
    /// A region: near enough for a quorum, seldom more than one.
    pub region: String,
    /// A zone of the region: what fails together.
    pub zone: String,
}

/// A reservation beneath ours, kept word for word: Mesos compares resources by
/// equality, with the whole stack of reservations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BaseReservation {
    /// Whether the agent was started with it; otherwise somebody made it.
    pub is_static: bool,
    /// For which role.
    pub role: String,
    /// Who made it.
    pub principal: Option<String>,
    /// Its labels, in order.
    pub labels: Vec<(String, Option<String>)>,
}

/// A disk of an agent beside its ROOT disk, or the free part of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Disk {
    /// Which disk.
    pub source: DiskSource,
    /// How much of it.
    pub size: Megabytes,
}

/// What the master knows of an agent, whether it makes offers or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFacts {
    /// Which agent.
    pub id: AgentId,
    /// Its host name.
    pub hostname: Hostname,
    /// Its attributes.
    pub attributes: Attributes,
    /// Where it stands, if it says so.
    pub domain: Option<Domain>,
    /// Whether it can tell what became of an operation. One that cannot must
    /// not be given an operation with an id: the master would drop it.
    pub tells_of_operations: bool,
}

/// What Mesos calls the source of a disk, kept word for word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskSource {
    /// Shared or whole.
    pub kind: DiskKind,
    /// Where the agent has it mounted.
    pub root: Option<String>,
    /// The provider's id of the volume, where a provider made it.
    pub id: Option<String>,
    /// The profile that it was made by.
    pub profile: Option<String>,
    /// Its vendor.
    pub vendor: Option<String>,
    /// The resource provider that it belongs to.
    pub provider_id: Option<String>,
    /// The provider's own words about it.
    pub metadata: Vec<(String, Option<String>)>,
}

/// Kinds of disks that volumes can be made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DiskKind {
    /// A directory that several volumes may share.
    Path,
    /// A file system of its own, which is taken as a whole or not at all.
    Mount,
}

/// An amount of each kind of resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// CPUs.
    pub cpus: MilliCpus,
    /// Memory.
    pub mem: Megabytes,
    /// Disk on the agent's ROOT disk.
    pub disk: Megabytes,
    /// Ports, as disjoint ranges in order.
    pub ports: Vec<PortRange>,
}

impl Bundle {
    /// Whether a port is in the bundle.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports
            .iter()
            .any(|range| range.begin <= port && port <= range.end)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Bundle::default()
    }

    /// Whether it holds all of another one.
    pub fn covers(&self, other: &Bundle) -> bool {
        other.without(self).is_empty()
    }

    /// What of it is not in another one.
    #[must_use]
    pub fn without(&self, other: &Bundle) -> Bundle {
        Bundle {
            cpus: MilliCpus(self.cpus.0.saturating_sub(other.cpus.0)),
            mem: Megabytes(self.mem.0.saturating_sub(other.mem.0)),
            disk: Megabytes(self.disk.0.saturating_sub(other.disk.0)),
            ports: other.ports.iter().fold(self.ports.clone(), |left, taken| {
                left.into_iter()
                    .flat_map(|range| range.without(taken))
                    .collect()
            }),
        }
    }
}

impl PortRange {
    /// What of it is below and above another one.
    fn without(self, taken: &PortRange) -> impl Iterator<Item = PortRange> {
        let below = (self.begin < taken.begin).then(|| PortRange {
            end: self.end.min(taken.begin - 1),
            ..self
        });
        let above = (self.end > taken.end).then(|| PortRange {
            begin: self.begin.max(taken.end + 1),
            ..self
        });
        below.into_iter().chain(above)
    }
}

/// `0.5 cpus, 256 MB of memory, port 2381`.
impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.cpus.0 > 0 {
            parts.push(format!("{} cpus", self.cpus));
        }
        if self.mem.0 > 0 {
            parts.push(format!("{} of memory", self.mem));
        }
        if self.disk.0 > 0 {
            parts.push(format!("{} of disk", self.disk));
        }
        parts.extend(self.ports.iter().map(|range| {
            if range.begin == range.end {
                format!("port {}", range.begin)
            } else {
                format!("ports {} to {}", range.begin, range.end)
            }
        }));
        if parts.is_empty() {
            parts.push("nothing".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// Resources under one of our reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedBundle {
    /// The pod named in the labels, when it is a pod name of ours.
    pub pod: Option<PodIndex>,
    /// The framework named in the labels.
    pub framework_id: Option<FrameworkId>,
    /// The resources themselves, volumes not counted in `disk`.
    pub resources: Bundle,
    /// Persistent volumes under this reservation.
    pub volumes: BTreeMap<VolumeId, Megabytes>,
}

impl fmt::Display for MilliCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1000, self.0 % 1000);
        let text = format!("{whole}.{thousandths:03}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB", self.0)
    }
}
