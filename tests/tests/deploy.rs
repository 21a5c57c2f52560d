//! The main job on real Mesos: from nothing to three voters.

use etcd_tests::{Service, etcd, service};

#[tokio::test]
async fn three_healthy_voters_and_a_write() {
    let mut service = Service::start().await.unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    assert_eq!(status.pods.len(), 3);
    assert!(status.leader.is_some());
    etcd::put(&status, "hello", "world").await.unwrap();
    assert_eq!(
        etcd::get(&status, "hello").await.unwrap().as_deref(),
        Some("world")
    );
    let hosts: std::collections::BTreeSet<_> =
        status.pods.iter().map(|pod| pod.host.clone()).collect();
    assert_eq!(
        hosts.len(),
        3,
        "hostname UNIQUE: {}",
        service::summary(&status)
    );
}
