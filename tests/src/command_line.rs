//! `dcos-etcd`, as an operator types it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::programs;

/// For one command; those that wait for something have bounds of their own.
const PATIENCE: Duration = Duration::from_secs(120);

/// The command line, at work for one scheduler.
pub struct CommandLine {
    program: PathBuf,
    url: String,
    token: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// The standard output.
    pub out: String,
    /// The error output.
    pub error: String,
}

impl CommandLine {
    /// For the scheduler whose API is there.
    pub(crate) fn new(url: &str, token: &str) -> Result<Self> {
        Ok(CommandLine {
            program: programs::own_program("dcos-etcd")?,
            url: url.to_owned(),
            token: token.to_owned(),
        })
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words.split_whitespace())
            .env_clear()
            .env("ETCDFW_URL", &self.url)
            .env("ETCDFW_TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, words: &str) -> Result<Ended> {
        let running = self.command(words).output();
        let Ok(output) = tokio::time::timeout(PATIENCE, running).await else {
            bail!("dcos-etcd {words} did not end within {PATIENCE:?}");
        };
        ended(output.with_context(|| format!("dcos-etcd {words}"))?)
    }

    /// Runs a command that has to succeed, for its output.
    pub async fn succeed(&self, words: &str) -> Result<String> {
        let ended = self.run(words).await?;
        if ended.code != 0 {
            bail!("dcos-etcd {words}: {ended:?}");
        }
        Ok(ended.out)
    }

    /// Starts a command that goes on until it is ended.
    pub fn start(&self, words: &str) -> Result<Child> {
        Ok(self.command(words).spawn()?)
    }
}

/// Ends a command that goes on, and gives what it wrote.
pub async fn end(mut child: Child) -> Result<String> {
    child.start_kill()?;
    let output = child.wait_with_output().await?;
    Ok(String::from_utf8(output.stdout)?)
}

fn ended(output: Output) -> Result<Ended> {
    Ok(Ended {
        code: output.status.code().context("ended by a signal")?,
        out: String::from_utf8(output.stdout)?,
        error: String::from_utf8(output.stderr)?,
    })
}
