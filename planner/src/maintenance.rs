//! Maintenance: databases are defragmented one member at a time, and a database that
//! has reached its quota is given room.
//!
//! etcd reuses the room of what was deleted and never gives it back to the disk, until
//! it is told to defragment. Meanwhile the member serves nothing. So one is done after
//! the other, followers first; the leader last, after it has handed over the lead; the
//! next one only when all are well, in sync and stable. Recovery, updates, restarts and
//! changes of members come first, and wait for the one that was begun.
//!
//! A database that has reached its quota takes no writes. Old revisions are forgotten
//! first, or there would be nothing to give back; the alarm is taken back last, when
//! every database is small enough, or the next write would raise it again (measured
//! with etcd 3.5.30).

use std::time::Duration;

use etcd_launch::{MemberId, PodIndex};

use crate::alarms;
use crate::draft::Draft;
use crate::effect::{Effect, Outcome};
use crate::model::Model;
use crate::observed::MemberAnswer;
use crate::overrides::PlanName;
use crate::quorum;
use crate::record::{Cluster, Failures, Record};
use crate::restarting;
use crate::time::Timestamp;
use crate::waiting::WaitingReason;

pub use round::{FreeSpace, Maintenance, Round, RoundEnd, Stage, Step};

mod asking;
mod disk_room;
mod full_database;
mod obstacles;
mod round;
mod schedule;

pub use asking::{MaintenanceRefusal, MaintenanceRequest, judge};
pub(crate) use asking::{ask, begin_anew, stop};
pub(crate) use disk_room::note as note_disk_room;
use full_database::{compact, finish, is_compacted, unsteady_room};
use obstacles::has_to_wait;

/// Attempts in vain after which a round ends: OpenShift's number.
const ATTEMPTS: u32 = 3;

/// Pause before the next attempt.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What a defragmentation of any size may take.
const DEFRAGMENT_AT_LEAST: Duration = Duration::from_secs(60);

/// Seen in the field are 4 to 6 seconds a gigabyte; a busy or slow disk may be ten
/// times slower.
const DEFRAGMENT_SECONDS_PER_GIB: u64 = 60;

/// How long a defragmentation of a database file of this size is waited for. etcd goes
/// on when nobody waits any more.
fn limit(db_size_bytes: u64) -> Duration {
    let gib = db_size_bytes.div_ceil(1 << 30);
    DEFRAGMENT_AT_LEAST + Duration::from_secs(gib * DEFRAGMENT_SECONDS_PER_GIB)
}

/// The member whose database is being defragmented, as far as anybody knows. A
/// scheduler that was restarted meanwhile knows for a while only that it was begun.
pub(crate) fn busy(model: &Model, record: &Record, now: Timestamp) -> Option<PodIndex> {
    let round = record.maintenance.round.as_ref()?;
    let mut steps = round.steps.iter();
    let begun = steps.find(|(index, step)| match step.stage {
        Stage::Begun { at, size_before } => {
            is_defragmenting(model, **index) || now < at.plus(limit(size_before))
        }
        // etcd goes on when nobody waits any more, and serves nothing until it is done.
        Stage::Pending => step.failures.retry_at.is_some_and(|retry_at| {
            let failed = retry_at.minus(TRY_AGAIN_AFTER);
            now < retry_at && seen_after(model, **index, failed).is_none()
        }),
        Stage::Done { .. } => false,
    });
    begun.map(|(index, _)| *index)
}

fn is_defragmenting(model: &Model, index: PodIndex) -> bool {
    model.is_in_flight(|it| matches!(it, Effect::Defragment { pod, .. } if *pod == index))
}

/// The next step of the round that is under way, or the first of the next one.
pub(crate) fn maintain(draft: &mut Draft<'_>) {
    schedule::begin_round(draft);
    note_sizes(draft);
    if draft.record.maintenance.open().is_none() {
        return;
    }
    follow_voters(draft);
    if let Some(begun) = steps(draft, is_begun).first().copied()
        && is_defragmenting(draft.model, begun)
    {
        wait_for(draft, begun);
        say(draft, begun, defragmenting(draft, begun));
        return;
    }
    let pending = without_held(draft);
    if let Some(why) = gave_up(draft) {
        end(draft, Some(why));
    } else if !is_compacted(draft) && !steps(draft, is_to_be_done).is_empty() {
        if let Some(first) = choose(draft, &pending) {
            compact(draft, first);
        }
    } else if let Some(next) = choose_with_room(draft, pending) {
        wait_for(draft, next);
        defragment(draft, next);
    } else if steps(draft, is_to_be_done).is_empty() {
        finish(draft);
    }
}

/// Who comes next of those whose disks have room for it, as far as anybody knows. The
/// others say what is missing. Old revisions are forgotten before: that makes room.
fn choose_with_room(
    draft: &mut Draft<'_>,
    mut pending: Vec<PodIndex>,
) -> Option<PodIndex> {
    pending.retain(|index| {
        let lacking = disk_room::lacking(draft, *index);
        let Some(lacking) = lacking.filter(|_| !is_begun(step(draft, *index))) else {
            return true;
        };
        say(draft, *index, lacking.to_string());
        false
    });
    choose(draft, &pending)
}

/// A member that votes no more is not waited for. One that joined has the same database
/// as the others, its free room included.
fn follow_voters(draft: &mut Draft<'_>) {
    let voters = quorum::voters(&draft.record);
    if let Some(round) = draft.record.maintenance.open_mut() {
        round.steps.retain(|index, _| voters.contains(index));
        if round.space.is_some() {
            for voter in voters {
                round.steps.entry(voter).or_default();
            }
        }
    }
}

/// Takes note of what was given back, also after the end: the last one's size is seen
/// later.
fn note_sizes(draft: &mut Draft<'_>) {
    let model = draft.model;
    let Some(round) = &mut draft.record.maintenance.round else {
        return;
    };
    for (index, step) in &mut round.steps {
        if let Stage::Done { at, size_after, .. } = &mut step.stage
            && size_after.is_none()
        {
            *size_after = seen_after(model, *index, *at).map(|it| it.db_size_bytes);
        }
    }
}

/// What a member has said since then, all of it.
fn seen_after(model: &Model, index: PodIndex, at: Timestamp) -> Option<&MemberAnswer> {
    let probe = model.observed.probes.get(&index)?;
    quorum::fresh_answer(model, index)
        .filter(|answer| probe.at > at && answer.linearizable)
}

/// Pods of the round whose step is so.
fn steps(draft: &Draft<'_>, is_so: impl Fn(&Step) -> bool) -> Vec<PodIndex> {
    let round = draft.record.maintenance.open();
    let steps = round.into_iter().flat_map(|round| &round.steps);
    let found = steps.filter(|(index, step)| {
        let is_forced = draft
            .record
            .overrides
            .is_forced(PlanName::Maintenance, **index);
        // What was begun is finished, whatever is said.
        is_so(step) && (!is_forced || is_begun(step))
    });
    found.map(|(index, _)| *index).collect()
}

fn is_begun(step: &Step) -> bool {
    matches!(step.stage, Stage::Begun { .. })
}

fn is_to_be_done(step: &Step) -> bool {
    !matches!(step.stage, Stage::Done { .. })
}

/// Steps that can go on; the others say what they wait for.
fn without_held(draft: &mut Draft<'_>) -> Vec<PodIndex> {
    let mut pending = steps(draft, is_to_be_done);
    pending.retain(|index| {
        let overrides = &draft.record.overrides;
        let found = overrides.interruption_over(PlanName::Maintenance, *index);
        let Some(found) = found.filter(|_| !is_begun(step(draft, *index))) else {
            return true;
        };
        let reason = WaitingReason::Interrupted {
            part: found.at.clone(),
            by: found.by.clone(),
        };
        draft.wait(*index, reason);
        false
    });
    pending
}

fn step<'d>(draft: &'d Draft<'_>, index: PodIndex) -> &'d Step {
    static NONE: Step = Step {
        stage: Stage::Pending,
        failures: Failures {
            in_a_row: 0,
            last: None,
            retry_at: None,
        },
    };
    let round = draft.record.maintenance.open();
    let step = round.and_then(|round| round.steps.get(&index));
    step.unwrap_or(&NONE)
}

/// Why the round goes no further, if it does not.
fn gave_up(draft: &Draft<'_>) -> Option<String> {
    let round = draft.record.maintenance.open()?;
    let is_final = |failures: &Failures| failures.in_a_row >= ATTEMPTS;
    let last = |failures: &Failures| failures.last.clone().unwrap_or_default();
    if let Some(space) = &round.space
        && is_final(&space.failures)
    {
        let why = last(&space.failures);
        return Some(format!("old revisions cannot be forgotten: {why}"));
    }
    let failed = steps(draft, is_to_be_done).into_iter();
    let mut failed = failed.map(|index| (index, &step(draft, index).failures));
    failed
        .find(|(_, failures)| is_final(failures))
        .map(|(index, failures)| {
            format!("{index} cannot be defragmented: {}", last(failures))
        })
}

/// Those that were begun; followers; the leader last.
fn choose(draft: &Draft<'_>, pending: &[PodIndex]) -> Option<PodIndex> {
    let leader = quorum::leader(draft.model);
    pending.iter().copied().min_by_key(|index| {
        let leads = leader.is_some() && member_id(draft, *index) == leader;
        (!is_begun(step(draft, *index)), leads, *index)
    })
}

fn member_id(draft: &Draft<'_>, index: PodIndex) -> Option<MemberId> {
    draft.pod(index).membership.member_id()
}

fn wait_for(draft: &mut Draft<'_>, busy: PodIndex) {
    for index in steps(draft, is_to_be_done) {
        if index != busy {
            draft.wait(index, WaitingReason::OneAtATime { busy });
        }
    }
}

fn say(draft: &mut Draft<'_>, index: PodIndex, what: String) {
    draft.wait(index, WaitingReason::Maintenance { what });
}

fn defragmenting(draft: &Draft<'_>, index: PodIndex) -> String {
    let size = match step(draft, index).stage {
        Stage::Begun { size_before, .. } => alarms::megabytes(size_before),
        Stage::Pending | Stage::Done { .. } => 0,
    };
    format!(
        "its database of {size} MB is being defragmented; it serves nothing meanwhile"
    )
}

/// Begins with a member, if nothing stands against it.
fn defragment(draft: &mut Draft<'_>, index: PodIndex) {
    let retry_at = step(draft, index).failures.retry_at;
    if has_to_wait(draft, index, retry_at) {
        return;
    }
    if let Err(cost) = quorum::may_stop(draft.model, &draft.record, index) {
        draft.wait(index, cost.into());
        return;
    }
    if let Some(at) = unsteady_room(draft) {
        say(draft, index, "old revisions are being forgotten".to_owned());
        draft.wake_at(at);
        return;
    }
    if restarting::hand_over_the_lead(draft, index) {
        return;
    }
    let leads = quorum::leader(draft.model) == member_id(draft, index);
    let (now, is_alone) = (draft.now(), quorum::voters(&draft.record).len() == 1);
    if leads && !is_alone {
        fail(
            &mut draft.record,
            index,
            "the lead cannot be moved away",
            now,
        );
        draft.wake_in(TRY_AGAIN_AFTER);
        return;
    }
    let (Some(answer), Some(member_id)) = (
        quorum::fresh_answer(draft.model, index),
        member_id(draft, index),
    ) else {
        return;
    };
    let size_before = answer.db_size_bytes;
    let Some(round) = draft.record.maintenance.open_mut() else {
        return;
    };
    let since = round.since;
    let at = now;
    if let Some(step) = round.steps.get_mut(&index) {
        step.stage = Stage::Begun { at, size_before };
    }
    draft.effects.push(Effect::Defragment {
        pod: index,
        member_id,
        round: since,
        limit: limit(size_before),
    });
    say(draft, index, defragmenting(draft, index));
}

fn end(draft: &mut Draft<'_>, why: Option<String>) {
    let at = draft.now();
    if let Some(round) = draft.record.maintenance.open_mut() {
        round.end = Some(RoundEnd { at, why });
    }
    let overrides = &mut draft.record.overrides;
    overrides.plan_completed(PlanName::Maintenance);
    overrides.forget_forced(PlanName::Maintenance);
}

fn fail(record: &mut Record, index: PodIndex, why: &str, now: Timestamp) {
    let Some(round) = record.maintenance.open_mut() else {
        return;
    };
    if let Some(step) = round.steps.get_mut(&index) {
        step.stage = Stage::Pending;
        note_failure(&mut step.failures, why, now);
    }
}

fn note_failure(failures: &mut Failures, why: &str, now: Timestamp) {
    failures.in_a_row += 1;
    failures.last = Some(why.to_owned());
    failures.retry_at = Some(now.plus(TRY_AGAIN_AFTER));
}

/// Takes note of what came of an effect of this module.
pub(crate) fn note_outcome(
    record: &mut Record,
    effect: &Effect,
    outcome: &Outcome,
    now: Timestamp,
) {
    let Some(open) = record.maintenance.open_mut() else {
        return;
    };
    match (effect, outcome) {
        (Effect::Defragment { pod, round, .. }, Outcome::Done) => {
            // What was begun before space was asked for came before the compaction.
            let is_early = *round != open.since && open.space.is_some();
            if let Some(step) = open.steps.get_mut(pod)
                && let Stage::Begun { size_before, .. } = step.stage
            {
                step.failures = Failures::default();
                step.stage = if is_early {
                    Stage::Pending
                } else {
                    Stage::Done {
                        at: now,
                        size_before,
                        size_after: None,
                    }
                };
            }
        }
        (Effect::Defragment { pod, .. }, Outcome::Failed { why }) => {
            fail(record, *pod, why, now);
        }
        (Effect::Compact { round, .. }, outcome) if *round == open.since => {
            if let Some(space) = &mut open.space {
                match outcome {
                    Outcome::Done => space.compacted = Some(now),
                    Outcome::Failed { why } => {
                        note_failure(&mut space.failures, why, now);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Whether a cluster is one that can be looked after.
fn is_formed(record: &Record) -> bool {
    matches!(record.cluster, Cluster::Formed(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_databases_get_time() {
        #[track_caller]
        fn check(db_size: u64, expected_seconds: u64) {
            assert_eq!(limit(db_size).as_secs(), expected_seconds);
        }
        check(0, 60);
        check(1, 120);
        check(1 << 30, 120);
        check((1 << 30) + 1, 180);
        check(8 << 30, 540);
    }
}
