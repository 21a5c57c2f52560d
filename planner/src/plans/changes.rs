//! The plans that change what runs: update, rolling restart, decommission.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;

use super::{PhaseView, Status, StepView, Strategy, interruption, phase, step_name};
use crate::decommissioning;
use crate::model::Model;
use crate::overrides::{PhaseName, PlanName, PlanPart};
use crate::rolling;
use crate::waiting::WaitingReason;

/// Whether the plan is one that an operator has to start, and has not.
pub(super) fn not_started(model: &Model, plan: PlanName) -> Option<WaitingReason> {
    let is_idle = match plan {
        PlanName::RollingRestart => model.record.rolling_restart.is_none(),
        PlanName::Maintenance => model.record.maintenance.round.is_none(),
        PlanName::Deploy
        | PlanName::Recovery
        | PlanName::Update
        | PlanName::Decommission => false,
    };
    is_idle.then_some(WaitingReason::NotStarted { plan })
}

/// Why the update does not go on.
pub(super) fn errors(model: &Model) -> Vec<String> {
    let failed = rolling::failed(model, &model.record);
    failed
        .map(|(pod, why)| format!("{pod} does not run with the new target: {why}"))
        .into_iter()
        .collect()
}

pub(super) fn updating(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> PhaseView {
    let name = PhaseName::agents();
    let part = PlanPart::phase(PlanName::Update, name.clone());
    let canary = rolling::awaits_approval(model, &model.record)
        .then(|| WaitingReason::AwaitsApproval { part: part.clone() });
    let held = interruption(model, &part).or(canary);
    let steps = through_all(model, waiting, PlanName::Update);
    out_of_order(phase(name, model.target.update_strategy, steps, held))
}

pub(super) fn restarting(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> PhaseView {
    let plan = PlanName::RollingRestart;
    let name = PhaseName::agents();
    let held = interruption(model, &PlanPart::phase(plan, name.clone()))
        .or_else(|| not_started(model, plan));
    let steps = through_all(model, waiting, plan);
    out_of_order(phase(name, Strategy::Serial, steps, held))
}

/// These phases go member by member, but not by number: whichever is under way makes
/// them so.
pub(super) fn out_of_order(mut phase: PhaseView) -> PhaseView {
    let is_open = matches!(phase.status, Status::Pending | Status::Starting);
    if is_open
        && phase
            .steps
            .iter()
            .any(|step| step.status == Status::Starting)
    {
        phase.status = Status::InProgress;
    }
    phase
}

/// One step for each wanted pod.
fn through_all(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    plan: PlanName,
) -> Vec<StepView> {
    let pods = (0..model.target.members).map(PodIndex);
    pods.map(|pod| rolling_step(model, waiting, plan, pod))
        .collect()
}

fn rolling_step(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    plan: PlanName,
    index: PodIndex,
) -> StepView {
    let record = &model.record;
    let pod = record.pods.get(&index);
    let kept_back = pod
        .filter(|_| plan == PlanName::Update)
        .and_then(|pod| rolling::kept_back(model, pod));
    let is_forced = record.overrides.is_forced(plan, index);
    let interrupted = interruption(model, &PlanPart::step(plan, index)).is_some();
    let is_due = rolling::due(model, record, index) == Some(plan)
        && !pod.is_some_and(rolling::is_stopping);
    let idle = not_started(model, plan).is_some();
    let (status, said) = if let (Some(kept), false) = (kept_back, is_forced) {
        let reason = WaitingReason::UpdateFailed {
            why: kept.why.clone(),
            went_back: kept.went_back,
        };
        (Status::Error, Some(reason))
    } else if idle {
        (Status::Pending, None)
    } else if rolling::is_done(model, record, plan, index) {
        (Status::Complete, None)
    } else if is_due && interrupted {
        (Status::Waiting, waiting.get(&index).cloned())
    } else if is_due {
        (Status::Pending, waiting.get(&index).cloned())
    } else {
        (Status::Starting, waiting.get(&index).cloned())
    };
    StepView {
        pod: index,
        name: step_name(index),
        status,
        waiting: said,
    }
}

/// One phase for each member that leaves, and for each whose volume is still kept.
pub(super) fn decommissioning(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> Vec<PhaseView> {
    let plan = PlanName::Decommission;
    let record = &model.record;
    let leaving = decommissioning::surplus(record, &model.target);
    let is_told = |pod| {
        let launch = record.pods.get(&pod).and_then(|pod| pod.launch.as_ref());
        launch.is_none_or(|launch| launch.stop_asked.is_some() || launch.end.is_some())
    };
    let leaving = leaving.into_iter().map(|pod| {
        let status = if is_told(pod) {
            Status::InProgress
        } else {
            Status::Pending
        };
        (pod, status, waiting.get(&pod).cloned())
    });
    let kept = record
        .abandoned
        .iter()
        .filter(|place| place.awaits_approval);
    let kept = kept.map(|place| {
        let hostname = place.placement.hostname.clone();
        let reason = WaitingReason::VolumeKept { hostname };
        (place.pod, Status::Waiting, Some(reason))
    });
    leaving
        .chain(kept)
        .map(|(pod, status, waiting)| {
            let step = StepView {
                pod,
                name: step_name(pod),
                status,
                waiting,
            };
            let name = PhaseName::of(plan, pod);
            let held = interruption(model, &PlanPart::phase(plan, name.clone()));
            phase(name, Strategy::Serial, vec![step], held)
        })
        .collect()
}
