//! A changed tunable goes through three members: by the update plan, and by hand with
//! the same waits, by turns.
//!
//! By hand: SIGTERM, start with the new flag, healthy, five seconds more, the next one;
//! the leader last. The plan waits for as long, tries the options beside each member
//! before, and has Mesos launch each member anew.

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
use crate::{Goal, Row, median, shown};

const ROUNDS: usize = 10;

/// A member counts as back once it has been well for so long: etcd's own number.
const STABLE_FOR: Duration = Duration::from_secs(5);

/// The heartbeat that is not the default.
const OTHER_HEARTBEAT_MS: u64 = 150;

/// How long one took, and the longest time between two acknowledged writes meanwhile.
#[derive(Default)]
struct Updates {
    took: Vec<Duration>,
    gaps: Vec<Duration>,
}

/// Measures both by turns, on one service and one cluster beside it.
pub(crate) async fn rows() -> Result<Vec<Row>> {
    let mut service = Service::on_agents(3).await?;
    service.start_scheduler(None)?;
    service.wait_until_healthy().await?;
    let mut bare = ByHand::founded(&service, SMALL_QUOTA_MB).await?;
    let (mut ours, mut by_hand) = (Updates::default(), Updates::default());
    for round in 0..ROUNDS {
        let heartbeat = [OTHER_HEARTBEAT_MS, HEARTBEAT_MS][round % 2];
        let (took, gap) = update_by_hand(&mut bare, round, heartbeat).await?;
        by_hand.took.push(took);
        by_hand.gaps.push(gap);
        let (our_time, our_gap) = update(&mut service, round, heartbeat).await?;
        ours.took.push(our_time);
        ours.gaps.push(our_gap);
        eprintln!(
            "rolling updates {} of {ROUNDS}: by hand {:.1} s, gap {} ms; ours {:.1} s, gap \
             {} ms",
            round + 1,
            took.as_secs_f64(),
            gap.as_millis(),
            our_time.as_secs_f64(),
            our_gap.as_millis()
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
    ]
}

async fn update_by_hand(
    bare: &mut ByHand,
    round: usize,
    heartbeat: u64,
) -> Result<(Duration, Duration)> {
    let clients = Clients::start(bare.urls(), round).await?;
    let started = Instant::now();
    bare.update_all(heartbeat, STABLE_FOR).await?;
    let took = started.elapsed();
    Ok((took, clients.finish(bare.urls()).await?))
}

async fn update(
    service: &mut Service,
    round: usize,
    heartbeat: u64,
) -> Result<(Duration, Duration)> {
    let before = at_rest(service).await?;
    let clients = Clients::start(client_urls(&before), round).await?;
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
    Ok((took, clients.finish(client_urls(&before)).await?))
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
