//! `/artifacts/<path of one launch>/<file>`: programs for Mesos' fetcher.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{ApiState, answer};

pub(super) async fn fetch(
    State(state): State<ApiState>,
    Path((path, file)): Path<(String, String)>,
) -> Response {
    let Some(program) = state.artifacts.find(&path, &file, Instant::now()) else {
        // The same words whatever was wrong, so that nobody learns which paths
        // are valid. The path itself is a secret and is not logged.
        tracing::info!(file = ?file, "a fetch with an unknown or expired path");
        return answer::problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "no such program, or the path has expired; the next launch gets a new one",
        );
    };
    if !program.is_unchanged() {
        tracing::error!(
            program = %program.path().display(),
            "changed on disk since the scheduler started, so its checksum is no longer \
             right; restart the scheduler to serve the new one"
        );
        return answer::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "changed",
            "the program was changed on disk; restart the scheduler",
        );
    }
    tracing::debug!(%file, bytes = program.bytes(), "serving a program");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, program.bytes().to_string()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Body::from_stream(program.stream())).into_response()
}
