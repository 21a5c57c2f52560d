//! A framework of somebody else on the same master: `stranger/stranger.py`, on pymesos.

use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::programs;
use crate::scheduler::{LOOK_AGAIN, PATIENCE};

/// What the stranger does.
#[derive(Clone, Debug)]
pub struct StrangerOptions {
    /// Its role; another framework's, if the two are to share.
    pub role: &'static str,
    /// How many times it takes all offers, and so how many tasks it runs.
    pub rounds: u32,
    /// For how long it holds all offers each time.
    pub hold_seconds: f64,
}

/// The stranger at work. It dies with the test.
pub struct Stranger {
    process: Child,
    log: PathBuf,
}

impl Stranger {
    /// Starts it, with its log in `directory`. Fetches pymesos first if this machine
    /// has not got it, which blocks for some seconds.
    pub fn start(
        master: SocketAddrV4,
        directory: &Path,
        options: &StrangerOptions,
    ) -> Result<Self> {
        let cache = etcd_local::programs::cache_directory()?;
        let python = etcd_local::setup::pymesos::ensure(&cache, &|step| {
            eprintln!("{step}");
        })?;
        let log = directory.join("stranger.log");
        let out = File::create(&log)?;
        let mut command = Command::new(programs::own_program("etcd-local")?);
        command
            .args(["guard", "--die-with", &std::process::id().to_string(), "--"])
            .arg(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("stranger/stranger.py"))
            .args(["framework", "--role", options.role])
            .args(["--master", &master.to_string()])
            .args(["--rounds", &options.rounds.to_string()])
            .args(["--hold-seconds", &options.hold_seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let process = command.spawn().context("the stranger does not start")?;
        Ok(Stranger { process, log })
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a line of its log begins so.
    pub async fn wait_until_says(&mut self, words: &str) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.log().lines().any(|line| line.starts_with(words)) {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!(
                    "the stranger ended, {status}, before {words:?}: {}",
                    self.log()
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!(
            "the stranger does not say {words:?} within {PATIENCE:?}: {}",
            self.log()
        )
    }

    /// Waits until all its tasks have finished and it has ended.
    pub async fn wait_until_served(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the stranger ended, {status}: {}", self.log()),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        bail!(
            "the stranger is not served within {PATIENCE:?}: {}",
            self.log()
        )
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the stranger's log:\n{}", self.log());
        }
    }
}
