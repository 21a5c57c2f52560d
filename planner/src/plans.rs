//! Plans as operators know them: plan, phases, steps, each with a status.
//!
//! They are a view. Decisions are made from the model alone; a step shows how
//! far the model is from what the step stands for.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;

use crate::model::Model;
use crate::record::EndKind;
use crate::waiting::WaitingReason;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanView {
    /// `deploy`, `recovery`.
    pub name: &'static str,
    /// Order of the phases.
    pub strategy: Strategy,
    /// From its phases.
    pub status: Status,
    /// In order.
    pub phases: Vec<PhaseView>,
    /// Refused changes of the configuration.
    pub errors: Vec<String>,
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

/// Order of phases or steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other.
    Serial,
    /// All at once.
    Parallel,
}

impl Strategy {
    /// As the API and the CLI write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Serial => "serial",
            Strategy::Parallel => "parallel",
        }
    }
}

/// The SDK's statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Cannot go on without an operator.
    Error,
    /// Interrupted by an operator.
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

    /// The status of a whole from the statuses of its parts, by the SDK's
    /// rules as far as they apply without interruptions.
    pub fn of_parts(parts: &[Status]) -> Status {
        let all = |status| parts.iter().all(|part| *part == status);
        let any = |status| parts.contains(&status);
        if any(Status::Error) {
            Status::Error
        } else if all(Status::Complete) {
            Status::Complete
        } else if all(Status::Delayed) {
            Status::Delayed
        } else if any(Status::Prepared)
            || any(Status::InProgress)
            || any(Status::Complete)
        {
            Status::InProgress
        } else if any(Status::Starting) {
            Status::Starting
        } else if any(Status::Started) {
            Status::Started
        } else if any(Status::Waiting) {
            Status::Waiting
        } else {
            Status::Pending
        }
    }
}

/// The plans of the service, `deploy` first.
pub fn plans(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> Vec<PlanView> {
    vec![deploy(model, waiting), recovery(model, waiting)]
}

fn deploy(model: &Model, waiting: &BTreeMap<PodIndex, WaitingReason>) -> PlanView {
    let steps: Vec<StepView> = (0..model.target.members)
        .map(|index| deploy_step(model, waiting, PodIndex(index)))
        .collect();
    let phase = phase("agents".to_owned(), Strategy::Parallel, steps);
    PlanView {
        name: "deploy",
        strategy: Strategy::Serial,
        status: Status::of_parts(&[phase.status]),
        phases: vec![phase],
        errors: Vec::new(),
    }
}

/// One phase for each pod that was complete once and is not now. Empty, and
/// so complete, when all is well.
fn recovery(model: &Model, waiting: &BTreeMap<PodIndex, WaitingReason>) -> PlanView {
    let phases: Vec<PhaseView> = model
        .record
        .pods
        .keys()
        .filter(|index| needs_recovery(model, **index))
        .map(|index| {
            let steps = vec![step(model, waiting, *index)];
            phase(index.to_string(), Strategy::Serial, steps)
        })
        .collect();
    let statuses: Vec<Status> = phases.iter().map(|phase| phase.status).collect();
    PlanView {
        name: "recovery",
        strategy: Strategy::Parallel,
        status: Status::of_parts(&statuses),
        phases,
        errors: Vec::new(),
    }
}

/// As with the SDK, a deployment that was complete stays so: what breaks later
/// is shown by the recovery plan.
fn deploy_step(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    index: PodIndex,
) -> StepView {
    let step = step(model, waiting, index);
    if model
        .record
        .pods
        .get(&index)
        .is_some_and(|pod| pod.deployed)
    {
        StepView {
            status: Status::Complete,
            waiting: None,
            ..step
        }
    } else {
        step
    }
}

fn phase(name: String, strategy: Strategy, steps: Vec<StepView>) -> PhaseView {
    let statuses: Vec<Status> = steps.iter().map(|step| step.status).collect();
    PhaseView {
        name,
        strategy,
        status: Status::of_parts(&statuses),
        steps,
    }
}

/// Whether the pod was in good health once and is not now.
fn needs_recovery(model: &Model, index: PodIndex) -> bool {
    model
        .record
        .pods
        .get(&index)
        .is_some_and(|pod| pod.deployed)
        && step_status(model, index) != Status::Complete
}

fn step(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    index: PodIndex,
) -> StepView {
    let status = match (step_status(model, index), waiting.get(&index)) {
        (Status::Pending, Some(WaitingReason::BackOff { .. })) => Status::Delayed,
        (Status::Pending, Some(WaitingReason::NoSuitableOffer { .. })) => {
            Status::Prepared
        }
        (status, _) => status,
    };
    StepView {
        pod: index,
        name: format!("{index}:[node]"),
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

    #[test]
    fn status_of_parts() {
        use Status::*;
        #[track_caller]
        fn check(parts: &[Status], expected: Status) {
            assert_eq!(Status::of_parts(parts), expected, "{parts:?}");
        }
        check(&[], Complete);
        check(&[Complete, Complete], Complete);
        check(&[Complete, Pending], InProgress);
        check(&[Starting, Pending], Starting);
        check(&[Prepared, Pending], InProgress);
        check(&[Delayed, Delayed], Delayed);
        check(&[Pending, Pending], Pending);
        check(&[Complete, Error], Error);
    }
}
