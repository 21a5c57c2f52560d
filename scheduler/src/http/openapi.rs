//! `/v1/openapi.json`: what there is.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// It does not change while the scheduler runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(etcd_api::openapi::text);

pub(super) async fn document() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, DOCUMENT.as_str()).into_response()
}
