//! The clients themselves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, EventType, KeyValue, PutOptions,
    Txn, TxnOp, WatchOptions,
};
use tokio::sync::watch;

use super::history::{Change, Deed, Operation, Value};

/// Few keys, so that clients meet.
pub(super) const KEYS: u8 = 6;
/// What the keys of a witness begin with. There must be none when it begins.
pub const PREFIX: &str = "witness/";

/// How long one call may take. What takes longer has an unknown outcome.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// Pause of a client between two operations: the point is many histories, not load.
const BETWEEN_OPERATIONS: Duration = Duration::from_millis(10);
/// Pause after a failure, before another member is tried.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Pause after a write that was refused because the database is full. etcd may say so
/// and have written, so each refusal is one more unknown outcome.
const WHILE_REFUSED: Duration = Duration::from_secs(2);
/// Leases are revoked, they do not expire.
const LEASE_SECONDS: i64 = 3600;

/// Where members are.
pub(super) struct Endpoints {
    urls: Vec<String>,
}

impl Endpoints {
    pub(super) fn at(urls: Vec<String>) -> Self {
        Endpoints { urls }
    }
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while it was locked has failed the test already.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that holds to one member until that fails, then tries the next one.
struct Pinned {
    endpoints: Arc<Mutex<Endpoints>>,
    turn: usize,
    client: Option<Client>,
}

impl Pinned {
    fn new(endpoints: Arc<Mutex<Endpoints>>, turn: usize) -> Self {
        Pinned {
            endpoints,
            turn,
            client: None,
        }
    }

    /// A client whose member has just answered, so that a call that is sent and
    /// fails is a rare thing: each one makes the search for an order longer.
    async fn get(&mut self) -> Option<&mut Client> {
        if self.client.is_none() {
            let url = {
                let endpoints = lock(&self.endpoints);
                let count = endpoints.urls.len().max(1);
                endpoints.urls.get(self.turn % count).cloned()
            };
            let mut client = connect(&url?).await.ok()?;
            client.get(PREFIX, None).await.ok()?;
            self.client = Some(client);
        }
        self.client.as_mut()
    }

    async fn after_failure(&mut self) {
        self.client = None;
        self.turn += 1;
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}

async fn connect(url: &str) -> Result<Client, Error> {
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(1))
        .with_timeout(CALL_LIMIT);
    Client::connect([url], Some(options)).await
}

/// Works until it is over. Gives what it did.
pub(super) async fn work(
    number: u64,
    endpoints: Arc<Mutex<Endpoints>>,
    begun: Instant,
    answered: Arc<AtomicUsize>,
    over: watch::Receiver<bool>,
) -> Vec<Operation> {
    let turn = usize::try_from(number).unwrap_or_default();
    let mut member = Pinned::new(endpoints, turn);
    let mut choices = Choices::new(number);
    let mut operations = Vec::new();
    while !*over.borrow() {
        let Some(client) = member.get().await else {
            member.after_failure().await;
            continue;
        };
        let key = choices.key();
        match operate(client, key, &mut choices, begun, &mut operations).await {
            Ok(()) => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                member.after_failure().await;
                if refuses_writes(&error) {
                    tokio::time::sleep(WHILE_REFUSED).await;
                }
            }
        }
        tokio::time::sleep(BETWEEN_OPERATIONS).await;
    }
    operations
}

/// Whether etcd takes no writes for some time: outcomes that nobody knows pile up else.
fn refuses_writes(error: &Error) -> bool {
    let said = error.to_string();
    said.contains("database space exceeded") || said.contains("corrupt cluster")
}

/// What a client does next: different for each client, the same in every run.
struct Choices {
    state: u64,
    client: u64,
    written: u64,
    /// What it saw last on each key: a swap should sometimes succeed.
    seen: [Option<Value>; KEYS as usize],
}

impl Choices {
    fn new(client: u64) -> Self {
        Choices {
            state: client.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            client,
            written: 0,
            seen: [None; KEYS as usize],
        }
    }

    /// Xorshift.
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    fn key(&mut self) -> u8 {
        u8::try_from(self.below(u64::from(KEYS))).unwrap_or_default()
    }

    /// A value that is written once only, by anybody.
    fn new_value(&mut self) -> Value {
        self.written += 1;
        self.client * 1_000_000 + self.written
    }
}

/// One operation, or the three of a lease, on one key.
async fn operate(
    client: &mut Client,
    key: u8,
    choices: &mut Choices,
    begun: Instant,
    operations: &mut Vec<Operation>,
) -> Result<(), Error> {
    let name = name(key);
    let mut record = Recorder {
        key,
        begun,
        operations,
    };
    match choices.below(20) {
        0..=7 => {
            let value = choices.new_value();
            record
                .change(
                    Deed::Put(value),
                    client.put(name, text(value), None),
                    |put| (Deed::Put(value), revision_of(put.header())),
                )
                .await
        }
        8..=12 => {
            let asked = begun.elapsed();
            // A read that failed has told nothing.
            let answer = client.get(name, None).await?;
            let seen = answer.kvs().first().and_then(value_of);
            choices.seen[usize::from(key)] = seen;
            record.note(Deed::Get(seen), asked, Some(begun.elapsed()), None);
            Ok(())
        }
        13..=14 => {
            let unknown = Deed::Delete { found: None };
            record
                .change(unknown, client.delete(name, None), |answer| {
                    let found = Some(answer.deleted() > 0);
                    (Deed::Delete { found }, revision_of(answer.header()))
                })
                .await
        }
        15..=18 => {
            let (expected, new) = (choices.seen[usize::from(key)], choices.new_value());
            let deed = |swapped| Deed::Swap {
                expected,
                new,
                swapped,
            };
            let result = record
                .change(
                    deed(None),
                    client.txn(swap(&name, expected, new)),
                    |answer| {
                        (deed(Some(answer.succeeded())), revision_of(answer.header()))
                    },
                )
                .await;
            choices.seen[usize::from(key)] = Some(new);
            result
        }
        _ => {
            let lease = client.lease_grant(LEASE_SECONDS, None).await?.id();
            let value = choices.new_value();
            let with_lease = PutOptions::new().with_lease(lease);
            let put = client.put(name, text(value), Some(with_lease));
            record
                .change(Deed::Put(value), put, |put| {
                    (Deed::Put(value), revision_of(put.header()))
                })
                .await?;
            record
                .change(Deed::Revoke(value), client.lease_revoke(lease), |_| {
                    (Deed::Revoke(value), None)
                })
                .await
        }
    }
}

fn swap(name: &str, expected: Option<Value>, new: Value) -> Txn {
    let condition = match expected {
        Some(value) => Compare::value(name, CompareOp::Equal, text(value)),
        None => Compare::version(name, CompareOp::Equal, 0),
    };
    Txn::new()
        .when([condition])
        .and_then([TxnOp::put(name, text(new), None)])
}

struct Recorder<'a> {
    key: u8,
    begun: Instant,
    operations: &'a mut Vec<Operation>,
}

impl Recorder<'_> {
    /// Awaits a change. A failure of any kind leaves its outcome unknown.
    async fn change<Answer>(
        &mut self,
        unknown: Deed,
        call: impl Future<Output = Result<Answer, Error>>,
        read: impl FnOnce(&Answer) -> (Deed, Option<i64>),
    ) -> Result<(), Error> {
        let asked = self.begun.elapsed();
        match call.await {
            Ok(answer) => {
                let answered = Some(self.begun.elapsed());
                let (deed, revision) = read(&answer);
                self.note(deed, asked, answered, revision);
                Ok(())
            }
            Err(error) => {
                self.note(unknown, asked, None, None);
                Err(error)
            }
        }
    }

    fn note(
        &mut self,
        deed: Deed,
        asked: Duration,
        answered: Option<Duration>,
        revision: Option<i64>,
    ) {
        self.operations.push(Operation {
            key: self.key,
            deed,
            asked,
            answered,
            revision,
        });
    }
}

/// etcd's revision now.
pub(super) async fn revision(endpoints: &Arc<Mutex<Endpoints>>) -> Result<i64> {
    let mut member = Pinned::new(endpoints.clone(), 0);
    let started = Instant::now();
    while started.elapsed() < super::END_WITHIN {
        if let Some(client) = member.get().await
            && let Ok(answer) = client.get(PREFIX, None).await
            && let Some(revision) = revision_of(answer.header())
        {
            return Ok(revision);
        }
        member.after_failure().await;
    }
    bail!("no member answers")
}

/// A last linearizable read of every key, and a last write, whose revision the
/// watch must reach.
pub(super) async fn conclude(
    endpoints: &Arc<Mutex<Endpoints>>,
    begun: Instant,
) -> (Vec<Operation>, i64) {
    let mut member = Pinned::new(endpoints.clone(), 0);
    let mut operations = Vec::new();
    for key in 0..KEYS {
        // The caller has a time limit.
        while !try_to_read(&mut member, key, begun, &mut operations).await {
            member.after_failure().await;
        }
    }
    let mut choices = Choices::new(super::CLIENTS);
    loop {
        if let Some(client) = member.get().await {
            let value = choices.new_value();
            let mut record = Recorder {
                key: 0,
                begun,
                operations: &mut operations,
            };
            let put = client.put(name(0), text(value), None);
            let done = record.change(Deed::Put(value), put, |put| {
                (Deed::Put(value), revision_of(put.header()))
            });
            if done.await.is_ok()
                && let Some(revision) = operations.last().and_then(|put| put.revision)
            {
                return (operations, revision);
            }
        }
        member.after_failure().await;
    }
}

async fn try_to_read(
    member: &mut Pinned,
    key: u8,
    begun: Instant,
    operations: &mut Vec<Operation>,
) -> bool {
    let asked = begun.elapsed();
    let Some(client) = member.get().await else {
        return false;
    };
    let Ok(answer) = client.get(name(key), None).await else {
        return false;
    };
    let seen = answer.kvs().first().and_then(value_of);
    let mut record = Recorder {
        key,
        begun,
        operations,
    };
    record.note(Deed::Get(seen), asked, Some(begun.elapsed()), None);
    true
}

/// Watches every key from the revision after `from` on, and goes on elsewhere
/// when a member fails. Tells `seen` how far the watch has come.
pub(super) async fn watch_all(
    endpoints: Arc<Mutex<Endpoints>>,
    from: i64,
    changes: Arc<Mutex<Vec<Change>>>,
    seen: watch::Sender<i64>,
) {
    let mut member = Pinned::new(endpoints, 1);
    seen.send_replace(from);
    loop {
        if let Some(client) = member.get().await {
            // Whatever ended it: the next member goes on behind what was told.
            let _ = watch_one(client, &changes, &seen).await;
        }
        member.after_failure().await;
    }
}

async fn watch_one(
    client: &mut Client,
    changes: &Mutex<Vec<Change>>,
    seen: &watch::Sender<i64>,
) -> Result<(), Error> {
    let next = *seen.borrow() + 1;
    let options = WatchOptions::new().with_prefix().with_start_revision(next);
    let mut stream = client.watch(PREFIX, Some(options)).await?;
    while let Some(answer) = stream.message().await? {
        if answer.canceled() {
            return Ok(());
        }
        let mut newest = None;
        for event in answer.events() {
            let Some(pair) = event.kv() else { continue };
            let Some(key) = key_of(pair) else { continue };
            let value = match event.event_type() {
                EventType::Put => value_of(pair),
                EventType::Delete => None,
            };
            lock(changes).push(Change {
                revision: pair.mod_revision(),
                key,
                value,
            });
            newest = Some(pair.mod_revision());
        }
        if let Some(newest) = newest {
            seen.send_replace(newest);
        }
    }
    Ok(())
}

fn name(key: u8) -> String {
    format!("{PREFIX}{key}")
}

fn text(value: Value) -> String {
    value.to_string()
}

fn value_of(pair: &KeyValue) -> Option<Value> {
    pair.value_str().ok()?.parse().ok()
}

fn key_of(pair: &KeyValue) -> Option<u8> {
    pair.key_str().ok()?.strip_prefix(PREFIX)?.parse().ok()
}

fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> Option<i64> {
    header.map(etcd_client::ResponseHeader::revision)
}
