//! `/v1/configurations`: the stored targets, as the SDK writes a service's
//! specification, and changes of the present one.

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::put;

use etcd_api::ServiceSpec;
use etcd_planner::record::TargetId;

use super::routes::Routes;
use super::{ApiState, answer, from_store};
use spec::service_spec;

mod changing;
mod spec;

/// The largest options that are read. All that there are, at their longest, are far
/// less; the bound keeps a slip (another file) from being taken apart.
const OPTIONS_LIMIT_BYTES: usize = 1024 * 1024;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/v1/configurations", list)
        .get("/v1/configurations/target", target)
        .put(
            "/v1/configurations/target",
            put(changing::put).layer(DefaultBodyLimit::max(OPTIONS_LIMIT_BYTES)),
        )
        .get("/v1/configurations/target/options", changing::options)
        .get("/v1/configurations/{id}/diff/{other}", changing::diff)
        .get("/v1/configurations/targetId", target_id)
        .get("/v1/configurations/{id}", show)
}

async fn list(State(state): State<ApiState>) -> Response {
    match from_store(&state, |store| store.targets()).await {
        Ok(ids) => {
            let ids: Vec<String> = ids.into_iter().map(|id| id.0).collect();
            answer::ok(&ids)
        }
        Err(response) => *response,
    }
}

/// A list with one entry, as with the SDK.
async fn target_id(State(state): State<ApiState>) -> Response {
    let id = &state.published().target_id;
    answer::with_headers(answer::ok(&[&id.0]), changing::etag(id))
}

async fn target(State(state): State<ApiState>) -> Response {
    let id = state.published().target_id.clone();
    answer_with(&state, id).await
}

async fn show(State(state): State<ApiState>, Path(id): Path<String>) -> Response {
    match understood(&id) {
        Ok(id) => answer_with(&state, id).await,
        Err(response) => *response,
    }
}

/// The id that was written. Ids are always written like this one; other spellings
/// of a UUID would find nothing.
fn understood(id: &str) -> Result<TargetId, Box<Response>> {
    if uuid::Uuid::try_parse(id).is_err() {
        let text = format!(
            "{id:?} is no configuration id, which is a UUID; \
             /v1/configurations lists them"
        );
        return Err(Box::new(answer::text(StatusCode::BAD_REQUEST, text)));
    }
    Ok(TargetId(id.to_ascii_lowercase()))
}

async fn answer_with(state: &ApiState, id: TargetId) -> Response {
    let wanted = id.clone();
    let stored = match from_store(state, move |store| store.target(&wanted)).await {
        Ok(stored) => stored,
        Err(response) => return *response,
    };
    let published = state.published();
    let spec: ServiceSpec = match stored {
        Some(stored) => service_spec(&stored.target, &stored.options),
        // The loop goes on under a target whose entry is lost; what it goes on
        // under can still be told.
        None if id == published.target_id => {
            service_spec(&published.target, &serde_json::Value::Null)
        }
        None => return changing::not_found(&id),
    };
    answer::with_headers(answer::ok(&spec), changing::etag(&id))
}
