//! Checks of a whole configuration: each option by its row of the table, then
//! options against each other.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::table::{Value, find_option, option_table};
use crate::{DiskType, Megabytes, Options, Strategy};

/// etcd: a log file is made 64,000,000 bytes long before it is written to.
const WAL_SEGMENT_BYTES: u64 = 64_000_000;
/// etcd: five log files are kept (`--max-wals`), and the next one is prepared
/// while the last one fills.
const WAL_SEGMENTS: u64 = 6;
/// Small files beside log and database: state snapshots, the guard file.
const SMALL_FILES: Megabytes = Megabytes(33);

/// What etcd needs on its volume beside the database: 400 MB.
const LOG_SPACE: Megabytes =
    Megabytes((WAL_SEGMENTS * WAL_SEGMENT_BYTES).div_ceil(1 << 20) + SMALL_FILES.0);

/// etcd refuses to start with fewer heartbeats in an election timeout.
const HEARTBEATS_PER_ELECTION: u64 = 5;

/// etcd's advice for the largest database; above it, etcd itself warns.
const ADVISED_QUOTA: Megabytes = Megabytes(8_192);

/// etcd keeps this many log entries in memory beside those since the last snapshot
/// (`SnapshotCatchUpEntries`).
const CATCH_UP_ENTRIES: u64 = 5_000;
/// What we take for a usual large write: 10 KB. With it the estimate below agrees
/// with what was measured (etcd 3.4.23, full speed): 2.1 GB and 0.4 GB for snapshot
/// counts of 100000 and 10000.
const LARGE_WRITE_BYTES: u64 = 10_000;
/// The Go runtime lets garbage grow to the size of what lives before it collects.
const GARBAGE_FACTOR: u64 = 2;
/// etcd with an empty database (measured: 23 MB) and room for its clients.
const EMPTY_ETCD: Megabytes = Megabytes(128);

/// Why a configuration is refused: one option, or one beside others.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The option to change.
    pub option: &'static str,
    /// Its value.
    pub value: Value,
    /// The other options that the problem depends on.
    pub beside: Vec<&'static str>,
    /// What is allowed, or what is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} = {} is refused: {}",
            self.option, self.value, self.message
        )
    }
}

/// Something that works and is probably not what the operator wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// The option to look at.
    pub option: &'static str,
    /// What may happen, and what to do about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.option, self.message)
    }
}

impl Options {
    /// Judges this configuration: what refuses it, and what the operator should
    /// know. Whether a running cluster may change to it is not asked here.
    #[must_use]
    pub fn check(&self) -> (Vec<Problem>, Vec<Warning>) {
        self.check_except(&BTreeSet::new())
    }

    /// As [`Options::check`], without the problems and warnings that depend on an
    /// option in `known_bad`: its value here is only a stand-in.
    pub(crate) fn check_except(
        &self,
        known_bad: &BTreeSet<&str>,
    ) -> (Vec<Problem>, Vec<Warning>) {
        let mut findings = Findings {
            options: self,
            bad: known_bad.iter().copied().collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        findings.single_options();
        findings.not_built_yet();
        findings.etcd();
        findings.disk();
        findings.memory();
        findings.members();
        findings.scheduler_artifacts();
        findings.scheduler_network();
        (findings.problems, findings.warnings)
    }
}

/// What was found so far.
struct Findings<'a> {
    options: &'a Options,
    /// Options that were refused by themselves; nothing else is said about them.
    bad: BTreeSet<&'a str>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Findings<'_> {
    /// Notes a problem, unless it follows from one that is noted already.
    fn refuse(&mut self, option: &'static str, beside: &[&'static str], message: String) {
        if self.bad.contains(option) || beside.iter().any(|name| self.bad.contains(name))
        {
            return;
        }
        let value =
            find_option(option).map_or(Value::Unset, |row| (row.value)(self.options));
        self.problems.push(Problem {
            option,
            value,
            beside: beside.to_vec(),
            message,
        });
    }

    fn warn(&mut self, option: &'static str, message: String) {
        if !self.bad.contains(option) {
            self.warnings.push(Warning { option, message });
        }
    }

    /// Each option by itself, against its row of the table.
    fn single_options(&mut self) {
        for row in option_table() {
            let value = (row.value)(self.options);
            if !row.kind.accepts(&value) {
                self.refuse(row.name, &[], format!("allowed: {}", row.kind.allowed()));
                self.bad.insert(row.name);
            }
        }
    }

    /// Options of the original package whose work is still to come. To ignore one
    /// in silence would give an operator a cluster without the TLS they asked for.
    fn not_built_yet(&mut self) {
        let options = self.options;
        let asked_for = [
            (
                options.etcd.tls_enabled,
                "etcd.tls_enabled",
                "false until TLS is built",
            ),
            (
                options.etcd.use_auto_tls,
                "etcd.use_auto_tls",
                "false until TLS is built",
            ),
            (
                options.service.virtual_network_enabled,
                "service.virtual_network_enabled",
                "false until virtual networks are built",
            ),
            (
                options.node.disk_type == DiskType::Mount,
                "node.disk_type",
                "ROOT until whole disks are built",
            ),
        ];
        for (asked, option, allowed) in asked_for {
            if asked {
                self.refuse(option, &[], format!("allowed: {allowed}"));
            }
        }
        if options.service.deploy_strategy == Strategy::Serial {
            self.warn(
                "service.deploy_strategy",
                "serial is not built yet: the first members start together".to_owned(),
            );
        }
        if options.service.update_strategy == Strategy::Parallel {
            self.warn(
                "service.update_strategy",
                "members are updated one at a time all the same, so that the cluster \
                 keeps its quorum"
                    .to_owned(),
            );
        }
    }

    fn etcd(&mut self) {
        let etcd = &self.options.etcd;
        if etcd.client_port == etcd.peer_port {
            self.refuse(
                "etcd.client_port",
                &["etcd.peer_port"],
                "allowed: a port other than etcd.peer_port".to_owned(),
            );
        }
        let shortest = etcd
            .heartbeat_interval
            .0
            .saturating_mul(HEARTBEATS_PER_ELECTION);
        if etcd.election_timeout.0 < shortest {
            self.refuse(
                "etcd.election_timeout",
                &["etcd.heartbeat_interval"],
                format!(
                    "allowed: at least {shortest} ms, five times etcd.heartbeat_interval; \
                     etcd does not start otherwise"
                ),
            );
        }
        if etcd.quota > ADVISED_QUOTA {
            self.warn(
                "etcd.quota",
                format!(
                    "{} MB is above etcd's advice of {ADVISED_QUOTA} MB: restarts, \
                     snapshots and new members take minutes",
                    etcd.quota
                ),
            );
        }
    }

    /// The volume against the database and the log that it must hold.
    fn disk(&mut self) {
        let (node, quota) = (&self.options.node, self.options.etcd.quota);
        let least = Megabytes(quota.0.saturating_add(LOG_SPACE.0));
        let ample = Megabytes(least.0.saturating_add(quota.0));
        if node.disk < least {
            self.refuse(
                "node.disk",
                &["etcd.quota"],
                format!(
                    "allowed: at least {least} MB, which is etcd.quota ({quota} MB) and \
                     {LOG_SPACE} MB of log; or make etcd.quota smaller"
                ),
            );
        } else if node.disk < ample {
            self.warn(
                "node.disk",
                format!(
                    "{} MB hold one full database but not the second copy that \
                     defragmenting or catching up writes; {ample} MB hold both",
                    node.disk
                ),
            );
        }
    }

    /// Memory is only warned about: what etcd needs of it depends on the clients, and
    /// the database itself is cache that the kernel can take back.
    fn memory(&mut self) {
        let entries = self
            .options
            .etcd
            .snapshot_count
            .saturating_add(CATCH_UP_ENTRIES);
        let log_bytes = entries.saturating_mul(LARGE_WRITE_BYTES * GARBAGE_FACTOR);
        let advised = Megabytes(EMPTY_ETCD.0.saturating_add(log_bytes >> 20));
        let mem = self.options.node.mem;
        if mem < advised {
            self.warn(
                "node.mem",
                format!(
                    "{mem} MB may not be enough: with etcd.snapshot_count = {}, writes of \
                     10 KB at full speed need about {advised} MB, and Mesos kills a \
                     member that takes more than it has",
                    self.options.etcd.snapshot_count
                ),
            );
        }
    }

    fn members(&mut self) {
        let node = &self.options.node;
        if node.count.get() == 1 {
            self.warn(
                "node.count",
                "one member: the cluster stops whenever that member does, and its disk is \
                 the only copy of the data"
                    .to_owned(),
            );
        } else if node.placement_constraint.constraints().is_empty() {
            self.warn(
                "node.placement_constraint",
                "members may share a host, and the loss of that host may then cost the \
                 quorum"
                    .to_owned(),
            );
        }
    }

    /// Where the executor and etcd come from.
    fn scheduler_artifacts(&mut self) {
        let scheduler = &self.options.scheduler;
        let sources = [
            (
                ("scheduler.executor", scheduler.executor.is_some()),
                ("scheduler.executor_uri", scheduler.executor_uri.is_some()),
                (
                    "scheduler.executor_sha256",
                    scheduler.executor_sha256.is_some(),
                ),
            ),
            (
                ("scheduler.etcd_dir", scheduler.etcd_dir.is_some()),
                ("scheduler.etcd_uri", scheduler.etcd_uri.is_some()),
                ("scheduler.etcd_sha256", scheduler.etcd_sha256.is_some()),
            ),
        ];
        for ((local, has_local), (uri, has_uri), (sha256, has_sha256)) in sources {
            if has_local && has_uri {
                self.refuse(
                    uri,
                    &[local],
                    format!("allowed: {local} or {uri}, not both"),
                );
            }
            if has_uri && !has_sha256 {
                self.refuse(
                    sha256,
                    &[uri],
                    format!(
                        "allowed: the SHA-256 sum of {uri}, so that agents run nothing \
                         else"
                    ),
                );
            }
            if has_sha256 && !has_uri {
                self.warn(sha256, format!("not used without {uri}"));
            }
        }
        if scheduler.etcd_dir.is_none() && scheduler.etcd_uri.is_none() {
            self.refuse(
                "scheduler.etcd_dir",
                &["scheduler.etcd_uri"],
                "allowed: the directory with etcd and etcdctl to serve to agents; or give \
                 scheduler.etcd_uri and scheduler.etcd_sha256"
                    .to_owned(),
            );
        }
    }

    /// Who can reach the scheduler, and whom it can reach.
    fn scheduler_network(&mut self) {
        let scheduler = &self.options.scheduler;
        if scheduler.masters.is_empty() {
            self.refuse(
                "scheduler.masters",
                &[],
                "allowed: at least one Mesos master as host:port".to_owned(),
            );
        }
        let listens_at = scheduler.listen.ip();
        if listens_at.is_unspecified() && scheduler.advertise_url.is_none() {
            self.refuse(
                "scheduler.advertise_url",
                &["scheduler.listen"],
                format!(
                    "allowed: the URL under which agents reach this scheduler; it cannot \
                     be guessed while scheduler.listen is {}",
                    scheduler.listen
                ),
            );
        }
        if !listens_at.is_loopback() && scheduler.token_file.is_none() {
            self.warn(
                "scheduler.token_file",
                format!(
                    "no tokens: whoever reaches {} can read and destroy all data",
                    scheduler.listen
                ),
            );
        }
        let far_master = scheduler.masters.iter().find(|master| !is_loopback(master));
        if let (true, None, Some(master)) = (
            listens_at.is_loopback(),
            &scheduler.advertise_url,
            far_master,
        ) {
            self.warn(
                "scheduler.listen",
                format!(
                    "{} cannot be reached from other machines, but the master {master} is \
                     on one: its agents cannot fetch the executor",
                    scheduler.listen
                ),
            );
        }
    }
}

/// Whether `host:port` names this machine.
fn is_loopback(host_and_port: &str) -> bool {
    let host = host_and_port
        .rsplit_once(':')
        .map_or(host_and_port, |(host, _)| host);
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}
