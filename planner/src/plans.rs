//! Plans as operators know them: plan, phases, steps, each with a status.
//!
//! They are a view. Decisions are made from the model alone; a step shows how
//! far the model is from what the step stands for. What operators have told plans
//! is part of the model, too (see [`crate::overrides`]).

use std::collections::BTreeMap;

pub use etcd_config::DeployStrategy as Strategy;
use etcd_launch::PodIndex;

use crate::holding;
use crate::model::Model;
use crate::overrides::{PhaseName, PlanName, PlanPart};
use crate::record::EndKind;
use crate::waiting::WaitingReason;

mod changes;
mod maintenance;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanView {
    /// `deploy`, `recovery`.
    pub name: &'static str,
    /// Order of the phases.
    pub strategy: Strategy,
    /// From its phases.
    pub status: Status,
    /// Why it waits for an operator, if it does.
    pub waiting: Option<WaitingReason>,
    /// In order.
    pub phases: Vec<PhaseView>,
    /// Refused changes of the configuration.
    pub errors: Vec<String>,
}

impl PlanView {
    /// Whether there is something to be done. A plan that nobody has started is at
    /// rest, however it is called.
    pub fn is_active(&self) -> bool {
        let is_idle = matches!(self.waiting, Some(WaitingReason::NotStarted { .. }));
        self.status != Status::Complete && !is_idle
    }
}

/// A phase of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseView {
    /// `agents`, or the name of a pod.
    pub name: String,
    /// Order of the steps.
    pub strategy: Strategy,
    /// From its steps.
    pub status: Status,
    /// Why it waits for an operator, if it does.
    pub waiting: Option<WaitingReason>,
    /// In order.
    pub steps: Vec<StepView>,
}

/// A step of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// The pod that it brings somewhere.
    pub pod: PodIndex,
    /// For example `etcd-0:[node]`.
    pub name: String,
    /// How far it is.
    pub status: Status,
    /// Why it is not complete.
    pub waiting: Option<WaitingReason>,
}

/// The SDK's statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Cannot go on without an operator.
    Error,
    /// Waits for an operator.
    Waiting,
    /// Nothing done yet.
    Pending,
    /// Offers are being looked for.
    Prepared,
    /// Launched.
    Starting,
    /// Runs, and is not ready yet.
    Started,
    /// Done.
    Complete,
    /// Some of it is done.
    InProgress,
    /// Failed, and tried again later.
    Delayed,
}

impl Status {
    /// As the API and the CLI write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Error => "ERROR",
            Status::Waiting => "WAITING",
            Status::Pending => "PENDING",
            Status::Prepared => "PREPARED",
            Status::Starting => "STARTING",
            Status::Started => "STARTED",
            Status::Complete => "COMPLETE",
            Status::InProgress => "IN_PROGRESS",
            Status::Delayed => "DELAYED",
        }
    }

    /// The status of a whole from the statuses of its parts, by the SDK's rules.
    ///
    /// `in_order` says that only the first part that is not complete can go on;
    /// `interrupted`, that an operator has to say something first.
    pub fn of_parts(parts: &[Status], in_order: bool, interrupted: bool) -> Status {
        let all = |status| parts.iter().all(|part| *part == status);
        let any = |status| parts.contains(&status);
        // The parts that could go on.
        let next: Vec<Status> = parts
            .iter()
            .copied()
            .filter(|part| *part != Status::Complete)
            .take(if in_order { 1 } else { usize::MAX })
            .collect();
        let next_is = |statuses: &[Status]| {
            next.iter().any(|candidate| statuses.contains(candidate))
        };
        let under_way = [Status::Pending, Status::Starting, Status::Started];
        if any(Status::Error) {
            Status::Error
        } else if all(Status::Complete) {
            Status::Complete
        } else if interrupted {
            Status::Waiting
        } else if all(Status::Delayed) {
            Status::Delayed
        } else if any(Status::Prepared) {
            Status::InProgress
        } else if next_is(&[Status::Waiting]) {
            Status::Waiting
        } else if next_is(&[Status::InProgress])
            || any(Status::Complete) && next_is(&under_way)
        {
            Status::InProgress
        } else {
            // The SDK knows no mixture with DELAYED and calls it an error.
            [Status::Pending, Status::Starting, Status::Started]
                .into_iter()
                .find(|status| next_is(&[*status]))
                .unwrap_or(Status::Delayed)
        }
    }
}

/// The plans of the service, `deploy` first.
pub fn plans(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> Vec<PlanView> {
    PlanName::ALL
        .into_iter()
        .map(|name| plan(model, waiting, name))
        .collect()
}

/// One plan of the service.
pub(crate) fn plan(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    name: PlanName,
) -> PlanView {
    let (strategy, phases) = match name {
        PlanName::Deploy => (Strategy::Serial, vec![agents(model, waiting)]),
        PlanName::Recovery => (Strategy::Parallel, recovering(model, waiting)),
        PlanName::Update => (Strategy::Serial, vec![changes::updating(model, waiting)]),
        PlanName::RollingRestart => {
            (Strategy::Serial, vec![changes::restarting(model, waiting)])
        }
        PlanName::Decommission => {
            (Strategy::Serial, changes::decommissioning(model, waiting))
        }
        PlanName::Maintenance => (Strategy::Serial, maintenance::phases(model, waiting)),
    };
    let statuses: Vec<Status> = phases.iter().map(|phase| phase.status).collect();
    let interrupted = interruption(model, &PlanPart::plan(name))
        .or_else(|| changes::not_started(model, name));
    let status = Status::of_parts(&statuses, strategy.is_serial(), interrupted.is_some());
    PlanView {
        name: name.as_str(),
        strategy,
        status,
        waiting: interrupted.filter(|_| status == Status::Waiting),
        phases,
        errors: match name {
            PlanName::Deploy => model.observed.target_errors.clone(),
            PlanName::Update => changes::errors(model),
            PlanName::Maintenance => maintenance::errors(model),
            PlanName::Recovery | PlanName::RollingRestart | PlanName::Decommission => {
                Vec::new()
            }
        },
    }
}

/// Why exactly this part waits for an operator, if it does.
fn interruption(model: &Model, part: &PlanPart) -> Option<WaitingReason> {
    let found = model.record.overrides.interruption(part)?;
    Some(WaitingReason::Interrupted {
        part: part.clone(),
        by: found.by.clone(),
    })
}

fn agents(model: &Model, waiting: &BTreeMap<PodIndex, WaitingReason>) -> PhaseView {
    let steps: Vec<StepView> = (0..model.target.members)
        .map(|index| deploy_step(model, waiting, PodIndex(index)))
        .collect();
    let part = PlanPart::phase(PlanName::Deploy, PhaseName::agents());
    let canary = holding::awaits_approval(&model.record, &model.target)
        .then(|| WaitingReason::AwaitsApproval { part: part.clone() });
    let held = interruption(model, &part).or(canary);
    phase(
        PhaseName::agents(),
        model.target.deploy_strategy,
        steps,
        held,
    )
}

/// One phase for each pod that was complete once and is not now. Empty, and
/// so complete, when all is well.
fn recovering(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> Vec<PhaseView> {
    let pods = model.record.pods.keys().copied();
    pods.filter(|index| needs_recovery(model, *index))
        .map(|index| {
            let mut step = step(model, waiting, PlanName::Recovery, index);
            if model.record.overrides.is_forced(PlanName::Recovery, index) {
                step.status = Status::Complete;
            }
            let name = PhaseName::of(PlanName::Recovery, index);
            let part = PlanPart::phase(PlanName::Recovery, name.clone());
            let held = interruption(model, &part);
            phase(name, Strategy::Serial, vec![step], held)
        })
        .collect()
}

/// As with the SDK, a deployment that was complete stays so: what breaks later
/// is shown by the recovery plan.
fn deploy_step(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    index: PodIndex,
) -> StepView {
    let step = step(model, waiting, PlanName::Deploy, index);
    if holding::is_deployed(&model.record, index) {
        StepView {
            status: Status::Complete,
            waiting: None,
            ..step
        }
    } else {
        step
    }
}

fn phase(
    name: PhaseName,
    strategy: Strategy,
    steps: Vec<StepView>,
    held: Option<WaitingReason>,
) -> PhaseView {
    let statuses: Vec<Status> = steps.iter().map(|step| step.status).collect();
    let status = Status::of_parts(&statuses, strategy.is_serial(), held.is_some());
    PhaseView {
        name: name.0,
        strategy,
        status,
        waiting: held.filter(|_| status == Status::Waiting),
        steps,
    }
}

/// Whether the pod's deployment is complete, and the pod is not in good health.
fn needs_recovery(model: &Model, index: PodIndex) -> bool {
    holding::plan_of(&model.record, index) == PlanName::Recovery
        && step_status(model, index) != Status::Complete
}

/// The name of a pod's step, in every plan.
pub fn step_name(pod: PodIndex) -> String {
    format!("{pod}:[node]")
}

fn step(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    plan: PlanName,
    index: PodIndex,
) -> StepView {
    let interrupted = interruption(model, &PlanPart::step(plan, index)).is_some();
    let status = match (step_status(model, index), waiting.get(&index)) {
        (Status::Pending, _) if interrupted => Status::Waiting,
        (_, Some(WaitingReason::Paused { .. })) => Status::Waiting,
        (Status::Pending, Some(WaitingReason::BackOff { .. })) => Status::Delayed,
        (Status::Pending, Some(WaitingReason::NoSuitableOffer { .. })) => {
            Status::Prepared
        }
        (status, _) => status,
    };
    StepView {
        pod: index,
        name: step_name(index),
        status,
        waiting: (status != Status::Complete)
            .then(|| waiting.get(&index).cloned())
            .flatten(),
    }
}

/// How far a pod is from being a healthy voter.
fn step_status(model: &Model, index: PodIndex) -> Status {
    let Some(pod) = model.record.pods.get(&index) else {
        return Status::Pending;
    };
    let running = pod
        .launch
        .as_ref()
        .is_some_and(|launch| launch.end.is_none());
    if pod.restart_asked
        || pod.launch.as_ref().is_some_and(|launch| {
            launch
                .end
                .as_ref()
                .is_some_and(|end| end.kind == EndKind::Asked)
        })
    {
        return Status::Pending;
    }
    if !running {
        return Status::Pending;
    }
    if crate::quorum::is_healthy_voter_seen(model, index) {
        return Status::Complete;
    }
    let answers = model.observed.answering_since.contains_key(&index);
    if answers {
        Status::Started
    } else {
        Status::Starting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts as letters, in order of their strategy: serial, parallel.
    #[test]
    fn status_of_parts() {
        use Status::*;
        #[track_caller]
        fn check(parts: &[Status], serial: Status, parallel: Status) {
            assert_eq!(Status::of_parts(parts, true, false), serial, "{parts:?}");
            assert_eq!(Status::of_parts(parts, false, false), parallel, "{parts:?}");
        }
        check(&[], Complete, Complete);
        check(&[Complete, Complete], Complete, Complete);
        check(&[Complete, Pending], InProgress, InProgress);
        check(&[Complete, Started], InProgress, InProgress);
        check(&[Complete, Delayed], Delayed, Delayed);
        check(&[Complete, Waiting], Waiting, Waiting);
        check(&[Starting, Pending], Starting, Pending);
        check(&[Started, Started], Started, Started);
        check(&[Pending, Waiting], Pending, Waiting);
        check(&[Prepared, Pending], InProgress, InProgress);
        check(&[Delayed, Delayed], Delayed, Delayed);
        check(&[Delayed, Pending], Delayed, Pending);
        check(&[Pending, Pending], Pending, Pending);
        check(&[Complete, Error], Error, Error);
    }

    #[test]
    fn status_of_interrupted_parts() {
        use Status::*;
        #[track_caller]
        fn check(parts: &[Status], expected: Status) {
            for in_order in [true, false] {
                let found = Status::of_parts(parts, in_order, true);
                assert_eq!(found, expected, "{parts:?}");
            }
        }
        check(&[], Complete);
        check(&[Complete], Complete);
        check(&[Error, Pending], Error);
        check(&[Complete, Pending], Waiting);
        check(&[Started, Prepared], Waiting);
    }
}
