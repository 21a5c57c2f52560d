//! Resources that an administrator has reserved for a role, as DC/OS reserves its
//! public agents.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use etcd_local::cluster::{ClusterOptions, Host};
use etcd_tests::{Service, etcd};
use mesos_v1::{Access, OperatorClient, v1};
use serde_json::json;

/// Three hosts of the administrator's, and one that nobody has reserved.
async fn service() -> Service {
    let public = || Host::new().reserved_for("slave_public");
    let hosts = [public(), public(), Host::new(), public()];
    Service::on(ClusterOptions::of(hosts)).await.unwrap()
}

/// Roles of the reservations of every disk with a volume, the oldest first.
async fn reservations_of_volumes(service: &Service) -> Vec<Vec<String>> {
    let master = service.cluster.master_address().to_string();
    let operator = OperatorClient::new(master.parse().unwrap(), &Access::default());
    let agents = operator.unwrap().get_agents().await.unwrap();
    let is_volume = |resource: &&v1::Resource| {
        let disk = resource.disk.as_ref();
        disk.is_some_and(|disk| disk.persistence.is_some())
    };
    agents
        .agents
        .iter()
        .flat_map(|agent| agent.total_resources.iter().filter(is_volume))
        .map(|volume| {
            let reservations = volume.reservations.iter();
            reservations
                .map(|reservation| reservation.role.clone().unwrap_or_default())
                .collect()
        })
        .collect()
}

#[tokio::test]
async fn members_take_what_was_reserved_for_them() {
    let mut service = service().await;
    service.set_option("service", "pre_reserved_role", json!("slave_public"));
    service.start_scheduler(None).unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    let mut hosts = service.hosts_of(&status);
    hosts.sort_unstable();
    assert_eq!(hosts, [0, 1, 3], "those of the administrator");
    let ours = ["slave_public", "slave_public/etcd-role"];
    assert_eq!(reservations_of_volumes(&service).await, [ours, ours, ours]);
    etcd::put(&status, "role", "slave_public").await.unwrap();
}

#[tokio::test]
async fn what_was_reserved_for_others_is_left_alone() {
    let mut service = service().await;
    service.start_scheduler(None).unwrap();
    let status = service
        .wait_for("too few agents without a reservation are told", |status| {
            let waiting = status.pods.iter().filter_map(|pod| pod.waiting.as_ref());
            waiting.chain(&status.waiting).any(|waiting| {
                ["cannot_be_placed", "no_suitable_offer"].contains(&waiting.code.as_str())
            })
        })
        .await
        .unwrap();
    assert!(status.pods.iter().all(|pod| pod.task_id.is_none()));
}
