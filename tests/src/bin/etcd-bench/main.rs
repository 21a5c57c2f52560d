//! `make bench`: the figures of the README, measured on this machine and
//! printed as a Markdown table. `etcd-bench growth`, and so on, measures that alone;
//! `etcd-bench rolling-update 2` in so many rounds.
//!
//! | figure | file |
//! |---|---|
//! | from the scheduler's start to three healthy voters | `birth.rs` |
//! | three bare etcd processes, to compare with | `bare_etcd.rs` |
//! | growth from one member to three, and by hand | `growth.rs` |
//! | replacement of a dead member, and by hand | `replacement.rs` |
//! | the longest time without a write while members change | `gaps.rs`, `writer.rs` |
//! | an update that goes through three members, and by hand | `rolling_update.rs` |
//! | requests that fail meanwhile although they are tried again | `requests.rs` |
//! | a cluster that is looked after by hand, to compare with | `by_hand.rs` |
//! | where the time of a birth goes | `timeline.rs` |
//! | memory at rest, sizes of programs | `footprint.rs` |
//! | speed of the simulation | `simulation.rs` |

mod bare_etcd;
mod birth;
mod by_hand;
mod footprint;
mod gaps;
mod growth;
mod replacement;
mod requests;
mod rolling_update;
mod simulation;
mod timeline;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_tests::programs;

/// One build of our programs.
pub(crate) struct Build {
    /// As the table calls it.
    pub(crate) name: &'static str,
    /// Where scheduler and executor lie.
    pub(crate) directory: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let builds = builds()?;
    let alone = match std::env::args().nth(1).as_deref() {
        Some("growth") => Some(growth::rows().await?),
        Some("memory") => Some(footprint::memory_at_rest(&builds[0]).await?),
        Some("gaps") => Some(gaps::rows().await?),
        Some("rolling-update") => Some(rolling_update::rows(rounds()?).await?),
        Some("replacement") => Some(replacement::rows().await?),
        Some("replacement-small") => Some(replacement::small().await?),
        Some("replacement-large") => Some(replacement::large().await?),
        Some(other) => anyhow::bail!(
            "{other}: growth, memory, gaps, rolling-update, replacement, replacement-small \
             and replacement-large can be measured alone"
        ),
        None => None,
    };
    if let Some(rows) = alone {
        println!("{}\n", machine()?);
        rows.iter().for_each(|row| println!("{row}"));
        return Ok(());
    }
    if builds.len() < 2 {
        eprintln!("no release build: run make release for its figures");
    }
    // First, because Cargo may have to build it, and nothing shall run beside
    // what follows.
    let simulation = simulation::rows().await?;
    let births = birth::measure(&builds).await?;
    let mut rows = birth::rows(&births);
    for build in &builds {
        rows.extend(footprint::memory_at_rest(build).await?);
    }
    if let Some(release) = builds.get(1) {
        rows.extend(footprint::sizes(release)?);
    }
    rows.extend(growth::rows().await?);
    rows.extend(replacement::rows().await?);
    rows.extend(gaps::rows().await?);
    rows.extend(rolling_update::rows(rolling_update::ROUNDS).await?);
    rows.extend(simulation);

    println!("{}\n", machine()?);
    println!("| figure | measured | goal | |\n|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
    println!("\n{}", timeline::table(&births));
    Ok(())
}

/// How many rounds are asked for, of what is measured alone.
fn rounds() -> Result<usize> {
    let Some(given) = std::env::args().nth(2) else {
        return Ok(rolling_update::ROUNDS);
    };
    let rounds = given.parse().ok().filter(|rounds| *rounds > 0);
    rounds.with_context(|| format!("{given:?} is no number of rounds"))
}

/// The build that this program belongs to, which `make up` and the tests use,
/// and the release build if it is complete.
fn builds() -> Result<Vec<Build>> {
    let own = programs::own_directory()?;
    let release = own
        .parent()
        .context("this program does not lie in a target directory")?
        .join("release");
    let mut builds = vec![Build {
        name: "dev",
        directory: own,
    }];
    let complete = ["etcd-scheduler", "etcd-executor"]
        .iter()
        .all(|program| release.join(program).is_file());
    if complete {
        builds.push(Build {
            name: "release",
            directory: release,
        });
    }
    Ok(builds)
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let loads = std::fs::read_to_string("/proc/loadavg")?;
    let load = loads.split(' ').nth(1).unwrap_or("unknown");
    Ok(format!(
        "{cores} cores; load over the last five minutes, this run included: {load}."
    ))
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) figure: String,
    pub(crate) measured: String,
    pub(crate) goal: Option<Goal>,
}

/// What a figure should be, and whether it is.
pub(crate) struct Goal {
    pub(crate) text: &'static str,
    pub(crate) met: bool,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (goal, verdict) = match &self.goal {
            Some(goal) if goal.met => (goal.text, "met"),
            Some(goal) => (goal.text, "**not met**"),
            None => ("", ""),
        };
        let (figure, measured) = (&self.figure, &self.measured);
        write!(f, "| {figure} | {measured} | {goal} | {verdict} |")
    }
}

/// The middle of the times; of an even number, the mean of the middle two.
pub(crate) fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort();
    match times.len() {
        0 => Duration::ZERO,
        n if n % 2 == 1 => times[n / 2],
        n => (times[n / 2 - 1] + times[n / 2]) / 2,
    }
}

/// The median of times, and the range that they are in.
pub(crate) fn shown(times: &[Duration]) -> String {
    let median = median(times.iter().copied());
    let least = times.iter().min().copied().unwrap_or_default();
    let most = times.iter().max().copied().unwrap_or_default();
    format!(
        "{:.2} s (median of {}; {:.2} to {:.2})",
        median.as_secs_f64(),
        times.len(),
        least.as_secs_f64(),
        most.as_secs_f64()
    )
}
