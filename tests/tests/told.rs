//! What the scheduler tells of what it does, on real Mesos: events with who
//! asked, offers, configurations.

use anyhow::{Context, Result};
use etcd_api::debug::DebugOffers;
use etcd_api::{Event, EventList, ServiceSpec, ServiceStatus, What};
use etcd_tests::Service;
use etcd_tests::service::is_healthy;
use serde::de::DeserializeOwned;

async fn read<T: DeserializeOwned>(service: &Service, path: &str) -> Result<T> {
    let (code, body) = service.get(path).await?;
    serde_json::from_str(&body).with_context(|| format!("{path}: {code} {body}"))
}

fn lines(events: &[Event]) -> String {
    let line = |event: &Event| {
        let asked_by = event.asked_by.as_deref().unwrap_or("-");
        let why = event.why.as_deref().unwrap_or("-");
        format!("{} {} [{asked_by}] {why}\n", event.sequence, event.text)
    };
    events.iter().map(line).collect()
}

/// How many events of a pod are of a kind.
fn count(events: &[Event], pod: &str, kind: impl Fn(&What) -> bool) -> usize {
    let of_pod = |event: &&Event| event.pod.as_deref() == Some(pod) && kind(&event.what);
    events.iter().filter(of_pod).count()
}

#[tokio::test]
async fn a_deployment_and_a_restart_are_told() {
    let mut service = Service::start().await.unwrap();
    let before = service.wait_until_healthy().await.unwrap();
    let deployed: EventList = read(&service, "/v1/events").await.unwrap();
    let told = lines(&deployed.events);
    for pod in ["etcd-0", "etcd-1", "etcd-2"] {
        let count = |kind: fn(&What) -> bool| count(&deployed.events, pod, kind);
        let placed = count(|what| matches!(what, What::PlacementChosen { .. }));
        let launched = count(|what| matches!(what, What::Launched { .. }));
        let added = count(|what| matches!(what, What::MemberAdded { .. }));
        let runs = count(
            |what| matches!(what, What::TaskStatus { state, .. } if state == "TASK_RUNNING"),
        );
        assert!(
            placed >= 1 && launched >= 1 && added >= 1 && runs >= 1,
            "{pod}:\n{told}"
        );
    }
    let formed = |event: &Event| matches!(event.what, What::ClusterFormed { .. });
    assert!(deployed.events.iter().any(formed), "{told}");

    let offers: DebugOffers = read(&service, "/v2/debug/offers").await.unwrap();
    assert!(offers.accepted_count >= 3, "{offers:?}");
    assert!(!offers.offers.is_empty() && offers.offers.len() <= 100);
    let spec: ServiceSpec = read(&service, "/v1/configurations/target").await.unwrap();
    assert_eq!(spec.pod_specs[0].count, 3);

    let (code, body) = service.post("/v1/pod/etcd-1/restart").await.unwrap();
    assert!(code.is_success(), "{body}");
    let task_id = |status: &ServiceStatus| status.pods[1].task_id.clone();
    service
        .wait_for("etcd-1 was restarted", |status| {
            is_healthy(status) && task_id(status) != task_id(&before)
        })
        .await
        .unwrap();
    let since = deployed.newest.unwrap();
    let path = format!("/v1/events?since={since}&pod=etcd-1");
    let restart: EventList = read(&service, &path).await.unwrap();
    let told = lines(&restart.events);
    assert!(!restart.missed, "{told}");
    let asked: Vec<&Event> = restart
        .events
        .iter()
        .filter(|event| event.asked_by.is_some())
        .collect();
    assert!(
        matches!(asked[0].what, What::OperatorRequest { taken: true, .. }),
        "{told}"
    );
    assert!(
        asked
            .iter()
            .any(|event| matches!(event.what, What::StopAsked { .. })),
        "{told}"
    );
    assert!(
        asked
            .iter()
            .any(|event| matches!(event.what, What::Launched { .. })),
        "{told}"
    );
    println!("{}{told}", lines(&deployed.events));
}
