//! The SDK's plan commands: what each does to the record, and when there is
//! nothing to do.
//!
//! | command | what it does |
//! |---|---|
//! | `interrupt` | nothing new is begun in this part |
//! | `continue` | ends the interruption, or approves the next stage of a canary |
//! | `restart` | brings the part's pods up anew (running ones are restarted in place, one at a time and never at the cost of quorum; failed ones without back-off), and ends its interruption |
//! | `forceComplete` | nobody waits for the part's steps any more (see [`crate::overrides`]) |
//! | `start` | `restart` if the plan is complete, then `continue` |
//! | `stop` | `interrupt`, then `restart`: it begins anew when it is started |

use std::collections::BTreeMap;
use std::fmt;

use etcd_launch::PodIndex;

use crate::holding;
use crate::maintenance::{self, MaintenanceRequest};
use crate::model::Model;
use crate::overrides::{Approval, ForcedStep, PhaseName, PlanName, PlanPart};
use crate::plans::{self, PhaseView, PlanView, Status, StepView};
use crate::record::{AbandonedPlacement, Failures, Record, RollingRestart};
use crate::rolling;
use crate::time::Timestamp;

/// What a plan is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanVerb {
    /// Begin, if need be anew.
    Start,
    /// Begin nothing new, and anew when started.
    Stop,
    /// Go on.
    Continue,
    /// Begin nothing new.
    Interrupt,
    /// Do not wait for it.
    ForceComplete,
    /// Do it again.
    Restart,
}

impl PlanVerb {
    /// All of them.
    pub const ALL: [PlanVerb; 6] = [
        PlanVerb::Start,
        PlanVerb::Stop,
        PlanVerb::Continue,
        PlanVerb::Interrupt,
        PlanVerb::ForceComplete,
        PlanVerb::Restart,
    ];

    /// The word in the API's path.
    pub const fn as_str(self) -> &'static str {
        match self {
            PlanVerb::Start => "start",
            PlanVerb::Stop => "stop",
            PlanVerb::Continue => "continue",
            PlanVerb::Interrupt => "interrupt",
            PlanVerb::ForceComplete => "forceComplete",
            PlanVerb::Restart => "restart",
        }
    }

    /// The verb of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

/// Somebody tells a plan, a phase or a step something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanCommand {
    /// What.
    pub verb: PlanVerb,
    /// To which part.
    pub part: PlanPart,
    /// Who.
    pub by: String,
}

impl fmt::Display for PlanCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), self.part)
    }
}

/// Why a plan command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefusal {
    /// The plan has no such phase now.
    #[error("Phase {0} not found")]
    UnknownPhase(PhaseName),
    /// The phase has no such step.
    #[error("Step {0} not found")]
    UnknownStep(String),
    /// It is as the command wants it already.
    #[error("Command has already been reported or completed")]
    NothingToDo,
}

/// Judges a command by the SDK's rules.
///
/// # Errors
///
/// Why it is not to be carried out. Nothing is changed then.
pub fn judge(model: &Model, command: &PlanCommand) -> Result<(), PlanRefusal> {
    let plan = view(model, command.part.plan);
    let steps = selected_steps(&plan, &command.part)?;
    let (record, part) = (&model.record, &command.part);
    let all = |status: Status| steps.iter().all(|step| step.status == status);
    let is_interrupted = record.overrides.interruption(part).is_some();
    let something_to_do = match command.verb {
        PlanVerb::Start | PlanVerb::Stop => true,
        PlanVerb::Interrupt => {
            let is_canary = part.step.is_none() && part.phase.is_some();
            let waits = is_canary && awaits_approval(model, part);
            !all(Status::Complete) && !is_interrupted && !waits
        }
        PlanVerb::Continue => {
            !held_below(record, part).is_empty()
                || awaits_approval(model, part)
                || record.abandoned.iter().any(|place| is_kept(place, part))
        }
        PlanVerb::ForceComplete => !all(Status::Complete),
        PlanVerb::Restart => {
            let again = steps.iter().any(|step| !is_to_be_done(record, step));
            is_interrupted || again
        }
    };
    if something_to_do {
        Ok(())
    } else {
        Err(PlanRefusal::NothingToDo)
    }
}

/// Carries out a command that was judged. The model's record is to be stored
/// before anyone is told.
pub(crate) fn carry_out(model: &mut Model, command: &PlanCommand, now: Timestamp) {
    let plan = view(model, command.part.plan);
    let part = &command.part;
    let Ok(steps) = selected_steps(&plan, part) else {
        return;
    };
    let pods: Vec<PodIndex> = steps.iter().map(|step| step.pod).collect();
    let is_complete = plan.status == Status::Complete;
    // What is right already is not done again by the other plans.
    let begins_anew = matches!(part.plan, PlanName::Deploy | PlanName::Recovery);
    if part.plan == PlanName::RollingRestart && part.phase.is_none() {
        let asked = &mut model.record.rolling_restart;
        match command.verb {
            PlanVerb::Start | PlanVerb::Restart => {
                let by = command.by.clone();
                *asked = Some(RollingRestart { since: now, by });
                model.record.overrides.plan_completed(part.plan);
                model.record.overrides.forget_forced(part.plan);
                return;
            }
            PlanVerb::Stop => {
                *asked = None;
                return;
            }
            PlanVerb::Continue | PlanVerb::Interrupt | PlanVerb::ForceComplete => {}
        }
    }
    if part.plan == PlanName::Maintenance {
        maintain(&mut model.record, command, &pods, now);
        return;
    }
    match command.verb {
        PlanVerb::Interrupt => model.record.overrides.interrupt(part, &command.by, now),
        PlanVerb::Continue => go_on(model, part),
        PlanVerb::ForceComplete => force(&mut model.record, part.plan, &pods),
        PlanVerb::Restart => {
            restart(&mut model.record, part.plan, &pods);
            model.record.overrides.resume(part);
        }
        PlanVerb::Start => {
            if is_complete && begins_anew {
                restart(&mut model.record, part.plan, &pods);
            }
            go_on(model, part);
        }
        PlanVerb::Stop => {
            model.record.overrides.interrupt(part, &command.by, now);
            if begins_anew {
                restart(&mut model.record, part.plan, &pods);
            }
        }
    }
}

/// What is done with databases restarts nobody.
fn maintain(
    record: &mut Record,
    command: &PlanCommand,
    pods: &[PodIndex],
    now: Timestamp,
) {
    let (part, by) = (&command.part, &command.by);
    match command.verb {
        PlanVerb::Interrupt => record.overrides.interrupt(part, by, now),
        PlanVerb::Continue => {
            for part in held_below(record, part) {
                record.overrides.resume(&part);
            }
        }
        PlanVerb::ForceComplete => {
            let plan = part.plan;
            let steps = pods.iter().map(|pod| ForcedStep { plan, pod: *pod });
            record.overrides.forced.extend(steps);
            if part.step.is_none() {
                maintenance::stop(record);
            }
        }
        PlanVerb::Restart => {
            maintenance::begin_anew(record, part, by, now);
            record.overrides.resume(part);
        }
        PlanVerb::Start => {
            let request = MaintenanceRequest {
                pod: None,
                keep_revisions: None,
                by: by.clone(),
            };
            maintenance::ask(record, &request, now);
            record.overrides.plan_completed(part.plan);
        }
        PlanVerb::Stop => maintenance::stop(record),
    }
}

fn view(model: &Model, plan: PlanName) -> PlanView {
    plans::plan(model, &BTreeMap::new(), plan)
}

/// The steps that a command is about.
fn selected_steps<'a>(
    plan: &'a PlanView,
    part: &PlanPart,
) -> Result<Vec<&'a StepView>, PlanRefusal> {
    let phases: Vec<&PhaseView> = plan
        .phases
        .iter()
        .filter(|view| part.phase.as_ref().is_none_or(|phase| view.name == phase.0))
        .collect();
    if let (Some(phase), true) = (&part.phase, phases.is_empty()) {
        return Err(PlanRefusal::UnknownPhase(phase.clone()));
    }
    let steps: Vec<&StepView> = phases
        .into_iter()
        .flat_map(|phase| &phase.steps)
        .filter(|view| part.step.is_none_or(|step| view.pod == step))
        .collect();
    match part.step {
        Some(step) if steps.is_empty() => {
            Err(PlanRefusal::UnknownStep(plans::step_name(step)))
        }
        _ => Ok(steps),
    }
}

/// Whether the step is to be done from its beginning anyway, without a pause for
/// failures.
fn is_to_be_done(record: &Record, step: &StepView) -> bool {
    let failed = record
        .pods
        .get(&step.pod)
        .is_some_and(|pod| pod.failures.in_a_row > 0);
    step.status == Status::Pending && !failed
}

/// The interruptions of the part itself, or if there are none, of what lies in
/// it: the widest first.
fn held_below(record: &Record, part: &PlanPart) -> Vec<PlanPart> {
    let overrides = &record.overrides;
    if overrides.interruption(part).is_some() {
        return vec![part.clone()];
    }
    let within = |found: &PlanPart| {
        found.plan == part.plan
            && (part.phase.is_none() || found.phase == part.phase)
            && (part.step.is_none() || found.step == part.step)
    };
    let inside = || {
        let parts = overrides.interruptions.iter().map(|found| &found.at);
        parts.filter(|found| within(found))
    };
    let phases: Vec<PlanPart> = inside()
        .filter(|found| found.step.is_none())
        .cloned()
        .collect();
    if phases.is_empty() {
        inside().cloned().collect()
    } else {
        phases
    }
}

/// Whether a canary in this part waits for an operator.
fn awaits_approval(model: &Model, part: &PlanPart) -> bool {
    part.step.is_none()
        && match part.plan {
            PlanName::Deploy => holding::awaits_approval(&model.record, &model.target),
            PlanName::Update => rolling::awaits_approval(model, &model.record),
            PlanName::Recovery
            | PlanName::RollingRestart
            | PlanName::Decommission
            | PlanName::Maintenance => false,
        }
}

/// Whether a place is one that this part of a plan keeps until it is continued.
fn is_kept(place: &AbandonedPlacement, part: &PlanPart) -> bool {
    place.awaits_approval && part.contains(PlanName::Decommission, place.pod)
}

/// Ends the widest thing that holds this part back.
fn go_on(model: &mut Model, part: &PlanPart) {
    let held = held_below(&model.record, part);
    let overrides = &mut model.record.overrides;
    for part in &held {
        overrides.resume(part);
    }
    if !held.is_empty() {
        return;
    }
    for place in &mut model.record.abandoned {
        if is_kept(place, part) {
            place.awaits_approval = false;
            place.can_be_missed = true;
        }
    }
    if awaits_approval(model, part) && part.plan == PlanName::Update {
        model.record.overrides.update_approved = Some(model.target_id.clone());
    } else if awaits_approval(model, part) {
        let approved = &mut model.record.overrides.approved;
        *approved = match approved {
            Approval::Nothing => Approval::First,
            Approval::First | Approval::All => Approval::All,
        };
    }
}

fn force(record: &mut Record, plan: PlanName, pods: &[PodIndex]) {
    for pod in pods {
        record
            .overrides
            .forced
            .insert(ForcedStep { plan, pod: *pod });
        // A restart that has not begun is not waited for, so it is not done.
        if let Some(pod) = record.pods.get_mut(pod) {
            let begun = pod
                .launch
                .as_ref()
                .is_some_and(|launch| launch.stop_asked.is_some());
            pod.restart_asked &= begun;
        }
    }
}

fn restart(record: &mut Record, plan: PlanName, pods: &[PodIndex]) {
    for index in pods {
        record
            .overrides
            .forced
            .remove(&ForcedStep { plan, pod: *index });
        let Some(pod) = record.pods.get_mut(index) else {
            continue;
        };
        if plan == PlanName::Decommission {
            continue;
        }
        if plan == PlanName::Deploy {
            pod.deployed = false;
        }
        pod.failures = Failures::default();
        if plan == PlanName::Update {
            // Once more with the present target; what is right already stays.
            if pod.kept_back.take().is_none_or(|kept| kept.went_back) {
                continue;
            }
        }
        pod.restart_asked = pod
            .launch
            .as_ref()
            .is_some_and(|launch| launch.end.is_none());
    }
}
