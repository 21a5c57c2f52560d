//! etcd's own rules about its settings.

use super::Findings;
use crate::Megabytes;

/// etcd refuses to start with fewer heartbeats in an election timeout.
const HEARTBEATS_PER_ELECTION: u64 = 5;
/// etcd's advice for the largest database; above it, etcd itself warns.
const ADVISED_QUOTA: Megabytes = Megabytes(8_192);

/// Members serve nothing while they are defragmented; more often would be a slip.
const SHORTEST_PAUSE_SECONDS: u64 = 60;

impl Findings<'_> {
    pub(super) fn etcd(&mut self) {
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
        if etcd.auto_compaction_period.0 > 0 && etcd.auto_compaction_revisions > 0 {
            self.refuse(
                "etcd.auto_compaction_revisions",
                &["etcd.auto_compaction_period"],
                "allowed: 0 while etcd.auto_compaction_period is set; etcd compacts by \
                 one of them"
                    .to_owned(),
            );
        }
        if (1..SHORTEST_PAUSE_SECONDS).contains(&etcd.defragment_every.0) {
            self.refuse(
                "etcd.defragment_every",
                &[],
                format!(
                    "allowed: 0 for never, or at least {SHORTEST_PAUSE_SECONDS} seconds"
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
}
