//! What operators ask of the event loop, each with a way to answer.

use std::fmt;
use std::sync::Arc;

use etcd_launch::PodIndex;
use etcd_planner::Target;
use etcd_planner::maintenance::MaintenanceRefusal;
use etcd_planner::overrides::PlanPart;
use etcd_planner::pausing::PauseRefusal;
use etcd_planner::plan_commands::{PlanRefusal, PlanVerb};
use etcd_planner::record::Exchange;
use etcd_planner::record::TargetId;
use etcd_planner::replacing::ReplaceRefusal;
use tokio::sync::oneshot;

/// Commands that may wait for the loop. It takes one within milliseconds, so a
/// full queue means that the loop stands still, and then saying so is better
/// than queueing more.
pub const QUEUE_LENGTH: usize = 32;

/// A command, and who gave it.
#[derive(Debug)]
pub struct Order {
    /// Who.
    pub by: Actor,
    /// What.
    pub command: Command,
    /// For the answer.
    pub reply: Reply,
}

/// Who asks through the API: the name of a token, never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(Arc<str>);

impl Actor {
    /// Whoever holds the token of this name.
    pub fn named(name: &str) -> Self {
        Actor(name.into())
    }

    /// Anybody: the API asks for no token.
    pub fn anonymous() -> Self {
        Actor::named("anonymous")
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the answer to a command goes: given once what is asked for is stored,
/// before it is carried out.
pub type Reply = oneshot::Sender<Result<(), CommandRefusal>>;

/// Something that an operator asks for through the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Restart a pod in place: same agent, same volume, same member.
    RestartPod {
        /// Which.
        pod: PodIndex,
    },
    /// Exchange a pod's member for a new one.
    ExchangePod {
        /// Which.
        pod: PodIndex,
        /// In which way.
        how: Exchange,
    },
    /// Keep a pod's container and volume, without etcd.
    PausePod {
        /// Which.
        pod: PodIndex,
    },
    /// Let a paused pod go on.
    ResumePod {
        /// Which.
        pod: PodIndex,
    },
    /// Tell a plan, a phase or a step something.
    TellPlan {
        /// What.
        verb: PlanVerb,
        /// To which part.
        part: PlanPart,
    },
    /// Defragment databases.
    Maintain {
        /// Of this pod alone; of all members if none is named.
        pod: Option<PodIndex>,
        /// Free space as well, and keep so many of the newest revisions.
        keep_revisions: Option<u64>,
    },
    /// Go on under another target, which is judged and stored.
    ChangeTarget {
        /// The target that it was judged against: it is taken only if that is still
        /// the present one.
        from: TargetId,
        /// The id under which the new one is stored.
        id: TargetId,
        /// What is wanted from now on.
        target: Box<Target>,
    },
}

impl Command {
    /// The pod that it is about, if it is about one.
    pub fn pod(&self) -> Option<PodIndex> {
        match self {
            Command::RestartPod { pod }
            | Command::ExchangePod { pod, .. }
            | Command::PausePod { pod }
            | Command::ResumePod { pod } => Some(*pod),
            Command::TellPlan { part, .. } => part.step,
            Command::Maintain { pod, .. } => *pod,
            Command::ChangeTarget { .. } => None,
        }
    }
}

/// What is asked for, as `/v1/events` tells it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::RestartPod { pod } => write!(f, "restart {pod} in place"),
            Command::ExchangePod { pod, how } => match how {
                Exchange::JoinFirst => write!(f, "replace {pod}"),
                Exchange::LeaveFirst => {
                    write!(f, "replace {pod}, which leaves before its successor joins")
                }
                Exchange::InPlace => write!(f, "reset {pod}"),
            },
            Command::PausePod { pod } => write!(f, "pause {pod}"),
            Command::ResumePod { pod } => write!(f, "resume {pod}"),
            Command::TellPlan { verb, part } => {
                write!(f, "{} {part}", verb.as_str())
            }
            Command::Maintain { pod: Some(pod), .. } => write!(f, "defragment {pod}"),
            Command::Maintain {
                keep_revisions: None,
                ..
            } => f.write_str("defragment every member"),
            Command::Maintain {
                keep_revisions: Some(keep),
                ..
            } => write!(f, "free space, keeping {keep} revisions"),
            Command::ChangeTarget { id, .. } => {
                write!(f, "change the target to {}", id.0)
            }
        }
    }
}

/// Why a command is not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// There is no such pod.
    #[error("Pod {0} not found")]
    UnknownPod(PodIndex),
    /// A plan command that changes nothing.
    #[error(transparent)]
    Plan(#[from] PlanRefusal),
    /// A member that cannot be exchanged.
    #[error("{0} is not {word}: {1}", word = if *.2 == Exchange::InPlace { "reset" } else { "replaced" })]
    Exchange(PodIndex, #[source] ReplaceRefusal, Exchange),
    /// A member that cannot be paused.
    #[error("{0} is not paused: {1}")]
    Pause(PodIndex, #[source] PauseRefusal),
    /// Nothing that could be defragmented.
    #[error("nothing is defragmented: {0}")]
    Maintain(#[source] MaintenanceRefusal),
    /// Another target was set meanwhile.
    #[error("the target is {} by now", .0.0)]
    OtherTarget(TargetId),
    /// The pod is in no state for it.
    #[error("not now: {why}")]
    NotNow {
        /// What stands against it.
        why: String,
    },
}
