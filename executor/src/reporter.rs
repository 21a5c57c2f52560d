//! Who is told about the member.

use std::future::Future;
use std::time::Duration;

use etcd_launch::{FORMAT, Phase, PodGeneration, PodIndex, Report};
use mesos_v1::{ExecutorHandle, v1};

/// Takes reports, and knows when they cannot be lost any more.
pub trait Reporter {
    /// Hands in a report. Never blocks; an agent that is away gets it later.
    fn report(&self, phase: Phase);
    /// Waits until all reports so far are kept by somebody who outlives us.
    fn settled(&self) -> impl Future<Output = ()>;
}

/// Reports to the Mesos agent, which keeps them on its disk until the
/// scheduler has acknowledged them.
#[derive(Debug)]
pub struct MesosReporter {
    /// The session with the agent.
    pub handle: ExecutorHandle,
    /// The task.
    pub task_id: v1::TaskId,
    /// Which pod it is.
    pub pod: PodIndex,
    /// Which life of it.
    pub generation: PodGeneration,
}

impl Reporter for MesosReporter {
    fn report(&self, phase: Phase) {
        tracing::info!(%phase, "reported");
        let message = phase.to_string();
        let state = state(&phase);
        let report = Report {
            format: FORMAT,
            pod: self.pod,
            generation: self.generation,
            phase,
        };
        let status = v1::TaskStatus {
            task_id: self.task_id.clone(),
            state: state.into(),
            message: Some(message),
            // Plain data with string keys: turning it into JSON cannot fail.
            data: serde_json::to_vec(&report).ok().map(Into::into),
            ..Default::default()
        };
        if self.handle.update(status).is_err() {
            tracing::error!("the session with the agent is over; the report is lost");
        }
    }

    async fn settled(&self) {
        if self.handle.updates_settled().await.is_err() {
            // Without a session nobody can be told. Do not go on as if.
            tracing::error!("the session with the agent is over");
            std::future::pending::<()>().await;
        }
    }
}

/// The Mesos state of each phase, as documented on [`Phase`].
fn state(phase: &Phase) -> v1::TaskState {
    match phase {
        Phase::Preparing | Phase::EtcdStarted => v1::TaskState::TaskStarting,
        Phase::Answering { .. } | Phase::Crashed { .. } | Phase::Paused => {
            v1::TaskState::TaskRunning
        }
        Phase::Stopping => v1::TaskState::TaskKilling,
        Phase::Stopped { .. } => v1::TaskState::TaskKilled,
        Phase::Refused(_) => v1::TaskState::TaskFailed,
    }
}

/// Reports as JSON lines on standard output, for tests without Mesos.
#[derive(Debug)]
pub struct LineReporter {
    /// Which pod it is.
    pub pod: PodIndex,
    /// Which life of it.
    pub generation: PodGeneration,
}

impl Reporter for LineReporter {
    fn report(&self, phase: Phase) {
        let report = Report {
            format: FORMAT,
            pod: self.pod,
            generation: self.generation,
            phase,
        };
        if let Ok(line) = serde_json::to_string(&report) {
            println!("{line}");
        }
    }

    async fn settled(&self) {
        // As an agent's answer would take a moment.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
