//! `debug pod pause` on real Mesos with real etcd: etcd stops, container and volume
//! stay, and an operator works inside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use etcd_api::ServiceStatus;
use etcd_tests::UnderClients;
use etcd_tests::service::{is_healthy, member_ids, pod, task_ids};
use etcd_tests::under_clients::has_another_member;

const PAUSED: &str = "etcd-1\n└─ etcd-1-node (PAUSED)\n";

fn has_waited(status: &ServiceStatus, name: &str, code: &str) -> bool {
    let waiting = pod(status, name).unwrap().waiting.as_ref();
    waiting.is_some_and(|waiting| waiting.code == code)
}

#[tokio::test]
async fn a_paused_member_waits_for_its_operator() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    let agent = service.agent_of(&before, "etcd-1").unwrap();
    let volume = service.volume_on(agent).unwrap();
    let unknown = service.refused("debug pod pause etcd-1 -t other").await;
    let unknown = unknown.unwrap();
    assert!(
        unknown.contains("Task other of pod etcd-1 not found"),
        "{unknown}"
    );
    service.dcos_etcd("debug pod pause etcd-1").await.unwrap();
    let said = service.wait_until_said("pod status etcd-1", "PAUSED").await;
    assert_eq!(said.unwrap(), PAUSED);
    let status = service
        .wait_for("the pause is explained", |status| {
            has_waited(status, "etcd-1", "paused")
        })
        .await
        .unwrap();
    let text = &pod(&status, "etcd-1")
        .unwrap()
        .waiting
        .clone()
        .unwrap()
        .text;
    assert!(text.contains("token-on-line-1 has paused it"), "{text}");
    assert!(service.process_on("etcd", agent).is_err());
    let container = service.process_on("etcd-executor", agent).unwrap();
    assert_eq!(service.volume_on(agent).unwrap(), volume);
    assert!(volume.join("initialized").is_file());
    let paused_tasks = task_ids(&status);

    for refused in ["debug pod pause etcd-0", "pod replace etcd-2"] {
        let refusal = service.refused(refused).await.unwrap();
        assert!(refusal.contains("1 of 3 voters"), "{refusal}");
    }

    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let said = service.wait_until_said("pod status etcd-1", "PAUSED").await;
    assert_eq!(said.unwrap(), PAUSED);
    let status = service
        .wait_for("the new scheduler knows all members", |status| {
            has_waited(status, "etcd-1", "paused")
                && status.pods.iter().filter(|pod| pod.healthy).count() == 2
        })
        .await
        .unwrap();
    assert_eq!(task_ids(&status), paused_tasks, "nothing was launched");
    let still = service.process_on("etcd-executor", agent).unwrap();
    assert_eq!(still, container);
    assert!(service.process_on("etcd", agent).is_err());

    // A pod has one task, which may be named.
    let resume = service.dcos_etcd("debug pod resume etcd-1 -t node").await;
    resume.unwrap();
    service
        .wait_for("etcd runs again", is_healthy)
        .await
        .unwrap();
    let (after, _) = service.wait_until_well().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before), "the same members");
    assert_eq!(service.volume_on(agent).unwrap(), volume);
    let said = service.dcos_etcd("pod status etcd-1").await.unwrap();
    assert!(said.contains("(RUNNING)"), "{said}");
}

/// The recovery by hand of the original package's README, command by command, for a
/// pod whose host has failed.
#[tokio::test]
async fn a_member_is_added_by_hand_while_its_pod_is_paused() {
    let mut service = UnderClients::on_agents(4).await.unwrap();
    let before = service.before.clone();
    let failed = service.agent_of(&before, "etcd-2").unwrap();
    service.cluster.agents()[failed].host_reboot().unwrap();

    service.dcos_etcd("pod replace etcd-2").await.unwrap();
    // Its successor's place is chosen, and it is about to run.
    let old_task = pod(&before, "etcd-2").unwrap().task_id.clone();
    let starts = |status: &ServiceStatus| {
        let task = &pod(status, "etcd-2").unwrap().task_id;
        task.is_some() && *task != old_task
    };
    let status = service.wait_for("etcd-2 is starting", starts).await;
    let agent = service.agent_of(&status.unwrap(), "etcd-2").unwrap();
    assert_ne!(agent, failed);

    service.dcos_etcd("debug pod pause etcd-2").await.unwrap();
    let paused = service.wait_until_said("pod status etcd-2", "PAUSED").await;
    paused.unwrap();
    assert!(service.process_on("etcd", agent).is_err());
    let status = service.status().await.unwrap();
    let by_scheduler = pod(&status, "etcd-2").unwrap().member_id.clone();
    let other = |name| pod(&before, name).unwrap().client_url.clone().unwrap();
    let url = pod(&status, "etcd-2").unwrap().client_url.clone().unwrap();
    let peer_url = url.replace(":2379", ":2380");
    let etcdctl = format!("./etcdctl --endpoints={}", other("etcd-0"));
    let listed = |peer_url: &str| {
        // Ids, states, names, peer URLs and client URLs, separated by commas.
        format!("{etcdctl} member list | grep -F {peer_url} | cut -d, -f1")
    };
    println!("the scheduler had added {by_scheduler:?}");
    if by_scheduler.is_some() {
        service
            .shell_in_container(
                agent,
                &format!("{etcdctl} member remove $({})", listed(&peer_url)),
            )
            .unwrap();
    }
    service
        .shell_in_container(
            agent,
            &format!("{etcdctl} member add etcd-2-node --peer-urls={peer_url}"),
        )
        .unwrap();
    let by_hand = service.shell_in_container(agent, &listed(&peer_url));
    let by_hand = by_hand.unwrap().trim().to_owned();
    service
        .shell_in_container(agent, "touch $MESOS_SANDBOX/etcd-data/initialized")
        .unwrap();
    service.dcos_etcd("debug pod resume etcd-2").await.unwrap();

    let done = |status: &ServiceStatus| has_another_member(status, "etcd-2", &before);
    service.wait_for("etcd-2 is well", done).await.unwrap();
    let (after, _) = service.wait_until_well().await.unwrap();
    let member_id = pod(&after, "etcd-2").unwrap().member_id.clone();
    assert_eq!(
        member_id,
        Some(by_hand),
        "the member that was added by hand"
    );
    assert_eq!(service.agent_of(&after, "etcd-2").unwrap(), agent);
    assert_eq!(member_ids(&after)[..2], member_ids(&before)[..2]);
}
