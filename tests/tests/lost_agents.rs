//! Agents that are killed for good, quorum that is lost, and a database that is full,
//! on real Mesos with real etcd: what is left is never made worse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::num::NonZeroI32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcd_api::ServiceStatus;
use etcd_api::status::Role;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions};
use etcd_tests::service::{is_healthy, member_ids, pod, task_ids};
use etcd_tests::under_clients::has_another_member;
use etcd_tests::{Service, UnderClients, etcd};
use serde_json::json;

/// For this long nothing may happen to what is left: longer than the shortest
/// `service.replace_after`. In a Mesos of production an agent is called unreachable
/// after 75 seconds; here it is after 2.5.
const NOTHING_HAPPENS_FOR: Duration = Duration::from_secs(75);

/// The shortest `service.replace_after`, in seconds.
const REPLACE_AFTER: u64 = 60;

/// What must stay as it is while nothing may be done.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    etcds: BTreeSet<NonZeroI32>,
    executors: BTreeSet<NonZeroI32>,
    members: Vec<(String, Option<String>)>,
    tasks: Vec<(String, Option<String>)>,
    volumes: Vec<PathBuf>,
}

async fn left(service: &UnderClients) -> Left {
    let status = service.status().await.unwrap();
    let processes = |program| {
        let found = service.processes(program).unwrap().into_iter();
        found.map(|(pid, _)| pid.as_raw_nonzero()).collect()
    };
    Left {
        etcds: processes("etcd"),
        executors: processes("etcd-executor"),
        members: member_ids(&status),
        tasks: task_ids(&status),
        volumes: (0..3)
            .map(|agent| service.volume_on(agent).unwrap())
            .collect(),
    }
}

fn has_waited(status: &ServiceStatus, name: &str, code: &str) -> bool {
    let waiting = pod(status, name).unwrap().waiting.as_ref();
    waiting.is_some_and(|waiting| waiting.code == code)
}

fn leader(status: &ServiceStatus) -> String {
    let leader = status.leader.as_ref().unwrap();
    leader.pod.clone().unwrap()
}

#[tokio::test]
async fn the_agent_of_the_leader_is_killed_for_good() {
    let mut service = UnderClients::on_agents(4).await.unwrap();
    let before = service.before.clone();
    let lost = leader(&before);
    let agent = service.agent_of(&before, &lost).unwrap();
    service.cluster.agents()[agent].host_reboot().unwrap();
    wait_until_another_leads(&mut service, &lost).await;
    // By itself nothing is replaced, whatever offers come.
    let quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_secs(10) {
        let status = service.status().await.unwrap();
        assert_eq!(member_ids(&status), member_ids(&before));
        assert_eq!(pod(&status, &lost).unwrap().role, Role::Voter);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ended = service.command_line().unwrap().run("health").await.unwrap();
    assert_eq!(ended.code, 1, "{ended:?}");
    let degraded = "cluster is degraded: 2 of 3 voters answer";
    assert!(ended.out.contains(degraded), "{ended:?}");

    let asked = service.dcos_etcd(&format!("pod replace {lost}")).await;
    asked.unwrap();
    wait_until_healed(service, &lost, agent).await;
}

/// Takes more than a minute, since no shorter time is allowed.
#[tokio::test]
async fn the_agent_of_the_leader_is_killed_with_replace_after() {
    let mut service = Service::on_agents(4).await.unwrap();
    service.set_option("service", "replace_after", json!(REPLACE_AFTER));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let before = service.before.clone();
    let lost = leader(&before);
    let agent = service.agent_of(&before, &lost).unwrap();
    service.cluster.agents()[agent].host_reboot().unwrap();
    let killed = Instant::now();
    wait_until_another_leads(&mut service, &lost).await;
    while killed.elapsed() < Duration::from_secs(REPLACE_AFTER / 2) {
        let status = service.status().await.unwrap();
        assert_eq!(member_ids(&status), member_ids(&before));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The time that has gone by is on record.
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let begun = |status: &ServiceStatus| {
        pod(status, &lost).unwrap().member_id != pod(&before, &lost).unwrap().member_id
    };
    service.wait_for("it is replaced", begun).await.unwrap();
    let waited = killed.elapsed().as_secs();
    println!("replaced after {waited} s");
    let due = REPLACE_AFTER..REPLACE_AFTER + 25;
    assert!(due.contains(&waited), "after {waited} s");
    wait_until_healed(service, &lost, agent).await;
}

async fn wait_until_another_leads(service: &mut UnderClients, lost: &str) {
    let unreachable =
        |status: &ServiceStatus| has_waited(status, lost, "agent_unreachable");
    service
        .wait_for("Mesos has given up the agent", unreachable)
        .await
        .unwrap();
    let led = |status: &ServiceStatus| status.leader.is_some() && leader(status) != lost;
    service.wait_for("another one leads", led).await.unwrap();
}

/// Waits until a new member has taken the place of the lost one, elsewhere.
async fn wait_until_healed(mut service: UnderClients, lost: &str, agent: usize) {
    let before = service.before.clone();
    let healed = |status: &ServiceStatus| has_another_member(status, lost, &before);
    service
        .wait_for("a new member has taken its place", healed)
        .await
        .unwrap();
    let (after, _) = service.wait_until_well().await.unwrap();
    assert_ne!(service.agent_of(&after, lost).unwrap(), agent);
    assert_eq!(after.cluster.cluster_id, before.cluster.cluster_id);
}

/// Takes more than a minute, for that is how long it looks.
#[tokio::test]
async fn two_of_three_agents_are_killed() {
    let mut service = Service::on_agents(3).await.unwrap();
    // It does not matter when quorum is gone.
    service.set_option("service", "replace_after", json!(REPLACE_AFTER));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let before = service.before.clone();
    let survivor = service.agent_of(&before, "etcd-0").unwrap();
    for agent in (0..3).filter(|agent| *agent != survivor) {
        service.cluster.agents()[agent].host_reboot().unwrap();
    }
    let told = |status: &ServiceStatus| {
        let waiting = status.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.code == "no_quorum")
            && ["etcd-1", "etcd-2"]
                .iter()
                .all(|name| has_waited(status, name, "agent_unreachable"))
    };
    let status = service.wait_for("it is said", told).await.unwrap();
    let text = status.waiting.unwrap().text;
    println!("{text}");
    assert!(
        text.starts_with("no quorum: 1 of 3 voters; bring back 1 of: etcd-1 (its agent"),
        "{text}"
    );
    for command in ["status", "health"] {
        let said = service.wait_until_said(command, "no quorum: 1 of 3 voters");
        assert!(
            said.await
                .unwrap()
                .contains("bring back 1 of: etcd-1 (its agent")
        );
    }

    let quiet_since = Instant::now();
    let at_first = left(&service).await;
    assert_eq!((at_first.etcds.len(), at_first.executors.len()), (1, 1));
    while quiet_since.elapsed() < NOTHING_HAPPENS_FOR {
        assert_eq!(left(&service).await, at_first);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Nor does a scheduler that has just started do anything. Let go, it would
    // replace the second one once the first one is back.
    service.kill_scheduler().unwrap();
    service.set_option("service", "replace_after", json!(0));
    service.start_scheduler(None).unwrap();
    service.wait_for("it is said again", told).await.unwrap();
    assert_eq!(left(&service).await, at_first);
    for command in ["pod replace", "pod reset", "debug pod pause"] {
        let refusal = service.refused(&format!("{command} etcd-0")).await.unwrap();
        assert!(refusal.contains("0 of 3 voters"), "{command}: {refusal}");
    }
    assert_eq!(left(&service).await, at_first);

    // One returns: the cluster goes on. Then the other one.
    let agents: Vec<usize> = (0..3).filter(|agent| *agent != survivor).collect();
    service.cluster.agents()[agents[0]].start_again().unwrap();
    let goes_on = |status: &ServiceStatus| {
        status.pods.iter().filter(|pod| pod.healthy).count() == 2
            && status.leader.is_some()
            && status.waiting.is_none()
    };
    let mut two = service.wait_for("two voters go on", goes_on).await.unwrap();
    two.pods.retain(|pod| pod.healthy);
    etcd::put(&two, "with two", "of three").await.unwrap();
    service.cluster.agents()[agents[1]].start_again().unwrap();
    let (after, _) = service.wait_until_well().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before), "the same members");
    let value = etcd::get(&after, "with two").await.unwrap();
    assert_eq!(value.as_deref(), Some("of three"));
}

/// A database that is full makes etcd refuse writes and call itself unhealthy. Nobody
/// is helped by its end.
#[tokio::test]
async fn a_full_database_ends_nobody() {
    let mut service = Service::on_agents(3).await.unwrap();
    service.set_option("etcd", "quota", json!(16));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let before = service.before.clone();
    let mut client = etcd::client(&before).await.unwrap();
    let half_a_megabyte = "x".repeat(500_000);
    let mut filled = 0;
    while client
        .put("filling", half_a_megabyte.as_str(), None)
        .await
        .is_ok()
    {
        filled += 1;
        assert!(filled < 100, "the quota is not felt");
    }
    let alarmed = |status: &ServiceStatus| {
        let said = |alarm: &String| alarm.contains("NOSPACE");
        status.pods.iter().all(|pod| pod.alarms.iter().any(said))
    };
    let status = service
        .wait_for("every member has the alarm", alarmed)
        .await
        .unwrap();
    let warned = |warning: &String| warning.contains("NOSPACE");
    assert!(status.warnings.iter().any(warned), "{:?}", status.warnings);
    let health = service.command_line().unwrap().run("health").await.unwrap();
    assert_eq!(health.code, 1, "{health:?}");
    assert!(health.out.contains("alarm NOSPACE"), "{health:?}");

    let at_first = left(&service).await;
    assert_eq!((at_first.etcds.len(), at_first.executors.len()), (3, 3));
    let full_since = Instant::now();
    while full_since.elapsed() < Duration::from_secs(15) {
        assert_eq!(left(&service).await, at_first);
        let status = service.status().await.unwrap();
        let read = etcd::get(&status, "filling").await.unwrap();
        assert_eq!(read.map(|value| value.len()), Some(half_a_megabyte.len()));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    make_room(&before, &mut client).await;
    let without_alarm = |status: &ServiceStatus| {
        is_healthy(status) && status.pods.iter().all(|pod| pod.alarms.is_empty())
    };
    service
        .wait_for("the alarm is over", without_alarm)
        .await
        .unwrap();
    service.wait_until_well().await.unwrap();
    assert_eq!(left(&service).await, at_first);
}

/// What an operator does against NOSPACE: compact, defragment each, disarm.
async fn make_room(status: &ServiceStatus, client: &mut etcd_client::Client) {
    client.delete("filling", None).await.unwrap();
    let answer = client.get("filling", None).await.unwrap();
    let revision = answer.header().unwrap().revision();
    let physical = CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await.unwrap();
    for pod in &status.pods {
        let url = pod.client_url.clone().unwrap();
        let member = etcd_client::Client::connect([url], None).await;
        member.unwrap().defragment().await.unwrap();
    }
    let none = AlarmType::None;
    let raised = client.alarm(AlarmAction::Get, none, None).await.unwrap();
    assert!(!raised.alarms().is_empty());
    for alarm in raised.alarms() {
        let mut of_member = AlarmOptions::new();
        of_member.with_member(alarm.member_id());
        client
            .alarm(AlarmAction::Deactivate, alarm.alarm(), Some(of_member))
            .await
            .unwrap();
    }
}
