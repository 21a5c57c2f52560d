//! What breaks.

use super::*;

impl World {
    pub(super) fn break_something(&mut self) {
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
                self.later.clear();
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
}
