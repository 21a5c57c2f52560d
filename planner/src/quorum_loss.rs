//! What operators are told when the cluster has lost its quorum.
//!
//! Nothing is done about it: the members that are left are kept running, and as soon
//! as enough of the others are back, etcd goes on by itself.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::observed::TaskState;
use crate::quorum;
use crate::record::{Cluster, Membership, Pod};
use crate::waiting::WaitingReason;

/// How long a member must have been silent to be called down: one lost answer is no
/// news.
const SILENT_IS_DOWN_AFTER: Duration = Duration::from_secs(5);

/// Why the service as a whole does not go on, if too few voters are left. Said only
/// of members that are known to be down: a scheduler that has just started knows
/// nothing of anybody.
pub(crate) fn reason(draft: &Draft<'_>) -> Option<WaitingReason> {
    if !matches!(draft.record.cluster, Cluster::Formed(_)) || is_proven(draft) {
        return None;
    }
    let voters: Vec<PodIndex> = draft
        .record
        .pods
        .iter()
        .filter(|(_, pod)| has_vote(pod))
        .map(|(index, _)| *index)
        .collect();
    let (mut down, mut left) = (Vec::new(), Vec::new());
    for index in &voters {
        match why_down(draft, *index) {
            Some(why) => down.push(format!("{index} ({why})")),
            None => left.push(index.to_string()),
        }
    }
    let needed = quorum::majority(voters.len());
    if left.len() >= needed {
        return None;
    }
    let save = match left.as_slice() {
        [] => String::new(),
        left => format!(
            "; if the others are gone for good, save the data of {} first",
            left.join(" or ")
        ),
    };
    let what = format!(
        "{} of {} voters; bring back {} of: {}; until then nothing is stopped or \
         removed, and then all goes on by itself{save}",
        left.len(),
        voters.len(),
        needed - left.len(),
        down.join(", "),
    );
    Some(WaitingReason::NoQuorum { what })
}

/// Whether a member has just answered with the agreement of a majority.
fn is_proven(draft: &Draft<'_>) -> bool {
    let mut pods = draft.record.pods.keys();
    pods.any(|index| {
        quorum::fresh_answer(draft.model, *index)
            .is_some_and(|answer| answer.linearizable && answer.leader.is_some())
    })
}

/// What etcd counts: a lost member too, until it is removed.
fn has_vote(pod: &Pod) -> bool {
    pod.membership.is_voter() || matches!(pod.membership, Membership::Lost { .. })
}

/// Why a member is known to be down.
fn why_down(draft: &Draft<'_>, index: PodIndex) -> Option<String> {
    let pod = draft.record.pods.get(&index)?;
    if matches!(pod.membership, Membership::Lost { .. }) {
        return Some("its data is lost".to_owned());
    }
    if quorum::fresh_answer(draft.model, index).is_some() {
        return None;
    }
    let launch = pod.launch.as_ref().filter(|launch| launch.end.is_none());
    let Some(launch) = launch else {
        return Some("it does not run".to_owned());
    };
    if launch.paused {
        return Some("it is paused".to_owned());
    }
    let state = draft.model.task(index).map(|seen| seen.state);
    if state == Some(TaskState::Unreachable) {
        let place = pod.placement.as_ref();
        return Some(match place {
            Some(place) => format!("its agent on {} cannot be reached", place.hostname),
            None => "its agent cannot be reached".to_owned(),
        });
    }
    let silent_since = draft.model.observed.silent_since.get(&index)?;
    (draft.now().since(*silent_since) >= SILENT_IS_DOWN_AFTER)
        .then(|| "etcd there does not answer".to_owned())
}
