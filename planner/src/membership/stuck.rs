//! Learners that do not come on. etcd takes in one at a time, so one that is stuck
//! keeps all others out.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::model::Model;
use crate::observed::{LearnerProgress, TaskState};
use crate::record::{Exchange, Membership};
use crate::time::Timestamp;

/// A learner that has not come on for this long begins anew: k3s' number.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// Takes note of how far learners have come. What was known of members that are none
/// any more is forgotten.
pub(crate) fn note_progress(model: &mut Model, now: Timestamp) {
    let observed = &mut model.observed;
    let mut known = std::mem::take(&mut observed.learners);
    for (index, pod) in &model.record.pods {
        let Membership::Learner(enrolled) = &pod.membership else {
            continue;
        };
        let answer = observed
            .probes
            .get(index)
            .and_then(|probe| probe.answer.as_ref().ok())
            .filter(|answer| answer.member_id == enrolled.member_id);
        let applied = answer.map_or(0, |answer| answer.raft_applied_index);
        let before = known
            .remove(index)
            .filter(|before| before.member_id == enrolled.member_id);
        let progress = match before {
            Some(before) if applied <= before.applied => before,
            _ => LearnerProgress {
                member_id: enrolled.member_id,
                applied,
                since: now,
            },
        };
        observed.learners.insert(*index, progress);
    }
}

/// Lets a learner that is stuck make way for a new one: on its volume, if it can be
/// stopped there, else elsewhere. It has never voted, so nothing is lost by it.
pub(crate) fn exchange_stuck_learners(draft: &mut Draft<'_>) {
    for (index, progress) in &draft.model.observed.learners {
        let pod = draft.pod(*index);
        let is_learner = matches!(pod.membership, Membership::Learner(_));
        if !is_learner || pod.paused.is_some() || pod.exchange_asked.is_some() {
            continue;
        }
        let due = progress.since.plus(STUCK_AFTER);
        if draft.now() < due {
            draft.wake_at(due);
            continue;
        }
        let how = if can_begin_anew_there(draft, *index) {
            Exchange::InPlace
        } else {
            Exchange::LeaveFirst
        };
        draft.pod_mut(*index).exchange_asked = Some(how);
    }
}

/// Whether its agent can be heard: a member that runs there can be stopped.
fn can_begin_anew_there(draft: &Draft<'_>, index: PodIndex) -> bool {
    let launch = draft.pod(index).launch.as_ref();
    let runs = launch.is_some_and(|launch| launch.end.is_none());
    let state = draft.model.task(index).map(|seen| seen.state);
    runs && !matches!(
        state,
        None | Some(TaskState::Unreachable | TaskState::Unknown)
    )
}
