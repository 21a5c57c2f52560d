//! A service under test: Mesos, the scheduler, its API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_api::status::{ClusterState, PodStatus, ServiceStatus};
use etcd_local::cluster::{ClusterOptions, LocalCluster};
use mesos_v1::{Access, OperatorClient};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::programs;

/// How long anything may take that is not said to take longer. Generous: the
/// machine is shared, and a test that fails by haste wakes people for nothing.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A write token for the API.
const TOKEN: &str = "test-token-0123456789abcdef";

/// A scheduler on a Mesos cluster of its own. Everything ends when it is
/// dropped; logs stay if the test failed.
pub struct Service {
    /// Mesos.
    pub cluster: LocalCluster,
    scheduler: Option<Child>,
    scheduler_program: PathBuf,
    url: String,
    client: reqwest::Client,
    root: PathBuf,
    options: Value,
    starts: u32,
}

impl Service {
    /// Mesos with so many agents; the scheduler is not started yet.
    pub async fn on_agents(agents: u8) -> Result<Self> {
        // A second call in the same process only says that it was done.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = LocalCluster::start(ClusterOptions::with_agents(agents)).await?;
        let root = cluster.root().to_owned();
        let token_file = root.join("tokens");
        fs::write(&token_file, format!("write:{TOKEN}\n"))?;
        let listen = cluster.lease().address(1, 8080).to_string();
        let options = json!({
            "node": {"mem": 256, "disk": 600},
            "etcd": {"quota": 64, "kill_grace_seconds": 10},
            "scheduler": {
                "masters": [cluster.master_address().to_string()],
                "listen": listen,
                "state_dir": root.join("scheduler"),
                "token_file": token_file,
                "executor": programs::own_program("etcd-executor")?,
                "etcd_dir": programs::etcd_directory()?,
            }
        });
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Service {
            cluster,
            scheduler: None,
            scheduler_program: programs::own_program("etcd-scheduler")?,
            url: format!("http://{listen}"),
            client,
            root,
            options,
            starts: 0,
        })
    }

    /// Mesos with three agents, and a scheduler that was just started.
    pub async fn start() -> Result<Self> {
        let mut service = Service::on_agents(3).await?;
        service.start_scheduler(None)?;
        Ok(service)
    }

    /// Three healthy voters on three agents.
    pub async fn deployed() -> Result<Self> {
        let mut service = Service::start().await?;
        service.wait_until_healthy().await?;
        Ok(service)
    }

    /// Changes an option for the next start of the scheduler.
    pub fn set_option(&mut self, section: &str, option: &str, value: Value) {
        self.options[section][option] = value;
    }

    /// Takes scheduler and executor from another directory for the next start,
    /// for example from that of the release build.
    pub fn use_programs_in(&mut self, directory: &Path) {
        self.scheduler_program = directory.join("etcd-scheduler");
        let executor = directory.join("etcd-executor");
        self.set_option("scheduler", "executor", json!(executor));
    }

    /// Starts the scheduler, with a failpoint if one is named.
    pub fn start_scheduler(&mut self, failpoint: Option<&str>) -> Result<()> {
        self.starts += 1;
        let options = self.root.join("options.json");
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
            .arg(&self.scheduler_program)
            .arg("--options")
            .arg(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(failpoint) = failpoint {
            command.env("ETCD_SCHEDULER_FAILPOINT", failpoint);
        }
        self.scheduler = Some(command.spawn().context("the scheduler does not start")?);
        Ok(())
    }

    /// The scheduler's process, if it was started.
    pub fn scheduler_pid(&self) -> Option<Pid> {
        self.scheduler.as_ref().map(Pid::from_child)
    }

    /// Where the scheduler writes its log.
    pub fn scheduler_log(&self) -> PathBuf {
        self.root.join("scheduler.log")
    }

    /// Where everything of this service lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `kill -9`.
    pub fn kill_scheduler(&mut self) -> Result<()> {
        if let Some(mut scheduler) = self.scheduler.take() {
            scheduler.kill()?;
            scheduler.wait()?;
        }
        Ok(())
    }

    /// Waits until the scheduler has ended by itself.
    pub async fn wait_until_scheduler_ends(&mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        let scheduler = self
            .scheduler
            .as_mut()
            .context("no scheduler was started")?;
        while started.elapsed() < PATIENCE {
            if let Some(status) = scheduler.try_wait()? {
                self.scheduler = None;
                return Ok(status);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("the scheduler still runs after {PATIENCE:?}")
    }

    /// Whether the scheduler has not ended.
    pub fn scheduler_runs(&mut self) -> bool {
        self.scheduler
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

    /// POST with an empty body, with the token.
    pub async fn post(&self, path: &str) -> Result<(StatusCode, String)> {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(TOKEN);
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
            if self.scheduler.is_some() && !self.scheduler_runs() {
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

    /// Processes below the service's root whose command begins so, for example
    /// `etcd` or `etcd-executor`, with the working directory of each.
    pub fn processes(&self, program: &str) -> Result<Vec<(Pid, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
                .and_then(Pid::from_raw)
            else {
                continue;
            };
            let directory = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let executable = fs::read_link(entry.path().join("exe")).unwrap_or_default();
            let matches = executable.file_name().is_some_and(|name| name == program);
            if matches && directory.starts_with(&self.root) {
                found.push((pid, directory));
            }
        }
        Ok(found)
    }

    /// The process of a program on the agent with this address, at work for a
    /// pod there.
    pub fn process_on(&self, program: &str, agent: usize) -> Result<Pid> {
        let directory = self.root.join(format!("mesos-agent-{}", agent + 1));
        self.processes(program)?
            .into_iter()
            .find(|(_, cwd)| cwd.starts_with(&directory))
            .map(|(pid, _)| pid)
            .with_context(|| format!("no {program} runs on agent {}", agent + 1))
    }

    /// Tells the master that the agent on this host will never come back.
    pub async fn mark_agent_gone(&self, host: &str) -> Result<()> {
        let master = self.cluster.master_address().to_string();
        let operator = OperatorClient::new(master.parse()?, &Access::default())?;
        let agents = operator.get_agents().await?;
        let gone = agents
            .agents
            .iter()
            .map(|agent| &agent.agent_info)
            .find(|info| info.hostname == host)
            .and_then(|info| info.id.clone())
            .with_context(|| format!("no agent on {host}"))?;
        operator.mark_agent_gone(gone).await?;
        Ok(())
    }

    /// Sends a signal to a process that this service started.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<()> {
        rustix::process::kill_process(pid, signal)?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.kill_scheduler() {
            eprintln!("the scheduler could not be ended: {error}");
        }
        if std::thread::panicking() {
            eprintln!("{}", self.end_of_log());
        }
    }
}

/// Whether the cluster is formed and every pod a healthy voter.
pub fn is_healthy(status: &ServiceStatus) -> bool {
    status.cluster.state == ClusterState::Formed
        && !status.pods.is_empty()
        && status.pods.iter().all(|pod| pod.healthy)
        && status.waiting.is_none()
}

/// One line for messages.
pub fn summary(status: &ServiceStatus) -> String {
    let pods: Vec<String> = status
        .pods
        .iter()
        .map(|pod| {
            let why = pod
                .waiting
                .as_ref()
                .map_or("", |waiting| waiting.text.as_str());
            format!("{} healthy={} {why}", pod.name, pod.healthy)
        })
        .collect();
    format!("cluster {:?}; {}", status.cluster.state, pods.join("; "))
}

/// Pod name and member id of every pod.
pub fn member_ids(status: &ServiceStatus) -> Vec<(String, Option<String>)> {
    status
        .pods
        .iter()
        .map(|pod| (pod.name.clone(), pod.member_id.clone()))
        .collect()
}

/// Pod name and task id of every pod.
pub fn task_ids(status: &ServiceStatus) -> Vec<(String, Option<String>)> {
    status
        .pods
        .iter()
        .map(|pod| (pod.name.clone(), pod.task_id.clone()))
        .collect()
}

/// The pod on the agent with this number, from 0.
pub fn pod_on<'s>(status: &'s ServiceStatus, address: &str) -> Option<&'s PodStatus> {
    status
        .pods
        .iter()
        .find(|pod| pod.address.as_deref() == Some(address))
}
