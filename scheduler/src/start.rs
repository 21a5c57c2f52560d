//! Putting the parts together, and taking them apart.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use etcd_config::Options;
use etcd_launch::Sha256;
use etcd_planner::Model;
use etcd_planner::programs::Programs;
use mesos_v1::{
    AddressError, ClientSetupError, Masters, OperatorClient, SchedulerSession,
    SessionConfig,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::agents;
use crate::artifacts::{
    ArtifactError, Artifacts, EXECUTOR_FILE, EtcdSource, ExecutorSource,
};
use crate::clock;
use crate::commands::QUEUE_LENGTH;
use crate::effects::{self, FileSource};
use crate::etcd_choice::Served;
use crate::event_loop::{EventLoop, LoopError, Wiring};
use crate::events::{EventLog, Journal};
use crate::framework;
use crate::hashing;
use crate::http::access::{Access, TokenFileError};
use crate::http::{self, ApiState, ServiceFacts};
use crate::metrics::Metrics;
use crate::offer_history::OfferHistory;
use crate::probing;
use crate::published::Published;
use crate::reading::Readers;
use crate::snapshot_files::SnapshotFiles;
use crate::store::{Store, StoreError};
use crate::wanted::{self, BeginError, Beginning, Started};

/// Why the scheduler does not run, or does not run on.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory or what is in it cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What agents are to fetch is not there.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// The service cannot be begun with these options.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The token file cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// No master address can be understood.
    #[error("option scheduler.masters")]
    Masters(#[from] AddressError),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientSetupError),
    /// The API cannot listen.
    #[error("the API cannot listen on {address} (option scheduler.listen)")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An option that this release needs is missing.
    #[error("option {option} is missing: {needed_for}")]
    Missing {
        /// Which.
        option: &'static str,
        /// What it is needed for.
        needed_for: &'static str,
    },
    /// The event loop ended.
    #[error(transparent)]
    Loop(#[from] LoopError),
}

impl StartError {
    /// The exit code, by class: whoever supervises the scheduler can tell what
    /// a restart may heal.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Store(_)
            | StartError::Begin(BeginError::Store(_))
            | StartError::Loop(LoopError::Store(_)) => EXIT_STORE,
            StartError::Artifacts(_)
            | StartError::Begin(BeginError::Refused(_))
            | StartError::Tokens(_)
            | StartError::Masters(_)
            | StartError::Missing { .. } => EXIT_OPTIONS,
            StartError::Client(_) | StartError::Listen { .. } => EXIT_SYSTEM,
            StartError::Loop(LoopError::Mesos(_)) => EXIT_MESOS,
        }
    }
}

/// Options, or files that they name, are wrong. A restart will not help.
pub const EXIT_OPTIONS: u8 = 64;
/// Mesos refuses the framework for good. A restart will not help.
pub const EXIT_MESOS: u8 = 69;
/// The system refused something, such as a port. A restart may help.
pub const EXIT_SYSTEM: u8 = 71;
/// The store cannot be read or written. A restart may help if it was full.
pub const EXIT_STORE: u8 = 74;

/// Runs the scheduler until `shutdown` says so.
pub async fn run(
    started: Started,
    shutdown: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let store = Arc::new(Store::open(&started.options.scheduler.state_dir)?);
    let artifacts = Arc::new(artifacts(&started.options)?);
    let served = Served::with(&started.options, &artifacts).await;
    let Beginning {
        mut model,
        version,
        options,
    } = wanted::begin(&store, &started, &served)?;
    look_for_programs(&artifacts, &mut model);
    let access = Arc::new(access(&options)?);
    let snapshots = SnapshotFiles::in_state(&options.scheduler.state_dir);
    let listen = options.scheduler.listen;
    let listener =
        TcpListener::bind(listen)
            .await
            .map_err(|source| StartError::Listen {
                address: listen,
                source,
            })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen {
        address: listen,
        source,
    })?;
    let base_url = options.scheduler.advertised_url(address);

    let metrics = Arc::new(Metrics::new(
        prometheus_client::registry::Registry::default(),
    ));
    let published = Published::of(&model, Default::default(), None, clock::now());
    let (published_sender, published) = watch::channel(Arc::new(published));
    let facts = Arc::new(ServiceFacts::default());
    let events = Arc::new(EventLog::starting(&facts.version, clock::now()));
    let offer_history = Arc::<OfferHistory>::default();
    let (commands_sender, commands) = mpsc::channel(QUEUE_LENGTH);
    let readers = Readers::default();
    let api = ApiState {
        published: published.clone(),
        commands: commands_sender,
        events: Arc::clone(&events),
        offer_history: Arc::clone(&offer_history),
        metrics: Arc::clone(&metrics),
        store: Arc::clone(&store),
        artifacts: Arc::clone(&artifacts),
        access,
        facts,
        snapshots: Arc::default(),
        readers: readers.clone(),
        started: Arc::new(started),
    };
    let mut stop_serving = shutdown.clone();
    let server = tokio::spawn(http::serve(listener, api, async move {
        // An error means that nobody can ask us to stop any more.
        let _ = stop_serving.changed().await;
    }));

    let masters: Masters = options.scheduler.masters.join(",").parse()?;
    let framework = framework::framework_info(&options, &model.record);
    let operator = OperatorClient::new(masters.clone(), &mesos_v1::Access::default())?;
    let (handle, session) =
        SchedulerSession::start(SessionConfig::new(masters, framework))?;
    let (results_sender, results) = mpsc::unbounded_channel();
    let (mesos_jobs, jobs) = mpsc::unbounded_channel();
    tokio::spawn(effects::send_to_master(
        handle,
        jobs,
        results_sender.clone(),
        metrics.clone(),
    ));
    tokio::spawn(agents::ask_for_agents(
        operator,
        published.clone(),
        results_sender.clone(),
    ));
    tokio::spawn(hashing::compare_members(
        published.clone(),
        results_sender.clone(),
    ));
    tokio::spawn(probing::probe_members(published, results_sender.clone()));
    let wiring = Wiring {
        session,
        results,
        results_sender,
        commands,
        mesos_jobs,
        published: published_sender,
        journal: Journal::new(events),
        offer_history,
        frame: framework::launch_frame(&options, model.record.framework_id.as_ref()),
        claims: framework::claims(&options.service),
        snapshots: Arc::new(snapshots),
        files: FileSource {
            artifacts,
            base_url,
        },
        readers,
        metrics,
    };
    let ended = EventLoop::new(model, store, version, wiring)
        .run(shutdown)
        .await;
    server.abort();
    Ok(ended?)
}

fn artifacts(options: &Options) -> Result<Artifacts, StartError> {
    let (executor, etcd) = sources(options)?;
    let state = &options.scheduler.state_dir;
    Ok(Artifacts::open(&executor, &etcd, state)?)
}

/// Where agents get executor and etcd from, by the options.
///
/// # Errors
///
/// When an option is missing, or holds no checksum.
pub fn sources(options: &Options) -> Result<(ExecutorSource, EtcdSource), StartError> {
    let scheduler = &options.scheduler;
    let executor = match (&scheduler.executor_uri, &scheduler.executor_sha256) {
        (Some(uri), Some(sha256)) => ExecutorSource::Uri {
            uri: uri.clone(),
            sha256: checksum("scheduler.executor_sha256", sha256)?,
        },
        _ => ExecutorSource::File(executor_beside_us(options)?),
    };
    let etcd = match (&scheduler.etcd_dir, &options.etcd.uri, &options.etcd.sha256) {
        (Some(directory), _, _) => EtcdSource::Directory(directory.clone()),
        (None, Some(uri), Some(sha256)) => EtcdSource::Archive {
            uri: uri.clone(),
            sha256: checksum("etcd.sha256", sha256)?,
        },
        _ => {
            return Err(StartError::Missing {
                option: "scheduler.etcd_dir",
                needed_for: "agents fetch etcd from this scheduler",
            });
        }
    };
    Ok((executor, etcd))
}

/// Tells the planner what members cannot be launched with, and lets go of copies that
/// nobody needs.
fn look_for_programs(artifacts: &Artifacts, model: &mut Model) {
    artifacts.forget_all_but(model.programs());
    let missing: Vec<(Programs, String)> = model
        .programs()
        .filter_map(|programs| {
            let why = artifacts.look_for(programs).err()?.to_string();
            Some((programs.clone(), why))
        })
        .collect();
    for (programs, why) in missing {
        if model.observed.why_not_at_hand(&programs).is_none() {
            tracing::error!(why, "members cannot be launched with what they ran with");
            model.observed.not_at_hand.push((programs, why));
        }
    }
}

fn checksum(option: &'static str, text: &str) -> Result<Sha256, StartError> {
    text.parse().map_err(|_| StartError::Missing {
        option,
        needed_for: "what agents fetch is checked; expected 64 hexadecimal digits",
    })
}

/// Without an option, the executor is where a package or `cargo build` puts
/// it: beside the scheduler.
fn executor_beside_us(options: &Options) -> Result<PathBuf, StartError> {
    if let Some(executor) = &options.scheduler.executor {
        return Ok(executor.clone());
    }
    std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(EXECUTOR_FILE)))
        .ok_or(StartError::Missing {
            option: "scheduler.executor",
            needed_for: "agents fetch the executor from this scheduler",
        })
}

fn access(options: &Options) -> Result<Access, StartError> {
    match &options.scheduler.token_file {
        Some(path) => Ok(Access::from_file(path)?),
        None => Ok(Access::Open),
    }
}
