//! Who gets a snapshot, and how they are told that there is none now.

use super::*;

const PATH: &str = "/v1/snapshot";

#[tokio::test]
async fn readers_get_no_snapshot() {
    let service = healthy();
    for method in ["GET", "HEAD"] {
        assert_eq!(service.ask(method, PATH, None).await.status, 401);
        assert_eq!(service.ask(method, PATH, Some(READ)).await.status, 403);
    }
}

#[tokio::test]
async fn nobody_can_give_one() {
    let mut published = samples::published(&samples::healthy_model());
    published.healthy.clear();
    let service = Service::showing(published);
    // Each time: a refusal must not take a place for good.
    for _ in 0..5 {
        let answer = service.ask("GET", PATH, Some(WRITE)).await;
        assert_eq!(answer.status, 503);
        let expected = json!({
            "code": "no_source",
            "message": "no member can give a snapshot now: no follower is in good health",
        });
        assert_eq!(answer.json(), expected);
    }
    let mut model = samples::healthy_model();
    model.record.cluster = Cluster::Unborn;
    let answer = Service::of(&model).ask("GET", PATH, Some(WRITE)).await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("has not formed yet"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn not_more_than_two_at_once() {
    let mut published = samples::published(&samples::healthy_model());
    published.healthy.clear();
    let service = Service::showing(published);
    let first = service.state.snapshots.take().unwrap();
    let _second = service.state.snapshots.take().unwrap();
    let answer = service.ask("GET", PATH, Some(WRITE)).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header(header::RETRY_AFTER), "10");
    assert_eq!(answer.json()["code"], "busy");
    drop(first);
    assert_eq!(service.ask("GET", PATH, Some(WRITE)).await.status, 503);
}
