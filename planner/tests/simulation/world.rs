//! The simulated world: stand-ins for Mesos, executors and etcd round the
//! real planner, with a clock that jumps and faults that a seed repeats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_launch::{
    ClusterId, ClusterStart, ClusterToken, FORMAT, Founder, Identity, LaunchSpec,
    MemberId, Phase, PodIndex, Refusal, Report, SupersededIdentity,
};
use etcd_planner::effect::{Operation, Outcome};
use etcd_planner::event::{TaskStatus, TaskVerdict};
use etcd_planner::observed::{MemberAnswer, MemberSeen, Probe, TaskEnd, TaskState};
use etcd_planner::offer::{
    AgentId, Bundle, FrameworkId, Hostname, Megabytes, MilliCpus, Offer, OfferId,
    PortRange, ReservationId, ReservedBundle, TaskId, VolumeId,
};
use etcd_planner::record::{Cluster, Placement, Record, TargetId};
use etcd_planner::target::{Needs, PlacementRule};
use etcd_planner::{
    Decision, Effect, Event, Model, Target, Timestamp, Turn, plan, quorum,
};

use crate::chance::Chance;
use crate::etcd::{Disk, Etcd};

/// One tick of the world.
const TICK: Duration = Duration::from_secs(1);

/// An agent that is down for longer is unreachable to the master.
const UNREACHABLE_AFTER_TICKS: u64 = 5;

pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) host: String,
    /// Down until this tick; the task goes on running.
    down_until: u64,
    gone: bool,
    reserved: BTreeMap<ReservationId, Reserved>,
    refused_until: Timestamp,
    offered: Option<OfferId>,
}

struct Reserved {
    pod: PodIndex,
    needs: Needs,
    volumes: BTreeMap<VolumeId, Disk>,
}

struct Task {
    agent: usize,
    placement: Placement,
    spec: LaunchSpec,
    phase: TaskPhase,
    told_unreachable: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum TaskPhase {
    /// Fetching, until this tick.
    Preparing(u64),
    /// etcd runs.
    Up { told: Told },
    /// etcd crashed; the executor starts it again at this tick.
    Crashed(u64),
    /// Stopping, until this tick.
    Stopping(u64),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Told {
    Started,
    Answering,
}

/// What may go wrong in one run.
pub(crate) struct Faults {
    /// Faults happen in the first so many ticks.
    pub(crate) until: u64,
    /// Scheduler crashes between any two effects, once in so many.
    pub(crate) crash: u64,
    /// One thing breaks in the world, once in so many ticks.
    pub(crate) breakage: u64,
    /// At most so many disks or agents are lost for good.
    pub(crate) losses: u64,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    tick: u64,
    chance: Chance,
    faults: Faults,
    pub(crate) model: Model,
    stored: Record,
    pub(crate) agents: Vec<Agent>,
    tasks: BTreeMap<TaskId, Task>,
    pub(crate) etcd: Etcd,
    connected: bool,
    suppressed: bool,
    epoch: u64,
    next_offer: u64,
    inbox: Vec<Event>,
    /// Statuses that agents repeat until the scheduler has acknowledged them.
    unacknowledged: Vec<TaskStatus>,
    /// Clusters that were ever recorded as formed.
    formed: BTreeSet<ClusterId>,
    pub(crate) calls: u64,
    pub(crate) trace: Vec<String>,
    pub(crate) tracing: bool,
}

/// A fast stand-in for the SHA-1 of the real ids.
pub(crate) fn identify(
    token: &ClusterToken,
    founders: &[Founder],
) -> Result<(ClusterId, Vec<MemberId>), String> {
    let hash = |text: &str| {
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let ids = founders
        .iter()
        .map(|founder| MemberId(hash(&format!("{}{token}", founder.peer_url))))
        .collect();
    Ok((ClusterId(hash(&token.0)), ids))
}

pub(crate) fn target(members: u16) -> Target {
    Target {
        service: "etcd".into(),
        members,
        placement: PlacementRule::UniqueHostname,
        needs: Needs {
            cpus: MilliCpus(1000),
            mem: Megabytes(1024),
            volume: Megabytes(5120),
            executor_cpus: MilliCpus(100),
            executor_mem: Megabytes(32),
            executor_disk: Megabytes(256),
            client_port: 2379,
            peer_port: 2380,
        },
        token_prefix: "dcos".into(),
        tuning: etcd_launch::Tuning {
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            snapshot_count: 100_000,
            quota_backend_bytes: 2 << 30,
        },
        program: etcd_launch::EtcdProgram {
            directory: ".".into(),
            checksums: BTreeMap::new(),
        },
        scheme: etcd_launch::Scheme::Http,
        stop_grace_ms: 30_000,
    }
}

/// Whether two statuses are repetitions of one.
fn is_same(a: &TaskStatus, b: &TaskStatus) -> bool {
    a.task_id == b.task_id && a.verdict == b.verdict && a.report == b.report
}

impl World {
    pub(crate) fn new(seed: u64, members: u16, agents: usize, faults: Faults) -> Self {
        let target_id = TargetId("t1".into());
        let stored = Record::new(target_id.clone());
        let mut chance = Chance::new(seed);
        let agents = (0..agents)
            .map(|number| Agent {
                id: AgentId(format!("agent-{number}")),
                host: format!("10.0.0.{number}"),
                // Some agents appear late.
                down_until: if chance.once_in(4) {
                    chance.below(30)
                } else {
                    0
                },
                gone: false,
                reserved: BTreeMap::new(),
                refused_until: Timestamp(0),
                offered: None,
            })
            .collect();
        World {
            now: Timestamp(1_000_000),
            tick: 0,
            chance,
            faults,
            model: Model::new(target_id, target(members), stored.clone()),
            stored,
            agents,
            tasks: BTreeMap::new(),
            etcd: Etcd::default(),
            connected: false,
            suppressed: false,
            epoch: 0,
            next_offer: 0,
            inbox: Vec::new(),
            unacknowledged: Vec::new(),
            formed: BTreeSet::new(),
            calls: 0,
            trace: Vec::new(),
            tracing: false,
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let line = line();
            self.trace.push(format!("{:>5} {line}", self.tick));
        }
    }

    fn faulty(&self) -> bool {
        self.tick < self.faults.until
    }

    /// One second passes. `Err` is a broken property.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.tick += 1;
        self.now = self.now.plus(TICK);
        if self.faulty() && self.chance.once_in(self.faults.breakage) {
            self.break_something();
        }
        self.agents_step();
        self.executors_step()?;
        self.etcd.step()?;
        self.save_logs();
        self.connect();
        self.offer();
        self.probe();
        self.inbox.push(Event::Tick);
        self.scheduler_step()
    }

    // ---- the scheduler process -------------------------------------------

    fn scheduler_step(&mut self) -> Result<(), String> {
        // Bounded: every event is handled once, and effects only add events.
        for _ in 0..200 {
            if self.inbox.is_empty() {
                return Ok(());
            }
            let event = self.inbox.remove(0);
            let status = match &event {
                Event::TaskStatus(status) => Some(status.clone()),
                _ => None,
            };
            self.model.apply(event, self.now);
            let decision = self.decide();
            self.check(&decision)?;
            if self.crashes() {
                return Ok(());
            }
            self.stored = decision.record.clone();
            self.check_stored()?;
            if let Some(status) = status {
                self.unacknowledged
                    .retain(|waiting| !is_same(waiting, &status));
            }
            if self.crashes() {
                return Ok(());
            }
            let effects = self.model.absorb(decision, self.now);
            for (id, effect) in effects {
                self.calls += 1;
                self.note(|| format!("effect: {effect}"));
                let lost = self.faulty() && self.chance.once_in(60);
                let done = if lost {
                    Err("lost on its way".into())
                } else {
                    self.carry_out(&effect)
                };
                if self.crashes() {
                    return Ok(());
                }
                // The answer may be lost although the effect was carried out.
                let unanswered = self.faulty() && self.chance.once_in(60);
                let outcome = match done {
                    Ok(()) if !unanswered => Outcome::Done,
                    Ok(()) => Outcome::Failed {
                        why: "no answer".into(),
                    },
                    Err(why) => Outcome::Failed { why },
                };
                if effect.awaits_result() {
                    self.inbox.push(Event::EffectDone { id, outcome });
                }
            }
        }
        Err("the scheduler is spinning: 200 events in one second".into())
    }

    pub(crate) fn decide(&mut self) -> Decision {
        let turn = Turn {
            now: self.now,
            entropy: self.chance.entropy(),
            identify_founders: identify,
        };
        plan(&self.model, &turn)
    }

    fn crashes(&mut self) -> bool {
        let crashes = self.faulty() && self.chance.once_in(self.faults.crash);
        if crashes {
            self.note(|| "scheduler crashes".into());
            self.model = Model::new(
                self.model.target_id.clone(),
                self.model.target.clone(),
                self.stored.clone(),
            );
            self.inbox.clear();
            self.connected = false;
            for agent in &mut self.agents {
                agent.offered = None;
            }
        }
        crashes
    }

    /// Properties of every single decision.
    fn check(&mut self, decision: &Decision) -> Result<(), String> {
        let bytes =
            serde_json::to_vec(&decision.record).map_err(|error| error.to_string())?;
        if bytes.len() > etcd_planner::record::RECORD_LIMIT_BYTES {
            return Err(format!("the record has {} bytes", bytes.len()));
        }
        let mut accepted = BTreeSet::new();
        for effect in &decision.effects {
            if let Effect::Accept {
                offer_id,
                operations,
                ..
            } = effect
            {
                if !accepted.insert(offer_id.clone()) {
                    return Err(format!("{offer_id} accepted twice"));
                }
                for operation in operations {
                    if let Operation::Launch(order) = operation {
                        self.check_launch(&order.spec)?;
                    }
                }
            }
        }
        let hosts: Vec<_> = decision
            .record
            .pods
            .values()
            .filter_map(|pod| Some(&pod.placement.as_ref()?.hostname))
            .collect();
        let distinct: BTreeSet<_> = hosts.iter().collect();
        if distinct.len() != hosts.len() {
            return Err(format!("hostname UNIQUE is broken: {hosts:?}"));
        }
        Ok(())
    }

    /// The cluster is born once.
    fn check_stored(&mut self) -> Result<(), String> {
        if let Cluster::Formed(incarnation) = &self.stored.cluster {
            self.formed.insert(incarnation.cluster_id);
        }
        if self.formed.len() > 1 {
            return Err(format!("two clusters were formed: {:?}", self.formed));
        }
        Ok(())
    }

    fn check_launch(&self, spec: &LaunchSpec) -> Result<(), String> {
        if spec.start == ClusterStart::New && !self.formed.is_empty() {
            return Err(format!(
                "{} is launched as new after the cluster formed",
                spec.pod
            ));
        }
        let running = self.tasks.values().any(|task| {
            task.spec.identity.member_id == spec.identity.member_id
                && self.agents[task.agent].down_until <= self.tick
        });
        if running {
            return Err(format!("{} is launched while it runs", spec.pod));
        }
        Ok(())
    }

    // ---- Mesos -----------------------------------------------------------

    fn connect(&mut self) {
        if self.connected {
            return;
        }
        self.connected = true;
        self.suppressed = false;
        self.epoch += 1;
        for agent in &mut self.agents {
            agent.offered = None;
            agent.refused_until = Timestamp(0);
        }
        self.inbox.push(Event::Subscribed {
            epoch: self.epoch,
            framework_id: FrameworkId("f".into()),
        });
        let again = self.unacknowledged.clone();
        self.inbox.extend(again.into_iter().map(Event::TaskStatus));
    }

    fn offer(&mut self) {
        if self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for number in 0..self.agents.len() {
            let agent = &self.agents[number];
            let up = !agent.gone && agent.down_until <= self.tick;
            if !up || agent.offered.is_some() || agent.refused_until > self.now {
                continue;
            }
            self.next_offer += 1;
            let id = OfferId(format!("offer-{:08}", self.next_offer));
            offers.push(self.offer_of(number, id.clone()));
            self.agents[number].offered = Some(id);
        }
        if !offers.is_empty() {
            self.inbox.push(Event::Offers(offers));
        }
    }

    fn offer_of(&self, number: usize, id: OfferId) -> Offer {
        let agent = &self.agents[number];
        let in_use: BTreeSet<&ReservationId> = self
            .tasks
            .values()
            .filter(|task| task.agent == number)
            .map(|task| &task.placement.reservation_id)
            .collect();
        let mut free = Bundle {
            cpus: MilliCpus(4000),
            mem: Megabytes(8192),
            disk: Megabytes(20_000),
            ports: vec![PortRange {
                begin: 2379,
                end: 2380,
            }],
        };
        let mut reserved = BTreeMap::new();
        for (reservation_id, held) in &agent.reserved {
            let needs = &held.needs;
            free.cpus.0 -= needs.total_cpus().0;
            free.mem.0 -= needs.total_mem().0;
            free.disk.0 -= needs.total_disk().0;
            let ports = std::mem::take(&mut free.ports);
            if in_use.contains(reservation_id) {
                continue;
            }
            reserved.insert(
                reservation_id.clone(),
                ReservedBundle {
                    pod: Some(held.pod),
                    framework_id: Some(FrameworkId("f".into())),
                    resources: Bundle {
                        cpus: needs.total_cpus(),
                        mem: needs.total_mem(),
                        disk: needs.executor_disk,
                        ports,
                    },
                    volumes: held
                        .volumes
                        .keys()
                        .map(|id| (id.clone(), needs.volume))
                        .collect(),
                },
            );
        }
        Offer {
            id,
            agent_id: agent.id.clone(),
            hostname: Hostname(agent.host.clone()),
            address: agent.host.clone(),
            free,
            reserved,
            received: self.now,
        }
    }

    fn agent_number(&self, id: &AgentId) -> Option<usize> {
        self.agents.iter().position(|agent| agent.id == *id)
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Accept {
                agent_id,
                offer_id,
                operations,
                ..
            } => self.accept(agent_id, offer_id, operations),
            Effect::Decline { offers, refuse } => {
                let until = self.now.plus(*refuse);
                for agent in &mut self.agents {
                    if !agent.offered.as_ref().is_some_and(|id| offers.contains(id)) {
                        continue;
                    }
                    agent.offered = None;
                    agent.refused_until = until;
                }
                Ok(())
            }
            Effect::Suppress => {
                self.suppressed = true;
                Ok(())
            }
            Effect::Revive => {
                self.suppressed = false;
                for agent in &mut self.agents {
                    agent.refused_until = Timestamp(0);
                }
                Ok(())
            }
            Effect::Reconcile { tasks } => {
                for (task_id, agent_id) in tasks.clone() {
                    self.reconcile(&task_id, Some(&agent_id));
                }
                Ok(())
            }
            Effect::ReconcileAll => {
                for task_id in self.tasks.keys().cloned().collect::<Vec<_>>() {
                    self.reconcile(&task_id, None);
                }
                Ok(())
            }
            Effect::Kill { task_id, .. } => {
                let until = self.tick + 1 + self.chance.below(3);
                if let Some(task) = self.tasks.get_mut(task_id)
                    && self.agents[task.agent].down_until <= self.tick
                    && !matches!(task.phase, TaskPhase::Stopping(_))
                {
                    task.phase = TaskPhase::Stopping(until);
                }
                Ok(())
            }
            Effect::AddLearner { peer_url, .. } => self.add_learner(peer_url),
            Effect::Promote { member_id, .. } => self.with_quorum(|cluster| {
                let member = cluster
                    .members
                    .get_mut(member_id)
                    .ok_or("member not found")?;
                let committed = cluster.committed;
                if member.running.is_none_or(|log| log + 5 < committed) {
                    return Err("not in sync with leader".into());
                }
                member.is_learner = false;
                Ok(())
            }),
            Effect::RemoveMember { member_id, .. } => self.with_quorum(|cluster| {
                cluster
                    .members
                    .remove(member_id)
                    .map(|_| ())
                    .ok_or("member not found".into())
            }),
            Effect::MoveLeader { to, .. } => self.with_quorum(|cluster| {
                cluster.leader = Some(*to);
                cluster.term += 1;
                Ok(())
            }),
        }
    }

    fn with_quorum(
        &mut self,
        act: impl FnOnce(&mut crate::etcd::Cluster) -> Result<(), String>,
    ) -> Result<(), String> {
        let id = *self.formed.first().ok_or("no cluster")?;
        let cluster = self.etcd.clusters.get_mut(&id).ok_or("no cluster")?;
        if cluster.leader.is_none() {
            return Err("no leader".into());
        }
        act(cluster)
    }

    fn add_learner(&mut self, peer_url: &str) -> Result<(), String> {
        let fresh = MemberId(self.chance.next());
        self.with_quorum(|cluster| {
            let down = cluster
                .members
                .values()
                .any(|member| member.running.is_none());
            if down {
                return Err("unhealthy cluster".into());
            }
            if cluster.members.values().any(|member| member.is_learner) {
                return Err("too many learner members".into());
            }
            if cluster
                .members
                .values()
                .any(|member| member.peer_url == peer_url)
            {
                return Err("peer URLs already exist".into());
            }
            cluster.members.insert(
                fresh,
                crate::etcd::Member {
                    peer_url: peer_url.to_owned(),
                    name: String::new(),
                    is_learner: true,
                    had_log: false,
                    running: None,
                    serving: false,
                },
            );
            Ok(())
        })
    }

    fn accept(
        &mut self,
        agent_id: &AgentId,
        offer_id: &OfferId,
        operations: &[Operation],
    ) -> Result<(), String> {
        let number = self.agent_number(agent_id).ok_or("no such agent")?;
        let valid = self.agents[number].offered.as_ref() == Some(offer_id);
        if valid {
            self.agents[number].offered = None;
        }
        let up = valid
            && !self.agents[number].gone
            && self.agents[number].down_until <= self.tick;
        for operation in operations {
            match operation {
                Operation::Reserve(placement) if up => {
                    // Now and then the agent drops a reservation.
                    if self.faulty() && self.chance.once_in(40) {
                        self.note(|| "a reservation is dropped".into());
                        return Ok(());
                    }
                    self.agents[number].reserved.insert(
                        placement.reservation_id.clone(),
                        Reserved {
                            pod: PodIndex(0),
                            needs: placement.needs,
                            volumes: BTreeMap::new(),
                        },
                    );
                }
                Operation::CreateVolume(placement) if up => {
                    if let Some(reserved) = self.agents[number]
                        .reserved
                        .get_mut(&placement.reservation_id)
                    {
                        reserved
                            .volumes
                            .insert(placement.volume_id.clone(), Disk::default());
                    }
                }
                Operation::Reserve(_) | Operation::CreateVolume(_) => {}
                Operation::Launch(order) => {
                    let held = self.agents[number]
                        .reserved
                        .get(&order.placement.reservation_id);
                    let has_volume = held.is_some_and(|held| {
                        held.volumes.contains_key(&order.placement.volume_id)
                    });
                    if !up || !has_volume {
                        self.tell(
                            &order.task_id,
                            TaskVerdict::Over(TaskEnd::Failed),
                            None,
                        );
                        continue;
                    }
                    // Some starts are slow: O2 of the original package.
                    let slow = if self.chance.once_in(8) { 20 } else { 0 };
                    let ready = self.tick + 1 + self.chance.below(3) + slow;
                    self.tasks.insert(
                        order.task_id.clone(),
                        Task {
                            agent: number,
                            placement: order.placement.clone(),
                            spec: order.spec.clone(),
                            phase: TaskPhase::Preparing(ready),
                            told_unreachable: false,
                        },
                    );
                }
            }
        }
        Ok(())
    }

    fn reconcile(&mut self, task_id: &TaskId, agent_id: Option<&AgentId>) {
        let Some(task) = self.tasks.get(task_id) else {
            let number = agent_id.and_then(|id| self.agent_number(id));
            // About agents that are away, the master keeps silent for a while.
            let agent_up = number.is_some_and(|number| {
                !self.agents[number].gone && self.agents[number].down_until <= self.tick
            });
            if agent_up {
                self.tell(task_id, TaskVerdict::Over(TaskEnd::Gone), None);
            } else if number.is_some_and(|number| self.agents[number].gone) {
                self.tell(task_id, TaskVerdict::Over(TaskEnd::GoneByOperator), None);
            }
            return;
        };
        if task.told_unreachable {
            self.tell(task_id, TaskVerdict::Alive(TaskState::Unreachable), None);
            return;
        }
        // The master repeats states without what executors had to say.
        let state = match task.phase {
            TaskPhase::Preparing(_) => TaskState::Staging,
            TaskPhase::Up {
                told: Told::Answering,
            }
            | TaskPhase::Crashed(_) => TaskState::Running,
            TaskPhase::Up { .. } => TaskState::Starting,
            TaskPhase::Stopping(_) => TaskState::Killing,
        };
        self.tell(task_id, TaskVerdict::Alive(state), None);
    }

    fn answering(&self, task_id: &TaskId) -> Phase {
        let identity = &self.tasks[task_id].spec.identity;
        Phase::Answering {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
            version: "3.5.30".into(),
        }
    }

    /// A word of the master: not repeated if it is missed.
    fn tell(&mut self, task_id: &TaskId, verdict: TaskVerdict, phase: Option<Phase>) {
        let status = self.status(task_id, verdict, phase);
        if self.connected {
            self.inbox.push(Event::TaskStatus(status));
        }
    }

    /// A status of an executor or its agent: repeated until acknowledged, and
    /// in order.
    fn update(&mut self, task_id: &TaskId, verdict: TaskVerdict, phase: Option<Phase>) {
        let status = self.status(task_id, verdict, phase);
        self.unacknowledged.push(status.clone());
        if self.connected {
            self.inbox.push(Event::TaskStatus(status));
        }
    }

    fn status(
        &mut self,
        task_id: &TaskId,
        verdict: TaskVerdict,
        phase: Option<Phase>,
    ) -> TaskStatus {
        let task = self.tasks.get(task_id);
        let report = phase.and_then(|phase| {
            let spec = &task?.spec;
            Some(Report {
                format: FORMAT,
                pod: spec.pod,
                generation: spec.generation,
                phase,
            })
        });
        let agent_id = task.map(|task| self.agents[task.agent].id.clone());
        self.note(|| format!("status: {task_id} {verdict:?} {report:?}"));
        TaskStatus {
            task_id: task_id.clone(),
            agent_id,
            verdict,
            words: format!("{verdict:?}"),
            report,
        }
    }

    fn end_task(&mut self, task_id: &TaskId, end: TaskEnd, phase: Option<Phase>) {
        let identity = self.tasks[task_id].spec.identity.clone();
        self.etcd.stop(&identity);
        match end {
            // After a reboot the agent has forgotten what it had to say.
            TaskEnd::Gone | TaskEnd::GoneByOperator => {
                self.unacknowledged
                    .retain(|waiting| waiting.task_id != *task_id);
                self.tell(task_id, TaskVerdict::Over(end), phase);
            }
            TaskEnd::Failed | TaskEnd::Killed => {
                self.update(task_id, TaskVerdict::Over(end), phase);
            }
        }
        self.tasks.remove(task_id);
    }

    // ---- agents, executors, etcd -----------------------------------------

    fn agents_step(&mut self) {
        for number in 0..self.agents.len() {
            let down_until = self.agents[number].down_until;
            let down = down_until > self.tick;
            let ids: Vec<TaskId> = self
                .tasks
                .iter()
                .filter(|(_, task)| task.agent == number)
                .map(|(id, _)| id.clone())
                .collect();
            for id in ids {
                let told = self.tasks[&id].told_unreachable;
                let long_down = down && down_until - self.tick > UNREACHABLE_AFTER_TICKS;
                if long_down && !told {
                    self.tell(&id, TaskVerdict::Alive(TaskState::Unreachable), None);
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.told_unreachable = true;
                    }
                } else if !down && told {
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.told_unreachable = false;
                    }
                    self.reconcile(&id, None);
                }
            }
            if down {
                self.agents[number].offered = None;
            }
        }
    }

    fn executors_step(&mut self) -> Result<(), String> {
        for id in self.tasks.keys().cloned().collect::<Vec<_>>() {
            let reachable = self.agents[self.tasks[&id].agent].down_until <= self.tick;
            match self.tasks[&id].phase {
                TaskPhase::Preparing(ready) | TaskPhase::Crashed(ready)
                    if ready <= self.tick =>
                {
                    self.start_etcd(&id)?;
                }
                TaskPhase::Up { told } if reachable => self.report(&id, told),
                TaskPhase::Stopping(until) if until <= self.tick && reachable => {
                    self.end_task(&id, TaskEnd::Killed, None);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What the real executor's data gate decides, in a few lines.
    fn start_etcd(&mut self, id: &TaskId) -> Result<(), String> {
        let task = &self.tasks[id];
        let (spec, placement, agent) =
            (task.spec.clone(), task.placement.clone(), task.agent);
        let Some(disk) = self.agents[agent]
            .reserved
            .get_mut(&placement.reservation_id)
            .and_then(|held| held.volumes.get_mut(&placement.volume_id))
        else {
            self.end_task(id, TaskEnd::Failed, None);
            return Ok(());
        };
        let identity = spec.identity.clone();
        let superseded = |found: &Identity| {
            let found = SupersededIdentity {
                cluster_id: found.cluster_id,
                member_id: found.member_id,
            };
            spec.history.superseded.contains(&found)
        };
        if disk
            .guard
            .as_ref()
            .is_some_and(|(found, _)| *found != identity && superseded(found))
        {
            *disk = Disk::default();
        }
        let missing = match (&disk.guard, &disk.wal) {
            (None, _) => spec.history.was_started,
            (Some((found, wal_seen)), wal) => {
                if *found != identity {
                    return Err(format!("{} found foreign data {found:?}", spec.pod));
                }
                *wal_seen && wal.is_none()
            }
        };
        if missing {
            let refusal = Refusal::DataMissing {
                what: "no WAL".into(),
            };
            self.end_task(id, TaskEnd::Failed, Some(Phase::Refused(refusal)));
            return Ok(());
        }
        disk.guard = Some((identity.clone(), disk.wal.is_some()));
        let founders: Vec<(MemberId, String, String)> = self
            .stored
            .pods
            .iter()
            .filter_map(|(index, pod)| {
                let enrolled = pod.membership.enrolled()?;
                Some((
                    enrolled.member_id,
                    index.task_name(),
                    enrolled.peer_url.clone(),
                ))
            })
            .collect();
        let founders = (spec.start == ClusterStart::New).then_some(&founders[..]);
        let mut copy = disk.clone();
        // The agent has this on its disk before etcd starts.
        self.update(
            id,
            TaskVerdict::Alive(TaskState::Starting),
            Some(Phase::EtcdStarted),
        );
        self.etcd.start(&identity, &mut copy, founders)?;
        copy.guard = Some((identity, true));
        if let Some(disk) = self.agents[agent]
            .reserved
            .get_mut(&placement.reservation_id)
            .and_then(|held| held.volumes.get_mut(&placement.volume_id))
        {
            *disk = copy;
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.phase = TaskPhase::Up {
                told: Told::Started,
            };
        }
        Ok(())
    }

    fn report(&mut self, id: &TaskId, told: Told) {
        let identity = self.tasks[id].spec.identity.clone();
        let member = self
            .etcd
            .clusters
            .get(&identity.cluster_id)
            .and_then(|cluster| cluster.members.get(&identity.member_id));
        let serving = member.is_some_and(|member| member.serving);
        let told_now = match told {
            Told::Started if serving => {
                let phase = self.answering(id);
                self.update(id, TaskVerdict::Alive(TaskState::Running), Some(phase));
                Told::Answering
            }
            other => other,
        };
        if let Some(task) = self.tasks.get_mut(id) {
            task.phase = TaskPhase::Up { told: told_now };
        }
    }

    /// Logs of running members are on their disks at all times.
    fn save_logs(&mut self) {
        for task in self.tasks.values() {
            let identity = &task.spec.identity;
            let log = self
                .etcd
                .clusters
                .get(&identity.cluster_id)
                .and_then(|cluster| cluster.members.get(&identity.member_id))
                .and_then(|member| member.running);
            let disk = self.agents[task.agent]
                .reserved
                .get_mut(&task.placement.reservation_id)
                .and_then(|held| held.volumes.get_mut(&task.placement.volume_id));
            if let (Some(log), Some(disk)) = (log, disk)
                && let Some(wal) = &mut disk.wal
            {
                wal.log = log;
            }
        }
    }

    fn probe(&mut self) {
        let mut probes = Vec::new();
        for task in self.tasks.values() {
            let identity = &task.spec.identity;
            let answer = self
                .etcd
                .clusters
                .get(&identity.cluster_id)
                .and_then(|cluster| {
                    Some((cluster, cluster.members.get(&identity.member_id)?))
                })
                .filter(|(_, member)| member.serving)
                .map(|(cluster, member)| MemberAnswer {
                    cluster_id: identity.cluster_id,
                    member_id: identity.member_id,
                    version: "3.5.30".into(),
                    leader: cluster.leader,
                    raft_term: cluster.term,
                    raft_index: cluster.committed,
                    raft_applied_index: member.running.unwrap_or(0),
                    db_size_bytes: 0,
                    is_learner: member.is_learner,
                    errors: Vec::new(),
                    linearizable: cluster.leader.is_some(),
                    members: cluster
                        .members
                        .iter()
                        .map(|(id, member)| MemberSeen {
                            member_id: *id,
                            name: member.name.clone(),
                            peer_urls: vec![member.peer_url.clone()],
                            is_learner: member.is_learner,
                        })
                        .collect(),
                })
                .ok_or("connection refused".to_owned());
            probes.push((
                task.spec.pod,
                Probe {
                    at: self.now,
                    answer,
                },
            ));
        }
        for (pod, probe) in probes {
            self.inbox.push(Event::Probed { pod, probe });
        }
    }

    // ---- faults ----------------------------------------------------------

    fn break_something(&mut self) {
        let number =
            usize::try_from(self.chance.below(self.agents.len() as u64)).unwrap();
        let tasks: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.agent == number)
            .map(|(id, _)| id.clone())
            .collect();
        let fault = self.chance.below(9);
        self.note(|| format!("fault {fault} on agent-{number}"));
        match fault {
            // etcd crashes; its executor starts it again.
            0 => {
                for id in tasks {
                    let again = self.tick + 1 + self.chance.below(4);
                    let identity = self.tasks[&id].spec.identity.clone();
                    if let TaskPhase::Up { .. } = self.tasks[&id].phase {
                        self.etcd.stop(&identity);
                        self.tasks.get_mut(&id).unwrap().phase =
                            TaskPhase::Crashed(again);
                    }
                }
            }
            // The executor dies, and its etcd with it.
            1 => tasks
                .iter()
                .for_each(|id| self.end_task(id, TaskEnd::Failed, None)),
            // The agent is away for a while; the tasks go on.
            2 | 3 => {
                let away = 1 + self.chance.below(20);
                self.agents[number].down_until = self.tick + away;
            }
            // The host reboots.
            4 => tasks
                .iter()
                .for_each(|id| self.end_task(id, TaskEnd::Gone, None)),
            // The master is lost for a moment.
            5 => {
                self.connected = false;
                self.inbox.push(Event::Disconnected {
                    why: "connection lost".into(),
                });
            }
            // The scheduler is killed at rest.
            6 => {
                self.faults.crash = self.faults.crash.max(1);
                self.model = Model::new(
                    self.model.target_id.clone(),
                    self.model.target.clone(),
                    self.stored.clone(),
                );
                self.inbox.clear();
                self.connected = false;
            }
            // An operator gives the agent up.
            7 if self.faults.losses > 0 => {
                self.faults.losses -= 1;
                self.agents[number].gone = true;
                tasks
                    .iter()
                    .for_each(|id| self.end_task(id, TaskEnd::GoneByOperator, None));
                self.agents[number].reserved.clear();
            }
            // A volume is emptied or vanishes while its executor is dead.
            8 if self.faults.losses > 0 && !self.agents[number].reserved.is_empty() => {
                self.faults.losses -= 1;
                tasks
                    .iter()
                    .for_each(|id| self.end_task(id, TaskEnd::Failed, None));
                let vanishes = self.chance.once_in(2);
                for held in self.agents[number].reserved.values_mut() {
                    if vanishes {
                        held.volumes.clear();
                    } else {
                        held.volumes
                            .values_mut()
                            .for_each(|disk| *disk = Disk::default());
                    }
                }
            }
            _ => {}
        }
    }

    // ---- the end ---------------------------------------------------------

    /// All wanted pods are healthy voters of the one formed cluster.
    pub(crate) fn is_well(&self) -> bool {
        let members = self.model.target.members;
        matches!(self.model.record.cluster, Cluster::Formed(_))
            && (0..members)
                .all(|index| quorum::is_healthy_voter_seen(&self.model, PodIndex(index)))
    }

    /// Whether so few voters have their data left that nobody but an operator
    /// may decide how to go on. That can happen with one lost disk, if it is
    /// lost before the last founder has ever started.
    pub(crate) fn is_quorum_lost_for_good(&self) -> bool {
        let Some(cluster) = self
            .formed
            .first()
            .and_then(|id| self.etcd.clusters.get(id))
        else {
            return false;
        };
        let with_data: BTreeSet<MemberId> = self
            .agents
            .iter()
            .filter(|agent| !agent.gone)
            .flat_map(|agent| agent.reserved.values())
            .flat_map(|held| held.volumes.values())
            .filter_map(|disk| Some(disk.wal.as_ref()?.identity.member_id))
            .collect();
        let voters: Vec<&MemberId> = cluster
            .members
            .iter()
            .filter(|(_, member)| !member.is_learner)
            .map(|(id, _)| id)
            .collect();
        let left = voters.iter().filter(|id| with_data.contains(id)).count();
        left < quorum::majority(voters.len())
    }
}
