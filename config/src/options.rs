//! The options themselves, section by section.
//!
//! The documentation of a field is also its text in `docs/options.md`: it says
//! what the option means, its unit, and why the default is what it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::changes::{
    FREE, NAME, PRINCIPAL, PROCESS, PROGRAM, REPLACE, RESIZE, RESTART, SCALE, TLS, TOKEN,
};
use crate::table::{Kind, section};
use crate::text_rules as text;
use crate::{
    DeployStrategy, DiskType, LogFormat, LogLevel, Megabytes, MemberCount, MilliCpus,
    Millis, PlacementConstraints, PluginLabels, Port, Seconds, ServiceName,
};

/// Everything that an operator may ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The service as Mesos and DC/OS see it.
    pub service: ServiceOptions,
    /// The etcd members and what each gets from its agent.
    pub node: NodeOptions,
    /// How etcd itself runs.
    pub etcd: EtcdOptions,
    /// How the scheduler process runs.
    pub scheduler: SchedulerOptions,
}

/// Any port.
const PORT: Kind = Kind::Whole {
    unit: "",
    min: 1,
    max: u16::MAX as u64,
};
/// A share of a machine: from what Mesos still offers to more than any agent has.
const CPUS: Kind = Kind::Cpus {
    min: MilliCpus(100),
    max: MilliCpus(1_024_000),
};
/// As [`CPUS`], for the executor, which needs little. Mesos offers no less than
/// 0.01 cpus.
const EXECUTOR_CPUS: Kind = Kind::Cpus {
    min: MilliCpus(10),
    max: MilliCpus(16_000),
};

/// An amount of memory or disk: from `min` to 16 TiB, more than any agent has, so
/// that a slip of the keyboard is caught and sums cannot overflow.
const fn megabytes(min: u64) -> Kind {
    Kind::Whole {
        unit: "MB",
        min,
        max: 16 * 1024 * 1024,
    }
}

section! {
    /// The service as Mesos and DC/OS see it.
    pub struct ServiceOptions in service {
        /// The name of the service: the Mesos framework, the DC/OS service and a
        /// part of every DNS name.
        name: ServiceName = ServiceName::etcd(), Kind::Text(text::SERVICE_NAME), NAME;

        /// The user on the agents under whom etcd runs. It must exist there. The data
        /// on the volumes belongs to it.
        user: String = "root".to_owned(), Kind::Text(text::USER), REPLACE;

        /// The DC/OS service account. Empty for none. When given, it is also the
        /// default of `service.principal`.
        service_account: String = String::new(), Kind::Text(text::ONE_LINE), PROCESS;

        /// Where DC/OS keeps the secret of the service account (its path in the
        /// secret store, never the secret itself). Empty for none.
        service_account_secret: String = String::new(),
            Kind::Text(text::ONE_LINE), PROCESS;

        /// The Mesos role that the service's reservations belong to, for example that
        /// of a group with a quota. Empty for the SDK's
        /// `<service name, '/' as '__'>-role`.
        role: Option<String> = None, Kind::OptionalText(text::ROLE), PROCESS;

        /// The role for which an administrator has reserved the resources that members
        /// are to take, for example `slave_public`. The service's role becomes one
        /// below it, and its reservations lie on top of those. Empty for resources
        /// that nobody has reserved.
        pre_reserved_role: Option<String> = None, Kind::OptionalText(text::ROLE), PROCESS;

        /// The region whose agents may hold members. Empty for the region of the
        /// Mesos master, unless `node.placement_constraint` speaks of `@region`.
        /// With a region named, agents without a fault domain are left alone.
        region: Option<String> = None, Kind::OptionalText(text::REGION), FREE;

        /// The Mesos principal of the service. Empty for the service account if
        /// there is one, else `<service name>-principal`.
        principal: Option<String> = None, Kind::OptionalText(text::ONE_LINE), PRINCIPAL;

        /// Whether members get addresses of their own on a virtual network instead
        /// of using the agents' ports. What Mesos is asked for is compared with the
        /// DC/OS SDK's; on a network plugin it has not been run.
        virtual_network_enabled: bool = false, Kind::Switch, REPLACE;

        /// The virtual network, where one is used. On `mesos-bridge`, ports of the
        /// agent lead to the same ports of the container, and members take them as
        /// on the host's network; on any other no port of the agent is taken.
        virtual_network_name: String = "dcos".to_owned(),
            Kind::Text(text::NETWORK_NAME), REPLACE;

        /// Labels for the virtual network's plugin, as `k0:v0,k1:v1`.
        virtual_network_plugin_labels: PluginLabels = PluginLabels::default(),
            Kind::Text(text::LABELS), REPLACE;

        /// The domain of the DNS names that members get on a virtual network: a name
        /// is `<task>.<service>.<this>`. The default is that of DC/OS.
        virtual_network_domain: String = "autoip.dcos.thisdcos.directory".to_owned(),
            Kind::Text(text::DOMAIN), REPLACE;

        /// How much the scheduler logs. `FATAL` is the same as `ERROR` and `ALL` the
        /// same as `TRACE`: the words are the original package's.
        log_level: LogLevel = LogLevel::Info, Kind::Word(LogLevel::WORDS), PROCESS;

        /// Whether the first members found the cluster together (`parallel`) or one
        /// founds it and it grows member by member (`serial`). Both end the same.
        /// With `serial-canary` and `parallel-canary` an operator approves the first
        /// member and then the rest, each by `plan resume deploy`.
        deploy_strategy: DeployStrategy = DeployStrategy::Parallel,
            Kind::Word(DeployStrategy::WORDS), FREE;

        /// How a change is rolled out. Whatever is asked, members are restarted one
        /// at a time and only while the others keep quorum. With `serial-canary` and
        /// `parallel-canary` the first member is changed, and an operator approves
        /// the rest by `plan resume update`.
        update_strategy: DeployStrategy = DeployStrategy::Serial,
            Kind::Word(DeployStrategy::WORDS), FREE;

        /// How long an updated member may take to become healthy, in seconds. After
        /// that the update stops and leaves the other members as they are.
        update_timeout: Seconds = Seconds(600),
            Kind::Whole { unit: "seconds", min: 30, max: 86_400 }, FREE;

        /// Whether a member that does not become healthy after its update is put back
        /// on what it ran before, by itself.
        update_rollback: bool = true, Kind::Switch, FREE;

        /// Whether a member moves to another agent when its own has no room for the
        /// resources that it is to have, and another one offers a place. Without it,
        /// or without a place, the member stays as it is and says what it waits for.
        move_on_resize: bool = false, Kind::Switch, FREE;

        /// Whether a smaller `node.count` is taken. Members that go take their copy of
        /// the data with them, so nobody should shrink a cluster by a slip.
        allow_scale_in: bool = false, Kind::Switch, FREE;

        /// After how long a member that is down is replaced by itself, in seconds: 0
        /// for never, or at least 60. Never when the replacement would touch the
        /// quorum. Its old volume is given up once its successor is a voter.
        replace_after: Seconds = Seconds(0),
            Kind::Whole { unit: "seconds", min: 0, max: 31_536_000 }, FREE;
    }
}

section! {
    /// The etcd members and what each gets from its agent.
    pub struct NodeOptions in node {
        /// How many etcd members the cluster has. Even counts are refused: they
        /// survive no more failures than the odd count below.
        count: MemberCount = MemberCount::THREE, Kind::OneOf(MemberCount::ALLOWED), SCALE;

        /// Which agents may hold a member, as a Marathon constraint: a text with JSON.
        /// Used when a member is placed; running members stay where they are.
        placement_constraint: PlacementConstraints = PlacementConstraints::default(),
            Kind::JsonText(text::PLACEMENT), FREE;

        /// Processor share of each member, in cpus.
        cpus: MilliCpus = MilliCpus(1_000), CPUS, RESIZE;

        /// Memory of each member in MB (2^20 bytes), without the executor's.
        ///
        /// The database is mapped, not held: its pages count as cache, and the kernel
        /// takes them back when memory gets short. What must fit is the rest, and
        /// most of that is the log entries since the last snapshot: see
        /// `etcd.snapshot_count`. Measured (etcd 3.4.23, full speed, writes of
        /// 10 KB, until a quota of 2048 MB was full): 0.4 GB with the default
        /// `etcd.snapshot_count`, 2.1 GB with etcd's own of 100000. The index takes
        /// about 0.5 KB for each key (measured with a million keys): many small keys
        /// need more memory than their database does disk. The original package's
        /// default was 256 MB.
        mem: Megabytes = Megabytes(1_024), megabytes(128), RESIZE;

        /// Size of each member's volume in MB (2^20 bytes). At least `etcd.quota` and
        /// 400 MB of log are demanded.
        ///
        /// An empty data directory takes 123 MB, because etcd prepares two log files
        /// of 64,000,000 bytes; it keeps five and prepares a sixth. Defragmenting, and
        /// a member that catches up, write a second copy of the database. Under heavy
        /// load the log also holds what was written in the 30 seconds between two
        /// clean-ups (measured at full speed: 1.3 GB). The default holds a full database of 2048 MB,
        /// its second copy and 1 GB of log. The original package's default was
        /// 100 MB: less than an empty member needs.
        disk: Megabytes = Megabytes(5_120), megabytes(512), REPLACE;

        /// Where the volume lies: on the agent's shared disk (`ROOT`), on a part of
        /// another disk that the agent offers (`PATH`), or on a whole disk of its own
        /// (`MOUNT`). A whole disk is taken whole, however large; of those that hold
        /// `node.disk`, the smallest. etcd waits for the disk at every write: a disk
        /// of its own is what it likes best.
        disk_type: DiskType = DiskType::Root, Kind::Word(DiskType::WORDS), REPLACE;

        /// Profiles of which a `MOUNT` disk must have one, as the administrator has
        /// named them. Empty for disks without a profile.
        disk_profiles: Vec<String> = Vec::new(), Kind::List(text::PROFILE), REPLACE;
    }
}

section! {
    /// How etcd itself runs.
    pub struct EtcdOptions in etcd {
        /// The port on which members serve clients. Also the port of the VIP.
        client_port: Port = Port(2379), PORT, RESIZE;

        /// The port on which members talk to each other.
        peer_port: Port = Port(2380), PORT, REPLACE;

        /// Whether clients and members speak TLS. Not built yet: only `false` is
        /// taken.
        tls_enabled: bool = false, Kind::Switch, TLS;

        /// Whether etcd makes its own certificates, without an authority. Not built
        /// yet: only `false` is taken.
        use_auto_tls: bool = false, Kind::Switch, TLS;

        /// What the cluster token begins with. A random part is added for each
        /// incarnation of the cluster, so that members of two clusters with the
        /// same token can never meet.
        initial_cluster_token: String = "dcos".to_owned(),
            Kind::Text(text::TOKEN_PREFIX), TOKEN;

        /// How often the leader tells the members that it lives, in milliseconds.
        heartbeat_interval: Millis = Millis(100),
            Kind::Whole { unit: "milliseconds", min: 10, max: 10_000 }, RESTART;

        /// How long members wait for the leader before they elect another, in
        /// milliseconds. At least five heartbeats, at most 50 seconds: etcd does not
        /// start otherwise.
        election_timeout: Millis = Millis(1_000),
            Kind::Whole { unit: "milliseconds", min: 50, max: 50_000 }, RESTART;

        /// After how many writes etcd takes a snapshot of its state and drops the
        /// log before it. etcd keeps this many log entries, and 5000 more, in memory.
        ///
        /// The default is that of etcd 3.6. Older versions and the original package
        /// had 100000, which takes several times the memory (see `node.mem`). The price:
        /// a member that missed more than 5000 to 15000 writes is sent the whole
        /// database instead of the log.
        snapshot_count: u64 = 10_000,
            Kind::Whole { unit: "", min: 100, max: 10_000_000 }, RESTART;

        /// The most that the database may hold, in MB (2^20 bytes). At the quota,
        /// etcd refuses writes until space is made. etcd advises at most 8192.
        quota: Megabytes = Megabytes(2_048),
            Kind::Whole { unit: "MB", min: 16, max: 102_400 }, RESTART;

        /// For how long etcd keeps what keys were before, in seconds; 0 for ever. What is
        /// older is forgotten: at every such interval, or every hour for longer ones.
        /// Watches and backups that are further behind lose their place. Without this
        /// and without `etcd.auto_compaction_revisions`, a database grows with every
        /// write until it reaches its quota, unless clients compact it.
        auto_compaction_period: Seconds = Seconds(0),
            Kind::Whole { unit: "seconds", min: 0, max: 31_536_000 }, RESTART;

        /// How many revisions etcd keeps, looked at every five minutes; 0 for all. Not
        /// together with `etcd.auto_compaction_period`.
        auto_compaction_revisions: u64 = 0,
            Kind::Whole { unit: "", min: 0, max: 1_000_000_000 }, RESTART;

        /// How often is looked whether databases are worth defragmenting, in seconds: 0
        /// for never, or at least 60. It is done by the plan `maintenance`, one member
        /// at a time, the leader last; a member serves nothing meanwhile (4 to 6 seconds
        /// a gigabyte, as seen in the field).
        defragment_every: Seconds = Seconds(0),
            Kind::Whole { unit: "seconds", min: 0, max: 31_536_000 }, FREE;

        /// At which free share of a database file it is worth it, in percent. OpenShift's
        /// number.
        defragment_free_percent: u64 = 45,
            Kind::Whole { unit: "%", min: 1, max: 99 }, FREE;

        /// Files that are smaller are left alone, in MB (2^20 bytes). OpenShift's number.
        defragment_from: Megabytes = Megabytes(100),
            Kind::Whole { unit: "MB", min: 1, max: 102_400 }, FREE;

        /// Whether members serve the v2 API of the original package's quick start
        /// (`/v2/keys`) beside v3. Its data is apart from v3's. etcd has dropped it in
        /// 3.6; with such a version the option is refused before anything starts.
        enable_v2: bool = false, Kind::Switch, RESTART;

        /// The release archive from which agents fetch etcd, if not from the scheduler:
        /// a URI that ends in a name such as `etcd-v3.5.30-linux-amd64.tar.gz`. Needs
        /// `etcd.sha256` and `etcd.version`.
        uri: Option<String> = None, Kind::OptionalText(text::URL), PROGRAM;

        /// The SHA-256 sum of what `etcd.uri` names.
        sha256: Option<String> = None, Kind::OptionalText(text::SHA256), PROGRAM;

        /// Which etcd members run, as `3.5.30`. Needed with `etcd.uri`, since the
        /// scheduler does not look into archives. The etcd in `scheduler.etcd_dir` is
        /// asked itself: left empty, whatever is there is taken; given, nothing else is.
        /// Patches go up and down, minor versions up by one. What etcd or a known data
        /// bug speaks against is refused, and members go on as they are.
        version: Option<String> = None, Kind::OptionalText(text::VERSION), PROGRAM;

        /// How long etcd may take to stop after SIGTERM before it is killed, in
        /// seconds. It hands the lead over and closes its files in well under one.
        kill_grace_seconds: Seconds = Seconds(30),
            Kind::Whole { unit: "seconds", min: 1, max: 600 }, RESTART;
    }
}

section! {
    /// How the scheduler process runs.
    pub struct SchedulerOptions in scheduler {
        /// The Mesos masters, as a list or as one text with commas, each `host:port`.
        /// One is enough while it answers: it names the leader. There is no default.
        masters: Vec<String> = Vec::new(), Kind::List(text::MASTER), PROCESS;

        /// The address and port of the scheduler's API. The default is open to this
        /// machine only: whoever reaches the API can destroy the data.
        listen: SocketAddr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080),
            Kind::Text(text::LISTEN), PROCESS;

        /// The URL under which agents reach the API, to fetch the executor and etcd.
        /// Empty for `http://` and the address of `scheduler.listen`.
        advertise_url: Option<String> = None, Kind::OptionalText(text::URL), PROCESS;

        /// The directory of the scheduler's store. Whoever loses it loses the record
        /// of the cluster, though not the data.
        state_dir: PathBuf = PathBuf::from("/var/lib/etcd-scheduler"),
            Kind::Text(text::PATH), PROCESS;

        /// A file with the bearer tokens that the API takes. Empty leaves the API open
        /// to whoever reaches it, and the log says so.
        token_file: Option<PathBuf> = None, Kind::OptionalText(text::PATH), PROCESS;

        /// The executor binary that the scheduler serves to agents. Empty for the
        /// file `etcd-executor` beside the scheduler's own binary.
        executor: Option<PathBuf> = None, Kind::OptionalText(text::PATH), PROGRAM;

        /// Where agents fetch the executor instead, if not from the scheduler. Needs
        /// `scheduler.executor_sha256`.
        executor_uri: Option<String> = None, Kind::OptionalText(text::URL), PROGRAM;

        /// The SHA-256 sum of what `scheduler.executor_uri` names.
        executor_sha256: Option<String> = None, Kind::OptionalText(text::SHA256), PROGRAM;

        /// The directory with the binaries `etcd`, `etcdctl` and, where the version
        /// has it, `etcdutl` that the scheduler serves to agents. Either this or
        /// `etcd.uri` must be given.
        etcd_dir: Option<PathBuf> = None, Kind::OptionalText(text::PATH), PROGRAM;

        /// How log lines look: `text` for people, `json` for machines.
        log_format: LogFormat = LogFormat::Text, Kind::Word(LogFormat::WORDS), PROCESS;

        /// For how long offers are collected before a place is chosen among them, in
        /// milliseconds: the best place is seldom in the first offer. While this
        /// time runs, other frameworks do not see these offers. Launches on
        /// resources that are reserved already do not wait for it.
        offer_collection: Millis = Millis(250),
            Kind::Whole { unit: "milliseconds", min: 0, max: 10_000 }, FREE;

        /// For how long Mesos keeps the members running while no scheduler is there,
        /// in seconds. After that Mesos kills them. The default is the SDK's 14 days.
        framework_failover_timeout: Seconds = Seconds(1_209_600),
            Kind::Whole { unit: "seconds", min: 60, max: 31_536_000 }, PROCESS;

        /// Processor share of each executor, in cpus, beside its member's.
        executor_cpus: MilliCpus = MilliCpus(100), EXECUTOR_CPUS, RESIZE;

        /// Memory of each executor in MB, beside its member's.
        executor_mem: Megabytes = Megabytes(32), megabytes(32), RESIZE;

        /// Sandbox space of each executor in MB: binaries and logs, beside the
        /// member's volume.
        executor_disk: Megabytes = Megabytes(256), megabytes(128), RESIZE;
    }
}

/// Mesos' own bridge: the one network of the SDK's on which ports are mapped.
const BRIDGE: &str = "mesos-bridge";

impl ServiceOptions {
    /// Whether ports of the agent lead to the same ports of a container on
    /// `service.virtual_network_name`.
    #[must_use]
    pub fn virtual_network_maps_ports(&self) -> bool {
        self.virtual_network_name == BRIDGE
    }
}
