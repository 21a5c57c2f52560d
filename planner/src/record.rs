//! What must survive a crash of the scheduler.
//!
//! ## What is stored
//!
//! The framework id, the cluster's identity and life stage, and for every pod
//! its placement, identity, newest launch and failures. Everything else
//! (offers, task states, probes) is observed anew after a restart.
//!
//! The record is one value, replaced as a whole by compare-and-swap, and is
//! kept small: [`RECORD_LIMIT_BYTES`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use etcd_launch::{
    ClusterId, ClusterToken, Identity, LogPosition, MemberId, PodGeneration, PodIndex,
    SupersededIdentity,
};

use crate::maintenance::Maintenance;
use crate::offer::{
    AgentId, Attributes, BaseReservation, Bundle, Disk, Domain, ExecutorId, FrameworkId,
    Hostname, Megabytes, Offer, OperationId, ReservationId, TaskId, VolumeId,
};
use crate::overrides::Overrides;
use crate::target::{Needs, Network, Recipe};
use crate::time::Timestamp;

/// The newest format of the record that this release writes.
pub const RECORD_FORMAT: u32 = 1;

/// ZooKeeper, which will hold the record on DC/OS, refuses values of 1 MB;
/// a quarter of that leaves room for growth before anyone is woken.
pub const RECORD_LIMIT_BYTES: usize = 256 * 1024;

/// Everything that is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// See [`RECORD_FORMAT`].
    pub format: u32,
    /// Given by the master at the first subscription.
    pub framework_id: Option<FrameworkId>,
    /// The user that the framework subscribed with first. Mesos lets none change it;
    /// what members run as is up to their places.
    #[serde(default)]
    pub framework_user: Option<String>,
    /// Which target the service is being brought to.
    pub target: TargetId,
    /// Where the cluster stands in its life.
    pub cluster: Cluster,
    /// The pods, by number.
    pub pods: BTreeMap<PodIndex, Pod>,
    /// Placements that no pod uses any more. Nothing on them is destroyed
    /// without proof; they are kept here so that they can be told from
    /// reservations that nobody knows.
    pub abandoned: Vec<AbandonedPlacement>,
    /// Agents on which a place could not be had lately.
    #[serde(default)]
    pub avoided: BTreeMap<AgentId, AvoidedAgent>,
    /// What operators have told plans.
    #[serde(default)]
    pub overrides: Overrides,
    /// The newest rolling restart that was asked for.
    #[serde(default)]
    pub rolling_restart: Option<RollingRestart>,
    /// Databases that are defragmented.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// The newest snapshot that was taken before members got another etcd.
    #[serde(default)]
    pub snapshot: Option<SnapshotTaken>,
}

impl Record {
    /// The record of a service that has done nothing yet.
    pub fn new(target: TargetId) -> Self {
        Record {
            format: RECORD_FORMAT,
            framework_id: None,
            framework_user: None,
            target,
            cluster: Cluster::Unborn,
            pods: BTreeMap::new(),
            abandoned: Vec::new(),
            avoided: BTreeMap::new(),
            overrides: Overrides::default(),
            rolling_restart: None,
            maintenance: Maintenance::default(),
            snapshot: None,
        }
    }

    /// The target goes on under another id: this release writes more of it down than the
    /// one before.
    pub fn rename_target(&mut self, to: &TargetId) {
        let from = std::mem::replace(&mut self.target, to.clone());
        let kept_back = self.pods.values_mut();
        let kept_back =
            kept_back.filter_map(|pod| Some(&mut pod.kept_back.as_mut()?.target));
        let snapshot = self.snapshot.as_mut().map(|taken| &mut taken.target);
        let approved = self.overrides.update_approved.as_mut();
        for target in kept_back.chain(snapshot).chain(approved) {
            if *target == from {
                target.clone_from(to);
            }
        }
    }

    /// The ids of a pod's present member, for when it is no more.
    pub(crate) fn superseded_identity_of(
        &self,
        pod: PodIndex,
    ) -> Option<SupersededIdentity> {
        let identity = self.identity_of(pod)?;
        Some(SupersededIdentity {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
        })
    }

    /// The identity recorded for a pod in the present incarnation.
    pub fn identity_of(&self, pod: PodIndex) -> Option<Identity> {
        let birth = self.cluster.incarnation()?;
        let member = self.pods.get(&pod)?.membership.member_id()?;
        Some(Identity {
            token: birth.token.clone(),
            cluster_id: birth.cluster_id,
            member_id: member,
        })
    }
}

/// Names a stored target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetId(pub String);

/// Where the cluster stands in its life. It is born once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cluster {
    /// No member was ever launched.
    Unborn,
    /// The founders' ids are fixed, and they are being launched with
    /// `initial-cluster-state=new`. No quorum has been seen yet.
    Forming(Incarnation),
    /// A founder was lost before quorum was ever seen: all founders are being
    /// stopped, and then the cluster is unborn again.
    Abandoning {
        /// The birth that failed.
        incarnation: Incarnation,
        /// Why, for the operator.
        why: String,
    },
    /// Quorum was seen. `new` is never rendered again.
    Formed(Incarnation),
}

impl Cluster {
    /// The incarnation that identities belong to, if there is one.
    pub fn incarnation(&self) -> Option<&Incarnation> {
        match self {
            Cluster::Unborn => None,
            Cluster::Forming(incarnation)
            | Cluster::Abandoning { incarnation, .. }
            | Cluster::Formed(incarnation) => Some(incarnation),
        }
    }
}

/// One life of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// Random, never used again.
    pub token: ClusterToken,
    /// Computed from the founders before their first launch.
    pub cluster_id: ClusterId,
    /// When its ids were fixed.
    pub since: Timestamp,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Raised with every placement and every launch.
    pub generation: PodGeneration,
    /// Where it lives.
    pub placement: Option<Placement>,
    /// etcd may have been started there as a voter, under whatever identity: the
    /// volume may hold data that counts even if the present member has never started.
    #[serde(default)]
    pub place_was_used: bool,
    /// Who it is in the cluster.
    pub membership: Membership,
    /// Its newest launch.
    pub launch: Option<Launch>,
    /// How often it failed lately.
    pub failures: Failures,
    /// Identities that this pod had and will never have again; their data may
    /// be set aside on its volume.
    pub superseded: BTreeSet<SupersededIdentity>,
    /// An operator asked for a restart that has not been done yet.
    pub restart_asked: bool,
    /// Another member is wanted in its place, and the present one has not begun to
    /// leave yet.
    #[serde(default)]
    pub exchange_asked: Option<Exchange>,
    /// An operator has paused it.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// What it is launched with. Records of older releases do not say it.
    #[serde(default)]
    pub recipe: Option<Recipe>,
    /// It is being changed to the present target's recipe.
    #[serde(default)]
    pub updating: Option<Updating>,
    /// It did not become well with a target's recipe.
    #[serde(default)]
    pub kept_back: Option<KeptBack>,
    /// Since when it waits for its successor in order to leave.
    #[serde(default)]
    pub leaving_since: Option<Timestamp>,
    /// Since when its member is down, as far as this is known.
    #[serde(default)]
    pub down_since: Option<Timestamp>,
    /// It was a healthy voter once, since an operator last told its step of the
    /// deploy plan to begin anew. That step stays complete, and what comes after
    /// is recovery.
    #[serde(default)]
    pub deployed: bool,
    /// How far its member is known to have come.
    #[serde(default)]
    pub reached: Option<Reached>,
}

impl Pod {
    /// How far the pod's present member is known to have come.
    pub fn reached(&self) -> Option<LogPosition> {
        let reached = self.reached.as_ref()?;
        let member_id = self.membership.member_id()?;
        (reached.member_id == member_id).then_some(reached.position)
    }
}

/// How far a member's log is known to have come on its disk. etcd itself does
/// not notice an older copy of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Which member; it says nothing about another one.
    pub member_id: MemberId,
    /// How far.
    pub position: LogPosition,
    /// When this was written down.
    pub at: Timestamp,
}

impl Pod {
    /// etcd was started on the pod's volume, or may have been.
    pub(crate) fn note_started(&mut self) {
        if let Some(enrolled) = self.membership.enrolled_mut() {
            enrolled.started = true;
            self.place_was_used |= !matches!(self.membership, Membership::Learner(_));
        }
    }
}

/// An operator's wish that every member be restarted, one after the other: all that
/// were launched before this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollingRestart {
    /// When it was asked for.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
}

/// A snapshot on the scheduler's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTaken {
    /// Before the change to which target.
    pub target: TargetId,
    /// The file.
    pub path: String,
    /// The revision of the key space that it holds at least.
    pub revision: i64,
    /// Its size, bytes.
    pub bytes: u64,
    /// When it was whole.
    pub at: Timestamp,
}

/// A pod's way to another recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updating {
    /// Since when the new recipe applies.
    pub since: Timestamp,
    /// The pod's generation then; later launches are made from the new recipe.
    pub generation: PodGeneration,
    /// What it ran with before; none where nobody knows.
    pub from: Option<Recipe>,
    /// The resources that it had before, if they change in place.
    #[serde(default)]
    pub needs: Option<Needs>,
}

/// A pod that a target is not tried on again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBack {
    /// Which target.
    pub target: TargetId,
    /// What went wrong.
    pub why: String,
    /// It was put back on what it ran with before, or has never left it.
    pub went_back: bool,
}

/// An operator's wish that a pod's container and volume stay, without etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// How a pod's member is to be exchanged for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exchange {
    /// Replace: on another agent, and the old member leaves once its successor has
    /// joined. One that is down leaves first in any case.
    JoinFirst,
    /// Replace: the old member leaves before its successor has joined.
    LeaveFirst,
    /// Reset: on the same volume, where the old member's data is set aside.
    InPlace,
}

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

/// Who a pod is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// Nobody: it has no member id in the present incarnation.
    #[default]
    Absent,
    /// A founder; a voter from the first moment.
    Founder(Enrolled),
    /// The scheduler decided to add it as a learner under this peer URL;
    /// whether etcd did is not known yet. Written before the call is made.
    Adding {
        /// The member's peer URL.
        peer_url: String,
    },
    /// Added, and not promoted yet.
    Learner(Enrolled),
    /// A voter that joined by growth.
    Voter(Enrolled),
    /// Its data is gone for good. It must be removed from the cluster and may
    /// never be started under this id again.
    Lost {
        /// The id to remove.
        member_id: MemberId,
        /// Why it is lost, for the operator.
        why: String,
    },
}

/// A member id, and how far it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The id that etcd knows it by.
    pub member_id: MemberId,
    /// Its peer URL in etcd's member list.
    pub peer_url: String,
    /// A launch under this id was issued. Written before the launch.
    pub launched: bool,
    /// etcd was reported started under this id: from then on an empty
    /// directory is a loss.
    pub started: bool,
}

impl Membership {
    /// The id, unless the pod has none (yet).
    pub fn member_id(&self) -> Option<MemberId> {
        match self {
            Membership::Absent | Membership::Adding { .. } => None,
            Membership::Founder(enrolled)
            | Membership::Learner(enrolled)
            | Membership::Voter(enrolled) => Some(enrolled.member_id),
            Membership::Lost { member_id, .. } => Some(*member_id),
        }
    }

    /// The enrolment, if the pod may be launched under it.
    pub fn enrolled(&self) -> Option<&Enrolled> {
        match self {
            Membership::Founder(enrolled)
            | Membership::Learner(enrolled)
            | Membership::Voter(enrolled) => Some(enrolled),
            Membership::Absent | Membership::Adding { .. } | Membership::Lost { .. } => {
                None
            }
        }
    }

    /// Same, for marking it launched or started.
    pub fn enrolled_mut(&mut self) -> Option<&mut Enrolled> {
        match self {
            Membership::Founder(enrolled)
            | Membership::Learner(enrolled)
            | Membership::Voter(enrolled) => Some(enrolled),
            Membership::Absent | Membership::Adding { .. } | Membership::Lost { .. } => {
                None
            }
        }
    }

    /// Whether it counts for quorum.
    pub fn is_voter(&self) -> bool {
        matches!(
            self,
            Membership::Founder(_) | Membership::Voter(_) | Membership::Lost { .. }
        )
    }
}

/// One launch of a pod's task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The task.
    pub task_id: TaskId,
    /// Its executor.
    pub executor_id: ExecutorId,
    /// On which agent.
    pub agent_id: AgentId,
    /// The pod's generation at the launch.
    pub generation: PodGeneration,
    /// When it was issued.
    pub issued: Timestamp,
    /// Which target it was made from.
    pub target: TargetId,
    /// As which member. Records of older releases do not say it.
    #[serde(default)]
    pub member_id: Option<MemberId>,
    /// It runs without etcd.
    #[serde(default)]
    pub paused: bool,
    /// Whether its agent or executor was ever heard of. If not, it may never
    /// have reached the agent.
    #[serde(default)]
    pub seen: bool,
    /// Why we want it stopped, if we do. Written before the first KILL.
    pub stop_asked: Option<StopCause>,
    /// What became of it.
    pub end: Option<LaunchEnd>,
}

/// Why we stop a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// An operator asked for a restart.
    Restart,
    /// Its turn has come in a rolling restart or an update.
    Roll,
    /// An operator has paused it, or lets it go on.
    Pause,
    /// Its member makes way for another one, elsewhere or on the same volume.
    Replace,
    /// The birth that it belongs to failed.
    AbandonedBirth,
}

/// How a launch ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchEnd {
    /// When we learned of it.
    pub at: Timestamp,
    /// What it means for the pod.
    pub kind: EndKind,
    /// Why, in the words of Mesos or of the executor.
    pub why: String,
}

/// What the end of a launch means for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndKind {
    /// We had asked for it.
    Asked,
    /// It failed by itself: try again on the same volume, later and later.
    Failed,
    /// Mesos knows that it runs no more; the volume decides.
    Gone,
    /// The executor found the member's data missing: the member is lost.
    DataMissing,
    /// The executor cannot use the volume, and etcd was never started on it: the
    /// place is left for another one.
    PlaceUnusable,
    /// The data on the volume is older than what the member had come to.
    DataBehind,
    /// etcd cannot go on with the data on the volume.
    DataDamaged,
    /// An operator gave the agent up, with everything on it.
    AgentGivenUp,
}

/// Failures of a pod, for the back-off between launches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Failed launches in a row.
    pub in_a_row: u32,
    /// The newest reason.
    pub last: Option<String>,
    /// Not before this moment is the next launch made.
    pub retry_at: Option<Timestamp>,
}
