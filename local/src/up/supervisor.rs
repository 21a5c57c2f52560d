//! Runs the scheduler and starts it again when it ends, as Marathon would.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::layout::Layout;
use super::progress;
use super::settings::Settings;
use crate::programs::HelperProgram;

/// First pause before a restart; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_AT_MOST: Duration = Duration::from_secs(30);
/// A scheduler that has run for this long did not fail at its start.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// The scheduler needs a moment to answer requests under way.
const STOP_WITHIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Arguments of `supervise`.
#[derive(Debug, Args)]
pub struct SuperviseArguments {
    /// Where state, logs and sandboxes are.
    #[arg(long)]
    root: PathBuf,
}

/// Exit codes of the scheduler after which starting it again is of no use: options, or
/// files that they name, are wrong (64); Mesos refuses the framework for good (69).
const NOT_HEALED_BY_A_RESTART: [i32; 2] = [64, 69];

/// Supervises until SIGTERM, or until the scheduler says that it cannot run.
pub fn supervise(arguments: &SuperviseArguments) -> Result<()> {
    let layout = Layout::open(&arguments.root)?;
    let settings = Settings::stored(&layout)
        .context("it is not known what to tell the scheduler: run make up")?;
    super::on_runtime(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut pause = PAUSE_FIRST;
        loop {
            let started = Instant::now();
            let mut scheduler = start_scheduler(&layout, &settings)?;
            let ended = tokio::select! {
                ended = scheduler.wait() => ended?,
                _ = terminate.recv() => return stop(&mut scheduler).await,
            };
            eprintln!("the scheduler has ended: {ended}");
            if let Some(code) = ended.code()
                && NOT_HEALED_BY_A_RESTART.contains(&code)
            {
                bail!(
                    "starting it again would not help; its log ends:\n{}",
                    // The reason for its end stands in the very last.
                    progress::last_lines(&layout.scheduler_log(), 3)
                );
            }
            if started.elapsed() > STEADY_AFTER {
                pause = PAUSE_FIRST;
            }
            eprintln!("starting it again in {} s", pause.as_secs());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = terminate.recv() => return Ok(()),
            }
            pause = (pause * 2).min(PAUSE_AT_MOST);
        }
    })
}

/// Starts the scheduler in such a way that it dies with us: two schedulers
/// would fight over the store.
fn start_scheduler(
    layout: &Layout,
    settings: &Settings,
) -> Result<tokio::process::Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(layout.scheduler_log())?;
    let mut command = Command::new(HelperProgram::find()?.path());
    command
        .arg("guard")
        .arg("--die-with")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(&settings.program)
        .args(&settings.arguments)
        .envs(&settings.environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    tokio::process::Command::from(command)
        .spawn()
        .with_context(|| format!("cannot start {}", settings.program.display()))
}

async fn stop(scheduler: &mut tokio::process::Child) -> Result<()> {
    let pid = scheduler
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM)?;
    }
    let started = Instant::now();
    while started.elapsed() < STOP_WITHIN {
        if scheduler.try_wait()?.is_some() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    scheduler.kill().await?;
    Ok(())
}
