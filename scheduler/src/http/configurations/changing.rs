//! `PUT /v1/configurations/target`: options changed in a service that runs, and
//! what a change from one configuration to another means.

use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use etcd_api::Problem;
use etcd_api::configurations::{
    ChangeReason, ChangeRefused, ConfigurationDiff, ConfigurationOptions, OptionChange,
    TargetChange,
};
use etcd_config::load::LoadError;
use etcd_config::{Change, Options, changes};
use etcd_launch::PodIndex;
use etcd_planner::record::TargetId;

use crate::commands::{Actor, Command, CommandRefusal};
use crate::http::{ApiState, answer, asking, from_store};
use crate::published::Published;
use crate::store::{StoreError, StoredTarget};
use crate::wanted::{self, NotProposed, Proposal};

/// How often a change without `If-Match` is judged anew because somebody else was
/// faster. More than once or twice would be a fight.
const ATTEMPTS: u32 = 3;

/// The query of a change.
#[derive(Debug, Deserialize)]
pub(super) struct Manner {
    replace: Option<String>,
    dry_run: Option<String>,
}

fn is_on(switch: Option<&String>) -> bool {
    switch.is_some_and(|value| value != "false")
}

/// The id of a configuration, as HTTP names a version.
pub(super) fn etag(id: &TargetId) -> [(HeaderName, HeaderValue); 1] {
    let quoted = format!("\"{}\"", id.0);
    // An id is a UUID, or what a test calls one.
    let value = HeaderValue::from_str(&quoted);
    [(
        header::ETAG,
        value.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
    )]
}

pub(super) async fn put(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Query(manner): Query<Manner>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let dry_run = is_on(manner.dry_run.as_ref());
    if let Some(app) = &state.started.marathon_app
        && !dry_run
    {
        return refused(
            StatusCode::CONFLICT,
            "managed_elsewhere",
            vec![ChangeReason {
                option: None,
                reason: format!(
                    "Marathon runs this scheduler as {app}, so DC/OS keeps its options; use \
                 `dcos etcd update start --options=FILE`"
                ),
            }],
        );
    }
    for _ in 0..ATTEMPTS {
        let published = state.published();
        if !matches(&headers, &published.target_id) {
            return other_target(&published.target_id);
        }
        let replace = is_on(manner.replace.as_ref());
        let proposal = match propose(&state, &published, &body, replace).await {
            Ok(proposal) => proposal,
            Err(response) => return *response,
        };
        if dry_run {
            return changed(&published, &proposal, true);
        }
        match take(&state, &by, &published, &proposal).await {
            Ok(None) => return changed(&published, &proposal, false),
            Ok(Some(present)) if headers.contains_key(header::IF_MATCH) => {
                return other_target(&present);
            }
            // The picture follows the loop within a turn.
            Ok(Some(_)) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            Err(response) => return *response,
        }
    }
    answer::problem(
        StatusCode::CONFLICT,
        "not_now",
        "others change the target at the same time; look at it and try again",
    )
}

/// Whether `If-Match`, if it is there, names this target.
fn matches(headers: &HeaderMap, present: &TargetId) -> bool {
    let mut wanted = headers.get_all(header::IF_MATCH).iter().peekable();
    if wanted.peek().is_none() {
        return true;
    }
    wanted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_matches('"') == present.0)
}

fn other_target(present: &TargetId) -> Response {
    answer::problem(
        StatusCode::PRECONDITION_FAILED,
        "other_target",
        &format!(
            "the target is {} by now; look at what was changed and try again",
            present.0
        ),
    )
}

async fn propose(
    state: &ApiState,
    published: &Published,
    sent: &[u8],
    replace: bool,
) -> Result<Proposal, Box<Response>> {
    let id = published.target_id.clone();
    let Some(present) = from_store(state, move |store| store.target(&id)).await? else {
        return Err(Box::new(not_proposed(&NotProposed::PresentUnknown)));
    };
    let answers = published.probes.values();
    let sizes =
        answers.filter_map(|probe| Some(probe.answer.as_ref().ok()?.db_size_bytes));
    let largest = sizes.max().unwrap_or_default();
    wanted::propose(&state.started, &present, sent, replace)
        .and_then(|proposal| {
            wanted::judge_quota(&proposal, largest)?;
            Ok(proposal)
        })
        .map_err(|why| Box::new(not_proposed(&why)))
}

fn not_proposed(why: &NotProposed) -> Response {
    let reasons: Vec<ChangeReason> = match why {
        NotProposed::NotUnderstood(errors) => errors.0.iter().map(misread).collect(),
        NotProposed::Refused(refusals) => refusals
            .iter()
            .map(|refusal| ChangeReason {
                option: Some(refusal.option.to_owned()),
                reason: refusal.to_string(),
            })
            .collect(),
        NotProposed::PresentUnknown => vec![ChangeReason {
            option: None,
            reason: why.to_string(),
        }],
    };
    match why {
        NotProposed::NotUnderstood(_) => {
            refused(StatusCode::BAD_REQUEST, "not_understood", reasons)
        }
        NotProposed::Refused(refusals)
            if refusals.iter().all(|refusal| refusal.from.is_none()) =>
        {
            refused(StatusCode::BAD_REQUEST, "refused", reasons)
        }
        _ => refused(StatusCode::CONFLICT, "refused", reasons),
    }
}

fn misread(error: &LoadError) -> ChangeReason {
    let option = match error {
        LoadError::NotASection { section: name, .. }
        | LoadError::GivenTwice { option: name, .. }
        | LoadError::Unknown { option: name, .. } => Some(name.clone()),
        LoadError::Refused { option, .. } => Some((*option).to_owned()),
        _ => None,
    };
    let reason = error.to_string();
    ChangeReason { option, reason }
}

fn refused(status: StatusCode, code: &str, reasons: Vec<ChangeReason>) -> Response {
    let lines: Vec<&str> = reasons.iter().map(|it| it.reason.as_str()).collect();
    let body = ChangeRefused {
        code: code.to_owned(),
        message: lines.join("\n"),
        reasons,
    };
    answer::json(status, &body)
}

/// Stores the new target and has the loop go on under it. The present target, if
/// that is another one than was judged against.
async fn take(
    state: &ApiState,
    by: &Actor,
    published: &Published,
    proposal: &Proposal,
) -> Result<Option<TargetId>, Box<Response>> {
    let wanted = proposal.wanted.clone();
    let id = wanted.id();
    if id == published.target_id {
        return Ok(None);
    }
    let target = Box::new(wanted.target.clone());
    let key = id.clone();
    from_store(state, move |store| store.put_target(&key, &wanted)).await?;
    let command = Command::ChangeTarget {
        from: published.target_id.clone(),
        id,
        target,
    };
    match asking::ask_loop(state, by.clone(), command).await? {
        Ok(()) => {}
        Err(CommandRefusal::OtherTarget(present)) => return Ok(Some(present)),
        Err(refusal) => {
            return Err(Box::new(answer::problem(
                StatusCode::CONFLICT,
                "not_now",
                &refusal.to_string(),
            )));
        }
    }
    // What this start asked for is overtaken, even if it was refused.
    let given = state.started.given.to_json();
    from_store(state, move |store| store.put_start_options(&given)).await?;
    Ok(None)
}

fn changed(published: &Published, proposal: &Proposal, dry_run: bool) -> Response {
    let id = proposal.wanted.id();
    let restarts_members = restarts(&proposal.changes);
    let body = TargetChange {
        target_id: id.0.clone(),
        previous_id: published.target_id.0.clone(),
        dry_run,
        changes: proposal.changes.iter().map(option_change).collect(),
        restarts_members,
        order: if restarts_members {
            order(published)
        } else {
            Vec::new()
        },
        warnings: proposal.warnings.iter().map(ToString::to_string).collect(),
    };
    let holds = if dry_run { &published.target_id } else { &id };
    answer::with_headers(answer::ok(&body), etag(holds))
}

fn restarts(changes: &[Change]) -> bool {
    changes.iter().any(|change| change.class.restarts_members())
}

fn option_change(change: &Change) -> OptionChange {
    OptionChange {
        option: change.option.to_owned(),
        from: change.from.to_json(),
        to: change.to.to_json(),
        class: change.class.as_str().to_owned(),
        meaning: change.class.to_string(),
    }
}

/// Members in the order in which a change goes through them, as they are now.
fn order(published: &Published) -> Vec<String> {
    let leads = |pod: &PodIndex| {
        let enrolled = published.record.pods.get(pod);
        let member = enrolled.and_then(|pod| pod.membership.enrolled());
        member.is_some_and(|member| Some(member.member_id) == published.leader)
    };
    let mut pods: Vec<PodIndex> = published.record.pods.keys().copied().collect();
    pods.sort_by_key(|pod| (leads(pod), published.healthy.contains(pod), *pod));
    pods.iter().map(ToString::to_string).collect()
}

pub(super) async fn options(State(state): State<ApiState>) -> Response {
    let id = state.published().target_id.clone();
    let key = id.clone();
    match from_store(&state, move |store| store.target(&key)).await {
        Ok(Some(stored)) => {
            let body = ConfigurationOptions {
                target_id: id.0.clone(),
                given: stored.given,
                options: stored.options,
            };
            answer::with_headers(answer::ok(&body), etag(&id))
        }
        Ok(None) => not_found(&id),
        Err(response) => *response,
    }
}

pub(super) fn not_found(id: &TargetId) -> Response {
    let text = format!("Configuration {} not found", id.0);
    answer::text(StatusCode::NOT_FOUND, text)
}

pub(super) async fn diff(
    State(state): State<ApiState>,
    Path((id, other)): Path<(String, String)>,
) -> Response {
    let target_id = state.published().target_id.clone();
    let named = |word: &str| match word {
        "target" => Ok(target_id.clone()),
        id => super::understood(id),
    };
    let (from, to) = match (named(&id), named(&other)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(response), _) | (_, Err(response)) => return *response,
    };
    let ids = [from.clone(), to.clone()];
    let reading = move |store: &crate::store::Store| {
        ids.into_iter()
            .map(|id| Ok((store.target(&id)?, id)))
            .collect::<Result<Vec<(Option<StoredTarget>, TargetId)>, StoreError>>()
    };
    let found = match from_store(&state, reading).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let mut both = Vec::new();
    for (stored, id) in found {
        let Some(stored) = stored else {
            return not_found(&id);
        };
        match serde_json::from_value::<Options>(stored.options) {
            Ok(options) => both.push(options),
            Err(error) => return of_another_release(&id, &error),
        }
    }
    let [old, new] = both.as_slice() else {
        return not_found(&to);
    };
    let changes = changes(old, new);
    answer::ok(&ConfigurationDiff {
        from: from.0,
        to: to.0,
        restarts_members: restarts(&changes),
        changes: changes.iter().map(option_change).collect(),
    })
}

fn of_another_release(id: &TargetId, error: &serde_json::Error) -> Response {
    let message = format!(
        "the options of configuration {} are of another release: {error}",
        id.0
    );
    let code = "other_release".to_owned();
    answer::json(StatusCode::CONFLICT, &Problem { code, message })
}
