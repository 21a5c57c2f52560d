//! What Mesos offers, in the planner's own terms.
//!
//! The scheduler translates protobuf into these types and back; a resource
//! that the planner does not use keeps its place only there.

use std::collections::BTreeMap;
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
    /// The name of a host as Mesos knows it.
    Hostname
);

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
    /// Resources that nobody has reserved, and that are offered to our role.
    pub free: Bundle,
    /// Resources that carry our reservation labels, by reservation.
    pub reserved: BTreeMap<ReservationId, ReservedBundle>,
    /// When it reached us.
    pub received: Timestamp,
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
