//! How long growth from one member to three takes: our `serial` deployment
//! against an operator's script that calls etcdctl as fast as etcd allows.
//!
//! Either way etcd sets the pace: it takes no new member before all present ones
//! have been connected for five seconds, and promotes no learner that is behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_tests::{Service, programs, service};
use serde_json::json;

use crate::bare_etcd::{self, ClusterStart, HOSTS, Running, SMALL_QUOTA_MB};
use crate::birth::LOOK_AGAIN;
use crate::by_hand::{until_taken, wait_until_healthy};
use crate::{Goal, Row, median};

/// Each takes some 20 seconds.
const ROUNDS: usize = 3;

/// Growth may take this much longer than by hand, beside the launches.
const GOAL: f64 = 1.2;

/// Measures both, by turns.
pub(crate) async fn rows() -> Result<Vec<Row>> {
    let (mut ours, mut by_hand, mut launches) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut service = Service::on_agents(3).await?;
        by_hand.push(grow_by_hand(&service).await?);
        let (taken, launched) = grow_by_service(&mut service).await?;
        ours.push(taken);
        launches.push(launched);
        eprintln!(
            "growth {round} of {ROUNDS}: by hand {} ms, ours {} ms with launches of {} ms",
            by_hand[round - 1].as_millis(),
            taken.as_millis(),
            launched.as_millis()
        );
    }
    let (ours, by_hand) = (median(ours), median(by_hand));
    let launches = median(launches);
    let ratio = ours.saturating_sub(launches).as_secs_f64() / by_hand.as_secs_f64();
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let row = |figure: &str, measured: String, goal| Row {
        figure: figure.to_owned(),
        measured,
        goal,
    };
    Ok(vec![
        row("growth from one to three, serial", seconds(ours), None),
        row(
            "of that, until etcd was started twice",
            seconds(launches),
            None,
        ),
        row("the same by hand with etcdctl", seconds(by_hand), None),
        row(
            "growth without launches against by hand",
            format!("{ratio:.2} times"),
            Some(Goal {
                text: "at most 1.2 times",
                met: ratio <= GOAL,
            }),
        ),
    ])
}

/// From one healthy voter to three, and how much of that went by until the etcd
/// processes of the two others were there.
async fn grow_by_service(service: &mut Service) -> Result<(Duration, Duration)> {
    service.set_option("service", "deploy_strategy", json!("serial"));
    service.start_scheduler(None)?;
    let started = Instant::now();
    let mut one_since: Option<Instant> = None;
    let mut launching_since: Option<Instant> = None;
    let mut launches = Duration::ZERO;
    let mut seen = 1;
    while started.elapsed() < service::PATIENCE {
        if let Ok(status) = service.status().await {
            let healthy = status.pods.iter().filter(|pod| pod.healthy).count();
            if healthy == HOSTS.len() {
                let since = one_since.context("the first voter was not seen")?;
                return Ok((since.elapsed(), launches));
            }
            if healthy >= 1 && one_since.is_none() {
                one_since = Some(Instant::now());
            }
            // A launch begins with the task and ends with etcd's process.
            let tasks = status
                .pods
                .iter()
                .filter(|pod| pod.task_id.is_some())
                .count();
            if tasks > seen && launching_since.is_none() {
                launching_since = Some(Instant::now());
            }
            if let Some(since) = launching_since
                && service.processes("etcd")?.len() > seen
            {
                launches += since.elapsed();
                launching_since = None;
                seen += 1;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("the cluster has not grown\n{}", service.end_of_log())
}

/// From one healthy member to three with `member add --learner`, a process, and
/// `member promote`, each tried again until etcd takes it.
async fn grow_by_hand(service: &Service) -> Result<Duration> {
    let directory = service.root().join("bare");
    std::fs::create_dir(&directory)?;
    let hosts = HOSTS.map(|host| service.cluster.lease().ip(host));
    let binaries = programs::etcd_directory()?;
    let etcd = binaries.join("etcd");
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    let founder = ClusterStart {
        members: vec![0],
        state: "new",
        quota_mb: SMALL_QUOTA_MB,
        heartbeat_ms: bare_etcd::HEARTBEAT_MS,
    };
    let mut running = Running(vec![bare_etcd::start(
        &etcd, 0, &hosts, &founder, &directory,
    )?]);
    wait_until_healthy(&client, hosts[0]).await?;
    let started = Instant::now();
    for number in 1..hosts.len() {
        let host = hosts[number];
        let name = format!("bare-{number}");
        let peer_url = format!("--peer-urls=http://{host}:2380");
        let add = ["member", "add", &name, "--learner", &peer_url, "-w=json"];
        let added = until_taken(&binaries, hosts[0], &add).await?;
        let answer: serde_json::Value = serde_json::from_slice(&added.stdout)?;
        let id = answer["member"]["ID"].as_u64().context("no member id")?;
        let cluster = ClusterStart {
            members: (0..=number).collect(),
            state: "existing",
            quota_mb: SMALL_QUOTA_MB,
            heartbeat_ms: bare_etcd::HEARTBEAT_MS,
        };
        running.0.push(bare_etcd::start(
            &etcd, number, &hosts, &cluster, &directory,
        )?);
        let promote = ["member", "promote", &format!("{id:x}")];
        until_taken(&binaries, hosts[0], &promote).await?;
        wait_until_healthy(&client, host).await?;
    }
    let taken = started.elapsed();
    drop(running);
    std::fs::remove_dir_all(directory)?;
    Ok(taken)
}
