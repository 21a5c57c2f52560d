//! What goes into and comes out of an
//! [`ExecutorSubscription`](super::ExecutorSubscription).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::executor::Call;
use crate::subscription::Attempt;
use crate::v1::{
    AgentInfo, ContainerId, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo,
    KillPolicy, TaskGroupInfo, TaskId, TaskInfo,
};

/// What an [`ExecutorSubscription`](super::ExecutorSubscription) has to know.
#[derive(Debug, Clone)]
pub struct ExecutorSubscriptionConfig {
    /// The framework that we belong to.
    pub framework_id: FrameworkId,
    /// Who we are.
    pub executor_id: ExecutorId,
    /// After an absence of so long the agent counts as lost.
    pub recovery_timeout: Duration,
    /// Limits the delay between attempts, below our own limit of half a second.
    pub subscription_backoff_max: Option<Duration>,
    /// Spreads the delays; any number that differs between processes.
    pub jitter_seed: u64,
}

/// What the application hears from its agent.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorEvent {
    /// Subscribed, for the first time or again.
    Subscribed {
        /// How the framework described us.
        executor_info: Box<ExecutorInfo>,
        /// Our framework.
        framework_info: Box<FrameworkInfo>,
        /// The agent.
        agent_info: Box<AgentInfo>,
        /// The container that we run in. Since Mesos 1.1.
        container_id: Option<ContainerId>,
    },
    /// Start this task and report on it.
    Launch(Box<TaskInfo>),
    /// Start these tasks, together or not at all.
    LaunchGroup(TaskGroupInfo),
    /// Stop this task and report its end.
    Kill {
        /// Which one.
        task_id: TaskId,
        /// Takes precedence over the task's own.
        kill_policy: Option<KillPolicy>,
    },
    /// The agent has this update safely.
    Acknowledged {
        /// The task.
        task_id: TaskId,
        /// The update, 16 bytes.
        uuid: Bytes,
    },
    /// From the scheduler.
    Message(Bytes),
    /// Stop all tasks, report their ends and exit, within the grace period.
    Shutdown,
    /// The connection to the agent broke; it is being renewed.
    Disconnected {
        /// What happened.
        why: String,
    },
    /// The agent has been away for longer than its recovery timeout, and will
    /// not take us back if it returns. Told once for each absence; the attempts
    /// go on.
    AgentLost {
        /// When the agent was last heard.
        since: Instant,
    },
    /// Not subscribed, and why. Told once for each change of the reason.
    Waiting {
        /// The reason.
        why: String,
    },
    /// The agent is there and does not want us (for example "Executor cannot be
    /// found", when it lost its memory). Told once for each change of the
    /// answer; the attempts go on.
    Refused {
        /// The HTTP status: 400, 401 or 403.
        status: u16,
        /// The agent's words.
        body: String,
    },
    /// The agent did not understand an update, and it will not be sent again;
    /// or it sent an ERROR event.
    Error {
        /// The agent's words.
        message: String,
    },
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorAction {
    /// POST this SUBSCRIBE and report under `attempt`.
    Open {
        /// To be handed back with every input that comes of it.
        attempt: Attempt,
        /// The SUBSCRIBE call.
        call: Box<Call>,
    },
    /// Drop the connection of this attempt, if there still is one.
    Close {
        /// Whose connection.
        attempt: Attempt,
    },
    /// POST this call and report the result to
    /// [`handle_sent`](super::ExecutorSubscription::handle_sent). There is never more than one under
    /// way.
    Send {
        /// The attempt that made the subscription in which it is sent.
        attempt: Attempt,
        /// The UPDATE call.
        call: Box<Call>,
    },
    /// Pass this on to the application.
    Tell(ExecutorEvent),
}

/// Why a call was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What was said, or what broke.
    pub why: String,
}
