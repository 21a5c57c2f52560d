//! An operator's first hour with `dcos-etcd`, on real Mesos: a deployment that is
//! paused, resumed and watched, a look at everything, and a restart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use etcd_tests::Service;
use etcd_tests::command_line::{CommandLine, end};
use etcd_tests::service::{PATIENCE, is_healthy, task_ids};
use serde_json::Value;

const COMPLETE: &str = "\
deploy (serial strategy) (COMPLETE)
└─ agents (parallel strategy) (COMPLETE)
   ├─ etcd-0:[node] (COMPLETE)
   ├─ etcd-1:[node] (COMPLETE)
   └─ etcd-2:[node] (COMPLETE)
";

/// The command ends with this code, and its outputs hold this text.
#[track_caller]
fn check(ended: &etcd_tests::command_line::Ended, code: i32, text: &str) {
    let said = format!("{}{}", ended.out, ended.error);
    assert!(
        ended.code == code && said.contains(text),
        "{text}: {ended:?}"
    );
}

async fn json(operator: &CommandLine, words: &str) -> Value {
    let text = operator.succeed(&format!("{words} --json")).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn an_operator_looks_pauses_restarts_and_watches() {
    // With two agents for three members the deployment waits until it was paused.
    let mut service = Service::on_agents(2).await.unwrap();
    service.start_scheduler(None).unwrap();
    service
        .wait_for("the third member waits for an agent", |status| {
            let placed = status.pods.iter().filter(|pod| pod.host.is_some());
            placed.count() == 2 && status.pods.iter().all(|pod| pod.waiting.is_some())
        })
        .await
        .unwrap();
    let operator = service.command_line().unwrap();
    let follower = operator.start("events --follow").unwrap();
    pause_and_resume(&operator, &mut service).await;

    let watched = operator
        .succeed("plan watch deploy --for 120")
        .await
        .unwrap();
    assert!(watched.ends_with("COMPLETE\n"), "{watched}");
    let shown = operator.succeed("plan show deploy").await.unwrap();
    assert_eq!(shown, COMPLETE);
    service.wait_until_healthy().await.unwrap();
    look_at_everything(&operator).await;
    restart_and_watch(&operator, &mut service).await;

    let told = end(follower).await.unwrap();
    println!("{watched}{told}");
    for text in [
        "etcd-0   ",
        "etcd-2   ",
        "request taken: interrupt plan deploy [asked by token-on-line-1]",
        "request taken: continue plan deploy",
        "restart etcd-1 in place",
    ] {
        assert!(told.contains(text), "{text}:\n{told}");
    }
    let listed = operator.succeed("events").await.unwrap();
    assert!(
        listed.starts_with(&told),
        "followed:\n{told}\nlisted:\n{listed}"
    );
    let of_pod = operator.succeed("events --pod etcd-1").await.unwrap();
    assert!(
        of_pod.lines().all(|line| line.contains("  etcd-1   ")),
        "{of_pod}"
    );
}

async fn pause_and_resume(operator: &CommandLine, service: &mut Service) {
    let paused = operator.succeed("plan pause deploy").await.unwrap();
    assert_eq!(paused, "\"deploy\" plan has been paused.\n");
    let again = operator.run("plan pause deploy").await.unwrap();
    check(
        &again,
        1,
        "Cannot execute command. Command has already been issued",
    );
    let shown = operator.succeed("plan show deploy").await.unwrap();
    assert!(
        shown.contains("(WAITING)") && shown.contains("Waiting:\n- deploy: "),
        "{shown}"
    );
    check(
        &operator.run("health").await.unwrap(),
        1,
        "cluster is not there yet",
    );

    service.cluster.add_agent().unwrap();
    let master = service.cluster.master();
    master.wait_until_registered(3, PATIENCE).await.unwrap();
    let watched = operator.run("plan watch deploy --for 1").await.unwrap();
    check(&watched, 75, "not complete after 1 s");
    let resumed = operator.succeed("plan resume deploy").await.unwrap();
    assert_eq!(resumed, "\"deploy\" plan has been resumed.\n");
}

async fn look_at_everything(operator: &CommandLine) {
    let succeed = async |words: &str| operator.succeed(words).await.unwrap();
    let health = succeed("health").await;
    assert_eq!(health.lines().count(), 4, "{health}");
    assert_eq!(
        health.matches(" is healthy: http://").count(),
        3,
        "{health}"
    );
    assert!(health.ends_with("\ncluster is healthy\n"), "{health}");
    assert_eq!(json(operator, "health").await["healthy"], true);

    let plans = json(operator, "plan list").await;
    assert!(
        plans.as_array().unwrap().contains(&"deploy".into()),
        "{plans}"
    );
    assert_eq!(
        json(operator, "plan show deploy").await["status"],
        "COMPLETE"
    );
    let pods = succeed("pod list").await;
    assert_eq!(pods, "[\n  \"etcd-0\",\n  \"etcd-1\",\n  \"etcd-2\"\n]\n");
    let tasks = succeed("pod status").await;
    assert!(
        tasks.starts_with("etcd\n└─ etcd\n   ├─ etcd-0\n"),
        "{tasks}"
    );
    assert_eq!(tasks.matches("-node (RUNNING)").count(), 3, "{tasks}");
    let one = succeed("pod status etcd-0").await;
    assert_eq!(one, "etcd-0\n└─ etcd-0-node (RUNNING)\n");
    assert!(succeed("pod info etcd-0").await.contains("TASK_RUNNING"));
    check(
        &operator.run("pod info etcd-9").await.unwrap(),
        1,
        "Pod etcd-9 not found",
    );

    let members = succeed("member list").await;
    assert_eq!(members.lines().count(), 4, "{members}");
    let status = succeed("status").await;
    assert!(status.contains("Mesos: connected since ") && status.contains("leader"));
    println!("{health}\n{members}\n{status}");
    let endpoint = json(operator, "endpoints api").await;
    assert_eq!(endpoint["address"].as_array().unwrap().len(), 3);
    let target = json(operator, "config target").await;
    assert_eq!(target["pod-specs"][0]["count"], 3);
    let id = json(operator, "config target_id").await;
    let by_id = format!("debug config show {}", id[0].as_str().unwrap());
    assert_eq!(json(operator, &by_id).await, target);
    assert!(succeed("debug offers").await.contains("acceptedCount"));
    assert!(succeed("debug state framework_id").await.contains('-'));
    assert!(succeed("version").await.contains("\nscheduler "));
}

async fn restart_and_watch(operator: &CommandLine, service: &mut Service) {
    let before = task_ids(&service.status().await.unwrap());
    let answer = json(operator, "pod restart etcd-1").await;
    assert_eq!(answer["tasks"][0], "etcd-1-node");
    let watched = operator
        .succeed("plan watch recovery --for 120")
        .await
        .unwrap();
    println!("{watched}");
    service
        .wait_for("etcd-1 was restarted", |status| {
            is_healthy(status) && task_ids(status) != before
        })
        .await
        .unwrap();
    let after = task_ids(&service.status().await.unwrap());
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert!(
        watched.contains("recovery etcd-1 etcd-1:[node]: "),
        "{watched}"
    );
}
