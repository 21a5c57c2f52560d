//! Memory at rest, and sizes of programs.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_tests::Service;
use rustix::process::Pid;

use crate::{Build, Goal, Row, birth};

/// By then the birth's buffers are freed and nothing is left to be done.
const REST: Duration = Duration::from_secs(20);

/// Resident memory of the scheduler and of the largest executor.
pub(crate) async fn memory_at_rest(build: &Build) -> Result<Vec<Row>> {
    let mut service = Service::on_agents(3).await?;
    service.use_programs_in(&build.directory);
    birth::birth(&mut service).await?;
    tokio::time::sleep(REST).await;
    let scheduler = resident(service.scheduler_pid().context("no scheduler runs")?)?;
    let mut executor = 0.0;
    for (pid, _) in service.processes("etcd-executor")? {
        executor = resident(pid)?.max(executor);
    }
    let row = |program, megabytes: f64, limit, text| Row {
        figure: format!("resident memory at rest, {program}, {}", build.name),
        measured: format!("{megabytes:.1} MB"),
        goal: Some(Goal {
            text,
            met: megabytes > 0.0 && megabytes < limit,
        }),
    };
    Ok(vec![
        row("scheduler", scheduler, 20.0, "under 20 MB"),
        row("executor", executor, 12.0, "under 12 MB"),
    ])
}

/// `VmRSS`, in millions of bytes.
fn resident(pid: Pid) -> Result<f64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// Sizes of the programs as they are shipped: static and stripped.
pub(crate) fn sizes(release: &Build) -> Result<Vec<Row>> {
    let row = |program: &str, limit, text| -> Result<Row> {
        let bytes = std::fs::metadata(release.directory.join(program))?.len();
        let megabytes = bytes as f64 / 1e6;
        Ok(Row {
            figure: format!("size of {program}, static and stripped"),
            measured: format!("{megabytes:.1} MB"),
            goal: Some(Goal {
                text,
                met: megabytes < limit,
            }),
        })
    };
    Ok(vec![
        row("etcd-scheduler", 14.0, "under 14 MB")?,
        row("etcd-executor", 9.0, "under 9 MB")?,
    ])
}
