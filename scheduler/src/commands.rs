//! What operators ask of the event loop, each with a way to answer.

use std::fmt;
use std::sync::Arc;

use etcd_launch::PodIndex;
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

/// Something that an operator asks for through the API.
#[derive(Debug)]
pub enum Command {
    /// Restart a pod in place: same agent, same volume, same member.
    RestartPod {
        /// Which.
        pod: PodIndex,
        /// Answered once the wish is stored, before it is carried out.
        reply: oneshot::Sender<Result<(), CommandRefusal>>,
    },
}

impl Command {
    /// The pod that it is about, if it is about one.
    pub fn pod(&self) -> Option<PodIndex> {
        match self {
            Command::RestartPod { pod, .. } => Some(*pod),
        }
    }
}

/// What is asked for, as `/v1/events` tells it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::RestartPod { pod, .. } => write!(f, "restart {pod} in place"),
        }
    }
}

/// Why a command is not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// There is no such pod.
    #[error("Pod {0} not found")]
    UnknownPod(PodIndex),
    /// The pod is in no state for it.
    #[error("not now: {why}")]
    NotNow {
        /// What stands against it.
        why: String,
    },
}
