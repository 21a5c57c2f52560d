//! `etcd-executor`: started by a Mesos agent, runs one etcd member.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use etcd_executor::member::{self, StopAsked};
use etcd_executor::reporter::{LineReporter, Reporter};
use etcd_executor::spec_reading::read_spec;
use etcd_executor::{mesos_task, run_etcd, trial};
use etcd_launch::{LaunchSpec, Phase, TrialAnswer, TrialRequest};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs one etcd member under a Mesos agent, which starts it without
/// arguments.
#[derive(Debug, Parser)]
#[command(name = "etcd-executor", version)]
struct CommandLine {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Becomes etcd, bound to the life of the executor.
    #[command(hide = true)]
    RunEtcd {
        /// Whose child this is.
        #[arg(long)]
        parent_pid: i32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Runs a member in the present directory, without Mesos: reports go to
    /// standard output, SIGTERM stops it, and a second one stops it at once.
    #[command(hide = true)]
    RunMember {
        /// The launch spec, as JSON.
        #[arg(long)]
        spec: PathBuf,
    },
    /// Tries options in the present directory, without Mesos, beside the member of a
    /// launch spec; the answer goes to standard output.
    #[command(hide = true)]
    TryOptions {
        /// The launch spec, as JSON.
        #[arg(long)]
        spec: PathBuf,
        /// The request, as JSON.
        #[arg(long)]
        request: PathBuf,
    },
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let result = match command_line.mode {
        Some(Mode::RunEtcd {
            parent_pid,
            command,
        }) => {
            let Some((program, arguments)) = command.split_first() else {
                return ExitCode::from(64);
            };
            complain(&run_etcd::become_etcd(parent_pid, program, arguments));
            return ExitCode::from(71);
        }
        Some(Mode::RunMember { spec }) => on_main_thread(run_member(spec)),
        Some(Mode::TryOptions { spec, request }) => {
            on_main_thread(try_options(spec, request))
        }
        None => on_main_thread(mesos_task::run()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `eprintln!` would panic where standard error cannot be written.
fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "etcd-executor: {message}");
}

/// Everything runs on the main thread: etcd gets SIGKILL when the thread that
/// started it ends, and the main thread ends last. It also is all that an
/// executor needs.
fn on_main_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // A full disk under the log must end neither us nor, with us, etcd.
        .log_internal_errors(false)
        .init();
    // One TLS provider for the whole process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn run_member(spec: PathBuf) -> anyhow::Result<()> {
    let text = std::fs::read(&spec).with_context(|| spec.display().to_string())?;
    let spec = match read_spec(&text, "") {
        Ok(spec) => spec,
        Err(unreadable) => {
            let (pod, generation) = (unreadable.pod, unreadable.generation);
            LineReporter { pod, generation }.report(Phase::Refused(unreadable.refusal));
            return Ok(());
        }
    };
    let sandbox = std::env::current_dir()?;
    let (stop_sender, stop) = watch::channel(None);
    let mut terminate = signal(SignalKind::terminate())?;
    let grace = Duration::from_millis(spec.stop_grace_ms);
    tokio::spawn(async move {
        let mut grace = grace;
        while terminate.recv().await.is_some() {
            stop_sender.send_replace(Some(StopAsked { grace }));
            grace = Duration::ZERO;
        }
    });
    let reporter = LineReporter {
        pod: spec.pod,
        generation: spec.generation,
    };
    member::run(&spec, &sandbox, &reporter, stop).await;
    Ok(())
}

async fn try_options(spec: PathBuf, request: PathBuf) -> anyhow::Result<()> {
    let read =
        |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
    let spec: LaunchSpec = serde_json::from_slice(&read(&spec)?)?;
    let request: TrialRequest = serde_json::from_slice(&read(&request)?)?;
    let sandbox = std::env::current_dir()?;
    let verdict = trial::try_options(&request, &spec, &sandbox).await;
    let answer = TrialAnswer::to(&request, &spec, verdict);
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}
