//! A custom executor, to be started by a Mesos agent: every task "runs" until it
//! is killed, and every message comes back.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use mesos_v1::v1::{TaskId, TaskInfo, TaskState, TaskStatus};
use mesos_v1::{ExecutorEnvironment, ExecutorEvent, ExecutorHandle, ExecutorSession};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let environment = ExecutorEnvironment::read(|name| std::env::var(name).ok())?;
    let grace = environment.shutdown_grace_period;
    let (agent, mut events) = ExecutorSession::start(environment, None)?;
    let mut running = BTreeSet::new();
    while let Some(event) = events.recv().await {
        eprintln!("{event:?}");
        match event {
            ExecutorEvent::Launch(task) => {
                running.insert(task.task_id.value.clone());
                report(&agent, &task_id(&task), TaskState::TaskRunning)?;
            }
            ExecutorEvent::Kill { task_id, .. } if running.remove(&task_id.value) => {
                report(&agent, &task_id, TaskState::TaskKilled)?;
            }
            ExecutorEvent::Message(data) => {
                if let Err(error) = agent.message(data).await {
                    eprintln!("the message is lost: {error}");
                }
            }
            ExecutorEvent::Shutdown => break,
            // Without the agent this executor has nothing to do. One that serves
            // data may think otherwise.
            ExecutorEvent::AgentLost { .. } | ExecutorEvent::Refused { .. } => {
                return Ok(());
            }
            _ => {}
        }
    }
    for task in running {
        report(&agent, &TaskId { value: task }, TaskState::TaskKilled)?;
    }
    let limit = grace.min(Duration::from_secs(5)) / 2;
    tokio::time::timeout(limit, agent.updates_settled()).await??;
    Ok(())
}

fn task_id(task: &TaskInfo) -> TaskId {
    task.task_id.clone()
}

fn report(
    agent: &ExecutorHandle,
    task_id: &TaskId,
    state: TaskState,
) -> Result<(), Box<dyn Error>> {
    agent.update(TaskStatus {
        task_id: task_id.clone(),
        state: state.into(),
        ..TaskStatus::default()
    })?;
    Ok(())
}
