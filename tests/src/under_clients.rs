//! What most fault tests begin with: a deployed service, and clients at work on it
//! whose histories are judged at the end.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_api::status::ServiceStatus;
use rustix::process::Pid;

use crate::Service;
use crate::scheduler::{LOOK_AGAIN, PATIENCE};
use crate::service::{is_healthy, pod};
use crate::witness::Witness;

/// Healthy members, a known leader, and a witness.
pub struct UnderClients {
    service: Service,
    witness: Option<Witness>,
    /// How it was when the clients began.
    pub before: ServiceStatus,
}

impl Deref for UnderClients {
    type Target = Service;
    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for UnderClients {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

impl UnderClients {
    /// Three members on so many agents.
    pub async fn on_agents(agents: u8) -> Result<Self> {
        let mut service = Service::on_agents(agents).await?;
        service.start_scheduler(None)?;
        UnderClients::of(service).await
    }

    /// A service whose scheduler was started.
    pub async fn of(mut service: Service) -> Result<Self> {
        let led = |status: &ServiceStatus| is_healthy(status) && status.leader.is_some();
        let before = service.wait_for("all are well and led", led).await?;
        let witness = Some(Witness::start(&before).await?);
        Ok(UnderClients {
            service,
            witness,
            before,
        })
    }

    /// What `dcos-etcd` says to a command that has to succeed.
    pub async fn dcos_etcd(&self, words: &str) -> Result<String> {
        self.command_line()?.succeed(words).await
    }

    /// What `dcos-etcd` says to a command that has to be refused.
    pub async fn refused(&self, words: &str) -> Result<String> {
        let ended = self.command_line()?.run(words).await?;
        ensure!(ended.code == 1, "dcos-etcd {words}: {ended:?}");
        Ok(ended.error)
    }

    /// Waits until a program runs on an agent, other than the process that is given.
    pub async fn wait_until_runs(
        &self,
        program: &str,
        agent: usize,
        other_than: Option<Pid>,
    ) -> Result<Pid> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Ok(pid) = self.process_on(program, agent)
                && Some(pid) != other_than
            {
                return Ok(pid);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{program} is not started on agent {agent} within {PATIENCE:?}")
    }

    /// Waits until nothing runs a program on an agent.
    pub async fn wait_until_ended(&self, program: &str, agent: usize) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.process_on(program, agent).is_err() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{program} still runs on agent {agent} after {PATIENCE:?}")
    }

    /// The sandbox of what runs on an agent, as a path of this machine.
    pub fn sandbox_on(&self, agent: usize) -> Result<PathBuf> {
        let executor = self.process_on("etcd-executor", agent)?;
        let sandbox = format!("/proc/{}/cwd", executor.as_raw_nonzero());
        Ok(std::fs::read_link(sandbox)?)
    }

    /// What a shell in a container would do. On these agents (posix isolation) a
    /// container has no file system of its own, so a shell in its sandbox with
    /// `MESOS_SANDBOX` set sees all that one entered by `dcos task exec` would see.
    pub fn shell_in_container(&self, agent: usize, script: &str) -> Result<String> {
        let sandbox = self.sandbox_on(agent)?;
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(&sandbox)
            .env("MESOS_SANDBOX", &sandbox)
            .output()?;
        let out = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}: {out}{error}");
        Ok(out.into_owned())
    }

    /// Waits until `dcos-etcd` says something that holds these words.
    pub async fn wait_until_said(&self, command: &str, words: &str) -> Result<String> {
        let (operator, started) = (self.command_line()?, Instant::now());
        let mut last = String::new();
        while started.elapsed() < PATIENCE {
            // A scheduler that was just started is not reached for a moment.
            let ended = operator.run(command).await?;
            last = ended.out + &ended.error;
            if last.contains(words) {
                return Ok(last);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("dcos-etcd {command} does not say {words:?} within {PATIENCE:?}: {last}")
    }

    /// Tells the clients where members are now.
    pub fn members_are(&self, status: &ServiceStatus) {
        if let Some(witness) = &self.witness {
            witness.members_are(status);
        }
    }

    /// Waits until all members are healthy voters; then the witness says whether a
    /// client was ever told what cannot be, such as that its write is gone. Gives the
    /// status, and the longest time between two acknowledged writes.
    pub async fn wait_until_well(&mut self) -> Result<(ServiceStatus, Duration)> {
        let after = self.service.wait_until_healthy().await?;
        let witness = self.witness.take().context("the witness has spoken")?;
        witness.members_are(&after);
        let testimony = witness.finish().await?;
        println!("{}", testimony.summary());
        testimony.check()?;
        Ok((after, testimony.longest_gap()))
    }
}

/// Whether a pod has another member than before, and all are well.
pub fn has_another_member(
    status: &ServiceStatus,
    name: &str,
    before: &ServiceStatus,
) -> bool {
    let id = |status: &ServiceStatus| pod(status, name).ok()?.member_id.clone();
    is_healthy(status) && id(status) != id(before)
}
