//! What is done beside defragmenting for a database that has reached its quota: old
//! revisions are forgotten before, and the alarm is taken back after.

use std::time::Duration;

use etcd_launch::PodIndex;

use super::{Stage, end, has_to_wait, say, seen_after, step, wait_for};
use crate::alarms::{self, AlarmKind};
use crate::draft::Draft;
use crate::effect::Effect;
use crate::quorum;
use crate::time::Timestamp;
use crate::waiting::WaitingReason;

/// For this long nothing may have changed about the room in use before old revisions
/// count as forgotten: etcd tells the cluster at once and cleans up later.
const ROOM_IS_STEADY_AFTER: Duration = Duration::from_secs(3);

/// A cluster that clients write to has no steady room.
const ROOM_IS_AWAITED_FOR: Duration = Duration::from_secs(60);

/// A database that is larger than this share of its quota, in percent, would soon
/// raise the alarm again.
const ROOMY_BELOW_PERCENT: u64 = 90;

pub(super) fn is_compacted(draft: &Draft<'_>) -> bool {
    let round = draft.record.maintenance.open();
    let space = round.and_then(|round| round.space.as_ref());
    space.is_none_or(|space| space.compacted.is_some())
}

/// Has old revisions forgotten.
pub(super) fn compact(draft: &mut Draft<'_>, first: PodIndex) {
    wait_for(draft, first);
    let Some(round) = draft.record.maintenance.open() else {
        return;
    };
    let Some(space) = round.space.clone() else {
        return;
    };
    let since = round.since;
    let is_in_flight = draft
        .model
        .is_in_flight(|effect| matches!(effect, Effect::Compact { .. }));
    if is_in_flight {
        say(draft, first, "old revisions are being forgotten".to_owned());
        return;
    }
    let failures = space.failures;
    if let Some(until) = failures.retry_at.filter(|at| draft.now() < *at) {
        let reason = WaitingReason::BackOff {
            until,
            failures: failures.in_a_row,
            last: failures.last.unwrap_or_default(),
        };
        draft.wait(first, reason);
        draft.wake_at(until);
    } else if !has_to_wait(draft, first, None) {
        draft.effects.push(Effect::Compact {
            round: since,
            keep_revisions: space.keep_revisions,
        });
        say(draft, first, "old revisions are being forgotten".to_owned());
    }
}

/// Until when the room that old revisions took is awaited, if it is.
pub(super) fn unsteady_room(draft: &Draft<'_>) -> Option<Timestamp> {
    let space = draft.record.maintenance.open()?.space.as_ref()?;
    let compacted = space.compacted?;
    let now = draft.now();
    if now.since(compacted) >= ROOM_IS_AWAITED_FOR {
        return None;
    }
    let voters = quorum::voters(&draft.record).into_iter();
    let since = voters.map(|voter| {
        let seen = draft.model.observed.in_use.get(&voter);
        seen.map_or(now, |(_, since)| *since).max(compacted)
    });
    let steady_at = since.max()?.plus(ROOM_IS_STEADY_AFTER);
    (now < steady_at).then_some(steady_at)
}

/// All are done: takes the alarm back, if that is wanted and does not come too early.
pub(super) fn finish(draft: &mut Draft<'_>) {
    let wants_space = draft
        .record
        .maintenance
        .open()
        .is_some_and(|round| round.space.is_some());
    if !wants_space {
        end(draft, None);
        return;
    }
    let raised = alarms::of_members(draft.model, &AlarmKind::NoSpace);
    let mut large = None;
    for index in quorum::voters(&draft.record) {
        let at = match step(draft, index).stage {
            Stage::Done { at, .. } => at,
            Stage::Pending | Stage::Begun { .. } => Timestamp::default(),
        };
        // What was said before the last alarm was taken back does not show that yet.
        let at = at.max(draft.model.observed.membership_asked.unwrap_or_default());
        let Some(answer) = seen_after(draft.model, index, at) else {
            say_alarms_wait(draft, index);
            return;
        };
        let pod = draft.pod(index);
        let tuning = pod.recipe.as_ref().map(|recipe| &recipe.tuning);
        let quota = tuning.map_or(u64::MAX, |tuning| tuning.quota_backend_bytes);
        if answer.db_size_bytes > quota / 100 * ROOMY_BELOW_PERCENT {
            large.get_or_insert_with(|| alarms::fullness(index, answer, quota));
        }
    }
    if let (Some(fullness), false) = (large, raised.is_empty()) {
        let why = format!(
            "{fullness}: what is in it is live; delete keys, or raise etcd.quota, and \
             try again"
        );
        end(draft, Some(why));
    } else if raised.is_empty() {
        end(draft, None);
    } else {
        alarms::disarm(draft, raised);
    }
}

fn say_alarms_wait(draft: &mut Draft<'_>, index: PodIndex) {
    let why = "its size is looked at before alarms are taken back".to_owned();
    say(draft, index, why);
}
