//! `/v1/plans` and its old alias `/v1/plan`: how plans are shown.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use etcd_api::{PhaseInfo, PlanInfo, StepInfo};
use etcd_planner::plans::{PhaseView, PlanView, Status, StepView};

use super::routes::Routes;
use super::{ApiState, answer, plan_commands};
use crate::published::Published;
use crate::stable_uuid;

/// The plan that the SDK's deprecated `/v1/plan` means.
pub(super) const DEPLOY: &str = "deploy";

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/v1/plans", list)
        .get("/v1/plans/{plan}", show)
        .post("/v1/plans/{plan}/{command}", plan_commands::command)
        .get("/v1/plan", show_deploy)
        .post("/v1/plan/{command}", plan_commands::command_deploy)
}

async fn list(State(state): State<ApiState>) -> Response {
    let published = state.published();
    let mut names: Vec<&str> = published.plans.iter().map(|plan| plan.name).collect();
    names.sort_unstable();
    answer::ok(&names)
}

async fn show(State(state): State<ApiState>, Path(plan): Path<String>) -> Response {
    show_plan(&state.published(), &plan)
}

async fn show_deploy(State(state): State<ApiState>) -> Response {
    show_plan(&state.published(), DEPLOY)
}

fn show_plan(published: &Published, name: &str) -> Response {
    let Some(plan) = published.plan(name) else {
        return not_found("Plan", name);
    };
    let status = if !plan.errors.is_empty() || plan.status == Status::Error {
        StatusCode::EXPECTATION_FAILED
    } else if plan.status == Status::Complete {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    answer::json(status, &plan_info(&published.target.service, plan))
}

pub(super) fn not_found(kind: &str, name: &str) -> Response {
    answer::text(StatusCode::NOT_FOUND, format!("{kind} {name} not found"))
}

/// A plan as the SDK writes it.
pub(super) fn plan_info(service: &str, plan: &PlanView) -> PlanInfo {
    PlanInfo {
        phases: plan
            .phases
            .iter()
            .map(|phase| phase_info(service, plan.name, phase))
            .collect(),
        errors: plan.errors.clone(),
        strategy: plan.strategy.as_str().to_owned(),
        status: plan.status.as_str().to_owned(),
        waiting: plan.waiting.as_ref().map(ToString::to_string),
    }
}

fn phase_info(service: &str, plan: &str, phase: &PhaseView) -> PhaseInfo {
    PhaseInfo {
        id: stable_uuid::from_names(&[service, plan, &phase.name]),
        name: phase.name.clone(),
        steps: phase
            .steps
            .iter()
            .map(|step| step_info(service, plan, &phase.name, step))
            .collect(),
        strategy: phase.strategy.as_str().to_owned(),
        status: phase.status.as_str().to_owned(),
        waiting: phase.waiting.as_ref().map(ToString::to_string),
    }
}

fn step_info(service: &str, plan: &str, phase: &str, step: &StepView) -> StepInfo {
    let id = stable_uuid::from_names(&[service, plan, phase, &step.name]);
    let status = step.status.as_str();
    let mut message = format!("{} [{id}] with status: {status}", step.name);
    if let Some(reason) = &step.waiting {
        message.push_str(&format!("; waits: {reason}"));
    }
    StepInfo {
        id,
        status: status.to_owned(),
        name: step.name.clone(),
        message,
        waiting: step.waiting.as_ref().map(ToString::to_string),
    }
}
