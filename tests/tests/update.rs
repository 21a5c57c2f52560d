//! Options of a running service changed, on real Mesos, as an operator does it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use anyhow::{Context, Result, ensure};
use etcd_api::configurations::ChangeRefused;
use etcd_api::status::{PodStatus, ServiceStatus};
use etcd_tests::Service;
use etcd_tests::service::is_healthy;
use serde_json::{Value, json};

/// A service with one member.
async fn one_member() -> Result<Service> {
    let mut service = Service::on_agents(3).await?;
    service.set_option("node", "count", json!(1));
    service.start_scheduler(None)?;
    service.wait_until_healthy().await?;
    Ok(service)
}

/// Sends options through the command line, for its output.
async fn update(service: &Service, options: &Value, flags: &str) -> Result<String> {
    let file = service.root().join("update.json");
    fs::write(&file, options.to_string())?;
    let words = format!("update start --options {} {flags}", file.display());
    let ended = service.command_line()?.run(&words).await?;
    println!("{words} {options}\n{}{}", ended.out, ended.error);
    ensure!(ended.code == 0, "{}", ended.error);
    Ok(ended.out)
}

async fn target_id(service: &Service) -> Result<String> {
    let (_, body) = service.get("/v1/configurations/targetId").await?;
    let ids: Vec<String> = serde_json::from_str(&body)?;
    ids.into_iter().next().context("a target")
}

/// The errors of the deploy plan.
async fn errors(service: &Service) -> Result<Vec<String>> {
    let (code, body) = service.get("/v1/plans/deploy").await?;
    let plan: Value = serde_json::from_str(&body)?;
    let errors: Vec<String> = serde_json::from_value(plan["errors"].clone())?;
    // As with the SDK: 417 is how a plan with errors answers.
    ensure!(
        errors.is_empty() == (code.as_u16() != 417),
        "{code}: {body}"
    );
    Ok(errors)
}

fn has_members(status: &ServiceStatus, members: usize) -> bool {
    is_healthy(status) && status.pods.len() == members
}

fn task_ids(status: &ServiceStatus) -> Vec<Option<String>> {
    let id = |pod: &PodStatus| pod.task_id.clone();
    status.pods.iter().map(id).collect()
}

#[tokio::test]
async fn one_member_becomes_three_and_an_old_file_does_not_undo_it() {
    let mut service = one_member().await.unwrap();
    let before = target_id(&service).await.unwrap();
    let three = json!({"node": {"count": 3}});
    let tried = update(&service, &three, "--dry-run").await.unwrap();
    assert!(tried.contains("nothing was changed"), "{tried}");
    assert_eq!(target_id(&service).await.unwrap(), before);

    let flags = format!("--if-match {before}");
    let started = update(&service, &three, &flags).await.unwrap();
    assert!(started.contains("Update started. Please use "), "{started}");
    let grown = service
        .wait_for("three members are healthy voters", |status| {
            has_members(status, 3)
        })
        .await
        .unwrap();
    let after = target_id(&service).await.unwrap();
    assert_ne!(after, before);
    // Who looked at the old target does not change the new one.
    let late = update(&service, &json!({"node": {"count": 5}}), &flags).await;
    let late = late.unwrap_err().to_string();
    assert!(
        late.contains(&format!("the target is {after} by now")),
        "{late}"
    );

    // The file that the scheduler is started with still says one.
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    let again = service
        .wait_for("three members after a restart", |status| {
            has_members(status, 3)
        })
        .await
        .unwrap();
    assert_eq!(target_id(&service).await.unwrap(), after);
    assert_eq!(task_ids(&again), task_ids(&grown));
    assert_eq!(errors(&service).await.unwrap(), Vec::<String>::new());
    let cli = service.command_line().unwrap();
    let given: Value =
        serde_json::from_str(&cli.succeed("describe").await.unwrap()).unwrap();
    assert_eq!(given["node"]["count"], json!(3));
    let diff = cli.succeed(&format!("config diff {before}")).await.unwrap();
    assert!(diff.contains("node.count"), "{diff}");
    println!("{diff}");
}

/// What is foreseen begins like this, on whatever output.
#[track_caller]
fn check_plan(service: &Service, sent: Option<&Value>, expected: &str) {
    let output = service.plan_update(sent).unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.starts_with(expected), "{said}");
    let is_refused = expected.contains("refused");
    assert_eq!(output.status.success(), !is_refused, "{said}");
}

#[tokio::test]
async fn what_is_refused_keeps_everything_as_it_is() {
    let mut service = one_member().await.unwrap();
    service.kill_scheduler().unwrap();
    service.set_option("node", "count", json!(3));
    service.start_scheduler(None).unwrap();
    let before = service
        .wait_for("three members after a start with other options", |status| {
            has_members(status, 3)
        })
        .await
        .unwrap();
    let id = target_id(&service).await.unwrap();

    let bad = json!({"node": {"count": 1}, "etcd": {"initial_cluster_token": "x"}});
    let refused = update(&service, &bad, "").await.unwrap_err().to_string();
    for words in ["Field: 'node.count'", "Field: 'etcd.initial_cluster_token'"] {
        assert!(refused.contains(words), "{refused}");
    }
    let process = json!({"scheduler": {"masters": "127.0.0.1:1"}});
    let refused = update(&service, &process, "")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("restart the scheduler with scheduler.masters"),
        "{refused}"
    );
    check_plan(
        &service,
        Some(&json!({"etcd": {"heartbeat_interval": 150}})),
        "etcd.heartbeat_interval: 100 => 150 (members are restarted in place, one at a \
         time)\nMembers in the order of their restarts: ",
    );
    check_plan(&service, Some(&bad), "the change would be refused:\n");
    assert_eq!(target_id(&service).await.unwrap(), id);

    // The same through the file that the scheduler is started with.
    service.kill_scheduler().unwrap();
    check_plan(&service, None, "Nothing would change.");
    service.set_option("etcd", "heartbeat_interval", json!(150));
    check_plan(
        &service,
        None,
        "etcd.heartbeat_interval: 100 => 150 (members are restarted in place, one at a \
         time)\nMembers that are not well are restarted first, then followers, the leader \
         last; the next one when the one before is a healthy voter again.\nMembers to be \
         restarted: etcd-0, etcd-1, etcd-2\n",
    );
    service.set_option("etcd", "heartbeat_interval", json!(100));
    service.set_option("node", "count", json!(1));
    service.set_option("etcd", "initial_cluster_token", json!("x"));
    service.start_scheduler(None).unwrap();
    let after = service
        .wait_for("the old target goes on", |status| has_members(status, 3))
        .await
        .unwrap();
    assert_eq!(task_ids(&after), task_ids(&before));
    let errors_found = errors(&service).await.unwrap();
    assert_eq!(errors_found.len(), 2, "{errors_found:?}");
    assert!(
        errors_found[0].starts_with("Field: 'node.count'; Transition: '3' => '1'; "),
        "{errors_found:?}"
    );
    let (code, health) = service.get("/v1/health?verbose").await.unwrap();
    assert_eq!(code.as_u16(), 500);
    assert!(health.contains("Field: 'node.count'"), "{health}");
    let log = fs::read_to_string(service.scheduler_log()).unwrap();
    assert!(log.contains("what this start wants is refused"), "{log}");

    // A change that is taken overtakes what was refused.
    update(&service, &json!({"service": {"update_timeout": 300}}), "")
        .await
        .unwrap();
    service
        .wait_for("the errors are gone", |status| has_members(status, 3))
        .await
        .unwrap();
    assert_eq!(errors(&service).await.unwrap(), Vec::<String>::new());
    service.kill_scheduler().unwrap();
    service.start_scheduler(None).unwrap();
    service.wait_until_healthy().await.unwrap();
    assert_eq!(errors(&service).await.unwrap(), Vec::<String>::new());
}

/// Bad input of all kinds, and two operators at once.
#[tokio::test]
async fn bad_input_and_two_at_once() {
    let service = one_member().await.unwrap();
    let id = target_id(&service).await.unwrap();
    let mut long = String::from("{\"service\": {\"region\": \"");
    long.push_str(&"x".repeat(1024 * 1024));
    long.push_str("\"}}");
    for (body, status) in [
        ("{", 400),
        ("{\"node\": {\"size\": 3}}", 400),
        ("{\"node\": {\"count\": true}}", 400),
        ("{\"node\": {\"count\": 2}}", 400),
        (&long, 413),
    ] {
        let (code, answer) = service
            .put("/v1/configurations/target", None, body)
            .await
            .unwrap();
        assert_eq!(code.as_u16(), status, "{answer}");
        if status == 400 {
            let refused: ChangeRefused = serde_json::from_str(&answer).unwrap();
            assert!(!refused.reasons.is_empty(), "{answer}");
        }
    }
    assert_eq!(target_id(&service).await.unwrap(), id);
    let tag = format!("\"{id}\"");
    let timeouts = [301, 302, 303, 304]
        .map(|seconds| format!("{{\"service\": {{\"update_timeout\": {seconds}}}}}"));
    let path = "/v1/configurations/target";
    let put = |body: &String| {
        let body = body.clone();
        let (service, tag) = (&service, &tag);
        async move {
            service
                .put(path, Some(tag), &body)
                .await
                .unwrap()
                .0
                .as_u16()
        }
    };
    let [a, b, c, d] = &timeouts;
    let (a, b, c, d) = tokio::join!(put(a), put(b), put(c), put(d));
    let mut codes = [a, b, c, d];
    codes.sort_unstable();
    assert_eq!(codes, [200, 412, 412, 412]);
    assert_ne!(target_id(&service).await.unwrap(), id);
}
