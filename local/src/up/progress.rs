//! What is told while things come up, and how they are afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_api::status::{ClusterState, ServiceStatus};

use super::layout::Layout;
use crate::setup::etcd::EtcdBinaries;

/// A deployment takes seconds. Who waits longer is told why all the while, and
/// at last how to go on.
const HEALTHY_WITHIN: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks the scheduler how things are.
pub(super) async fn fetch(layout: &Layout) -> Result<ServiceStatus> {
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
    let response = client
        .get(format!("{}/v1/status", layout.api_url()))
        .bearer_auth(layout.token()?)
        .send()
        .await
        .context("the scheduler does not answer")?;
    let code = response.status();
    let text = response.text().await?;
    if !code.is_success() {
        bail!("the scheduler answers {code}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("not a status: {text}"))
}

/// Whether the cluster is formed and all members are healthy.
pub(super) fn is_healthy(status: &ServiceStatus) -> bool {
    status.cluster.state == ClusterState::Formed
        && status.waiting.is_none()
        && !status.pods.is_empty()
        && status.pods.iter().all(|pod| pod.healthy)
}

/// Waits until all members are healthy, with one line for each step.
pub(super) async fn wait_until_healthy(layout: &Layout) -> Result<ServiceStatus> {
    let started = Instant::now();
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    while started.elapsed() < HEALTHY_WITHIN {
        let now = match fetch(layout).await {
            Ok(status) => {
                let lines = lines(&status);
                if is_healthy(&status) {
                    tell(&mut told, lines, started);
                    return Ok(status);
                }
                lines
            }
            Err(error) => {
                BTreeMap::from([("scheduler".to_owned(), format!("{error:#}"))])
            }
        };
        tell(&mut told, now, started);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let log = fs::read_to_string(layout.scheduler_log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let end = lines[lines.len().saturating_sub(10)..].join("\n");
    bail!(
        "not healthy after {HEALTHY_WITHIN:?}; make status shows why, and the scheduler's \
         log {} ends:\n{end}",
        layout.scheduler_log().display()
    )
}

fn lines(status: &ServiceStatus) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    if let Some(waiting) = &status.waiting {
        lines.insert("service".to_owned(), waiting.text.clone());
    }
    for pod in &status.pods {
        let text = match (&pod.waiting, pod.healthy) {
            (_, true) => format!(
                "healthy on {}, member {}",
                pod.address.as_deref().unwrap_or("?"),
                pod.member_id.as_deref().unwrap_or("?")
            ),
            (Some(waiting), false) => waiting.text.clone(),
            (None, false) => "not healthy yet".to_owned(),
        };
        lines.insert(pod.name.clone(), text);
    }
    lines
}

fn tell(
    told: &mut BTreeMap<String, String>,
    now: BTreeMap<String, String>,
    started: Instant,
) {
    for (who, text) in now {
        if told.get(&who) != Some(&text) {
            eprintln!("{:>6.1} s  {who}: {text}", started.elapsed().as_secs_f64());
            told.insert(who, text);
        }
    }
}

/// Prints pods, members, leader and plan.
pub(super) fn print_table(status: &ServiceStatus) {
    println!(
        "service {}  cluster {:?} {}",
        status.service,
        status.cluster.state,
        status.cluster.cluster_id.as_deref().unwrap_or("")
    );
    println!(
        "{:<8} {:<16} {:<17} {:<8} {:<9} WHY",
        "POD", "ADDRESS", "MEMBER", "ETCD", "STATE"
    );
    for pod in &status.pods {
        let state = match (pod.healthy, pod.leader) {
            (true, true) => "leader",
            (true, false) => "healthy",
            (false, _) => "waiting",
        };
        println!(
            "{:<8} {:<16} {:<17} {:<8} {:<9} {}",
            pod.name,
            pod.address.as_deref().unwrap_or("-"),
            pod.member_id.as_deref().unwrap_or("-"),
            pod.etcd_version.as_deref().unwrap_or("-"),
            state,
            pod.waiting
                .as_ref()
                .map_or("", |waiting| waiting.text.as_str())
        );
    }
    for plan in &status.plans {
        println!(
            "plan {}: {} ({} of {} steps)",
            plan.name, plan.status, plan.complete_steps, plan.total_steps
        );
    }
    if let Some(waiting) = &status.waiting {
        println!("the service waits: {}", waiting.text);
    }
    for warning in &status.warnings {
        println!("warning: {warning}");
    }
}

/// What to do with a cluster that has just come up.
pub(super) fn print_summary(
    layout: &Layout,
    status: &ServiceStatus,
    etcd: &EtcdBinaries,
) {
    print_table(status);
    let endpoints: Vec<&str> = status
        .pods
        .iter()
        .filter_map(|pod| pod.client_url.as_deref())
        .collect();
    println!();
    println!("endpoints: {}", endpoints.join(","));
    println!(
        "try it:    ETCDCTL_API=3 {} --endpoints={} put hello world",
        etcd.etcdctl().display(),
        endpoints.join(",")
    );
    println!("next:      make status; make down (keeps the data); make down CLEAN=1");
    println!("scripts:   . {}/env", layout.root().display());
}
