//! Restarts that an operator asked for: one pod at a time, leadership moved
//! away first, and never at the cost of quorum.

use std::time::Duration;

use etcd_launch::{MemberId, Phase, PodIndex};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::holding;
use crate::maintenance;
use crate::observed::TaskState;
use crate::offer::Hostname;
use crate::quorum;
use crate::reconciling;
use crate::record::{Cluster, Failures, StopCause};
use crate::waiting::WaitingReason;

/// If leadership has not moved by then, the member is stopped all the same:
/// etcd hands over by itself on SIGTERM, and moving first is a courtesy.
const GIVE_UP_MOVING_LEADER_AFTER: Duration = Duration::from_secs(5);

/// So many ends in a row are no accident: nobody counts on such an etcd.
const CRASHES_IN_A_ROW: u32 = 2;

/// Goes on with the restart that was begun, or begins the next one.
pub(crate) fn restart_one_pod(draft: &mut Draft<'_>) {
    if matches!(draft.record.cluster, Cluster::Abandoning { .. }) {
        return;
    }
    forget_restarts_of_stopped_pods(draft);
    let asked: Vec<PodIndex> = draft
        .recorded_pods()
        .into_iter()
        .filter(|index| draft.pod(*index).restart_asked)
        .collect();
    let asked = without_held(draft, asked);
    let begun = asked.iter().copied().find(|index| {
        draft
            .pod(*index)
            .launch
            .as_ref()
            .is_some_and(|launch| launch.stop_asked.is_some())
    });
    let Some(chosen) = begun.or_else(|| asked.first().copied()) else {
        return;
    };
    for index in asked.into_iter().filter(|index| *index != chosen) {
        draft.wait(index, WaitingReason::OneAtATime { busy: chosen });
    }
    stop(draft, chosen, StopCause::Restart);
}

/// A restart that a plan was told waits while the plan is paused; one that the pod
/// was told does not. The order of the plan's steps plays no part, for restarts
/// come one after the other in any case.
fn without_held(draft: &mut Draft<'_>, asked: Vec<PodIndex>) -> Vec<PodIndex> {
    asked
        .into_iter()
        .filter(|index| {
            let begun = draft
                .pod(*index)
                .launch
                .as_ref()
                .is_some_and(|launch| launch.stop_asked.is_some());
            if begun || draft.pod(*index).deployed {
                return true;
            }
            let Some(reason) = holding::hold_repair(&draft.record, *index) else {
                return true;
            };
            draft.wait(*index, reason);
            false
        })
        .collect()
}

/// What does not run needs no stop: it is launched without further back-off.
fn forget_restarts_of_stopped_pods(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        let pod = draft.pod_mut(index);
        let running = pod
            .launch
            .as_ref()
            .is_some_and(|launch| launch.end.is_none());
        if pod.restart_asked && !running {
            pod.restart_asked = false;
            pod.failures = Failures::default();
        }
    }
}

/// The next step towards a stopped task: quorum is asked, leadership is moved away,
/// the task is told.
pub(crate) fn stop(draft: &mut Draft<'_>, index: PodIndex, cause: StopCause) {
    let begun = draft
        .pod(index)
        .launch
        .as_ref()
        .is_some_and(|launch| launch.stop_asked.is_some());
    if !begun {
        if draft.model.task(index).is_none() {
            draft.wait(index, WaitingReason::Reconciling);
            return;
        }
        let busy = maintenance::busy(draft.model, &draft.record, draft.now());
        if let Some(busy) = busy
            && !runs_no_etcd(draft, index)
        {
            draft.wait(index, WaitingReason::OneAtATime { busy });
            return;
        }
        // Where no etcd runs, and where no quorum was ever seen, there is nothing that
        // could be lost.
        let is_formed = matches!(draft.record.cluster, Cluster::Formed(_));
        if is_formed
            && !runs_no_etcd(draft, index)
            && let Err(cost) = quorum::may_stop(draft.model, &draft.record, index)
        {
            draft.wait(index, cost.into());
            return;
        }
        if hand_over_the_lead(draft, index) {
            return;
        }
    }
    stop_now(draft, index, cause);
}

/// Stops a task without asking anybody.
pub(crate) fn stop_now(draft: &mut Draft<'_>, index: PodIndex, cause: StopCause) {
    let Some(launch) = draft.pod_mut(index).launch.as_mut() else {
        return;
    };
    launch.stop_asked.get_or_insert(cause);
    let (task_id, agent_id) = (launch.task_id.clone(), launch.agent_id.clone());
    reconciling::kill(draft, Some(index), task_id, agent_id);
    let state = draft.model.task(index).map(|seen| seen.state);
    let reason = match state {
        // Nothing hears there that it is to stop.
        Some(TaskState::Unreachable | TaskState::Unknown) => {
            let placement = draft.pod(index).placement.as_ref();
            let hostname =
                placement.map_or_else(Hostname::unknown, |at| at.hostname.clone());
            WaitingReason::AgentUnreachable { hostname }
        }
        _ => WaitingReason::Stopping,
    };
    draft.wait(index, reason);
}

/// Whether there is no etcd to stop: nothing runs, or its executor says that it is
/// paused, or that etcd ends by itself again and again.
pub(crate) fn runs_no_etcd(draft: &Draft<'_>, index: PodIndex) -> bool {
    let launch = draft.pod(index).launch.as_ref();
    let report = draft
        .model
        .task(index)
        .and_then(|seen| seen.report.as_ref());
    let has_crashed = matches!(
        report.map(|report| &report.phase),
        Some(Phase::Crashed { crashes, .. }) if *crashes >= CRASHES_IN_A_ROW
    );
    has_crashed || launch.is_none_or(|launch| launch.paused || launch.end.is_some())
}

/// Moves leadership away from a pod that has it, if there is still time to be
/// polite. True while that is under way.
pub(crate) fn hand_over_the_lead(draft: &mut Draft<'_>, index: PodIndex) -> bool {
    let to = leader_to_move_to(draft, index);
    if let Some(to) = to {
        move_leader(draft, index, to);
    }
    to.is_some()
}

/// The member to move leadership to, if the pod leads and there is still time
/// to be polite: the healthy voter that has got furthest.
fn leader_to_move_to(draft: &Draft<'_>, index: PodIndex) -> Option<MemberId> {
    let own_id = draft.pod(index).membership.member_id()?;
    if quorum::leader(draft.model)? != own_id {
        return None;
    }
    let asked = draft.model.observed.leader_moves.get(&index);
    if asked.is_some_and(|at| draft.now().since(*at) >= GIVE_UP_MOVING_LEADER_AFTER) {
        return None;
    }
    quorum::voters(&draft.record)
        .into_iter()
        .filter(|voter| *voter != index)
        .filter(|voter| quorum::is_healthy_voter_seen(draft.model, *voter))
        .filter_map(|voter| quorum::fresh_answer(draft.model, voter))
        .max_by_key(|answer| (answer.raft_applied_index, answer.member_id))
        .map(|answer| answer.member_id)
}

fn move_leader(draft: &mut Draft<'_>, from: PodIndex, to: MemberId) {
    draft.wait(from, WaitingReason::MovingLeader { to });
    let asked = draft.model.observed.leader_moves.get(&from).copied();
    match asked {
        Some(at) => draft.wake_at(at.plus(GIVE_UP_MOVING_LEADER_AFTER)),
        None => draft.effects.push(Effect::MoveLeader { from, to }),
    }
}
