//! What is told while things come up, and how they are afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use etcd_api::status::{ClusterState, PodStatus, ServiceStatus};

use super::layout::Layout;
use crate::daemon::Daemon;
use crate::setup::etcd::EtcdBinaries;

/// A deployment takes seconds. Who waits longer is told why all the while, and
/// at last how to go on.
const HEALTHY_WITHIN: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Nobody should wonder whether it still lives.
const TOLD_AGAIN: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks the scheduler how things are.
pub(super) async fn fetch(layout: &Layout, api_url: &str) -> Result<ServiceStatus> {
    let client = reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .no_proxy()
        .build()?;
    let response = client
        .get(format!("{api_url}/v1/status"))
        .bearer_auth(layout.token()?)
        .send()
        .await
        .map_err(|error| anyhow!("no answer from {api_url}: {}", innermost(&error)))?;
    let code = response.status();
    let text = response.text().await?;
    if !code.is_success() {
        bail!("the scheduler answers {code}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("not a status: {text}"))
}

/// "Connection refused" says more than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

/// Whether the cluster is formed and all members are healthy.
pub(super) fn is_healthy(status: &ServiceStatus) -> bool {
    status.cluster.state == ClusterState::Formed
        && status.waiting.is_none()
        && !status.pods.is_empty()
        && status.pods.iter().all(|pod| pod.healthy)
}

/// Waits until all members are healthy, with one line for each step.
pub(super) async fn wait_until_healthy(
    layout: &Layout,
    api_url: &str,
    supervisor: &mut Daemon,
) -> Result<ServiceStatus> {
    let started = Instant::now();
    let mut told = Told::default();
    while started.elapsed() < HEALTHY_WITHIN {
        match fetch(layout, api_url).await {
            Ok(status) => {
                told.tell(steps(&status), started);
                if is_healthy(&status) {
                    return Ok(status);
                }
            }
            // The supervisor gives up only where starting again is of no use.
            Err(_) if !supervisor.is_running() => return Err(supervisor.ended().into()),
            Err(error) => told.tell(vec![scheduler_step(&error)], started),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!(
        "not healthy after {} s; it goes on by itself: make status shows why it waits. \
         The scheduler's log {} ends:\n{}",
        HEALTHY_WITHIN.as_secs(),
        layout.scheduler_log().display(),
        last_lines(&layout.scheduler_log(), 10)
    )
}

/// The end of a log, so many lines of it.
pub(super) fn last_lines(log: &Path, shown: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(shown)..].join("\n")
}

/// How one part of the service is.
struct Step {
    who: String,
    /// Words and not numbers: a line is told when this changes.
    kind: String,
    text: String,
}

fn scheduler_step(error: &anyhow::Error) -> Step {
    Step {
        who: "scheduler".to_owned(),
        kind: "no answer".to_owned(),
        text: format!("{error:#}"),
    }
}

fn steps(status: &ServiceStatus) -> Vec<Step> {
    let service = status.waiting.as_ref().map(|waiting| Step {
        who: status.service.clone(),
        kind: waiting.code.clone(),
        text: waiting.text.clone(),
    });
    service
        .into_iter()
        .chain(status.pods.iter().map(pod_step))
        .collect()
}

fn pod_step(pod: &PodStatus) -> Step {
    let host = pod.address.as_deref().or(pod.host.as_deref());
    let (kind, text) = match (&pod.waiting, pod.healthy) {
        (_, true) => (
            "healthy",
            format!(
                "healthy on {}, member {}",
                host.unwrap_or("?"),
                pod.member_id.as_deref().unwrap_or("?")
            ),
        ),
        // What the executor reports is part of the text, and worth a line each.
        (Some(waiting), false) if waiting.code == "launching" => {
            (waiting.text.as_str(), waiting.text.clone())
        }
        (Some(waiting), false) => {
            (waiting.code.as_str(), format!("waits: {}", waiting.text))
        }
        (None, false) => ("not healthy", "not healthy yet".to_owned()),
    };
    Step {
        who: pod.name.clone(),
        kind: kind.to_owned(),
        text,
    }
}

/// What was told last, so that only changes are.
#[derive(Default)]
struct Told {
    by_part: BTreeMap<String, (String, Duration)>,
}

impl Told {
    fn tell(&mut self, steps: Vec<Step>, started: Instant) {
        let now = started.elapsed();
        for Step { who, kind, text } in steps {
            let is_old = self.by_part.get(&who).is_some_and(|(told, at)| {
                *told == kind && (kind == "healthy" || now < *at + TOLD_AGAIN)
            });
            if !is_old {
                eprintln!("{:>6.1} s  {who}: {text}", now.as_secs_f64());
                self.by_part.insert(who, (kind, now));
            }
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

/// The URLs of all members, with commas.
pub(super) fn endpoints(status: &ServiceStatus) -> String {
    let urls: Vec<&str> = status
        .pods
        .iter()
        .filter_map(|pod| pod.client_url.as_deref())
        .collect();
    urls.join(",")
}

/// What to do with a cluster that has just come up.
pub(super) fn print_summary(
    layout: &Layout,
    status: &ServiceStatus,
    etcd: &EtcdBinaries,
) {
    print_table(status);
    let endpoints = endpoints(status);
    println!();
    println!("endpoints: {endpoints}");
    println!(
        "try it:    ETCDCTL_API=3 {} --endpoints={endpoints} put hello world",
        etcd.etcdctl().display(),
    );
    println!("next:      make status; make down (keeps the data); make down CLEAN=1");
    println!("scripts:   . {}/env", layout.root().display());
}
