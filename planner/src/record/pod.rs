//! What is on record about a pod: who its member is, what it runs with, how that went.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use etcd_launch::{LogPosition, MemberId, PodGeneration, SupersededIdentity};

use super::{Placement, TargetId};
use crate::offer::{AgentId, ExecutorId, TaskId};
use crate::target::{Needs, Recipe};
use crate::time::Timestamp;

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

    /// With what it was launched last: the recipe that it has may be for the next time.
    pub(crate) fn launched_recipe(&self) -> Option<&Recipe> {
        let updating = self.updating.as_ref().filter(|updating| {
            let launch = self.launch.as_ref();
            launch.is_none_or(|launch| launch.generation <= updating.generation)
        });
        updating.map_or(self.recipe.as_ref(), |it| it.from.as_ref())
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
