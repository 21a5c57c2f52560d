//! `dcos-etcd`: the `dcos etcd` subcommand, usable by itself.
//!
//! Thin: it asks the scheduler, and shows what it answers.

mod client;
mod plan_tree;
mod plans;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Scheduler;
use plans::PlanCommand;

/// Talks to the scheduler of an etcd service.
#[derive(Debug, Parser)]
#[command(name = "dcos-etcd", version)]
struct CommandLine {
    /// Where the scheduler's API is.
    #[arg(long, env = "SCHEDULER_URL")]
    url: String,
    /// Token for the API.
    #[arg(long, env = "SCHEDULER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(subcommand)]
    command: Ask,
}

#[derive(Debug, Subcommand)]
enum Ask {
    /// Pods, members, leader, plans, and why something waits.
    Status,
    /// Look at plans, pause and resume them, tell them to go on or begin anew.
    #[command(subcommand, visible_alias = "plans")]
    Plan(PlanCommand),
    /// States of all pods, or of one.
    Pod {
        /// Its name, for example etcd-0.
        name: Option<String>,
    },
    /// Names of endpoints, or one endpoint.
    Endpoints {
        /// Its name, for example api.
        name: Option<String>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // One TLS provider for the process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match ask(CommandLine::parse()).await {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dcos-etcd: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(command_line: CommandLine) -> anyhow::Result<String> {
    let scheduler = Scheduler::at(&command_line.url, command_line.token)?;
    match &command_line.command {
        Ask::Status => scheduler.get(&["status"]).await,
        Ask::Plan(command) => plans::run(&scheduler, command).await,
        Ask::Pod { name: None } => scheduler.get(&["pod", "status"]).await,
        Ask::Pod { name: Some(name) } => scheduler.get(&["pod", name, "status"]).await,
        Ask::Endpoints { name: None } => scheduler.get(&["endpoints"]).await,
        Ask::Endpoints { name: Some(name) } => scheduler.get(&["endpoints", name]).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    /// The SDK's words, each as the one command that it means.
    #[test]
    fn words_of_plan_commands() {
        #[track_caller]
        fn check(words: &str, expected: &str) {
            let line = format!("dcos-etcd --url http://h plan {words}");
            let found = match CommandLine::try_parse_from(line.split(' ')) {
                Ok(CommandLine {
                    command: Ask::Plan(command),
                    ..
                }) => format!("{command:?}"),
                other => format!("{other:?}"),
            };
            assert!(found.starts_with(expected), "{words}: {found}");
        }
        check("list", "List");
        check("status deploy", "Status");
        check(
            "show deploy --json",
            "Status { plan: \"deploy\", json: true",
        );
        check("start backup -p A=1 -p B=2", "Start");
        check("stop deploy", "Stop");
        for (words, expected) in [
            ("pause", "Pause"),
            ("interrupt", "Pause"),
            ("resume", "Resume"),
            ("continue", "Resume"),
            ("force-restart", "ForceRestart"),
            ("restart", "ForceRestart"),
            ("force-complete", "ForceComplete"),
            ("force", "ForceComplete"),
        ] {
            check(&format!("{words} deploy"), expected);
            check(&format!("{words} deploy agents"), expected);
            check(&format!("{words} deploy agents etcd-0:[node]"), expected);
        }
        check("status", "Err");
        check("explode deploy", "Err");
    }
}
