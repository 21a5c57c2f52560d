//! A service under test: Mesos, the scheduler, its API.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use etcd_api::status::{ClusterState, PodStatus, ServiceStatus};
use etcd_local::cluster::{ClusterOptions, LocalCluster};
use mesos_v1::{Access, OperatorClient};
use rustix::process::{Pid, Signal};

use crate::scheduler::Scheduler;

pub use crate::scheduler::PATIENCE;

/// A scheduler on a Mesos cluster of its own; as a [`Scheduler`] it can be asked and
/// killed. Everything ends when it is dropped; logs stay if the test failed.
pub struct Service {
    // Dropped in this order: nothing is left for Mesos to serve when it ends.
    scheduler: Scheduler,
    /// Mesos.
    pub cluster: LocalCluster,
}

impl Deref for Service {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.scheduler
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut Scheduler {
        &mut self.scheduler
    }
}

impl Service {
    /// Mesos with so many agents; the scheduler is not started yet.
    pub async fn on_agents(agents: u8) -> Result<Self> {
        Service::on(ClusterOptions::with_agents(agents)).await
    }

    /// Mesos as described; the scheduler is not started yet.
    pub async fn on(options: ClusterOptions) -> Result<Self> {
        let cluster = LocalCluster::start(options).await?;
        let scheduler = Scheduler::new(&cluster, cluster.root(), 0)?;
        Ok(Service { scheduler, cluster })
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

    /// Where everything of this service lies.
    pub fn root(&self) -> &Path {
        self.cluster.root()
    }

    /// For each pod of a healthy service, by number, the host that holds it, from 0.
    pub fn hosts_of(&mut self, status: &ServiceStatus) -> Vec<usize> {
        let agents: Vec<String> = self
            .cluster
            .agents()
            .iter()
            .map(|agent| agent.config().address.ip().to_string())
            .collect();
        let host_of = |pod: &PodStatus| {
            let address = pod.address.as_deref()?;
            agents.iter().position(|agent| agent == address)
        };
        status.pods.iter().filter_map(host_of).collect()
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
            if matches && directory.starts_with(self.root()) {
                found.push((pid, directory));
            }
        }
        Ok(found)
    }

    /// The process of a program on the agent with this address, at work for a
    /// pod there.
    pub fn process_on(&self, program: &str, agent: usize) -> Result<Pid> {
        let directory = self.root().join(format!("mesos-agent-{}", agent + 1));
        self.processes(program)?
            .into_iter()
            .find(|(_, cwd)| cwd.starts_with(&directory))
            .map(|(pid, _)| pid)
            .with_context(|| format!("no {program} runs on agent {}", agent + 1))
    }

    /// The agent, from 0, on which a pod is by this status.
    pub fn agent_of(&mut self, status: &ServiceStatus, name: &str) -> Result<usize> {
        let address = pod(status, name)?.address.clone();
        let agents = self.cluster.agents().iter();
        let mut addresses = agents.map(|agent| agent.config().address.ip().to_string());
        addresses
            .position(|found| Some(found) == address)
            .with_context(|| format!("{name} is on no agent: {address:?}"))
    }

    /// Where the data of the only member on an agent lies.
    pub fn volume_on(&self, agent: usize) -> Result<PathBuf> {
        let work = format!("mesos-agent-{}/work", agent + 1);
        let mut directory = self.root().join(work).join("volumes/roles");
        // Below it: the role, and the volume's id.
        for _ in 0..2 {
            let mut entries = fs::read_dir(&directory)?;
            let only = entries.next().transpose()?.map(|entry| entry.path());
            let is_only = entries.next().is_none();
            directory = only
                .filter(|_| is_only)
                .with_context(|| format!("not one entry in {}", directory.display()))?;
        }
        Ok(directory)
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

/// The pod of this name.
pub fn pod<'s>(status: &'s ServiceStatus, name: &str) -> Result<&'s PodStatus> {
    let mut pods = status.pods.iter();
    pods.find(|pod| pod.name == name)
        .with_context(|| format!("there is no pod {name}"))
}
