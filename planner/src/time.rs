//! Time, as the planner knows it: handed in, never read from a clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the Unix epoch. Wall time, since it is
/// stored and must mean the same after a restart of the scheduler.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }

    /// The moment `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_sub(millis))
    }

    /// How long ago `earlier` was; zero if the clock was set back meanwhile.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What `plan` is given besides the model: the two things that a pure function
/// cannot make for itself.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The present moment.
    pub now: Timestamp,
    /// Fresh random bits. Every name that must be unique (task ids,
    /// reservations, cluster tokens) is derived from them and a counter.
    pub entropy: u128,
    /// Computes the ids that etcd will give to the founders of a cluster.
    /// Handed in because it needs a hash function, which the simulation
    /// replaces by a faster one.
    pub identify_founders: IdentifyFounders,
}

/// From a cluster token and the founders' (name, peer URL) to the cluster id
/// and the member ids in the same order, as etcd computes them; or why etcd
/// would not take such founders.
pub type IdentifyFounders =
    fn(
        &etcd_launch::ClusterToken,
        &[etcd_launch::Founder],
    ) -> Result<(etcd_launch::ClusterId, Vec<etcd_launch::MemberId>), String>;

/// Derives unique names from the entropy of one turn.
#[derive(Debug)]
pub(crate) struct FreshNames {
    entropy: u128,
    used: u128,
}

impl FreshNames {
    pub(crate) fn new(entropy: u128) -> Self {
        FreshNames { entropy, used: 0 }
    }

    /// A name in the form of a UUID. Two names of one turn differ in their
    /// lowest bits, names of two turns by the entropy.
    pub(crate) fn next(&mut self) -> String {
        self.used += 1;
        let bits = self.entropy ^ self.used;
        // Version 4, variant 1: so that tools that check UUIDs accept it.
        let bits = (bits & !(0xf << 76)) | (0x4 << 76);
        let bits = (bits & !(0x3 << 62)) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[0..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..32]
        )
    }
}
