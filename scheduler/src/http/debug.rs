//! `/v1/debug`: how the scheduler sees plans, tasks, reservations and offers.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use etcd_api::debug::{
    DebugPhase, DebugPlan, DebugPlans, DebugStep, ElementKind, InvalidInput, PhaseTasks,
    PlanTasks, Reservations, SchedulerState, StepTask, StepTasks, TopologyElement,
};
use etcd_planner::plans::{PhaseView, PlanView, Status, StepView};

use super::routes::Routes;
use super::{ApiState, answer};
use crate::published::Published;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/v1/debug/plans", plans)
        .get("/v1/debug/taskStatuses", task_statuses)
        .get("/v1/debug/reservations", reservations)
        .get("/v2/debug/offers", offers)
        // The SDK's first version answered with a page; its second is what
        // programs read, and they get it under both paths.
        .get("/v1/debug/offers", offers)
}

/// Which part of the plans is asked for. The SDK's `sync` is taken and ignored:
/// answers are never older than the event loop's newest turn.
#[derive(Debug, Default, Deserialize)]
struct Selection {
    plan: Option<String>,
    phase: Option<String>,
    step: Option<String>,
}

/// A plan and those of its phases that were asked for, each with those of its
/// steps.
struct Selected<'a> {
    plan: &'a PlanView,
    phases: Vec<(&'a PhaseView, Vec<&'a StepView>)>,
}

impl Selection {
    /// What was asked for, or why it is nothing.
    fn of<'a>(&self, published: &'a Published) -> Result<Vec<Selected<'a>>, String> {
        if self.phase.is_some() && self.plan.is_none() {
            return Err("a phase is asked for without a plan".to_owned());
        }
        if self.step.is_some() && self.phase.is_none() {
            return Err("a step is asked for without a phase".to_owned());
        }
        let fits = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        let selected: Vec<Selected<'a>> = published
            .plans
            .iter()
            .filter(|plan| fits(&self.plan, plan.name))
            .map(|plan| Selected {
                plan,
                phases: plan
                    .phases
                    .iter()
                    .filter(|phase| fits(&self.phase, &phase.name))
                    .map(|phase| {
                        let steps = phase.steps.iter();
                        let steps = steps.filter(|step| fits(&self.step, &step.name));
                        (phase, steps.collect())
                    })
                    .collect(),
            })
            .collect();
        self.check(&selected)?;
        Ok(selected)
    }

    fn check(&self, selected: &[Selected<'_>]) -> Result<(), String> {
        let mut phases = selected.iter().flat_map(|selected| &selected.phases);
        if let (Some(plan), true) = (&self.plan, selected.is_empty()) {
            return Err(format!("there is no plan {plan}"));
        }
        if let (Some(phase), None) = (&self.phase, phases.clone().next()) {
            return Err(format!("the plan has no phase {phase}"));
        }
        if let (Some(step), true) =
            (&self.step, phases.all(|(_, steps)| steps.is_empty()))
        {
            return Err(format!("the phase has no step {step}"));
        }
        Ok(())
    }
}

async fn plans(
    State(state): State<ApiState>,
    Query(selection): Query<Selection>,
) -> Response {
    let published = state.published();
    match selection.of(&published) {
        Ok(selected) => answer::ok(&DebugPlans {
            scheduler_state: scheduler_state(&published),
            active_plans: published
                .plans
                .iter()
                .filter(|plan| plan.is_active())
                .map(|plan| plan.name.to_owned())
                .collect(),
            plans: selected.iter().map(debug_plan).collect(),
            service_topology: published.plans.iter().map(topology).collect(),
        }),
        Err(invalid_input) => answer::ok(&InvalidInput { invalid_input }),
    }
}

async fn task_statuses(
    State(state): State<ApiState>,
    Query(selection): Query<Selection>,
) -> Response {
    let published = state.published();
    match selection.of(&published) {
        Ok(selected) => {
            let plans: Vec<PlanTasks> = selected
                .iter()
                .map(|selected| plan_tasks(&published, selected))
                .collect();
            answer::ok(&plans)
        }
        Err(invalid_input) => answer::ok(&InvalidInput { invalid_input }),
    }
}

async fn reservations(State(state): State<ApiState>) -> Response {
    let published = state.published();
    let record = &published.record;
    let in_use = record
        .pods
        .values()
        .filter_map(|pod| pod.placement.as_ref());
    let left = record.abandoned.iter().map(|left| &left.placement);
    let mut by_host = Reservations::new();
    for placement in in_use.chain(left) {
        by_host
            .entry(placement.hostname.0.clone())
            .or_default()
            .push(placement.reservation_id.0.clone());
    }
    answer::ok(&by_host)
}

async fn offers(State(state): State<ApiState>) -> Response {
    answer::ok(&state.offer_history.shown())
}

/// The SDK's word for what the scheduler is busy with, the most telling one.
fn scheduler_state(published: &Published) -> SchedulerState {
    let busy = |name: &str| {
        published
            .plan(name)
            .is_some_and(|plan| plan.status != Status::Complete)
    };
    if busy("decommission") {
        SchedulerState::Decommissioning
    } else if busy("recovery") {
        SchedulerState::Recovering
    } else if busy("deploy") {
        SchedulerState::Deploying
    } else {
        SchedulerState::Deployed
    }
}

fn debug_plan(selected: &Selected<'_>) -> DebugPlan {
    let plan = selected.plan;
    let steps = || plan.phases.iter().flat_map(|phase| &phase.steps);
    DebugPlan {
        name: plan.name.to_owned(),
        status: plan.status.as_str().to_owned(),
        strategy: plan.strategy.as_str().to_owned(),
        phases: selected
            .phases
            .iter()
            .map(|(phase, steps)| DebugPhase {
                name: phase.name.clone(),
                status: phase.status.as_str().to_owned(),
                strategy: phase.strategy.as_str().to_owned(),
                steps: steps.iter().map(|step| debug_step(step)).collect(),
            })
            .collect(),
        total_steps: steps().count(),
        completed_steps: steps()
            .filter(|step| step.status == Status::Complete)
            .count(),
    }
}

fn debug_step(step: &StepView) -> DebugStep {
    DebugStep {
        name: step.name.clone(),
        status: step.status.as_str().to_owned(),
        errors: step.waiting.iter().map(ToString::to_string).collect(),
    }
}

fn topology(plan: &PlanView) -> TopologyElement {
    let element = |name: &str, kind, children| TopologyElement {
        name: name.to_owned(),
        kind,
        children,
    };
    let phases = plan.phases.iter().map(|phase| {
        let steps = phase.steps.iter();
        let steps = steps.map(|step| element(&step.name, ElementKind::Step, None));
        element(&phase.name, ElementKind::Phase, Some(steps.collect()))
    });
    element(plan.name, ElementKind::Plan, Some(phases.collect()))
}

fn plan_tasks(published: &Published, selected: &Selected<'_>) -> PlanTasks {
    PlanTasks {
        name: selected.plan.name.to_owned(),
        phases: selected
            .phases
            .iter()
            .map(|(phase, steps)| PhaseTasks {
                name: phase.name.clone(),
                steps: steps
                    .iter()
                    .map(|step| step_tasks(published, step))
                    .collect(),
            })
            .collect(),
    }
}

fn step_tasks(published: &Published, step: &StepView) -> StepTasks {
    let launch = published
        .record
        .pods
        .get(&step.pod)
        .and_then(|pod| pod.launch.as_ref());
    StepTasks {
        name: step.name.clone(),
        task_status: vec![StepTask {
            name: step.pod.task_name(),
            task_id: launch.map(|launch| launch.task_id.0.clone()),
            task_status: published.task_state(step.pod).map(str::to_owned),
        }],
    }
}
