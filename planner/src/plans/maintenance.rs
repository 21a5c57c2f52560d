//! The plan that defragments databases.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;

use super::changes::{not_started, out_of_order};
use super::{PhaseView, Status, StepView, Strategy, interruption, phase, step_name};
use crate::maintenance::{Round, Stage, Step};
use crate::model::Model;
use crate::overrides::{PhaseName, PlanName, PlanPart};
use crate::waiting::WaitingReason;

const PLAN: PlanName = PlanName::Maintenance;

/// Before members, in a round that frees space: old revisions are forgotten.
const COMPACT: &str = "compact";

/// After them: the alarm is taken back.
const DISARM: &str = "disarm";

/// What went wrong with the newest round.
pub(super) fn errors(model: &Model) -> Vec<String> {
    let round = model.record.maintenance.round.as_ref();
    let end = round.and_then(|round| round.end.as_ref());
    end.and_then(|end| end.why.clone()).into_iter().collect()
}

pub(super) fn phases(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
) -> Vec<PhaseView> {
    let Some(round) = &model.record.maintenance.round else {
        let pods = (0..model.target.members).map(PodIndex);
        let idle = pods.map(|pod| view(pod, Status::Pending, None)).collect();
        return vec![phase(
            PhaseName::agents(),
            Strategy::Serial,
            idle,
            not_started(model, PLAN),
        )];
    };
    let steps = round.steps.iter();
    let steps: Vec<StepView> = steps
        .map(|(index, step)| step_view(model, waiting, round, *index, step))
        .collect();
    let part = PlanPart::phase(PLAN, PhaseName::agents());
    let held = interruption(model, &part);
    let agents = phase(PhaseName::agents(), Strategy::Serial, steps, held);
    let agents = out_of_order(agents);
    let Some(space) = &round.space else {
        return vec![agents];
    };
    let compact = match (&space.compacted, &space.failures.last) {
        (Some(_), _) => without_steps(COMPACT, Status::Complete),
        (None, Some(_)) if round.end.is_some() => without_steps(COMPACT, Status::Error),
        (None, Some(_)) => without_steps(COMPACT, Status::Delayed),
        (None, None) => without_steps(COMPACT, Status::Pending),
    };
    let end = round.end.as_ref();
    let disarm = match end.map(|end| end.why.is_some()) {
        Some(true) if agents.status == Status::Complete => Status::Error,
        Some(false) => Status::Complete,
        Some(true) | None => Status::Pending,
    };
    vec![compact, agents, without_steps(DISARM, disarm)]
}

fn without_steps(name: &str, status: Status) -> PhaseView {
    PhaseView {
        name: name.to_owned(),
        strategy: Strategy::Serial,
        status,
        waiting: None,
        steps: Vec::new(),
    }
}

fn step_view(
    model: &Model,
    waiting: &BTreeMap<PodIndex, WaitingReason>,
    round: &Round,
    index: PodIndex,
    step: &Step,
) -> StepView {
    let overrides = &model.record.overrides;
    let has_failed = step.failures.in_a_row > 0;
    let interrupted = interruption(model, &PlanPart::step(PLAN, index)).is_some();
    let status = match step.stage {
        Stage::Done { .. } => Status::Complete,
        Stage::Begun { .. } => Status::Starting,
        // Passed over.
        Stage::Pending if round.end.as_ref().is_some_and(|end| end.why.is_none()) => {
            Status::Complete
        }
        Stage::Pending if overrides.is_forced(PLAN, index) => Status::Complete,
        Stage::Pending if has_failed && round.end.is_some() => Status::Error,
        Stage::Pending if has_failed => Status::Delayed,
        Stage::Pending if interrupted => Status::Waiting,
        Stage::Pending => Status::Pending,
    };
    let is_open = round.end.is_none() && status != Status::Complete;
    let said = waiting.get(&index).filter(|_| is_open).cloned();
    view(index, status, said)
}

fn view(pod: PodIndex, status: Status, waiting: Option<WaitingReason>) -> StepView {
    StepView {
        pod,
        name: step_name(pod),
        status,
        waiting,
    }
}
