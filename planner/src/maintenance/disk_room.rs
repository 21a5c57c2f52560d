//! Whether a disk has room for a defragmentation.
//!
//! etcd writes what is in use into a second file and puts that in the place of the first.
//! A disk that fills up meanwhile fails the defragmentation, and with it the log of the
//! member, which then ends: it is not begun there. Where nobody knows, it is.

use std::fmt;
use std::time::Duration;

use etcd_launch::{PodIndex, RoomReport};

use crate::alarms::megabytes;
use crate::draft::Draft;
use crate::model::Model;
use crate::observed::DiskRoom;
use crate::quorum;
use crate::time::Timestamp;

/// So much stays free beside the second file: etcd goes on writing its log, and allots a
/// whole segment of 64 MB at a time.
// etcd: server/storage/wal, SegmentSizeBytes = 64 * 1000 * 1000.
const LOG_SEGMENT_BYTES: u64 = 64 * 1000 * 1000;

/// What was told longer ago says nothing about now: executors tell twice a minute, and
/// single messages may be lost.
const COUNTS_FOR: Duration = Duration::from_secs(150);

/// What a disk lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lacking {
    free: u64,
    in_use: u64,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lacking { free, in_use } = *self;
        write!(
            f,
            "its disk has {} MB free, and {} MB are needed: {} MB of its database are in \
             use and would be written anew, and the next piece of its log takes {} MB; it \
             goes on when there is room",
            free >> 20,
            megabytes(in_use.saturating_add(LOG_SEGMENT_BYTES)),
            megabytes(in_use),
            megabytes(LOG_SEGMENT_BYTES),
        )
    }
}

/// What the member's disk lacks, if that is known.
pub(super) fn lacking(draft: &Draft<'_>, index: PodIndex) -> Option<Lacking> {
    let room = draft.model.observed.disk_room.get(&index)?;
    let is_known = draft.now().since(room.at) <= COUNTS_FOR;
    let free = room.free_bytes;
    let in_use = quorum::fresh_answer(draft.model, index)?.db_size_in_use_bytes;
    let is_enough = free >= in_use.saturating_add(LOG_SEGMENT_BYTES);
    (is_known && !is_enough).then_some(Lacking { free, in_use })
}

/// Takes note of what an executor told. One of an earlier launch is not listened to.
pub(crate) fn note(model: &mut Model, report: &RoomReport, now: Timestamp) {
    let pod = model.record.pods.get(&report.pod);
    if pod.is_some_and(|pod| pod.generation == report.generation) {
        let room = DiskRoom {
            at: now,
            free_bytes: report.volume_free_bytes,
        };
        model.observed.disk_room.insert(report.pod, room);
    }
}
