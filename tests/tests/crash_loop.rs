//! What ends again and again, on real Mesos with real etcd: it is started later and
//! later, that can be seen, and `pod restart` begins anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use etcd_api::status::{PodStatus, ServiceStatus};
use etcd_tests::UnderClients;
use etcd_tests::service::{is_healthy, member_ids, pod};
use rustix::process::Signal;

const POD: &str = "etcd-1";

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// Puts a program that fails at once in the place of one in a sandbox, as somebody
/// does who mends a host with a tool that does not ask.
fn spoil(program: &Path) {
    let new = program.with_extension("new");
    fs::write(&new, "#!/bin/sh\necho spoiled >&2\nexit 7\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, program).unwrap();
}

async fn wait_for_pod(
    service: &mut UnderClients,
    what: &str,
    wanted: impl Fn(&PodStatus) -> bool,
) -> PodStatus {
    let found = |status: &ServiceStatus| pod(status, POD).is_ok_and(&wanted);
    let status = service.wait_for(what, found).await.unwrap();
    pod(&status, POD).unwrap().clone()
}

fn reports(pod: &PodStatus, words: &str) -> bool {
    let report = pod.executor.as_ref();
    report.is_some_and(|report| report.contains(words))
}

/// etcd ends, and its executor starts it again.
#[tokio::test]
async fn etcd_that_ends_at_once() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    let agent = service.agent_of(&before, POD).unwrap();
    let etcd = service.process_on("etcd", agent).unwrap();
    spoil(&service.sandbox_on(agent).unwrap().join("etcd"));
    service.signal(etcd, Signal::KILL).unwrap();
    // The first crash is our doing; then 1, 2 and 4 seconds.
    for expected in [
        "ended (exited with code 7), crash 2 in a row, starts again in 2.0 s",
        "ended (exited with code 7), crash 3 in a row, starts again in 4.0 s",
    ] {
        let pod = wait_for_pod(&mut service, expected, |pod| reports(pod, expected));
        let pod = pod.await;
        let waiting = pod.waiting.unwrap();
        assert!(waiting.text.contains(expected), "{waiting:?}");
        assert!(!pod.healthy, "what it said before it ended does not count");
        // By now it may be between two crashes, or at the next one.
        let plan = service
            .wait_until_said("plan show recovery", "crash ")
            .await;
        let plan = plan.unwrap();
        assert!(plan.contains(POD), "{plan}");
    }

    // The pause is the executor's: a scheduler that starts anew changes nothing.
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let fourth = "crash 4 in a row, starts again in 8.0 s";
    let pod = wait_for_pod(&mut service, fourth, |pod| reports(pod, fourth)).await;
    assert_eq!(pod.task_id, before.pods[1].task_id);
    let events = service.dcos_etcd("events --pod etcd-1").await.unwrap();
    assert!(events.contains(fourth), "{events}");

    // A new task has a new sandbox, with the right program.
    service.dcos_etcd("pod restart etcd-1").await.unwrap();
    let done = |pod: &PodStatus| pod.healthy && pod.task_id != before.pods[1].task_id;
    wait_for_pod(&mut service, "the restart has cleared it", done).await;
    let (after, _) = service.wait_until_well().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
}

/// The executor ends, and the scheduler launches it again.
#[tokio::test]
async fn an_executor_that_ends_at_once() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    let agent = service.agent_of(&before, POD).unwrap();
    let mut killed = None;
    for failures in 1..5 {
        let executor = service.wait_until_runs("etcd-executor", agent, killed);
        let executor = executor.await.unwrap();
        let killed_at = now_ms();
        service.signal(executor, Signal::KILL).unwrap();
        killed = Some(executor);
        let what = format!("{POD} has failed {failures} times");
        let counted = |pod: &PodStatus| pod.failures.in_a_row == failures;
        let pod = wait_for_pod(&mut service, &what, counted).await;
        let retry_at = pod.failures.retry_at_ms.unwrap();
        // 1, 2, 4 and 8 seconds from its end, which was noticed after it was killed, and
        // before we saw that.
        let pause = 1_000 << (failures - 1);
        let (at_most, left) = (retry_at - killed_at, retry_at.saturating_sub(now_ms()));
        println!("failure {failures}: a pause of {left} to {at_most} ms");
        assert!(left <= pause && pause <= at_most, "{pause} ms is wanted");
        let waiting = pod.waiting.unwrap();
        if failures == 4 {
            assert_eq!(waiting.code, "back_off", "{waiting:?}");
            assert!(
                waiting.text.contains("failed 4 times in a row"),
                "{waiting:?}"
            );
        }
    }
    let shown = service.dcos_etcd("status").await.unwrap();
    assert!(shown.contains("etcd-1: 4 in a row, last: "), "{shown}");
    assert!(shown.contains("next launch not before "), "{shown}");
    let plan = service.dcos_etcd("plan show recovery").await.unwrap();
    assert!(plan.contains("etcd-1:[node] (DELAYED)"), "{plan}");

    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let known = |pod: &PodStatus| pod.failures.in_a_row == 4;
    let pod = wait_for_pod(&mut service, "the count outlives the scheduler", known).await;
    let retry_at = pod.failures.retry_at_ms.unwrap();
    assert!(service.process_on("etcd-executor", agent).is_err());

    service.dcos_etcd("pod restart etcd-1").await.unwrap();
    let cleared = |pod: &PodStatus| pod.failures.in_a_row == 0;
    wait_for_pod(&mut service, "the restart has cleared it", cleared).await;
    let executor = service.wait_until_runs("etcd-executor", agent, killed);
    executor.await.unwrap();
    let runs_at = now_ms();
    println!(
        "{} ms before the pause was over",
        retry_at.saturating_sub(runs_at)
    );
    assert!(
        runs_at < retry_at,
        "it did not wait for the end of the pause"
    );
    service.wait_for("all is well", is_healthy).await.unwrap();
    let (after, _) = service.wait_until_well().await.unwrap();
    assert_eq!(member_ids(&after), member_ids(&before));
}
