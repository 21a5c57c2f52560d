//! `/v1/events`.

use futures_util::StreamExt;

use super::*;
use crate::events::{EVENTS_KEPT, Journal};

const FIRST: u64 = samples::NOW.0 * 1000;

/// Somebody restarts a pod, this many times.
fn restarts(service: &Service, pod: u16, times: usize) {
    let mut journal = Journal::new(Arc::clone(&service.state.events));
    for _ in 0..times {
        let (alice, pod) = (Actor::named("alice"), PodIndex(pod));
        journal.note_request(&alice, "restart it", Some(pod), &Ok(()), samples::NOW);
    }
}

/// Reads server-sent events as they come, with a bound.
struct Reader {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Reader {
    /// The next event as it is sent, without the signs of life.
    async fn next(&mut self) -> String {
        let reading = async {
            loop {
                while let Some((event, rest)) = self.text.split_once("\n\n") {
                    let event = event.to_owned();
                    self.text = rest.to_owned();
                    if event != ":" {
                        return event;
                    }
                }
                let chunk = self.body.next().await.unwrap().unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), reading);
        waited.await.expect("an event within ten seconds")
    }
}

async fn follow(
    service: &Service,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, axum::http::HeaderMap, Reader) {
    let mut request = Request::get(path).header(header::AUTHORIZATION, READ);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router(service.state.clone())
        .oneshot(request)
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let reader = Reader {
        body: body.into_data_stream(),
        text: String::new(),
    };
    (parts.status.as_u16(), parts.headers, reader)
}

#[tokio::test]
async fn the_list() {
    let service = healthy();
    restarts(&service, 1, 1);
    let started = json!({
        "sequence": FIRST, "at_ms": samples::NOW.0, "pod": null,
        "what": {"kind": "scheduler_started", "version": "0.1.0"},
        "text": "scheduler 0.1.0 started", "why": null, "asked_by": null,
    });
    let asked = json!({
        "sequence": FIRST + 1, "at_ms": samples::NOW.0, "pod": "etcd-1",
        "what": {"kind": "operator_request", "request": "restart it", "taken": true},
        "text": "request taken: restart it", "why": null, "asked_by": "alice",
    });
    let list = |events: Value, missed: bool| {
        json!({
            "events": events, "oldest": FIRST, "newest": FIRST + 1, "missed": missed,
        })
    };
    for (query, events, missed) in [
        ("", json!([started, asked]), false),
        (&format!("?since={FIRST}"), json!([asked]), false),
        (&format!("?since={}", FIRST + 1), json!([]), false),
        ("?since=7", json!([started, asked]), true),
        ("?pod=etcd-1&follow=false", json!([asked]), false),
        ("?pod=etcd-2", json!([]), false),
    ] {
        let answer = service.get(&format!("/v1/events{query}")).await;
        assert_eq!(answer.json(), list(events, missed), "{query}");
        let read: etcd_api::EventList = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(read.newest, Some(FIRST + 1));
    }
    for query in ["?since=x", "?since=-1", "?pod=kafka-0", "?pod="] {
        let answer = service.get(&format!("/v1/events{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["code"], "bad_query");
    }
    assert_eq!(service.ask("GET", "/v1/events", None).await.status, 401);
    assert_eq!(
        service.ask("POST", "/v1/events", Some(WRITE)).await.status,
        405
    );
}

/// A reader of an older release is not broken by events that it does not know.
#[test]
fn unknown_events_can_be_read() {
    let what: etcd_api::What =
        serde_json::from_value(json!({"kind": "moon_landed", "on": "moon"})).unwrap();
    assert_eq!(what, etcd_api::What::Unknown);
}

#[tokio::test]
async fn following() {
    let service = healthy();
    let asks: [(&str, &[(&str, &str)]); 2] = [
        ("/v1/events?follow", &[]),
        ("/v1/events", &[("accept", "text/event-stream")]),
    ];
    for (path, headers) in asks {
        let (status, headers, mut reader) = follow(&service, path, headers).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["x-accel-buffering"], "no");
        let first = reader.next().await;
        let (id, data) = first.split_once('\n').unwrap();
        let data: Value =
            serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(id, format!("id: {FIRST}"));
        assert_eq!(data["what"]["kind"], "scheduler_started");
    }
}

#[tokio::test]
async fn coming_back() {
    let service = healthy();
    restarts(&service, 1, 2);
    let last = (FIRST + 1).to_string();
    let headers = [("accept", "text/event-stream"), ("last-event-id", &last)];
    let path = format!("/v1/events?since={FIRST}&pod=etcd-1");
    let (_, _, mut reader) = follow(&service, &path, &headers).await;
    let next = reader.next().await;
    assert!(next.starts_with(&format!("id: {}\n", FIRST + 2)), "{next}");
    // Then it waits, and is told of its own pod as things happen.
    restarts(&service, 2, 1);
    restarts(&service, 1, 1);
    let next = reader.next().await;
    assert!(next.starts_with(&format!("id: {}\n", FIRST + 4)), "{next}");

    let headers = [("accept", "text/event-stream"), ("last-event-id", "x")];
    assert_eq!(follow(&service, "/v1/events", &headers).await.0, 400);
}

#[tokio::test]
async fn who_is_too_slow_is_told() {
    let service = healthy();
    let (_, _, mut reader) = follow(&service, "/v1/events?follow", &[]).await;
    reader.next().await;
    // It reads nothing while the whole list goes by; nobody waits for it.
    restarts(&service, 1, EVENTS_KEPT + 5);
    let next = FIRST + 6;
    assert_eq!(
        reader.next().await,
        format!("event: missed\ndata: {{\"after\":{FIRST},\"next\":{next}}}")
    );
    let event = reader.next().await;
    assert!(event.starts_with(&format!("id: {next}\n")), "{event}");
}

#[tokio::test]
async fn followers_are_bounded() {
    let service = healthy();
    let mut readers = Vec::new();
    let status = loop {
        let (status, _, reader) = follow(&service, "/v1/events?follow", &[]).await;
        if status != 200 || readers.len() > 256 {
            break status;
        }
        readers.push(reader);
    };
    assert_eq!((status, readers.len()), (503, 32));
    readers.pop();
    assert_eq!(follow(&service, "/v1/events?follow", &[]).await.0, 200);
}
