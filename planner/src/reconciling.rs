//! Asking the master what became of our tasks.

use std::time::Duration;

use crate::draft::Draft;
use crate::effect::Effect;
use crate::observed::TaskState;
use crate::offer::{AgentId, TaskId};

/// Pauses between two questions about the same tasks: doubled from the first
/// to the last, as the SDK does, since a master that has just been elected
/// answers only for agents that have found it.
const ASK_AGAIN_FIRST: Duration = Duration::from_secs(4);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// How often we ask for everything, known or not.
const ASK_FOR_ALL_EVERY: Duration = Duration::from_secs(3600);

/// A task that still lives this long after KILL is told again: the first call
/// may have been lost on its way to the agent.
pub(crate) const KILL_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Asks about the tasks whose state this subscription has not told.
pub(crate) fn ask_about_tasks(draft: &mut Draft<'_>) {
    let Some(session) = draft.model.session() else {
        return;
    };
    let now = draft.now();
    if session
        .reconciled_implicitly
        .is_none_or(|asked| now.since(asked) >= ASK_FOR_ALL_EVERY)
    {
        draft.effects.push(Effect::ReconcileAll);
    }
    let unknown = tasks_in_doubt(draft);
    if unknown.is_empty() {
        return;
    }
    let ask_again_at = session.reconciled.map(|(asked, times)| {
        let doubled = ASK_AGAIN_FIRST.saturating_mul(1 << times.saturating_sub(1).min(8));
        asked.plus(doubled.min(ASK_AGAIN_AT_MOST))
    });
    match ask_again_at {
        Some(moment) if moment > now => draft.wake_at(moment),
        _ => draft.effects.push(Effect::Reconcile { tasks: unknown }),
    }
}

fn tasks_in_doubt(draft: &Draft<'_>) -> Vec<(TaskId, AgentId)> {
    draft
        .record
        .pods
        .iter()
        .filter(|(index, _)| !draft.accept_in_flight(**index))
        .filter_map(|(index, pod)| match &pod.launch {
            Some(launch) if launch.end.is_none() => {
                let doubted = &draft.model.observed.doubted_tasks;
                let in_doubt = draft.model.task(*index).is_none_or(|seen| {
                    matches!(seen.state, TaskState::Unreachable | TaskState::Unknown)
                        || doubted.contains(&launch.task_id)
                });
                in_doubt.then(|| (launch.task_id.clone(), launch.agent_id.clone()))
            }
            // Nothing runs there, so only an inquiry tells if the agent is gone.
            _ => {
                let placement = pod.placement.as_ref()?;
                Some((placement.inquiry(), placement.agent_id.clone()))
            }
        })
        .collect()
}

/// Kills tasks of ours that no record wants.
pub(crate) fn kill_strays(draft: &mut Draft<'_>) {
    for (task_id, agent_id) in &draft.model.observed.stray_tasks {
        kill(draft, None, task_id.clone(), agent_id.clone());
    }
}

/// Tells a task to stop, unless it was told a moment ago.
pub(crate) fn kill(
    draft: &mut Draft<'_>,
    pod: Option<etcd_launch::PodIndex>,
    task_id: TaskId,
    agent_id: AgentId,
) {
    if let Some(told) = draft.model.observed.kills.get(&task_id) {
        let again = told.plus(KILL_AGAIN_AFTER);
        if again > draft.now() {
            draft.wake_at(again);
            return;
        }
    }
    if draft.model.is_in_flight(
        |effect| matches!(effect, Effect::Kill { task_id: id, .. } if *id == task_id),
    ) {
        return;
    }
    draft.effects.push(Effect::Kill {
        pod,
        task_id,
        agent_id,
    });
}
