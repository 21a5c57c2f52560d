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
    let (command, message) = match understand(&state.published(), asked) {
        Ok(understood) => understood,
        Err(response) => return *response,
    };
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
        Ok(Err(refusal @ CommandRefusal::UnknownPod(_))) => {
            answer::text(StatusCode::NOT_FOUND, refusal.to_string())
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
) -> Result<(Command, String), Box<Response>> {
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
    let mut asks_for = None;
    let message = match verb {
        PlanVerb::Start => {
            let (found, parameters) = parameters(plan, asked.body)?;
            asks_for = found;
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
    let command = asks_for.unwrap_or(Command::TellPlan { verb, part });
    Ok((command, format!("Received cmd: {message}")))
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

/// What the parameters of a start ask for, where they ask for something, and the
/// parameters as the SDK's answer repeats them.
fn parameters(
    plan: PlanName,
    body: &[u8],
) -> Result<(Option<Command>, String), Box<Response>> {
    let bad = |why: String| bad_request(&format!("Couldn't parse parameters: {why}"));
    let parameters = read_parameters(body).map_err(bad)?;
    // Plain data with string keys.
    let repeated = serde_json::to_string(&parameters).unwrap_or_default();
    let command = match plan {
        PlanName::Maintenance => Some(maintenance(parameters).map_err(bad)?),
        _ => {
            takes_no_more(&parameters).map_err(bad)?;
            None
        }
    };
    Ok((command, repeated))
}

/// The SDK's rule for parameters: a JSON object of environment variables.
fn read_parameters(body: &[u8]) -> Result<BTreeMap<String, String>, String> {
    if body.is_empty() {
        return Ok(BTreeMap::new());
    }
    let parameters: BTreeMap<String, String> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match parameters.keys().find(|name| !is_variable_name(name)) {
        Some(name) => Err(format!("{name} is not a valid environment variable name")),
        None => Ok(parameters),
    }
}

/// To drop parameters in silence would be worse than to refuse them.
fn takes_no_more(parameters: &BTreeMap<String, String>) -> Result<(), String> {
    match parameters.keys().next() {
        None => Ok(()),
        Some(name) => Err(format!("{name} is given, and this plan does not take it")),
    }
}

/// What the plan `maintenance` is to do: `POD`, `FREE_SPACE` and `KEEP_REVISIONS`.
fn maintenance(mut parameters: BTreeMap<String, String>) -> Result<Command, String> {
    let pod = parameters.remove("POD").map(|name| {
        let pod: Result<PodIndex, _> = name.parse();
        pod.map_err(|_| format!("POD is {name:?}, which is no pod, such as etcd-0"))
    });
    let frees_space = match parameters.remove("FREE_SPACE").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(word) => return Err(format!("FREE_SPACE is {word:?}; true or false")),
    };
    let keep = parameters.remove("KEEP_REVISIONS").map(|text| {
        let count: Result<u64, _> = text.parse();
        count.map_err(|_| format!("KEEP_REVISIONS is {text:?}, which is no number"))
    });
    let keep = keep.transpose()?;
    takes_no_more(&parameters)?;
    if keep.is_some() && !frees_space {
        return Err("KEEP_REVISIONS goes with FREE_SPACE=true".to_owned());
    }
    Ok(Command::Maintain {
        pod: pod.transpose()?,
        keep_revisions: frees_space.then(|| keep.unwrap_or(0)),
    })
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
            let found = read_parameters(body.as_bytes())
                .and_then(|parameters| takes_no_more(&parameters));
            match expected {
                Ok(()) => assert_eq!(found, Ok(()), "{body}"),
                Err(words) => {
                    assert!(found.unwrap_err().contains(words), "{body}");
                }
            }
        }
        check("", Ok(()));
        check("{}", Ok(()));
        check(r#"{"NAME": "x"}"#, Err("this plan does not take it"));
        check(
            r#"{"1X": "x"}"#,
            Err("1X is not a valid environment variable name"),
        );
        check(r#"{"": "x"}"#, Err("is not a valid"));
        check("[]", Err("invalid type"));
        check("{", Err("EOF"));
    }

    #[test]
    fn parameters_of_maintenance() {
        #[track_caller]
        fn check(body: &str, expected: &str) {
            let found = read_parameters(body.as_bytes()).and_then(maintenance);
            let found = found.map_or_else(|why| why, |command| command.to_string());
            assert_eq!(found, expected, "{body}");
        }
        check("", "defragment every member");
        check(r#"{"POD": "etcd-1"}"#, "defragment etcd-1");
        check(
            r#"{"FREE_SPACE": "true"}"#,
            "free space, keeping 0 revisions",
        );
        check(
            r#"{"FREE_SPACE": "true", "KEEP_REVISIONS": "100"}"#,
            "free space, keeping 100 revisions",
        );
        check(r#"{"FREE_SPACE": "false"}"#, "defragment every member");
        check(
            r#"{"POD": "1"}"#,
            "POD is \"1\", which is no pod, such as etcd-0",
        );
        check(
            r#"{"FREE_SPACE": "yes"}"#,
            "FREE_SPACE is \"yes\"; true or false",
        );
        check(
            r#"{"FREE_SPACE": "true", "KEEP_REVISIONS": "-1"}"#,
            "KEEP_REVISIONS is \"-1\", which is no number",
        );
        check(
            r#"{"KEEP_REVISIONS": "1"}"#,
            "KEEP_REVISIONS goes with FREE_SPACE=true",
        );
        check(
            r#"{"FREE": "true"}"#,
            "FREE is given, and this plan does not take it",
        );
    }
}
