//! What a change of options means to a service that runs: which are taken, what
//! they cost, and which are refused and why. The rule of each option stands in its
//! row of the option table.

use std::fmt;

use crate::table::{Value, option_table};
use crate::{MemberCount, OptionRow, Options, Problem};

/// What becomes of members when an option changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeClass {
    /// No member restarts.
    Free,
    /// Each member is restarted in place, on its volume, one at a time.
    RollingRestart,
    /// Each member is restarted in place with other amounts of resources, one at a time,
    /// where its agent has room.
    Resize,
    /// Each member is exchanged for a new one on a new volume, one at a time; the
    /// new one joins before the old one leaves.
    RollingReplace,
    /// Members are added or removed.
    Scale,
    /// It is about the scheduler's process, not about members: it holds from the
    /// scheduler's start on.
    Scheduler,
    /// It is not taken.
    Refused {
        /// Why, and what to do instead.
        reason: &'static str,
    },
}

impl ChangeClass {
    /// Fixed, for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::RollingRestart => "rolling_restart",
            Self::Resize => "resize",
            Self::RollingReplace => "rolling_replace",
            Self::Scale => "scale",
            Self::Scheduler => "scheduler",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether members that run are restarted or exchanged for it.
    #[must_use]
    pub const fn restarts_members(self) -> bool {
        matches!(
            self,
            Self::RollingRestart | Self::Resize | Self::RollingReplace
        )
    }
}

impl fmt::Display for ChangeClass {
    /// One sentence for operators.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Free => "no member restarts",
            Self::RollingRestart => "members are restarted in place, one at a time",
            Self::Resize => {
                "members are restarted in place, one at a time, where their agents have \
                 room for it"
            }
            Self::RollingReplace => {
                "members are exchanged for new ones on new volumes, one at a time"
            }
            Self::Scale => "members are added or removed, one at a time",
            Self::Scheduler => "about the scheduler itself; members do not notice",
            Self::Refused { reason } => return write!(out, "refused: {reason}"),
        })
    }
}

/// The rule for changes of one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRule {
    /// What becomes of members.
    pub class: ChangeClass,
    /// Whether only a start of the scheduler can change it: it says what the
    /// process itself is made of, or what it serves.
    pub only_at_start: bool,
}

const fn rule(class: ChangeClass) -> ChangeRule {
    ChangeRule {
        class,
        only_at_start: false,
    }
}

const fn at_start(class: ChangeClass) -> ChangeRule {
    ChangeRule {
        class,
        only_at_start: true,
    }
}

const fn refused(reason: &'static str) -> ChangeRule {
    rule(ChangeClass::Refused { reason })
}

pub(crate) const FREE: ChangeRule = rule(ChangeClass::Free);
pub(crate) const RESTART: ChangeRule = rule(ChangeClass::RollingRestart);
pub(crate) const RESIZE: ChangeRule = rule(ChangeClass::Resize);
pub(crate) const REPLACE: ChangeRule = rule(ChangeClass::RollingReplace);
pub(crate) const SCALE: ChangeRule = rule(ChangeClass::Scale);
pub(crate) const PROCESS: ChangeRule = at_start(ChangeClass::Scheduler);
/// What members run, served by the scheduler.
pub(crate) const PROGRAM: ChangeRule = at_start(ChangeClass::RollingRestart);
pub(crate) const NAME: ChangeRule = refused(
    "reservations, volumes and DNS names carry the service's name; install a second \
     service under the new name and move the data",
);
pub(crate) const PRINCIPAL: ChangeRule = refused(NO_OTHER_PRINCIPAL);
const NO_OTHER_PRINCIPAL: &str = "Mesos lets no framework change its principal; install \
                                  a second service and move the data";
pub(crate) const TOKEN: ChangeRule = refused(
    "it is part of the running cluster's identity, which members keep for life; a new \
     cluster takes a new one",
);
pub(crate) const TLS: ChangeRule = refused(
    "switching TLS on or off in a running cluster is not built yet; install a second \
     service and move the data",
);
/// One option that two configurations differ in.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub option: &'static str,
    /// Its value so far.
    pub from: Value,
    /// Its new value.
    pub to: Value,
    /// What becomes of members.
    pub class: ChangeClass,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change {
            option,
            from,
            to,
            class,
        } = self;
        write!(out, "{option}: {from} => {to} ({class})")
    }
}

/// Why a change is refused: one reason of perhaps several.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Which option.
    pub option: &'static str,
    /// Its value so far, where the change of value is what is refused; none where
    /// the new value is wrong by itself or beside others.
    pub from: Option<Value>,
    /// Its new value.
    pub to: Value,
    /// Why, and what to do instead.
    pub reason: String,
}

impl fmt::Display for Refusal {
    /// The form in which the DC/OS SDK tells why a configuration is not taken.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { option, to, .. } = self;
        write!(out, "Field: '{option}'; ")?;
        match &self.from {
            Some(from) => write!(out, "Transition: '{from}' => '{to}'; ")?,
            None => write!(out, "Value: '{to}'; ")?,
        }
        write!(out, "Message: '{}'; Fatal: false", self.reason)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal {
            option: problem.option,
            from: None,
            to: problem.value,
            reason: problem.message,
        }
    }
}

/// Who asks for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The options that a scheduler is started with.
    AtStart,
    /// An operator, of a scheduler that runs.
    WhileRunning,
}

/// What differs between two configurations, in the order of the option table.
#[must_use]
pub fn changes(old: &Options, new: &Options) -> Vec<Change> {
    option_table()
        .filter_map(|row| {
            let (from, to) = ((row.value)(old), (row.value)(new));
            (from != to).then_some(Change {
                option: row.name,
                from,
                to,
                class: if is_without_effect(row.name, old, new) {
                    ChangeClass::Free
                } else {
                    row.change.class
                },
            })
        })
        .collect()
}

/// Whether a change of an option that must not change changes nothing: the service
/// has no use for it, or it says what held anyway.
fn is_without_effect(option: &str, old: &Options, new: &Options) -> bool {
    let (before, after) = (&old.service, &new.service);
    match option {
        "service.principal" => before.principal() == after.principal(),
        "service.virtual_network_name"
        | "service.virtual_network_plugin_labels"
        | "service.virtual_network_domain" => {
            !before.virtual_network_enabled && !after.virtual_network_enabled
        }
        _ => false,
    }
}

/// Judges a change as a whole: what differs, or every reason why it is not taken.
///
/// # Errors
///
/// Every reason, each with its option.
pub fn judge_change(
    old: &Options,
    new: &Options,
    asked: Asked,
) -> Result<Vec<Change>, Vec<Refusal>> {
    let changes = changes(old, new);
    let mut refusals: Vec<Refusal> = changes
        .iter()
        .filter_map(|change| {
            let reason = why_not(change, old, new, asked)?;
            Some(Refusal {
                option: change.option,
                from: Some(change.from.clone()),
                to: change.to.clone(),
                reason,
            })
        })
        .collect();
    let (problems, _) = new.check();
    for problem in problems {
        if !refusals.iter().any(|known| known.option == problem.option) {
            refusals.push(problem.into());
        }
    }
    if refusals.is_empty() {
        Ok(changes)
    } else {
        Err(refusals)
    }
}

/// Why one change is not taken, if it is not.
fn why_not(
    change: &Change,
    old: &Options,
    new: &Options,
    asked: Asked,
) -> Option<String> {
    if asked == Asked::WhileRunning && is_only_at_start(change.option) {
        let to = &change.to;
        return Some(format!(
            "a running scheduler does not change it; restart the scheduler with {} = {to}",
            change.option
        ));
    }
    match change.option {
        "service.service_account" | "service.principal" => {
            why_not_this_principal(old, new)
        }
        "node.count" => why_not_so_many(old.node.count, new),
        "service.user"
        | "service.virtual_network_name"
        | "service.virtual_network_plugin_labels" => why_no_successor(old, new),
        _ => match change.class {
            ChangeClass::Refused { reason } => Some(reason.to_owned()),
            _ => None,
        },
    }
}

/// The principal follows from the account, unless it is given itself.
fn why_not_this_principal(old: &Options, new: &Options) -> Option<String> {
    let (before, after) = (old.service.principal(), new.service.principal());
    (before != after).then(|| {
        format!("the principal would become {after:?}, and {NO_OTHER_PRINCIPAL}")
    })
}

fn why_not_so_many(old: MemberCount, new: &Options) -> Option<String> {
    (new.node.count < old && !new.service.allow_scale_in).then(|| {
        format!(
            "expected at least {old} members: a cluster shrinks only with \
             service.allow_scale_in = true, because members that go take their copy of \
             the data with them"
        )
    })
}

/// Members are exchanged for such a change, and a successor joins before the old one
/// leaves: under an address of its own.
fn why_no_successor(old: &Options, new: &Options) -> Option<String> {
    let (before, after) = (&old.service, &new.service);
    let names_stay = before.virtual_network_enabled
        && after.virtual_network_enabled
        && before.virtual_network_domain == after.virtual_network_domain;
    names_stay.then(|| {
        "on a virtual network a member and its successor would have one DNS name, and \
         etcd takes no two members with one address; install a second service and move \
         the data"
            .to_owned()
    })
}

fn is_only_at_start(option: &str) -> bool {
    crate::find_option(option).is_some_and(|row| row.change.only_at_start)
}

impl Options {
    /// These options, with those that only a start of the scheduler can change as
    /// they are in `process`.
    #[must_use]
    pub fn in_process_of(&self, process: &Options) -> Options {
        self.with(process, |row| row.change.only_at_start)
    }

    /// These options, with some as they are in another configuration.
    #[must_use]
    pub fn with(&self, other: &Options, which: impl Fn(&OptionRow) -> bool) -> Options {
        let mut options = self.clone();
        for row in option_table().filter(|row| which(row)) {
            (row.copy)(other, &mut options);
        }
        options
    }
}
