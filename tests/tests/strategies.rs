//! `service.deploy_strategy` `serial`: one member, then growth by learners. It ends as
//! `parallel` ends, whatever comes between. (For `parallel` see `forming.rs`.)

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_api::plans::PlanInfo;
use etcd_api::status::{ClusterState, Role, ServiceStatus};
use etcd_tests::service::is_healthy;
use etcd_tests::{Service, etcd};
use rustix::process::Signal;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

async fn serial(agents: u8) -> Service {
    let mut service = Service::on_agents(agents).await.unwrap();
    service.set_option("service", "deploy_strategy", json!("serial"));
    service.start_scheduler(None).unwrap();
    service
}

fn roles(status: &ServiceStatus) -> Vec<Role> {
    status.pods.iter().map(|pod| pod.role).collect()
}

/// The end of every deployment: three voters in one cluster, the plan complete.
async fn check_the_end(service: &mut Service) -> ServiceStatus {
    let status = service.wait_until_healthy().await.unwrap();
    assert_eq!(roles(&status), [Role::Voter; 3]);
    etcd::put(&status, "end", "the same").await.unwrap();
    let mut members = etcd::client(&status).await.unwrap();
    let members = members.member_list().await.unwrap();
    let names: BTreeSet<&str> = members.members().iter().map(|m| m.name()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["etcd-0-node", "etcd-1-node", "etcd-2-node"])
    );
    let (code, body) = service.get("/v1/plans/deploy").await.unwrap();
    let plan: PlanInfo = serde_json::from_str(&body).unwrap();
    assert_eq!((code.as_u16(), plan.status.as_str()), (200, "COMPLETE"));
    assert_eq!(plan.phases[0].strategy, "serial");
    status
}

/// Looks all the time: before a member has its vote, no later one is there.
#[tokio::test]
async fn one_member_then_growth() {
    let mut service = serial(3).await;
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < LIMIT, "not deployed in {LIMIT:?}");
        // The API may not answer yet.
        let Ok(status) = service.status().await else {
            continue;
        };
        let roles = roles(&status);
        let voters = roles.iter().take_while(|role| **role == Role::Voter);
        let next = voters.count() + 1;
        let early = roles
            .iter()
            .skip(next)
            .filter(|role| **role != Role::Absent);
        assert_eq!(early.count(), 0, "{roles:?}");
        if is_healthy(&status) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check_the_end(&mut service).await;
}

/// The first member is a cluster that serves, while the third agent is missing.
#[tokio::test]
async fn a_late_agent() {
    let mut service = serial(2).await;
    let status = service
        .wait_for(
            "two members serve, and the third explains itself",
            |status| {
                let third = status.pods[2].waiting.as_ref();
                roles(status) == [Role::Voter, Role::Voter, Role::Absent]
                    && third.is_some_and(|why| why.text.contains("hostname UNIQUE"))
            },
        )
        .await
        .unwrap();
    assert_eq!(status.cluster.state, ClusterState::Formed);
    service.cluster.add_agent().unwrap();
    let end = check_the_end(&mut service).await;
    assert_eq!(end.cluster.cluster_id, status.cluster.cluster_id);
}

/// Both kinds of crash in one deployment: the first etcd dies as soon as it is there,
/// and the scheduler while the second member joins.
#[tokio::test]
async fn crashes_on_the_way() {
    let mut service = serial(3).await;
    let killed = service.signal_the_first("etcd", Signal::KILL).await;
    killed.unwrap();
    service
        .wait_for("the second member is on its way", |status| {
            status.pods[1].role != Role::Absent
        })
        .await
        .unwrap();
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    check_the_end(&mut service).await;
}
