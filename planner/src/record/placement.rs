//! Places on agents: reservations and volumes.

use serde::{Deserialize, Serialize};

use etcd_launch::PodIndex;

use crate::offer::{
    AgentId, Attributes, BaseReservation, Bundle, Disk, Domain, Hostname, Megabytes,
    Offer, OperationId, ReservationId, TaskId, VolumeId,
};
use crate::target::{Needs, Network};
use crate::time::Timestamp;
/// A place on an agent: reservations and a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The agent.
    pub agent_id: AgentId,
    /// Its host name.
    pub hostname: Hostname,
    /// The address at which the member is reached; part of its peer URL.
    pub address: String,
    /// Our label on the reserved resources.
    pub reservation_id: ReservationId,
    /// The persistent volume.
    pub volume_id: VolumeId,
    /// What was reserved.
    pub needs: Needs,
    /// The disk that the volume lies on and how much of it the volume takes;
    /// none for the agent's ROOT disk.
    #[serde(default)]
    pub disk: Option<Disk>,
    /// The role that it was reserved for; none for the service's own, as
    /// records had it before there was a choice.
    #[serde(default)]
    pub role: Option<String>,
    /// The reservations that ours was laid upon, the outermost first.
    #[serde(default)]
    pub base: Vec<BaseReservation>,
    /// The user that it was made for: the data there belongs to it. None in records of
    /// older releases, until the scheduler has filled it in.
    #[serde(default)]
    pub user: Option<String>,
    /// The network that it was made for. None as above.
    #[serde(default)]
    pub network: Option<Network>,
    /// Where the agent stands, as it was when the place was chosen.
    #[serde(default)]
    pub domain: Option<Domain>,
    /// The agent's attributes, as they were when the place was chosen.
    #[serde(default)]
    pub attributes: Attributes,
    /// Whether Mesos has shown the reservation to us since it was asked for.
    pub stage: PlacementStage,
    /// It is to have other amounts than `needs`.
    #[serde(default)]
    pub resize: Option<Resize>,
    /// Since when more than `needs` may be reserved for it, which is to be given back.
    #[serde(default)]
    pub over_since: Option<Timestamp>,
}

/// Other amounts of resources for a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// What it is to have.
    pub to: Needs,
    /// How far that is.
    pub stage: ResizeStage,
    /// Since when offers that should show what was reserved have not.
    pub missing_since: Option<Timestamp>,
}

/// How far a place is on its way to other amounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizeStage {
    /// RESERVE of what is lacking was asked for, at this moment. The place is used as
    /// before.
    Asked(Timestamp),
    /// An offer has shown that it is reserved.
    Reserved,
    /// The next launch uses the new amounts.
    AtNextLaunch,
    /// It came to nothing.
    Refused {
        /// When it is tried again.
        until: Timestamp,
        /// Why.
        why: String,
    },
}

/// How certain a placement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlacementStage {
    /// RESERVE and CREATE were asked for, at this moment.
    Requested(Timestamp),
    /// An offer or a running task has shown reservation and volume.
    Confirmed,
    /// An operator gave the agent up, with everything on it.
    GivenUp,
}

impl Placement {
    /// Size of the volume: a whole disk may be larger than what was wanted.
    pub fn volume_size(&self) -> Megabytes {
        self.disk
            .as_ref()
            .map_or(self.needs.volume, |disk| disk.size)
    }

    /// What is reserved for it beside its volume, if all is as recorded.
    pub fn amounts(&self) -> Bundle {
        self.needs.beside_volume(self.takes_ports())
    }

    /// Whether the next launch has other amounts.
    pub(crate) fn next_launch_resizes(&self) -> bool {
        let resize = self.resize.as_ref();
        resize.is_some_and(|resize| resize.stage == ResizeStage::AtNextLaunch)
    }

    /// What the next launch uses.
    pub(crate) fn needs_of_next_launch(&self) -> Needs {
        match &self.resize {
            Some(resize) if resize.stage == ResizeStage::AtNextLaunch => resize.to,
            _ => self.needs,
        }
    }

    /// Whether exactly what `needs` says is reserved, as far as we know.
    pub(crate) fn is_as_recorded(&self) -> bool {
        self.resize.is_none() && self.over_since.is_none()
    }

    /// The name of the operation, asked for at this moment, that reserves more.
    pub fn grow_operation(&self, asked: Timestamp) -> OperationId {
        OperationId(format!("grow__{}__{}", self.reservation_id, asked.0))
    }

    /// The name of the operation, asked for at this moment, that gives some back.
    pub fn shrink_operation(&self, asked: Timestamp) -> OperationId {
        OperationId(format!("shrink__{}__{}", self.reservation_id, asked.0))
    }

    /// Whether members there take fixed ports of the agent.
    pub fn takes_ports(&self) -> bool {
        self.network.as_ref().is_none_or(Network::takes_ports)
    }

    /// Whether an offer would show the placement: what is reserved for one of
    /// our roles is not in the agent's offers to another one.
    pub fn would_be_in(&self, offer: &Offer) -> bool {
        let to_its_role = self.role.as_ref().is_none_or(|role| *role == offer.role);
        offer.agent_id == self.agent_id && to_its_role
    }

    /// The name of the operation that reserves it.
    pub fn reserve_operation(&self) -> OperationId {
        OperationId(format!("reserve__{}", self.reservation_id))
    }

    /// The name of the operation that gives its resources back.
    pub fn unreserve_operation(&self) -> OperationId {
        OperationId(format!("unreserve__{}", self.reservation_id))
    }

    /// The name of the operation that creates its volume.
    pub fn create_operation(&self) -> OperationId {
        OperationId(format!("create__{}", self.volume_id))
    }

    /// A task id that is never launched. Asked about it, the master says
    /// whether the placement's agent was marked gone, which it tells of its
    /// own accord only while a task is there.
    pub fn inquiry(&self) -> TaskId {
        TaskId(format!("inquiry__{}", self.reservation_id))
    }
}

/// An agent on which a reservation or a volume could not be made, or which
/// fell silent after one was asked for. It is not asked again for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvoidedAgent {
    /// Failures in a row.
    pub failures: u32,
    /// Until when.
    pub until: Timestamp,
    /// The newest failure.
    pub why: String,
}

/// A placement that no pod uses any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbandonedPlacement {
    /// Whose it was.
    pub pod: PodIndex,
    /// What it was.
    pub placement: Placement,
    /// When it was abandoned.
    pub since: Timestamp,
    /// Why.
    pub why: String,
    /// It is kept until an operator gives it up, however well all are.
    #[serde(default)]
    pub awaits_approval: bool,
    /// Nobody needs what is there, whatever happens from now on: it is given back
    /// as soon as it is offered.
    #[serde(default)]
    pub can_be_missed: bool,
    /// Since when offers that should show it have not: a task that still ends there
    /// hides it for a while.
    #[serde(default)]
    pub absent_since: Option<Timestamp>,
}
