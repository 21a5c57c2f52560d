//! A witness of a cluster under faults: clients that write and read all the time
//! and record what they did and saw, and checks that say whether a correct etcd
//! could have answered so.
//!
//! "No acknowledged write is lost" means in our tests: this witness says so. It
//! does not trust the cluster about anything: not about revisions (the order of
//! the operations is searched for, not read off), and about the watch only what
//! agrees with what writers were told.
//!
//! ```no_run
//! # async fn test(mut service: etcd_tests::Service) -> anyhow::Result<()> {
//! let status = service.wait_until_healthy().await?;
//! let witness = etcd_tests::witness::Witness::start(&status).await?;
//! // Faults go here.
//! let testimony = witness.finish().await?;
//! testimony.check()?;
//! # Ok(())
//! # }
//! ```

mod clients;
pub mod history;
pub mod linearizable;
pub mod watched;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_api::status::ServiceStatus;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use clients::PREFIX;

use clients::Endpoints;
use history::{Change, Operation};
use linearizable::Verdict;

/// Clients at work at the same time. More make every conflict likelier, and the
/// search for an order longer.
const CLIENTS: u64 = 5;

/// Answers without which a testimony says nothing: the clients go on until then.
const ENOUGH: usize = 300;

/// Answers after which clients are at work. A fault that comes before the first write
/// was acknowledged cannot lose any.
const AT_WORK: usize = 50;

/// How long the end of a testimony may take: the last reads, the watch's last word.
const END_WITHIN: Duration = Duration::from_secs(60);

/// Clients at work.
pub struct Witness {
    endpoints: Arc<Mutex<Endpoints>>,
    /// Says that it is over.
    over: watch::Sender<bool>,
    clients: JoinSet<Vec<Operation>>,
    /// Watches all the time.
    watcher: JoinSet<()>,
    changes: Arc<Mutex<Vec<Change>>>,
    /// The newest revision that the watcher has seen.
    seen: watch::Receiver<i64>,
    begun: Instant,
    /// Operations that were answered.
    answered: Arc<AtomicUsize>,
}

impl Witness {
    /// Sets clients to work on these members, and waits until they are at it.
    pub async fn start(status: &ServiceStatus) -> Result<Self> {
        Witness::start_at(client_urls(status)).await
    }

    /// The same for members that are there, of whatever cluster.
    pub async fn start_at(client_urls: Vec<String>) -> Result<Self> {
        let endpoints = Arc::new(Mutex::new(Endpoints::at(client_urls)));
        let begun = Instant::now();
        let (over, is_over) = watch::channel(false);
        let from = clients::revision(&endpoints)
            .await
            .context("the witness cannot begin")?;
        let (seen_sender, seen) = watch::channel(from);
        let changes = Arc::default();
        let mut watcher = JoinSet::new();
        watcher.spawn(clients::watch_all(
            endpoints.clone(),
            from,
            Arc::clone(&changes),
            seen_sender,
        ));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut at_work = JoinSet::new();
        for number in 0..CLIENTS {
            let endpoints = endpoints.clone();
            let answered = answered.clone();
            at_work.spawn(clients::work(
                number,
                endpoints,
                begun,
                answered,
                is_over.clone(),
            ));
        }
        let witness = Witness {
            endpoints,
            over,
            clients: at_work,
            watcher,
            changes,
            seen,
            begun,
            answered,
        };
        witness.wait_for_answers(AT_WORK).await?;
        Ok(witness)
    }

    async fn wait_for_answers(&self, enough: usize) -> Result<()> {
        let waiting = Instant::now();
        while self.answered.load(Ordering::Relaxed) < enough {
            let answered = self.answered.load(Ordering::Relaxed);
            ensure!(waiting.elapsed() < END_WITHIN, "only {answered} answers");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Tells the clients where members are now, as discovery would.
    pub fn members_are(&self, status: &ServiceStatus) {
        self.members_are_at(client_urls(status));
    }

    /// The same for members that are there.
    pub fn members_are_at(&self, client_urls: Vec<String>) {
        *clients::lock(&self.endpoints) = Endpoints::at(client_urls);
    }

    /// Lets the clients do enough and then end, reads every key once more, and waits until the watch
    /// has told everything up to then. Needs a cluster that is well.
    pub async fn finish(mut self) -> Result<Testimony> {
        self.wait_for_answers(ENOUGH).await?;
        self.over.send_replace(true);
        let mut operations = Vec::new();
        while let Some(done) = self.clients.join_next().await {
            operations.extend(done?);
        }
        let conclusion = clients::conclude(&self.endpoints, self.begun);
        let (last, revision) = tokio::time::timeout(END_WITHIN, conclusion)
            .await
            .context("the keys could not be read and written at the end")?;
        operations.extend(last);
        let told = self.seen.wait_for(|seen| *seen >= revision);
        if tokio::time::timeout(END_WITHIN, told).await.is_err() {
            let seen = *self.seen.borrow();
            bail!("the watch has told up to revision {seen}, and not to {revision}");
        }
        self.watcher.shutdown().await;
        let changes = std::mem::take(&mut *clients::lock(&self.changes));
        Ok(Testimony {
            operations,
            changes,
            until: revision,
        })
    }
}

/// Where clients find the members.
pub fn client_urls(status: &ServiceStatus) -> Vec<String> {
    let urls = status.pods.iter().filter_map(|pod| pod.client_url.clone());
    urls.collect()
}

/// What the witness has to say.
pub struct Testimony {
    operations: Vec<Operation>,
    changes: Vec<Change>,
    /// The revision up to which the watch has told.
    until: i64,
}

impl Testimony {
    /// Fails if no correct etcd could have answered so.
    pub fn check(&self) -> Result<()> {
        let mut by_key: BTreeMap<u8, Vec<Operation>> = BTreeMap::new();
        for operation in &self.operations {
            by_key
                .entry(operation.key)
                .or_default()
                .push(operation.clone());
        }
        for (key, operations) in &by_key {
            match linearizable::judge(operations) {
                Verdict::Linearizable => {}
                Verdict::Contradiction(operation) => bail!(
                    "key {key}: no order of its {} operations explains {operation:?}",
                    operations.len()
                ),
                Verdict::Undecided => bail!("key {key}: the search took too long"),
            }
        }
        let wrong = watched::judge(&self.changes, &self.operations, self.until);
        ensure!(wrong.is_empty(), "the watch: {}", wrong.join("; "));
        Ok(())
    }

    /// The longest time between two acknowledged writes.
    pub fn longest_gap(&self) -> Duration {
        let mut times: Vec<Duration> = self
            .acknowledged()
            .filter_map(|operation| operation.answered)
            .collect();
        times.sort();
        times
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default()
    }

    /// One line for a test's output.
    pub fn summary(&self) -> String {
        let unknown = self
            .operations
            .iter()
            .filter(|operation| operation.answered.is_none())
            .count();
        format!(
            "{} operations, {} writes acknowledged, {unknown} unknown, {} changes told, \
             longest gap {} ms",
            self.operations.len(),
            self.acknowledged().count(),
            self.changes.len(),
            self.longest_gap().as_millis()
        )
    }

    fn acknowledged(&self) -> impl Iterator<Item = &Operation> {
        self.operations
            .iter()
            .filter(|operation| operation.deed.certain_change().is_some())
            .filter(|operation| operation.answered.is_some())
    }
}
