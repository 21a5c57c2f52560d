//! A Mesos master process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use super::operator::{MasterState, OperatorApi, RegisteredAgent};
use super::{
    FaultDomain, Launcher, Timing, absolute, listen_flags, path_flag, with_extra_flags,
};
use crate::LocalError;
use crate::daemon::{Daemon, DaemonSpec};
use crate::waiting::{Look, wait_until};

/// A master ends in milliseconds; with a busy replicated log in a second or two.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Where the master keeps its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registry {
    /// Forgotten with the process: agents must register anew after a restart.
    InMemory,
    /// On disk, for a master that is alone.
    ReplicatedLog,
    /// On disk and elected through ZooKeeper.
    ZooKeeper {
        /// `zk://host:port/path`
        url: String,
        /// More than half of the masters.
        quorum: u32,
    },
}

/// How to start a master.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Absolute; holds the registry in `work`, the log and the pid file.
    pub directory: PathBuf,
    /// Where the registry is kept.
    pub registry: Registry,
    /// How soon lost agents are noticed.
    pub timing: Timing,
    /// Its fault domain; needed if agents have one.
    pub domain: Option<FaultDomain>,
    /// More flags, `--name=value`; they win over ours of the same name.
    pub extra_flags: Vec<String>,
}

impl MasterConfig {
    /// A master on its own with a registry on disk.
    pub fn new(address: SocketAddrV4, directory: PathBuf, timing: Timing) -> Self {
        MasterConfig {
            address,
            directory,
            registry: Registry::ReplicatedLog,
            timing,
            domain: None,
            extra_flags: Vec::new(),
        }
    }

    fn flags(&self) -> Vec<String> {
        let mut flags =
            listen_flags(self.address, &self.address.ip().to_string()).to_vec();
        flags.push(path_flag("work_dir", &self.directory.join("work")));
        match &self.registry {
            Registry::InMemory => flags.push("--registry=in_memory".to_owned()),
            Registry::ReplicatedLog => {}
            Registry::ZooKeeper { url, quorum } => {
                flags.extend([format!("--zk={url}"), format!("--quorum={quorum}")]);
            }
        }
        let timing: &[&str] = match self.timing {
            Timing::Quick => &[
                "--allocation_interval=100ms",
                "--agent_ping_timeout=1secs",
                "--max_agent_ping_timeouts=2",
            ],
            Timing::Calm => {
                &["--agent_ping_timeout=3secs", "--max_agent_ping_timeouts=5"]
            }
        };
        flags.extend(timing.iter().map(|flag| (*flag).to_owned()));
        flags.extend(self.domain.as_ref().map(FaultDomain::flag));
        with_extra_flags(flags, &self.extra_flags)
    }

    fn daemon(&self, launcher: &Launcher) -> Result<DaemonSpec, LocalError> {
        let flags = self.flags().into_iter().map(OsString::from);
        Ok(DaemonSpec {
            name: "mesos-master".to_owned(),
            program: launcher.programs.program(),
            arguments: std::iter::once("master".into()).chain(flags).collect(),
            environment: BTreeMap::new(),
            directory: absolute(&self.directory)?,
            lifetime: launcher.lifetime,
            helper: launcher.helper.clone(),
        })
    }
}

/// A master process; as a [`Daemon`] it can be killed, stopped and looked at.
#[derive(Debug)]
pub struct Master {
    daemon: Daemon,
    config: MasterConfig,
    api: OperatorApi,
}

impl Master {
    /// Starts it.
    pub fn start(config: MasterConfig, launcher: &Launcher) -> Result<Self, LocalError> {
        let mut master = Master::adopt(config, launcher)?;
        master.daemon.start_again()?;
        Ok(master)
    }

    /// Takes over a detached master that runs already, if one does.
    pub fn adopt(config: MasterConfig, launcher: &Launcher) -> Result<Self, LocalError> {
        let api = OperatorApi::new(config.address)?;
        let daemon = Daemon::adopt(config.daemon(launcher)?);
        Ok(Master {
            daemon,
            config,
            api,
        })
    }

    /// How it was started.
    pub fn config(&self) -> &MasterConfig {
        &self.config
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.config.address
    }

    /// Ends it: SIGTERM, and after some seconds SIGKILL.
    pub async fn stop(&mut self) -> Result<(), LocalError> {
        self.daemon.stop(STOP_GRACE).await
    }

    /// Stops it and starts it again over the same registry.
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        self.stop().await?;
        self.daemon.start_again()
    }

    /// Waits until it leads and answers schedulers. A master that ends instead is an
    /// error at once.
    pub async fn wait_until_leading(
        &mut self,
        limit: Duration,
    ) -> Result<(), LocalError> {
        let condition = format!("the master at {} leads", self.config.address);
        let Master { daemon, api, .. } = self;
        wait_until(&condition, limit, || {
            let alive = still_running(daemon);
            let api = &*api;
            async move {
                alive?;
                Ok(match api.state().await {
                    MasterState::Leading => Look::Reached(()),
                    MasterState::NotReady(reason) => Look::NotYet(reason),
                })
            }
        })
        .await
    }

    /// The agents that it knows, connected or not.
    pub async fn agents(&self) -> Result<Vec<RegisteredAgent>, LocalError> {
        self.api.agents().await
    }

    /// Waits until at least `count` agents are registered and connected.
    pub async fn wait_until_registered(
        &mut self,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<RegisteredAgent>, LocalError> {
        let condition = format!("{count} agents are registered");
        self.wait_for_agents(&condition, limit, |agents| {
            agents.iter().filter(|agent| agent.active).count() >= count
        })
        .await
    }

    /// Waits until what the master knows of its agents is as `wanted` says.
    pub async fn wait_for_agents(
        &mut self,
        condition: &str,
        limit: Duration,
        wanted: impl Fn(&[RegisteredAgent]) -> bool,
    ) -> Result<Vec<RegisteredAgent>, LocalError> {
        let Master { daemon, api, .. } = self;
        let wanted = &wanted;
        wait_until(condition, limit, || {
            let alive = still_running(daemon);
            let api = &*api;
            async move {
                alive?;
                // A master that is just starting does not answer; that is no end.
                Ok(match api.agents().await {
                    Ok(agents) if wanted(&agents) => Look::Reached(agents),
                    Ok(agents) => Look::NotYet(format!("{agents:?}")),
                    Err(error) => Look::NotYet(error.to_string()),
                })
            }
        })
        .await
    }
}

fn still_running(daemon: &mut Daemon) -> Result<(), LocalError> {
    if daemon.is_running() {
        Ok(())
    } else {
        Err(daemon.ended())
    }
}

impl Deref for Master {
    type Target = Daemon;
    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Master {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edit: fn(&mut MasterConfig), expected: &str) {
        let address = "127.0.0.1:5050".parse().unwrap();
        let mut config = MasterConfig::new(address, "/c/master".into(), Timing::Calm);
        edit(&mut config);
        assert_eq!(config.flags().join(" "), expected);
    }

    #[test]
    fn flags() {
        check(
            |_| (),
            "--ip=127.0.0.1 --hostname=127.0.0.1 --port=5050 --work_dir=/c/master/work \
             --agent_ping_timeout=3secs --max_agent_ping_timeouts=5",
        );
        check(
            |config| {
                config.timing = Timing::Quick;
                config.registry = Registry::InMemory;
                config.extra_flags = vec![
                    "--weights=etcd=2".to_owned(),
                    "--allocation_interval=1secs".to_owned(),
                ];
                config.domain = Some(FaultDomain {
                    region: "r".to_owned(),
                    zone: "z".to_owned(),
                });
            },
            "--ip=127.0.0.1 --hostname=127.0.0.1 --port=5050 --work_dir=/c/master/work \
             --registry=in_memory --agent_ping_timeout=1secs --max_agent_ping_timeouts=2 \
             --domain={\"fault_domain\":{\"region\":\
             {\"name\":\"r\"},\"zone\":{\"name\":\"z\"}}} --weights=etcd=2 \
             --allocation_interval=1secs",
        );
    }
}
