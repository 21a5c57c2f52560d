//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use etcd_planner::Timestamp;

/// The present moment.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
