//! What a command comes down to: mostly one request and a way to show the answer.

use std::collections::BTreeMap;

use crate::arguments::{
    Command, ConfigCommand, DebugCommand, DebugPodCommand, DefragmentArguments,
    EventsArguments, MemberCommand, PlanCommand, PlanPart, PodCommand, PodTasks,
    SaveArguments, SnapshotCommand, StateCommand, UpdateCommand, UpdatePart, UpdateStart,
    WatchArguments,
};
use crate::request::Request;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// One request, whose answer is shown.
    Ask(Request, Show),
    /// Health of members and cluster, and the exit code that says it.
    Health,
    /// Everything on one page.
    Status,
    /// The table of members.
    Members,
    /// What happened.
    Events(EventsArguments),
    /// A snapshot into a file.
    SaveSnapshot(SaveArguments),
    /// Other options for the service.
    Update(UpdateStart),
    /// The options that it was given, or all.
    Describe {
        /// All.
        all: bool,
    },
    /// A plan until it is complete.
    Watch(WatchArguments),
    /// Versions.
    Version,
}

/// How an answer is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// As it came; JSON with two spaces.
    Raw,
    /// A plan of this name as a tree.
    Plan(String),
    /// All pods as a tree.
    Pods,
    /// One pod as a tree.
    Pod,
    /// What differs between two configurations.
    Diff,
    /// The SDK's sentence on a plan command.
    Sentence {
        /// What was told something: `"deploy" plan`.
        subject: String,
        /// What is done to it now: `paused`.
        done: &'static str,
    },
}

/// What a command comes down to.
pub(crate) fn of(command: Command) -> Action {
    match command {
        Command::Status => Action::Status,
        Command::Health => Action::Health,
        Command::Member(MemberCommand::List) => Action::Members,
        Command::Events(arguments) => Action::Events(arguments),
        Command::Snapshot(SnapshotCommand::Save(arguments)) => {
            Action::SaveSnapshot(arguments)
        }
        Command::Version => Action::Version,
        Command::Plan(PlanCommand::Watch(arguments)) => Action::Watch(arguments),
        Command::Plan(command) => plan(command),
        Command::Pod(command) => pod(command),
        Command::Endpoints { name: None } => raw(Request::get(&["v1", "endpoints"])),
        Command::Endpoints { name: Some(name) } => {
            raw(Request::get(&["v1", "endpoints", &name]))
        }
        Command::Config(command) | Command::Debug(DebugCommand::Config(command)) => {
            config(&command)
        }
        Command::Debug(command) => debug(command),
        Command::Describe { all } => Action::Describe { all },
        Command::Update(UpdateCommand::Start(arguments)) => Action::Update(arguments),
        Command::Update(command) => update(command),
        Command::Defragment(arguments) => defragment(&arguments),
    }
}

/// The plan that takes changes through the members. Until there is one, a scheduler
/// takes the name for that of the deployment.
const UPDATE: &str = "update";

fn update(command: UpdateCommand) -> Action {
    let part = |UpdatePart { phase, step }| PlanPart {
        plan: UPDATE.to_owned(),
        phase,
        step,
    };
    plan(match command {
        UpdateCommand::Start(arguments) => return Action::Update(arguments),
        UpdateCommand::Status => PlanCommand::Status {
            plan: UPDATE.to_owned(),
        },
        UpdateCommand::Pause(what) => PlanCommand::Pause(part(what)),
        UpdateCommand::Resume(what) => PlanCommand::Resume(part(what)),
        UpdateCommand::ForceComplete(what) => PlanCommand::ForceComplete(part(what)),
        UpdateCommand::ForceRestart(what) => PlanCommand::ForceRestart(part(what)),
    })
}

/// The plan that looks after databases.
const MAINTENANCE: &str = "maintenance";

fn defragment(arguments: &DefragmentArguments) -> Action {
    let mut parameters = BTreeMap::new();
    if let Some(pod) = &arguments.pod {
        parameters.insert("POD", pod.clone());
    }
    if arguments.free_space {
        parameters.insert("FREE_SPACE", true.to_string());
    }
    if let Some(count) = arguments.keep_revisions {
        parameters.insert("KEEP_REVISIONS", count.to_string());
    }
    let body = serde_json::json!(parameters).to_string();
    Action::Ask(
        Request::post(&["v1", "plans", MAINTENANCE, "start"]).with_body(body),
        Show::Sentence {
            subject: format!("\"{MAINTENANCE}\" plan"),
            done: "started",
        },
    )
}

fn raw(request: Request) -> Action {
    Action::Ask(request, Show::Raw)
}

fn plan(command: PlanCommand) -> Action {
    match command {
        PlanCommand::List => raw(Request::get(&["v1", "plans"])),
        PlanCommand::Status { plan } => {
            Action::Ask(Request::get(&["v1", "plans", &plan]), Show::Plan(plan))
        }
        PlanCommand::Watch(arguments) => Action::Watch(arguments),
        PlanCommand::Start { plan, parameters } => {
            let parameters: BTreeMap<String, String> = parameters.into_iter().collect();
            let body = serde_json::json!(parameters).to_string();
            raw(Request::post(&["v1", "plans", &plan, "start"]).with_body(body))
        }
        PlanCommand::Stop { plan } => raw(Request::post(&["v1", "plans", &plan, "stop"])),
        PlanCommand::Pause(part) => tell(&part, "interrupt", "paused"),
        PlanCommand::Resume(part) => tell(&part, "continue", "resumed"),
        PlanCommand::ForceRestart(part) => tell(&part, "restart", "restarted"),
        PlanCommand::ForceComplete(part) => {
            tell(&part, "forceComplete", "forced to complete")
        }
    }
}

fn tell(part: &PlanPart, word: &str, done: &'static str) -> Action {
    let PlanPart { plan, phase, step } = part;
    let request = Request::post(&["v1", "plans", plan, word])
        .with("phase", phase.as_deref())
        .with("step", step.as_deref());
    let subject = match (phase, step) {
        (None, _) => format!("\"{plan}\" plan"),
        (Some(phase), None) => format!("\"{plan}\" plan: phase \"{phase}\""),
        (Some(phase), Some(step)) => {
            format!("\"{plan}\" plan: step \"{step}\" in phase \"{phase}\"")
        }
    };
    Action::Ask(request, Show::Sentence { subject, done })
}

fn pod(command: PodCommand) -> Action {
    match command {
        PodCommand::List => raw(Request::get(&["v1", "pod"])),
        PodCommand::Status { pod: None } => {
            Action::Ask(Request::get(&["v1", "pod", "status"]), Show::Pods)
        }
        PodCommand::Status { pod: Some(pod) } => {
            Action::Ask(Request::get(&["v1", "pod", &pod, "status"]), Show::Pod)
        }
        PodCommand::Info { pod } => raw(Request::get(&["v1", "pod", &pod, "info"])),
        PodCommand::Restart { pod } => {
            raw(Request::post(&["v1", "pod", &pod, "restart"]))
        }
        PodCommand::Replace { pod, force } => {
            let request = Request::post(&["v1", "pod", &pod, "replace"]);
            raw(request.with("force", force.then_some("true")))
        }
        PodCommand::Reset { pod } => raw(Request::post(&["v1", "pod", &pod, "reset"])),
    }
}

fn config(command: &ConfigCommand) -> Action {
    let what = match command {
        ConfigCommand::List => return raw(Request::get(&["v1", "configurations"])),
        ConfigCommand::Show { id } => id,
        ConfigCommand::Target => "target",
        ConfigCommand::TargetId => "targetId",
        ConfigCommand::Diff { from, to } => {
            let request = Request::get(&["v1", "configurations", from, "diff", to]);
            return Action::Ask(request, Show::Diff);
        }
    };
    raw(Request::get(&["v1", "configurations", what]))
}

fn debug(command: DebugCommand) -> Action {
    raw(match command {
        DebugCommand::Pod(DebugPodCommand::Pause(tasks)) => pause(tasks, "pause"),
        DebugCommand::Pod(DebugPodCommand::Resume(tasks)) => pause(tasks, "resume"),
        DebugCommand::Config(command) => return config(&command),
        DebugCommand::State(command) => state(&command),
        DebugCommand::Offers => Request::get(&["v2", "debug", "offers"]),
        DebugCommand::Plans => Request::get(&["v1", "debug", "plans"]),
        DebugCommand::Reservations => Request::get(&["v1", "debug", "reservations"]),
        DebugCommand::TaskStatuses => Request::get(&["v1", "debug", "taskStatuses"]),
    })
}

fn pause(wanted: PodTasks, word: &str) -> Request {
    let request = Request::post(&["v1", "pod", &wanted.pod, word]);
    if wanted.tasks.is_empty() {
        return request;
    }
    request.with_body(serde_json::json!(wanted.tasks).to_string())
}

fn state(command: &StateCommand) -> Request {
    match command {
        StateCommand::FrameworkId => Request::get(&["v1", "state", "frameworkId"]),
        StateCommand::Properties => Request::get(&["v1", "state", "properties"]),
        StateCommand::Property { key } => {
            Request::get(&["v1", "state", "properties", key])
        }
        StateCommand::RefreshCache => Request::put(&["v1", "state", "refresh"]),
    }
}

#[cfg(test)]
mod tests;
