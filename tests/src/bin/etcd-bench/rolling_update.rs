//! A changed tunable goes through three members: by the update plan, and by hand with
//! the same waits, by turns.
//!
//! By hand: SIGTERM, start with the new flag, healthy, five seconds more, the next one;
//! the leader last. The plan waits for as long, tries the options beside each member
//! before, and has Mesos launch each member anew. Beside the writer of `gaps.rs`,
//! clients make requests of which each may be tried once more (`requests.rs`).

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use etcd_api::plans::PlanInfo;
use etcd_tests::service::task_ids;
use etcd_tests::witness::client_urls;
use etcd_tests::{Service, service};

use crate::bare_etcd::{HEARTBEAT_MS, SMALL_QUOTA_MB};
use crate::birth::LOOK_AGAIN;
use crate::by_hand::ByHand;
use crate::gaps::{ALLOWED, AT_MOST, Clients, at_rest};
use crate::requests::{Asked, Requests};
use crate::{Goal, Row, median, shown};

/// Of an update by us and by hand.
pub(crate) const ROUNDS: usize = 10;

/// A member counts as back once it has been well for so long: etcd's own number.
const STABLE_FOR: Duration = Duration::from_secs(5);

/// The heartbeat that is not the default.
const OTHER_HEARTBEAT_MS: u64 = 150;

/// One update.
struct Update {
    took: Duration,
    /// The longest time between two acknowledged writes meanwhile.
    gap: Duration,
    /// What became of other requests.
    asked: Asked,
}

#[derive(Default)]
struct Updates {
    took: Vec<Duration>,
    gaps: Vec<Duration>,
    asked: Asked,
}

impl Updates {
    fn add(&mut self, update: &Update) {
        self.took.push(update.took);
        self.gaps.push(update.gap);
        self.asked += update.asked;
    }
}

impl std::fmt::Display for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} s, gap {} ms, requests failed {}",
            self.took.as_secs_f64(),
            self.gap.as_millis(),
            self.asked
        )
    }
}

/// Measures both by turns, on one service and one cluster beside it.
pub(crate) async fn rows(rounds: usize) -> Result<Vec<Row>> {
    let mut service = Service::on_agents(3).await?;
    service.start_scheduler(None)?;
    service.wait_until_healthy().await?;
    let mut bare = ByHand::founded(&service, SMALL_QUOTA_MB).await?;
    let (mut ours, mut by_hand) = (Updates::default(), Updates::default());
    for round in 0..rounds {
        let heartbeat = [OTHER_HEARTBEAT_MS, HEARTBEAT_MS][round % 2];
        let bare_update = update_by_hand(&mut bare, round, heartbeat).await?;
        by_hand.add(&bare_update);
        let our_update = update(&mut service, round, heartbeat).await?;
        ours.add(&our_update);
        let round = round + 1;
        eprintln!(
            "rolling updates {round} of {rounds}: by hand {bare_update}; ours {our_update}"
        );
    }
    Ok(rows_of(&ours, &by_hand))
}

fn rows_of(ours: &Updates, by_hand: &Updates) -> Vec<Row> {
    let gap_by_hand = median(by_hand.gaps.iter().copied());
    let goal = Goal {
        text: "at most by hand + 50 ms, every run under 1 s",
        met: median(ours.gaps.iter().copied()) <= gap_by_hand + ALLOWED
            && ours.gaps.iter().all(|gap| *gap < AT_MOST),
    };
    let row = |figure: &str, measured: String, goal| Row {
        figure: figure.to_owned(),
        measured,
        goal,
    };
    let times = median(ours.took.iter().copied()).as_secs_f64()
        / median(by_hand.took.iter().copied()).as_secs_f64();
    vec![
        row("rolling update of three members", shown(&ours.took), None),
        row(
            "the same by hand, with the same waits",
            shown(&by_hand.took),
            None,
        ),
        row("ours against by hand", format!("{times:.2} times"), None),
        row(
            "longest gap between two writes: rolling update",
            shown(&ours.gaps),
            Some(goal),
        ),
        row(
            "longest gap between two writes: the same by hand",
            shown(&by_hand.gaps),
            None,
        ),
        row(
            "requests that failed, tried once more elsewhere: rolling update",
            ours.asked.to_string(),
            Some(Goal {
                text: "0",
                met: ours.asked.failed == 0,
            }),
        ),
        row(
            "requests that failed, tried once more elsewhere: the same by hand",
            by_hand.asked.to_string(),
            None,
        ),
    ]
}

async fn update_by_hand(
    bare: &mut ByHand,
    round: usize,
    heartbeat: u64,
) -> Result<Update> {
    let clients = Clients::start(bare.urls(), round).await?;
    let requests = Requests::start(&bare.urls());
    let started = Instant::now();
    bare.update_all(heartbeat, STABLE_FOR).await?;
    let took = started.elapsed();
    let asked = requests.finish().await?;
    let gap = clients.finish(bare.urls()).await?;
    Ok(Update { took, gap, asked })
}

async fn update(service: &mut Service, round: usize, heartbeat: u64) -> Result<Update> {
    let before = at_rest(service).await?;
    let clients = Clients::start(client_urls(&before), round).await?;
    let requests = Requests::start(&client_urls(&before));
    let started = Instant::now();
    let options = format!("{{\"etcd\": {{\"heartbeat_interval\": {heartbeat}}}}}");
    let path = "/v1/configurations/target";
    let (code, body) = service.put(path, None, &options).await?;
    ensure!(code.is_success(), "{code}: {body}");
    let old = task_ids(&before);
    // The plan is complete for a moment more after the change was taken.
    while !is_complete(service, &old).await? {
        if started.elapsed() > service::PATIENCE {
            bail!("the update is not complete\n{}", service.end_of_log());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let took = started.elapsed();
    let asked = requests.finish().await?;
    let gap = clients.finish(client_urls(&before)).await?;
    Ok(Update { took, gap, asked })
}

/// Whether all was done, and none of these tasks is left.
async fn is_complete(
    service: &Service,
    old: &[(String, Option<String>)],
) -> Result<bool> {
    let (_, body) = service.get("/v1/plans/update").await?;
    let plan: PlanInfo = serde_json::from_str(&body)?;
    ensure!(plan.errors.is_empty(), "{:?}", plan.errors);
    if plan.status != "COMPLETE" {
        return Ok(false);
    }
    let status = service.status().await?;
    Ok(task_ids(&status).iter().all(|task| !old.contains(task)))
}
