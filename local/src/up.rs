//! `make up`, `make down`, `make status`: the whole system on one machine.
//!
//! Everything lies under one directory, `.local` by default. Mesos and the
//! supervisor of the scheduler run detached: they outlive the command that
//! started them, and the next command finds them by their pid files.

mod layout;
mod members;
mod progress;
mod supervisor;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::daemon::{Daemon, Lifetime};
use crate::mesos::{Agent, Launcher, Master};
use crate::programs::{self, HelperProgram};
use crate::setup::etcd::EtcdBinaries;
use crate::{reaper, setup};
use layout::{Layout, Network};
pub use supervisor::{SuperviseArguments, supervise};

/// Mesos boots within two seconds on a quiet machine.
const MESOS_WITHIN: Duration = Duration::from_secs(60);
/// A member may use its whole grace period.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct UpArguments {
    /// A JSON file with options of the service.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// How many agents there are.
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
    let say = |step: &str| eprintln!("{step}");
    let cache = programs::cache_directory()?;
    setup::machine::ensure(&cache, &say)?;
    let mesos = programs::ensure(&cache, &say)?;
    let etcd = setup::etcd::ensure(&cache, &say)?;
    say(&format!(
        "etcd {} from {}",
        etcd.version,
        etcd.dir.display()
    ));

    let layout = Layout::make(&arguments.root, arguments.network)?;
    layout.keep_options(arguments.options.as_deref())?;
    let launcher = Launcher {
        programs: mesos,
        helper: HelperProgram::find()?,
        lifetime: Lifetime::Detached,
    };
    on_runtime(async {
        start_mesos(&layout, &launcher, arguments.agents).await?;
        start_supervisor(&layout, &launcher, &etcd)?;
        layout.write_env(None)?;
        let status = progress::wait_until_healthy(&layout).await?;
        layout.write_env(Some(&status))?;
        progress::print_summary(&layout, &status, &etcd);
        Ok(())
    })
}

async fn start_mesos(layout: &Layout, launcher: &Launcher, agents: u8) -> Result<()> {
    let mut master = Master::adopt(layout.master_config(), launcher)?;
    if master.is_running() {
        eprintln!("the Mesos master runs already");
    } else {
        let address = layout.master_config().address;
        check_port(address.ip().to_string().as_str(), address.port())?;
        eprintln!("starting the Mesos master on {address}");
        master = Master::start(layout.master_config(), launcher)?;
    }
    master.wait_until_leading(MESOS_WITHIN).await?;
    let mut started: Vec<Agent> = Vec::new();
    for number in 1..=agents {
        let config = layout.agent_config(number);
        let mut agent = Agent::adopt(config.clone(), launcher)?;
        if agent.is_running() {
            eprintln!("agent {number} runs already on {}", config.hostname);
        } else {
            check_port(&config.hostname, config.address.port())?;
            eprintln!("starting agent {number} on {}", config.hostname);
            agent = Agent::start(config, launcher)?;
        }
        started.push(agent);
    }
    master
        .wait_until_registered(usize::from(agents), MESOS_WITHIN)
        .await?;
    for agent in &mut started {
        agent.wait_until_registered(MESOS_WITHIN).await?;
    }
    Ok(())
}

/// A port that somebody else uses is told before anything is started on it.
fn check_port(host: &str, port: u16) -> Result<()> {
    match TcpListener::bind((host, port)) {
        Ok(_free) => Ok(()),
        Err(error) => bail!(
            "{host}:{port} cannot be used ({error}); end whatever listens there and try again"
        ),
    }
}

fn start_supervisor(
    layout: &Layout,
    launcher: &Launcher,
    etcd: &EtcdBinaries,
) -> Result<()> {
    let spec = layout.supervisor_spec(&launcher.helper, Some(etcd));
    let mut supervisor = Daemon::adopt(spec.clone());
    if supervisor.is_running() {
        eprintln!("the scheduler runs already");
        return Ok(());
    }
    let api = layout.api_address();
    check_port(&api.ip().to_string(), api.port())?;
    eprintln!("starting the scheduler");
    Daemon::start(spec)?;
    Ok(())
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
    let launcher = Launcher {
        programs: programs::ensure(&programs::cache_directory()?, &|step| {
            eprintln!("{step}")
        })?,
        helper: HelperProgram::find()?,
        lifetime: Lifetime::Detached,
    };
    on_runtime(async {
        // The scheduler first, or it would bring back what is being stopped.
        let spec = layout.supervisor_spec(&launcher.helper, None);
        Daemon::adopt(spec).stop(Duration::from_secs(20)).await?;
        eprintln!("the scheduler has stopped");
        let stopped = members::stop_all(layout.root(), STOP_WITHIN).await?;
        eprintln!("{stopped} members have stopped");
        for number in layout.agent_numbers()? {
            Agent::adopt(layout.agent_config(number), &launcher)?
                .stop()
                .await?;
        }
        Master::adopt(layout.master_config(), &launcher)?
            .stop()
            .await?;
        eprintln!("Mesos has stopped");
        anyhow::Ok(())
    })?;
    if arguments.clean {
        let strays = reaper::reap(layout.root())?;
        let mounts = reaper::unmount_below(layout.root())?;
        fs::remove_dir_all(layout.root())
            .with_context(|| format!("cannot remove {}", layout.root().display()))?;
        eprintln!(
            "removed {}, {strays} stray processes and {mounts} mounts",
            layout.root().display()
        );
    } else {
        eprintln!(
            "the data is kept in {}; make up goes on with it",
            layout.root().display()
        );
    }
    Ok(())
}

/// Shows how the service is; fails if it is not well.
pub fn status(arguments: &StatusArguments) -> Result<()> {
    let layout =
        Layout::open(&arguments.root).context("nothing is up here; make up starts it")?;
    on_runtime(async {
        let status = progress::fetch(&layout).await?;
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
