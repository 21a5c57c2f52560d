//! Commands to plans, phases and steps, with the SDK's words and codes.
//!
//! `interrupt` and `continue` take a `step` as well, which the SDK has not.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use etcd_api::{Message, PhaseInfo};
use etcd_launch::PodIndex;
use etcd_planner::overrides::{PhaseName, PlanName, PlanPart};
use etcd_planner::plan_commands::{PlanRefusal, PlanVerb};
use etcd_planner::plans::PlanView;

use super::plans::{DEPLOY, not_found, plan_info};
use super::{ApiState, answer, asking};
use crate::commands::{Actor, Command, CommandRefusal};
use crate::published::Published;

/// The query of a plan command.
#[derive(Debug, Deserialize)]
pub(super) struct Selection {
    phase: Option<String>,
    step: Option<String>,
}

/// One command, as it came.
struct Asked<'a> {
    plan: &'a str,
    word: &'a str,
    selection: &'a Selection,
    body: &'a [u8],
}

pub(super) async fn command(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path((plan, word)): Path<(String, String)>,
    Query(selection): Query<Selection>,
    body: Bytes,
) -> Response {
    let asked = Asked {
        plan: &plan,
        word: &word,
        selection: &selection,
        body: &body,
    };
    take(&state, by, &asked).await
}

pub(super) async fn command_deploy(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path(word): Path<String>,
    Query(selection): Query<Selection>,
    body: Bytes,
) -> Response {
    let asked = Asked {
        plan: DEPLOY,
        word: &word,
        selection: &selection,
        body: &body,
    };
    take(&state, by, &asked).await
}

async fn take(state: &ApiState, by: Actor, asked: &Asked<'_>) -> Response {
    let (verb, part, message) = match understand(&state.published(), asked) {
        Ok(understood) => understood,
        Err(response) => return *response,
    };
    let command = Command::TellPlan { verb, part };
    match asking::ask_loop(state, by, command).await {
        Ok(Ok(())) => answer::ok(&Message { message }),
        Ok(Err(CommandRefusal::Plan(refusal))) => {
            let status = match refusal {
                PlanRefusal::NothingToDo => StatusCode::ALREADY_REPORTED,
                PlanRefusal::UnknownPhase(_) | PlanRefusal::UnknownStep(_) => {
                    StatusCode::NOT_FOUND
                }
            };
            answer::text(status, refusal.to_string())
        }
        Ok(Err(refusal)) => {
            answer::problem(StatusCode::CONFLICT, "not_now", &refusal.to_string())
        }
        Err(response) => *response,
    }
}

/// What is wanted of which part, and what is answered when it is taken. Errors
/// are answers, too.
fn understand(
    published: &Published,
    asked: &Asked<'_>,
) -> Result<(PlanVerb, PlanPart, String), Box<Response>> {
    let Some(verb) = PlanVerb::parse(asked.word) else {
        let words = PlanVerb::ALL.map(PlanVerb::as_str).join(", ");
        return Err(Box::new(answer::problem(
            StatusCode::NOT_FOUND,
            "not_found",
            &format!("plan commands are {words}"),
        )));
    };
    let found = published.plan(asked.plan);
    let Some((view, plan)) =
        found.and_then(|view| Some((view, PlanName::parse(view.name)?)))
    else {
        return Err(Box::new(not_found("Plan", asked.plan)));
    };
    let part = selected(&published.target.service, view, plan, asked.selection)?;
    let message = match verb {
        PlanVerb::Start => {
            let parameters = parameters(asked.body)?;
            format!("start {} with parameters: {parameters}", asked.plan)
        }
        PlanVerb::Restart | PlanVerb::ForceComplete => {
            let null = || "null".to_owned();
            format!(
                "{} for Plan: {}, Phase: {}, Step: {}",
                verb.as_str(),
                asked.plan,
                asked.selection.phase.clone().unwrap_or_else(null),
                asked.selection.step.clone().unwrap_or_else(null),
            )
        }
        PlanVerb::Stop | PlanVerb::Continue | PlanVerb::Interrupt => {
            verb.as_str().to_owned()
        }
    };
    // The SDK starts and stops whole plans.
    let part = match verb {
        PlanVerb::Start | PlanVerb::Stop => PlanPart::plan(plan),
        _ => part,
    };
    Ok((verb, part, format!("Received cmd: {message}")))
}

/// The part of a plan that phase and step name, by name or by id.
fn selected(
    service: &str,
    view: &PlanView,
    plan: PlanName,
    selection: &Selection,
) -> Result<PlanPart, Box<Response>> {
    let Some(wanted) = &selection.phase else {
        return match &selection.step {
            None => Ok(PlanPart::plan(plan)),
            Some(_) => Err(bad_request("Missing phase")),
        };
    };
    let info = plan_info(service, view);
    let is_phase = |phase: &PhaseInfo| phase.name == *wanted || phase.id == *wanted;
    let Some(place) = info.phases.iter().position(is_phase) else {
        return Err(Box::new(not_found("Phase", wanted)));
    };
    let pod = match &selection.step {
        None => None,
        Some(step) => Some(
            step_of(&info.phases[place], view, place, step)
                .ok_or_else(|| Box::new(not_found("Step", step)))?,
        ),
    };
    Ok(PlanPart {
        plan,
        phase: Some(PhaseName(info.phases[place].name.clone())),
        step: pod,
    })
}

fn step_of(
    phase: &PhaseInfo,
    view: &PlanView,
    place: usize,
    wanted: &str,
) -> Option<PodIndex> {
    let mut steps = phase.steps.iter().zip(&view.phases.get(place)?.steps);
    steps
        .find(|(info, _)| info.name == wanted || info.id == wanted)
        .map(|(_, step)| step.pod)
}

fn bad_request(why: &str) -> Box<Response> {
    Box::new(answer::text(StatusCode::BAD_REQUEST, why))
}

/// The parameters of a start, as the SDK's answer repeats them. No plan of ours
/// takes any, and to drop some in silence would be worse than to refuse them.
fn parameters(body: &[u8]) -> Result<String, Box<Response>> {
    check_parameters(body)
        .map(|()| "{}".to_owned())
        .map_err(|why| bad_request(&format!("Couldn't parse parameters: {why}")))
}

/// The SDK's rule for parameters: a JSON object of environment variables.
fn check_parameters(body: &[u8]) -> Result<(), String> {
    if body.is_empty() {
        return Ok(());
    }
    let parameters: BTreeMap<String, String> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if let Some(name) = parameters.keys().find(|name| !is_variable_name(name)) {
        return Err(format!("{name} is not a valid environment variable name"));
    }
    match parameters.keys().next() {
        None => Ok(()),
        Some(name) => Err(format!("{name} is given, and this plan takes none")),
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
        check(r#"{"NAME": "x"}"#, Err("this plan takes none"));
        check(
            r#"{"1X": "x"}"#,
            Err("1X is not a valid environment variable name"),
        );
        check(r#"{"": "x"}"#, Err("is not a valid"));
        check("[]", Err("invalid type"));
        check("{", Err("EOF"));
    }
}
