//! What goes into and comes out of a [`Subscription`](super::Subscription).

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::endpoint::{Endpoint, Masters};
use crate::scheduler::{Call, Event};
use crate::v1::{FrameworkId, FrameworkInfo, MasterInfo};

/// How patient a [`Subscription`](super::Subscription) is.
#[derive(Debug, Clone)]
pub struct SubscriptionTiming {
    /// From sending SUBSCRIBE to the SUBSCRIBED event. A busy master answers
    /// late, so the default is generous: 20 s.
    pub handshake_timeout: Duration,
    /// This many heartbeat intervals of silence end the subscription. The
    /// default of 5, the API documentation's own example, is 75 s with Mesos'
    /// default interval.
    pub missed_heartbeats: u32,
    /// The first delay between attempts: 250 ms.
    pub first_backoff: Duration,
    /// The longest delay between attempts: 15 s, which is how late we may be
    /// when the master returns after a long absence.
    pub longest_backoff: Duration,
    /// A subscription that lived for so long was a success, and the delays start
    /// anew: 5 s. One that is cut at once is not, or it would be retried at full
    /// speed for ever.
    pub stable_after: Duration,
}

impl Default for SubscriptionTiming {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(20),
            missed_heartbeats: 5,
            first_backoff: Duration::from_millis(250),
            longest_backoff: Duration::from_secs(15),
            stable_after: Duration::from_secs(5),
        }
    }
}

/// What a [`Subscription`](super::Subscription) has to know.
#[derive(Debug, Clone)]
pub struct SubscriptionConfig {
    /// Where to look for the leader.
    pub masters: Masters,
    /// The framework. With `id` set this is a failover: the master hands the
    /// framework over to us and tells the scheduler that had it "Framework
    /// failed over". (The v1 API has no `force` flag; it always forces.)
    pub framework: FrameworkInfo,
    /// Roles for which no offers are wanted, sent with every SUBSCRIBE.
    pub suppressed_roles: Vec<String>,
    /// How patient to be.
    pub timing: SubscriptionTiming,
    /// Spreads the delays; any number that differs between processes.
    pub jitter_seed: u64,
}

/// Counts successful subscriptions of one session, from 1. Calls carry the epoch
/// in which they were decided, so that one that was decided on an old master's
/// word is never sent to a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts attempts to subscribe; inputs of an earlier attempt are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// What the application hears of its subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// Subscribed: calls of this epoch are now sent.
    Connected {
        /// The new epoch.
        epoch: Epoch,
        /// The id under which the master knows the framework. To be kept: the
        /// next process has to subscribe with it.
        framework_id: String,
        /// The leading master, `host:port`.
        master: String,
        /// What the master says about itself: version, fault domain, ...
        master_info: Option<Box<MasterInfo>>,
    },
    /// The subscription ended; it is being renewed.
    Disconnected {
        /// The epoch that ended.
        epoch: Epoch,
        /// What happened.
        why: String,
    },
    /// Anything else that the master said: OFFERS, UPDATE, ... SUBSCRIBED, ERROR
    /// and HEARTBEAT are dealt with here.
    Event {
        /// The epoch in which it was said.
        epoch: Epoch,
        /// The event; its `type` is known and the field of that name is set.
        event: Box<Event>,
    },
    /// Not subscribed, and why. Told once for each change of the reason.
    Waiting {
        /// One reason for each master that was asked.
        why: String,
    },
    /// The master will never take us like this. Nothing follows.
    Failed {
        /// Why.
        error: SubscriptionError,
    },
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubscriptionError {
    /// The framework id was torn down, or its failover timeout ran out. The
    /// master remembers removed ids and refuses them; a new framework has to
    /// subscribe without one.
    #[error(
        "the framework has been removed from Mesos: it was torn down, or its failover \
         timeout passed; subscribe without a framework id to start a new one"
    )]
    FrameworkRemoved,
    /// Another process subscribed with the same framework id. Mesos lets the last
    /// one win, so whoever hears this must not subscribe again by itself: two
    /// that do would take the framework from each other for ever.
    #[error("another instance of this scheduler has taken the framework over")]
    FailedOver,
    /// The master sent another ERROR event.
    #[error("the master refuses the framework: {message}")]
    Rejected {
        /// The master's words.
        message: String,
    },
    /// The master wants a credential, or another one.
    #[error(
        "the master does not accept the credential (status 401: {body}); check the \
         principal and the secret"
    )]
    Unauthenticated {
        /// The master's words.
        body: String,
    },
    /// SUBSCRIBE was answered with a status that repeating cannot change: 400 or
    /// 403.
    #[error("the master refuses the subscription with status {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The master's words.
        body: String,
    },
}

impl SubscriptionError {
    // Mesos 1.11: both sentences stand in src/master/master.cpp.
    pub(super) fn of_error_event(message: String) -> Self {
        match message.as_str() {
            "Framework has been removed" => Self::FrameworkRemoved,
            "Framework failed over" => Self::FailedOver,
            _ => Self::Rejected { message },
        }
    }
}

/// The head of the answer to SUBSCRIBE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The `Mesos-Stream-Id` header.
    pub stream_id: Option<String>,
    /// What is said, when the status is not 200.
    pub body: String,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// POST `call` to `master` and report under `attempt`.
    Open {
        /// To be handed back with every input that comes of it.
        attempt: Attempt,
        /// Whom to ask.
        master: Endpoint,
        /// The SUBSCRIBE call.
        call: Box<Call>,
    },
    /// Drop the connection of this attempt, if there still is one.
    Close {
        /// Whose connection.
        attempt: Attempt,
    },
    /// Pass this on to the application.
    Tell(SessionEvent),
}

/// Where and how a call of the present epoch is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRoute {
    /// The present epoch.
    pub epoch: Epoch,
    /// The leading master.
    pub master: Endpoint,
    /// For the `Mesos-Stream-Id` header.
    pub stream_id: String,
    /// For the call's `framework_id`.
    pub framework_id: FrameworkId,
}
