//! For how long a client that tries again is without an acknowledged write while
//! members are replaced and restarted: by us, and by hand.
//!
//! A witness is at work all the time: a figure counts only if nothing was lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_api::status::ServiceStatus;
use etcd_client::{Client, ConnectOptions, DeleteOptions};
use etcd_tests::service::{self, is_healthy, member_ids, task_ids};
use etcd_tests::witness::{self, Witness, client_urls};
use etcd_tests::{Service, under_clients};

use crate::bare_etcd::SMALL_QUOTA_MB;
use crate::birth::LOOK_AGAIN;
use crate::by_hand::ByHand;
use crate::writer::Writer;
use crate::{Goal, Row, median, shown};

const ROUNDS: usize = 10;

/// A median may be this much longer than by hand.
pub(crate) const ALLOWED: Duration = Duration::from_millis(50);

/// No run may be longer.
pub(crate) const AT_MOST: Duration = Duration::from_secs(1);

/// Clients go on for so long when all is done, to see what comes late.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// After what was done before, all shall be at rest.
pub(crate) const REST: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Gaps {
    replaced: Vec<Duration>,
    rolling: Vec<Duration>,
    by_hand: Vec<Duration>,
    killed: Vec<Duration>,
}

/// Measures all by turns, on one service and one cluster beside it.
pub(crate) async fn rows() -> Result<Vec<Row>> {
    let mut service = Service::on_agents(4).await?;
    service.start_scheduler(None)?;
    service.wait_until_healthy().await?;
    let mut bare = ByHand::founded(&service, SMALL_QUOTA_MB).await?;
    let mut gaps = Gaps::default();
    for round in 0..ROUNDS {
        gaps.by_hand.push(restart_by_hand(&mut bare, round).await?);
        gaps.rolling
            .push(rolling_restart(&mut service, round).await?);
        gaps.killed.push(kill_the_leader(&mut bare, round).await?);
        gaps.replaced
            .push(replace_a_follower(&mut service, round).await?);
        let newest = [&gaps.by_hand, &gaps.killed, &gaps.rolling, &gaps.replaced]
            .map(|gaps| gaps.last().map_or(0, Duration::as_millis));
        eprintln!(
            "gaps {} of {ROUNDS}: by hand {} ms, kill -9 {} ms, rolling restart {} ms, \
             replaced {} ms",
            round + 1,
            newest[0],
            newest[1],
            newest[2],
            newest[3]
        );
    }
    Ok(gaps.rows())
}

impl Gaps {
    fn rows(&self) -> Vec<Row> {
        let by_hand = median(self.by_hand.iter().copied());
        let row = |what: &str, gaps: &[Duration], goal| Row {
            figure: format!("longest gap between two writes: {what}"),
            measured: shown(gaps),
            goal,
        };
        let ours = |gaps: &[Duration]| Goal {
            text: "at most by hand + 50 ms, every run under 1 s",
            met: median(gaps.iter().copied()) <= by_hand + ALLOWED
                && gaps.iter().all(|gap| *gap < AT_MOST),
        };
        vec![
            row(
                "a follower replaced",
                &self.replaced,
                Some(ours(&self.replaced)),
            ),
            row(
                "rolling restart of three",
                &self.rolling,
                Some(ours(&self.rolling)),
            ),
            row("restart of three by hand", &self.by_hand, None),
            row("kill -9 of the leader, bare etcd", &self.killed, None),
        ]
    }
}

/// Clients at work on a cluster.
pub(crate) struct Clients {
    witness: Witness,
    writer: Writer,
}

impl Clients {
    pub(crate) async fn start(urls: Vec<String>, first: usize) -> Result<Self> {
        // A witness takes it that there are no keys of its own yet.
        let options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
        let mut client = Client::connect(&urls, Some(options)).await?;
        let all = DeleteOptions::new().with_prefix();
        client.delete(witness::PREFIX, Some(all)).await?;
        let witness = Witness::start_at(urls.clone()).await?;
        let writer = Writer::start(urls, first);
        tokio::time::sleep(AFTERWARDS).await;
        Ok(Clients { witness, writer })
    }

    /// The longest gap; fails if anything was lost. Members are there now.
    pub(crate) async fn finish(self, urls: Vec<String>) -> Result<Duration> {
        tokio::time::sleep(AFTERWARDS).await;
        let gap = self.writer.finish().await?;
        self.witness.members_are_at(urls);
        let testimony = self.witness.finish().await?;
        testimony.check()?;
        Ok(gap)
    }
}

async fn restart_by_hand(bare: &mut ByHand, round: usize) -> Result<Duration> {
    let clients = Clients::start(bare.urls(), round).await?;
    bare.restart_all().await?;
    clients.finish(bare.urls()).await
}

async fn kill_the_leader(bare: &mut ByHand, round: usize) -> Result<Duration> {
    let members = bare.leader_last().await?;
    let leader = *members.last().context("no members")?;
    let clients = Clients::start(bare.urls(), round).await?;
    bare.kill(leader);
    bare.start_again(leader).await?;
    clients.finish(bare.urls()).await
}

async fn rolling_restart(service: &mut Service, round: usize) -> Result<Duration> {
    let before = at_rest(service).await?;
    let clients = Clients::start(client_urls(&before), round).await?;
    post(service, "/v1/plans/rolling-restart/start").await?;
    let tasks = task_ids(&before);
    let after = until(service, "all are restarted", |status| {
        let is_new = |task: &(String, _)| !tasks.contains(task);
        is_healthy(status) && task_ids(status).iter().all(is_new)
    })
    .await?;
    clients.finish(client_urls(&after)).await
}

async fn replace_a_follower(service: &mut Service, round: usize) -> Result<Duration> {
    let before = at_rest(service).await?;
    let mut pods = before.pods.iter();
    let follower = pods.find(|pod| !pod.leader).context("no follower")?;
    let name = follower.name.clone();
    let clients = Clients::start(client_urls(&before), round).await?;
    post(service, &format!("/v1/pod/{name}/replace")).await?;
    let after = until(service, "a follower is replaced", |status| {
        under_clients::has_another_member(status, &name, &before)
            && member_ids(status).len() == member_ids(&before).len()
    })
    .await?;
    clients.finish(client_urls(&after)).await
}

/// Waits until all is well and nothing is left to be done.
pub(crate) async fn at_rest(service: &mut Service) -> Result<ServiceStatus> {
    let rests = |status: &ServiceStatus| {
        let mut warnings = status.warnings.iter();
        is_healthy(status)
            && status.pods.len() == 3
            && status.leader.is_some()
            && !warnings.any(|warning| warning.contains("left its volume"))
    };
    let what = "all are well and old places are given back";
    service.wait_for(what, rests).await?;
    tokio::time::sleep(REST).await;
    service.wait_for(what, rests).await
}

pub(crate) async fn post(service: &Service, path: &str) -> Result<()> {
    let (code, body) = service.post(path).await?;
    ensure!(code.is_success(), "{path}: {code} {body}");
    Ok(())
}

/// Looks more often than the tests do.
pub(crate) async fn until(
    service: &Service,
    what: &str,
    wanted: impl Fn(&ServiceStatus) -> bool,
) -> Result<ServiceStatus> {
    let started = Instant::now();
    while started.elapsed() < service::PATIENCE {
        if let Ok(status) = service.status().await
            && wanted(&status)
        {
            return Ok(status);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("not in time: {what}\n{}", service.end_of_log())
}
