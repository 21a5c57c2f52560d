//! The simulated world: stand-ins for Mesos, executors and etcd round the
//! real planner, with a clock that jumps and faults that a seed repeats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_config::DeployStrategy;
use etcd_launch::{
    ClusterId, ClusterStart, ClusterToken, FORMAT, Founder, Identity, LaunchSpec,
    MemberId, Phase, PodIndex, Refusal, Report, RoomReport, SupersededIdentity,
    TrialAnswer, TrialVerdict,
};
use etcd_planner::effect::{Operation, Outcome};
use etcd_planner::event::{TaskStatus, TaskVerdict};
use etcd_planner::observed::{MemberAnswer, MemberSeen, Probe, TaskEnd, TaskState};
use etcd_planner::offer::{
    AgentId, Bundle, Domain, FrameworkId, Hostname, Megabytes, MilliCpus, Offer, OfferId,
    PortRange, ReservationId, ReservedBundle, TaskId, VolumeId,
};
use etcd_planner::programs::EtcdVersion;
use etcd_planner::record::{Cluster, Placement, Record, SnapshotTaken, TargetId};
use etcd_planner::target::Needs;
use etcd_planner::{
    Decision, Effect, Event, Model, Target, Timestamp, Turn, plan, plan_commands, quorum,
};

mod executors;
mod faults;
mod mesos;
mod operator;

use crate::chance::Chance;
use crate::etcd::{Disk, Etcd};

/// One tick of the world.
/// What members have at first.
const FIRST_ETCD: EtcdVersion = EtcdVersion::new(3, 5, 30);

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
    domain: Option<Domain>,
    /// Until this tick others hold what is free on it.
    poor_until: u64,
}

struct Reserved {
    pod: PodIndex,
    /// Beside the volume.
    amounts: Bundle,
    volume_size: Megabytes,
    volumes: BTreeMap<VolumeId, Disk>,
}

struct Task {
    agent: usize,
    placement: Placement,
    spec: LaunchSpec,
    /// Its etcd.
    version: EtcdVersion,
    phase: TaskPhase,
    crashes: u32,
    told_unreachable: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum TaskPhase {
    /// Fetching, until this tick.
    Preparing(u64),
    /// etcd runs.
    Up { told: Told },
    /// Runs without etcd.
    Paused,
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
    /// An operator tells plans something, once in so many ticks; 0 for never.
    pub(crate) commands: u64,
    /// An operator wants a pod replaced, once in so many ticks; 0 for never.
    pub(crate) replacements: u64,
    /// An operator pauses a pod or changes the members by hand, once in so many
    /// ticks; 0 for never.
    pub(crate) hands: u64,
    /// An operator changes the target or starts a rolling restart, once in so many
    /// ticks; 0 for never.
    pub(crate) changes: u64,
    /// An operator wants databases defragmented, once in so many ticks; 0 for never.
    pub(crate) maintenance: u64,
    /// An operator changes the resources of members, once in so many ticks; 0 for never.
    pub(crate) resizes: u64,
    /// An operator wants another etcd, once in so many ticks; 0 for never.
    pub(crate) etcds: u64,
    /// The last agent has no room for so many ticks.
    pub(crate) last_agent_is_full: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub(crate) const NONE: Faults = Faults {
        until: 0,
        crash: 1,
        breakage: 1,
        losses: 0,
        commands: 0,
        replacements: 0,
        hands: 0,
        changes: 0,
        maintenance: 0,
        resizes: 0,
        etcds: 0,
        last_agent_is_full: 0,
    };
}

/// The service that is to be deployed, and on how many agents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) members: u16,
    pub(crate) agents: usize,
    pub(crate) strategy: DeployStrategy,
    pub(crate) replace_after_ms: Option<u64>,
    /// Agents are in as many zones as there are members, each of which may hold one.
    pub(crate) zoned: bool,
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
    /// Where a volume with a present member's data was given back: that must never
    /// happen.
    destroyed_data: Option<String>,
    /// A safety property that an effect has broken.
    broken: Option<String>,
    /// Results that come at their ticks.
    later: Vec<(u64, Event)>,
    operator: operator::Operator,
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

pub(crate) fn target(service: Service) -> Target {
    Target {
        service: "etcd".into(),
        members: service.members,
        placement: if service.zoned {
            "@zone:UNIQUE".parse().unwrap()
        } else {
            etcd_config::PlacementConstraints::default()
        },
        region: None,
        disk: etcd_planner::target::DiskWish::Root,
        offer_collection_ms: 0,
        network: etcd_planner::target::Network::Host,
        user: "root".into(),
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
            auto_compaction: None,
            enable_v2: false,
        },
        program: etcd_planner::programs::Programs {
            directory: ".".into(),
            checksums: BTreeMap::new(),
            archive: None,
            executor: None,
            version: Some(FIRST_ETCD),
        },
        scheme: etcd_launch::Scheme::Http,
        stop_grace_ms: 30_000,
        deploy_strategy: service.strategy,
        replace_after_ms: service.replace_after_ms,
        update_strategy: etcd_config::DeployStrategy::Serial,
        allow_scale_in: false,
        update_timeout_ms: 600_000,
        update_rollback: true,
        move_on_resize: false,
        defragment: None,
    }
}

/// Whether two statuses are repetitions of one.
fn is_same(a: &TaskStatus, b: &TaskStatus) -> bool {
    a.task_id == b.task_id && a.verdict == b.verdict && a.report == b.report
}

impl World {
    pub(crate) fn new(seed: u64, service: Service, faults: Faults) -> Self {
        let target_id = TargetId("t1".into());
        let stored = Record::new(target_id.clone());
        let mut chance = Chance::new(seed);
        let agents = (0..service.agents)
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
                domain: service.zoned.then(|| Domain {
                    region: "north".into(),
                    zone: format!("z{}", number % usize::from(service.members)),
                }),
                poor_until: if number + 1 == service.agents {
                    faults.last_agent_is_full
                } else {
                    0
                },
            })
            .collect();
        World {
            now: Timestamp(1_000_000),
            tick: 0,
            chance,
            faults,
            model: Model::new(target_id, target(service), stored.clone()),
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
            destroyed_data: None,
            broken: None,
            later: Vec::new(),
            operator: operator::Operator::default(),
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
        self.etcd.step(self.tick)?;
        self.save_logs();
        self.connect();
        self.offer();
        self.probe();
        self.tell_room();
        self.inbox.push(Event::Tick);
        self.tell_results();
        self.operator_step();
        if self.tick.is_multiple_of(50) {
            self.check_record_size()?;
        }
        self.scheduler_step()
    }

    fn tell_results(&mut self) {
        let tick = self.tick;
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= tick);
        self.later = later;
        let due: Vec<(u64, Event)> = due;
        self.inbox.extend(due.into_iter().map(|(_, event)| event));
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
            let command = match &event {
                Event::PlanCommand(command) => Some(command.clone()),
                _ => None,
            };
            if let Some(command) = &command
                && plan_commands::judge(&self.model, command).is_err()
            {
                continue;
            }
            if self.wants_an_etcd_that_is_refused(&event) {
                continue;
            }
            self.model.apply(event, self.now);
            let decision = self.decide();
            self.check(&decision)?;
            self.check_paused(&decision.record, command.as_ref())?;
            if self.crashes() {
                return Ok(());
            }
            self.stored = decision.record.clone();
            self.check_stored()?;
            if let Some(command) = command {
                self.note_taken(&command);
            }
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
                let result = Event::EffectDone { id, outcome };
                if let Some(until) = self.busy_until(&effect) {
                    self.later.push((until, result));
                } else if effect.awaits_result() {
                    self.inbox.push(result);
                }
            }
        }
        Err("the scheduler is spinning: 200 events in one second".into())
    }

    /// Until when an effect takes its time.
    fn busy_until(&self, effect: &Effect) -> Option<u64> {
        let Effect::Defragment { member_id, .. } = effect else {
            return None;
        };
        let clusters = self.etcd.clusters.values();
        let mut members = clusters.filter_map(|cluster| cluster.members.get(member_id));
        let member = members.find(|member| member.is_busy(self.tick))?;
        Some(member.busy_until)
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
            self.later.clear();
            self.connected = false;
            for agent in &mut self.agents {
                agent.offered = None;
            }
        }
        crashes
    }

    /// Properties of every single decision.
    fn check(&mut self, decision: &Decision) -> Result<(), String> {
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
        self.check_snapshot(decision)?;
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

    /// A formed cluster's first member with another etcd finds a snapshot taken.
    fn check_snapshot(&self, decision: &Decision) -> Result<(), String> {
        if !matches!(self.stored.cluster, Cluster::Formed(_)) {
            return Ok(());
        }
        // What a member goes back to is among them.
        let mut known = self.stored.recipes().peekable();
        if known.peek().is_none() {
            return Ok(());
        }
        let voters = quorum::voters(&self.stored);
        let is_well =
            |voter: &&PodIndex| quorum::is_healthy_voter_seen(&self.model, **voter);
        // A patch for members that cannot run without it.
        if voters.iter().filter(is_well).count() < quorum::majority(voters.len()) {
            return Ok(());
        }
        let known: Vec<_> = known.map(|recipe| &recipe.program).collect();
        let record = &decision.record;
        let is_new = record
            .recipes_in_use()
            .any(|recipe| !known.iter().any(|it| it.has_same_etcd(&recipe.program)));
        let snapshot = record.snapshot.as_ref();
        if is_new && snapshot.is_none_or(|it| it.target != self.model.target_id) {
            return Err("a member gets another etcd without a snapshot".into());
        }
        Ok(())
    }

    /// The record stays small. Looked at now and then, since writing it out
    /// costs more than planning.
    fn check_record_size(&self) -> Result<(), String> {
        let bytes = serde_json::to_vec(&self.stored)
            .map_err(|error| error.to_string())?
            .len();
        if bytes > etcd_planner::record::RECORD_LIMIT_BYTES {
            return Err(format!("the record has {bytes} bytes"));
        }
        Ok(())
    }

    /// The cluster is born once.
    fn check_stored(&mut self) -> Result<(), String> {
        if let Cluster::Formed(incarnation) = &self.stored.cluster {
            self.formed.insert(incarnation.cluster_id);
        }
        if let Some(host) = &self.destroyed_data {
            return Err(format!("a member's volume was destroyed on {host}"));
        }
        if let Some(broken) = self.broken.take() {
            return Err(broken);
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

    /// All wanted pods are healthy voters of the one formed cluster, and nothing is
    /// to be done about them.
    pub(crate) fn is_well(&self) -> bool {
        let record = &self.model.record;
        let asked = record.rolling_restart.as_ref().map(|asked| asked.since);
        let restarted_since = |pod: &etcd_planner::record::Pod| {
            let issued = pod.launch.as_ref().map(|launch| launch.issued);
            asked.is_none_or(|asked| issued.is_some_and(|issued| issued >= asked))
        };
        let decided = record.abandoned.iter().all(|place| !place.awaits_approval);
        let nobody_else =
            decided && record.pods.len() == usize::from(self.model.target.members);
        matches!(record.cluster, Cluster::Formed(_))
            && record.maintenance.open().is_none()
            && nobody_else
            && (0..self.model.target.members).map(PodIndex).all(|index| {
                record.pods.get(&index).is_some_and(|pod| {
                    pod.deployed
                        && !pod.restart_asked
                        && pod.exchange_asked.is_none()
                        && pod.paused.is_none()
                        && restarted_since(pod)
                        && pod
                            .launch
                            .as_ref()
                            .is_some_and(|it| it.stop_asked.is_none())
                        && pod.recipe.as_ref() == Some(&self.model.target.recipe())
                        && pod.placement.as_ref().is_some_and(|placement| {
                            placement.needs == self.model.target.needs
                                && placement.resize.is_none()
                                && placement.over_since.is_none()
                        })
                }) && quorum::is_healthy_voter_seen(&self.model, index)
            })
    }

    /// Old places that nobody needs any more.
    pub(crate) fn places_to_give_back(&self) -> u64 {
        let places = self.model.record.abandoned.iter();
        places.filter(|place| place.can_be_missed).count() as u64
    }

    /// Whichever way the cluster came about: as many voters as wanted, and nobody
    /// else.
    pub(crate) fn check_end_state(&self) -> Result<(), String> {
        let cluster = self
            .formed
            .first()
            .and_then(|id| self.etcd.clusters.get(id))
            .ok_or("no cluster was formed")?;
        if let Some(to) = cluster.agreed.downgrade_to {
            return Err(format!("the cluster is on its way to etcd 3.{to} for ever"));
        }
        let wanted = usize::from(self.model.target.members);
        let learners = cluster
            .members
            .values()
            .filter(|member| member.is_learner)
            .count();
        if cluster.members.len() != wanted || learners != 0 {
            return Err(format!("{wanted} voters are wanted: {:?}", cluster.members));
        }
        let unknown = &self.model.observed.unknown_reservations;
        if !unknown.is_empty() {
            return Err(format!("reservations that nobody knows: {unknown:?}"));
        }
        self.check_reserved()
    }

    /// What agents have reserved for members is what the record says, and nothing else
    /// is reserved but what is to be given back.
    fn check_reserved(&self) -> Result<(), String> {
        let record = &self.model.record;
        let of_pods = record
            .pods
            .values()
            .filter_map(|pod| pod.placement.as_ref());
        let of_pods: BTreeMap<&ReservationId, &Placement> =
            of_pods.map(|at| (&at.reservation_id, at)).collect();
        let given_up = record
            .abandoned
            .iter()
            .map(|old| &old.placement.reservation_id);
        let given_up: BTreeSet<&ReservationId> = given_up.collect();
        let present = self.agents.iter().filter(|agent| !agent.gone);
        for (id, held) in present.flat_map(|agent| &agent.reserved) {
            match of_pods.get(id) {
                Some(placement) => {
                    let (held, recorded) = (&held.amounts, placement.amounts());
                    if !held.covers(&recorded) || !recorded.covers(held) {
                        return Err(format!("{held} reserved, and recorded {recorded}"));
                    }
                }
                None if given_up.contains(id) => {}
                None => return Err(format!("{} is left over: {id}", held.amounts)),
            }
        }
        Ok(())
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
