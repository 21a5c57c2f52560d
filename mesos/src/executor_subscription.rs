//! An executor's subscription as a machine without I/O, clock or randomness.
//!
//! To be driven like [`crate::subscription::Subscription`]: hand in what
//! happened, drain [`ExecutorSubscription::poll_action`], come back at
//! [`ExecutorSubscription::poll_timeout`]. [`crate::ExecutorSession`] does so.
//!
//! What the machine knows of Mesos: the agent is the only server, and an
//! executor has to subscribe again within two seconds of the agent's restart
//! (`--executor_reregistration_timeout`) or is killed. Every SUBSCRIBE names the
//! tasks and updates that the agent has not acknowledged, so an update that was
//! made while the agent was away needs no queue of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;

use crate::backoff::Backoff;
use crate::executor::{Call, Event, call, event};
use crate::recordio::{DEFAULT_MAX_RECORD_BYTES, RecordDecoder};
use crate::subscription::{Answer, Attempt};
use crate::v1::{ExecutorId, FrameworkId, TaskId, TaskInfo, TaskStatus};

mod interface;

pub use interface::{
    ExecutorAction, ExecutorEvent, ExecutorSubscriptionConfig, SendFailure,
};

/// From sending SUBSCRIBE to SUBSCRIBED. The agent is on the same host; when it
/// accepts a connection and says nothing for so long, it hangs.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Delays between attempts. An agent gives its executors two seconds after its
/// restart, and a refused connection to the same host costs next to nothing.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// How long the first subscription may take before the agent counts as lost.
/// Mesos: an agent kills executors that do not register within a minute
/// (`--executor_registration_timeout`).
const FIRST_SUBSCRIPTION_PATIENCE: Duration = Duration::from_secs(60);

/// The machine.
#[derive(Debug)]
pub struct ExecutorSubscription {
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    recovery_timeout: Duration,
    backoff: Backoff,
    /// Delays between repetitions of an update that the agent did not take.
    resend: Backoff,
    state: State,
    contact: Contact,
    last_attempt: Attempt,
    /// Launched, with no update acknowledged yet.
    tasks: Vec<TaskInfo>,
    /// Not acknowledged, oldest first.
    updates: VecDeque<PendingUpdate>,
    settled_updates: u64,
    /// The last reason told, so that it is not told twice.
    told: Option<String>,
    actions: VecDeque<ExecutorAction>,
}

#[derive(Debug)]
enum State {
    BackingOff {
        until: Instant,
    },
    Opening {
        attempt: Attempt,
        deadline: Instant,
    },
    Opened {
        attempt: Attempt,
        decoder: RecordDecoder,
        deadline: Instant,
    },
    Subscribed {
        attempt: Attempt,
        decoder: RecordDecoder,
        sending: Sending,
    },
}

#[derive(Debug)]
enum Sending {
    Idle,
    UnderWay { uuid: Option<Bytes> },
    Pausing { until: Instant },
}

#[derive(Debug)]
enum Contact {
    Subscribed,
    /// Away since, and to be told as lost at, until it was told.
    Away {
        since: Instant,
        lost_at: Option<Instant>,
    },
}

#[derive(Debug)]
struct PendingUpdate {
    status: TaskStatus,
    /// The agent got it within the present subscription.
    delivered: bool,
}

impl ExecutorSubscription {
    /// A machine whose first attempt is due at once.
    pub fn new(config: ExecutorSubscriptionConfig, now: Instant) -> Self {
        let longest = config
            .subscription_backoff_max
            .unwrap_or(LONGEST_BACKOFF)
            .min(LONGEST_BACKOFF);
        let patience = config.recovery_timeout.max(FIRST_SUBSCRIPTION_PATIENCE);
        Self {
            framework_id: config.framework_id,
            executor_id: config.executor_id,
            recovery_timeout: config.recovery_timeout,
            backoff: Backoff::new(FIRST_BACKOFF, longest, config.jitter_seed),
            resend: Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF, !config.jitter_seed),
            state: State::BackingOff { until: now },
            contact: Contact::Away {
                since: now,
                lost_at: Some(now + patience),
            },
            last_attempt: Attempt(0),
            tasks: Vec::new(),
            updates: VecDeque::new(),
            settled_updates: 0,
            told: None,
            actions: VecDeque::new(),
        }
    }

    /// Whether the agent has us.
    pub fn is_subscribed(&self) -> bool {
        matches!(self.contact, Contact::Subscribed)
    }

    /// How many updates were acknowledged, or refused for good, since the start.
    pub fn settled_updates(&self) -> u64 {
        self.settled_updates
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<ExecutorAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let attempt = match &self.state {
            State::BackingOff { until } => Some(*until),
            State::Opening { deadline, .. } | State::Opened { deadline, .. } => {
                Some(*deadline)
            }
            State::Subscribed {
                sending: Sending::Pausing { until },
                ..
            } => Some(*until),
            State::Subscribed { .. } => None,
        };
        let lost_at = match &self.contact {
            Contact::Away { lost_at, .. } => *lost_at,
            Contact::Subscribed => None,
        };
        [attempt, lost_at].into_iter().flatten().min()
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Contact::Away { since, lost_at } = &mut self.contact
            && lost_at.is_some_and(|lost_at| now >= lost_at)
        {
            *lost_at = None;
            let since = *since;
            self.tell(ExecutorEvent::AgentLost { since });
        }
        match &self.state {
            State::BackingOff { until } if now >= *until => self.open(now),
            State::Opening { deadline, .. } | State::Opened { deadline, .. }
                if now >= *deadline =>
            {
                let patience = HANDSHAKE_TIMEOUT.as_secs();
                let why = format!("no answer to SUBSCRIBE within {patience} s");
                self.end_attempt(now, why);
            }
            State::Subscribed {
                sending: Sending::Pausing { until },
                ..
            } if now >= *until => {
                self.set_sending(Sending::Idle);
                self.send_next();
            }
            _ => {}
        }
    }

    /// The agent answered SUBSCRIBE.
    pub fn handle_answer(&mut self, now: Instant, attempt: Attempt, answer: Answer) {
        let State::Opening {
            attempt: current,
            deadline,
        } = self.state
        else {
            return;
        };
        if current != attempt {
            return;
        }
        match answer.status {
            200 => {
                let decoder = RecordDecoder::new(DEFAULT_MAX_RECORD_BYTES);
                self.state = State::Opened {
                    attempt,
                    decoder,
                    deadline,
                };
            }
            status @ (400 | 401 | 403) => {
                self.close();
                let key = format!("{status} {}", answer.body);
                if self.is_news(key) {
                    self.tell(ExecutorEvent::Refused {
                        status,
                        body: answer.body,
                    });
                }
                self.back_off(now);
            }
            status => self.end_attempt(now, format!("status {status}: {}", answer.body)),
        }
    }

    /// A piece of the stream arrived.
    pub fn handle_data(&mut self, now: Instant, attempt: Attempt, chunk: &[u8]) {
        if self.current_attempt() != Some(attempt) {
            return;
        }
        if let Some(decoder) = self.decoder_mut() {
            decoder.feed(chunk);
        }
        while let Some(decoder) = self.decoder_mut() {
            let event = match decoder.next_record() {
                Ok(None) => return,
                Ok(Some(record)) => {
                    Event::decode(record).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match event {
                Ok(event) => self.handle_event(event),
                Err(why) => {
                    self.end_attempt(now, format!("the event stream is damaged: {why}"));
                }
            }
        }
    }

    /// The connection could not be made, broke, or was closed by the agent.
    pub fn handle_end(&mut self, now: Instant, attempt: Attempt, why: String) {
        if self.current_attempt() == Some(attempt) {
            self.end_attempt(now, why);
        }
    }

    /// An update from the application; its `uuid` has to be set. It is repeated
    /// until the agent acknowledges it, in order, whatever happens in between.
    pub fn update(&mut self, status: TaskStatus) {
        self.updates.push_back(PendingUpdate {
            status,
            delivered: false,
        });
        self.send_next();
    }

    /// What came of an [`ExecutorAction::Send`].
    pub fn handle_sent(
        &mut self,
        now: Instant,
        attempt: Attempt,
        result: Result<(), SendFailure>,
    ) {
        let State::Subscribed {
            attempt: current,
            sending: Sending::UnderWay { uuid },
            ..
        } = &self.state
        else {
            return;
        };
        if *current != attempt {
            return;
        }
        // The acknowledgement may have come before this answer.
        let index = self
            .updates
            .iter()
            .position(|update| update.status.uuid == *uuid);
        let next = match (result, index) {
            (Ok(()), index) => {
                self.resend.reset();
                if let Some(update) = index.and_then(|index| self.updates.get_mut(index))
                {
                    update.delivered = true;
                }
                Sending::Idle
            }
            (Err(failure), Some(index)) if is_final(&failure) => {
                self.drop_refused_update(index, failure.why);
                Sending::Idle
            }
            (Err(_), _) => Sending::Pausing {
                until: now + self.resend.next_delay(),
            },
        };
        self.set_sending(next);
        self.send_next();
    }

    fn set_sending(&mut self, next: Sending) {
        if let State::Subscribed { sending, .. } = &mut self.state {
            *sending = next;
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event.r#type() {
            event::Type::Subscribed => {
                if let Some(subscribed) = event.subscribed {
                    self.handle_subscribed(subscribed);
                }
            }
            event::Type::Launch => {
                if let Some(launch) = event.launch {
                    self.tasks.push(launch.task.clone());
                    self.tell(ExecutorEvent::Launch(Box::new(launch.task)));
                }
            }
            event::Type::LaunchGroup => {
                if let Some(launch) = event.launch_group {
                    self.tasks.extend(launch.task_group.tasks.iter().cloned());
                    self.tell(ExecutorEvent::LaunchGroup(launch.task_group));
                }
            }
            event::Type::Kill => {
                if let Some(event::Kill {
                    task_id,
                    kill_policy,
                }) = event.kill
                {
                    self.tell(ExecutorEvent::Kill {
                        task_id,
                        kill_policy,
                    });
                }
            }
            event::Type::Acknowledged => {
                if let Some(event::Acknowledged { task_id, uuid }) = event.acknowledged {
                    self.settle(&task_id, &uuid);
                    self.tell(ExecutorEvent::Acknowledged { task_id, uuid });
                }
            }
            event::Type::Message => {
                if let Some(message) = event.message {
                    self.tell(ExecutorEvent::Message(message.data));
                }
            }
            event::Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                self.tell(ExecutorEvent::Error { message });
            }
            event::Type::Shutdown => self.tell(ExecutorEvent::Shutdown),
            event::Type::Heartbeat | event::Type::Unknown => {}
        }
    }

    fn handle_subscribed(&mut self, subscribed: event::Subscribed) {
        let State::Opened {
            attempt, decoder, ..
        } = &mut self.state
        else {
            return;
        };
        let decoder = std::mem::replace(decoder, RecordDecoder::new(0));
        let attempt = *attempt;
        self.state = State::Subscribed {
            attempt,
            decoder,
            sending: Sending::Idle,
        };
        self.contact = Contact::Subscribed;
        self.told = None;
        self.backoff.reset();
        self.tell(ExecutorEvent::Subscribed {
            executor_info: Box::new(subscribed.executor_info),
            framework_info: Box::new(subscribed.framework_info),
            agent_info: Box::new(subscribed.agent_info),
            container_id: subscribed.container_id,
        });
        self.send_next();
    }

    /// The agent has the update; it also knows the task, then.
    fn settle(&mut self, task_id: &TaskId, uuid: &Bytes) {
        self.tasks.retain(|task| task.task_id != *task_id);
        let before = self.updates.len();
        self.updates
            .retain(|update| update.status.uuid.as_ref() != Some(uuid));
        self.settled_updates += (before - self.updates.len()) as u64;
    }

    fn drop_refused_update(&mut self, index: usize, why: String) {
        if let Some(refused) = self.updates.remove(index) {
            self.settled_updates += 1;
            let (task, state) = (&refused.status.task_id.value, refused.status.state());
            let state = state.as_str_name();
            self.tell(ExecutorEvent::Error {
                message: format!("the agent refused {state} of task {task}: {why}"),
            });
        }
    }

    fn send_next(&mut self) {
        let State::Subscribed {
            attempt, sending, ..
        } = &mut self.state
        else {
            return;
        };
        if !matches!(sending, Sending::Idle) {
            return;
        }
        let Some(update) = self.updates.iter().find(|update| !update.delivered) else {
            return;
        };
        *sending = Sending::UnderWay {
            uuid: update.status.uuid.clone(),
        };
        let attempt = *attempt;
        let call = self.call(call::Type::Update, |call| {
            call.update = Some(call::Update {
                status: update.status.clone(),
            });
        });
        self.actions
            .push_back(ExecutorAction::Send { attempt, call });
    }

    fn open(&mut self, now: Instant) {
        self.last_attempt = Attempt(self.last_attempt.0 + 1);
        let attempt = self.last_attempt;
        // What goes with SUBSCRIBE need not be sent again after it.
        for update in &mut self.updates {
            update.delivered = true;
        }
        let call = self.call(call::Type::Subscribe, |call| {
            call.subscribe = Some(call::Subscribe {
                unacknowledged_tasks: self.tasks.clone(),
                unacknowledged_updates: self
                    .updates
                    .iter()
                    .map(|update| call::Update {
                        status: update.status.clone(),
                    })
                    .collect(),
            });
        });
        self.actions
            .push_back(ExecutorAction::Open { attempt, call });
        self.state = State::Opening {
            attempt,
            deadline: now + HANDSHAKE_TIMEOUT,
        };
    }

    fn call(&self, kind: call::Type, fill: impl FnOnce(&mut Call)) -> Box<Call> {
        let mut call = Call {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(kind.into()),
            ..Call::default()
        };
        fill(&mut call);
        Box::new(call)
    }

    fn end_attempt(&mut self, now: Instant, why: String) {
        self.close();
        if self.is_subscribed() {
            let lost_at = Some(now + self.recovery_timeout);
            self.contact = Contact::Away {
                since: now,
                lost_at,
            };
            self.tell(ExecutorEvent::Disconnected { why });
        } else if self.is_news(why.clone()) {
            self.tell(ExecutorEvent::Waiting { why });
        }
        self.back_off(now);
    }

    fn close(&mut self) {
        if let Some(attempt) = self.current_attempt() {
            self.actions.push_back(ExecutorAction::Close { attempt });
        }
    }

    fn back_off(&mut self, now: Instant) {
        self.state = State::BackingOff {
            until: now + self.backoff.next_delay(),
        };
    }

    fn is_news(&mut self, reason: String) -> bool {
        let news = self.told.as_ref() != Some(&reason);
        self.told = Some(reason);
        news
    }

    fn tell(&mut self, event: ExecutorEvent) {
        self.actions.push_back(ExecutorAction::Tell(event));
    }

    fn current_attempt(&self) -> Option<Attempt> {
        match &self.state {
            State::Opening { attempt, .. }
            | State::Opened { attempt, .. }
            | State::Subscribed { attempt, .. } => Some(*attempt),
            State::BackingOff { .. } => None,
        }
    }

    fn decoder_mut(&mut self) -> Option<&mut RecordDecoder> {
        match &mut self.state {
            State::Opened { decoder, .. } | State::Subscribed { decoder, .. } => {
                Some(decoder)
            }
            _ => None,
        }
    }
}

/// Will the agent never take this? Everything but a malformed call may pass: it
/// answers 503 while it recovers, and 400 "Framework cannot be found" or
/// "Executor cannot be found" shortly before it closes the stream.
fn is_final(failure: &SendFailure) -> bool {
    failure.status == Some(400) && !failure.why.contains("cannot be found")
}

#[cfg(test)]
mod tests;
