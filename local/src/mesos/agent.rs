//! A Mesos agent process: one "host" of the cluster.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddrV4;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::{
    FaultDomain, Launcher, Timing, absolute, listen_flags, path_flag, with_extra_flags,
};
use crate::LocalError;
use crate::daemon::{Daemon, DaemonSpec};
use crate::reaper;
use crate::waiting::{Look, wait_until};

/// An agent answers SIGTERM at once; its executors stay.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What an agent offers unless told otherwise. Mesos' own default has no ports below
/// 31000, and etcd wants 2379 and 2380 on every host.
pub const DEFAULT_RESOURCES: &str =
    "cpus:4;mem:4096;disk:8192;ports:[2379-2380,31000-32000]";

/// How to start an agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Its name in messages and file names, "mesos-agent-1".
    pub name: String,
    /// Where it listens. Each agent of a cluster has an address of its own, so that
    /// each is a host on which every port is free.
    pub address: SocketAddrV4,
    /// As which host it registers.
    pub hostname: String,
    /// `host:port` or `zk://host:port/path` of the master.
    pub master: String,
    /// Absolute; holds all state of the agent, and the sandboxes and volumes in `work`.
    pub directory: PathBuf,
    /// What it offers, in Mesos' text form or as JSON.
    pub resources: String,
    /// Attributes of the host, "rack" and the like.
    pub attributes: BTreeMap<String, String>,
    /// Its fault domain.
    pub domain: Option<FaultDomain>,
    /// How soon it notices things.
    pub timing: Timing,
    /// More flags, `--name=value`; they win over ours of the same name.
    pub extra_flags: Vec<String>,
    /// More variables; executors inherit them.
    pub environment: BTreeMap<OsString, OsString>,
}

impl AgentConfig {
    /// An agent whose hostname is its address, with [`DEFAULT_RESOURCES`].
    pub fn new(
        name: impl Into<String>,
        address: SocketAddrV4,
        master: impl Into<String>,
        directory: PathBuf,
        timing: Timing,
    ) -> Self {
        AgentConfig {
            name: name.into(),
            address,
            hostname: address.ip().to_string(),
            master: master.into(),
            directory,
            resources: DEFAULT_RESOURCES.to_owned(),
            attributes: BTreeMap::new(),
            domain: None,
            timing,
            extra_flags: Vec::new(),
            environment: BTreeMap::new(),
        }
    }

    fn flags(&self, is_root: bool) -> Vec<String> {
        let mut flags = listen_flags(self.address, &self.hostname).to_vec();
        flags.push(format!("--master={}", self.master));
        for (flag, below) in [
            ("work_dir", "work"),
            ("runtime_dir", "run"),
            ("fetcher_cache_dir", "fetched"),
            ("launcher_dir", "launcher"),
            ("appc_store_dir", "store/appc"),
            ("docker_store_dir", "store/docker"),
        ] {
            flags.push(path_flag(flag, &self.directory.join(below)));
        }
        let fixed = [
            "--launcher=posix",
            "--containerizers=mesos",
            "--isolation=posix/cpu,posix/mem,filesystem/posix",
            "--no-systemd_enable_support",
        ];
        let timing: &[&str] = match self.timing {
            Timing::Quick => &[
                "--registration_backoff_factor=100ms",
                "--executor_registration_timeout=20secs",
            ],
            // An executor that is busy fsyncing may need more than Mesos' two seconds
            // to come back to a restarted agent.
            Timing::Calm => &["--executor_reregistration_timeout=5secs"],
        };
        flags.extend(fixed.iter().chain(timing).map(|flag| (*flag).to_owned()));
        if !is_root {
            flags.push("--no-switch_user".to_owned());
        }
        flags.push(format!("--resources={}", self.resources));
        if !self.attributes.is_empty() {
            let pairs = self
                .attributes
                .iter()
                .map(|(name, value)| format!("{name}:{value}"));
            flags.push(format!(
                "--attributes={}",
                pairs.collect::<Vec<_>>().join(";")
            ));
        }
        flags.extend(self.domain.as_ref().map(FaultDomain::flag));
        with_extra_flags(flags, &self.extra_flags)
    }

    fn daemon(&self, launcher: &Launcher) -> Result<DaemonSpec, LocalError> {
        let flags = self.flags(rustix::process::geteuid().is_root());
        Ok(DaemonSpec {
            name: self.name.clone(),
            program: launcher.programs.program(),
            arguments: std::iter::once("agent".to_owned())
                .chain(flags)
                .map(OsString::from)
                .collect(),
            environment: self.environment.clone(),
            directory: absolute(&self.directory)?,
            lifetime: launcher.lifetime,
            helper: launcher.helper.clone(),
        })
    }
}

/// An agent process; as a [`Daemon`] it can be killed, stopped and looked at. Ending
/// it leaves its executors running, as in production.
#[derive(Debug)]
pub struct Agent {
    daemon: Daemon,
    config: AgentConfig,
}

impl Agent {
    /// Starts it.
    pub fn start(config: AgentConfig, launcher: &Launcher) -> Result<Self, LocalError> {
        let mut agent = Agent::adopt(config, launcher)?;
        let directory = agent.config.directory.join("launcher");
        launcher
            .programs
            .link_launcher_directory(&directory, &launcher.helper)?;
        agent.daemon.start_again()?;
        Ok(agent)
    }

    /// Takes over a detached agent that runs already, if one does.
    pub fn adopt(config: AgentConfig, launcher: &Launcher) -> Result<Self, LocalError> {
        let daemon = Daemon::adopt(config.daemon(launcher)?);
        Ok(Agent { daemon, config })
    }

    /// How it was started.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// Sandboxes, volumes and checkpoints.
    pub fn work_dir(&self) -> PathBuf {
        self.config.directory.join("work")
    }

    /// Waits until the agent knows, and has written down, the id that its master has
    /// given to it. The master counts it as registered a moment earlier: an agent that
    /// is killed in between comes back under another id.
    pub async fn wait_until_registered(
        &mut self,
        limit: Duration,
    ) -> Result<(), LocalError> {
        let checkpoint = self.work_dir().join("meta/slaves/latest/slave.info");
        let condition = format!("{} has its id", self.config.name);
        let daemon = &mut self.daemon;
        wait_until(&condition, limit, || {
            let look = match (checkpoint.is_file(), daemon.is_running()) {
                (true, _) => Ok(Look::Reached(())),
                (false, true) => Ok(Look::NotYet("no checkpoint of it".to_owned())),
                (false, false) => Err(daemon.ended()),
            };
            async move { look }
        })
        .await
    }

    /// Ends it: SIGTERM, and after some seconds SIGKILL.
    pub async fn stop(&mut self) -> Result<(), LocalError> {
        self.daemon.stop(STOP_GRACE).await
    }

    /// Stops it and starts it again; its executors come back to it.
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        self.stop().await?;
        self.daemon.start_again()
    }

    /// Does to everything on this "host" what a power failure does: agent, executors
    /// and their children are gone at once, and the next agent that starts here sees
    /// that the host was booted since. Volumes stay.
    pub fn host_reboot(&mut self) -> Result<(), LocalError> {
        self.daemon.kill(Signal::KILL)?;
        reaper::reap(&self.config.directory)?;
        self.forget_boot()
    }

    /// Mesos: the agent compares `meta/boot_id` in its work directory with the
    /// kernel's boot id when it starts; if they differ, it knows that no executor can
    /// be running and does not wait for one.
    fn forget_boot(&self) -> Result<(), LocalError> {
        let path = self.work_dir().join("meta/boot_id");
        fs::write(&path, "00000000-0000-0000-0000-before-reboot")
            .map_err(|source| LocalError::file("write", path, source))
    }

    /// Kills the executors, and what they started, that an ended agent left behind.
    pub fn reap(&self) -> Result<usize, LocalError> {
        reaper::reap(&self.work_dir())
    }
}

impl Deref for Agent {
    type Target = Daemon;
    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Agent {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is_root: bool, edit: fn(&mut AgentConfig), expected: &[&str], not: &[&str]) {
        let address = "127.0.0.2:5051".parse().unwrap();
        let mut config = AgentConfig::new(
            "a",
            address,
            "127.0.0.1:5050",
            "/c/a".into(),
            Timing::Quick,
        );
        edit(&mut config);
        let flags = config.flags(is_root);
        for flag in expected {
            assert!(
                flags.iter().any(|f| f == flag),
                "{flag} is not in {flags:?}"
            );
        }
        for flag in not {
            assert!(
                !flags.iter().any(|f| f.starts_with(flag)),
                "{flag} is in {flags:?}"
            );
        }
    }

    #[test]
    fn flags() {
        check(
            true,
            |_| (),
            &[
                "--ip=127.0.0.2",
                "--hostname=127.0.0.2",
                "--work_dir=/c/a/work",
                "--resources=cpus:4;mem:4096;disk:8192;ports:[2379-2380,31000-32000]",
            ],
            &["--no-switch_user", "--attributes", "--domain"],
        );
        check(
            false,
            |config| {
                config.hostname = "host-2".to_owned();
                config.attributes.insert("rack".to_owned(), "r1".to_owned());
                config
                    .attributes
                    .insert("class".to_owned(), "ssd".to_owned());
                config.extra_flags.push("--switch_user".to_owned());
            },
            &[
                "--switch_user",
                "--hostname=host-2",
                "--attributes=class:ssd;rack:r1",
            ],
            &["--no-switch_user"],
        );
    }
}
