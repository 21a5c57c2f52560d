//! Offers through the whole event loop, from Mesos' message to the call that
//! declines them: 1,000 and 5,000 agents of which none has room, and 10,000
//! rounds of offers after which the process must not have grown.
//!
//! Mesos is a stand-in here: a channel on either side of the loop.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement fails by panicking"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_config::Options;
use etcd_planner::effect::Outcome;
use etcd_planner::record::TargetId;
use etcd_planner::{Event, Model, Record};
use etcd_scheduler::artifacts::{Artifacts, EtcdSource, ExecutorSource};
use etcd_scheduler::effects::{FileSource, MesosJob};
use etcd_scheduler::event_loop::{EventLoop, Wiring};
use etcd_scheduler::events::{EventLog, Journal};
use etcd_scheduler::metrics::Metrics;
use etcd_scheduler::published::Published;
use etcd_scheduler::snapshot_files::SnapshotFiles;
use etcd_scheduler::store::Store;
use etcd_scheduler::{clock, framework, target};
use mesos_v1::scheduler::{Event as MesosEvent, call, event};
use mesos_v1::{Epoch, SessionEvent, v1};
use tokio::sync::{mpsc, watch};

const ROUNDS: usize = 101;
const CYCLES: usize = 10_000;
const AGENTS_OF_CYCLES: usize = 100;
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    println!("from an OFFERS message to the DECLINE, median of {ROUNDS}");
    for agents in [1_000, 5_000] {
        let mut loop_under_test = LoopUnderTest::start().await;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            times.push(loop_under_test.offer_and_await_decline(agents).await);
        }
        times.sort();
        let median = times[ROUNDS / 2].as_secs_f64() * 1000.0;
        println!("{agents:>5} agents {median:>7.2} ms");
    }
    let mut loop_under_test = LoopUnderTest::start().await;
    let mut resident_after = Vec::new();
    for cycle in 1..=CYCLES {
        loop_under_test
            .offer_and_await_decline(AGENTS_OF_CYCLES)
            .await;
        if cycle == CYCLES / 10 || cycle == CYCLES {
            resident_after.push((cycle, resident_kilobytes()));
        }
    }
    println!("memory (resident) with offers of {AGENTS_OF_CYCLES} agents");
    for (cycle, kilobytes) in resident_after {
        println!("{cycle:>5} rounds {:>7.1} MB", kilobytes as f64 / 1024.0);
    }
}

/// A running event loop, and both its ends towards Mesos.
struct LoopUnderTest {
    to_loop: mpsc::Sender<SessionEvent>,
    results: mpsc::UnboundedSender<Event>,
    from_loop: mpsc::UnboundedReceiver<MesosJob>,
    offers_made: usize,
    /// Stops the loop when dropped.
    _shutdown: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

impl LoopUnderTest {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for program in ["etcd-executor", "etcd", "etcdctl"] {
            let path = directory.path().join(program);
            std::fs::write(&path, program).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        let artifacts = Artifacts::open(
            &ExecutorSource::File(directory.path().join("etcd-executor")),
            &EtcdSource::Directory(directory.path().to_owned()),
            &directory.path().join("state"),
        )
        .unwrap();
        let mut options = Options::default();
        options.scheduler.offer_collection.0 = 0;
        let target = target::target(&options, artifacts.served().clone());
        let target_id = TargetId("bench".into());
        let model = Model::new(target_id.clone(), target, Record::new(target_id));
        let store = Store::open(&directory.path().join("state")).unwrap();

        let published = Published::of(&model, Default::default(), None, clock::now());
        let (published, _) = watch::channel(Arc::new(published));
        let (to_loop, session) = mpsc::channel(16);
        let (results_sender, results) = mpsc::unbounded_channel();
        let (_, commands) = mpsc::channel(1);
        let (mesos_jobs, from_loop) = mpsc::unbounded_channel();
        let frame = framework::launch_frame(&options, None);
        let wiring = Wiring {
            session,
            results,
            results_sender: results_sender.clone(),
            commands,
            mesos_jobs,
            published,
            journal: Journal::new(Arc::new(EventLog::starting("bench", clock::now()))),
            offer_history: Arc::default(),
            files: FileSource {
                artifacts: Arc::new(artifacts),
                base_url: "http://127.0.0.1:1".into(),
            },
            snapshots: Arc::new(SnapshotFiles::in_state(directory.path())),
            frame,
            claims: framework::claims(&options.service),
            readers: Default::default(),
            metrics: Arc::new(Metrics::new(Default::default())),
        };
        let (shutdown_sender, shutdown) = watch::channel(false);
        let event_loop = EventLoop::new(model, Arc::new(store), 0, wiring);
        tokio::spawn(event_loop.run(shutdown));

        let mut started = LoopUnderTest {
            to_loop,
            results: results_sender,
            from_loop,
            offers_made: 0,
            _shutdown: shutdown_sender,
            _directory: directory,
        };
        started.subscribe().await;
        started
    }

    async fn subscribe(&mut self) {
        let connected = SessionEvent::Connected {
            epoch: Epoch(1),
            framework_id: "framework".into(),
            master: "127.0.0.1:5050".into(),
            master_info: None,
        };
        self.to_loop.send(connected).await.unwrap();
    }

    /// Lets each of so many agents make an offer that is too small, and waits
    /// until all of them are declined.
    async fn offer_and_await_decline(&mut self, agents: usize) -> Duration {
        let offers = (0..agents)
            .map(|agent| small_offer(agent, self.offers_made + agent))
            .collect();
        self.offers_made += agents;
        let event = MesosEvent {
            r#type: Some(event::Type::Offers.into()),
            offers: Some(event::Offers { offers }),
            ..Default::default()
        };
        let started = Instant::now();
        let event = SessionEvent::Event {
            epoch: Epoch(1),
            event: Box::new(event),
        };
        self.to_loop.send(event).await.unwrap();
        let mut declined = 0;
        while declined < agents {
            let job = tokio::time::timeout(ANSWERS_WITHIN, self.from_loop.recv())
                .await
                .expect("the loop declines what it cannot use")
                .unwrap();
            if job.call.r#type == Some(call::Type::Decline.into()) {
                declined += job.call.decline.map_or(0, |call| call.offer_ids.len());
            }
            if let Some((id, _)) = job.effect {
                let outcome = Outcome::Done;
                self.results
                    .send(Event::EffectDone { id, outcome })
                    .unwrap();
            }
        }
        started.elapsed()
    }
}

fn small_offer(agent: usize, number: usize) -> v1::Offer {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    v1::Offer {
        id: v1::OfferId {
            value: format!("offer-{number}"),
        },
        framework_id: v1::FrameworkId {
            value: "framework".into(),
        },
        allocation_info: Some(v1::resource::AllocationInfo {
            role: Some("etcd-role".into()),
        }),
        agent_id: v1::AgentId {
            value: format!("agent-{agent}"),
        },
        hostname: format!("host-{agent}"),
        resources: vec![
            scalar("cpus", 0.5),
            scalar("mem", 4096.0),
            scalar("disk", 100_000.0),
        ],
        ..Default::default()
    }
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.expect("Linux tells it").split_whitespace();
    words.rev().nth(1).unwrap().parse().unwrap()
}
