//! Three etcd processes with a static peer list, as a script would start them:
//! what a birth costs without Mesos and without us.
//!
//! It matters how the script does it. A founder first asks every peer whether
//! the cluster exists already. A peer that is not there refuses at once; one
//! that listens but does not serve yet, because it asks the same, lets it wait
//! for a second. Three that are started in the same instant thus often take two
//! seconds longer than three that are started one after the other.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use etcd_tests::{Service, programs, service};

use crate::birth::LOOK_AGAIN;

/// The ways to start three: what the table calls them, and the pause between.
pub(crate) const WAYS: [(&str, Duration); 2] = [
    ("bare etcd, at once", Duration::ZERO),
    ("bare etcd, 50 ms apart", Duration::from_millis(50)),
];

/// Addresses of the cluster's lease that neither master nor agents use.
pub(crate) const HOSTS: [u8; 3] = [101, 102, 103];

/// The quota of a small database.
pub(crate) const SMALL_QUOTA_MB: u64 = 64;

/// Killed when dropped.
pub(crate) struct Running(pub(crate) Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself; then there is nothing to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// From the start of the first process until all three say that they are
/// healthy, which they say when a linearizable read works.
///
/// Runs beside the service's idle Mesos, on its addresses and its disk, so
/// that both births have the same conditions.
pub(crate) async fn birth(service: &Service, pause: Duration) -> Result<Duration> {
    let directory = service.root().join("bare");
    std::fs::create_dir(&directory)?;
    let hosts = HOSTS.map(|host| service.cluster.lease().ip(host));
    let etcd = programs::etcd_directory()?.join("etcd");
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    let started = Instant::now();
    let mut running = Running(Vec::new());
    for number in 0..hosts.len() {
        if number > 0 {
            tokio::time::sleep(pause).await;
        }
        let founders = ClusterStart {
            members: (0..hosts.len()).collect(),
            state: "new",
            quota_mb: SMALL_QUOTA_MB,
            heartbeat_ms: HEARTBEAT_MS,
        };
        running
            .0
            .push(start(&etcd, number, &hosts, &founders, &directory)?);
    }
    for host in hosts {
        let url = format!("http://{host}:2379/health");
        while !is_healthy(&client, &url).await {
            if started.elapsed() > service::PATIENCE {
                bail!("the bare etcd on {host} is not healthy");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    let taken = started.elapsed();
    drop(running);
    std::fs::remove_dir_all(directory)?;
    Ok(taken)
}

pub(crate) async fn is_healthy(client: &reqwest::Client, url: &str) -> bool {
    match client.get(url).send().await {
        Ok(response) => response
            .text()
            .await
            .is_ok_and(|body| body.contains(r#""health":"true""#)),
        Err(_) => false,
    }
}

/// What a process is told of its cluster.
pub(crate) struct ClusterStart {
    /// Which of the hosts belong to it.
    pub(crate) members: Vec<usize>,
    /// etcd's `--initial-cluster-state`.
    pub(crate) state: &'static str,
    /// The most that the database may hold, in MB (2^20 bytes).
    pub(crate) quota_mb: u64,
    /// etcd's `--heartbeat-interval`.
    pub(crate) heartbeat_ms: u64,
}

/// The service's default.
pub(crate) const HEARTBEAT_MS: u64 = 100;

/// With the tunables that the service gives its members by default.
pub(crate) fn start(
    etcd: &Path,
    number: usize,
    hosts: &[Ipv4Addr],
    cluster: &ClusterStart,
    directory: &Path,
) -> Result<Child> {
    let peers: Vec<String> = cluster
        .members
        .iter()
        .map(|number| format!("bare-{number}=http://{}:2380", hosts[*number]))
        .collect();
    let host = hosts[number];
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join(format!("log-{number}")))?;
    let child = Command::new(etcd)
        .arg(format!("--name=bare-{number}"))
        .arg(format!("--data-dir=data-{number}"))
        .arg(format!("--listen-client-urls=http://{host}:2379"))
        .arg(format!("--advertise-client-urls=http://{host}:2379"))
        .arg(format!("--listen-peer-urls=http://{host}:2380"))
        .arg(format!("--initial-advertise-peer-urls=http://{host}:2380"))
        .arg(format!("--initial-cluster={}", peers.join(",")))
        .arg(format!("--initial-cluster-state={}", cluster.state))
        .arg("--initial-cluster-token=bare")
        .arg(format!("--heartbeat-interval={}", cluster.heartbeat_ms))
        .arg("--election-timeout=1000")
        .arg("--snapshot-count=10000")
        .arg(format!("--quota-backend-bytes={}", cluster.quota_mb << 20))
        .args(["--logger=zap", "--log-outputs=stderr"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    Ok(child)
}
