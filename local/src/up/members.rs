//! Stopping members gracefully without their scheduler.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use crate::processes::{self, ProcessIdentity};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What runs a member, and what it runs.
const EXECUTOR: &str = "etcd-executor";
const ETCD: &str = "etcd";

/// Tells every executor under `root` to stop, which stops its etcd, and waits until
/// all have ended; those that work below `last` are told when the others have. What has
/// not ended within `limit` is killed, which etcd survives as it survives a power
/// failure.
///
/// The leader is to be last: at its end it hands the lead over, and waits seven seconds
/// in vain for a successor that is ending too.
pub(super) async fn stop_all(
    root: &Path,
    last: Option<&Path>,
    limit: Duration,
) -> Result<()> {
    let started = Instant::now();
    let all = running(root, &[EXECUTOR]);
    let leader = last.map_or_else(Vec::new, |last| running(last, &[EXECUTOR]));
    let (leader, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|process| leader.contains(process));
    let count = leader.len() + others.len();
    let mut killed = 0;
    for executors in [others, leader] {
        killed += stop(executors, limit).await?;
    }
    eprintln!(
        "{} members have stopped in {:.1} s",
        count - killed,
        started.elapsed().as_secs_f64()
    );
    if killed > 0 {
        eprintln!("{killed} had to be killed after {} s", limit.as_secs());
    }
    Ok(())
}

/// Returns how many had to be killed.
async fn stop(mut left: Vec<ProcessIdentity>, limit: Duration) -> Result<usize> {
    for executor in &left {
        executor.signal(Signal::TERM)?;
    }
    let started = Instant::now();
    while !left.is_empty() && started.elapsed() < limit {
        tokio::time::sleep(LOOK_AGAIN).await;
        left.retain(ProcessIdentity::is_running);
    }
    for executor in &left {
        executor.signal(Signal::KILL)?;
    }
    Ok(left.len())
}

/// Whether a member works in `directory` or below.
pub(super) fn is_at_work_below(directory: &Path) -> bool {
    !running(directory, &[EXECUTOR, ETCD]).is_empty()
}

fn running(root: &Path, programs: &[&str]) -> Vec<ProcessIdentity> {
    processes::all()
        .into_iter()
        .filter(|pid| {
            processes::working_directory(*pid).is_some_and(|at| at.starts_with(root))
        })
        .filter_map(ProcessIdentity::of)
        .filter(|process| {
            process
                .executable()
                .is_some_and(|file| programs.iter().any(|name| file.ends_with(name)))
        })
        .collect()
}
