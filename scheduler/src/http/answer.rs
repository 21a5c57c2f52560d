//! How answers are written.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use etcd_api::Problem;

const JSON: &str = "application/json";

/// JSON with two spaces, as the SDK writes it, for people read it too.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as json");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// 200 with JSON.
pub(super) fn ok<T: Serialize>(value: &T) -> Response {
    json(StatusCode::OK, value)
}

/// An answer with more headers.
pub(super) fn with_headers<const N: usize>(
    mut response: Response,
    headers: [(HeaderName, HeaderValue); N],
) -> Response {
    response.headers_mut().extend(headers);
    response
}

/// Plain text, where the SDK has it, and to the letter: clients compare whole
/// bodies with texts they know, so no line end is added.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

/// Why a request is refused.
pub(super) fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    json(
        status,
        &Problem {
            code: code.to_owned(),
            message: message.to_owned(),
        },
    )
}
