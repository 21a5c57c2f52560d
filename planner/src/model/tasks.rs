//! What is told of tasks: by statuses, and by the failures of agents and executors.

use etcd_launch::{Phase, PodIndex, Refusal};

use crate::event::{TaskStatus, TaskVerdict};
use crate::observed::{MesosLink, TaskEnd, TaskSeen, TaskState};
use crate::offer::{AgentId, ExecutorId, TaskId};
use crate::reached;
use crate::record::{EndKind, Failures, Launch, LaunchEnd, PlacementStage};
use crate::recovery::{self, STEADY_AFTER};
use crate::time::Timestamp;

use super::Model;

impl Model {
    pub(super) fn apply_status(&mut self, status: TaskStatus, now: Timestamp) {
        let Some(pod) = self.pod_of_live_launch(&status.task_id) else {
            if status.verdict == TaskVerdict::Over(TaskEnd::GoneByOperator) {
                self.note_agent_given_up(&status.task_id);
            }
            self.note_stray(status);
            return;
        };
        match status.verdict {
            TaskVerdict::Alive(state) => self.note_alive(pod, state, status, now),
            TaskVerdict::Over(end) => self.note_over(pod, end, &status, now),
        }
    }

    /// Has the master asked at once about what ran on an agent or executor that is no
    /// more: the statuses that go with the failure are single messages, and can be lost.
    pub(super) fn doubt_tasks(
        &mut self,
        agent_id: &AgentId,
        executor_id: Option<&ExecutorId>,
    ) {
        let launches = self
            .record
            .pods
            .values()
            .filter_map(|pod| pod.launch.as_ref());
        let doubted: Vec<TaskId> = launches
            .filter(|launch| launch.end.is_none() && launch.agent_id == *agent_id)
            .filter(|launch| executor_id.is_none_or(|id| *id == launch.executor_id))
            .map(|launch| launch.task_id.clone())
            .collect();
        if doubted.is_empty() {
            return;
        }
        self.observed.doubted_tasks.extend(doubted);
        if let MesosLink::Connected(session) = &mut self.observed.mesos {
            session.reconciled = None;
        }
    }

    /// The pod whose newest launch this is, unless that launch has ended.
    fn pod_of_live_launch(&self, task_id: &TaskId) -> Option<PodIndex> {
        self.record.pods.iter().find_map(|(index, pod)| {
            let launch = pod.launch.as_ref()?;
            (launch.task_id == *task_id && launch.end.is_none()).then_some(*index)
        })
    }

    /// The answer to an inquiry about a placement: its agent is gone for good.
    fn note_agent_given_up(&mut self, inquiry: &TaskId) {
        for pod in self.record.pods.values_mut() {
            if let Some(placement) = &mut pod.placement
                && placement.inquiry() == *inquiry
            {
                placement.stage = PlacementStage::GivenUp;
            }
        }
    }

    /// A task that no record wants. Should it live, it holds resources and
    /// perhaps a volume, so it is killed.
    fn note_stray(&mut self, status: TaskStatus) {
        match (status.verdict, status.agent_id) {
            (TaskVerdict::Alive(TaskState::Unreachable | TaskState::Unknown), _)
            | (TaskVerdict::Over(_), _) => {
                self.observed.stray_tasks.remove(&status.task_id);
                self.observed.kills.remove(&status.task_id);
            }
            (TaskVerdict::Alive(_), Some(agent_id)) => {
                self.observed.stray_tasks.insert(status.task_id, agent_id);
            }
            (TaskVerdict::Alive(_), None) => {}
        }
    }

    fn note_alive(
        &mut self,
        index: PodIndex,
        state: TaskState,
        status: TaskStatus,
        now: Timestamp,
    ) {
        let epoch = self.session().map_or(0, |session| session.epoch);
        let Some(pod) = self.record.pods.get_mut(&index) else {
            return;
        };
        let from_agent = !matches!(state, TaskState::Unreachable | TaskState::Unknown);
        if let (Some(launch), true) = (&mut pod.launch, from_agent) {
            launch.seen = true;
        }
        if let Some(placement) = &mut pod.placement {
            // A task runs on it, so Mesos has granted it.
            if matches!(state, TaskState::Starting | TaskState::Running) {
                placement.stage = PlacementStage::Confirmed;
            }
        }
        let before = self.observed.tasks.remove(&index);
        let is_news = before.as_ref().and_then(|seen| seen.report.as_ref())
            != status.report.as_ref();
        let crash = status
            .report
            .as_ref()
            .filter(|report| is_news && matches!(report.phase, Phase::Crashed { .. }));
        if crash.is_some() {
            // What etcd said before it ended says nothing about now.
            self.observed.probes.remove(&index);
            self.observed.answering_since.remove(&index);
        }
        let report = status
            .report
            .filter(|report| {
                report.pod.successor() == index.successor()
                    && report.generation == pod.generation
            })
            // Mesos repeats statuses without the executor's data.
            .or_else(|| before.as_ref().and_then(|seen| seen.report.clone()));
        let phase = report.as_ref().map(|report| &report.phase);
        if let Some(
            Phase::EtcdStarted | Phase::Answering { .. } | Phase::Crashed { .. },
        ) = phase
        {
            pod.note_started();
        }
        self.observed.tasks.insert(
            index,
            TaskSeen {
                task_id: status.task_id,
                epoch,
                state,
                at: now,
                words: status.words,
                report,
            },
        );
    }

    fn note_over(
        &mut self,
        index: PodIndex,
        end: TaskEnd,
        status: &TaskStatus,
        now: Timestamp,
    ) {
        self.observed.tasks.remove(&index);
        self.observed.kills.remove(&status.task_id);
        self.observed.leader_moves.remove(&index);
        self.observed.volumes_seen.remove(&index);
        self.observed.disk_room.remove(&index);
        // The next launch is to be told the newest of it.
        reached::write_down(self, now);
        // What etcd said before it ended says nothing about now.
        self.observed.probes.remove(&index);
        self.observed.answering_since.remove(&index);
        self.observed.silent_since.remove(&index);
        let Some(pod) = self.record.pods.get_mut(&index) else {
            return;
        };
        let generation = pod.generation;
        // An executor's statuses come in order, and it has the one that says
        // that etcd starts taken down by its agent first. So whatever it ends
        // with, we know by then whether etcd ever started. Only the master's
        // own word that a task is gone may overtake that status.
        let may_have_started =
            end == TaskEnd::Gone && pod.launch.as_ref().is_some_and(|launch| launch.seen);
        if may_have_started {
            pod.note_started();
        }
        // Records of older releases do not say it of the place.
        let place_was_used = pod.place_was_used
            || pod
                .membership
                .enrolled()
                .is_some_and(|enrolled| enrolled.started);
        let Some(launch) = pod.launch.as_mut() else {
            return;
        };
        let refusal = status
            .report
            .as_ref()
            .and_then(|report| match &report.phase {
                Phase::Refused(refusal) if report.generation == generation => {
                    Some(refusal)
                }
                _ => None,
            });
        let kind = end_kind(end, launch, refusal, place_was_used);
        let reached = match refusal {
            Some(Refusal::DataBehind { reached, .. }) => Some(*reached),
            _ => None,
        };
        let issued = launch.issued;
        launch.end = Some(LaunchEnd {
            at: now,
            kind,
            why: status.words.clone(),
        });
        if let Some(reached) = reached {
            reached::raise(pod, reached, now);
        }
        match kind {
            EndKind::Asked => pod.failures = Failures::default(),
            // A launch that Mesos dropped at once would otherwise be repeated
            // at the speed of offers. One that had lived is not at fault.
            EndKind::Gone if now.since(issued) >= STEADY_AFTER => {}
            EndKind::Failed
            | EndKind::PlaceUnusable
            | EndKind::DataBehind
            | EndKind::DataDamaged
            | EndKind::Gone => {
                let wait = recovery::back_off(pod.failures.in_a_row);
                pod.failures.in_a_row += 1;
                pod.failures.last = Some(status.words.clone());
                pod.failures.retry_at = Some(now.plus(wait));
            }
            EndKind::DataMissing | EndKind::AgentGivenUp => {}
        }
    }
}

fn end_kind(
    end: TaskEnd,
    launch: &Launch,
    refusal: Option<&Refusal>,
    place_was_used: bool,
) -> EndKind {
    match (end, refusal) {
        (TaskEnd::GoneByOperator, _) => EndKind::AgentGivenUp,
        (_, Some(Refusal::DataMissing { .. })) => EndKind::DataMissing,
        (_, Some(Refusal::DataBehind { .. })) => EndKind::DataBehind,
        (_, Some(Refusal::DataDamaged { .. })) => EndKind::DataDamaged,
        (TaskEnd::Failed | TaskEnd::Killed, _) if launch.stop_asked.is_some() => {
            EndKind::Asked
        }
        (TaskEnd::Gone, _) => EndKind::Gone,
        // Where etcd was started there may be data, and the disk may be mended.
        (_, Some(Refusal::VolumeUnusable { .. })) if !place_was_used => {
            EndKind::PlaceUnusable
        }
        (TaskEnd::Failed | TaskEnd::Killed, _) => EndKind::Failed,
    }
}
