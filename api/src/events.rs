//! `/v1/events`: what happened, to which pod, why, and who asked for it.
//!
//! Events are for people and for programs that want to be told. They are kept
//! in the scheduler's memory alone, and not for long: what must be known for
//! good is in `/v1/status` and `/v1/plans`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// Oldest first.
    pub events: Vec<Event>,
    /// The sequence of the oldest event that is still kept, of any pod.
    pub oldest: Option<u64>,
    /// The sequence of the newest event, of any pod.
    pub newest: Option<u64>,
    /// Whether events between `?since=` and `oldest` were dropped, or lost with
    /// a restart of the scheduler.
    pub missed: bool,
}

/// The data of the server-sent event `missed`: the reader was too slow, or away
/// for too long, and events between the two are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    /// The sequence up to which the reader had been told.
    pub after: u64,
    /// The sequence of the next event that it will be told.
    pub next: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// One more than that of the event before. A restart of the scheduler makes
    /// it leap, and only forwards as long as the host's clock is not set back.
    pub sequence: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The pod, if it is about one.
    pub pod: Option<String>,
    /// What happened.
    pub what: What,
    /// The same in one sentence for people.
    pub text: String,
    /// Why, as far as it is known, in the words of whoever knows it: Mesos, the
    /// executor, etcd, the scheduler.
    pub why: Option<String>,
    /// Who asked for it: the name of a token, `anonymous` where the API asks
    /// for none, or null if nobody did.
    pub asked_by: Option<String>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// The scheduler started. Events of its earlier life are gone.
    SchedulerStarted {
        /// The scheduler's version.
        version: String,
    },
    /// A Mesos master has taken the scheduler (back).
    SubscriptionGained {
        /// Who the service is to Mesos.
        framework_id: Option<String>,
    },
    /// The subscription ended.
    SubscriptionLost,
    /// Somebody asked for something through the API.
    OperatorRequest {
        /// What was asked for.
        request: String,
        /// Whether it was taken on; if not, nothing was changed.
        taken: bool,
    },
    /// The pod was given a place on an agent; its resources are being reserved.
    PlacementChosen {
        /// The agent.
        agent_id: String,
        /// Its host name.
        host: String,
    },
    /// The place could not be had.
    ReservationFailed {
        /// The agent.
        agent_id: String,
        /// Its host name.
        host: String,
    },
    /// A place that the pod had is gone or given up.
    PlacementLost {
        /// The agent.
        agent_id: String,
        /// Its host name.
        host: String,
    },
    /// A task was launched for the pod.
    Launched {
        /// The task.
        task_id: String,
        /// The host name of its agent.
        host: String,
    },
    /// The pod's task is to stop.
    StopAsked {
        /// The task.
        task_id: String,
    },
    /// Mesos told a new state of a task, or the executor another phase.
    TaskStatus {
        /// The task.
        task_id: String,
        /// Mesos' state, such as `TASK_RUNNING`.
        state: String,
        /// What the executor reported with it.
        reported: Option<String>,
    },
    /// The cluster has a new member. A founder votes at once, others learn
    /// first.
    MemberAdded {
        /// Its member id.
        member_id: String,
    },
    /// A learner was given a vote.
    MemberPromoted {
        /// Its member id.
        member_id: String,
    },
    /// The pod begins anew with another member. The present one goes on under a name of
    /// its own, and leaves once its successor has joined.
    MemberLeaves {
        /// That name.
        goes_on_as: String,
    },
    /// The member's data is gone for good; it will be removed.
    MemberLost {
        /// Its member id.
        member_id: String,
    },
    /// The cluster has one member less.
    MemberRemoved {
        /// Its member id.
        member_id: String,
    },
    /// Members name another leader. That they name none is no event of its own:
    /// the pods wait then, and say so.
    LeaderMoved {
        /// The pod (or member id, if it is none of ours) that led before, as far
        /// as this scheduler saw one.
        from: Option<String>,
        /// The one that leads now.
        to: String,
    },
    /// The pod (or, without one, the service) waits for something else. What
    /// comes and goes while nothing else happens is told once.
    WaitingChanged {
        /// See the codes of `/v1/status`; null if it waits no more.
        code: Option<String>,
    },
    /// The pod's database was defragmented.
    Defragmented {
        /// Size of its file before.
        bytes_before: u64,
        /// The same after.
        bytes_after: u64,
    },
    /// The ids of a new cluster's founders are fixed.
    ClusterForming {
        /// The cluster's id.
        cluster_id: String,
    },
    /// The cluster had quorum for the first time.
    ClusterFormed {
        /// The cluster's id.
        cluster_id: String,
    },
    /// The birth of a cluster failed; it starts over.
    BirthAbandoned {
        /// The id that it would have had.
        cluster_id: String,
    },
    /// Something that a newer scheduler knows of and this reader does not.
    #[serde(other, skip_serializing)]
    #[schemars(skip)]
    Unknown,
}
