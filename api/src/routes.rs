//! Every route of the API: what it is for, who may use it, what it takes and
//! what it answers. The OpenAPI document is made from this table, and a test of
//! the scheduler holds the table equal to its router.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::configurations::{
    ChangeRefused, ConfigurationDiff, ConfigurationOptions, ServiceSpec, TargetChange,
};
use crate::debug::{DebugOffers, DebugPlans, PlanTasks, Reservations};
use crate::{
    Endpoint, EventList, Health, Message, PlanInfo, PodCommandResult, PodInstance,
    Problem, ServicePods, ServiceStatus, TaskRecord,
};

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its method. HEAD goes with GET everywhere.
    pub method: Method,
    /// Its path; `{name}` stands for one part of it.
    pub path: &'static str,
    /// What it is about.
    pub group: Group,
    /// Whom it answers.
    pub who: Who,
    /// What it is for.
    pub summary: &'static str,
    /// What it takes in its query.
    pub query: &'static [Parameter],
    /// What it takes as a body.
    pub takes: Option<Content>,
    /// What it answers, beside refusals that all routes have in common.
    pub answers: &'static [Answer],
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes something.
    Post,
    /// Puts something in the place of what was there.
    Put,
}

impl Method {
    /// As OpenAPI writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
        }
    }
}

/// What a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The service as a whole.
    Service,
    /// Plans, their phases and steps.
    Plans,
    /// Pods and their tasks.
    Pods,
    /// What the service is brought to.
    Configurations,
    /// The state store.
    State,
    /// How the scheduler sees things.
    Debug,
}

impl Group {
    /// As OpenAPI writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Group::Service => "service",
            Group::Plans => "plans",
            Group::Pods => "pods",
            Group::Configurations => "configurations",
            Group::State => "state",
            Group::Debug => "debug",
        }
    }
}

/// Whom a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    Anyone,
    /// Whoever has a token.
    Readers,
    /// Whoever has a token that may write.
    Writers,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub kind: ParameterKind,
    /// What it does.
    pub meaning: &'static str,
}

/// The values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Any text.
    Text,
    /// A whole number.
    Whole,
    /// On when it is there, except as `false`.
    Switch,
}

/// One kind of answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The HTTP status, or `default` for all others.
    pub status: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What comes with it.
    pub body: &'static [Content],
}

/// A body.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// JSON of a type.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text for people.
    Text,
    /// Anything, of this media type.
    Other(&'static str),
}

/// Names in paths, with what they stand for.
pub const PATH_NAMES: &[(&str, &str)] = &[
    (
        "command",
        "`start`, `stop`, `continue`, `interrupt`, `forceComplete` or `restart`.",
    ),
    ("file", "The file's name."),
    (
        "id",
        "A configuration's id, which is a UUID; for a diff, `target` will do.",
    ),
    ("key", "A property's name."),
    ("name", "An endpoint's name; there is one: `api`."),
    (
        "other",
        "A configuration's id, or `target` for the one that the service is brought to.",
    ),
    ("path", "The secret that a launch was given."),
    ("plan", "A plan's name, such as `deploy`."),
    ("pod", "A pod's name, such as `etcd-0`."),
];

/// The schema of a type.
fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn json<T: JsonSchema>() -> Content {
    Content::Json(of::<T>)
}

const fn text(name: &'static str, meaning: &'static str) -> Parameter {
    let kind = ParameterKind::Text;
    Parameter {
        name,
        kind,
        meaning,
    }
}

const fn switch(name: &'static str, meaning: &'static str) -> Parameter {
    let kind = ParameterKind::Switch;
    Parameter {
        name,
        kind,
        meaning,
    }
}

const fn answer(
    status: &'static str,
    meaning: &'static str,
    body: &'static [Content],
) -> Answer {
    Answer {
        status,
        meaning,
        body,
    }
}

/// A route that reads.
const fn get(
    path: &'static str,
    group: Group,
    summary: &'static str,
    answers: &'static [Answer],
) -> Route {
    Route {
        method: Method::Get,
        path,
        group,
        who: Who::Readers,
        summary,
        query: &[],
        takes: None,
        answers,
    }
}

/// A route that changes something.
const fn post(
    path: &'static str,
    group: Group,
    summary: &'static str,
    answers: &'static [Answer],
) -> Route {
    Route {
        method: Method::Post,
        who: Who::Writers,
        ..get(path, group, summary, answers)
    }
}

/// A route that puts something in the place of something else.
const fn put(
    path: &'static str,
    group: Group,
    summary: &'static str,
    answers: &'static [Answer],
) -> Route {
    Route {
        method: Method::Put,
        who: Who::Writers,
        ..get(path, group, summary, answers)
    }
}

impl Route {
    const fn asks(self, query: &'static [Parameter]) -> Self {
        Route { query, ..self }
    }

    const fn takes(self, content: Content) -> Self {
        Route {
            takes: Some(content),
            ..self
        }
    }

    /// For what shows more than readers may see.
    const fn for_writers(self) -> Self {
        let who = Who::Writers;
        Route { who, ..self }
    }

    const fn open(self) -> Self {
        let who = Who::Anyone;
        Route { who, ..self }
    }
}

const NAMES: &[Answer] = &[answer(
    "200",
    "The names, sorted.",
    &[json::<Vec<String>>()],
)];

const LIST_OF_ONE: Answer =
    answer("200", "A list with one entry.", &[json::<Vec<String>>()]);

const PLAN: &[Answer] = &[
    answer("200", "The plan is complete.", &[json::<PlanInfo>()]),
    answer("202", "The plan is not complete.", &[json::<PlanInfo>()]),
    answer("404", "There is no such plan.", &[Content::Text]),
    answer("417", "The plan has errors.", &[json::<PlanInfo>()]),
];

const PLAN_COMMAND: &[Answer] = &[
    answer("200", "Taken.", &[json::<Message>()]),
    answer("208", "Nothing to do.", &[Content::Text]),
    answer(
        "400",
        "The query or the parameters are wrong.",
        &[Content::Text],
    ),
    answer(
        "404",
        "There is no such plan, phase, step or command.",
        &[Content::Text, json::<Problem>()],
    ),
];

const NOT_IMPLEMENTED: Answer = answer(
    "501",
    "This comes with a later release; nothing was changed.",
    &[json::<Problem>()],
);

const HOW_TO_REPLACE: &[Parameter] = &[text(
    "force",
    "`true`: the member leaves before its successor has joined.",
)];

const PHASE_AND_STEP: &[Parameter] = &[
    text("phase", "A phase's name or id."),
    text("step", "A step's name or id; needs `phase`."),
];

const POD_NOT_FOUND: Answer = answer("404", "There is no such pod.", &[Content::Text]);

const POD_COMMAND: &[Answer] = &[
    answer(
        "200",
        "Taken, and stored; it is carried out next.",
        &[json::<PodCommandResult>()],
    ),
    POD_NOT_FOUND,
    answer(
        "409",
        "Not in the state that the pod is in.",
        &[json::<Problem>()],
    ),
    NOT_IMPLEMENTED,
];

const THE_SPEC: Answer = answer("200", "The configuration.", &[json::<ServiceSpec>()]);

const HOW_TO_CHANGE: &[Parameter] = &[
    switch(
        "replace",
        "The options that are sent take the place of those that were given before, \
         instead of being merged onto them.",
    ),
    switch("dry_run", "Say what would change, and change nothing."),
];

const TARGET_CHANGE: &[Answer] = &[
    answer(
        "200",
        "Taken and stored, or what would be. The header `ETag` is the target's id; \
         `If-Match` with an id makes sure that nobody else has changed it meanwhile.",
        &[json::<TargetChange>()],
    ),
    answer(
        "400",
        "The options are not understood, or wrong by themselves.",
        &[json::<ChangeRefused>()],
    ),
    answer(
        "409",
        "The change is refused, or somebody else keeps the options.",
        &[json::<ChangeRefused>()],
    ),
    answer(
        "412",
        "`If-Match` names another target than the present one.",
        &[json::<Problem>()],
    ),
    answer("413", "More than 1 MB.", &[Content::Text]),
];

const SPEC: &[Answer] = &[
    THE_SPEC,
    answer("400", "That is no id.", &[Content::Text]),
    answer("404", "There is no such configuration.", &[Content::Text]),
];

const PART_OF_PLANS: &[Parameter] = &[
    text("plan", "This plan alone."),
    text("phase", "This phase alone; needs `plan`."),
    text("step", "This step alone; needs `phase`."),
];

const EVENTS: &[Answer] = &[
    answer(
        "200",
        "Events, oldest first. Followed, each is a server-sent event with its \
         sequence as the id and an `Event` as data; an event named `missed` with a \
         `Missed` as data says that some are gone.",
        &[json::<EventList>(), Content::Other("text/event-stream")],
    ),
    answer("400", "The query is wrong.", &[json::<Problem>()]),
    answer("503", "Too many follow already.", &[json::<Problem>()]),
];

const EVENTS_QUERY: &[Parameter] = &[
    Parameter {
        name: "since",
        kind: ParameterKind::Whole,
        meaning: "Events after this sequence; without it, all that are kept. The \
                  header `Last-Event-ID` says the same, and counts more.",
    },
    text("pod", "Events of this pod alone."),
    switch(
        "follow",
        "Go on as things happen. `Accept: text/event-stream` says the same.",
    ),
];

const OFFERS: &[Answer] = &[answer(
    "200",
    "Counts and outcomes.",
    &[json::<DebugOffers>()],
)];

const SNAPSHOT: &[Answer] = &[
    answer(
        "200",
        "The database file, and behind it its SHA-256 in 32 bytes, as etcd's tools \
         take it. Headers: `Etcd-Snapshot-Revision` (it holds at least this), \
         `Etcd-Snapshot-Member`, `Etcd-Snapshot-Pod`, `Etcd-Snapshot-Version`, and a \
         file name in `Content-Disposition`. If the answer breaks off, it is none.",
        &[Content::Other("application/octet-stream")],
    ),
    answer(
        "429",
        "Others take snapshots just now; come back.",
        &[json::<Problem>()],
    ),
    answer(
        "503",
        "No member can give one now; the message says why.",
        &[json::<Problem>()],
    ),
];

/// Every route.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    get("/v1/status", Group::Service, "The whole service on one page.",
        &[answer("200", "The service.", &[json::<ServiceStatus>()])]),
    get("/v1/health", Group::Service, "The state of the service as one number.",
        &[answer("default", "The status is the number.", &[json::<Health>()])])
        .asks(&[switch("verbose", "With reasons.")]),
    get("/v1/livez", Group::Service, "Whether the scheduler lives.",
        &[answer("200", "It does.", &[Content::Text]),
          answer("503", "Its event loop hangs; restart it.", &[Content::Text])])
        .open(),
    get("/v1/events", Group::Service,
        "What happened to which pod, why, and who asked for it.", EVENTS)
        .asks(EVENTS_QUERY),
    get("/v1/endpoints", Group::Service, "The names of the endpoints.", NAMES),
    get("/v1/endpoints/{name}", Group::Service, "Where clients reach the cluster.",
        &[answer("200", "Addresses and names.", &[json::<Endpoint>()]),
          answer("404", "No such endpoint, or the cluster has not formed.",
                 &[Content::Text])]),
    get("/v1/snapshot", Group::Service,
        "A snapshot of all data, from a follower in sync.", SNAPSHOT)
        .for_writers(),
    get("/v1/metrics", Group::Service, "Metrics, as Codahale's JSON.",
        &[answer("200", "The metrics.", &[json::<serde_json::Value>()])]),
    get("/v1/metrics/prometheus", Group::Service, "Metrics, as OpenMetrics.",
        &[answer("200", "The metrics.",
                 &[Content::Other("application/openmetrics-text")])]),
    get("/v1/openapi.json", Group::Service, "This document.",
        &[answer("200", "The document.", &[json::<serde_json::Value>()])]),
    get("/artifacts/{path}/{file}", Group::Service,
        "Programs that agents fetch for a launch.",
        &[answer("200", "The file.", &[Content::Other("application/octet-stream")]),
          answer("404", "No such file, or its launch is long past.",
                 &[json::<Problem>()])])
        .open(),

    get("/v1/plans", Group::Plans, "The names of the plans.", NAMES),
    get("/v1/plans/{plan}", Group::Plans, "A plan with its phases and steps.", PLAN),
    post("/v1/plans/{plan}/{command}", Group::Plans, "A command to a plan.",
         PLAN_COMMAND)
        .asks(PHASE_AND_STEP)
        .takes(json::<std::collections::BTreeMap<String, String>>()),
    get("/v1/plan", Group::Plans, "Old name of `/v1/plans/deploy`.", PLAN),
    post("/v1/plan/{command}", Group::Plans, "Old name of `/v1/plans/deploy/{command}`.",
         PLAN_COMMAND)
        .asks(PHASE_AND_STEP)
        .takes(json::<std::collections::BTreeMap<String, String>>()),

    get("/v1/pod", Group::Pods, "The names of the pods.", NAMES),
    get("/v1/pod/status", Group::Pods, "All pods and their tasks.",
        &[answer("200", "The pods.", &[json::<ServicePods>()])]),
    get("/v1/pod/{pod}/status", Group::Pods, "A pod and its tasks.",
        &[answer("200", "The pod.", &[json::<PodInstance>()]), POD_NOT_FOUND]),
    get("/v1/pod/{pod}/info", Group::Pods, "A pod's tasks in Mesos' words.",
        &[answer("200", "The tasks.", &[json::<Vec<TaskRecord>>()]), POD_NOT_FOUND]),
    post("/v1/pod/{pod}/restart", Group::Pods,
         "Restart a pod in place, when that costs no quorum.", POD_COMMAND),
    post("/v1/pod/{pod}/replace", Group::Pods,
         "Exchange a pod's member for a new one on another agent.", POD_COMMAND)
        .asks(HOW_TO_REPLACE),
    post("/v1/pod/{pod}/reset", Group::Pods,
        "Build a member's data anew on its volume: the old member leaves, what it has \
         is set aside, and a new one joins.", POD_COMMAND),
    post("/v1/pod/{pod}/pause", Group::Pods,
         "Stop a pod's etcd and keep its container.", POD_COMMAND),
    post("/v1/pod/{pod}/resume", Group::Pods, "End a pause.", POD_COMMAND),

    get("/v1/configurations", Group::Configurations, "The ids of all configurations.",
        NAMES),
    get("/v1/configurations/targetId", Group::Configurations,
        "The id of the configuration that the service is brought to.", &[LIST_OF_ONE]),
    get("/v1/configurations/target", Group::Configurations,
        "The configuration that the service is brought to.", &[THE_SPEC]),
    put("/v1/configurations/target", Group::Configurations,
        "Change options of the service.", TARGET_CHANGE)
        .asks(HOW_TO_CHANGE)
        .takes(json::<serde_json::Value>()),
    get("/v1/configurations/target/options", Group::Configurations,
        "The options that the target was made from.",
        &[answer("200", "All options, and those that somebody gave.",
                 &[json::<ConfigurationOptions>()])]),
    get("/v1/configurations/{id}", Group::Configurations, "A configuration.", SPEC),
    get("/v1/configurations/{id}/diff/{other}", Group::Configurations,
        "What a change from one configuration to another means.",
        &[answer("200", "What differs.", &[json::<ConfigurationDiff>()]),
          answer("400", "That is no id.", &[Content::Text]),
          answer("404", "There is no such configuration.", &[Content::Text]),
          answer("409", "A configuration of another release, which this one cannot \
                         read.", &[json::<Problem>()])]),

    get("/v1/state/frameworkId", Group::State, "Who the service is to Mesos.",
        &[LIST_OF_ONE,
          answer("404", "Mesos has given no id yet.", &[Content::Text])]),
    get("/v1/state/properties", Group::State, "The names of the properties.", NAMES),
    get("/v1/state/properties/{key}", Group::State, "A property.",
        &[answer("200", "Its value.", &[json::<serde_json::Value>()]),
          answer("404", "There is no such property.", &[Content::Text])]),

    get("/v1/debug/plans", Group::Debug, "What the scheduler is busy with.",
        &[answer("200", "The plans, or (as with the SDK) an `InvalidInput`.",
                 &[json::<DebugPlans>()])])
        .asks(PART_OF_PLANS),
    get("/v1/debug/taskStatuses", Group::Debug, "The task of each step.",
        &[answer("200", "The plans, or (as with the SDK) an `InvalidInput`.",
                 &[json::<Vec<PlanTasks>>()])])
        .asks(PART_OF_PLANS),
    get("/v1/debug/reservations", Group::Debug, "Reservations of the service, by host.",
        &[answer("200", "Their ids, by host name.", &[json::<Reservations>()])]),
    get("/v2/debug/offers", Group::Debug, "What became of offers, and why.", OFFERS),
    get("/v1/debug/offers", Group::Debug, "The same as `/v2/debug/offers`.", OFFERS),
];
