//! The scheduler process: what it serves, and who reaches whom.

use std::net::IpAddr;

use super::Findings;
use crate::Options;

impl Findings<'_> {
    /// Where the executor and etcd come from.
    pub(super) fn scheduler_artifacts(&mut self) {
        let Options {
            scheduler, etcd, ..
        } = self.options;
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
                ("etcd.uri", etcd.uri.is_some()),
                ("etcd.sha256", etcd.sha256.is_some()),
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
        if scheduler.etcd_dir.is_none() && etcd.uri.is_none() {
            self.refuse(
                "scheduler.etcd_dir",
                &["etcd.uri"],
                "allowed: the directory with etcd and etcdctl to serve to agents; or give \
                 etcd.uri, etcd.sha256 and etcd.version"
                    .to_owned(),
            );
        }
    }

    /// An archive does not tell its version, and a program that is served does.
    pub(super) fn etcd_version(&mut self) {
        let etcd = &self.options.etcd;
        if etcd.uri.is_some() && etcd.version.is_none() {
            self.refuse(
                "etcd.version",
                &["etcd.uri"],
                "allowed: the version of the etcd in etcd.uri, such as 3.5.30".to_owned(),
            );
        }
    }

    /// Who can reach the scheduler, and whom it can reach.
    pub(super) fn scheduler_network(&mut self) {
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
