//! A scheduler under test: its process, its options, its API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_api::status::ServiceStatus;
use etcd_local::cluster::LocalCluster;
use reqwest::StatusCode;
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::command_line::CommandLine;
use crate::programs;
use crate::service::{is_healthy, summary};

/// How long anything may take that is not said to take longer. Generous: the
/// machine is shared, and a test that fails by haste wakes people for nothing.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at something that is waited for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A write token for the API.
const TOKEN: &str = "test-token-0123456789abcdef";

/// The first scheduler of a cluster listens here, the next ones above.
const PORT: u16 = 8080;

/// A scheduler on somebody's Mesos cluster. Its process ends when it is dropped.
pub struct Scheduler {
    process: Option<Child>,
    program: PathBuf,
    url: String,
    client: reqwest::Client,
    directory: PathBuf,
    options: Value,
}

impl Scheduler {
    /// The scheduler with this number, from 0, on a cluster, with store and log in
    /// `directory`. It is not started yet.
    pub fn new(cluster: &LocalCluster, directory: &Path, number: u16) -> Result<Self> {
        // A second call in the same process only says that it was done.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        fs::create_dir_all(directory)?;
        let token_file = directory.join("tokens");
        fs::write(&token_file, format!("write:{TOKEN}\n"))?;
        let listen = cluster.lease().address(1, PORT + number).to_string();
        let options = json!({
            "node": {"mem": 256, "disk": 600},
            "etcd": {"quota": 64, "kill_grace_seconds": 10},
            "scheduler": {
                "masters": [cluster.master_address().to_string()],
                "listen": listen,
                "state_dir": directory.join("scheduler"),
                "token_file": token_file,
                "executor": programs::own_program("etcd-executor")?,
                "etcd_dir": programs::etcd_directory()?,
            }
        });
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Scheduler {
            process: None,
            program: programs::own_program("etcd-scheduler")?,
            url: format!("http://{listen}"),
            client,
            directory: directory.to_owned(),
            options,
        })
    }

    /// Changes an option for the next start of the scheduler.
    pub fn set_option(&mut self, section: &str, option: &str, value: Value) {
        self.options[section][option] = value;
    }

    /// Takes scheduler and executor from another directory for the next start,
    /// for example from that of the release build.
    pub fn use_programs_in(&mut self, directory: &Path) {
        self.program = directory.join("etcd-scheduler");
        let executor = directory.join("etcd-executor");
        self.set_option("scheduler", "executor", json!(executor));
    }

    /// Starts the scheduler, with a failpoint if one is named.
    pub fn start_scheduler(&mut self, failpoint: Option<&str>) -> Result<()> {
        let options = self.directory.join("options.json");
        fs::write(&options, serde_json::to_vec_pretty(&self.options)?)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.scheduler_log())?;
        let guard = programs::own_program("etcd-local")?;
        let mut command = Command::new(guard);
        // Dies with the test, even if that is killed.
        command
            .arg("guard")
            .arg("--die-with")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&self.program)
            .arg("--options")
            .arg(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(failpoint) = failpoint {
            command.env("ETCD_SCHEDULER_FAILPOINT", failpoint);
        }
        self.process = Some(command.spawn().context("the scheduler does not start")?);
        Ok(())
    }

    /// What `etcd-scheduler plan-update` says of options that are sent to this scheduler,
    /// or of a start with those that are set.
    pub fn plan_update(&self, sent: Option<&Value>) -> Result<Output> {
        let (options, token) = (
            self.directory.join("planned.json"),
            self.directory.join("token"),
        );
        fs::write(&options, sent.unwrap_or(&self.options).to_string())?;
        fs::write(&token, TOKEN)?;
        let mut command = Command::new(&self.program);
        command.arg("--options").arg(options).arg("plan-update");
        if sent.is_some() {
            command.arg("--url").arg(&self.url);
            command.arg("--api-token-file").arg(token);
        }
        Ok(command.output()?)
    }

    /// The scheduler's process, if it was started.
    pub fn scheduler_pid(&self) -> Option<Pid> {
        self.process.as_ref().map(Pid::from_child)
    }

    /// Where the scheduler writes its log.
    pub fn scheduler_log(&self) -> PathBuf {
        self.directory.join("scheduler.log")
    }

    /// `kill -9`.
    pub fn kill_scheduler(&mut self) -> Result<()> {
        if let Some(mut scheduler) = self.process.take() {
            scheduler.kill()?;
            scheduler.wait()?;
        }
        Ok(())
    }

    /// Waits until the scheduler has ended by itself.
    pub async fn wait_until_scheduler_ends(&mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        let scheduler = self.process.as_mut().context("no scheduler was started")?;
        while started.elapsed() < PATIENCE {
            if let Some(status) = scheduler.try_wait()? {
                self.process = None;
                return Ok(status);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("the scheduler still runs after {PATIENCE:?}")
    }

    /// Starts the scheduler anew, whether it runs or not, and waits until it has crashed
    /// at a failpoint.
    pub async fn crash_at(&mut self, failpoint: &str) -> Result<()> {
        self.kill_scheduler()?;
        self.start_scheduler(Some(failpoint))?;
        self.wait_until_crash(failpoint).await
    }

    /// Waits until the scheduler has crashed at the failpoint that it was started with.
    pub async fn wait_until_crash(&mut self, failpoint: &str) -> Result<()> {
        let ended = self.wait_until_scheduler_ends().await;
        let ended = ended.with_context(|| format!("{failpoint} is not passed"))?;
        ensure!(
            !ended.success(),
            "{failpoint}: the scheduler ended by itself"
        );
        Ok(())
    }

    /// Whether the scheduler has not ended.
    pub fn scheduler_runs(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|scheduler| matches!(scheduler.try_wait(), Ok(None)))
    }

    /// GET, with the token.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .bearer_auth(TOKEN);
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// GET, with the token, up to the headers; the body may take its time.
    pub async fn begin_get(&self, path: &str) -> Result<reqwest::Response> {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .timeout(PATIENCE)
            .bearer_auth(TOKEN);
        Ok(request.send().await?)
    }

    /// POST with an empty body, with the token.
    pub async fn post(&self, path: &str) -> Result<(StatusCode, String)> {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(TOKEN);
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// PUT of a JSON document, with the token; only if what is changed still has the
    /// version, where one is given.
    pub async fn put(
        &self,
        path: &str,
        if_match: Option<&str>,
        body: &str,
    ) -> Result<(StatusCode, String)> {
        let mut request = self
            .client
            .put(format!("{}{path}", self.url))
            .bearer_auth(TOKEN)
            .body(body.to_owned());
        if let Some(version) = if_match {
            request = request.header("if-match", version);
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// GET with another token or none: the status only.
    pub async fn get_as(&self, token: Option<&str>, path: &str) -> Result<StatusCode> {
        let mut request = self.client.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send().await?.status())
    }

    /// The command line, at work for this scheduler.
    pub fn command_line(&self) -> Result<CommandLine> {
        CommandLine::new(&self.url, TOKEN)
    }

    /// The service's status.
    pub async fn status(&self) -> Result<ServiceStatus> {
        let (code, body) = self.get("/v1/status").await?;
        if !code.is_success() {
            bail!("/v1/status answers {code}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("not a status: {body}"))
    }

    /// Waits until the status is as wanted.
    pub async fn wait_for(
        &mut self,
        what: &str,
        wanted: impl Fn(&ServiceStatus) -> bool,
    ) -> Result<ServiceStatus> {
        let started = Instant::now();
        let mut last = String::from("no answer");
        while started.elapsed() < PATIENCE {
            match self.status().await {
                Ok(status) if wanted(&status) => return Ok(status),
                Ok(status) => last = summary(&status),
                Err(error) => last = format!("{error:#}"),
            }
            if self.process.is_some() && !self.scheduler_runs() {
                bail!(
                    "waiting until {what}: the scheduler has ended; last seen: {last}\n{}",
                    self.end_of_log()
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!(
            "not within {PATIENCE:?}: {what}; last seen: {last}\n{}",
            self.end_of_log()
        )
    }

    /// Waits for a formed cluster whose pods are all healthy voters.
    pub async fn wait_until_healthy(&mut self) -> Result<ServiceStatus> {
        self.wait_for("all members are healthy voters", is_healthy)
            .await
    }

    /// The newest log lines, for messages of failed tests.
    pub fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.scheduler_log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("the scheduler's log ends:\n{}", lines[from..].join("\n"))
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Err(error) = self.kill_scheduler() {
            eprintln!("the scheduler could not be ended: {error}");
        }
        if std::thread::panicking() {
            eprintln!("{}", self.end_of_log());
        }
    }
}
