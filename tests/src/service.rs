//! A service under test: Mesos, the scheduler, its API.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_api::status::{ClusterState, PodStatus, ServiceStatus};
use etcd_client::Client;
use etcd_local::cluster::{ClusterOptions, LocalCluster};
use mesos_v1::{Access, OperatorClient};
use rustix::process::{Pid, Signal};

use crate::scheduler::{LOOK_AGAIN, Scheduler};

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

/// A deployment begins within this: agents register and make offers.
const FIRST_APPEARS_WITHIN: Duration = Duration::from_secs(60);

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

    /// The pod that is on the agent with this number, from 0, by this status.
    pub fn pod_on_agent(
        &mut self,
        status: &ServiceStatus,
        agent: usize,
    ) -> Result<String> {
        let mut names = status.pods.iter().map(|pod| pod.name.clone());
        names
            .find(|name| self.agent_of(status, name).ok() == Some(agent))
            .with_context(|| format!("nobody is on agent {agent}"))
    }

    /// Sends a signal to the first process of a program that appears, and gives it.
    pub async fn signal_the_first(&self, program: &str, signal: Signal) -> Result<Pid> {
        let started = Instant::now();
        while started.elapsed() < FIRST_APPEARS_WITHIN {
            for (pid, _) in self.processes(program)? {
                // Between the two it may have ended by itself.
                if !only_tells_its_version(pid) && self.signal(pid, signal).is_ok() {
                    return Ok(pid);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("no {program} was started within {FIRST_APPEARS_WITHIN:?}")
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

    /// Gives the lead to a pod's member, if it has not got it.
    pub async fn give_lead_to(&mut self, name: &str) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let known = |status: &ServiceStatus| status.leader.is_some();
            let status = self.wait_for("one leads", known).await?;
            match status.pods.iter().find(|pod| pod.leader) {
                Some(leader) if leader.name == name => return Ok(()),
                // It may have lost the lead meanwhile: looked at again.
                Some(leader) => drop(move_lead(&status, leader, name).await),
                None => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("{name} does not lead within {PATIENCE:?}")
    }

    /// Starts the scheduler anew, and waits until it has crashed at a failpoint that is
    /// passed when the leader's turn comes. Where an election gives the lead to somebody
    /// else, it is moved back to one that has its turn yet: nobody would have to hand it
    /// over else.
    pub async fn crash_at_handover(
        &mut self,
        failpoint: &str,
        has_its_turn_yet: impl Fn(&PodStatus) -> bool,
    ) -> Result<()> {
        self.kill_scheduler()?;
        self.start_scheduler(Some(failpoint))?;
        let started = Instant::now();
        while self.scheduler_runs() && started.elapsed() < PATIENCE {
            if let Ok(status) = self.status().await {
                let leader = status.pods.iter().find(|pod| pod.leader);
                let mut others = status.pods.iter().filter(|pod| pod.healthy);
                let next = others.find(|pod| has_its_turn_yet(pod));
                if let (Some(leader), Some(next)) = (leader, next)
                    && !has_its_turn_yet(leader)
                {
                    // It may have lost the lead, or been stopped: looked at again.
                    drop(move_lead(&status, leader, &next.name).await);
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.wait_until_crash(failpoint).await
    }

    /// Sends a signal to a process that this service started.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<()> {
        rustix::process::kill_process(pid, signal)?;
        Ok(())
    }
}

async fn move_lead(status: &ServiceStatus, from: &PodStatus, to: &str) -> Result<()> {
    let url = from.client_url.clone().context("it has no client URL")?;
    let member_id = pod(status, to)?.member_id.as_ref();
    let member_id = member_id.context("it is no member")?;
    let mut client = Client::connect([url], None).await?;
    client
        .move_leader(u64::from_str_radix(member_id, 16)?)
        .await?;
    Ok(())
}

/// Executors ask an etcd for its version before they start it.
fn only_tells_its_version(pid: Pid) -> bool {
    let line = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    line.unwrap_or_default().contains("--version")
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

/// Whether a pod has the task yet that it had before.
pub fn has_its_task_of(before: &ServiceStatus, pod: &PodStatus) -> bool {
    task_ids(before).contains(&(pod.name.clone(), pod.task_id.clone()))
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
