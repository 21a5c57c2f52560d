//! What is recorded of maintenance.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;
use serde::{Deserialize, Serialize};

use crate::record::Failures;
use crate::time::Timestamp;

/// The newest round, and when the schedule was last looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The newest round, under way or over.
    pub round: Option<Round>,
    /// When the schedule was last due, or began to hold.
    pub looked: Option<Timestamp>,
}

impl Maintenance {
    /// The round that is under way.
    pub fn open(&self) -> Option<&Round> {
        self.round.as_ref().filter(|round| round.end.is_none())
    }

    pub(crate) fn open_mut(&mut self) -> Option<&mut Round> {
        self.round.as_mut().filter(|round| round.end.is_none())
    }
}

/// Members that are defragmented, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// When it was asked for; no two rounds have the same.
    pub since: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// Room is to be made in a database that has reached its quota.
    pub space: Option<FreeSpace>,
    /// How far each member is.
    pub steps: BTreeMap<PodIndex, Step>,
    /// How it ended, once it has.
    pub end: Option<RoundEnd>,
}

/// What is done beside defragmenting: old revisions are forgotten before, and the
/// alarm is taken back after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// So many of the newest revisions are kept.
    pub keep_revisions: u64,
    /// When the cluster agreed to forget the others.
    pub compacted: Option<Timestamp>,
    /// Attempts in vain to have them forgotten.
    pub failures: Failures,
}

/// How far a member is in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it stands.
    pub stage: Stage,
    /// Attempts in vain.
    pub failures: Failures,
}

/// Where a member stands in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Not begun.
    #[default]
    Pending,
    /// Its database may be being defragmented. Written before it is asked to.
    Begun {
        /// Since when.
        at: Timestamp,
        /// Size of its database file before, bytes.
        size_before: u64,
    },
    /// Its database was defragmented.
    Done {
        /// When.
        at: Timestamp,
        /// Size of its database file before, bytes.
        size_before: u64,
        /// The same after, once it was seen.
        size_after: Option<u64>,
    },
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundEnd {
    /// When.
    pub at: Timestamp,
    /// What went wrong, if it did.
    pub why: Option<String>,
}
