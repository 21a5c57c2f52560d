//! What the end of a launch means: relaunch in place, or a lost member.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::offer::AgentId;
use crate::quorum;
use crate::record::{
    AbandonedPlacement, AvoidedAgent, Cluster, EndKind, Failures, Membership,
    PlacementStage,
};

/// First pause after a failed launch; it doubles with every further failure.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// Longest pause between launches. The SDK's: long enough to harm nobody,
/// short enough that a repaired agent is in use within minutes.
const BACK_OFF_AT_MOST: Duration = Duration::from_secs(300);

/// Step of the back-off at which an agent that gave no place starts: 16 seconds,
/// time enough for other agents to make an offer.
const AVOID_FROM_STEP: u32 = 4;

/// How long the failures of an agent are remembered.
const AVOIDED_IS_FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// A pod whose etcd has answered for this long has recovered: the next failure
/// starts counting anew.
pub(crate) const STEADY_AFTER: Duration = Duration::from_secs(60);

/// The pause before the next launch, given the failures before the newest one.
pub(crate) fn back_off(failures_before: u32) -> Duration {
    BACK_OFF_FIRST
        .saturating_mul(1 << failures_before.min(16))
        .min(BACK_OFF_AT_MOST)
}

/// Draws the consequences from launches that have ended and from volumes that
/// have vanished.
pub(crate) fn settle_ended_launches(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        let pod = draft.pod_mut(index);
        if pod
            .placement
            .as_ref()
            .is_some_and(|placement| placement.stage == PlacementStage::GivenUp)
        {
            pod.launch = None;
            let why = "its agent was given up by an operator";
            abandon_placement(draft, index, why);
            lose_member(draft, index, why);
            continue;
        }
        let Some(end) = pod.launch.as_ref().and_then(|launch| launch.end.clone()) else {
            continue;
        };
        match end.kind {
            EndKind::Asked => pod.restart_asked = false,
            EndKind::Failed
            | EndKind::Gone
            | EndKind::DataBehind
            | EndKind::DataDamaged => {}
            EndKind::DataMissing => {
                pod.launch = None;
                lose_member(draft, index, &end.why);
            }
            EndKind::PlaceUnusable => {
                pod.launch = None;
                if let Some(placement) = &pod.placement {
                    let agent_id = placement.agent_id.clone();
                    avoid(draft, agent_id, &end.why);
                }
                abandon_placement(draft, index, &end.why);
                lose_member(draft, index, &end.why);
            }
            EndKind::AgentGivenUp => {
                pod.launch = None;
                let why = format!("its agent was given up: {}", end.why);
                abandon_placement(draft, index, &why);
                lose_member(draft, index, &why);
            }
        }
    }
}

/// A placement that the pod never got or does not have any more.
pub(crate) fn placement_vanished(draft: &mut Draft<'_>, index: PodIndex, why: &str) {
    let Some(placement) = draft.pod(index).placement.clone() else {
        return;
    };
    let was_confirmed = placement.stage == PlacementStage::Confirmed;
    if !was_confirmed {
        avoid(draft, placement.agent_id, why);
    }
    abandon_placement(draft, index, why);
    lose_member(draft, index, why);
}

/// Looks for other agents first for a while, longer with every failure.
fn avoid(draft: &mut Draft<'_>, agent_id: AgentId, why: &str) {
    let now = draft.now();
    // Agents that have been left alone for long are forgotten, so that the
    // record stays small.
    draft
        .record
        .avoided
        .retain(|_, avoided| now.since(avoided.until) < AVOIDED_IS_FORGOTTEN_AFTER);
    let failures = draft
        .record
        .avoided
        .get(&agent_id)
        .map_or(0, |avoided| avoided.failures);
    let avoided = AvoidedAgent {
        failures: failures.saturating_add(1),
        until: now.plus(back_off(failures.saturating_add(AVOID_FROM_STEP))),
        why: why.to_owned(),
    };
    draft.record.avoided.insert(agent_id, avoided);
}

/// Lets go of a placement. Nothing on it is touched: it may hold the newest
/// copy of the data.
pub(crate) fn abandon_placement(draft: &mut Draft<'_>, index: PodIndex, why: &str) {
    let now = draft.now();
    let pod = draft.pod_mut(index);
    let has_voted = match &pod.membership {
        Membership::Founder(enrolled) => enrolled.started,
        Membership::Voter(_) | Membership::Lost { .. } => true,
        // What has not voted has confirmed nothing to anybody.
        Membership::Learner(_) | Membership::Adding { .. } | Membership::Absent => false,
    };
    // A founder of an earlier birth may have started there.
    let has_voted = std::mem::take(&mut pod.place_was_used) || has_voted;
    if let Some(placement) = pod.placement.take() {
        pod.generation = pod.generation.next();
        draft.record.abandoned.push(AbandonedPlacement {
            pod: index.successor(),
            placement,
            since: now,
            why: why.to_owned(),
            awaits_approval: false,
            can_be_missed: !has_voted,
            absent_since: None,
        });
    }
    draft.volumes_seen.remove(&index);
}

/// Records that a pod's member is gone for good, whatever that means at this
/// stage of the cluster's life.
pub(crate) fn lose_member(draft: &mut Draft<'_>, index: PodIndex, why: &str) {
    match draft.record.cluster.clone() {
        // Nobody has an identity, or all identities are being cleared.
        Cluster::Unborn | Cluster::Abandoning { .. } => {}
        Cluster::Forming(incarnation) => {
            // Founders' ids are made from all founders' peer URLs: a lost one
            // cannot be exchanged, and before quorum nothing can be lost by
            // starting over.
            let why = format!("{index}: {why}");
            draft.record.cluster = Cluster::Abandoning { incarnation, why };
        }
        Cluster::Formed(_) => {
            let pod = draft.pod_mut(index);
            if let Some(member_id) =
                pod.membership.enrolled().map(|enrolled| enrolled.member_id)
            {
                pod.membership = Membership::Lost {
                    member_id,
                    why: why.to_owned(),
                };
            }
        }
    }
}

/// Takes note of pods in good health: the first time completes their
/// deployment, and for long enough makes their failures forgotten.
pub(crate) fn note_healthy_pods(draft: &mut Draft<'_>) {
    let now = draft.now();
    for index in draft.recorded_pods() {
        if !quorum::is_healthy_voter_seen(draft.model, index) {
            continue;
        }
        let since = draft.model.observed.answering_since.get(&index);
        let steady = since.is_some_and(|since| now.since(*since) >= STEADY_AFTER);
        let pod = draft.pod_mut(index);
        // One that is to be restarted is not where it is to be.
        pod.deployed |= !pod.restart_asked;
        if steady {
            pod.failures = Failures::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_to_a_limit() {
        let seconds: Vec<u64> = (0..11).map(|n| back_off(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off(u32::MAX), BACK_OFF_AT_MOST);
    }
}
