//! Members that the target does not want any more leave: one at a time, the highest
//! first, while all are well. Their volumes are kept until an operator gives them up.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::membership;
use crate::overrides::PlanName;
use crate::quorum;
use crate::record::{Membership, Record};
use crate::recovery;
use crate::replacing;
use crate::restarting;
use crate::target::Target;
use crate::waiting::WaitingReason;

/// Why a member leaves whom the target does not want.
const DECOMMISSIONED: &str = "the service is to have fewer members";

/// Pods that the target does not want, the next one to leave first.
pub(crate) fn surplus(record: &Record, target: &Target) -> Vec<PodIndex> {
    let pods = record.pods.keys().rev();
    pods.filter(|index| is_surplus(target, **index))
        .copied()
        .collect()
}

/// Whether a pod is one that the target does not want. One that leaves for its
/// successor goes with it.
pub(crate) fn is_surplus(target: &Target, index: PodIndex) -> bool {
    index.successor().0 >= target.members
}

/// Lets go of pods that are no members any more. Where one has voted, an operator
/// decides about its volume.
pub(crate) fn let_go_of_former_members(draft: &mut Draft<'_>) {
    for index in surplus(&draft.record, &draft.model.target) {
        let pod = draft.pod(index);
        let runs = pod.launch.as_ref().is_some_and(|it| it.end.is_none());
        if pod.membership != Membership::Absent || runs {
            continue;
        }
        let had_place = pod.placement.is_some();
        recovery::abandon_placement(draft, index, DECOMMISSIONED);
        draft.record.pods.remove(&index);
        if let Some(place) = draft.record.abandoned.last_mut().filter(|_| had_place) {
            place.awaits_approval = !place.can_be_missed;
        }
    }
}

/// Whether a member is to leave that may be in good health: nobody wants it, or its
/// successor has joined.
pub(crate) fn is_to_leave(draft: &Draft<'_>, index: PodIndex) -> bool {
    is_surplus(&draft.model.target, index) || replacing::has_been_succeeded(draft, index)
}

/// Why such a member leaves, for operators.
pub(crate) fn why_it_leaves(draft: &Draft<'_>, index: PodIndex) -> &'static str {
    if is_surplus(&draft.model.target, index) {
        DECOMMISSIONED
    } else {
        "its successor has joined"
    }
}

/// Whether such a member may be removed now: while all are well, with the lead elsewhere.
///
/// It is removed while it runs, and stopped then: of two voters neither could be
/// stopped first.
pub(crate) fn may_remove(draft: &mut Draft<'_>, index: PodIndex) -> bool {
    let overrides = &draft.record.overrides;
    if is_surplus(&draft.model.target, index)
        && let Some(found) = overrides.interruption_over(PlanName::Decommission, index)
    {
        let (part, by) = (found.at.clone(), found.by.clone());
        draft.wait(index, WaitingReason::Interrupted { part, by });
        return false;
    }
    // One that is down itself need not be waited for.
    let is_well = quorum::is_healthy_voter_seen(draft.model, index);
    if is_well && let Some(why) = membership::unsettled(draft) {
        draft.wait(index, WaitingReason::OthersNotWell { why });
        draft.wake_in(Duration::from_secs(1));
        return false;
    }
    !restarting::hand_over_the_lead(draft, index)
}
