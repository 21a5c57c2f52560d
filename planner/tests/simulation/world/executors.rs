//! The stand-ins for agents and executors, and what probes see.

use super::*;

/// Executors tell every so many ticks how much room their disks have.
const TELLS_ROOM_EVERY: u64 = 30;

impl World {
    pub(super) fn agents_step(&mut self) {
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

    pub(super) fn executors_step(&mut self) -> Result<(), String> {
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
    pub(super) fn start_etcd(&mut self, id: &TaskId) -> Result<(), String> {
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
        if self.faults.until > self.tick && self.chance.once_in(40) {
            let refusal = Refusal::VolumeUnusable {
                why: "read-only".into(),
            };
            self.end_task(id, TaskEnd::Failed, Some(Phase::Refused(refusal)));
            return Ok(());
        }
        if spec.paused {
            let running = TaskVerdict::Alive(TaskState::Running);
            self.update(id, running, Some(Phase::Paused));
            self.tasks.get_mut(id).unwrap().phase = TaskPhase::Paused;
            return Ok(());
        }
        let never_start = [operator::NEVER_STARTS, operator::IS_REFUSED];
        if never_start.contains(&spec.tuning.heartbeat_interval_ms) {
            return self.crash_again(id);
        }
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
        let version = self.tasks[id].version;
        self.etcd
            .start(&identity, &mut copy, founders, version, self.tick)?;
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

    /// etcd ends at once, and its executor tries again a little later.
    fn crash_again(&mut self, id: &TaskId) -> Result<(), String> {
        let tick = self.tick;
        let task = self.tasks.get_mut(id).ok_or("no such task")?;
        task.phase = TaskPhase::Crashed(tick + 2);
        task.crashes += 1;
        let phase = Phase::Crashed {
            exit: "exit status 1".into(),
            last_log_lines: Vec::new(),
            crashes: task.crashes,
            restart_in_ms: 2_000,
        };
        let starting = TaskVerdict::Alive(TaskState::Starting);
        self.update(id, starting, Some(phase));
        Ok(())
    }

    pub(super) fn report(&mut self, id: &TaskId, told: Told) {
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
    pub(super) fn save_logs(&mut self) {
        for task in self.tasks.values() {
            let identity = &task.spec.identity;
            let member = self
                .etcd
                .clusters
                .get(&identity.cluster_id)
                .and_then(|cluster| cluster.members.get(&identity.member_id));
            let running = member.and_then(|member| Some((member.running?, member.data)));
            let disk = self.agents[task.agent]
                .reserved
                .get_mut(&task.placement.reservation_id)
                .and_then(|held| held.volumes.get_mut(&task.placement.volume_id));
            if let (Some((log, data)), Some(disk)) = (running, disk)
                && let Some(wal) = &mut disk.wal
            {
                wal.log = log;
                wal.data = data;
            }
        }
    }

    pub(super) fn probe(&mut self) {
        let mut probes = Vec::new();
        for (id, task) in &self.tasks {
            // Whoever asks knows members by the pods that are recorded.
            let mut pods = self.model.record.pods.iter();
            let launched = |pod: &etcd_planner::record::Pod| {
                let launch = pod.launch.as_ref();
                launch.is_some_and(|launch| launch.task_id == *id && launch.end.is_none())
            };
            let Some((index, _)) = pods.find(|(_, pod)| launched(pod)) else {
                continue;
            };
            let identity = &task.spec.identity;
            let answer = self
                .etcd
                .clusters
                .get(&identity.cluster_id)
                .and_then(|cluster| {
                    Some((cluster, cluster.members.get(&identity.member_id)?))
                })
                .filter(|(_, member)| member.serving)
                .map(|(cluster, member)| {
                    let (storage_version, downgrade_to) = member.tells(cluster.agreed);
                    MemberAnswer {
                        cluster_id: identity.cluster_id,
                        member_id: identity.member_id,
                        version: member.version.to_string(),
                        storage_version,
                        downgrade_to,
                        leader: cluster.leader,
                        raft_term: cluster.term,
                        raft_index: cluster.committed,
                        raft_applied_index: member.running.unwrap_or(0),
                        db_size_bytes: 0,
                        db_size_in_use_bytes: 0,
                        is_learner: member.is_learner,
                        errors: Vec::new(),
                        linearizable: cluster.leader.is_some()
                            && !member.is_busy(self.tick),
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
                    }
                })
                .ok_or("connection refused".to_owned());
            probes.push((
                *index,
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

    /// What executors tell of their disks: full ones are found, and emptied in the end.
    pub(super) fn tell_room(&mut self) {
        if self.faults.maintenance == 0 || !self.tick.is_multiple_of(TELLS_ROOM_EVERY) {
            return;
        }
        let is_troubled = self.faults.until > self.tick;
        for task in self.tasks.values() {
            let is_full = is_troubled && self.chance.once_in(4);
            self.inbox.push(Event::RoomTold(RoomReport {
                format: FORMAT,
                pod: task.spec.pod,
                generation: task.spec.generation,
                volume_free_bytes: if is_full { 0 } else { 1 << 40 },
            }));
        }
    }
}
