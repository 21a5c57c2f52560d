//! Real etcd servers on loopback, for tests.
//!
//! The programs come from the directory in `ETCD_TEST_BIN_DIR`, or from PATH.
//! Without them a test fails: a suite that skips what it is for proves nothing.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use etcd_admin::{EtcdVersion, MemberClient, MemberStatus};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// Three servers start in about a second here; a machine that is busy with
/// other tests gets a minute.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

const MISSING: &str = "no etcd found: run `make setup`, which fetches one and says \
                       where, then put its directory into ETCD_TEST_BIN_DIR or PATH";

/// The etcd program that tests use.
pub(crate) fn etcd_program() -> PathBuf {
    if let Some(directory) = std::env::var_os("ETCD_TEST_BIN_DIR") {
        let program = PathBuf::from(directory).join("etcd");
        assert!(program.is_file(), "{}: {MISSING}", program.display());
        return program;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("etcd"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{MISSING}"))
}

/// The version of [`etcd_program`], as it says itself.
pub(crate) fn etcd_version() -> EtcdVersion {
    let output = Command::new(etcd_program())
        .arg("--version")
        .output()
        .unwrap();
    EtcdVersion::from_program_output(&String::from_utf8_lossy(&output.stdout)).unwrap()
}

/// A free port on an address of this test's own.
pub(crate) fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A loopback address that no other test of any process is likely to use, so
/// that a port found free stays free until etcd takes it.
pub(crate) fn own_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let low_bits = (pid % 250) + 1;
    let high_bits = (pid / 250) % 100 + 100;
    format!(
        "127.{high_bits}.{low_bits}.{}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// One server, or the place for one.
pub(crate) struct TestMember {
    pub(crate) name: String,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) client_url: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) extra_flags: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

impl TestMember {
    pub(crate) fn new(directory: &Path, name: &str, peer_url_count: usize) -> Self {
        let address = own_address();
        TestMember {
            name: name.to_owned(),
            peer_urls: (0..peer_url_count)
                .map(|_| format!("http://{address}:{}", free_port(&address)))
                .collect(),
            client_url: format!("http://{address}:{}", free_port(&address)),
            data_dir: directory.join(name),
            extra_flags: Vec::new(),
            log: directory.join(format!("{name}.log")),
            process: None,
        }
    }

    /// Starts etcd. `initial_cluster` matters only to a directory without data.
    pub(crate) fn start(&mut self, token: &str, initial_cluster: &str, state: &str) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let flags = [
            ("name", self.name.clone()),
            ("data-dir", self.data_dir.display().to_string()),
            ("listen-peer-urls", self.peer_urls.join(",")),
            ("initial-advertise-peer-urls", self.peer_urls.join(",")),
            ("listen-client-urls", self.client_url.clone()),
            ("advertise-client-urls", self.client_url.clone()),
            ("initial-cluster", initial_cluster.to_owned()),
            ("initial-cluster-state", state.to_owned()),
            ("initial-cluster-token", token.to_owned()),
        ];
        let child = tokio::process::Command::new(etcd_program())
            .args(flags.map(|(name, value)| format!("--{name}={value}")))
            // Proves by the way that this version takes the flags we think it takes.
            .args(etcd_version().safety_flags())
            .args(etcd_version().json_log_flags())
            .args(&self.extra_flags)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id().expect("etcd runs");
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal)
            .unwrap();
        if signal == Signal::STOP {
            wait_until_stopped(pid);
        }
    }

    /// Ends the process without warning and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut process = self.process.take().expect("etcd was started");
        process.kill().await.unwrap();
    }

    pub(crate) async fn client(&self) -> MemberClient {
        MemberClient::connect(&self.client_url, None).await.unwrap()
    }

    /// etcd's log, of all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of etcd's log, for messages.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// A cluster that was born from a static list.
pub(crate) struct TestCluster {
    pub(crate) token: String,
    pub(crate) members: Vec<TestMember>,
    pub(crate) directory: tempfile::TempDir,
}

impl TestCluster {
    /// Makes the members' places without starting anything.
    pub(crate) fn prepare(token: &str, peer_url_counts: &[usize]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let members = peer_url_counts
            .iter()
            .enumerate()
            .map(|(index, urls)| {
                TestMember::new(directory.path(), &format!("etcd-{index}-node"), *urls)
            })
            .collect();
        TestCluster {
            token: token.to_owned(),
            members,
            directory,
        }
    }

    /// Starts `count` members and waits until they have a leader.
    pub(crate) async fn start(token: &str, count: usize) -> Self {
        let mut cluster = Self::prepare(token, &vec![1; count]);
        cluster.start_all().await;
        cluster
    }

    pub(crate) async fn start_all(&mut self) {
        let initial_cluster = self.initial_cluster();
        for member in &mut self.members {
            member.start(&self.token, &initial_cluster, "new");
        }
        for index in 0..self.members.len() {
            self.wait_until(index, "has a leader", |status| status.leader.is_some())
                .await;
        }
    }

    pub(crate) fn initial_cluster(&self) -> String {
        let entries: Vec<String> = self
            .members
            .iter()
            .flat_map(|member| {
                member
                    .peer_urls
                    .iter()
                    .map(|url| format!("{}={url}", member.name))
            })
            .collect();
        entries.join(",")
    }

    pub(crate) fn founders(&self) -> Vec<(String, Vec<String>)> {
        self.members
            .iter()
            .map(|member| (member.name.clone(), member.peer_urls.clone()))
            .collect()
    }

    /// Waits until a member's status is as wanted.
    pub(crate) async fn wait_until(
        &self,
        index: usize,
        wanted: &str,
        is_so: impl Fn(&MemberStatus) -> bool,
    ) -> MemberStatus {
        let client = self.members[index].client().await;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let status = client.status().await;
            match status {
                Ok(status) if is_so(&status) => return status,
                _ if Instant::now() > deadline => panic!(
                    "waited {START_LIMIT:?} until {} {wanted}; last: {status:?}; log:\n{}",
                    self.members[index].name,
                    self.members[index].log_tail()
                ),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The indexes of the leader and of one follower.
    pub(crate) async fn leader_and_follower(&self) -> (usize, usize) {
        let status = self
            .wait_until(0, "has a leader", |s| s.leader.is_some())
            .await;
        for index in 0..self.members.len() {
            let id = self.wait_until(index, "answers", |_| true).await.member_id;
            if Some(id) == status.leader {
                return (index, (index + 1) % self.members.len());
            }
        }
        panic!("the leader {:?} is none of the members", status.leader)
    }
}

/// Repeats a call while `again` says so of its error, within [`START_LIMIT`].
pub(crate) async fn retry_while<Answer, Call>(
    mut call: impl FnMut() -> Call,
    again: impl Fn(&etcd_admin::EtcdError) -> bool,
) -> Result<Answer, etcd_admin::EtcdError>
where
    Call: Future<Output = Result<Answer, etcd_admin::EtcdError>>,
{
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match call().await {
            Err(error) if again(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answer => return answer,
        }
    }
}

/// SIGSTOP takes effect some time after it was sent: a busy process may answer once
/// more. Each of its threads stops by itself.
fn wait_until_stopped(pid: u32) {
    let started = std::time::Instant::now();
    let is_stopped = |task: std::fs::DirEntry| {
        // The state follows the name, which is in parentheses.
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
    };
    loop {
        let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        if tasks.all(|task| task.is_ok_and(is_stopped)) {
            return;
        }
        assert!(started.elapsed().as_secs() < 10, "{pid} does not stop");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
