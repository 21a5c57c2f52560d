//! What the event loop shows to the outside after every turn.
//!
//! The loop owns the model; the API, the metrics and the page read this copy.
//! It holds no offers, of which there may be thousands, and no secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use etcd_launch::{MemberId, PodIndex};
use etcd_planner::observed::{DiskRoom, MesosLink, Probe, TaskSeen, TaskState};
use etcd_planner::offer::AgentId;
use etcd_planner::plans::{PlanView, plans};
use etcd_planner::record::{EndKind, TargetId};
use etcd_planner::waiting::OfferRefusal;
use etcd_planner::{Model, Record, Target, Timestamp, WaitingReason, quorum};
use tokio::sync::watch;

/// Where the newest picture is read.
pub type PublishedReceiver = watch::Receiver<Arc<Published>>;

/// One picture of the service.
#[derive(Clone, Debug)]
pub struct Published {
    /// The moment of the turn, as the planner knows it.
    pub at: Timestamp,
    /// The same on a clock that nobody sets: how old the picture is, and so
    /// whether the loop still turns, is measured from here.
    pub taken: Instant,
    /// What is recorded, and so stored.
    pub record: Record,
    /// What is wanted.
    pub target: Target,
    /// The target's id.
    pub target_id: TargetId,
    /// The connection to Mesos.
    pub mesos: MesosLink,
    /// The newest status of each pod's task.
    pub tasks: BTreeMap<PodIndex, TaskSeen>,
    /// The newest answer of each member.
    pub probes: BTreeMap<PodIndex, Probe>,
    /// How much room the disks under members have.
    pub disk_room: BTreeMap<PodIndex, DiskRoom>,
    /// Pods that were just seen to be voters in good health.
    pub healthy: BTreeSet<PodIndex>,
    /// The member that leads, as far as members say.
    pub leader: Option<MemberId>,
    /// Why agents were refused, by pod.
    pub refusals: BTreeMap<PodIndex, BTreeMap<AgentId, OfferRefusal>>,
    /// Reservations with our labels that no record knows.
    pub unknown_reservations: BTreeSet<String>,
    /// Why a pod does not go on.
    pub waiting: BTreeMap<PodIndex, WaitingReason>,
    /// Why the service as a whole does not go on.
    pub service_waiting: Option<WaitingReason>,
    /// The plans, `deploy` first.
    pub plans: Vec<PlanView>,
}

impl Published {
    /// The picture of a model and of what the newest decision said of waiting.
    pub fn of(
        model: &Model,
        waiting: BTreeMap<PodIndex, WaitingReason>,
        service_waiting: Option<WaitingReason>,
        at: Timestamp,
    ) -> Self {
        let healthy = model
            .record
            .pods
            .keys()
            .copied()
            .filter(|pod| quorum::is_healthy_voter_seen(model, *pod))
            .collect();
        Published {
            at,
            taken: Instant::now(),
            record: model.record.clone(),
            target: model.target.clone(),
            target_id: model.target_id.clone(),
            mesos: model.observed.mesos.clone(),
            tasks: model.observed.tasks.clone(),
            probes: model.observed.probes.clone(),
            disk_room: model.observed.disk_room.clone(),
            healthy,
            leader: quorum::leader(model),
            refusals: model.observed.refusals.clone(),
            unknown_reservations: model.observed.unknown_reservations.clone(),
            plans: plans(model, &waiting),
            waiting,
            service_waiting,
        }
    }

    /// Every pod that is wanted or recorded, by number.
    pub fn pods(&self) -> BTreeSet<PodIndex> {
        let wanted = (0..self.target.members).map(PodIndex);
        wanted.chain(self.record.pods.keys().copied()).collect()
    }

    /// The plan of a name.
    pub fn plan(&self, name: &str) -> Option<&PlanView> {
        self.plans.iter().find(|plan| plan.name == name)
    }

    /// Mesos' newest word on a pod's task. None when there is no launch, or when
    /// this scheduler has not heard of it (yet).
    pub fn task_state(&self, pod: PodIndex) -> Option<&'static str> {
        let launch = self.record.pods.get(&pod)?.launch.as_ref()?;
        if let Some(end) = &launch.end {
            return Some(match end.kind {
                EndKind::Asked => "TASK_KILLED",
                EndKind::Failed
                | EndKind::DataMissing
                | EndKind::PlaceUnusable
                | EndKind::DataBehind
                | EndKind::DataDamaged => "TASK_FAILED",
                EndKind::Gone => "TASK_LOST",
                EndKind::AgentGivenUp => "TASK_GONE_BY_OPERATOR",
            });
        }
        let seen = self.tasks.get(&pod)?;
        (seen.task_id == launch.task_id).then_some(match seen.state {
            TaskState::Staging => "TASK_STAGING",
            TaskState::Starting => "TASK_STARTING",
            TaskState::Running => "TASK_RUNNING",
            TaskState::Killing => "TASK_KILLING",
            TaskState::Unreachable => "TASK_UNREACHABLE",
            TaskState::Unknown => "TASK_UNKNOWN",
        })
    }
}
