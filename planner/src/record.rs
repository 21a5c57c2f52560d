//! What must survive a crash of the scheduler.
//!
//! ## What is stored
//!
//! The framework id, the cluster's identity and life stage, and for every pod
//! its placement, identity, newest launch and failures. Everything else
//! (offers, task states, probes) is observed anew after a restart.
//!
//! The record is one value, replaced as a whole by compare-and-swap, and is
//! kept small: [`RECORD_LIMIT_BYTES`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use etcd_launch::{ClusterId, ClusterToken, Identity, PodIndex, SupersededIdentity};

use crate::maintenance::Maintenance;
use crate::offer::{AgentId, FrameworkId};
use crate::overrides::Overrides;
use crate::time::Timestamp;
mod placement;
mod pod;

pub use placement::{
    AbandonedPlacement, AvoidedAgent, Placement, PlacementStage, Resize, ResizeStage,
};
pub use pod::{
    EndKind, Enrolled, Exchange, Failures, KeptBack, Launch, LaunchEnd, Membership,
    Paused, Pod, Reached, StopCause, Updating,
};

/// The newest format of the record that this release writes.
pub const RECORD_FORMAT: u32 = 1;

/// ZooKeeper, which will hold the record on DC/OS, refuses values of 1 MB;
/// a quarter of that leaves room for growth before anyone is woken.
pub const RECORD_LIMIT_BYTES: usize = 256 * 1024;

/// Everything that is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// See [`RECORD_FORMAT`].
    pub format: u32,
    /// Given by the master at the first subscription.
    pub framework_id: Option<FrameworkId>,
    /// The user that the framework subscribed with first. Mesos lets none change it;
    /// what members run as is up to their places.
    #[serde(default)]
    pub framework_user: Option<String>,
    /// Which target the service is being brought to.
    pub target: TargetId,
    /// Where the cluster stands in its life.
    pub cluster: Cluster,
    /// The pods, by number.
    pub pods: BTreeMap<PodIndex, Pod>,
    /// Placements that no pod uses any more. Nothing on them is destroyed
    /// without proof; they are kept here so that they can be told from
    /// reservations that nobody knows.
    pub abandoned: Vec<AbandonedPlacement>,
    /// Agents on which a place could not be had lately.
    #[serde(default)]
    pub avoided: BTreeMap<AgentId, AvoidedAgent>,
    /// What operators have told plans.
    #[serde(default)]
    pub overrides: Overrides,
    /// The newest rolling restart that was asked for.
    #[serde(default)]
    pub rolling_restart: Option<RollingRestart>,
    /// Databases that are defragmented.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// The newest snapshot that was taken before members got another etcd.
    #[serde(default)]
    pub snapshot: Option<SnapshotTaken>,
}

impl Record {
    /// The record of a service that has done nothing yet.
    pub fn new(target: TargetId) -> Self {
        Record {
            format: RECORD_FORMAT,
            framework_id: None,
            framework_user: None,
            target,
            cluster: Cluster::Unborn,
            pods: BTreeMap::new(),
            abandoned: Vec::new(),
            avoided: BTreeMap::new(),
            overrides: Overrides::default(),
            rolling_restart: None,
            maintenance: Maintenance::default(),
            snapshot: None,
        }
    }

    /// The target goes on under another id: this release writes more of it down than the
    /// one before.
    pub fn rename_target(&mut self, to: &TargetId) {
        let from = std::mem::replace(&mut self.target, to.clone());
        let kept_back = self.pods.values_mut();
        let kept_back =
            kept_back.filter_map(|pod| Some(&mut pod.kept_back.as_mut()?.target));
        let snapshot = self.snapshot.as_mut().map(|taken| &mut taken.target);
        let approved = self.overrides.update_approved.as_mut();
        for target in kept_back.chain(snapshot).chain(approved) {
            if *target == from {
                target.clone_from(to);
            }
        }
    }

    /// The ids of a pod's present member, for when it is no more.
    pub(crate) fn superseded_identity_of(
        &self,
        pod: PodIndex,
    ) -> Option<SupersededIdentity> {
        let identity = self.identity_of(pod)?;
        Some(SupersededIdentity {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
        })
    }

    /// The identity recorded for a pod in the present incarnation.
    pub fn identity_of(&self, pod: PodIndex) -> Option<Identity> {
        let birth = self.cluster.incarnation()?;
        let member = self.pods.get(&pod)?.membership.member_id()?;
        Some(Identity {
            token: birth.token.clone(),
            cluster_id: birth.cluster_id,
            member_id: member,
        })
    }
}

/// Names a stored target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetId(pub String);

/// Where the cluster stands in its life. It is born once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cluster {
    /// No member was ever launched.
    Unborn,
    /// The founders' ids are fixed, and they are being launched with
    /// `initial-cluster-state=new`. No quorum has been seen yet.
    Forming(Incarnation),
    /// A founder was lost before quorum was ever seen: all founders are being
    /// stopped, and then the cluster is unborn again.
    Abandoning {
        /// The birth that failed.
        incarnation: Incarnation,
        /// Why, for the operator.
        why: String,
    },
    /// Quorum was seen. `new` is never rendered again.
    Formed(Incarnation),
}

impl Cluster {
    /// The incarnation that identities belong to, if there is one.
    pub fn incarnation(&self) -> Option<&Incarnation> {
        match self {
            Cluster::Unborn => None,
            Cluster::Forming(incarnation)
            | Cluster::Abandoning { incarnation, .. }
            | Cluster::Formed(incarnation) => Some(incarnation),
        }
    }
}

/// One life of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// Random, never used again.
    pub token: ClusterToken,
    /// Computed from the founders before their first launch.
    pub cluster_id: ClusterId,
    /// When its ids were fixed.
    pub since: Timestamp,
}

/// An operator's wish that every member be restarted, one after the other: all that
/// were launched before this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollingRestart {
    /// When it was asked for.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
}

/// A snapshot on the scheduler's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTaken {
    /// Before the change to which target.
    pub target: TargetId,
    /// The file.
    pub path: String,
    /// The revision of the key space that it holds at least.
    pub revision: i64,
    /// Its size, bytes.
    pub bytes: u64,
    /// When it was whole.
    pub at: Timestamp,
}
