//! Snapshots of a running service: they hold what was acknowledged before, cost the
//! scheduler no memory, and are whole or none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etcd_api::status::ServiceStatus;
use etcd_tests::service::PATIENCE;
use etcd_tests::{Service, etcd, programs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A client that writes one key after the other.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

fn key(number: u64) -> String {
    format!("key-{number:08}")
}

impl Writer {
    async fn start(status: &ServiceStatus) -> Self {
        let mut client = etcd::client(status).await.unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counted, stopped) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let put = client.put(key(number), number.to_string(), None).await;
                put.unwrap();
                counted.store(number, Ordering::Release);
            }
        });
        Writer {
            acknowledged,
            stop,
            task,
        }
    }

    /// Waits until it has written so many more; gives how many it has written.
    async fn wait_for_more(&self, more: u64) -> u64 {
        let wanted = self.acknowledged.load(Ordering::Acquire) + more;
        let started = Instant::now();
        loop {
            let written = self.acknowledged.load(Ordering::Acquire);
            if written >= wanted {
                return written;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{written} of {wanted} written"
            );
            assert!(!self.task.is_finished(), "the writer has failed");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::Acquire)
    }
}

/// An etcd on restored data. Killed when dropped.
struct Restored {
    process: Child,
    client_url: String,
}

impl Restored {
    /// Restores a snapshot as an operator does, and runs it at this address.
    fn start(snapshot: &Path, directory: &Path, host: std::net::Ipv4Addr) -> Self {
        let etcd_directory = programs::etcd_directory().unwrap();
        let data = directory.join("restored");
        let (client, peer) =
            (format!("http://{host}:2379"), format!("http://{host}:2380"));
        // Before 3.5 etcdctl did it.
        let tool = ["etcdutl", "etcdctl"]
            .map(|tool| etcd_directory.join(tool))
            .into_iter()
            .find(|tool| tool.is_file())
            .unwrap();
        let restored = Command::new(tool)
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore"])
            .arg(snapshot)
            .arg("--data-dir")
            .arg(&data)
            .args(["--name", "restored"])
            .arg(format!("--initial-cluster=restored={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .output()
            .unwrap();
        assert!(restored.status.success(), "{restored:?}");
        let process = Command::new(etcd_directory.join("etcd"))
            .args(["--name", "restored"])
            .arg("--data-dir")
            .arg(&data)
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Restored {
            process,
            client_url: client,
        }
    }

    /// Its keys and values, and its revision.
    async fn read(&self) -> (Vec<(String, String)>, i64) {
        let started = Instant::now();
        loop {
            let read = async {
                let urls = [&self.client_url];
                let mut client = etcd_client::Client::connect(urls, None).await?;
                let options = etcd_client::GetOptions::new().with_prefix();
                client.get("key-", Some(options)).await
            };
            match read.await {
                Ok(found) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let pairs = found.kvs().iter();
                    let pairs = pairs.map(|kv| (text(kv.key()), text(kv.value())));
                    return (pairs.collect(), found.header().unwrap().revision());
                }
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        // It may have ended; that is all right.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_snapshot_under_writes_holds_what_was_acknowledged_before() {
    let mut service = Service::deployed().await.unwrap();
    let status = service.status().await.unwrap();
    let writer = Writer::start(&status).await;
    let operator = service.command_line().unwrap();
    let file = service.root().join("etcd.db");

    let before = writer.wait_for_more(200).await;
    let command = format!("snapshot save {} --json", file.display());
    let saved = operator.succeed(&command).await.unwrap();
    writer.wait_for_more(100).await;
    let after = writer.finish().await;

    let saved: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved["size"], fs::metadata(&file).unwrap().len());
    let leaders: Vec<&str> = status
        .pods
        .iter()
        .filter(|pod| pod.leader)
        .map(|pod| pod.name.as_str())
        .collect();
    assert_eq!(leaders.len(), 1);
    assert!(
        !leaders.contains(&saved["pod"].as_str().unwrap()),
        "{saved}"
    );

    let host = service.cluster.lease().ip(200);
    let restored = Restored::start(&file, service.root(), host);
    let (pairs, revision) = restored.read().await;
    let expected = (1..).map(|number| (key(number), number.to_string()));
    let expected: Vec<_> = expected.take(pairs.len()).collect();
    assert!(pairs == expected, "a gap, or other values");
    let (held, said) = (pairs.len() as u64, saved["revision"].as_i64().unwrap());
    println!("acknowledged before {before}, in the snapshot {held}, at the end {after}");
    println!("revision said {said}, found {revision}");
    assert!(before <= held && held <= after);
    assert!(said <= revision);
    drop(restored);

    // What cannot be had is said.
    let again = operator.run(&command).await.unwrap();
    assert_eq!(again.code, 64, "{again:?}");
    assert_eq!(
        service.get_as(None, "/v1/snapshot").await.unwrap().as_u16(),
        401
    );
    service.wait_until_healthy().await.unwrap();
}

/// As large as shows in the memory of whoever keeps it.
const LARGE_MB: u64 = 220;

/// What a scheduler that keeps nothing may grow by while it passes that on, MB: the
/// buffers of a few connections.
const GROWS_BY_AT_MOST_MB: u64 = 24;

async fn large_service() -> Service {
    let mut service = Service::on_agents(3).await.unwrap();
    service.set_option("etcd", "quota", json!(512));
    service.set_option("node", "disk", json!(1600));
    service.start_scheduler(None).unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    let mut client = etcd::client(&status).await.unwrap();
    for number in 0..LARGE_MB {
        // Not all the same, for disks that notice.
        let value: Vec<u8> = (0..1 << 20).map(|at| (at * 31 + number) as u8).collect();
        client.put(key(number), value, None).await.unwrap();
    }
    service.wait_until_healthy().await.unwrap();
    service
}

/// Megabytes of a process that are in memory: now, and at most so far.
fn memory_mb(pid: Pid) -> (u64, u64) {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(path).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// The scheduler itself, below the process that guards it.
fn scheduler_of(service: &Service) -> Pid {
    let guard = service.scheduler_pid().unwrap().as_raw_nonzero();
    let path = format!("/proc/{guard}/task/{guard}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let child = children.split_whitespace().next();
    let pid = child.map_or(guard.get(), |pid| pid.parse().unwrap());
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(exe.ends_with("etcd-scheduler"), "{}", exe.display());
    Pid::from_raw(pid).unwrap()
}

async fn begin(service: &Service) -> reqwest::Response {
    let response = service.begin_get("/v1/snapshot").await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

#[tokio::test]
async fn a_large_snapshot_costs_no_memory_and_is_whole_or_none() {
    let service = large_service().await;
    memory_stays_flat(&service).await;
    a_cut_snapshot_is_an_error(&service).await;
}

/// Two readers, of whom one takes its time.
async fn memory_stays_flat(service: &Service) {
    let scheduler = scheduler_of(service);
    let (before, _) = memory_mb(scheduler);
    let mut slow = begin(service).await;
    let file = service.root().join("large.db");
    let operator = service.command_line().unwrap();
    let started = Instant::now();
    let command = format!("snapshot save {}", file.display());
    let saved = operator.succeed(&command).await.unwrap();
    let took = started.elapsed();
    println!("{saved}");
    let by_hand = by_hand(service).await;
    // The reader that has taken nothing holds its place meanwhile.
    let second = begin(service).await;
    let third = service.begin_get("/v1/snapshot").await.unwrap();
    assert_eq!(third.status(), 429);
    drop(second);

    let mut length = 0;
    while let Some(piece) = slow.chunk().await.unwrap() {
        length += piece.len() as u64;
    }
    assert_eq!(length, fs::metadata(&file).unwrap().len());
    assert!(length > LARGE_MB << 20);
    let (now, at_most) = memory_mb(scheduler);
    println!("{length} bytes twice, the fast one in {took:?}; by hand in {by_hand:?}");
    println!("scheduler: {before} MB before, at most {at_most} MB, {now} MB after");
    assert!(at_most <= before + GROWS_BY_AT_MOST_MB);
}

/// How long etcdctl takes, for comparison.
async fn by_hand(service: &Service) -> Duration {
    let status = service.status().await.unwrap();
    let follower = status.pods.iter().find(|pod| !pod.leader).unwrap();
    let started = Instant::now();
    let saved =
        tokio::process::Command::new(programs::etcd_directory().unwrap().join("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg("--endpoints")
            .arg(follower.client_url.as_ref().unwrap())
            .args(["snapshot", "save"])
            .arg(service.root().join("by-hand.db"))
            .output();
    let saved = saved.await.unwrap();
    assert!(saved.status.success(), "{saved:?}");
    started.elapsed()
}

/// The member that gives the snapshot dies halfway.
async fn a_cut_snapshot_is_an_error(service: &Service) {
    let operator = service.command_line().unwrap();
    let file = service.root().join("cut.db");
    let command = format!("snapshot save {}", file.display());
    let mut saving = operator.start(&command).unwrap();
    let pid = i32::try_from(saving.id().unwrap()).unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    let part = wait_for_part(service.root()).await;
    // Held in the middle for as long as it takes to kill.
    kill_process(pid, Signal::STOP).unwrap();
    let so_far = fs::metadata(&part).unwrap().len();
    assert!(so_far < LARGE_MB << 20, "it was too fast: {so_far}");
    for (etcd, _) in service.processes("etcd").unwrap() {
        service.signal(etcd, Signal::KILL).unwrap();
    }
    kill_process(pid, Signal::CONT).unwrap();
    let ended = tokio::time::timeout(PATIENCE, saving.wait()).await;
    let code = ended.unwrap().unwrap().code();
    assert_eq!(code, Some(69));
    assert!(!file.exists() && !part.exists());
    let log = fs::read_to_string(service.scheduler_log()).unwrap();
    assert!(log.contains("a snapshot is broken off"));
}

/// The hidden file that a snapshot is first written to, once something is in it.
async fn wait_for_part(directory: &Path) -> PathBuf {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let parts = fs::read_dir(directory).unwrap().flatten();
        for entry in parts {
            let is_part = entry.file_name().to_string_lossy().ends_with(".part");
            if is_part && entry.metadata().is_ok_and(|found| found.len() > 0) {
                return entry.path();
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nothing is being saved")
}
