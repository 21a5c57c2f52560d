//! The plan `rolling-restart` on real Mesos with real etcd, under clients whose
//! histories are checked: followers first, the leader last, one at a time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use etcd_api::plans::PlanInfo;
use etcd_api::{EventList, ServiceStatus, What};
use etcd_tests::UnderClients;
use etcd_tests::service::{is_healthy, member_ids, task_ids};

/// For this long nothing may happen to a paused plan. One restart takes less.
const QUIET: Duration = Duration::from_secs(10);

/// A write waits for the lead to move, and a client that has lost its member for three
/// seconds at most.
const LONGEST_GAP: Duration = Duration::from_secs(5);

async fn plan(service: &UnderClients) -> PlanInfo {
    let (code, body) = service.get("/v1/plans/rolling-restart").await.unwrap();
    assert!(code.is_success(), "{code}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Pods whose task is another one than before.
fn restarted(status: &ServiceStatus, before: &ServiceStatus) -> Vec<String> {
    let old = task_ids(before);
    let tasks = task_ids(status).into_iter();
    tasks
        .filter(|task| task.1.is_some() && !old.contains(task))
        .map(|(pod, _)| pod)
        .collect()
}

async fn wait_until_all_are_restarted(service: &mut UnderClients) -> ServiceStatus {
    let before = service.before.clone();
    let done = |status: &ServiceStatus| {
        is_healthy(status) && restarted(status, &before).len() == before.pods.len()
    };
    let what = "all members were restarted";
    service.wait_for(what, done).await.unwrap()
}

/// Pods in the order in which they were told to stop. Fails if one was told before the
/// one before was back.
async fn stopped(service: &UnderClients) -> Vec<String> {
    let (_, body) = service.get("/v1/events").await.unwrap();
    let list: EventList = serde_json::from_str(&body).unwrap();
    let mut pods: Vec<String> = Vec::new();
    let mut away: Option<String> = None;
    for event in list.events {
        let Some(pod) = event.pod else { continue };
        match event.what {
            What::StopAsked { .. } if away.as_ref() != Some(&pod) => {
                assert_eq!(away, None, "{pod} is told to stop too early");
                away = Some(pod.clone());
                pods.push(pod);
            }
            What::TaskStatus { state, .. } if state == "TASK_RUNNING" => {
                away.take_if(|away| *away == pod);
            }
            _ => {}
        }
    }
    pods
}

#[tokio::test]
async fn followers_first_and_the_leader_last() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    // It would come first by its number.
    let led = "etcd-0".to_owned();
    service.give_lead_to(&led).await.unwrap();
    let before = service.before.clone();
    let idle = plan(&service).await;
    assert_eq!(idle.status, "WAITING", "{idle:?}");
    service
        .dcos_etcd("plan start rolling-restart")
        .await
        .unwrap();
    let after = wait_until_all_are_restarted(&mut service).await;
    assert_eq!(member_ids(&after), member_ids(&before));
    assert_eq!(plan(&service).await.status, "COMPLETE");

    let order = stopped(&service).await;
    println!("{led} led; stopped: {order:?}");
    assert_eq!(order.len(), 3, "{order:?}");
    assert_eq!(order.last(), Some(&led));
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    assert!(longest_gap < LONGEST_GAP, "{longest_gap:?} without a write");
}

#[tokio::test]
async fn it_is_paused_and_goes_on_when_the_scheduler_was_killed() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    service
        .dcos_etcd("plan start rolling-restart")
        .await
        .unwrap();
    let begun = |status: &ServiceStatus| !restarted(status, &before).is_empty();
    service.wait_for("one is restarted", begun).await.unwrap();
    service
        .dcos_etcd("plan pause rolling-restart")
        .await
        .unwrap();
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();

    service.wait_until_healthy().await.unwrap();
    let paused = Instant::now();
    let at_first = restarted(&service.status().await.unwrap(), &before);
    assert_eq!(at_first.len(), 1, "{at_first:?}");
    while paused.elapsed() < QUIET {
        let status = service.status().await.unwrap();
        assert_eq!(restarted(&status, &before), at_first);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(plan(&service).await.status, "WAITING");

    service
        .dcos_etcd("plan resume rolling-restart")
        .await
        .unwrap();
    let goes_on = |status: &ServiceStatus| restarted(status, &before).len() == 2;
    service.wait_for("the next one", goes_on).await.unwrap();
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let after = wait_until_all_are_restarted(&mut service).await;
    assert_eq!(member_ids(&after), member_ids(&before));
    // Each of them once: what is new already is not restarted again.
    let (complete, tasks) = (plan(&service).await, task_ids(&after));
    assert_eq!(complete.status, "COMPLETE", "{complete:?}");
    let (last, longest_gap) = service.wait_until_well().await.unwrap();
    assert_eq!(task_ids(&last), tasks);
    println!("longest gap {} ms", longest_gap.as_millis());
    assert!(longest_gap < LONGEST_GAP, "{longest_gap:?} without a write");
}

/// One that is not well keeps the others from being restarted, and comes first itself.
#[tokio::test]
async fn it_waits_while_a_member_is_down() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    let down = before.pods.iter().find(|pod| !pod.leader).unwrap();
    let down = down.name.clone();
    let agent = service.agent_of(&before, &down).unwrap();
    service.cluster.agents()[agent].host_reboot().unwrap();
    let is_down = |status: &ServiceStatus| {
        status.pods.iter().any(|pod| {
            let waiting = pod.waiting.as_ref();
            pod.name == down
                && waiting.is_some_and(|waiting| waiting.code == "agent_unreachable")
        })
    };
    service.wait_for("it is down", is_down).await.unwrap();
    service
        .dcos_etcd("plan start rolling-restart")
        .await
        .unwrap();
    let since = Instant::now();
    while since.elapsed() < QUIET {
        let status = service.status().await.unwrap();
        let again = restarted(&status, &before);
        assert!(again.iter().all(|pod| *pod == down), "{again:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let said = service.dcos_etcd("plan status rolling-restart").await;
    println!("{}", said.unwrap());
    service.cluster.agents()[agent].start_again().unwrap();
    let after = wait_until_all_are_restarted(&mut service).await;
    assert_eq!(member_ids(&after), member_ids(&before));
    service.wait_until_well().await.unwrap();
}
