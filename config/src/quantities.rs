//! Counts, sizes and times, each with its unit in its type.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Refused;

/// How many etcd members the cluster has: 1, 3, 5, 7 or 9.
///
/// An even count survives no more failures than the odd one below it and has one
/// more member to lose. Above nine, every write waits for too many disks; etcd's
/// own advice stops at seven, and nine is the most that upstream tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct MemberCount(u64);

impl MemberCount {
    /// Every count that is taken, smallest first.
    pub const ALLOWED: &[u64] = &[1, 3, 5, 7, 9];

    /// Three members: the smallest cluster that survives the loss of one.
    pub const THREE: Self = Self(3);

    /// The count as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How many members must agree on a write: more than half.
    #[must_use]
    pub const fn quorum(self) -> u64 {
        self.0 / 2 + 1
    }
}

impl TryFrom<u64> for MemberCount {
    type Error = Refused;

    fn try_from(count: u64) -> Result<Self, Refused> {
        if Self::ALLOWED.contains(&count) {
            Ok(Self(count))
        } else {
            Err(Refused::new(count, "1, 3, 5, 7 or 9"))
        }
    }
}

impl From<MemberCount> for u64 {
    fn from(count: MemberCount) -> Self {
        count.0
    }
}

impl fmt::Display for MemberCount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Processor time in thousandths of a cpu. Operators write cpus (`1.5`).
///
/// Mesos itself keeps scalars to three decimals, so whole thousandths compare
/// and add up exactly where floating point would not.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(try_from = "f64", into = "f64")]
pub struct MilliCpus(pub u64);

impl MilliCpus {
    /// The amount in cpus, as Mesos writes it.
    #[must_use]
    pub fn cpus(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl TryFrom<f64> for MilliCpus {
    type Error = Refused;

    fn try_from(cpus: f64) -> Result<Self, Refused> {
        let millis = (cpus * 1000.0).round();
        // Far above any machine, and far below where f64 loses whole numbers.
        const MOST_MILLIS: f64 = 1e12;
        if (0.0..=MOST_MILLIS).contains(&millis) {
            Ok(Self(millis as u64))
        } else {
            Err(Refused::new(cpus, "a number of cpus, 0 or more"))
        }
    }
}

impl From<MilliCpus> for f64 {
    fn from(amount: MilliCpus) -> Self {
        amount.cpus()
    }
}

impl fmt::Display for MilliCpus {
    /// Writes cpus with at least one decimal: `1.0`, `0.125`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.cpus())
    }
}

/// Declares a number with a unit: a transparent `u64` that prints as a number.
macro_rules! quantity {
    ($(#[$meta:meta])* $Name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $Name(pub u64);

        impl fmt::Display for $Name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

quantity! {
    /// An amount of memory or disk in MB as Mesos counts them: 1 MB is 2^20 bytes.
    Megabytes
}

quantity! {
    /// A time span in milliseconds.
    Millis
}

quantity! {
    /// A time span in seconds.
    Seconds
}

impl Megabytes {
    /// The amount in bytes; saturates instead of wrapping.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.saturating_mul(1024 * 1024)
    }
}

impl Millis {
    /// As a duration of the standard library.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl Seconds {
    /// As a duration of the standard library.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }
}

/// A TCP port. Zero is refused by [`crate::Options::check`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Port(pub u16);

impl Port {
    /// The port as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
