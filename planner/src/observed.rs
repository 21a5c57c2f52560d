//! What was last seen of the world, and when.
//!
//! After a restart of the scheduler all of it is unknown, and nothing is
//! assumed: a pod whose task has not been heard of is left alone.

use std::collections::{BTreeMap, BTreeSet};

use etcd_launch::{ClusterId, MemberId, PodIndex, Report};

use crate::offer::{
    AgentFacts, AgentId, Bundle, Offer, OfferId, ReservationId, ReservedBundle, TaskId,
};
use crate::programs::{EtcdVersion, Programs};
use crate::record::{Placement, Reached};
use crate::time::Timestamp;
use crate::trying::Trial;
use crate::waiting::OfferRefusal;

/// What was last seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Why the target that this scheduler was started with is not the one that
    /// it goes on under, one sentence for each reason; empty when it is.
    pub target_errors: Vec<String>,
    /// The connection to the master.
    pub mesos: MesosLink,
    /// Offers that we hold.
    pub offers: BTreeMap<OfferId, Offer>,
    /// Offers of which we do not know whether the master took them back: the
    /// call that accepted or declined them failed. Without another DECLINE
    /// their resources could stay with us for ever.
    pub offers_in_doubt: BTreeSet<OfferId>,
    /// All agents that the master has, by id, as it last told; none if it was
    /// not asked yet or does not tell.
    pub agents: Option<BTreeMap<AgentId, AgentFacts>>,
    /// The newest status of each recorded launch.
    pub tasks: BTreeMap<PodIndex, TaskSeen>,
    /// Tasks whose agent or executor is no more, and which have not been heard of since.
    pub doubted_tasks: BTreeSet<TaskId>,
    /// Tasks of ours that no record knows.
    pub stray_tasks: BTreeMap<TaskId, AgentId>,
    /// The newest answer (or silence) of each member's etcd.
    pub probes: BTreeMap<PodIndex, Probe>,
    /// Since when each member's etcd has answered without a break.
    pub answering_since: BTreeMap<PodIndex, Timestamp>,
    /// How far members are known to have come: newer than the record, which is
    /// not written anew for every entry.
    pub reached: BTreeMap<PodIndex, Reached>,
    /// How much of each database file is in use, bytes, and since when it is that.
    pub in_use: BTreeMap<PodIndex, (u64, Timestamp)>,
    /// Since when each member's etcd has not answered when asked.
    pub silent_since: BTreeMap<PodIndex, Timestamp>,
    /// Why agents were refused for a pod when they last made an offer.
    pub refusals: BTreeMap<PodIndex, BTreeMap<AgentId, OfferRefusal>>,
    /// When a change of members was last asked for: what members said before
    /// does not tell what came of it.
    pub membership_asked: Option<Timestamp>,
    /// The newest refusal of a change of members, which is not tried again at
    /// once.
    pub membership_refused: Option<(Timestamp, String)>,
    /// Reservations with our labels that no record knows: shown, not touched.
    pub unknown_reservations: BTreeSet<String>,
    /// Whether offers show the pods' volumes.
    pub volumes_seen: BTreeMap<PodIndex, VolumeSeen>,
    /// What the newest offers of the agents of places had, by reservation.
    pub room: BTreeMap<ReservationId, RoomSeen>,
    /// When another target was last given.
    pub target_since: Timestamp,
    /// The newest comparison of what members have.
    pub hashes: Option<HashRound>,
    /// How far learners have come, and since when no further.
    pub learners: BTreeMap<PodIndex, LearnerProgress>,
    /// The newest operation of each pod's placement that Mesos said has failed:
    /// of which reservation, and why.
    pub failed_operations: BTreeMap<PodIndex, (ReservationId, String)>,
    /// When a snapshot could last not be taken, and why not.
    pub snapshot_failed: Option<(Timestamp, String)>,
    /// When etcd last refused to go back by a minor version, or to leave that, and why.
    pub downgrade_refused: Option<(Timestamp, String)>,
    /// Programs of recipes that agents cannot fetch, and why not.
    pub not_at_hand: Vec<(Programs, String)>,
    /// When each task was last told to stop.
    pub kills: BTreeMap<TaskId, Timestamp>,
    /// What is known of trials of the target's recipe.
    pub trials: BTreeMap<PodIndex, Trial>,
    /// How much room the disks under members have, as their executors last told.
    pub disk_room: BTreeMap<PodIndex, DiskRoom>,
    /// When a pod was last told to hand over leadership.
    pub leader_moves: BTreeMap<PodIndex, Timestamp>,
}

impl Observed {
    /// Why agents cannot fetch these programs, if they cannot.
    pub fn why_not_at_hand(&self, programs: &Programs) -> Option<&str> {
        let mut missing = self.not_at_hand.iter();
        let (_, why) = missing.find(|(missing, _)| missing == programs)?;
        Some(why)
    }

    /// What was seen of a pod is from now on what was seen of another one.
    pub(crate) fn rename(&mut self, from: PodIndex, to: PodIndex) {
        fn rename<Seen>(
            seen: &mut BTreeMap<PodIndex, Seen>,
            from: PodIndex,
            to: PodIndex,
        ) {
            if let Some(of_pod) = seen.remove(&from) {
                seen.insert(to, of_pod);
            }
        }
        rename(&mut self.tasks, from, to);
        rename(&mut self.probes, from, to);
        rename(&mut self.answering_since, from, to);
        rename(&mut self.silent_since, from, to);
        rename(&mut self.in_use, from, to);
        rename(&mut self.reached, from, to);
        rename(&mut self.refusals, from, to);
        rename(&mut self.volumes_seen, from, to);
        rename(&mut self.failed_operations, from, to);
        rename(&mut self.trials, from, to);
        rename(&mut self.disk_room, from, to);
        rename(&mut self.leader_moves, from, to);
    }
}

/// The connection to the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MesosLink {
    /// Not subscribed.
    Disconnected {
        /// Why, as far as known.
        why: String,
    },
    /// Subscribed.
    Connected(Session),
}

impl Default for MesosLink {
    fn default() -> Self {
        MesosLink::Disconnected {
            why: "not subscribed yet".into(),
        }
    }
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Counts subscriptions; calls of an older one are not sent.
    pub epoch: u64,
    /// When it began.
    pub since: Timestamp,
    /// The region of the masters, if they say so.
    pub master_region: Option<String>,
    /// When tasks were last asked about, and how often in this session.
    pub reconciled: Option<(Timestamp, u32)>,
    /// When all tasks, known or not, were last asked about.
    pub reconciled_implicitly: Option<Timestamp>,
    /// Whether we told the master to send offers.
    pub offers: OfferStream,
}

/// Whether offers flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferStream {
    /// They flow, as after every subscription.
    Flowing {
        /// When they began to flow.
        begun: Timestamp,
        /// When we last asked for them anew (or subscribed).
        since: Timestamp,
    },
    /// We told the master to send none.
    Suppressed,
}

/// The newest status of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSeen {
    /// Which task.
    pub task_id: TaskId,
    /// In which subscription the status came. One of an earlier subscription
    /// is shown, but not acted on.
    pub epoch: u64,
    /// Its state.
    pub state: TaskState,
    /// When the status reached us.
    pub at: Timestamp,
    /// Mesos' state, reason and message in one sentence.
    pub words: String,
    /// The executor's newest report, if the status carried one.
    pub report: Option<Report>,
}

/// Mesos' task states, sorted by what they mean to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Accepted by the master, not by the agent yet.
    Staging,
    /// The executor prepares etcd.
    Starting,
    /// etcd has answered.
    Running,
    /// It is being stopped.
    Killing,
    /// The agent cannot be reached; the task may well run.
    Unreachable,
    /// The agent is back but does not know (yet) what became of it.
    Unknown,
}

/// How a status says that a task is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// FINISHED, FAILED, ERROR: it ended by itself.
    Failed,
    /// KILLED: as asked, or by the agent.
    Killed,
    /// GONE, LOST, DROPPED: Mesos knows that it runs no more, and nothing
    /// about the volume, which decides.
    Gone,
    /// GONE_BY_OPERATOR: the agent and everything on it is given up.
    GoneByOperator,
}

/// What a member's etcd last answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When.
    pub at: Timestamp,
    /// The answer, or why there was none.
    pub answer: Result<MemberAnswer, String>,
}

/// The answers of one member's etcd to one round of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAnswer {
    /// What it says it is.
    pub cluster_id: ClusterId,
    /// What it says it is.
    pub member_id: MemberId,
    /// For example `3.5.30`.
    pub version: String,
    /// The oldest minor version that could read its data, where it tells (from 3.6 on).
    pub storage_version: Option<EtcdVersion>,
    /// To which minor version the cluster is going back, as far as this member knows;
    /// told from 3.6 on.
    pub downgrade_to: Option<EtcdVersion>,
    /// The leader, if it knows one.
    pub leader: Option<MemberId>,
    /// Raft term.
    pub raft_term: u64,
    /// Raft index.
    pub raft_index: u64,
    /// Applied index, where the version tells it.
    pub raft_applied_index: u64,
    /// Size of its database file, bytes.
    pub db_size_bytes: u64,
    /// Bytes of the file that hold data; the rest a defragmentation frees.
    pub db_size_in_use_bytes: u64,
    /// Whether it is a learner.
    pub is_learner: bool,
    /// Alarms and the like.
    pub errors: Vec<String>,
    /// Whether a linearizable read succeeded: proof of quorum.
    pub linearizable: bool,
    /// The member list, as it knows it (linearizable where the version can).
    pub members: Vec<MemberSeen>,
}

/// One entry of etcd's member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSeen {
    /// Its id.
    pub member_id: MemberId,
    /// Empty until the member has started.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// Whether it is a learner.
    pub is_learner: bool,
}

/// What members have at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashRound {
    /// When they were asked.
    pub at: Timestamp,
    /// At which revision of the key space.
    pub revision: i64,
    /// What they said. Who did not answer is not in it.
    pub hashes: BTreeMap<PodIndex, HashSeen>,
}

/// What an executor told of the disk under its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// When.
    pub at: Timestamp,
    /// What may still be written on the file system of its volume, bytes.
    pub free_bytes: u64,
}

/// What a member has at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashSeen {
    /// Which member.
    pub member_id: MemberId,
    /// The hash; to be compared only between equal compactions.
    pub hash: u32,
    /// Everything below this revision is gone.
    pub compact_revision: i64,
}

/// How far a learner has come, as far as this scheduler knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerProgress {
    /// Which member.
    pub member_id: MemberId,
    /// Its applied index.
    pub applied: u64,
    /// Since when it is that.
    pub since: Timestamp,
}

/// What offers of a placement's agent say about its volume while no task of
/// ours uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeSeen {
    /// Whether the volume was in the newest offer.
    pub present: bool,
    /// Since when offers have said the same.
    pub since: Timestamp,
    /// How many offers have said the same.
    pub offers: u32,
    /// When the newest of them came.
    pub newest: Timestamp,
}

/// What an offer of a placement's agent had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSeen {
    /// When it came.
    pub at: Timestamp,
    /// What could be reserved for the placement: under what it lies on.
    pub free: Bundle,
    /// What is reserved for it and was not in use, beside its volume.
    pub reserved: Bundle,
    /// Whether its volume was not in use.
    pub has_volume: bool,
}

impl RoomSeen {
    /// What an offer says of a placement; none if it could say nothing.
    pub(crate) fn of(offer: &Offer, placement: &Placement) -> Option<Self> {
        if !placement.would_be_in(offer) {
            return None;
        }
        let reserved = offer.reserved.get(&placement.reservation_id);
        let has_volume = |reserved: &ReservedBundle| {
            reserved.volumes.contains_key(&placement.volume_id)
        };
        Some(RoomSeen {
            at: offer.received,
            free: if offer.base == placement.base {
                offer.free.clone()
            } else {
                Bundle::default()
            },
            reserved: reserved
                .map_or_else(Bundle::default, |reserved| reserved.resources.clone()),
            has_volume: reserved.is_some_and(has_volume),
        })
    }
}
