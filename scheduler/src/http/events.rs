//! `/v1/events`: the list of what happened, and the same as it happens.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

use etcd_api::events::{Event, EventList, Missed};
use etcd_launch::PodIndex;

use super::{ApiState, answer};
use crate::events::{EVENTS_KEPT, Follower, Page};

/// Often enough for proxies, which give up on silent connections after a minute
/// as a rule, as our own listener does.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(15);

/// Of the standard for server-sent events: the last one that a reader has had
/// before its connection broke.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx, and so DC/OS' Admin Router, not to hold events back.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The name under which a reader is told that it missed events.
const MISSED: &str = "missed";

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Events after this sequence.
    since: Option<u64>,
    /// Events of this pod alone.
    pod: Option<String>,
    /// Any value but `false`: go on.
    follow: Option<String>,
}

pub(super) async fn events(
    State(state): State<ApiState>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Ok(Query(wanted)) = wanted else {
        return bad("since is a sequence number, as events have one");
    };
    let pod = match wanted
        .pod
        .as_deref()
        .map(str::parse::<PodIndex>)
        .transpose()
    {
        Ok(pod) => pod.map(|pod| pod.to_string()),
        Err(error) => return bad(&error.to_string()),
    };
    if !follows(&wanted, &headers) {
        return answer::ok(&list(state.events.after(wanted.since, EVENTS_KEPT), pod));
    }
    // A reader that comes back still has its first query in the URL.
    let after = match last_event_id(&headers) {
        Ok(last) => last.or(wanted.since),
        Err(()) => return bad("Last-Event-ID is a sequence number, as events have one"),
    };
    match state.events.follow(after) {
        Some(follower) => stream_to(follower, pod),
        None => answer::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_followers",
            "too many connections follow the events; GET /v1/events?since=... \
             still answers",
        ),
    }
}

fn bad(message: &str) -> Response {
    answer::problem(StatusCode::BAD_REQUEST, "bad_query", message)
}

fn follows(wanted: &Wanted, headers: &HeaderMap) -> bool {
    let accepts = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"));
    match wanted.follow.as_deref() {
        Some(value) => value != "false",
        None => accepts,
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    match headers.get(LAST_EVENT_ID) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => {
            let number = value.to_str().map_err(|_| ())?.trim().parse();
            number.map(Some).map_err(|_| ())
        }
    }
}

fn is_about(event: &Event, pod: Option<&String>) -> bool {
    pod.is_none() || event.pod.as_ref() == pod
}

fn list(page: Page, pod: Option<String>) -> EventList {
    EventList {
        events: page
            .events
            .iter()
            .filter(|event| is_about(event, pod.as_ref()))
            .map(|event| Event::clone(event))
            .collect(),
        oldest: page.oldest,
        newest: page.newest,
        missed: page.missed,
    }
}

fn stream_to(follower: Follower, pod: Option<String>) -> Response {
    let keep_alive = KeepAlive::new().interval(SIGN_OF_LIFE_EVERY);
    let events = Sse::new(sent(follower, pod)).keep_alive(keep_alive);
    let headers = [(NO_BUFFERING, HeaderValue::from_static("no"))];
    (headers, events).into_response()
}

/// The next events are only asked for once the reader has taken the last ones.
fn sent(
    follower: Follower,
    pod: Option<String>,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold((follower, pod), |(mut follower, pod)| async move {
        let told_before = follower.told_up_to();
        let page = follower.next().await;
        let missed = told_before.filter(|_| page.missed).map(|after| Missed {
            after,
            next: page.events.first().map(|event| event.sequence),
        });
        let missed = missed.into_iter().filter_map(|missed| {
            sse::Event::default().event(MISSED).json_data(missed).ok()
        });
        let events: Vec<sse::Event> = page
            .events
            .iter()
            .filter(|event| is_about(event, pod.as_ref()))
            .filter_map(|event| {
                let numbered = sse::Event::default().id(event.sequence.to_string());
                numbered.json_data(event.as_ref()).ok()
            })
            .collect();
        let events: Vec<_> = missed.chain(events).map(Ok).collect();
        Some((stream::iter(events), (follower, pod)))
    })
    .flatten()
}
