//! `/v1/state`: what the SDK shows of its state store.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{ApiState, answer, from_store};

/// A list with one entry. Cosmos reads it before an uninstall, and a 404 to it
/// means that there is no framework.
pub(super) async fn framework_id(State(state): State<ApiState>) -> Response {
    match &state.published().record.framework_id {
        Some(id) => answer::ok(&[&id.0]),
        None => answer::text(
            StatusCode::NOT_FOUND,
            "no framework id yet: Mesos gives one at the first subscription",
        ),
    }
}

pub(super) async fn properties(State(state): State<ApiState>) -> Response {
    match from_store(&state, |store| store.properties()).await {
        Ok(names) => answer::ok(&names),
        Err(response) => *response,
    }
}

pub(super) async fn property(
    State(state): State<ApiState>,
    Path(key): Path<String>,
) -> Response {
    let name = key.clone();
    match from_store(&state, move |store| store.property(&name)).await {
        Ok(Some(value)) => answer::ok(&value),
        Ok(None) => {
            answer::text(StatusCode::NOT_FOUND, format!("Property {key} not found"))
        }
        Err(response) => *response,
    }
}
