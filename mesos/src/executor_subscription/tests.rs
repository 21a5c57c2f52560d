use bytes::BytesMut;

use super::*;
use crate::recordio::encode_record;
use crate::v1::{AgentId, TaskState};

const RECOVERY_TIMEOUT: Duration = Duration::from_secs(900);

/// What happens to the machine in one step.
#[expect(
    clippy::large_enum_variant,
    reason = "a handful, and boxes would clutter the tables"
)]
enum Step {
    /// The clock reaches the time that the machine asked for.
    Due,
    /// Attempts fail with this reason until so many seconds have passed.
    FailFor(u64, &'static str),
    /// The latest attempt is answered.
    Answer(u16, &'static str),
    /// The stream of the latest attempt carries this event.
    Hears(Event),
    /// The connection of the latest attempt ends.
    Ends(&'static str),
    /// The application reports that this task is in this state, under this uuid.
    Updates(&'static str, TaskState, &'static str),
    /// The agent answers an update: status (0: none) and words.
    Sent(u16, &'static str),
}
use Step::*;

fn event(kind: event::Type) -> Event {
    Event {
        r#type: Some(kind.into()),
        ..Event::default()
    }
}

fn subscribed() -> Event {
    Event {
        subscribed: Some(event::Subscribed::default()),
        ..event(event::Type::Subscribed)
    }
}

fn launch(task: &str) -> Event {
    let task = TaskInfo {
        task_id: TaskId {
            value: task.to_owned(),
        },
        agent_id: AgentId {
            value: "S1".to_owned(),
        },
        ..TaskInfo::default()
    };
    Event {
        launch: Some(event::Launch { task }),
        ..event(event::Type::Launch)
    }
}

fn acknowledged(task: &str, uuid: &'static str) -> Event {
    let acknowledged = event::Acknowledged {
        task_id: TaskId {
            value: task.to_owned(),
        },
        uuid: Bytes::from_static(uuid.as_bytes()),
    };
    Event {
        acknowledged: Some(acknowledged),
        ..event(event::Type::Acknowledged)
    }
}

struct World {
    subscription: ExecutorSubscription,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(recovery_timeout: Duration) -> Self {
        let now = Instant::now();
        let config = ExecutorSubscriptionConfig {
            framework_id: FrameworkId {
                value: "F1".to_owned(),
            },
            executor_id: ExecutorId {
                value: "E1".to_owned(),
            },
            recovery_timeout,
            subscription_backoff_max: Some(Duration::from_secs(2)),
            jitter_seed: 1,
        };
        let subscription = ExecutorSubscription::new(config, now);
        Self {
            subscription,
            start: now,
            now,
        }
    }

    fn due(&mut self) {
        let due = self.subscription.poll_timeout().expect("nothing is due");
        assert!(due >= self.now, "time would run backwards");
        self.now = due;
        self.subscription.handle_timeout(due);
    }

    fn step(&mut self, step: Step) -> String {
        let attempt = self.subscription.last_attempt;
        match step {
            Due => self.due(),
            FailFor(seconds, why) => return self.fail_for(seconds, why),
            Answer(status, body) => {
                let body = body.to_owned();
                let answer = crate::subscription::Answer {
                    status,
                    body,
                    ..Default::default()
                };
                self.subscription.handle_answer(self.now, attempt, answer);
            }
            Hears(event) => {
                let mut stream = BytesMut::new();
                encode_record(&event.encode_to_vec(), &mut stream);
                self.subscription.handle_data(self.now, attempt, &stream);
            }
            Ends(why) => self
                .subscription
                .handle_end(self.now, attempt, why.to_owned()),
            Updates(task, state, uuid) => self.subscription.update(TaskStatus {
                task_id: TaskId {
                    value: task.to_owned(),
                },
                state: state.into(),
                uuid: Some(Bytes::from_static(uuid.as_bytes())),
                ..TaskStatus::default()
            }),
            Sent(status, why) => {
                let why = why.to_owned();
                let result = match status {
                    202 => Ok(()),
                    0 => Err(SendFailure { status: None, why }),
                    status => Err(SendFailure {
                        status: Some(status),
                        why,
                    }),
                };
                self.subscription.handle_sent(self.now, attempt, result);
            }
        }
        self.drain()
    }

    fn drain(&mut self) -> String {
        let mut shown = Vec::new();
        while let Some(action) = self.subscription.poll_action() {
            shown.push(show(&action, self.start));
        }
        shown.join(", ")
    }

    /// Shows only what the application is told.
    fn fail_for(&mut self, seconds: u64, why: &str) -> String {
        let until = self.now + Duration::from_secs(seconds);
        let mut told = Vec::new();
        while self.now < until {
            self.due();
            let attempt = self.subscription.last_attempt;
            self.subscription
                .handle_end(self.now, attempt, why.to_owned());
            while let Some(action) = self.subscription.poll_action() {
                if matches!(action, ExecutorAction::Tell(_)) {
                    told.push(show(&action, self.start));
                }
            }
        }
        self.now = until.max(self.now);
        told.join(", ")
    }
}

fn show(action: &ExecutorAction, start: Instant) -> String {
    match action {
        ExecutorAction::Open { attempt, call } => {
            let subscribe = call.subscribe.as_ref().unwrap();
            let mut shown = format!("open {}", attempt.0);
            for task in &subscribe.unacknowledged_tasks {
                shown += &format!(" task {}", task.task_id.value);
            }
            for update in &subscribe.unacknowledged_updates {
                shown += &format!(" {}", show_status(&update.status));
            }
            shown
        }
        ExecutorAction::Close { attempt } => format!("close {}", attempt.0),
        ExecutorAction::Send { call, .. } => {
            format!(
                "send {}",
                show_status(&call.update.as_ref().unwrap().status)
            )
        }
        ExecutorAction::Tell(event) => match event {
            ExecutorEvent::Subscribed { .. } => "subscribed".to_owned(),
            ExecutorEvent::Launch(task) => format!("launch {}", task.task_id.value),
            ExecutorEvent::LaunchGroup(group) => format!("launch {}", group.tasks.len()),
            ExecutorEvent::Kill { task_id, .. } => format!("kill {}", task_id.value),
            ExecutorEvent::Acknowledged { uuid, .. } => {
                format!("acknowledged {}", uuid.escape_ascii())
            }
            ExecutorEvent::Message(data) => format!("message {}", data.escape_ascii()),
            ExecutorEvent::Shutdown => "shutdown".to_owned(),
            ExecutorEvent::Disconnected { why } => format!("disconnected: {why}"),
            ExecutorEvent::AgentLost { since } => {
                format!("agent lost since {}", since.duration_since(start).as_secs())
            }
            ExecutorEvent::Waiting { why } => format!("waiting: {why}"),
            ExecutorEvent::Refused { status, body } => {
                format!("refused: {status} {body}")
            }
            ExecutorEvent::Error { message } => format!("error: {message}"),
        },
    }
}

fn show_status(status: &TaskStatus) -> String {
    let uuid = status.uuid.as_ref().unwrap().escape_ascii();
    format!(
        "{} {} #{uuid}",
        status.task_id.value,
        status.state().as_str_name()
    )
}

fn check<const N: usize>(steps: [(Step, &str); N]) -> World {
    let mut world = World::new(RECOVERY_TIMEOUT);
    for (number, (step, expected)) in steps.into_iter().enumerate() {
        assert_eq!(world.step(step), expected, "step {number}");
    }
    world
}

const RUNNING: TaskState = TaskState::TaskRunning;
const FINISHED: TaskState = TaskState::TaskFinished;

#[test]
fn a_task_from_launch_to_its_last_acknowledgement() {
    let world = check([
        (Due, "open 1"),
        (Answer(200, ""), ""),
        (Hears(subscribed()), "subscribed"),
        (Hears(launch("t")), "launch t"),
        (Updates("t", RUNNING, "u1"), "send t TASK_RUNNING #u1"),
        // One at a time, in order.
        (Updates("t", FINISHED, "u2"), ""),
        (Sent(202, ""), "send t TASK_FINISHED #u2"),
        (Hears(acknowledged("t", "u1")), "acknowledged u1"),
        (Sent(202, ""), ""),
        (Hears(acknowledged("t", "u2")), "acknowledged u2"),
        (Hears(event(event::Type::Shutdown)), "shutdown"),
        (Ends("reset"), "close 1, disconnected: reset"),
        (Due, "open 2"),
    ]);
    assert_eq!(world.subscription.settled_updates(), 2);
}

#[test]
fn a_restarted_agent_is_told_what_it_may_have_lost() {
    check([
        (Due, "open 1"),
        (Answer(200, ""), ""),
        (Hears(subscribed()), "subscribed"),
        (Hears(launch("t")), "launch t"),
        (Hears(launch("v")), "launch v"),
        (Updates("t", RUNNING, "u1"), "send t TASK_RUNNING #u1"),
        (Sent(202, ""), ""),
        (Hears(acknowledged("t", "u1")), "acknowledged u1"),
        (Updates("v", RUNNING, "u2"), "send v TASK_RUNNING #u2"),
        (Sent(202, ""), ""),
        // Taken, but not acknowledged when the agent dies.
        (Ends("reset"), "close 1, disconnected: reset"),
        (Updates("t", FINISHED, "u3"), ""),
        (Due, "open 2 task v v TASK_RUNNING #u2 t TASK_FINISHED #u3"),
        (Ends("refused"), "close 2, waiting: refused"),
        (Due, "open 3 task v v TASK_RUNNING #u2 t TASK_FINISHED #u3"),
        (
            Answer(503, "Agent has not finished recovery"),
            "close 3, waiting: status 503: Agent has not finished recovery",
        ),
        (Due, "open 4 task v v TASK_RUNNING #u2 t TASK_FINISHED #u3"),
        // An update made while SUBSCRIBE is under way follows it.
        (Updates("v", FINISHED, "u4"), ""),
        (Answer(200, ""), ""),
        (Hears(subscribed()), "subscribed, send v TASK_FINISHED #u4"),
    ]);
}

#[test]
fn updates_are_repeated_until_the_agent_takes_them() {
    check([
        (Due, "open 1"),
        (Updates("t", RUNNING, "u1"), ""),
        (Updates("t", FINISHED, "u2"), ""),
        (Answer(200, ""), ""),
        (Hears(subscribed()), "subscribed, send t TASK_RUNNING #u1"),
        (Sent(0, "reset"), ""),
        (Updates("v", RUNNING, "u3"), ""),
        (Due, "send t TASK_RUNNING #u1"),
        (Sent(503, "Agent has not finished recovery"), ""),
        (Due, "send t TASK_RUNNING #u1"),
        (Sent(400, "Executor cannot be found"), ""),
        (Due, "send t TASK_RUNNING #u1"),
        (
            Sent(400, "Failed to validate Executor::Call"),
            "error: the agent refused TASK_RUNNING of task t: Failed to validate \
             Executor::Call, send t TASK_FINISHED #u2",
        ),
        (Sent(202, ""), "send v TASK_RUNNING #u3"),
    ]);
}

/// An answer can be on its way while the acknowledgement has already come.
#[test]
fn an_early_acknowledgement_does_not_mark_the_next_update_as_delivered() {
    check([
        (Due, "open 1"),
        (Answer(200, ""), ""),
        (Hears(subscribed()), "subscribed"),
        (Updates("t", RUNNING, "u1"), "send t TASK_RUNNING #u1"),
        (Updates("t", FINISHED, "u2"), ""),
        (Hears(acknowledged("t", "u1")), "acknowledged u1"),
        (Sent(202, ""), "send t TASK_FINISHED #u2"),
    ]);
}

#[test]
fn a_lost_agent_is_told_once_and_attempts_go_on() {
    check([
        (Due, "open 1"),
        (Answer(200, ""), ""),
        (Hears(subscribed()), "subscribed"),
        (Ends("reset"), "close 1, disconnected: reset"),
        (FailFor(899, "refused"), "waiting: refused"),
        (FailFor(2, "refused"), "agent lost since 0"),
        (FailFor(100_000, "refused"), ""),
        (FailFor(1, "no route"), "waiting: no route"),
    ]);
}

#[test]
fn an_agent_without_checkpoints_is_lost_at_once_but_not_before_the_first_contact() {
    let mut world = World::new(Duration::ZERO);
    assert_eq!(world.step(FailFor(59, "refused")), "waiting: refused");
    assert_eq!(world.step(FailFor(2, "refused")), "agent lost since 0");
    let mut world = World::new(Duration::ZERO);
    world.step(Due);
    world.step(Answer(200, ""));
    world.step(Hears(subscribed()));
    assert_eq!(world.step(Ends("reset")), "close 1, disconnected: reset");
    assert_eq!(world.step(Due), "agent lost since 0");
}

#[test]
fn a_refusal_is_told_once_and_retried() {
    check([
        (Due, "open 1"),
        (
            Answer(400, "Executor cannot be found"),
            "close 1, refused: 400 Executor cannot be found",
        ),
        (Due, "open 2"),
        (Answer(400, "Executor cannot be found"), "close 2"),
        (Due, "open 3"),
        (Due, "close 3, waiting: no answer to SUBSCRIBE within 5 s"),
    ]);
}

/// Agents kill executors that are not back two seconds after a restart.
#[test]
fn attempts_are_never_more_than_half_a_second_apart() {
    let mut world = World::new(RECOVERY_TIMEOUT);
    for _ in 0..100 {
        let before = world.now;
        world.step(Due);
        assert!(world.now - before <= Duration::from_millis(500));
        world.step(Ends("refused"));
    }
}
