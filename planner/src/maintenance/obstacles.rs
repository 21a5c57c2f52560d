//! What comes before a member is defragmented: recovery, updates, restarts, changes of
//! members, and the member before.

use std::time::Duration;

use etcd_launch::PodIndex;

use super::{Stage, TRY_AGAIN_AFTER, seen_after, step};
use crate::decommissioning;
use crate::draft::Draft;
use crate::effect::Effect;
use crate::membership;
use crate::overrides::PlanName;
use crate::rolling;
use crate::time::Timestamp;
use crate::waiting::WaitingReason;

/// Whether something comes first; that is said.
pub(super) fn has_to_wait(
    draft: &mut Draft<'_>,
    index: PodIndex,
    retry_at: Option<Timestamp>,
) -> bool {
    if let Some(until) = retry_at.filter(|at| draft.now() < *at) {
        let failures = &step(draft, index).failures;
        let reason = WaitingReason::BackOff {
            until,
            failures: failures.in_a_row,
            last: failures.last.clone().unwrap_or_default(),
        };
        draft.wait(index, reason);
        draft.wake_at(until);
        return true;
    }
    if let Some(why) = obstacle(draft, index) {
        draft.wait(index, WaitingReason::OthersNotWell { why });
        draft.wake_in(Duration::from_secs(1));
        return true;
    }
    false
}

/// Who is not as it has to be before a member is defragmented.
fn obstacle(draft: &Draft<'_>, next: PodIndex) -> Option<String> {
    if let Some(busy) = rolling::at_work(draft) {
        return Some(format!("{busy} is being updated or restarted"));
    }
    let changes = draft.effects.iter().any(Effect::changes_members)
        || draft.model.is_in_flight(Effect::changes_members);
    if changes {
        return Some("members are being added or removed".to_owned());
    }
    let surplus = decommissioning::surplus(&draft.record, &draft.model.target);
    let overrides = &draft.record.overrides;
    let mut leaving = surplus.into_iter().filter(|index| {
        let held = overrides.interruption_over(PlanName::Decommission, *index);
        held.is_none()
    });
    if let Some(leaving) = leaving.next() {
        return Some(format!("{leaving} leaves the cluster"));
    }
    for index in draft.wanted_pods().chain(draft.recorded_pods()) {
        let Some(pod) = draft.record.pods.get(&index) else {
            return Some(format!("{index} is no voter"));
        };
        let stops = pod
            .launch
            .as_ref()
            .is_some_and(|it| it.stop_asked.is_some());
        if pod.restart_asked || pod.exchange_asked.is_some() || stops {
            return Some(format!("{index} is being restarted or exchanged"));
        }
        if pod.paused.is_some() {
            return Some(format!("{index} is paused"));
        }
        if index.is_leaving() || !rolling::votes(pod) {
            return Some(format!("{index} is joining or leaving"));
        }
    }
    membership::not_settled(draft)
        .or_else(|| membership::lagging(draft.model))
        .or_else(|| not_back(draft, next))
}

/// A member that was defragmented, or may have been, and has not served since.
fn not_back(draft: &Draft<'_>, next: PodIndex) -> Option<String> {
    let round = draft.record.maintenance.open()?;
    for (index, step) in &round.steps {
        let at = match step.stage {
            Stage::Done { at, .. } => at,
            Stage::Begun { at, .. } => at,
            Stage::Pending => match step.failures.retry_at {
                // etcd may have gone on after nobody waited any more.
                Some(retry_at) => retry_at.minus(TRY_AGAIN_AFTER),
                None => continue,
            },
        };
        if seen_after(draft.model, *index, at).is_none() {
            return Some(format!("{index} has not served since it was defragmented"));
        }
        let settled = draft.now().since(at) >= membership::SETTLED_AFTER;
        if *index != next && !settled {
            return Some(format!("{index} was defragmented just now"));
        }
    }
    None
}
