//! Events: everything that can change the model, in one closed list.

use etcd_launch::{PodIndex, Report, RoomReport, TrialAnswer};

use crate::effect::{EffectId, Outcome};
use crate::maintenance::MaintenanceRequest;
use crate::observed::{HashRound, Probe, TaskEnd, TaskState};
use crate::offer::{
    AgentFacts, AgentId, ExecutorId, FrameworkId, Offer, OfferId, OperationId, TaskId,
};
use crate::plan_commands::PlanCommand;
use crate::programs::Programs;
use crate::record::{Exchange, SnapshotTaken, TargetId};
use crate::target::Target;

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A subscription began.
    Subscribed {
        /// Its number.
        epoch: u64,
        /// Who we are to Mesos.
        framework_id: FrameworkId,
        /// The region of the masters, if they say so.
        master_region: Option<String>,
    },
    /// The subscription ended, or could not be made.
    Disconnected {
        /// Why.
        why: String,
    },
    /// Offers came.
    Offers(Vec<Offer>),
    /// An offer is void.
    OfferRescinded(OfferId),
    /// Mesos told what became of an operation of an ACCEPT.
    OperationStatus(OperationStatus),
    /// The master told which agents it has.
    Agents(Vec<AgentFacts>),
    /// A task has a new status, or an old one was repeated.
    TaskStatus(TaskStatus),
    /// Mesos told that an agent, or an executor on it, is no more. Its tasks get
    /// statuses of their own.
    Failure {
        /// The agent.
        agent_id: AgentId,
        /// The executor; none for the whole agent.
        executor_id: Option<ExecutorId>,
    },
    /// A member's etcd was asked how it is.
    Probed {
        /// Which pod's.
        pod: PodIndex,
        /// The answer.
        probe: Probe,
    },
    /// An executor answered whether etcd takes the wanted options.
    Tried(TrialAnswer),
    /// An executor told how much room the disk under its member has.
    RoomTold(RoomReport),
    /// Members were asked for the hash of what they have at one revision.
    Hashed(HashRound),
    /// An effect was carried out, or not.
    EffectDone {
        /// Which.
        id: EffectId,
        /// What came of it.
        outcome: Outcome,
    },
    /// An operator wants a pod restarted in place.
    RestartAsked {
        /// Which.
        pod: PodIndex,
    },
    /// An operator wants a pod's member exchanged for a new one, and it was judged
    /// to be possible ([`crate::replacing::judge`]).
    ExchangeAsked {
        /// Which.
        pod: PodIndex,
        /// In which way.
        how: Exchange,
    },
    /// An operator wants a pod paused, and it was judged to be possible
    /// ([`crate::pausing::judge`]).
    PauseAsked {
        /// Which.
        pod: PodIndex,
        /// Who.
        by: String,
    },
    /// An operator wants a paused pod to go on.
    ResumeAsked {
        /// Which.
        pod: PodIndex,
    },
    /// An operator tells a plan something, and it was judged to be taken.
    PlanCommand(PlanCommand),
    /// An operator wants databases defragmented, and it was judged to be possible
    /// ([`crate::maintenance::judge`]).
    MaintenanceAsked(MaintenanceRequest),
    /// Another target is wanted: it was judged to be allowed, and it is stored.
    TargetChanged {
        /// The id under which it is stored.
        id: TargetId,
        /// What is wanted from now on.
        target: Box<Target>,
    },
    /// A snapshot was written to the scheduler's disk, whole and checked.
    SnapshotTaken(SnapshotTaken),
    /// Agents cannot fetch the programs of a recipe.
    NotAtHand {
        /// Which.
        programs: Box<Programs>,
        /// Why not.
        why: String,
    },
    /// Time has passed.
    Tick,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationStatus {
    /// Which.
    pub id: OperationId,
    /// What.
    pub verdict: OperationVerdict,
    /// Mesos' state and message in one sentence for the operator.
    pub words: String,
}

/// What became of an operation, as far as it matters to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationVerdict {
    /// FINISHED: the agent has carried it out.
    Done,
    /// FAILED, ERROR, DROPPED, GONE_BY_OPERATOR: it was not and will not be
    /// carried out.
    Failed,
    /// PENDING, UNREACHABLE, RECOVERING, UNKNOWN: nobody can say (yet).
    Open,
}

/// A status of a task, translated from Mesos.
#[derive(Clone, Debug)]
pub struct TaskStatus {
    /// Which task.
    pub task_id: TaskId,
    /// On which agent, if the status says.
    pub agent_id: Option<AgentId>,
    /// Alive or over.
    pub verdict: TaskVerdict,
    /// Mesos' state, reason and message, in one sentence for the operator.
    pub words: String,
    /// The executor's report, if the status carried one that we can read.
    pub report: Option<Report>,
}

/// Alive or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskVerdict {
    /// In this state.
    Alive(TaskState),
    /// In this way.
    Over(TaskEnd),
}
