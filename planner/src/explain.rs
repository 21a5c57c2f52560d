//! The last word on why a pod is not a healthy voter yet.

use std::collections::BTreeMap;

use etcd_launch::{Phase, PodIndex};

use crate::draft::Draft;
use crate::holding;
use crate::observed::{TaskSeen, TaskState};
use crate::offer::Hostname;
use crate::pausing;
use crate::placing;
use crate::quorum;
use crate::quorum_loss;
use crate::record::Membership;
use crate::waiting::WaitingReason;

/// Gives every pod that is not in good health, and has no reason yet, one; and the
/// service, if it has lost its quorum.
pub(crate) fn explain(draft: &mut Draft<'_>) {
    if draft.service_waiting.is_none() {
        draft.service_waiting = quorum_loss::reason(draft);
    }
    for index in draft.recorded_pods() {
        if draft.waiting.contains_key(&index)
            || quorum::is_healthy_voter_seen(draft.model, index)
        {
            continue;
        }
        if let Some(reason) = reason(draft, index) {
            draft.wait(index, reason);
        }
    }
}

fn reason(draft: &Draft<'_>, index: PodIndex) -> Option<WaitingReason> {
    let pod = draft.pod(index);
    let hostname = pod
        .placement
        .as_ref()
        .map(|placement| placement.hostname.clone());
    if let Some(hold) = hold(draft, index) {
        return Some(hold);
    }
    if let Some(paused) = pausing::reason(draft, index) {
        return Some(paused);
    }
    let running = pod
        .launch
        .as_ref()
        .is_some_and(|launch| launch.end.is_none());
    if !running {
        return hostname.map(|hostname| WaitingReason::PlacementUnconfirmed { hostname });
    }
    let just_launched =
        draft.accepts.contains_key(&index) || draft.accept_in_flight(index);
    match draft.model.task(index) {
        None if just_launched => Some(WaitingReason::Launching {
            phase: "the offer is being accepted".into(),
        }),
        None => Some(WaitingReason::Reconciling),
        Some(seen) => Some(reason_of_task(draft, index, seen, hostname)),
    }
}

/// What keeps the pod from beginning, if it has not begun.
fn hold(draft: &Draft<'_>, index: PodIndex) -> Option<WaitingReason> {
    let (record, target) = (&draft.record, &draft.model.target);
    match &draft.pod(index).membership {
        Membership::Absent => {
            let reason = holding::hold(record, target, index)?;
            Some(said_at_once(draft, index, reason))
        }
        Membership::Lost { .. } => holding::hold_repair(record, index),
        Membership::Founder(_)
        | Membership::Adding { .. }
        | Membership::Learner(_)
        | Membership::Voter(_) => holding::hold_launch(record, index),
    }
}

/// A pod whose turn comes later is told now that there can never be a place for
/// all.
fn said_at_once(
    draft: &Draft<'_>,
    index: PodIndex,
    reason: WaitingReason,
) -> WaitingReason {
    let comes_later = matches!(reason, WaitingReason::EarlierStep { .. });
    if !comes_later || draft.pod(index).placement.is_some() {
        return reason;
    }
    match placing::impossible(draft) {
        None => reason,
        Some(why) => WaitingReason::CannotBePlaced {
            why,
            refusals: BTreeMap::new(),
        },
    }
}

fn reason_of_task(
    draft: &Draft<'_>,
    index: PodIndex,
    seen: &TaskSeen,
    hostname: Option<Hostname>,
) -> WaitingReason {
    match seen.state {
        TaskState::Unreachable | TaskState::Unknown => WaitingReason::AgentUnreachable {
            hostname: hostname.unwrap_or_else(Hostname::unknown),
        },
        TaskState::Killing => WaitingReason::Stopping,
        TaskState::Staging => WaitingReason::Launching {
            phase: "the agent prepares the container".into(),
        },
        TaskState::Starting | TaskState::Running => {
            let phase = seen.report.as_ref().map(|report| &report.phase);
            match phase {
                Some(Phase::Answering { .. }) => WaitingReason::NoQuorum {
                    what: what_etcd_says(draft, index),
                },
                Some(phase) => WaitingReason::Launching {
                    phase: phase.to_string(),
                },
                None => WaitingReason::Launching {
                    phase: seen.words.clone(),
                },
            }
        }
    }
}

fn what_etcd_says(draft: &Draft<'_>, index: PodIndex) -> String {
    match draft
        .model
        .observed
        .probes
        .get(&index)
        .map(|probe| &probe.answer)
    {
        None => "the member has not been asked yet".to_owned(),
        Some(Err(why)) => why.clone(),
        Some(Ok(answer)) if answer.leader.is_none() => {
            "the member answers and knows no leader".to_owned()
        }
        Some(Ok(answer)) if answer.is_learner => "the member is a learner".to_owned(),
        Some(Ok(answer)) => {
            format!(
                "the member answers as {} of cluster {}",
                answer.member_id, answer.cluster_id
            )
        }
    }
}
