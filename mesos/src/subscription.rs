//! A scheduler's subscription as a machine without I/O, clock or randomness.
//!
//! The contract is that of quinn-proto's `Connection`. Whoever drives the
//! machine
//!
//! 1. hands in what happened through the `handle_...` functions, with the time;
//! 2. after each of them drains [`Subscription::poll_action`] until `None` and
//!    does what it says, in order;
//! 3. calls [`Subscription::handle_timeout`] at [`Subscription::poll_timeout`].
//!
//! Time must not run backwards. A call that comes too early, or belongs to an
//! attempt that is over, changes nothing. [`crate::SchedulerSession`] is the
//! driver over tokio and reqwest.
//!
//! What the machine knows of Mesos: only the leading master takes SUBSCRIBE, the
//! others redirect (307) or say that there is no leader (503). The answer is a
//! RecordIO stream that starts with SUBSCRIBED; its `Mesos-Stream-Id` has to be
//! sent with every other call. The master sends a HEARTBEAT at an interval that
//! SUBSCRIBED names, so that silence means a dead connection. ERROR is final.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use prost::Message;

use crate::backoff::Backoff;
use crate::endpoint::{Endpoint, Masters};
use crate::recordio::{DEFAULT_MAX_RECORD_BYTES, RecordDecoder};
use crate::scheduler::{Call, Event, call, event};
use crate::v1::FrameworkInfo;

mod interface;

pub use interface::{
    Action, Answer, Attempt, CallRoute, Epoch, SessionEvent, SubscriptionConfig,
    SubscriptionError, SubscriptionTiming,
};

/// More hops than any sane cluster has: a follower knows the leader directly.
/// After that we back off, for two masters may name each other in an election.
const MAX_REDIRECTS: u32 = 5;

/// Mesos' own interval (DEFAULT_HEARTBEAT_INTERVAL), for a master that names
/// none.
const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// An empty list of masters cannot change; this only keeps the timer from
/// running hot.
const A_LONG_TIME: Duration = Duration::from_secs(86_400);

/// The machine. See the module's documentation for how to drive it.
#[derive(Debug)]
pub struct Subscription {
    masters: Masters,
    framework: FrameworkInfo,
    suppressed_roles: Vec<String>,
    timing: SubscriptionTiming,
    backoff: Backoff,
    state: State,
    last_attempt: Attempt,
    last_epoch: Epoch,
    /// The master in `masters` to be asked next.
    turn: usize,
    /// The last leader, to be asked before the list after a lost connection: most
    /// of the time the master is still there.
    last_leader: Option<Endpoint>,
    /// Why each master that was asked since the last success did not take us.
    refusals: BTreeMap<Endpoint, String>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum State {
    /// Nothing is open; the next attempt is due.
    BackingOff {
        until: Instant,
    },
    /// SUBSCRIBE is sent, nothing is answered.
    Opening {
        attempt: Attempt,
        master: Endpoint,
        redirects: u32,
        deadline: Instant,
    },
    /// Answered with 200; SUBSCRIBED is awaited.
    Opened {
        attempt: Attempt,
        stream: Stream,
        deadline: Instant,
    },
    Subscribed {
        attempt: Attempt,
        stream: Stream,
        route: CallRoute,
        since: Instant,
        silence: Duration,
        deadline: Instant,
    },
    Failed,
}

#[derive(Debug)]
struct Stream {
    master: Endpoint,
    stream_id: String,
    decoder: RecordDecoder,
}

impl Subscription {
    /// A machine whose first attempt is due at once.
    pub fn new(config: SubscriptionConfig, now: Instant) -> Self {
        let timing = config.timing;
        Self {
            masters: config.masters,
            framework: config.framework,
            suppressed_roles: config.suppressed_roles,
            backoff: Backoff::new(
                timing.first_backoff,
                timing.longest_backoff,
                config.jitter_seed,
            ),
            timing,
            state: State::BackingOff { until: now },
            last_attempt: Attempt(0),
            last_epoch: Epoch(0),
            turn: 0,
            last_leader: None,
            refusals: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// How to send calls now; `None` while not subscribed.
    pub fn route(&self) -> Option<&CallRoute> {
        match &self.state {
            State::Subscribed { route, .. } => Some(route),
            _ => None,
        }
    }

    /// True once [`SessionEvent::Failed`] was told: nothing happens any more.
    pub fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::BackingOff { until } => Some(*until),
            State::Opening { deadline, .. }
            | State::Opened { deadline, .. }
            | State::Subscribed { deadline, .. } => Some(*deadline),
            State::Failed => None,
        }
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match &self.state {
            State::BackingOff { .. } => self.open_next(now),
            State::Opening { .. } | State::Opened { .. } => {
                let patience = self.timing.handshake_timeout.as_secs_f64();
                self.end_attempt(
                    now,
                    format!("no answer to SUBSCRIBE within {patience} s"),
                );
            }
            State::Subscribed { silence, .. } => {
                let silence = silence.as_secs_f64();
                self.end_attempt(now, format!("no heartbeat for {silence} s"));
            }
            State::Failed => {}
        }
    }

    /// The master answered SUBSCRIBE.
    pub fn handle_answer(&mut self, now: Instant, attempt: Attempt, answer: Answer) {
        let State::Opening {
            attempt: current,
            master,
            redirects,
            deadline,
        } = &self.state
        else {
            return;
        };
        if *current != attempt {
            return;
        }
        match (answer.status, answer.stream_id) {
            (200, Some(stream_id)) => {
                let decoder = RecordDecoder::new(DEFAULT_MAX_RECORD_BYTES);
                let stream = Stream {
                    master: master.clone(),
                    stream_id,
                    decoder,
                };
                self.state = State::Opened {
                    attempt,
                    stream,
                    deadline: *deadline,
                };
            }
            (200, None) => self.end_attempt(
                now,
                "the answer has no Mesos-Stream-Id header: this is not a Mesos master's \
                 scheduler API"
                    .to_owned(),
            ),
            (307, _) => {
                let location = answer.location.unwrap_or_default();
                let redirects = *redirects + 1;
                match master.redirected(&location) {
                    Ok(_) if redirects > MAX_REDIRECTS => {
                        self.end_attempt(now, format!("redirected {redirects} times"));
                    }
                    Ok(leader) => self.follow(now, leader, redirects),
                    Err(error) => self.end_attempt(now, error.to_string()),
                }
            }
            (401, _) => {
                self.fail(SubscriptionError::Unauthenticated { body: answer.body });
            }
            (status @ (400 | 403), _) => {
                self.fail(SubscriptionError::Refused {
                    status,
                    body: answer.body,
                });
            }
            (status, _) => {
                self.end_attempt(now, format!("status {status}: {}", answer.body));
            }
        }
    }

    /// A piece of the stream arrived.
    pub fn handle_data(&mut self, now: Instant, attempt: Attempt, chunk: &[u8]) {
        if self.current_attempt() != Some(attempt) {
            return;
        }
        if let State::Subscribed {
            deadline, silence, ..
        } = &mut self.state
        {
            *deadline = now + *silence;
        }
        if let Some(stream) = self.stream_mut() {
            stream.decoder.feed(chunk);
        }
        // An event may end the subscription, and with it the stream.
        while let Some(stream) = self.stream_mut() {
            let event = match stream.decoder.next_record() {
                Ok(None) => return,
                Ok(Some(record)) => {
                    Event::decode(record).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match event {
                Ok(event) => self.handle_event(now, attempt, event),
                Err(why) => {
                    self.end_attempt(now, format!("the event stream is damaged: {why}"));
                }
            }
        }
    }

    /// The connection could not be made, broke, or was closed by the master.
    pub fn handle_end(&mut self, now: Instant, attempt: Attempt, why: String) {
        if self.current_attempt() == Some(attempt) {
            self.end_attempt(now, why);
        }
    }

    /// The answer to a call of `epoch` showed that the master does not know the
    /// subscription any more, though the stream is still open.
    pub fn handle_disowned(&mut self, now: Instant, epoch: Epoch, why: String) {
        if self.route().is_some_and(|route| route.epoch == epoch) {
            self.end_attempt(now, why);
        }
    }

    fn handle_event(&mut self, now: Instant, attempt: Attempt, event: Event) {
        match event.r#type() {
            event::Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                self.fail(SubscriptionError::of_error_event(message));
            }
            event::Type::Subscribed => {
                if let Some(subscribed) = event.subscribed {
                    self.handle_subscribed(now, attempt, subscribed);
                }
            }
            event::Type::Heartbeat | event::Type::Unknown => {}
            _ => {
                if let Some(epoch) = self.route().map(|route| route.epoch) {
                    self.tell(SessionEvent::Event {
                        epoch,
                        event: Box::new(event),
                    });
                }
            }
        }
    }

    fn handle_subscribed(
        &mut self,
        now: Instant,
        attempt: Attempt,
        subscribed: event::Subscribed,
    ) {
        if !matches!(self.state, State::Opened { .. }) {
            let why = "the event stream is damaged: a second SUBSCRIBED event";
            return self.end_attempt(now, why.to_owned());
        }
        // A missing field decodes as its default; this one would be kept for ever.
        if subscribed.framework_id.value.is_empty() {
            let why = "the event stream is damaged: SUBSCRIBED without a framework id";
            return self.end_attempt(now, why.to_owned());
        }
        let placeholder = State::BackingOff { until: now };
        let State::Opened { stream, .. } =
            std::mem::replace(&mut self.state, placeholder)
        else {
            return;
        };
        self.last_epoch = Epoch(self.last_epoch.0 + 1);
        self.refusals.clear();
        self.framework.id = Some(subscribed.framework_id.clone());
        let route = CallRoute {
            epoch: self.last_epoch,
            master: stream.master.clone(),
            stream_id: stream.stream_id.clone(),
            framework_id: subscribed.framework_id.clone(),
        };
        self.tell(SessionEvent::Connected {
            epoch: self.last_epoch,
            framework_id: subscribed.framework_id.value,
            master: stream.master.to_string(),
            master_info: subscribed.master_info.map(Box::new),
        });
        let silence = heartbeat_interval(subscribed.heartbeat_interval_seconds)
            .saturating_mul(self.timing.missed_heartbeats.max(1));
        self.state = State::Subscribed {
            attempt,
            stream,
            route,
            since: now,
            silence,
            deadline: now + silence,
        };
    }

    fn open_next(&mut self, now: Instant) {
        if let Some(leader) = self.last_leader.take() {
            return self.open(now, leader, 0);
        }
        let endpoints = self.masters.endpoints();
        let Some(master) = endpoints.get(self.turn % endpoints.len().max(1)).cloned()
        else {
            self.tell(SessionEvent::Waiting {
                why: "no master is configured".to_owned(),
            });
            self.state = State::BackingOff {
                until: now + A_LONG_TIME,
            };
            return;
        };
        self.turn = self.turn.wrapping_add(1);
        self.open(now, master, 0);
    }

    /// A redirect costs no delay: the master that sent it knows the leader.
    fn follow(&mut self, now: Instant, leader: Endpoint, redirects: u32) {
        self.close();
        self.open(now, leader, redirects);
    }

    fn open(&mut self, now: Instant, master: Endpoint, redirects: u32) {
        self.last_attempt = Attempt(self.last_attempt.0 + 1);
        let attempt = self.last_attempt;
        let call = Call {
            framework_id: self.framework.id.clone(),
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(call::Subscribe {
                framework_info: self.framework.clone(),
                suppressed_roles: self.suppressed_roles.clone(),
                offer_constraints: None,
            }),
            ..Call::default()
        };
        self.actions.push_back(Action::Open {
            attempt,
            master: master.clone(),
            call: Box::new(call),
        });
        let deadline = now + self.timing.handshake_timeout;
        self.state = State::Opening {
            attempt,
            master,
            redirects,
            deadline,
        };
    }

    /// Ends what is open, says why, and backs off.
    fn end_attempt(&mut self, now: Instant, why: String) {
        self.close();
        let until = State::BackingOff { until: now };
        match std::mem::replace(&mut self.state, until) {
            State::Opening { master, .. } => self.note_refusal(master, why),
            State::Opened { stream, .. } => self.note_refusal(stream.master, why),
            State::Subscribed { route, since, .. } => {
                if now.saturating_duration_since(since) >= self.timing.stable_after {
                    self.backoff.reset();
                }
                self.last_leader = Some(route.master);
                self.tell(SessionEvent::Disconnected {
                    epoch: route.epoch,
                    why,
                });
            }
            State::BackingOff { .. } | State::Failed => {}
        }
        self.state = State::BackingOff {
            until: now + self.backoff.next_delay(),
        };
    }

    /// Remembers why a master did not take us, and tells when that is news.
    fn note_refusal(&mut self, master: Endpoint, why: String) {
        let listed = self.masters.endpoints();
        // Leaders that were found by redirects come and go; only the latest one
        // is worth a word.
        self.refusals
            .retain(|known, _| *known == master || listed.contains(known));
        if self.refusals.get(&master) == Some(&why) {
            return;
        }
        self.refusals.insert(master, why);
        let reasons: Vec<String> = self
            .refusals
            .iter()
            .map(|(master, why)| format!("{master}: {why}"))
            .collect();
        self.tell(SessionEvent::Waiting {
            why: reasons.join("; "),
        });
    }

    fn fail(&mut self, error: SubscriptionError) {
        self.close();
        self.state = State::Failed;
        self.tell(SessionEvent::Failed { error });
    }

    fn close(&mut self) {
        if let Some(attempt) = self.current_attempt() {
            self.actions.push_back(Action::Close { attempt });
        }
    }

    fn tell(&mut self, event: SessionEvent) {
        self.actions.push_back(Action::Tell(event));
    }

    fn current_attempt(&self) -> Option<Attempt> {
        match &self.state {
            State::Opening { attempt, .. }
            | State::Opened { attempt, .. }
            | State::Subscribed { attempt, .. } => Some(*attempt),
            State::BackingOff { .. } | State::Failed => None,
        }
    }

    fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            State::Opened { stream, .. } | State::Subscribed { stream, .. } => {
                Some(stream)
            }
            _ => None,
        }
    }
}

/// Mesos sends 15.0; anything that is not a sensible number counts as that.
fn heartbeat_interval(seconds: Option<f64>) -> Duration {
    seconds
        .filter(|seconds| *seconds > 0.0 && *seconds < 86_400.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(DEFAULT_HEARTBEAT_INTERVAL)
}

#[cfg(test)]
mod tests;
