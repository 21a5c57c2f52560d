//! A sandbox such as an agent makes it: etcd fetched, a volume, an address.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

use etcd_launch::guard::GUARD_FILE;
use etcd_launch::{
    ClusterId, ClusterStart, ClusterToken, DATA_DIRECTORY, DataHistory, EtcdProgram,
    FORMAT, Founder, Guard, Identity, LaunchSpec, MemberId, PodGeneration, PodIndex,
    Scheme, SupersededIdentity, Tuning,
};

use crate::etcd_program::etcd_directory;

/// etcd's usual ports: every test has an address of its own.
pub(crate) const CLIENT_PORT: u16 = 2379;
pub(crate) const PEER_PORT: u16 = 2380;

/// Where a member lives. Removed when dropped; whoever runs in it must have
/// ended before.
pub(crate) struct Sandbox {
    directory: tempfile::TempDir,
    host: Ipv4Addr,
}

impl Sandbox {
    /// A new one, with etcd in it and an empty volume.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for program in ["etcd", "etcdctl"] {
            let link = directory.path().join(program);
            std::os::unix::fs::symlink(etcd_directory().join(program), link).unwrap();
        }
        fs::create_dir(directory.path().join(DATA_DIRECTORY)).unwrap();
        Sandbox {
            directory,
            host: free_address(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// The volume, which also is etcd's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join(DATA_DIRECTORY)
    }

    /// The launch spec of the only founder of a cluster with this token.
    pub(crate) fn spec(&self, token: &str) -> LaunchSpec {
        self.spec_among(token, &[])
    }

    /// The same for the first of three founders; the others do not exist.
    pub(crate) fn spec_of_three(&self, token: &str) -> LaunchSpec {
        self.spec_among(token, &[1, 2])
    }

    fn spec_among(&self, token: &str, absent: &[u16]) -> LaunchSpec {
        let pod = PodIndex(0);
        let mut peers = vec![self.founder(pod, PEER_PORT)];
        peers.extend(
            absent
                .iter()
                .map(|number| self.founder(PodIndex(*number), PEER_PORT + number)),
        );
        self.spec_of(token, pod, peers)
    }

    fn founder(&self, pod: PodIndex, port: u16) -> Founder {
        Founder {
            name: pod.task_name(),
            peer_url: format!("http://{}:{port}", self.host),
        }
    }

    /// The launch spec of one of these founders.
    fn spec_of(&self, token: &str, pod: PodIndex, peers: Vec<Founder>) -> LaunchSpec {
        let list: Vec<_> = peers
            .iter()
            .map(|peer| (peer.name.clone(), vec![peer.peer_url.clone()]))
            .collect();
        let birth = etcd_admin::static_birth(token, &list).unwrap();
        LaunchSpec {
            format: FORMAT,
            pod,
            generation: PodGeneration(7),
            etcd: EtcdProgram {
                directory: ".".into(),
                checksums: BTreeMap::new(),
            },
            identity: Identity {
                token: ClusterToken(token.into()),
                cluster_id: ClusterId(birth.cluster_id),
                member_id: MemberId(birth.member_ids[usize::from(pod.0)]),
            },
            start: ClusterStart::New,
            history: DataHistory {
                was_started: false,
                superseded: vec![],
                reached: None,
            },
            peers,
            scheme: Scheme::Http,
            certificate_directory: None,
            advertise_host: self.host.to_string(),
            listen_host: None,
            client_port: CLIENT_PORT,
            peer_port: PEER_PORT,
            tuning: Tuning {
                heartbeat_interval_ms: 100,
                election_timeout_ms: 1000,
                snapshot_count: 10_000,
                quota_backend_bytes: 64 << 20,
                auto_compaction: None,
                enable_v2: false,
            },
            stop_grace_ms: 10_000,
            paused: false,
        }
    }

    /// Adds a second member to the cluster of this sandbox's one member, as the
    /// scheduler or an operator does: to live in `other`, without a vote if it
    /// is to be a learner. Gives its launch spec.
    pub(crate) fn add_member(
        &self,
        spec: &LaunchSpec,
        other: &Sandbox,
        learner: bool,
    ) -> LaunchSpec {
        let added = other.founder(PodIndex(1), PEER_PORT);
        let peer_urls = format!("--peer-urls={}", added.peer_url);
        let mut command = vec!["member", "add", &added.name, &peer_urls];
        command.extend(learner.then_some("--learner"));
        let answer = self.etcdctl(&command);
        let member_id = answer.split_whitespace().nth(1).unwrap();
        let mut peers = spec.peers.clone();
        peers.push(added);
        let mut added = other.spec_of(&spec.identity.token.0, PodIndex(1), peers);
        added.identity = Identity {
            member_id: member_id.parse().unwrap(),
            ..spec.identity.clone()
        };
        added.start = ClusterStart::Existing;
        added
    }

    /// Gives a learner its vote, if it has caught up.
    pub(crate) fn promote(&self, learner: MemberId) -> bool {
        let output = self.run_etcdctl(&["member", "promote", &learner.to_string()]);
        output.status.success()
    }

    pub(crate) fn guard(&self) -> Option<Guard> {
        let text = fs::read(self.data().join(GUARD_FILE)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    pub(crate) fn write_guard(&self, guard: &Guard) {
        let text = serde_json::to_vec(guard).unwrap();
        fs::write(self.data().join(GUARD_FILE), text).unwrap();
    }

    /// Puts a file in the place of the link to a program.
    pub(crate) fn replace_program(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::remove_file(&path).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        assert_eq!(self.etcdctl(&["put", key, value]), "OK");
    }

    /// Reads a key, linearizably; nothing if there is no such key.
    pub(crate) fn get(&self, key: &str) -> String {
        self.etcdctl(&["get", "--print-value-only", key])
    }

    /// Whether its etcd is the leader.
    pub(crate) fn leads(&self) -> bool {
        let status = self.etcdctl(&["endpoint", "status", "--write-out=fields"]);
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split(" : ").nth(1).unwrap().to_owned()
        };
        field("\"MemberID\"") == field("\"Leader\"")
    }

    fn etcdctl(&self, arguments: &[&str]) -> String {
        let output = self.run_etcdctl(arguments);
        assert!(
            output.status.success(),
            "etcdctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn run_etcdctl(&self, arguments: &[&str]) -> Output {
        Command::new(etcd_directory().join("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=http://{}:{CLIENT_PORT}", self.host))
            .arg("--command-timeout=20s")
            .args(arguments)
            .output()
            .unwrap()
    }
}

/// The launch specs of the three founders of one cluster.
pub(crate) fn three_members(sandboxes: &[Sandbox; 3], token: &str) -> [LaunchSpec; 3] {
    let peers: Vec<Founder> = (0..)
        .zip(sandboxes)
        .map(|(pod, sandbox)| sandbox.founder(PodIndex(pod), PEER_PORT))
        .collect();
    [0, 1, 2].map(|pod: u16| {
        sandboxes[usize::from(pod)].spec_of(token, PodIndex(pod), peers.clone())
    })
}

/// Lets everybody execute a file.
pub(crate) fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a later launch spec says of a member that will never run again.
pub(crate) fn superseded(identity: &Identity) -> SupersededIdentity {
    SupersededIdentity {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
    }
}

/// The name under which data of this member is set aside first.
pub(crate) fn aside_name(identity: &Identity) -> String {
    format!("aside-{}-{}-1", identity.cluster_id, identity.member_id)
}

/// A loopback address on which nobody uses etcd's ports: one for each test of
/// each test process. The one-machine mode leases addresses below 127.250.
fn free_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    let high = 250 + u8::try_from(process / 250 % 5).unwrap();
    let middle = 1 + u8::try_from(process % 250).unwrap();
    loop {
        let low = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(low < 255, "no free loopback address is left");
        let host = Ipv4Addr::new(127, high, middle, low);
        let is_free = [CLIENT_PORT, PEER_PORT]
            .iter()
            .all(|port| TcpListener::bind((host, *port)).is_ok());
        if is_free {
            return host;
        }
    }
}
