//! `dcos-etcd`: the `dcos etcd` subcommand, usable by itself.
//!
//! Reads only, so far: what the scheduler answers, as it answers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

/// The scheduler answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

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
    /// Names of plans, or one plan.
    Plan {
        /// Its name, for example deploy.
        name: Option<String>,
    },
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

impl Ask {
    fn path(&self) -> String {
        match self {
            Ask::Status => "/v1/status".to_owned(),
            Ask::Plan { name: None } => "/v1/plans".to_owned(),
            Ask::Plan { name: Some(name) } => format!("/v1/plans/{name}"),
            Ask::Pod { name: None } => "/v1/pod/status".to_owned(),
            Ask::Pod { name: Some(name) } => format!("/v1/pod/{name}/status"),
            Ask::Endpoints { name: None } => "/v1/endpoints".to_owned(),
            Ask::Endpoints { name: Some(name) } => format!("/v1/endpoints/{name}"),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // One TLS provider for the process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match ask(&CommandLine::parse()).await {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dcos-etcd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(command_line: &CommandLine) -> anyhow::Result<String> {
    let url = format!(
        "{}{}",
        command_line.url.trim_end_matches('/'),
        command_line.command.path()
    );
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
    let mut request = client.get(&url);
    if let Some(token) = &command_line.token {
        request = request.bearer_auth(token);
    }
    let response = request
        .send()
        .await
        .context("the scheduler cannot be reached")?;
    let code = response.status();
    let text = response.text().await?;
    // A plan with errors is shown like any other.
    if code.is_success() || code.as_u16() == 417 {
        return Ok(text);
    }
    bail!("HTTP GET Query for {url} failed: {code}: {text}")
}
