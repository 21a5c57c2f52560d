//! Task statuses as the planner sees them.

use etcd_launch::{FORMAT, Report};
use etcd_planner::event::{TaskStatus, TaskVerdict};
use etcd_planner::observed::{TaskEnd, TaskState};
use etcd_planner::offer::{AgentId, TaskId};
use mesos_v1::v1;

/// Translates a status; none for a state that this release does not know.
pub fn status(status: &v1::TaskStatus) -> Option<TaskStatus> {
    let state = v1::TaskState::try_from(status.state).ok()?;
    Some(TaskStatus {
        task_id: TaskId(status.task_id.value.clone()),
        agent_id: status.agent_id.as_ref().map(|id| AgentId(id.value.clone())),
        verdict: verdict(state),
        words: words(status, state),
        report: report(status),
    })
}

fn verdict(state: v1::TaskState) -> TaskVerdict {
    use v1::TaskState as S;
    match state {
        S::TaskStaging => TaskVerdict::Alive(TaskState::Staging),
        S::TaskStarting => TaskVerdict::Alive(TaskState::Starting),
        S::TaskRunning => TaskVerdict::Alive(TaskState::Running),
        S::TaskKilling => TaskVerdict::Alive(TaskState::Killing),
        S::TaskUnreachable => TaskVerdict::Alive(TaskState::Unreachable),
        S::TaskUnknown => TaskVerdict::Alive(TaskState::Unknown),
        S::TaskFinished | S::TaskFailed | S::TaskError => {
            TaskVerdict::Over(TaskEnd::Failed)
        }
        S::TaskKilled => TaskVerdict::Over(TaskEnd::Killed),
        S::TaskGone | S::TaskLost | S::TaskDropped => TaskVerdict::Over(TaskEnd::Gone),
        S::TaskGoneByOperator => TaskVerdict::Over(TaskEnd::GoneByOperator),
    }
}

/// `TASK_FAILED, REASON_EXECUTOR_TERMINATED: the executor's words`.
fn words(status: &v1::TaskStatus, state: v1::TaskState) -> String {
    let mut words = state.as_str_name().to_owned();
    if let Some(reason) = status
        .reason
        .and_then(|reason| v1::task_status::Reason::try_from(reason).ok())
    {
        words.push_str(", ");
        words.push_str(reason.as_str_name());
    }
    if let Some(message) = status.message.as_deref().filter(|text| !text.is_empty()) {
        words.push_str(": ");
        words.push_str(message);
    }
    words
}

/// The executor's report. One of a later format is not guessed at.
fn report(status: &v1::TaskStatus) -> Option<Report> {
    let report: Report = serde_json::from_slice(status.data.as_ref()?).ok()?;
    (report.format <= FORMAT).then_some(report)
}
