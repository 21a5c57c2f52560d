//! `make up`, `make down`, `make status`: the whole system on one machine.
//!
//! Everything lies under one directory, `.local` by default. Mesos and the
//! supervisor of the scheduler run detached: they outlive the command that
//! started them, and the next command finds them by their pid files.

mod layout;
mod members;
mod ports;
mod progress;
mod settings;
mod supervisor;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use etcd_config::load::OPTIONS_FILE_VARIABLE;

use crate::daemon::{Daemon, Lifetime};
use crate::mesos::{Agent, Launcher, Master};
use crate::programs::{self, HelperProgram, MesosPrograms};
use crate::{LocalError, reaper, setup};
use layout::{Layout, Network};
use ports::WantedPort;
use settings::Settings;
pub use supervisor::{SuperviseArguments, supervise};

/// Mesos boots within two seconds on a quiet machine.
const MESOS_WITHIN: Duration = Duration::from_secs(60);
/// The supervisor gives the scheduler 15 seconds.
const SUPERVISOR_STOPS_WITHIN: Duration = Duration::from_secs(20);
/// How long a member may take to stop, if that was never written down: the default of
/// `etcd.kill_grace_seconds`.
const KILL_GRACE: Duration = Duration::from_secs(30);
/// An executor waits up to 10 seconds until its agent has taken the last report.
const EXECUTOR_ENDS_WITHIN: Duration = Duration::from_secs(15);

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct UpArguments {
    /// A JSON file with options of the service; it is kept for the next time.
    #[arg(long, value_name = "FILE", env = OPTIONS_FILE_VARIABLE)]
    options: Option<PathBuf>,
    /// How many agents there are; those of earlier times stay.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    agents: u8,
    /// Where state, logs and sandboxes go.
    #[arg(long, default_value = ".local", value_name = "DIRECTORY")]
    root: PathBuf,
    /// Which loopback addresses to use; tests use others.
    #[arg(long, default_value = "127.0.0", hide = true)]
    network: Network,
}

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct DownArguments {
    /// Removes everything that `up` made, data included.
    #[arg(long)]
    clean: bool,
    /// Where state, logs and sandboxes are.
    #[arg(long, default_value = ".local", value_name = "DIRECTORY")]
    root: PathBuf,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Where state, logs and sandboxes are.
    #[arg(long, default_value = ".local", value_name = "DIRECTORY")]
    root: PathBuf,
}

/// Brings everything up, and waits until all members are healthy.
pub fn up(arguments: &UpArguments) -> Result<()> {
    let layout = Layout::make(&arguments.root, arguments.network)?;
    // Others may stop things again while we only wait.
    let lock = layout.lock()?;
    let say = |step: &str| eprintln!("{step}");
    let cache = programs::cache_directory()?;
    setup::machine::ensure(&cache, &say)?;
    let mesos = programs::ensure(&cache, &say)?;
    let etcd = setup::etcd::ensure(&cache, &say)?;
    say(&format!(
        "etcd {} from {} ({})",
        etcd.version,
        etcd.dir.display(),
        etcd.origin
    ));

    let helper = HelperProgram::find()?;
    let options = arguments.options.as_deref();
    let (settings, warnings) = Settings::check(&layout, options, &etcd.dir, &helper)?;
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    layout.keep_options(options)?;
    on_runtime(async {
        let mut parts = Parts::adopt(&layout, mesos, helper, arguments.agents)?;
        parts.check_ports(&layout, &settings)?;
        parts.start_mesos().await?;
        parts.start_supervisor(&layout, &settings).await?;
        let api_url = settings.api_url();
        layout.write_env(&api_url, None)?;
        drop(lock);
        let status =
            progress::wait_until_healthy(&layout, &api_url, &mut parts.supervisor)
                .await?;
        layout.write_env(&api_url, Some(&status))?;
        progress::print_summary(&layout, &status, &etcd);
        Ok(())
    })
}

/// Everything that runs in the background, or is to run.
struct Parts {
    launcher: Launcher,
    master: Master,
    agents: Vec<Agent>,
    supervisor: Daemon,
}

impl Parts {
    /// Takes over what runs; starts nothing. Agents of earlier times are never left
    /// out: members may live on them.
    fn adopt(
        layout: &Layout,
        programs: MesosPrograms,
        helper: HelperProgram,
        agents_wanted: u8,
    ) -> Result<Self> {
        let supervisor = Daemon::adopt(layout.supervisor_spec(&helper));
        let launcher = Launcher {
            programs,
            helper,
            lifetime: Lifetime::Detached,
        };
        let mut numbers: BTreeSet<u8> = (1..=agents_wanted).collect();
        numbers.extend(layout.agent_numbers()?);
        let agents: Result<Vec<Agent>, LocalError> = numbers
            .into_iter()
            .map(|number| Agent::adopt(layout.agent_config(number), &launcher))
            .collect();
        Ok(Parts {
            master: Master::adopt(layout.master_config(), &launcher)?,
            agents: agents?,
            supervisor,
            launcher,
        })
    }

    /// A port that somebody else uses is told before anything is started.
    fn check_ports(&mut self, layout: &Layout, settings: &Settings) -> Result<()> {
        let mut wanted = Vec::new();
        let mut want = |address: SocketAddr, needed_by: String| {
            wanted.push(WantedPort { address, needed_by });
        };
        if !self.master.is_running() {
            want(self.master.address().into(), "the Mesos master".to_owned());
        }
        let scheduler_moves =
            Settings::stored(layout).is_none_or(|stored| stored.api != settings.api);
        if !self.supervisor.is_running() || scheduler_moves {
            want(settings.api, "the scheduler".to_owned());
        }
        for agent in &mut self.agents {
            let address = agent.config().address;
            if !agent.is_running() {
                want(address.into(), agent.name().to_owned());
            }
            // Members outlive their agents.
            if !members::is_at_work_below(agent.directory()) {
                for port in [settings.client_port, settings.peer_port] {
                    let member = format!("an etcd member on {}", agent.config().hostname);
                    want((*address.ip(), port).into(), member);
                }
            }
        }
        match ports::taken(&wanted) {
            None => Ok(()),
            Some(taken) => bail!(
                "nothing was started: end what has these ports, and try again\n{taken}"
            ),
        }
    }

    /// Starts what of Mesos does not run, and waits until all agents are registered.
    async fn start_mesos(&mut self) -> Result<()> {
        let address = self.master.address();
        if self.master.is_running() {
            eprintln!("the Mesos master runs already on {address}");
        } else {
            eprintln!("starting the Mesos master on {address}");
            self.master = Master::start(self.master.config().clone(), &self.launcher)?;
        }
        self.master.wait_until_leading(MESOS_WITHIN).await?;
        for agent in &mut self.agents {
            let (name, host) = (agent.name().to_owned(), agent.config().hostname.clone());
            if agent.is_running() {
                eprintln!("{name} runs already on {host}");
            } else {
                eprintln!("starting {name} on {host}");
                *agent = Agent::start(agent.config().clone(), &self.launcher)?;
            }
        }
        self.master
            .wait_until_registered(self.agents.len(), MESOS_WITHIN)
            .await?;
        for agent in &mut self.agents {
            agent.wait_until_registered(MESOS_WITHIN).await?;
        }
        Ok(())
    }

    /// Starts the supervisor, which starts the scheduler; anew if the scheduler is to
    /// be told something else, or was built again.
    async fn start_supervisor(
        &mut self,
        layout: &Layout,
        settings: &Settings,
    ) -> Result<()> {
        let as_before = Settings::stored(layout).as_ref() == Some(settings);
        match (self.supervisor.is_running(), as_before) {
            (true, true) => {
                eprintln!("the scheduler runs already on {}", settings.api);
                return Ok(());
            }
            (true, false) => {
                eprintln!("the scheduler's options or program have changed: restarting");
                self.supervisor.stop(SUPERVISOR_STOPS_WITHIN).await?;
            }
            (false, _) => eprintln!("starting the scheduler on {}", settings.api),
        }
        settings.store(layout)?;
        Ok(self.supervisor.start_again()?)
    }

    /// The directory of the agent on which the leader runs, if the scheduler knows it.
    async fn leaders_directory(
        &self,
        layout: &Layout,
        settings: &Settings,
    ) -> Option<PathBuf> {
        let status = progress::fetch(layout, &settings.api_url()).await.ok()?;
        let leader = status.pods.into_iter().find(|pod| pod.leader)?;
        self.agents
            .iter()
            .find(|agent| Some(&agent.config().hostname) == leader.host.as_ref())
            .map(|agent| agent.directory().to_owned())
    }
}

/// Stops everything, members gracefully; removes everything with `clean`.
pub fn down(arguments: &DownArguments) -> Result<()> {
    if !arguments.root.exists() {
        eprintln!(
            "nothing is here: {} does not exist",
            arguments.root.display()
        );
        return Ok(());
    }
    let layout = Layout::open(&arguments.root)?;
    let lock = layout.lock()?;
    let cache = programs::cache_directory()?;
    let mesos = programs::ensure(&cache, &|step| eprintln!("{step}"))?;
    on_runtime(async {
        let mut parts = Parts::adopt(&layout, mesos, HelperProgram::find()?, 0)?;
        let settings = Settings::stored(&layout);
        let leader = match &settings {
            Some(settings) => parts.leaders_directory(&layout, settings).await,
            None => None,
        };
        // The scheduler first, or it would bring back what is being stopped.
        parts.supervisor.stop(SUPERVISOR_STOPS_WITHIN).await?;
        eprintln!("the scheduler has stopped");
        let grace = settings.map_or(KILL_GRACE, |settings| settings.kill_grace);
        let limit = grace + EXECUTOR_ENDS_WITHIN;
        members::stop_all(layout.root(), leader.as_deref(), limit).await?;
        for agent in &mut parts.agents {
            agent.stop().await?;
            let strays = agent.reap()?;
            if strays > 0 {
                eprintln!("{}: killed {strays} stray processes", agent.name());
            }
        }
        parts.master.stop().await?;
        eprintln!("Mesos has stopped");
        anyhow::Ok(())
    })?;
    if arguments.clean {
        remove(layout.root())?;
        eprintln!(
            "the programs of Mesos and etcd stay in {} for the next time",
            cache.display()
        );
    } else {
        eprintln!(
            "the data is kept in {}; make up goes on with it",
            layout.root().display()
        );
    }
    drop(lock);
    Ok(())
}

/// Ends whatever still works there, takes mounts away, and removes the directory.
fn remove(root: &Path) -> Result<()> {
    let strays = reaper::reap(root)?;
    let mounts = reaper::unmount_below(root)?;
    fs::remove_dir_all(root)
        .with_context(|| format!("cannot remove {}", root.display()))?;
    eprintln!(
        "removed {} with {strays} stray processes and {mounts} mounts",
        root.display()
    );
    Ok(())
}

/// Shows how the service is; fails if it is not well.
pub fn status(arguments: &StatusArguments) -> Result<()> {
    if !arguments.root.exists() {
        bail!("nothing is here; make up starts it");
    }
    let layout = Layout::open(&arguments.root)?;
    on_runtime(async {
        let settings = Settings::stored(&layout)
            .context("no scheduler was started here; make up starts it")?;
        let api_url = settings.api_url();
        let status = progress::fetch(&layout, &api_url)
            .await
            .context("the scheduler does not run, or not well; make up starts it")?;
        progress::print_table(&status);
        if progress::is_healthy(&status) {
            Ok(())
        } else {
            bail!("not all members are healthy")
        }
    })
}

fn on_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    // One TLS provider for the process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
