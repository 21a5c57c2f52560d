//! The command line's grammar: the DC/OS SDK's verbs and our own.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Looks after an etcd service on Mesos: plans, pods, members, events.
#[derive(Debug, Parser)]
#[command(name = "dcos-etcd", version, after_help = WHERE_TO_FIND_IT)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const WHERE_TO_FIND_IT: &str = "\
Environment: ETCDFW_URL and ETCDFW_TOKEN, or SCHEDULER_URL and SCHEDULER_TOKEN, or what \
the dcos command line sets.
Exit codes: 0 done, 1 refused or not healthy, 64 wrong arguments, 69 not reached, \
75 gave up waiting, 76 answer not understood, 77 not permitted; called by dcos, 1 for \
any error.";

/// An API that has not answered by then will not.
const ANSWER_WITHIN_SECONDS: &str = "30";

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The scheduler's API, for example http://10.0.0.1:8080.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Token for the API. Others on this machine can see it: better use a file.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        conflicts_with = "token_file"
    )]
    pub(crate) token: Option<String>,
    /// File with the token; the scheduler's own token file will do.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<std::path::PathBuf>,
    /// The service's name on DC/OS.
    #[arg(long, global = true, value_name = "SERVICE")]
    pub(crate) name: Option<String>,
    /// Answers, and errors, as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Says on the error output what is asked of whom.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// How many seconds to wait for one answer.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds,
          default_value = ANSWER_WITHIN_SECONDS)]
    pub(crate) timeout: Duration,
}

/// Everything that can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pods, members, leader, plans, and why something waits.
    Status,
    /// One line a member, then the cluster; exit code 1 unless all is well.
    Health,
    /// Plans: deployment, recovery and others.
    #[command(subcommand, alias = "plans")]
    Plan(PlanCommand),
    /// Pods: the members and their tasks.
    #[command(subcommand, alias = "pods")]
    Pod(PodCommand),
    /// Members of the cluster.
    #[command(subcommand, alias = "members")]
    Member(MemberCommand),
    /// Where clients reach the cluster.
    #[command(alias = "endpoint")]
    Endpoints {
        /// Its name, for example api; without one, the names.
        #[arg(value_parser = name)]
        name: Option<String>,
    },
    /// What happened, to which pod, why, and who asked for it.
    Events(EventsArguments),
    /// Copies of all data.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Configurations that the service is or was brought to.
    #[command(subcommand, alias = "configs")]
    Config(ConfigCommand),
    /// The options that somebody gave, which changes are merged onto.
    Describe {
        /// All options, with those that are at their defaults.
        #[arg(long)]
        all: bool,
    },
    /// Changes of options, and how they go through the members.
    #[command(subcommand)]
    Update(UpdateCommand),
    /// Gives the free room in the members' databases back to their disks, one member at
    /// a time, the leader last.
    ///
    /// A member serves nothing meanwhile. `plan status maintenance` shows how far it is.
    Defragment(DefragmentArguments),
    /// What is rarely needed.
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Versions of this program and of the scheduler.
    Version,
}

/// Plans.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Names of the plans.
    List,
    /// A plan with its phases and steps, and what they wait for.
    #[command(visible_alias = "show")]
    Status {
        /// For example deploy.
        #[arg(value_parser = name)]
        plan: String,
    },
    /// Shows a plan until it is complete.
    Watch(WatchArguments),
    /// Begins a plan; one that is complete begins anew.
    Start {
        /// For example deploy.
        #[arg(value_parser = name)]
        plan: String,
        /// A parameter of the plan; may be given several times.
        #[arg(short, long = "params", value_name = "NAME=VALUE", value_parser = parameter)]
        parameters: Vec<(String, String)>,
    },
    /// Begins nothing new in a plan, and begins it anew when it is started.
    Stop {
        /// For example deploy.
        #[arg(value_parser = name)]
        plan: String,
    },
    /// Begins nothing new in a plan, a phase or a step, until it is resumed.
    #[command(visible_alias = "interrupt")]
    Pause(PlanPart),
    /// Goes on after a pause, or approves a canary's next stage.
    #[command(visible_alias = "continue")]
    Resume(PlanPart),
    /// Brings up the pods of a plan, a phase or a step anew: running members are
    /// restarted one at a time, and never at the cost of quorum.
    #[command(visible_alias = "restart")]
    ForceRestart(PlanPart),
    /// Waits no more for a plan, a phase or a step. It changes what plans wait for,
    /// and nothing about members.
    #[command(visible_alias = "force")]
    ForceComplete(PlanPart),
}

/// A plan, a phase or a step, each by its name or its id.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct PlanPart {
    /// For example deploy.
    #[arg(value_parser = name)]
    pub(crate) plan: String,
    /// For example agents.
    #[arg(value_parser = name)]
    pub(crate) phase: Option<String>,
    /// For example etcd-0:[node].
    #[arg(value_parser = name)]
    pub(crate) step: Option<String>,
}

/// `plan watch`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArguments {
    /// For example deploy.
    #[arg(value_parser = name)]
    pub(crate) plan: String,
    /// Give up after so many seconds (exit code 75); without it, wait for as long
    /// as it takes.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) at_most: Option<Duration>,
}

/// Pods.
#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    /// Names of the pods.
    List,
    /// Tasks of all pods, or of one, and their states.
    Status {
        /// For example etcd-0.
        #[arg(value_parser = name)]
        pod: Option<String>,
    },
    /// A pod's tasks in Mesos' words.
    Info {
        /// For example etcd-0.
        #[arg(value_parser = name)]
        pod: String,
    },
    /// Restarts a pod in place, when that costs no quorum.
    Restart {
        /// For example etcd-0.
        #[arg(value_parser = name)]
        pod: String,
    },
    /// Gives up a pod's place and data, and builds it anew elsewhere.
    ///
    /// A successor joins before a live member leaves.
    Replace {
        /// For example etcd-0.
        #[arg(value_parser = name)]
        pod: String,
        /// The member leaves before its successor has joined: for when no agent is
        /// left for both. Until then the cluster has one member less.
        #[arg(long)]
        force: bool,
    },
    /// Builds a pod's data anew in its place; for data that is damaged.
    Reset {
        /// For example etcd-0.
        #[arg(value_parser = name)]
        pod: String,
    },
}

/// Members.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Every member: id, pod, part, URL, version.
    List,
}

/// Copies of all data.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Takes a snapshot from a follower, checks it and saves it to a file.
    ///
    /// The file appears when it is whole and right, and not before. It holds all
    /// data of the cluster: only its owner may read it.
    Save(SaveArguments),
}

/// `snapshot save`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaveArguments {
    /// Where it goes.
    #[arg(value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,
    /// Replaces a file that is there already.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `events`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventsArguments {
    /// Go on as things happen, until interrupted.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Events of this pod alone, for example etcd-0.
    #[arg(long, value_name = "POD", value_parser = name)]
    pub(crate) pod: Option<String>,
    /// Events after the one with this sequence.
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) since: Option<u64>,
}

/// `defragment`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DefragmentArguments {
    /// This pod's database alone, for example etcd-0.
    #[arg(value_parser = name, conflicts_with = "free_space")]
    pub(crate) pod: Option<String>,
    /// For a database that has reached its quota (alarm NOSPACE): forgets old revisions
    /// before, and takes the alarm back after. Watches and backups that are further
    /// behind lose their place.
    #[arg(long)]
    pub(crate) free_space: bool,
    /// So many of the newest revisions are not forgotten.
    #[arg(long, value_name = "COUNT", requires = "free_space")]
    pub(crate) keep_revisions: Option<u64>,
}

/// Configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Ids of all configurations.
    List,
    /// A configuration.
    Show {
        /// Its id.
        #[arg(value_parser = name)]
        id: String,
    },
    /// The configuration that the service is brought to.
    Target,
    /// Its id.
    #[command(name = "target_id", alias = "target-id")]
    TargetId,
    /// What differs between two configurations, and what a change from one to the
    /// other means.
    Diff {
        /// An id, or target.
        #[arg(value_parser = name)]
        from: String,
        /// Another one.
        #[arg(value_parser = name, default_value = "target")]
        to: String,
    },
}

/// Changes of options.
#[derive(Debug, Subcommand)]
pub(crate) enum UpdateCommand {
    /// Changes options of the service.
    Start(UpdateStart),
    /// How far the change is.
    #[command(visible_alias = "show")]
    Status,
    /// Changes no further member until it is resumed.
    #[command(visible_alias = "interrupt")]
    Pause(UpdatePart),
    /// Goes on after a pause, or approves what comes after a canary.
    #[command(visible_alias = "continue")]
    Resume(UpdatePart),
    /// Waits no more for a step, a phase or all of it.
    #[command(visible_alias = "force")]
    ForceComplete(UpdatePart),
    /// Begins a step, a phase or all of it anew.
    #[command(visible_alias = "restart")]
    ForceRestart(UpdatePart),
}

/// `update start`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateStart {
    /// JSON with the options to change, in the form of an options file; `stdin` or
    /// `-` for the standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) options: Option<std::path::PathBuf>,
    /// These options take the place of those that were given before, instead of being
    /// merged onto them.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Says what would change, and changes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only if the target still is the one with this id.
    #[arg(long, value_name = "ID")]
    pub(crate) if_match: Option<String>,
    /// Another version of the DC/OS package.
    #[arg(long, value_name = "VERSION", hide = true)]
    pub(crate) package_version: Option<String>,
}

/// A phase or a step of an update, each by its name or its id.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct UpdatePart {
    /// For example agents.
    #[arg(value_parser = name)]
    pub(crate) phase: Option<String>,
    /// For example etcd-0:[node].
    #[arg(value_parser = name)]
    pub(crate) step: Option<String>,
}

/// What is rarely needed.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Stops a pod's etcd and keeps its container, or goes on.
    #[command(subcommand, alias = "pods")]
    Pod(DebugPodCommand),
    /// Configurations, as `config`.
    #[command(subcommand, alias = "configs")]
    Config(ConfigCommand),
    /// What the scheduler keeps.
    #[command(subcommand)]
    State(StateCommand),
    /// What became of offers, and why.
    Offers,
    /// What the scheduler is busy with.
    Plans,
    /// Reservations of the service, by host.
    Reservations,
    /// The task of each step.
    #[command(name = "task_statuses", alias = "task-statuses")]
    TaskStatuses,
}

/// Pauses.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugPodCommand {
    /// Stops a pod's etcd and keeps its container, for work inside it.
    Pause(PodTasks),
    /// Ends a pause.
    Resume(PodTasks),
}

/// A pod, and which of its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct PodTasks {
    /// For example etcd-0.
    #[arg(value_parser = name)]
    pub(crate) pod: String,
    /// One of its tasks; may be given several times. Without it, all.
    #[arg(short, long = "tasks", value_name = "TASK")]
    pub(crate) tasks: Vec<String>,
}

/// What the scheduler keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Who the service is to Mesos.
    #[command(name = "framework_id", alias = "framework-id")]
    FrameworkId,
    /// Names of the properties.
    Properties,
    /// One property.
    Property {
        /// Its name.
        #[arg(value_parser = name)]
        key: String,
    },
    /// Makes the SDK's scheduler read its state again.
    #[command(name = "refresh_cache", alias = "refresh-cache")]
    RefreshCache,
}

/// A name that can stand in a path.
fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a name cannot be empty".to_owned()),
        // URLs take these for directories, however they are written.
        "." | ".." => Err("that is no name".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(
            "Must have one variable name and one variable value per definition"
                .to_owned(),
        ),
    }
}

/// Longer than a day is a typing error for all that we wait for.
const LONGEST_WAIT_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_WAIT_SECONDS)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "seconds, more than 0 and at most a day".to_owned())
}
