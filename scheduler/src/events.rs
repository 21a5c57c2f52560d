//! What happened: a bounded list for `/v1/events`, and those who follow it.
//!
//! The event loop writes through a [`Journal`]; everyone else reads the
//! [`EventLog`]. A writer never waits for a reader: each reader has a place in
//! the one list, and who is overtaken by its end is told so.
//!
//! What is an event is decided in `narrator`, by comparing two pictures of the
//! service. Between two pictures lies one turn of the loop, so of a task that
//! changes twice within milliseconds, the second change is told.

mod narrator;
#[cfg(test)]
mod narrator_tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_api::events::{Event, What};
use etcd_launch::PodIndex;
use etcd_planner::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::commands::{Actor, CommandRefusal};
use crate::published::Published;
use narrator::Narrator;

/// Days of a quiet service, an hour of a restless one. With [`LONGEST_TEXT`] it
/// also bounds the memory: about 0.4 MB as a rule, 3 MB at worst.
pub const EVENTS_KEPT: usize = 1000;

/// Mesos passes on messages of any length, and the rest of a long one stands in
/// the scheduler's log. Bytes.
const LONGEST_TEXT: usize = 1024;

/// Connections that stay open: a few people and dashboards. The API as a whole
/// takes 256 connections, which followers must not use up.
const FOLLOWERS: usize = 32;

/// Events that a follower takes at once, so that one far behind does not copy
/// the whole list.
const BATCH: usize = 100;

/// Milliseconds to sequence numbers: as long as there are fewer than a thousand
/// events in a millisecond, those of a later life of the scheduler are higher.
/// Numbers stay below 2^53 (until the year 2255), so every JSON reader can hold
/// them.
const SEQUENCES_A_MILLISECOND: u64 = 1000;

/// The newest events.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    followers: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept {
    /// Without a gap between their sequences.
    events: VecDeque<Arc<Event>>,
    next: u64,
}

/// Something that happened, before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The pod, if it is about one.
    pub(crate) pod: Option<PodIndex>,
    /// What.
    pub(crate) what: What,
    /// Why, as far as known.
    pub(crate) why: Option<String>,
    /// Who asked for it, as far as known.
    pub(crate) asked_by: Option<Actor>,
}

/// Events from some place in the list on.
#[derive(Debug)]
pub struct Page {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// The oldest that is kept.
    pub oldest: Option<u64>,
    /// The newest that is kept.
    pub newest: Option<u64>,
    /// Whether events between the asked place and `events` are gone.
    pub missed: bool,
}

impl EventLog {
    /// The list of a scheduler that starts now.
    pub fn starting(version: &str, now: Timestamp) -> Self {
        let first = now.0.saturating_mul(SEQUENCES_A_MILLISECOND);
        let log = EventLog {
            kept: Mutex::new(Kept {
                events: VecDeque::new(),
                next: first,
            }),
            newest: watch::Sender::new(first),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        };
        let what = What::SchedulerStarted {
            version: version.to_owned(),
        };
        log.add(vec![Told::of_service(what)], now);
        log
    }

    /// Numbers and keeps what happened, and wakes those who follow.
    fn add(&self, told: Vec<Told>, at: Timestamp) {
        if told.is_empty() {
            return;
        }
        let mut kept = self.kept();
        for told in told {
            let event = told.into_event(kept.next, at);
            tracing::debug!(event.sequence, text = event.text, "event");
            kept.next += 1;
            if kept.events.len() == EVENTS_KEPT {
                kept.events.pop_front();
            }
            kept.events.push_back(Arc::new(event));
        }
        self.newest.send_replace(kept.next);
    }

    /// The events after a sequence, or all without one; at most `limit`.
    pub fn after(&self, after: Option<u64>, limit: usize) -> Page {
        let kept = self.kept();
        let oldest = kept.events.front().map(|event| event.sequence);
        let newest = kept.events.back().map(|event| event.sequence);
        // Whoever is ahead of us was told by another life of the scheduler,
        // before the clock was set back: nothing is known of what they know.
        let (missed, skipped) = match (after, oldest) {
            (Some(after), Some(oldest)) => {
                let next = after.saturating_add(1);
                let is_known = next >= oldest && after < kept.next;
                let skipped = next.saturating_sub(oldest);
                (!is_known, if is_known { skipped } else { 0 })
            }
            _ => (false, 0),
        };
        // No more are skipped than are kept, which is a thousand.
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Page {
            events: kept
                .events
                .iter()
                .skip(skipped)
                .take(limit)
                .cloned()
                .collect(),
            oldest,
            newest,
            missed,
        }
    }

    /// A place from which to follow, from after a sequence on or from the oldest
    /// event. None if there are too many followers.
    pub fn follow(self: &Arc<Self>, after: Option<u64>) -> Option<Follower> {
        let place = Arc::clone(&self.followers).try_acquire_owned().ok()?;
        Some(Follower {
            log: Arc::clone(self),
            newest: self.newest.subscribe(),
            after,
            _place: place,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing here can be left half done that would matter.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who wants to be told. It holds a place in the list and no events,
/// so it costs the same however slow it is.
#[derive(Debug)]
pub struct Follower {
    log: Arc<EventLog>,
    newest: watch::Receiver<u64>,
    after: Option<u64>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// Up to which sequence it has been told.
    pub fn told_up_to(&self) -> Option<u64> {
        self.after
    }

    /// The next events. Waits until there are some.
    pub async fn next(&mut self) -> Page {
        loop {
            self.newest.borrow_and_update();
            let page = self.log.after(self.after, BATCH);
            if let Some(last) = page.events.last() {
                self.after = Some(last.sequence);
                return page;
            }
            if self.newest.changed().await.is_err() {
                // We hold the log ourselves, so its sender lives.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The event loop's end: it tells what happened and who asked.
#[derive(Debug)]
pub struct Journal {
    log: Arc<EventLog>,
    narrator: Narrator,
}

impl Journal {
    /// Writes to this log.
    pub fn new(log: Arc<EventLog>) -> Self {
        Journal {
            log,
            narrator: Narrator::default(),
        }
    }

    /// Takes in what differs between the pictures before and after a turn.
    pub fn note_turn(&mut self, before: &Published, after: &Published) {
        let told = self.narrator.tell(before, after);
        self.log.add(told, after.at);
    }

    /// Takes in that somebody asked for something, and what was answered.
    pub fn note_request(
        &mut self,
        by: &Actor,
        request: &str,
        pod: Option<PodIndex>,
        answer: &Result<(), CommandRefusal>,
        at: Timestamp,
    ) {
        if let (Some(pod), Ok(())) = (pod, answer) {
            self.narrator.note_asker(pod, by.clone());
        }
        let told = Told {
            pod,
            what: What::OperatorRequest {
                request: request.to_owned(),
                taken: answer.is_ok(),
            },
            why: answer.as_ref().err().map(ToString::to_string),
            asked_by: Some(by.clone()),
        };
        self.log.add(vec![told], at);
    }
}

impl Told {
    fn of_service(what: What) -> Self {
        Told {
            pod: None,
            what,
            why: None,
            asked_by: None,
        }
    }

    fn of_pod(pod: PodIndex, what: What) -> Self {
        Told {
            pod: Some(pod),
            ..Told::of_service(what)
        }
    }

    fn because(mut self, why: Option<impl Into<String>>) -> Self {
        self.why = why.map(Into::into);
        self
    }

    fn into_event(self, sequence: u64, at: Timestamp) -> Event {
        Event {
            sequence,
            at_ms: at.0,
            pod: self.pod.map(|pod| pod.to_string()),
            text: shortened(narrator::sentence(self.pod, &self.what)),
            what: self.what,
            why: self.why.map(shortened),
            asked_by: self.asked_by.map(|by| by.to_string()),
        }
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_763_700_000_000);
    const FIRST: u64 = 1_763_700_000_000_000;

    fn log_of(events: usize) -> Arc<EventLog> {
        let log = Arc::new(EventLog::starting("0.1.0", START));
        add(&log, events - 1);
        log
    }

    fn add(log: &EventLog, events: usize) {
        for _ in 0..events {
            log.add(vec![Told::of_service(What::SubscriptionLost)], START);
        }
    }

    fn sequences(page: &Page) -> Vec<u64> {
        page.events
            .iter()
            .map(|event| event.sequence - FIRST)
            .collect()
    }

    #[test]
    fn places_in_the_list() {
        #[track_caller]
        fn check(kept: usize, after: Option<u64>, expected: &[u64], missed: bool) {
            let page = log_of(kept).after(after, 3);
            assert_eq!(sequences(&page), expected, "{kept} {after:?}");
            assert_eq!(page.missed, missed, "{kept} {after:?}");
        }
        check(1, None, &[0], false);
        check(5, None, &[0, 1, 2], false);
        check(5, Some(FIRST), &[1, 2, 3], false);
        check(5, Some(FIRST + 3), &[4], false);
        check(5, Some(FIRST + 4), &[], false);
        check(5, Some(FIRST - 1), &[0, 1, 2], false);
        // Of an earlier life, and of a later one by another clock.
        check(5, Some(FIRST - 2), &[0, 1, 2], true);
        check(5, Some(0), &[0, 1, 2], true);
        check(5, Some(FIRST + 5), &[0, 1, 2], true);
        check(5, Some(u64::MAX), &[0, 1, 2], true);
        // Seven were pushed out.
        check(EVENTS_KEPT + 7, None, &[7, 8, 9], false);
        check(EVENTS_KEPT + 7, Some(FIRST + 6), &[7, 8, 9], false);
        check(EVENTS_KEPT + 7, Some(FIRST + 5), &[7, 8, 9], true);
    }

    #[test]
    fn the_list_is_bounded_and_so_are_texts() {
        let log = log_of(3 * EVENTS_KEPT);
        let page = log.after(None, usize::MAX);
        assert_eq!(page.events.len(), EVENTS_KEPT);
        assert_eq!(page.newest, page.oldest.map(|oldest| oldest + 999));
        let told =
            Told::of_service(What::SubscriptionLost).because(Some("ü".repeat(5000)));
        let why = told.into_event(1, START).why.unwrap();
        assert_eq!(why.len(), LONGEST_TEXT + 4);
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_that_it_missed_events() {
        let log = log_of(2);
        let mut follower = log.follow(Some(FIRST)).unwrap();
        assert_eq!(sequences(&follower.next().await), [1]);
        add(&log, 2 * EVENTS_KEPT);
        let page = follower.next().await;
        assert!(page.missed);
        assert_eq!(sequences(&page)[0], EVENTS_KEPT as u64 + 2);
        let mut told = page.events.len();
        while follower.told_up_to() != page.newest {
            let page = follower.next().await;
            assert!(!page.missed);
            told += page.events.len();
        }
        assert_eq!(told, EVENTS_KEPT);
    }

    #[tokio::test]
    async fn followers_wait_and_are_bounded() {
        let log = log_of(1);
        let mut followers: Vec<Follower> = (0..FOLLOWERS)
            .map(|_| log.follow(Some(FIRST)).unwrap())
            .collect();
        assert!(log.follow(None).is_none());
        let mut follower = followers.pop().unwrap();
        let waiting = tokio::spawn(async move { follower.next().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        add(&log, 1);
        assert_eq!(sequences(&waiting.await.unwrap()), [1]);
        // Its place is free again.
        assert!(log.follow(None).is_some());
    }
}
