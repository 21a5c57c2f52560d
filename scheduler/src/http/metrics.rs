//! `/v1/metrics`: for Prometheus, and as the SDK's Codahale JSON.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{ApiState, answer};
use crate::metrics::{is_suppressed, plan_status_number};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn openmetrics(State(state): State<ApiState>) -> Response {
    match state.metrics.openmetrics(&state.published()) {
        Ok(page) => ([(header::CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(super) async fn codahale(State(state): State<ApiState>) -> Response {
    let published = state.published();
    let mut gauges = Map::new();
    gauges.insert(
        "is_suppressed".to_owned(),
        json!({"value": is_suppressed(&published)}),
    );
    for plan in &published.plans {
        gauges.insert(
            format!("plan_status.{}", plan.name),
            json!({"value": plan_status_number(plan.status)}),
        );
    }
    let counters: Map<String, Value> = state
        .metrics
        .sdk_counters()
        .into_iter()
        .map(|(name, count)| (name, json!({"count": count})))
        .collect();
    answer::ok(&json!({
        // The version of Codahale's JSON form, not ours.
        "version": "4.0.0",
        "gauges": gauges,
        "counters": counters,
        "histograms": {},
        "meters": {},
        "timers": {},
    }))
}
