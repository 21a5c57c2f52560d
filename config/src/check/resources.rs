//! Disk and memory of a member against what etcd needs of them.

use super::Findings;
use crate::Megabytes;

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

impl Findings<'_> {
    /// The volume against the database and the log that it must hold.
    pub(super) fn disk(&mut self) {
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
    pub(super) fn memory(&mut self) {
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
}
