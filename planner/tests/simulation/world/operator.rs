//! An operator who tells plans this and that, and looks whether it is obeyed.

use etcd_planner::maintenance::{self, MaintenanceRequest};
use etcd_planner::overrides::{PhaseName, PlanName, PlanPart};
use etcd_planner::pausing;
use etcd_planner::plan_commands::{PlanCommand, PlanVerb};
use etcd_planner::programs::EtcdVersion;
use etcd_planner::record::{Exchange, Membership};
use etcd_planner::replacing;
use etcd_planner::versions;

use super::*;

/// A heartbeat interval with which no etcd of this world starts.
pub(super) const NEVER_STARTS: u64 = 13;

/// One that every etcd of this world refuses at once.
pub(super) const IS_REFUSED: u64 = 14;

/// Memory that no agent of this world has.
const MORE_THAN_THERE_IS: u64 = 9_000;

/// Versions of etcd that operators want, minor and patch.
const ETCDS: [(u16, u16); 6] = [(5, 29), (5, 30), (5, 33), (6, 11), (6, 14), (7, 1)];

/// When all is to become well in the end, the operator lets everything go on,
/// once in so many ticks.
const GOES_ON_EVERY: u64 = 10;

/// What the operator remembers: the scheduler may forget nothing of it.
#[derive(Default)]
pub(super) struct Operator {
    /// The deploy plan was told to begin nothing new.
    paused: bool,
}

impl World {
    pub(super) fn operator_step(&mut self) {
        if self.faulty() {
            if self.faults.commands > 0 && self.chance.once_in(self.faults.commands) {
                let verb = PlanVerb::ALL[self.pick(6)];
                let part = self.some_part();
                self.tell_plan(verb, part);
            }
            let changes = self.faults.changes;
            if changes > 0 && self.chance.once_in(changes) {
                self.change_what_is_wanted();
            }
            let etcds = self.faults.etcds;
            if etcds > 0 && self.chance.once_in(etcds) {
                self.set_etcd();
            }
            let resizes = self.faults.resizes;
            if resizes > 0 && self.chance.once_in(resizes) {
                self.set_resources();
            }
            let hands = self.faults.hands;
            if hands > 0 && self.chance.once_in(hands) {
                self.work_by_hand();
            }
            let maintains = self.faults.maintenance;
            if maintains > 0 && self.chance.once_in(maintains) {
                self.ask_for_maintenance();
            }
            let replaces = self.faults.replacements;
            if replaces > 0 && self.chance.once_in(replaces) {
                self.replace_a_pod();
            }
        } else if self.tick.is_multiple_of(GOES_ON_EVERY) {
            for plan in PlanName::ALL {
                self.tell_plan(PlanVerb::Continue, PlanPart::plan(plan));
            }
            for pod in (0..self.model.target.members).map(PodIndex) {
                self.inbox.push(Event::ResumeAsked { pod });
            }
            self.remove_what_is_no_pods();
            if self.model.target.needs.mem == Megabytes(MORE_THAN_THERE_IS) {
                self.set_needs(1024, 2379, false);
            }
            let heartbeat = self.model.target.tuning.heartbeat_interval_ms;
            if [NEVER_STARTS, IS_REFUSED].contains(&heartbeat) {
                self.set_target(self.model.target.members, 100);
            } else {
                self.want_an_etcd_that_works();
            }
        }
    }

    fn pick(&mut self, of: u64) -> usize {
        usize::try_from(self.chance.below(of)).unwrap()
    }

    fn some_part(&mut self) -> PlanPart {
        let plan = [PlanName::Deploy, PlanName::Recovery][self.pick(2)];
        let pod = PodIndex(u16::try_from(self.pick(3)).unwrap());
        match self.pick(4) {
            0 | 1 => PlanPart::plan(plan),
            2 => PlanPart::phase(plan, PhaseName::of(plan, pod)),
            _ => PlanPart::step(plan, pod),
        }
    }

    /// As the event loop does: asked, judged, stored.
    fn replace_a_pod(&mut self) {
        let members = u64::from(self.model.target.members);
        let pod = PodIndex(u16::try_from(self.pick(members)).unwrap());
        let how = match self.pick(6) {
            0..3 => Exchange::JoinFirst,
            3 => Exchange::LeaveFirst,
            _ => Exchange::InPlace,
        };
        let taken = replacing::judge(&self.model, pod, how).is_ok();
        self.note(|| format!("exchange {pod}, {how:?}: {taken}"));
        if taken && self.model.record.pods.contains_key(&pod) {
            self.inbox.push(Event::ExchangeAsked { pod, how });
        }
    }

    /// Databases are to be defragmented, or that is to end.
    fn ask_for_maintenance(&mut self) {
        let plan = PlanPart::plan(PlanName::Maintenance);
        let verb = match self.pick(8) {
            0 => PlanVerb::Stop,
            1 => PlanVerb::ForceComplete,
            2 => PlanVerb::Interrupt,
            3 => PlanVerb::Continue,
            4 => PlanVerb::Restart,
            _ => {
                let members = u64::from(self.model.target.members);
                let pod = PodIndex(u16::try_from(self.pick(members)).unwrap());
                let is_of_one = self.chance.once_in(3);
                let request = MaintenanceRequest {
                    pod: is_of_one.then_some(pod),
                    keep_revisions: (!is_of_one && self.chance.once_in(2)).then_some(5),
                    by: "alice".into(),
                };
                if maintenance::judge(&self.model, &request).is_ok() {
                    self.note(|| format!("{request:?}"));
                    self.inbox.push(Event::MaintenanceAsked(request));
                }
                return;
            }
        };
        self.tell_plan(verb, plan);
    }

    fn change_what_is_wanted(&mut self) {
        let before = &self.model.target;
        let (members, heartbeat) = (before.members, before.tuning.heartbeat_interval_ms);
        match self.pick(10) {
            8 | 9 => self.set_etcd(),
            7 => self.set_target(members, IS_REFUSED),
            6 => self.set_resources(),
            0 => {
                self.tell_plan(PlanVerb::Start, PlanPart::plan(PlanName::RollingRestart))
            }
            1 => self.set_target(members, NEVER_STARTS),
            2 => {
                let members = [1, 3, 5][self.pick(3)];
                self.set_target(members, heartbeat);
            }
            _ => {
                let heartbeat = [100, 150, 200][self.pick(3)];
                self.set_target(members, heartbeat);
            }
        }
    }

    /// Another etcd, or one before.
    fn set_etcd(&mut self) {
        let (minor, patch) = ETCDS[self.pick(ETCDS.len() as u64)];
        let version = EtcdVersion::new(3, minor, patch);
        self.note(|| format!("target: etcd {version}"));
        let mut target = Box::new(self.model.target.clone());
        let sum = format!("{minor:032}{patch:032}").parse().unwrap();
        target.program.checksums.insert("etcd".into(), sum);
        target.program.version = Some(version);
        // With options that go with it, or not.
        let heartbeat = [100, 100, 150, NEVER_STARTS][self.pick(4)];
        target.tuning.heartbeat_interval_ms = heartbeat;
        let id = TargetId(format!("{version}-{heartbeat}"));
        self.inbox.push(Event::TargetChanged { id, target });
    }

    /// What the scheduler asks when it starts: whether what is wanted may come after
    /// what members were given.
    pub(super) fn wants_an_etcd_that_is_refused(&self, event: &Event) -> bool {
        let Event::TargetChanged { target, .. } = event else {
            return false;
        };
        let is_new = !self.model.target.program.has_same_etcd(&target.program);
        is_new && self.is_refused(target)
    }

    /// Whether members do not get the etcd of a target.
    fn is_refused(&self, target: &Target) -> bool {
        let recipes = self.model.record.recipes_in_use();
        let running: Vec<EtcdVersion> =
            recipes.filter_map(|it| it.program.version).collect();
        let wanted = target.program.version;
        wanted.is_some_and(|wanted| versions::judge(&running, wanted).is_err())
    }

    /// The newest etcd that a member has is wanted by all, if that which is wanted is
    /// refused for ever.
    fn want_an_etcd_that_works(&mut self) {
        if !self.is_refused(&self.model.target) {
            return;
        }
        let recipes = self.model.record.recipes_in_use();
        let Some(newest) = recipes.max_by_key(|it| it.program.version) else {
            return;
        };
        let mut target = Box::new(self.model.target.clone());
        target.program.clone_from(&newest.program);
        self.note(|| format!("target: the newest etcd, {:?}", target.program.version));
        let id = TargetId(format!("newest-{}", self.tick));
        self.inbox.push(Event::TargetChanged { id, target });
    }

    /// Members are to have more memory or less, or another port; more than any agent
    /// has, too.
    fn set_resources(&mut self) {
        let mem = [1024, 1536, MORE_THAN_THERE_IS][self.pick(3)];
        let client_port = [2379, 2379, 2385][self.pick(3)];
        // Others fill some agents up, for a while.
        for number in 0..self.agents.len() {
            if self.chance.once_in(3) {
                self.agents[number].poor_until = self.tick + self.chance.below(150);
            }
        }
        // Also where there is nowhere to go to.
        let moves = self.chance.once_in(2);
        self.set_needs(mem, client_port, moves);
    }

    fn set_needs(&mut self, mem: u64, client_port: u16, move_on_resize: bool) {
        self.note(|| format!("target: {mem} MB, port {client_port}"));
        let mut target = Box::new(self.model.target.clone());
        target.needs.mem = Megabytes(mem);
        target.needs.client_port = client_port;
        target.move_on_resize = move_on_resize;
        let id = TargetId(format!("{}-{mem}-{client_port}", self.model.target_id.0));
        self.inbox.push(Event::TargetChanged { id, target });
    }

    fn set_target(&mut self, members: u16, heartbeat: u64) {
        self.note(|| format!("target: {members} members, heartbeat {heartbeat}"));
        let mut target = Box::new(self.model.target.clone());
        target.members = members;
        target.tuning.heartbeat_interval_ms = heartbeat;
        let id = TargetId(format!("t-{members}-{heartbeat}"));
        self.inbox.push(Event::TargetChanged { id, target });
    }

    /// Somebody with a shell: pauses a pod, lets it go on, or changes the members
    /// behind the scheduler's back.
    fn work_by_hand(&mut self) {
        let members = u64::from(self.model.target.members);
        let pod = PodIndex(u16::try_from(self.pick(members)).unwrap());
        let member = self.model.record.pods.get(&pod).map(|pod| &pod.membership);
        let enrolled = member.and_then(Membership::enrolled).cloned();
        match (self.pick(4), enrolled) {
            (0 | 1, _) => {
                let taken = pausing::judge(&self.model, pod).is_ok();
                self.note(|| format!("pause {pod}: {taken}"));
                if taken {
                    let by = "alice".into();
                    self.inbox.push(Event::PauseAsked { pod, by });
                }
            }
            (2, _) => {
                self.note(|| format!("resume {pod}"));
                self.inbox.push(Event::ResumeAsked { pod });
            }
            (_, Some(enrolled)) => {
                let added_again = self.chance.once_in(2);
                let done = self.remove_by_hand(enrolled.member_id);
                self.note(|| format!("{pod} is removed by hand: {done:?}"));
                if done.is_ok() && added_again {
                    let done = self.add_learner(&enrolled.peer_url);
                    self.note(|| format!("{pod} is added by hand: {done:?}"));
                }
            }
            (_, None) => {}
        }
    }

    /// A member that was added by hand for a place that was given up since.
    fn remove_what_is_no_pods(&mut self) {
        let pods = self.model.record.pods.values();
        let known: BTreeSet<MemberId> = pods
            .clone()
            .filter_map(|pod| pod.membership.member_id())
            .collect();
        let adding: Vec<String> = pods
            .filter_map(|pod| match &pod.membership {
                Membership::Adding { peer_url } => Some(peer_url.clone()),
                _ => None,
            })
            .collect();
        let _ = self.with_quorum(|cluster| {
            cluster.members.retain(|id, member| {
                let is_ours = known.contains(id) || adding.contains(&member.peer_url);
                is_ours || !member.is_learner
            });
            Ok(())
        });
    }

    /// As etcd does, refuses what would cost quorum.
    fn remove_by_hand(&mut self, id: MemberId) -> Result<(), String> {
        self.with_quorum(|cluster| {
            let voters = cluster
                .members
                .iter()
                .filter(|(_, member)| !member.is_learner);
            let others = voters.filter(|(voter, _)| **voter != id).count();
            let running = cluster.members.iter().filter(|(voter, member)| {
                **voter != id && !member.is_learner && member.running.is_some()
            });
            if others < 2 || running.count() < quorum::majority(others) {
                return Err("too few would be left".into());
            }
            cluster
                .members
                .remove(&id)
                .map(|_| ())
                .ok_or("member not found".into())
        })
    }

    fn tell_plan(&mut self, verb: PlanVerb, part: PlanPart) {
        let command = PlanCommand {
            verb,
            part,
            by: "alice".into(),
        };
        self.inbox.push(Event::PlanCommand(command));
    }

    /// The command is stored, and so the operator has an answer.
    pub(super) fn note_taken(&mut self, command: &PlanCommand) {
        self.note(|| format!("taken: {command}"));
        if command.part != PlanPart::plan(PlanName::Deploy) {
            return;
        }
        self.operator.paused = match command.verb {
            PlanVerb::Interrupt | PlanVerb::Stop => true,
            PlanVerb::Continue | PlanVerb::Restart | PlanVerb::Start => false,
            PlanVerb::ForceComplete => self.operator.paused,
        };
    }

    /// While the deploy plan is paused nothing new is begun for its pods, however
    /// often the scheduler was killed meanwhile.
    pub(super) fn check_paused(
        &mut self,
        next: &Record,
        command: Option<&PlanCommand>,
    ) -> Result<(), String> {
        let deploying = |record: &Record, index: PodIndex| {
            let deployed = record.pods.get(&index).is_some_and(|pod| pod.deployed);
            !deployed && !record.overrides.is_forced(PlanName::Deploy, index)
        };
        let wanted = (0..self.model.target.members).map(PodIndex);
        let complete = !wanted.clone().any(|index| deploying(next, index));
        // Nothing is left that could be paused, or the pause ends in this turn.
        self.operator.paused &= !complete;
        if !self.operator.paused || command.is_some() {
            return Ok(());
        }
        if self.stored.cluster == Cluster::Unborn && next.cluster != Cluster::Unborn {
            return Err("a cluster was founded while the plan was paused".into());
        }
        for index in wanted.filter(|index| deploying(next, *index)) {
            let (Some(before), Some(after)) =
                (self.stored.pods.get(&index), next.pods.get(&index))
            else {
                continue;
            };
            let placed = before.placement.is_none() && after.placement.is_some();
            let added = before.membership == Membership::Absent
                && matches!(after.membership, Membership::Adding { .. });
            if placed || added {
                return Err(format!("{index} was begun while the plan was paused"));
            }
        }
        Ok(())
    }
}
