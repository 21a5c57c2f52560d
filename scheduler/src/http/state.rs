//! `/v1/state`: what the SDK shows of its state store.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{ApiState, answer};
use crate::store::{Store, StoreError};

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
    match read(&state, |store| store.properties()).await {
        Ok(names) => answer::ok(&names),
        Err(response) => *response,
    }
}

pub(super) async fn property(
    State(state): State<ApiState>,
    Path(key): Path<String>,
) -> Response {
    let name = key.clone();
    match read(&state, move |store| store.property(&name)).await {
        Ok(Some(value)) => answer::ok(&value),
        Ok(None) => {
            answer::text(StatusCode::NOT_FOUND, format!("Property {key} not found"))
        }
        Err(response) => *response,
    }
}

/// Reads the store beside the event loop, off the threads that serve others.
async fn read<T: Send + 'static>(
    state: &ApiState,
    reading: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Box<Response>> {
    let store = std::sync::Arc::clone(&state.store);
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "cannot read a property");
        Box::new(answer::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "store",
            "the state store cannot be read; the scheduler's log says why",
        ))
    };
    match tokio::task::spawn_blocking(move || reading(&store)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}
