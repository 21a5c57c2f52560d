//! Relaunching what failed.

use std::time::Duration;

pub(crate) fn back_off(failures_before: u32) -> Duration {
    Duration::from_secs(1 << failures_before.min(8)).min(Duration::from_secs(300))
}
