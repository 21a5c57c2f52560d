//! The stand-in for Mesos: offers, operations, statuses.

use super::*;

/// etcd refuses to add a member unless all have been connected for so many
/// seconds.
const HEALTH_INTERVAL: u64 = 5;

impl World {
    pub(super) fn connect(&mut self) {
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
            master_region: None,
        });
        let again = self.unacknowledged.clone();
        self.inbox.extend(again.into_iter().map(Event::TaskStatus));
    }

    pub(super) fn offer(&mut self) {
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

    /// What nobody has reserved on an agent.
    fn free_on(&self, number: usize) -> Bundle {
        let agent = &self.agents[number];
        let is_full = agent.poor_until > self.tick;
        let all = Bundle {
            cpus: MilliCpus(if is_full { 100 } else { 4000 }),
            mem: Megabytes(if is_full { 0 } else { 8192 }),
            disk: Megabytes(20_000),
            ports: vec![PortRange {
                begin: 2379,
                end: 2389,
            }],
        };
        agent.reserved.values().fold(all, |free, held| {
            let volume = Bundle {
                disk: held.volume_size,
                ..Bundle::default()
            };
            free.without(&held.amounts).without(&volume)
        })
    }

    /// What tasks on an agent use of a reservation, beside its volume; none if none
    /// runs there.
    fn used_of(&self, number: usize, id: &ReservationId) -> Option<Bundle> {
        let mut tasks = self.tasks.values();
        let task = tasks
            .find(|task| task.agent == number && task.placement.reservation_id == *id)?;
        Some(task.placement.amounts())
    }

    pub(super) fn offer_of(&self, number: usize, id: OfferId) -> Offer {
        let agent = &self.agents[number];
        let free = self.free_on(number);
        let mut reserved = BTreeMap::new();
        for (reservation_id, held) in &agent.reserved {
            let used = self.used_of(number, reservation_id);
            let volumes = match used {
                Some(_) => BTreeMap::new(),
                None => held
                    .volumes
                    .keys()
                    .map(|id| (id.clone(), held.volume_size))
                    .collect(),
            };
            let resources = held.amounts.without(&used.unwrap_or_default());
            if resources.is_empty() && volumes.is_empty() {
                continue;
            }
            reserved.insert(
                reservation_id.clone(),
                ReservedBundle {
                    pod: Some(held.pod),
                    framework_id: Some(FrameworkId("f".into())),
                    resources,
                    volumes,
                },
            );
        }
        Offer {
            id,
            agent_id: agent.id.clone(),
            hostname: Hostname(agent.host.clone()),
            address: agent.host.clone(),
            attributes: BTreeMap::new(),
            domain: agent.domain.clone(),
            role: "etcd-role".into(),
            unavailable_from: None,
            free,
            base: Vec::new(),
            disks: Vec::new(),
            reserved,
            received: self.now,
        }
    }

    /// What the executor of an agent's member answers, if it can.
    fn try_recipe(&mut self, agent: &AgentId, id: &str, heartbeat: u64) {
        let not_had = self.faulty() && self.chance.once_in(5);
        let verdict = match heartbeat {
            _ if not_had => TrialVerdict::NotHad { why: "404".into() },
            operator::IS_REFUSED => TrialVerdict::Refused {
                why: "bad flag".into(),
            },
            _ => TrialVerdict::Taken,
        };
        let is_there = |task: &&Task| {
            let agent_of_task = &self.agents[task.agent];
            let answers = matches!(task.phase, TaskPhase::Up { .. });
            answers && agent_of_task.id == *agent && agent_of_task.down_until <= self.tick
        };
        let Some(task) = self.tasks.values().find(is_there) else {
            return;
        };
        self.inbox.push(Event::Tried(TrialAnswer {
            format: FORMAT,
            id: id.to_owned(),
            pod: task.spec.pod,
            generation: task.spec.generation,
            verdict,
        }));
    }

    pub(super) fn agent_number(&self, id: &AgentId) -> Option<usize> {
        self.agents.iter().position(|agent| agent.id == *id)
    }

    /// A copy of all data, from whoever has quorum.
    fn take_snapshot(&mut self, target: &TargetId) -> Result<(), String> {
        let mut revision = 0;
        self.with_quorum(|cluster| {
            revision = i64::try_from(cluster.committed).unwrap_or(i64::MAX);
            Ok(())
        })?;
        self.inbox.push(Event::SnapshotTaken(SnapshotTaken {
            target: target.clone(),
            path: format!("snapshots/{}", self.now.0),
            revision,
            bytes: 512,
            at: self.now,
        }));
        Ok(())
    }

    pub(super) fn carry_out(&mut self, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Accept {
                agent_id,
                offer_id,
                operations,
                ..
            } => self.accept(agent_id, offer_id, operations),
            Effect::Release {
                offer_id,
                placement,
                shown,
                ..
            } => self.release(offer_id, placement, shown),
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
            Effect::Disarm { .. } => Ok(()),
            Effect::TryRecipe {
                agent_id,
                id,
                tuning,
                ..
            } => {
                let is_lost = self.faulty() && self.chance.once_in(3);
                if !is_lost {
                    self.try_recipe(agent_id, id, tuning.heartbeat_interval_ms);
                }
                Ok(())
            }
            Effect::Compact { .. } => self.with_quorum(|_| Ok(())),
            Effect::Defragment { member_id, .. } => self.defragment(*member_id),
            Effect::TakeSnapshot { target } => self.take_snapshot(target),
            Effect::EnableDowngrade { to } => {
                self.with_quorum(|cluster| cluster.enable_downgrade(*to))
            }
            Effect::CancelDowngrade => self.with_quorum(|cluster| {
                cluster.agreed.downgrade_to = None;
                Ok(())
            }),
            Effect::MoveLeader { to, .. } => self.with_quorum(|cluster| {
                cluster.leader = Some(*to);
                cluster.term += 1;
                Ok(())
            }),
        }
    }

    /// One member after the other, and never where it would stop the cluster: what is
    /// seen may have changed since only where something breaks.
    fn defragment(&mut self, id: MemberId) -> Result<(), String> {
        let (tick, until) = (self.tick, self.tick + 1 + self.chance.below(6));
        let peace = self.faults.breakage == u64::MAX;
        let cluster = self.formed.first().ok_or("no cluster")?;
        let cluster = self.etcd.clusters.get_mut(cluster).ok_or("no cluster")?;
        let others = || cluster.members.iter().filter(|(other, _)| **other != id);
        let voters = others().filter(|(_, member)| !member.is_learner);
        let (voters, busy) = (
            voters.clone().count() + 1,
            others().any(|(_, member)| member.is_busy(tick)),
        );
        let running = others().filter(|(_, member)| {
            !member.is_learner && member.running.is_some() && member.serving
        });
        let enough = voters == 1 || running.count() >= quorum::majority(voters);
        if busy || peace && !enough {
            self.broken = Some(format!("{id} is defragmented at the wrong time"));
        }
        let member = cluster.members.get_mut(&id).ok_or("no such member")?;
        if member.running.is_none() {
            return Err("connection refused".into());
        }
        member.busy_until = until;
        Ok(())
    }

    pub(super) fn with_quorum(
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

    pub(super) fn add_learner(&mut self, peer_url: &str) -> Result<(), String> {
        let fresh = MemberId(self.chance.next());
        let tick = self.tick;
        self.with_quorum(|cluster| {
            let unsettled = cluster.members.values().any(|member| {
                member.running.is_none() || member.started_at + HEALTH_INTERVAL > tick
            });
            if unsettled {
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
            cluster
                .members
                .insert(fresh, crate::etcd::Member::new(peer_url, "", true));
            Ok(())
        })
    }

    pub(super) fn accept(
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
                            amounts: placement.amounts(),
                            volume_size: placement.volume_size(),
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
                Operation::ReserveMore {
                    placement, amount, ..
                } if up => {
                    let dropped = self.faulty() && self.chance.once_in(10);
                    if dropped || !self.free_on(number).covers(amount) {
                        self.note(|| format!("{amount} more are not reserved"));
                        return Ok(());
                    }
                    let id = &placement.reservation_id;
                    if let Some(held) = self.agents[number].reserved.get_mut(id) {
                        add(&mut held.amounts, amount);
                    }
                }
                Operation::UnreserveSurplus {
                    placement, amount, ..
                } if up => {
                    let id = &placement.reservation_id;
                    let used = self.used_of(number, id).unwrap_or_default();
                    if let Some(held) = self.agents[number].reserved.get_mut(id)
                        && held.amounts.without(&used).covers(amount)
                    {
                        held.amounts = held.amounts.without(amount);
                    }
                }
                Operation::Reserve(_)
                | Operation::CreateVolume(_)
                | Operation::ReserveMore { .. }
                | Operation::UnreserveSurplus { .. } => {}
                Operation::Launch(order) => {
                    let held = self.agents[number]
                        .reserved
                        .get(&order.placement.reservation_id);
                    let has_volume = held.is_some_and(|held| {
                        held.volumes.contains_key(&order.placement.volume_id)
                            && held.amounts.covers(&order.placement.amounts())
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
                            version: order.programs.version.unwrap_or(FIRST_ETCD),
                            phase: TaskPhase::Preparing(ready),
                            crashes: 0,
                            told_unreachable: false,
                        },
                    );
                }
            }
        }
        Ok(())
    }

    /// DESTROY and UNRESERVE, which no present member's data may meet.
    fn release(
        &mut self,
        offer_id: &OfferId,
        placement: &Placement,
        shown: &Bundle,
    ) -> Result<(), String> {
        let number = self
            .agent_number(&placement.agent_id)
            .ok_or("no such agent")?;
        let is_used = self.used_of(number, &placement.reservation_id).is_some();
        let agent = &mut self.agents[number];
        if agent.offered.as_ref() != Some(offer_id) {
            return Err("the offer is void".into());
        }
        agent.offered = None;
        let Some(mut held) = agent.reserved.remove(&placement.reservation_id) else {
            return Ok(());
        };
        let left = held.amounts.without(shown);
        if is_used || !left.is_empty() {
            held.amounts = left;
            let id = placement.reservation_id.clone();
            agent.reserved.insert(id, held);
            return Ok(());
        }
        let is_of_a_member = |identity: &Identity| {
            self.etcd
                .clusters
                .get(&identity.cluster_id)
                .is_some_and(|cluster| cluster.members.contains_key(&identity.member_id))
                && self.formed.contains(&identity.cluster_id)
        };
        let mut logs = held.volumes.values().filter_map(|disk| disk.wal.as_ref());
        if logs.any(|wal| is_of_a_member(&wal.identity)) {
            self.destroyed_data = Some(placement.hostname.to_string());
        }
        Ok(())
    }

    pub(super) fn reconcile(&mut self, task_id: &TaskId, agent_id: Option<&AgentId>) {
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
            TaskPhase::Paused => TaskState::Running,
            TaskPhase::Stopping(_) => TaskState::Killing,
        };
        self.tell(task_id, TaskVerdict::Alive(state), None);
    }

    pub(super) fn answering(&self, task_id: &TaskId) -> Phase {
        let identity = &self.tasks[task_id].spec.identity;
        Phase::Answering {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
            version: self.tasks[task_id].version.to_string(),
        }
    }

    /// A word of the master: not repeated if it is missed.
    pub(super) fn tell(
        &mut self,
        task_id: &TaskId,
        verdict: TaskVerdict,
        phase: Option<Phase>,
    ) {
        let status = self.status(task_id, verdict, phase);
        if self.connected {
            self.inbox.push(Event::TaskStatus(status));
        }
    }

    /// A status of an executor or its agent: repeated until acknowledged, and
    /// in order.
    pub(super) fn update(
        &mut self,
        task_id: &TaskId,
        verdict: TaskVerdict,
        phase: Option<Phase>,
    ) {
        let status = self.status(task_id, verdict, phase);
        self.unacknowledged.push(status.clone());
        if self.connected {
            self.inbox.push(Event::TaskStatus(status));
        }
    }

    pub(super) fn status(
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

    pub(super) fn end_task(
        &mut self,
        task_id: &TaskId,
        end: TaskEnd,
        phase: Option<Phase>,
    ) {
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
}

fn add(to: &mut Bundle, amount: &Bundle) {
    to.cpus.0 += amount.cpus.0;
    to.mem.0 += amount.mem.0;
    to.disk.0 += amount.disk.0;
    to.ports.extend(amount.ports.iter().copied());
}
