//! A cluster of bare etcds, looked after as an operator's script would: with etcdctl
//! and signals, each step as soon as etcd takes it.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_client::{Client, ConnectOptions};
use etcd_tests::{Service, programs, service};
use rustix::process::{Pid, Signal};

use crate::bare_etcd::{self, ClusterStart, HEARTBEAT_MS, Running};
use crate::birth::LOOK_AGAIN;

/// Addresses of the lease that neither master nor agents use: for three, and one more.
const HOSTS: [u8; 4] = [101, 102, 103, 104];

const FOUNDERS: usize = 3;

/// Its processes are killed and its data is removed when it is dropped.
pub(crate) struct ByHand {
    hosts: [Ipv4Addr; 4],
    directory: PathBuf,
    binaries: PathBuf,
    quota_mb: u64,
    heartbeat_ms: u64,
    client: reqwest::Client,
    running: BTreeMap<usize, Running>,
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.running.clear();
        // What is left of it goes with the service's directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl ByHand {
    /// Three healthy members, on the disk of the service and beside its Mesos.
    pub(crate) async fn founded(service: &Service, quota_mb: u64) -> Result<Self> {
        let directory = service.root().join("bare");
        fs::create_dir(&directory)?;
        let mut cluster = ByHand {
            hosts: HOSTS.map(|host| service.cluster.lease().ip(host)),
            directory,
            binaries: programs::etcd_directory()?,
            quota_mb,
            heartbeat_ms: HEARTBEAT_MS,
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(5))
                .build()?,
            running: BTreeMap::new(),
        };
        for number in 0..FOUNDERS {
            cluster.start(number, (0..FOUNDERS).collect(), "new")?;
        }
        for number in 0..FOUNDERS {
            wait_until_healthy(&cluster.client, cluster.hosts[number]).await?;
        }
        Ok(cluster)
    }

    fn start(
        &mut self,
        number: usize,
        members: Vec<usize>,
        state: &'static str,
    ) -> Result<()> {
        let cluster = ClusterStart {
            members,
            state,
            quota_mb: self.quota_mb,
            heartbeat_ms: self.heartbeat_ms,
        };
        let etcd = self.binaries.join("etcd");
        let child =
            bare_etcd::start(&etcd, number, &self.hosts, &cluster, &self.directory)?;
        self.running.insert(number, Running(vec![child]));
        Ok(())
    }

    fn url(&self, number: usize) -> String {
        format!("http://{}:2379", self.hosts[number])
    }

    /// Where the members are that run.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.running
            .keys()
            .map(|number| self.url(*number))
            .collect()
    }

    /// The members that run, the leader last.
    pub(crate) async fn leader_last(&self) -> Result<Vec<usize>> {
        let (mut members, mut leader) = (Vec::new(), None);
        for number in self.running.keys().copied() {
            let found = status_of(&self.url(number)).await?;
            match found.leads {
                true => leader = Some(number),
                false => members.push(number),
            }
        }
        members.push(leader.context("the bare cluster has no leader")?);
        Ok(members)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, number: usize) {
        self.running.remove(&number);
    }

    /// Starts a member on the data that it has, and waits until it is healthy.
    pub(crate) async fn start_again(&mut self, number: usize) -> Result<()> {
        let mut members: Vec<usize> = self.running.keys().copied().collect();
        members.push(number);
        self.start(number, members, "existing")?;
        wait_until_healthy(&self.client, self.hosts[number]).await
    }

    /// Restarts all members with SIGTERM, the leader last.
    pub(crate) async fn restart_all(&mut self) -> Result<()> {
        for number in self.leader_last().await? {
            self.terminate(number).await?;
            self.start_again(number).await?;
        }
        Ok(())
    }

    /// Restarts all members with another heartbeat, the leader last: the next one when
    /// the last has been healthy for so long.
    pub(crate) async fn update_all(
        &mut self,
        heartbeat_ms: u64,
        stable_for: Duration,
    ) -> Result<()> {
        self.heartbeat_ms = heartbeat_ms;
        for number in self.leader_last().await? {
            self.terminate(number).await?;
            self.start_again(number).await?;
            tokio::time::sleep(stable_for).await;
        }
        Ok(())
    }

    async fn terminate(&mut self, number: usize) -> Result<()> {
        let mut running = self.running.remove(&number).context("it does not run")?;
        let child = running.0.first_mut().context("it has a process")?;
        rustix::process::kill_process(Pid::from_child(child), Signal::TERM)?;
        let told = Instant::now();
        while child.try_wait()?.is_none() {
            if told.elapsed() > service::PATIENCE {
                bail!("etcd does not end on SIGTERM");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Kills a follower for good and, once the others have been alone for so long,
    /// replaces it.
    pub(crate) async fn replace_a_follower(
        &mut self,
        down_for: Duration,
    ) -> Result<Replaced> {
        let members = self.leader_last().await?;
        let (dead, endpoint) = (members[0], self.hosts[members[1]]);
        let dead_id = status_of(&self.url(dead)).await?.member_id;
        self.kill(dead);
        let spare = (0..self.hosts.len())
            .find(|number| !members.contains(number))
            .context("no spare host")?;
        tokio::time::sleep(down_for).await;

        let started = Instant::now();
        let remove = ["member", "remove", &format!("{dead_id:x}")];
        until_taken(&self.binaries, endpoint, &remove).await?;
        let name = format!("bare-{spare}");
        let peer_url = format!("--peer-urls=http://{}:2380", self.hosts[spare]);
        let add = ["member", "add", &name, "--learner", &peer_url, "-w=json"];
        let added = until_taken(&self.binaries, endpoint, &add).await?;
        let answer: serde_json::Value = serde_json::from_slice(&added.stdout)?;
        let id = answer["member"]["ID"].as_u64().context("no member id")?;
        let mut members: Vec<usize> = self.running.keys().copied().collect();
        members.push(spare);
        self.start(spare, members, "existing")?;
        let promote = ["member", "promote", &format!("{id:x}")];
        until_taken(&self.binaries, endpoint, &promote).await?;
        let votes = started.elapsed();
        wait_until_healthy(&self.client, self.hosts[spare]).await?;
        let healthy = started.elapsed();
        fs::remove_dir_all(self.directory.join(format!("data-{dead}")))?;
        Ok(Replaced { votes, healthy })
    }
}

/// How long a replacement took, from the call on.
#[derive(Clone, Copy)]
pub(crate) struct Replaced {
    /// Until the new member had a vote. etcd gives one to a learner that was sent
    /// everything and has not opened it yet.
    pub(crate) votes: Duration,
    /// Until it served as well.
    pub(crate) healthy: Duration,
}

struct MemberStatus {
    member_id: u64,
    leads: bool,
}

async fn status_of(url: &str) -> Result<MemberStatus> {
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
    let mut client = Client::connect([url], Some(options)).await?;
    let status = client.status().await?;
    let header = status.header().context("a status without header")?;
    Ok(MemberStatus {
        member_id: header.member_id(),
        leads: header.member_id() == status.leader(),
    })
}

pub(crate) async fn wait_until_healthy(
    client: &reqwest::Client,
    host: Ipv4Addr,
) -> Result<()> {
    let started = Instant::now();
    let url = format!("http://{host}:2379/health");
    while !bare_etcd::is_healthy(client, &url).await {
        if started.elapsed() > service::PATIENCE {
            bail!("the bare etcd on {host} is not healthy");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Calls etcdctl until it succeeds.
pub(crate) async fn until_taken(
    binaries: &Path,
    endpoint: Ipv4Addr,
    arguments: &[&str],
) -> Result<Output> {
    let started = Instant::now();
    loop {
        let output = Command::new(binaries.join("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=http://{endpoint}:2379"))
            .args(arguments)
            .output()?;
        if output.status.success() {
            return Ok(output);
        }
        if started.elapsed() > service::PATIENCE {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("etcdctl {arguments:?} is still refused: {why}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
