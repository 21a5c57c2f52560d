//! How long a birth takes: "scheduler starts with ready agents" to "three
//! healthy voters", against three bare etcd processes.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use etcd_tests::{Service, service};

use crate::timeline::{self, Timeline};
use crate::{Build, Goal, Row, bare_etcd, median, shown};

/// Enough for a median that one slow election does not move.
const ROUNDS: usize = 10;

/// How exact a figure can be. Shorter would take time from what is measured.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The births of one build, or the bare ones.
pub(crate) struct Births {
    pub(crate) name: &'static str,
    pub(crate) times: Vec<Duration>,
    /// None for bare ones, which have no scheduler to tell.
    pub(crate) timelines: Vec<Timeline>,
}

/// The bare ones, and each build: by turns, so that a busy minute hits all alike.
pub(crate) async fn measure(builds: &[Build]) -> Result<Vec<Births>> {
    let bare = bare_etcd::WAYS.map(|(name, _)| name);
    let mut births: Vec<Births> = bare
        .into_iter()
        .chain(builds.iter().map(|build| build.name))
        .map(|name| Births {
            name,
            times: Vec::new(),
            timelines: Vec::new(),
        })
        .collect();
    for round in 1..=ROUNDS {
        let (bare, ours) = births.split_at_mut(bare_etcd::WAYS.len());
        for (number, (build, births)) in builds.iter().zip(ours).enumerate() {
            let mut service = Service::on_agents(3).await?;
            service.use_programs_in(&build.directory);
            if number == 0 {
                for (births, (_, pause)) in bare.iter_mut().zip(bare_etcd::WAYS) {
                    births.times.push(bare_etcd::birth(&service, pause).await?);
                }
            }
            let (taken, timeline) = birth(&mut service).await?;
            births.times.push(taken);
            births.timelines.push(timeline);
        }
        let newest: Vec<String> = births
            .iter()
            .filter_map(|births| Some((births.name, births.times.last()?)))
            .map(|(name, time)| format!("{name}: {} ms", time.as_millis()))
            .collect();
        eprintln!("round {round} of {ROUNDS}: {}", newest.join("; "));
    }
    Ok(births)
}

/// One birth of a service whose agents are ready.
pub(crate) async fn birth(service: &mut Service) -> Result<(Duration, Timeline)> {
    let start = SystemTime::now();
    let started = Instant::now();
    service.start_scheduler(None)?;
    let mut last = String::from("no answer");
    while started.elapsed() < service::PATIENCE {
        match service.status().await {
            Ok(status) if service::is_healthy(&status) => {
                let taken = started.elapsed();
                let log = std::fs::read_to_string(service.scheduler_log())?;
                let timeline = timeline::read(&log, start, taken)
                    .context("the scheduler's log lacks a step of the birth")?;
                return Ok((taken, timeline));
            }
            Ok(status) => last = service::summary(&status),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!(
        "no healthy cluster; last seen: {last}\n{}",
        service.end_of_log()
    )
}

/// Medians, and the ratio of ours to the bare ones.
pub(crate) fn rows(births: &[Births]) -> Vec<Row> {
    let (bare, ours) = births.split_at(bare_etcd::WAYS.len());
    let mut rows: Vec<Row> = births
        .iter()
        .map(|births| Row {
            figure: format!("start to three healthy voters: {}", births.name),
            measured: shown(&births.times),
            goal: None,
        })
        .collect();
    for ours in ours {
        for bare in bare {
            let ratio = ours.median().as_secs_f64() / bare.median().as_secs_f64();
            rows.push(Row {
                figure: format!("the same: {} against {}", ours.name, bare.name),
                measured: format!("{ratio:.2} times"),
                goal: Some(Goal {
                    text: "at most 1.5 times",
                    met: ratio <= 1.5,
                }),
            });
        }
    }
    rows
}

impl Births {
    fn median(&self) -> Duration {
        median(self.times.iter().copied())
    }
}
