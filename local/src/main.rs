//! The `etcd-local` program.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use etcd_local::{fetcher, guard, programs, setup, up};

/// Runs etcd on a real Apache Mesos on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Installs and fetches what is missing on this machine, and says so.
    Setup {
        /// Prints the directory of the etcd that was found, and nothing else.
        #[arg(long)]
        print_etcd_dir: bool,
    },
    /// Boots Mesos, starts the scheduler and waits for a healthy cluster.
    Up(up::UpArguments),
    /// Stops everything; the data stays.
    Down(up::DownArguments),
    /// Shows pods, members, leader and plan.
    Status(up::StatusArguments),
    /// Runs the scheduler and starts it again when it ends, as Marathon would.
    #[command(hide = true)]
    Supervise(up::SuperviseArguments),
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
        Do::Setup { print_etcd_dir } => {
            let say = |step: &str| eprintln!("{step}");
            let cache = programs::cache_directory()?;
            setup::machine::ensure(&cache, &say)?;
            programs::ensure(&cache, &say)?;
            let etcd = setup::etcd::ensure(&cache, &say)?;
            if print_etcd_dir {
                println!("{}", etcd.dir.display());
            } else {
                say(&format!(
                    "etcd {} from {}",
                    etcd.version,
                    etcd.dir.display()
                ));
            }
            Ok(())
        }
        Do::Up(arguments) => up::up(&arguments),
        Do::Down(arguments) => up::down(&arguments),
        Do::Status(arguments) => up::status(&arguments),
        Do::Supervise(arguments) => up::supervise(&arguments),
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
