use bytes::BytesMut;

use super::*;
use crate::recordio::encode_record;
use crate::v1::{FrameworkId, TaskStatus};

/// What happens to the machine in one step.
#[expect(
    clippy::large_enum_variant,
    reason = "a handful, and boxes would clutter the tables"
)]
enum Step {
    /// The clock reaches the time that the machine asked for.
    Due,
    /// Time passes; the machine is asked to look at the clock.
    Pass(u64),
    /// The latest attempt is answered: status, stream id or location or body.
    Answer(u16, &'static str),
    /// The stream of the latest attempt carries this event.
    Hears(Event),
    /// ... or these bytes.
    Bytes(&'static [u8]),
    /// The connection of the latest attempt ends.
    Ends(&'static str),
    /// The same inputs from the attempt before the latest.
    OldEnds,
    /// A call of this epoch was refused by a master that does not know us.
    Disowned(u64),
}
use Step::*;

fn subscribed() -> Event {
    subscribed_with_heartbeat(15.0)
}

fn subscribed_with_heartbeat(seconds: f64) -> Event {
    Event {
        r#type: Some(event::Type::Subscribed.into()),
        subscribed: Some(event::Subscribed {
            framework_id: FrameworkId {
                value: "F1".to_owned(),
            },
            heartbeat_interval_seconds: Some(seconds),
            master_info: None,
        }),
        ..Event::default()
    }
}

fn heartbeat() -> Event {
    Event {
        r#type: Some(event::Type::Heartbeat.into()),
        ..Event::default()
    }
}

fn update() -> Event {
    Event {
        r#type: Some(event::Type::Update.into()),
        update: Some(event::Update {
            status: TaskStatus::default(),
        }),
        ..Event::default()
    }
}

fn error(message: &str) -> Event {
    Event {
        r#type: Some(event::Type::Error.into()),
        error: Some(event::Error {
            message: message.to_owned(),
        }),
        ..Event::default()
    }
}

struct World {
    subscription: Subscription,
    now: Instant,
}

impl World {
    fn new(masters: &str, seed: u64) -> Self {
        let now = Instant::now();
        let config = SubscriptionConfig {
            masters: masters.parse().unwrap(),
            framework: FrameworkInfo::default(),
            suppressed_roles: Vec::new(),
            timing: SubscriptionTiming::default(),
            jitter_seed: seed,
        };
        Self {
            subscription: Subscription::new(config, now),
            now,
        }
    }

    /// Takes one step and shows what the machine wants done.
    fn step(&mut self, step: Step) -> String {
        let attempt = self.subscription.last_attempt;
        match step {
            Due => {
                let due = self.subscription.poll_timeout().expect("nothing is due");
                assert!(due >= self.now, "time would run backwards");
                // Too early changes nothing.
                self.subscription
                    .handle_timeout(due - Duration::from_nanos(1));
                assert_eq!(self.subscription.poll_action(), None);
                self.now = due;
                self.subscription.handle_timeout(due);
            }
            Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.subscription.handle_timeout(self.now);
            }
            Answer(status, text) => {
                let text = text.to_owned();
                let mut answer = super::Answer {
                    status,
                    ..super::Answer::default()
                };
                match status {
                    200 => answer.stream_id = Some(text).filter(|id| !id.is_empty()),
                    307 => answer.location = Some(text),
                    _ => answer.body = text,
                }
                self.subscription.handle_answer(self.now, attempt, answer);
            }
            Hears(event) => {
                let mut stream = BytesMut::new();
                encode_record(&event.encode_to_vec(), &mut stream);
                self.subscription.handle_data(self.now, attempt, &stream);
            }
            Bytes(bytes) => self.subscription.handle_data(self.now, attempt, bytes),
            Ends(why) => self
                .subscription
                .handle_end(self.now, attempt, why.to_owned()),
            OldEnds => {
                let old = Attempt(attempt.0 - 1);
                self.subscription
                    .handle_end(self.now, old, "old".to_owned());
                self.subscription.handle_data(self.now, old, b"no record");
                let refusal = super::Answer {
                    status: 401,
                    ..super::Answer::default()
                };
                self.subscription.handle_answer(self.now, old, refusal);
            }
            Disowned(epoch) => {
                let why = "not subscribed".to_owned();
                self.subscription
                    .handle_disowned(self.now, Epoch(epoch), why);
            }
        }
        let mut shown = Vec::new();
        while let Some(action) = self.subscription.poll_action() {
            shown.push(show(&action));
        }
        shown.join(", ")
    }
}

fn show(action: &Action) -> String {
    match action {
        Action::Open {
            attempt,
            master,
            call,
        } => {
            let id = call.framework_id.as_ref().map_or("nobody", |id| &id.value);
            let subscribe = call.subscribe.as_ref().unwrap();
            assert_eq!(subscribe.framework_info.id, call.framework_id);
            format!("open {} {master} as {id}", attempt.0)
        }
        Action::Close { attempt } => format!("close {}", attempt.0),
        Action::Tell(SessionEvent::Connected {
            epoch,
            framework_id,
            master,
            ..
        }) => {
            format!("connected {epoch} {framework_id} {master}")
        }
        Action::Tell(SessionEvent::Disconnected { epoch, why }) => {
            format!("disconnected {epoch}: {why}")
        }
        Action::Tell(SessionEvent::Event { epoch, event }) => {
            format!("event {epoch} {}", event.r#type().as_str_name())
        }
        Action::Tell(SessionEvent::Waiting { why }) => format!("waiting: {why}"),
        Action::Tell(SessionEvent::Failed { error }) => format!("failed: {error}"),
    }
}

fn check<const N: usize>(masters: &str, steps: [(Step, &str); N]) {
    let mut world = World::new(masters, 1);
    for (number, (step, expected)) in steps.into_iter().enumerate() {
        assert_eq!(world.step(step), expected, "step {number}");
    }
}

#[test]
fn a_subscription_from_first_attempt_to_second_epoch() {
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (Answer(200, "S1"), ""),
            (Hears(subscribed()), "connected 1 F1 a:5050"),
            (Hears(update()), "event 1 UPDATE"),
            (Hears(heartbeat()), ""),
            (Ends("reset"), "close 1, disconnected 1: reset"),
            (Due, "open 2 a:5050 as F1"),
            (OldEnds, ""),
            (Answer(200, "S2"), ""),
            (Hears(subscribed()), "connected 2 F1 a:5050"),
            (OldEnds, ""),
            (Hears(update()), "event 2 UPDATE"),
        ],
    );
}

#[test]
fn calls_are_routed_by_the_present_subscription_only() {
    let mut world = World::new("a:5050", 1);
    world.step(Due);
    assert_eq!(world.subscription.route(), None);
    world.step(Answer(200, "S1"));
    assert_eq!(world.subscription.route(), None);
    world.step(Hears(subscribed()));
    let route = CallRoute {
        epoch: Epoch(1),
        master: "a:5050".parse().unwrap(),
        stream_id: "S1".to_owned(),
        framework_id: FrameworkId {
            value: "F1".to_owned(),
        },
    };
    assert_eq!(world.subscription.route(), Some(&route));
    world.step(Ends("reset"));
    assert_eq!(world.subscription.route(), None);
}

#[test]
fn redirects_are_followed_at_once_and_not_for_ever() {
    check(
        "a:5050,b:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (
                Answer(307, "//c:5051/api/v1/scheduler"),
                "close 1, open 2 c:5051 as nobody",
            ),
            (Answer(200, "S1"), ""),
            (Hears(subscribed()), "connected 1 F1 c:5051"),
            // The leader first, then the list where we left it.
            (Ends("reset"), "close 2, disconnected 1: reset"),
            (Due, "open 3 c:5051 as F1"),
            (Ends("refused"), "close 3, waiting: c:5051: refused"),
            (Due, "open 4 b:5050 as F1"),
            (Answer(307, "//a:5050/x"), "close 4, open 5 a:5050 as F1"),
            (Answer(307, "//b:5050/x"), "close 5, open 6 b:5050 as F1"),
            (Answer(307, "//a:5050/x"), "close 6, open 7 a:5050 as F1"),
            (Answer(307, "//b:5050/x"), "close 7, open 8 b:5050 as F1"),
            (Answer(307, "//a:5050/x"), "close 8, open 9 a:5050 as F1"),
            (
                Answer(307, "//b:5050/x"),
                "close 9, waiting: a:5050: redirected 6 times",
            ),
            (Due, "open 10 a:5050 as F1"),
            (
                Answer(307, "/nowhere"),
                "close 10, waiting: a:5050: the redirect to \"/nowhere\" cannot be \
                 followed: it names no host",
            ),
        ],
    );
}

#[test]
fn masters_are_asked_in_turn_and_reasons_are_told_once() {
    check(
        "a:5050,b:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (Ends("refused"), "close 1, waiting: a:5050: refused"),
            (Due, "open 2 b:5050 as nobody"),
            (
                Answer(503, "No leader elected"),
                "close 2, waiting: a:5050: refused; b:5050: status 503: No leader elected",
            ),
            (Due, "open 3 a:5050 as nobody"),
            (Ends("refused"), "close 3"),
            (Due, "open 4 b:5050 as nobody"),
            (Answer(503, "No leader elected"), "close 4"),
            (Due, "open 5 a:5050 as nobody"),
            (
                Answer(503, "Master has not finished recovery"),
                "close 5, waiting: a:5050: status 503: Master has not finished recovery; \
                 b:5050: status 503: No leader elected",
            ),
            (Due, "open 6 b:5050 as nobody"),
            (Answer(200, "S1"), ""),
            (Hears(subscribed()), "connected 1 F1 b:5050"),
            (Ends("reset"), "close 6, disconnected 1: reset"),
            (Due, "open 7 b:5050 as F1"),
            (Ends("refused"), "close 7, waiting: b:5050: refused"),
        ],
    );
}

#[test]
fn silence_ends_attempts_and_subscriptions() {
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (
                Due,
                "close 1, waiting: a:5050: no answer to SUBSCRIBE within 20 s",
            ),
            (Due, "open 2 a:5050 as nobody"),
            (Pass(10), ""),
            // The answer's head alone does not buy more time.
            (Answer(200, "S1"), ""),
            (Pass(9), ""),
            (Pass(1), "close 2"),
            (Due, "open 3 a:5050 as nobody"),
            (Answer(200, "S2"), ""),
            (Hears(subscribed()), "connected 1 F1 a:5050"),
            (Pass(74), ""),
            (Hears(heartbeat()), ""),
            (Pass(74), ""),
            // Half a record is a sign of life, too.
            (Bytes(b"2\n\x08"), ""),
            (Pass(74), ""),
            (Pass(1), "close 3, disconnected 1: no heartbeat for 75 s"),
            (Due, "open 4 a:5050 as F1"),
            (Answer(200, "S3"), ""),
            (
                Hears(subscribed_with_heartbeat(0.2)),
                "connected 2 F1 a:5050",
            ),
            (Pass(1), "close 4, disconnected 2: no heartbeat for 1 s"),
            (Due, "open 5 a:5050 as F1"),
            (Answer(200, "S4"), ""),
            (
                Hears(subscribed_with_heartbeat(f64::NAN)),
                "connected 3 F1 a:5050",
            ),
            (Pass(74), ""),
            (Pass(1), "close 5, disconnected 3: no heartbeat for 75 s"),
        ],
    );
}

#[test]
fn what_the_master_says_for_good_ends_the_session() {
    let after_answer = |event: Event, expected: &str| {
        check(
            "a:5050",
            [
                (Due, "open 1 a:5050 as nobody"),
                (Answer(200, "S1"), ""),
                (Hears(event), expected),
                (Ends("the other side closed the event stream"), ""),
                (Pass(1_000_000), ""),
            ],
        );
    };
    after_answer(
        error("Framework has been removed"),
        "close 1, failed: the framework has been removed from Mesos: it was torn down, or \
         its failover timeout passed; subscribe without a framework id to start a new one",
    );
    after_answer(
        error("Role 'x/../y' is invalid"),
        "close 1, failed: the master refuses the framework: Role 'x/../y' is invalid",
    );
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (Answer(200, "S1"), ""),
            (Hears(subscribed()), "connected 1 F1 a:5050"),
            (
                Hears(error("Framework failed over")),
                "close 1, failed: another instance of this scheduler has taken the \
                 framework over",
            ),
            (Disowned(1), ""),
        ],
    );
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (
                Answer(403, "Not authorized"),
                "close 1, failed: the master refuses the subscription with status 403: Not \
                 authorized",
            ),
        ],
    );
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (
                Answer(401, "(no explanation)"),
                "close 1, failed: the master does not accept the credential (status 401: \
                 (no explanation)); check the principal and the secret",
            ),
        ],
    );
}

#[test]
fn what_is_not_mesos_is_told_and_retried() {
    let damaged = "disconnected 1: the event stream is damaged";
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (
                Answer(200, ""),
                "close 1, waiting: a:5050: the answer has no Mesos-Stream-Id header: this \
                 is not a Mesos master's scheduler API",
            ),
            (Due, "open 2 a:5050 as nobody"),
            (
                Answer(404, "no such page"),
                "close 2, waiting: a:5050: status 404: no such page",
            ),
            (Due, "open 3 a:5050 as nobody"),
            (Answer(200, "S1"), ""),
            (Hears(subscribed()), "connected 1 F1 a:5050"),
            (
                Bytes(b"<html>"),
                &format!(
                    "close 3, {damaged}: a record length must be decimal digits: got \"<\""
                ),
            ),
            (Due, "open 4 a:5050 as F1"),
            (Answer(200, "S2"), ""),
            (Hears(subscribed()), "connected 2 F1 a:5050"),
            (
                Hears(subscribed()),
                "close 4, disconnected 2: the event stream is damaged: a second SUBSCRIBED \
                 event",
            ),
            (Due, "open 5 a:5050 as F1"),
            (Answer(200, "S3"), ""),
            (
                Hears(Event {
                    subscribed: Some(event::Subscribed::default()),
                    ..subscribed()
                }),
                "close 5, waiting: a:5050: the event stream is damaged: SUBSCRIBED without \
                 a framework id",
            ),
        ],
    );
}

#[test]
fn a_master_that_disowns_us_is_subscribed_with_anew() {
    check(
        "a:5050",
        [
            (Due, "open 1 a:5050 as nobody"),
            (Answer(200, "S1"), ""),
            (Hears(subscribed()), "connected 1 F1 a:5050"),
            (Disowned(0), ""),
            (Disowned(1), "close 1, disconnected 1: not subscribed"),
            (Disowned(1), ""),
            (Due, "open 2 a:5050 as F1"),
        ],
    );
}

#[test]
fn delays_grow_until_a_subscription_has_lasted() {
    for seed in 0..50 {
        let mut world = World::new("a:5050", seed);
        let delay = |world: &mut World, lasts: Option<u64>| {
            world.step(Due);
            if let Some(seconds) = lasts {
                world.step(Answer(200, "S"));
                world.step(Hears(subscribed()));
                world.step(Pass(seconds));
            }
            world.step(Ends("reset"));
            world.subscription.poll_timeout().unwrap() - world.now
        };
        let millis = Duration::from_millis;
        for step in [250, 500, 1000, 2000, 4000] {
            let delay = delay(&mut world, None);
            assert!(
                delay >= millis(step / 2) && delay <= millis(step),
                "{delay:?}"
            );
        }
        // A subscription that is cut at once is no success.
        assert!(delay(&mut world, Some(0)) >= millis(4000));
        assert!(delay(&mut world, Some(4)) >= millis(7500));
        assert!(delay(&mut world, Some(5)) <= millis(250));
    }
}

#[test]
fn no_masters_do_not_make_the_timer_run_hot() {
    let mut world = World::new("a:5050", 1);
    world.subscription.masters = Masters::List(Vec::new());
    assert_eq!(world.step(Due), "waiting: no master is configured");
    assert!(
        world.subscription.poll_timeout().unwrap() > world.now + Duration::from_secs(60)
    );
}
