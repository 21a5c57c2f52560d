//! Stopping members gracefully without their scheduler.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Tells every executor under `root` to stop, which stops its etcd, and waits
/// until all have ended. Returns how many there were.
pub(super) async fn stop_all(root: &Path, limit: Duration) -> Result<usize> {
    let found = executors(root)?;
    for pid in &found {
        // One that has just ended needs no signal.
        let _ = kill_process(*pid, Signal::TERM);
    }
    let started = Instant::now();
    loop {
        let left = executors(root)?.len();
        if left == 0 {
            return Ok(found.len());
        }
        if started.elapsed() > limit {
            anyhow::bail!("{left} executors still run {limit:?} after SIGTERM");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn executors(root: &Path) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        let works_here = fs::read_link(entry.path().join("cwd"))
            .is_ok_and(|directory| directory.starts_with(root));
        let is_executor = fs::read_link(entry.path().join("exe")).is_ok_and(|program| {
            program
                .file_name()
                .is_some_and(|name| name == "etcd-executor")
        });
        if works_here && is_executor {
            found.push(pid);
        }
    }
    Ok(found)
}
