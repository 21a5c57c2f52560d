//! What operators ask of the event loop, each with a way to answer.

use etcd_launch::PodIndex;
use tokio::sync::oneshot;

/// Commands that may wait for the loop. It takes one within milliseconds, so a
/// full queue means that the loop stands still, and then saying so is better
/// than queueing more.
pub const QUEUE_LENGTH: usize = 32;

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
