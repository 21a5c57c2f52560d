//! The `etcd-local` program.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use etcd_local::{fetcher, guard, programs};

/// Runs etcd on a real Apache Mesos on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Fetches and builds Apache Mesos, if that has not been done yet.
    BuildMesos,
    /// Becomes another program in a session of its own (used by etcd-local itself).
    #[command(hide = true)]
    Guard {
        /// Dies when this process, its parent, dies.
        #[arg(long)]
        die_with: Option<i32>,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    // Agents call this program by another name, with no arguments.
    let called_as = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&called_as).ends_with(fetcher::CALLED_AS) {
        return fetcher::run_for_agent();
    }
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("etcd-local: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Do) -> anyhow::Result<()> {
    match command {
        Do::BuildMesos => {
            let cache = programs::cache_directory()?;
            let built = programs::ensure(&cache, &|step| eprintln!("{step}"))?;
            println!("{}", built.program().display());
            Ok(())
        }
        Do::Guard { die_with, command } => {
            let program = command.first().cloned().unwrap_or_default();
            let error = guard::become_guarded(die_with, &command);
            error
                .map(|_| ())
                .with_context(|| format!("cannot start {}", program.display()))
        }
    }
}
