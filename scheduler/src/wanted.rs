//! Which options hold: those of the store, of this start, or of a request.
//!
//! What is about the scheduler's process, and what it serves, is always as it was
//! started. All else is wanted of the service and stored with its target: a start
//! changes it only with options that differ from those of the last start that
//! counted, so that a restart with an old file does not undo what was asked for
//! since. Every change is judged as a whole, the programs that a start brings along with
//! its options: where one is refused, members go on with the programs that they had.

use std::fmt;

use etcd_config::load::{LoadErrors, Loaded, Origin};
use etcd_config::{
    Asked, Change, ChangeClass, GivenOptions, OptionRow, Options, Refusal, Warning,
    judge_change,
};
use etcd_planner::alarms::megabytes;
use etcd_planner::programs::Programs;
use etcd_planner::record::TargetId;
use etcd_planner::{Model, Record};
use serde_json::Value;
use tracing::{info, warn};

use crate::etcd_choice::{self, Served};
use crate::framework;
use crate::store::{Store, StoreError, StoredRecord, StoredTarget};
use crate::target::target;

mod foreseeing;

pub use foreseeing::{Foreseen, foresee};

/// Marathon sets it for what it runs. There, Cosmos keeps the options.
pub const MARATHON_APP_VARIABLE: &str = "MARATHON_APP_ID";

/// How this scheduler was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// With which options.
    pub options: Options,
    /// What of them somebody gave, and is about the service.
    pub given: GivenOptions,
    /// As which app of Marathon, if as one.
    pub marathon_app: Option<String>,
}

impl Started {
    /// With these options, by Marathon as this app or by somebody else.
    #[must_use]
    pub fn with(loaded: &Loaded, marathon_app: Option<String>) -> Self {
        Started {
            options: loaded.options.clone(),
            given: GivenOptions::of(loaded).only(is_about_the_service),
            marathon_app,
        }
    }
}

fn is_about_the_service(row: &OptionRow) -> bool {
    !row.change.only_at_start
}

/// What the scheduler begins with.
pub struct Beginning {
    /// What is stored, under the target that applies.
    pub model: Model,
    /// The stored record's version.
    pub version: u64,
    /// The options that hold.
    pub options: Options,
}

/// Why a scheduler does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the first start wants is refused, and there is nothing else to go on with.
    #[error("{}", lines(.0))]
    Refused(Vec<Refusal>),
}

fn lines(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    lines.join("\n")
}

/// Options that hold, what somebody gave of them, and the programs that go with them.
struct Held {
    options: Options,
    given: GivenOptions,
    programs: Programs,
    /// Why what this start brings does not hold, if it does not.
    errors: Vec<String>,
    /// Whether this start's options hold, and the next ones are compared with them.
    counts: bool,
}

/// Decides which options hold, stores the target that they make, and gives the model
/// to begin with.
///
/// # Errors
///
/// When the store cannot be read or written, and when a first start is refused.
pub fn begin(
    store: &Store,
    started: &Started,
    served: &Served,
) -> Result<Beginning, BeginError> {
    let given = started.given.to_json();
    let Some(stored) = store.load()? else {
        let refusals = etcd_choice::judge_first(served, &started.options);
        if !refusals.is_empty() {
            return Err(BeginError::Refused(refusals));
        }
        let programs = served.programs.clone();
        let (id, first) =
            store_target(store, &started.options, &started.given, programs)?;
        store.put_start_options(&given)?;
        let mut record = Record::new(id.clone());
        let (service, network) = (&started.options.service, &first.target.network);
        framework::name_users(&mut record, service, network);
        return Ok(Beginning {
            model: Model::new(id, first.target, record),
            version: 0,
            options: started.options.clone(),
        });
    };
    let StoredRecord {
        mut record,
        version,
    } = stored;
    let before = record.clone();
    let is_new = store.start_options()?.as_ref() != Some(&given);
    name_recipes(&mut record, store)?;
    for recipe in record.recipes_mut() {
        recipe.program.adopt(&served.programs);
    }
    let so_far = store.target(&record.target)?;
    if let Some(so_far) = &so_far
        && let Some((options, _)) = options_of(so_far)
    {
        let network = &so_far.target.network;
        framework::name_users(&mut record, &options.service, network);
    }
    let programs_so_far = so_far.as_ref().map(|so_far| {
        let mut programs = so_far.target.program.clone();
        programs.adopt(&served.programs);
        programs
    });
    let held = hold(so_far, started, served, is_new, &record);
    // This release may write more of it down than the one before.
    let is_as_before = (!is_new || !held.errors.is_empty())
        && programs_so_far.as_ref() == Some(&held.programs);
    let (id, wanted) = store_target(store, &held.options, &held.given, held.programs)?;
    if is_as_before {
        record.rename_target(&id);
    }
    framework::name_roles(&mut record, &held.options.service);
    // Where nobody can tell what has held so far.
    framework::name_users(&mut record, &held.options.service, &wanted.target.network);
    record.target = id.clone();
    let version = if record == before {
        version
    } else {
        store.save(&record, version)?
    };
    if held.counts {
        store.put_start_options(&given)?;
    }
    let mut model = Model::new(id, wanted.target, record);
    model.observed.target_errors = held.errors;
    Ok(Beginning {
        model,
        version,
        options: held.options,
    })
}

/// Gives every pod the recipe that its member was launched with. Records of earlier
/// releases do not name it, and under a target with another id nobody could tell any
/// more that nothing has changed: all members would be restarted for it.
fn name_recipes(record: &mut Record, store: &Store) -> Result<(), StoreError> {
    for pod in record.pods.values_mut().filter(|pod| pod.recipe.is_none()) {
        if let Some(launch) = &pod.launch
            && let Some(stored) = store.target(&launch.target)?
        {
            pod.recipe = Some(stored.target.recipe());
        }
    }
    Ok(())
}

/// Which options and programs hold, of those that the stored target was made from and
/// those of this start.
fn hold(
    stored: Option<StoredTarget>,
    started: &Started,
    served: &Served,
    is_new: bool,
    record: &Record,
) -> Held {
    let as_started = Held {
        options: started.options.clone(),
        given: started.given.clone(),
        programs: served.programs.clone(),
        errors: Vec::new(),
        counts: true,
    };
    let Some((old, old_given)) = stored.as_ref().and_then(options_of) else {
        warn!(
            target = record.target.0,
            "the stored target is missing or of another release; going on with the \
             options of this start"
        );
        return as_started;
    };
    let in_process = old.in_process_of(&started.options);
    // What is wanted if nothing speaks against it.
    let new = if is_new {
        as_started
    } else {
        if !etcd_config::changes(&in_process, &started.options).is_empty() {
            info!(
                "the options of this start are those of the last one; what was changed \
                 since then goes on to hold"
            );
        }
        Held {
            options: in_process.clone(),
            given: old_given.clone(),
            counts: false,
            ..as_started
        }
    };
    let mut present = stored.map_or(served.programs.clone(), |it| it.target.program);
    present.adopt(&served.programs);
    let mut refusals = Vec::new();
    if is_new {
        match judge_change(&in_process, &new.options, Asked::AtStart) {
            Ok(changes) => {
                for change in &changes {
                    info!(%change, "this start changes an option");
                }
            }
            Err(found) => refusals = found,
        }
    }
    refusals.extend(etcd_choice::judge(served, &present, record, &new.options));
    if refusals.is_empty() {
        return new;
    }
    let errors: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    for error in &errors {
        warn!(error, "what this start wants is refused");
    }
    warn!("the service goes on under its stored target, with the programs that it had");
    Held {
        options: without_new_programs(&old, &started.options),
        given: old_given,
        programs: present,
        errors,
        counts: false,
    }
}

/// Stored options in a process that was started with others, with the programs that
/// go with the stored ones.
fn without_new_programs(stored: &Options, started: &Options) -> Options {
    stored.with(started, |row| {
        row.change.only_at_start && row.change.class == ChangeClass::Scheduler
    })
}

/// The options that a target was made from, and what somebody gave of them; none if
/// this release cannot read them.
fn options_of(stored: &StoredTarget) -> Option<(Options, GivenOptions)> {
    let options = under_new_names(stored.options.clone());
    let options: Options = serde_json::from_value(options).ok()?;
    let given = match &stored.given {
        Some(given) => read_given(given).ok()?,
        None => GivenOptions::beside_defaults(&options).only(is_about_the_service),
    };
    Some((options, given))
}

/// Options that had other names in the release before.
const RENAMED: [(&str, &str, &str); 2] = [
    ("etcd_uri", "etcd", "uri"),
    ("etcd_sha256", "etcd", "sha256"),
];

/// Stored options, as this release names them.
fn under_new_names(mut options: Value) -> Value {
    for (old, section, new) in RENAMED {
        let scheduler = options.get_mut("scheduler").and_then(Value::as_object_mut);
        let value = scheduler.and_then(|scheduler| scheduler.remove(old));
        let section = options.get_mut(section).and_then(Value::as_object_mut);
        if let (Some(value), Some(section)) = (value, section) {
            section.entry(new).or_insert(value);
        }
    }
    options
}

fn read_given(given: &Value) -> Result<GivenOptions, LoadErrors> {
    GivenOptions::parse(given.to_string().as_bytes(), &Origin::Stored)
}

fn stored_target(
    options: &Options,
    given: &GivenOptions,
    programs: Programs,
) -> StoredTarget {
    StoredTarget {
        target: target(options, programs),
        // Plain data with string keys.
        options: serde_json::to_value(options).unwrap_or_default(),
        given: Some(given.to_json()),
    }
}

fn store_target(
    store: &Store,
    options: &Options,
    given: &GivenOptions,
    programs: Programs,
) -> Result<(TargetId, StoredTarget), StoreError> {
    let stored = stored_target(options, given, programs);
    let id = stored.id();
    store.put_target(&id, &stored)?;
    Ok((id, stored))
}

/// A change that was asked for, and judged to be allowed.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The target that it leads to.
    pub wanted: StoredTarget,
    /// What differs from the present one.
    pub changes: Vec<Change>,
    /// What the operator should know of the new options.
    pub warnings: Vec<Warning>,
}

/// Why a change that was asked for is not taken.
#[derive(Clone, Debug, PartialEq)]
pub enum NotProposed {
    /// What was sent is not understood.
    NotUnderstood(LoadErrors),
    /// It is understood, and refused.
    Refused(Vec<Refusal>),
    /// The present options are of another release.
    PresentUnknown,
}

impl fmt::Display for NotProposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotProposed::NotUnderstood(errors) => errors.fmt(f),
            NotProposed::Refused(refusals) => f.write_str(&lines(refusals)),
            NotProposed::PresentUnknown => f.write_str(
                "the options of the present target are of another release; restart the \
                 scheduler with the options that are wanted",
            ),
        }
    }
}

/// Judges options that were sent: merged onto those that were given before, or in
/// their place.
///
/// # Errors
///
/// Every reason why not.
pub fn propose(
    started: &Started,
    present: &StoredTarget,
    sent: &[u8],
    replace: bool,
) -> Result<Proposal, NotProposed> {
    let sent = GivenOptions::parse(sent, &Origin::Request)
        .map_err(NotProposed::NotUnderstood)?;
    let (old, old_given) = options_of(present).ok_or(NotProposed::PresentUnknown)?;
    let old = without_new_programs(&old, &started.options);
    let programs = present.target.program.clone();
    let base = if replace {
        GivenOptions::default()
    } else {
        old_given
    };
    let given = sent.only(is_about_the_service).onto(&base);
    let defaults = Options::default().in_process_of(&old);
    let new = given.applied_to(&defaults);
    // What a start alone can change may be sent, if it is what holds already.
    let asked = sent.only(|row| !is_about_the_service(row)).applied_to(&new);
    let changes =
        judge_change(&old, &asked, Asked::WhileRunning).map_err(NotProposed::Refused)?;
    let refusals = etcd_choice::judge_options(&programs, &new);
    if !refusals.is_empty() {
        return Err(NotProposed::Refused(refusals));
    }
    let (_, warnings) = new.check();
    Ok(Proposal {
        wanted: stored_target(&new, &given, programs),
        changes,
        warnings,
    })
}

/// Refuses a smaller quota that a database has outgrown: its member would take no
/// writes from its restart on. `largest` is the largest database file that was seen,
/// bytes.
///
/// # Errors
///
/// Why not.
pub fn judge_quota(proposal: &Proposal, largest: u64) -> Result<(), NotProposed> {
    let mut changes = proposal.changes.iter();
    let Some(change) = changes.find(|change| change.option == QUOTA) else {
        return Ok(());
    };
    let quota = proposal.wanted.target.tuning.quota_backend_bytes;
    if largest < quota {
        return Ok(());
    }
    let reason = format!(
        "a database has {} MB, and etcd takes no writes once the quota is reached; \
         expected more than that; `defragment` gives free room back first",
        megabytes(largest)
    );
    Err(NotProposed::Refused(vec![Refusal {
        option: QUOTA,
        from: Some(change.from.clone()),
        to: change.to.clone(),
        reason,
    }]))
}

const QUOTA: &str = "etcd.quota";

#[cfg(test)]
mod tests;
