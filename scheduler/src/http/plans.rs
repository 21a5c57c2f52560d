//! `/v1/plans` and its old alias `/v1/plan`.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use etcd_api::{PhaseInfo, PlanInfo, StepInfo};
use etcd_planner::plans::{PhaseView, PlanView, Status, StepView};

use super::routes::Routes;
use super::{ApiState, answer};
use crate::published::Published;
use crate::stable_uuid;

/// The plan that the SDK's deprecated `/v1/plan` means.
const DEPLOY: &str = "deploy";

/// During an update, `deploy` shows the update's phases; this is its alias.
const UPDATE: &str = "update";

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/v1/plans", list)
        .get("/v1/plans/{plan}", show)
        .post("/v1/plans/{plan}/{command}", command)
        .get("/v1/plan", show_deploy)
        .post("/v1/plan/{command}", command_deploy)
}

/// The query of a plan command.
#[derive(Debug, Deserialize)]
struct Selection {
    phase: Option<String>,
    step: Option<String>,
}

/// The SDK's plan commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlanCommand {
    Start,
    Stop,
    Continue,
    Interrupt,
    ForceComplete,
    Restart,
}

impl PlanCommand {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "start" => PlanCommand::Start,
            "stop" => PlanCommand::Stop,
            "continue" => PlanCommand::Continue,
            "interrupt" => PlanCommand::Interrupt,
            "forceComplete" => PlanCommand::ForceComplete,
            "restart" => PlanCommand::Restart,
            _ => return None,
        })
    }
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

async fn command(
    State(state): State<ApiState>,
    Path((plan, command)): Path<(String, String)>,
    Query(selection): Query<Selection>,
    body: Bytes,
) -> Response {
    take_command(&state.published(), &plan, &command, &selection, &body)
}

async fn command_deploy(
    State(state): State<ApiState>,
    Path(command): Path<String>,
    Query(selection): Query<Selection>,
    body: Bytes,
) -> Response {
    take_command(&state.published(), DEPLOY, &command, &selection, &body)
}

fn find<'a>(published: &'a Published, name: &str) -> Option<&'a PlanView> {
    published
        .plan(name)
        .or_else(|| published.plan(DEPLOY).filter(|_| name == UPDATE))
}

fn show_plan(published: &Published, name: &str) -> Response {
    let Some(plan) = find(published, name) else {
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

/// Judges a plan command as far as the SDK's answers go. Plans are a view of
/// what the planner does by itself, and none can be paused, forced or started
/// yet; saying so is better than a 200 that does nothing.
fn take_command(
    published: &Published,
    plan_name: &str,
    word: &str,
    selection: &Selection,
    body: &[u8],
) -> Response {
    let Some(command) = PlanCommand::parse(word) else {
        return answer::problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "plan commands are start, stop, continue, interrupt, forceComplete, restart",
        );
    };
    let Some(plan) = find(published, plan_name) else {
        return not_found("Plan", plan_name);
    };
    if let Some(problem) = bad_selection(&published.target.service, plan, selection) {
        return problem;
    }
    if command == PlanCommand::Start
        && let Err(why) = check_parameters(body)
    {
        return answer::text(
            StatusCode::BAD_REQUEST,
            format!("Couldn't parse parameters: {why}"),
        );
    }
    answer::problem(
        StatusCode::NOT_IMPLEMENTED,
        "not_implemented",
        &format!(
            "plans cannot be told to {word} yet; this comes with a later release. \
             Nothing was changed. To restart one member: POST /v1/pod/<pod>/restart"
        ),
    )
}

fn bad_selection(
    service: &str,
    plan: &PlanView,
    selection: &Selection,
) -> Option<Response> {
    let info = plan_info(service, plan);
    let Some(wanted) = &selection.phase else {
        return selection
            .step
            .is_some()
            .then(|| answer::text(StatusCode::BAD_REQUEST, "Missing phase"));
    };
    // Several phases may share a name, so all that fit are looked through.
    let phases: Vec<&PhaseInfo> = info
        .phases
        .iter()
        .filter(|phase| phase.name == *wanted || phase.id == *wanted)
        .collect();
    if phases.is_empty() {
        return Some(not_found("Phase", wanted));
    }
    let step = selection.step.as_ref()?;
    let found = phases
        .iter()
        .flat_map(|phase| &phase.steps)
        .any(|candidate| candidate.name == *step || candidate.id == *step);
    (!found).then(|| not_found("Step", step))
}

/// The SDK's rule for parameters: a JSON object of environment variables.
fn check_parameters(body: &[u8]) -> Result<(), String> {
    if body.is_empty() {
        return Ok(());
    }
    let parameters: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match parameters.keys().find(|name| !is_variable_name(name)) {
        None => Ok(()),
        Some(name) => Err(format!("{name} is not a valid environment variable name")),
    }
}

fn is_variable_name(name: &str) -> bool {
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts_well
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn not_found(kind: &str, name: &str) -> Response {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        #[track_caller]
        fn check(body: &str, expected: Result<(), &str>) {
            let found = check_parameters(body.as_bytes());
            match expected {
                Ok(()) => assert_eq!(found, Ok(()), "{body}"),
                Err(words) => {
                    assert!(found.unwrap_err().contains(words), "{body}");
                }
            }
        }
        check("", Ok(()));
        check("{}", Ok(()));
        check(r#"{"NAME": "x"}"#, Ok(()));
        check(
            r#"{"1X": "x"}"#,
            Err("1X is not a valid environment variable name"),
        );
        check(r#"{"": "x"}"#, Err("is not a valid"));
        check("[]", Err("invalid type"));
        check("{", Err("EOF"));
    }
}
