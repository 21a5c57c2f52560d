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
/// all have ended. Those that have not within `limit` are killed, which etcd survives
/// as it survives a power failure.
pub(super) async fn stop_all(root: &Path, limit: Duration) -> Result<()> {
    let mut left = running(root, &[EXECUTOR]);
    let all = left.len();
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
    eprintln!(
        "{} members have stopped in {:.1} s",
        all - left.len(),
        started.elapsed().as_secs_f64()
    );
    if !left.is_empty() {
        eprintln!(
            "{} had to be killed after {} s",
            left.len(),
            limit.as_secs()
        );
    }
    Ok(())
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
