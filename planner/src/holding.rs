//! What holds a pod back although it could go on: the order of its plan, and
//! what operators have told plans.
//!
//! Only beginnings are held back: a place for a pod that has none, the founding,
//! the adding of a member, the restart of a running one, and in the recovery plan
//! a relaunch. What has begun is finished.

use etcd_launch::PodIndex;

use crate::decommissioning;
use crate::draft::Draft;
use crate::overrides::{Approval, Interruption, PhaseName, PlanName, PlanPart};
use crate::quorum;
use crate::record::{EndKind, Membership, Record};
use crate::rolling;
use crate::target::Target;
use crate::waiting::WaitingReason;

/// The plan that brings a pod on now: recovery once its deployment is complete.
pub(crate) fn plan_of(record: &Record, index: PodIndex) -> PlanName {
    if is_deployed(record, index) {
        PlanName::Recovery
    } else {
        PlanName::Deploy
    }
}

/// Whether the pod's step of the deploy plan is complete: the pod was a healthy
/// voter, or nobody waits for it.
pub(crate) fn is_deployed(record: &Record, index: PodIndex) -> bool {
    record.pods.get(&index).is_some_and(|pod| pod.deployed)
        || record.overrides.is_forced(PlanName::Deploy, index)
}

/// Why nothing new is begun for a pod, if it is held back.
pub(crate) fn hold(
    record: &Record,
    target: &Target,
    index: PodIndex,
) -> Option<WaitingReason> {
    interruption(record, index)
        .map(why_interrupted)
        .or_else(|| order(record, target, index))
}

/// The same, for what must not wait for other pods: a repair.
pub(crate) fn hold_repair(record: &Record, index: PodIndex) -> Option<WaitingReason> {
    interruption(record, index).map(why_interrupted)
}

/// The same, for a launch. A first deployment that has begun, a join that has
/// begun, and a restart that was asked for go on even while plans are paused.
pub(crate) fn hold_launch(record: &Record, index: PodIndex) -> Option<WaitingReason> {
    let pod = record.pods.get(&index)?;
    let recovers = plan_of(record, index) == PlanName::Recovery
        && matches!(
            pod.membership,
            Membership::Founder(_) | Membership::Voter(_)
        );
    let ended_by_itself = pod.launch.as_ref().is_some_and(|launch| {
        launch
            .end
            .as_ref()
            .is_some_and(|end| end.kind != EndKind::Asked)
    });
    if recovers && ended_by_itself {
        hold_repair(record, index)
    } else {
        None
    }
}

/// What the canary of the deploy plan waits for an operator to approve, if it
/// does.
pub(crate) fn awaits_approval(record: &Record, target: &Target) -> bool {
    let mut pods = (0..target.members).map(PodIndex);
    let first_is_up = pods.next().is_some_and(|first| has_come_up(record, first));
    let rest_is_up = pods.all(|index| has_come_up(record, index));
    target.deploy_strategy.has_canary()
        && match record.overrides.approved {
            Approval::Nothing => !first_is_up || !rest_is_up,
            Approval::First => first_is_up && !rest_is_up,
            Approval::All => false,
        }
}

/// Whether the pod keeps no other waiting. A member that runs and is to be
/// restarted does not: of two voters neither can be stopped before a third has
/// joined.
fn has_come_up(record: &Record, index: PodIndex) -> bool {
    let to_be_restarted = record.pods.get(&index).is_some_and(|pod| {
        let voter = matches!(
            pod.membership,
            Membership::Founder(_) | Membership::Voter(_)
        );
        pod.restart_asked && voter
    });
    to_be_restarted || is_deployed(record, index)
}

fn interruption(record: &Record, index: PodIndex) -> Option<&Interruption> {
    let plan = plan_of(record, index);
    record.overrides.interruption_over(plan, index)
}

fn why_interrupted(interruption: &Interruption) -> WaitingReason {
    WaitingReason::Interrupted {
        part: interruption.at.clone(),
        by: interruption.by.clone(),
    }
}

/// Why the order of the deploy plan's steps holds a pod back.
fn order(record: &Record, target: &Target, index: PodIndex) -> Option<WaitingReason> {
    if plan_of(record, index) != PlanName::Deploy {
        return None;
    }
    let strategy = target.deploy_strategy;
    let approval = || WaitingReason::AwaitsApproval {
        part: PlanPart::phase(PlanName::Deploy, PhaseName::agents()),
    };
    let earlier = (0..index.0)
        .map(PodIndex)
        .find(|earlier| !has_come_up(record, *earlier));
    let is_first = index == PodIndex(0);
    if strategy.has_canary() {
        match record.overrides.approved {
            Approval::Nothing => return Some(approval()),
            Approval::First if !is_first && earlier != Some(PodIndex(0)) => {
                return Some(approval());
            }
            Approval::First | Approval::All => {}
        }
    }
    let waits_for = if strategy.is_serial() {
        earlier
    } else if strategy.has_canary() {
        // The canary comes first; the rest is not in order.
        earlier.filter(|earlier| *earlier == PodIndex(0))
    } else {
        None
    };
    waits_for.map(|pod| WaitingReason::EarlierStep { pod })
}

/// The same for plans that go through all members, once all of one is done.
fn forget_finished_changes(draft: &mut Draft<'_>, wanted: &[PodIndex]) {
    for plan in [PlanName::Update, PlanName::RollingRestart] {
        let is_done =
            |index: &PodIndex| rolling::is_done(draft.model, &draft.record, plan, *index);
        let is_failed = plan == PlanName::Update
            && rolling::failed(draft.model, &draft.record).is_some();
        if !is_failed && wanted.iter().all(is_done) {
            draft.record.overrides.plan_completed(plan);
        }
    }
    if decommissioning::surplus(&draft.record, &draft.model.target).is_empty() {
        draft
            .record
            .overrides
            .plan_completed(PlanName::Decommission);
    }
}

/// Forgets what was said about steps and plans that have completed since.
pub(crate) fn forget_what_is_over(draft: &mut Draft<'_>) {
    if draft.record.overrides.forced.is_empty()
        && draft.record.overrides.interruptions.is_empty()
    {
        return;
    }
    let wanted: Vec<PodIndex> = draft.wanted_pods().collect();
    let is_well = |draft: &Draft<'_>, index: PodIndex| {
        quorum::is_healthy_voter_seen(draft.model, index)
            && !draft.pod(index).restart_asked
    };
    let mut recovered = true;
    for index in draft.recorded_pods() {
        let (well, deployed) = (is_well(draft, index), draft.pod(index).deployed);
        let overrides = &mut draft.record.overrides;
        if deployed {
            overrides.step_completed(PlanName::Deploy, index);
        }
        if well {
            overrides.step_completed(PlanName::Recovery, index);
        }
        recovered &= well || overrides.is_forced(PlanName::Recovery, index);
    }
    forget_finished_changes(draft, &wanted);
    if wanted
        .iter()
        .all(|index| is_deployed(&draft.record, *index))
    {
        draft.record.overrides.plan_completed(PlanName::Deploy);
    }
    if recovered {
        draft.record.overrides.plan_completed(PlanName::Recovery);
    }
}
