//! A whole Mesos cluster for a test: one master, some agents, gone when dropped.

mod host;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::LocalError;
use crate::addresses::Lease;
use crate::daemon::Lifetime;
use crate::mesos::{
    Agent, AgentConfig, FaultDomain, Launcher, Master, MasterConfig, Timing,
};
use crate::programs::{self, HelperProgram};
use crate::reaper;

pub use host::{Disk, Host};

/// Set to anything, it keeps the directory of every cluster, with logs and sandboxes.
pub const KEEP_VARIABLE: &str = "ETCD_TESTS_KEEP";

const MASTER_PORT: u16 = 5050;
const AGENT_PORT: u16 = 5051;
/// The master has address 1 of the lease; agent 1 has address 2, and so on.
const MASTER_HOST: u8 = 1;
/// About one second on an idle machine; a loaded one with two cores may need many.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What kind of cluster to start.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    hosts: Vec<Host>,
    root: Option<PathBuf>,
    master_domain: Option<FaultDomain>,
    master_flags: Vec<String>,
    agent_flags: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

impl ClusterOptions {
    /// A cluster with so many usual hosts.
    pub fn with_agents(agents: u8) -> Self {
        ClusterOptions::of(std::iter::repeat_n(Host::new(), usize::from(agents)))
    }

    /// A cluster of these hosts, each with an agent.
    pub fn of(hosts: impl IntoIterator<Item = Host>) -> Self {
        ClusterOptions {
            hosts: hosts.into_iter().collect(),
            ..ClusterOptions::default()
        }
    }

    /// Everything lies here, and not in a fresh directory among the temporary files.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// The master's region, the local one. Mesos: a host with a domain needs a master
    /// with one.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.master_domain = Some(FaultDomain {
            region: region.into(),
            zone: "of-the-master".to_owned(),
        });
        self
    }

    /// A flag of the master, `--name=value`; it wins over ours of the same name.
    #[must_use]
    pub fn master_flag(mut self, flag: impl Into<String>) -> Self {
        self.master_flags.push(flag.into());
        self
    }

    /// A flag of every agent, `--name=value`; it wins over ours of the same name.
    #[must_use]
    pub fn agent_flag(mut self, flag: impl Into<String>) -> Self {
        self.agent_flags.push(flag.into());
        self
    }

    /// A variable of every agent and its executors.
    #[must_use]
    pub fn variable(
        mut self,
        name: impl Into<OsString>,
        value: impl Into<OsString>,
    ) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A master and agents, each on an address of its own in a leased range, with timing
/// for tests. When dropped, everything is killed, executors included, and the
/// directory is removed, unless the thread is panicking or [`KEEP_VARIABLE`] is set.
#[derive(Debug)]
pub struct LocalCluster {
    // Dropped in this order; the lease last, when nothing listens any more.
    master: Master,
    agents: Vec<Agent>,
    root: PathBuf,
    options: ClusterOptions,
    launcher: Launcher,
    lease: Lease,
}

impl LocalCluster {
    /// Starts a cluster and waits until all agents are registered. Fetches and builds
    /// Mesos first if this machine has not got it.
    pub async fn start(options: ClusterOptions) -> Result<Self, LocalError> {
        LocalCluster::start_with(options, HelperProgram::find()?).await
    }

    /// The same with a helper program that [`HelperProgram::find`] would not find.
    pub async fn start_with(
        options: ClusterOptions,
        helper: HelperProgram,
    ) -> Result<Self, LocalError> {
        let programs =
            programs::ensure(&programs::cache_directory()?, &|step| eprintln!("{step}"))?;
        let launcher = Launcher {
            programs,
            helper,
            lifetime: Lifetime::WithParent,
        };
        let mut lease = Lease::take()?;
        let hosts = options.hosts.clone();
        let root = options.root.clone().unwrap_or_else(fresh_root);
        fs::create_dir_all(&root)
            .map_err(|source| LocalError::file("make", &root, source))?;
        let root = fs::canonicalize(&root)
            .map_err(|source| LocalError::file("find", &root, source))?;
        lease.record_root(&root)?;

        let address = lease.address(MASTER_HOST, MASTER_PORT);
        let mut config = MasterConfig::new(address, root.join("master"), Timing::Quick);
        config.domain.clone_from(&options.master_domain);
        config.extra_flags.clone_from(&options.master_flags);
        let master = Master::start(config, &launcher)?;
        let mut cluster = LocalCluster {
            master,
            agents: Vec::new(),
            root,
            options,
            launcher,
            lease,
        };
        cluster.master.wait_until_leading(START_LIMIT).await?;
        for host in &hosts {
            cluster.add_host(host)?;
        }
        cluster
            .master
            .wait_until_registered(hosts.len(), START_LIMIT)
            .await?;
        for agent in &mut cluster.agents {
            agent.wait_until_registered(START_LIMIT).await?;
        }
        Ok(cluster)
    }

    /// Adds one more usual host, without waiting for its agent.
    pub fn add_agent(&mut self) -> Result<&mut Agent, LocalError> {
        self.add_host(&Host::new())
    }

    /// Adds one more host, without waiting for its agent.
    pub fn add_host(&mut self, host: &Host) -> Result<&mut Agent, LocalError> {
        let mut config = self.next_agent_config();
        host.describe_to(&mut config);
        host.make_disks(&config.directory)?;
        self.add_agent_with(config)
    }

    /// The configuration that the agent of the next usual host would have, to be
    /// changed and given to [`LocalCluster::add_agent_with`].
    pub fn next_agent_config(&self) -> AgentConfig {
        let number = u8::try_from(self.agents.len() + 1).unwrap_or(u8::MAX);
        let name = format!("mesos-agent-{number}");
        let mut config = AgentConfig::new(
            name.clone(),
            self.lease
                .address(MASTER_HOST.saturating_add(number), AGENT_PORT),
            self.master.address().to_string(),
            self.root.join(name),
            Timing::Quick,
        );
        config.extra_flags.clone_from(&self.options.agent_flags);
        config.environment = self.options.environment.iter().cloned().collect();
        config
    }

    /// Starts one more agent with a configuration of its own.
    pub fn add_agent_with(
        &mut self,
        config: AgentConfig,
    ) -> Result<&mut Agent, LocalError> {
        let agent = Agent::start(config, &self.launcher)?;
        let index = self.agents.len();
        self.agents.push(agent);
        Ok(&mut self.agents[index])
    }

    /// The master.
    pub fn master(&mut self) -> &mut Master {
        &mut self.master
    }

    /// `host:port` of the master.
    pub fn master_address(&self) -> SocketAddrV4 {
        self.master.address()
    }

    /// The agents in the order in which they were added.
    pub fn agents(&mut self) -> &mut [Agent] {
        &mut self.agents
    }

    /// The addresses that belong to this cluster. Those above the last agent's are
    /// free for what else a test needs.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // Agents first, so that none starts an executor anew while we look for them.
        for agent in &mut self.agents {
            let _ = agent.kill(Signal::KILL);
        }
        let _ = self.master.kill(Signal::KILL);
        // Mounts go even if the directory stays: nobody would think of them later, and
        // to remove what is below one would be to empty a disk.
        let cleared = reaper::clear(&self.root).and_then(|()| self.lease.forget_root());
        if let Err(error) = cleared {
            eprintln!("cluster in {}: {error}", self.root.display());
            return;
        }
        if std::thread::panicking() || std::env::var_os(KEEP_VARIABLE).is_some() {
            eprintln!("cluster: logs and sandboxes are in {}", self.root.display());
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("cluster: could not remove {}: {error}", self.root.display());
        }
    }
}

/// A name that no other test of this or another process has.
fn fresh_root() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("etcd-local-{}-{count}", std::process::id()))
}
