//! The guard file: whose data lies on a volume.

use serde::{Deserialize, Serialize};

use crate::spec::Identity;

/// Name of the guard file in the data directory.
pub const GUARD_FILE: &str = "guard.json";

/// Written and fsynced before etcd is first started on a volume.
///
/// etcd itself accepts an empty directory under a known member id and forgets
/// what that member acknowledged. The guard is what makes the loss visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// See [`crate::FORMAT`].
    pub format: u32,
    /// Whose data this is.
    pub identity: Identity,
    /// Whether etcd's write-ahead log has been seen here. With it set, a
    /// directory without a log is a loss; without it, etcd never got that far.
    pub wal_seen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::sample;

    /// Frozen, as a volume keeps its guard for years.
    #[test]
    fn format_1_stays_readable() {
        let frozen = r#"{"format":1,"identity":{"token":"dcos-1","cluster_id":"c1",
            "member_id":"b1"},"wal_seen":true}"#;
        let guard: Guard = serde_json::from_str(frozen).unwrap();
        assert_eq!(guard.identity, sample().identity);
        assert!(guard.wal_seen);
    }
}
