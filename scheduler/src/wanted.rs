//! Which options hold: those of the store, of this start, or of a request.
//!
//! What is about the scheduler's process, and what it serves, is always as it was
//! started. All else is wanted of the service and stored with its target: a start
//! changes it only with options that differ from those of the last start that
//! counted, so that a restart with an old file does not undo what was asked for
//! since. Every change is judged as a whole.

use std::fmt;

use etcd_config::load::{LoadErrors, Loaded, Origin};
use etcd_config::{
    Asked, Change, GivenOptions, OptionRow, Options, Refusal, Warning, judge_change,
};
use etcd_launch::EtcdProgram;
use etcd_planner::record::TargetId;
use etcd_planner::{Model, Record};
use serde_json::Value;
use tracing::{info, warn};

use crate::framework;
use crate::store::{Store, StoreError, StoredRecord, StoredTarget};
use crate::target::target;

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

/// Options that hold, and what somebody gave of them.
struct Held {
    options: Options,
    given: GivenOptions,
    /// Why the options of this start do not hold, if they do not.
    errors: Vec<String>,
    /// Whether this start's options hold, and the next ones are compared with them.
    counts: bool,
}

/// Decides which options hold, stores the target that they make, and gives the model
/// to begin with.
///
/// # Errors
///
/// When the store cannot be read or written.
pub fn begin(
    store: &Store,
    started: &Started,
    program: EtcdProgram,
) -> Result<Beginning, StoreError> {
    let given = started.given.to_json();
    let Some(stored) = store.load()? else {
        let (id, first) = store_target(store, &started.options, &started.given, program)?;
        store.put_start_options(&given)?;
        return Ok(Beginning {
            model: Model::new(id.clone(), first.target, Record::new(id)),
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
    let held = hold(
        store.target(&record.target)?,
        started,
        is_new,
        &record.target,
    );
    let (id, wanted) = store_target(store, &held.options, &held.given, program)?;
    framework::name_roles(&mut record, &held.options.service);
    name_recipes(&mut record, store)?;
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

/// What a start would change, or why it would not.
///
/// # Errors
///
/// When the store cannot be read.
pub fn foresee(
    store: &Store,
    started: &Started,
) -> Result<Result<Vec<Change>, NotProposed>, StoreError> {
    let stored = match store.load()? {
        Some(stored) => store.target(&stored.record.target)?,
        None => None,
    };
    let Some((old, _)) = stored.as_ref().and_then(options_of) else {
        return Ok(Err(NotProposed::PresentUnknown));
    };
    let given = started.given.to_json();
    if store.start_options()?.as_ref() == Some(&given) {
        // As in `begin`: the options of the last start change nothing but the process.
        let new = old.in_process_of(&started.options);
        return Ok(Ok(etcd_config::changes(&old, &new)));
    }
    let judged = judge_change(&old, &started.options, Asked::AtStart);
    Ok(judged.map_err(NotProposed::Refused))
}

/// Which options hold, of those that the stored target was made from and those of
/// this start.
fn hold(
    stored: Option<StoredTarget>,
    started: &Started,
    is_new: bool,
    target_id: &TargetId,
) -> Held {
    let as_started = Held {
        options: started.options.clone(),
        given: started.given.clone(),
        errors: Vec::new(),
        counts: true,
    };
    let Some((old, old_given)) = stored.as_ref().and_then(options_of) else {
        warn!(
            target = target_id.0,
            "the stored target is missing or of another release; going on with the \
             options of this start"
        );
        return as_started;
    };
    let old = old.in_process_of(&started.options);
    let go_on = |errors| Held {
        options: old.clone(),
        given: old_given.clone(),
        errors,
        counts: false,
    };
    if !is_new {
        let differs = !etcd_config::changes(&old, &started.options).is_empty();
        if differs {
            info!(
                "the options of this start are those of the last one; what was changed \
                 since then goes on to hold"
            );
        }
        return go_on(Vec::new());
    }
    match judge_change(&old, &started.options, Asked::AtStart) {
        Ok(changes) => {
            for change in &changes {
                info!(%change, "the options of this start change the target");
            }
            as_started
        }
        Err(refusals) => {
            let errors: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
            for error in &errors {
                warn!(error, "the options of this start are refused");
            }
            warn!("the service goes on under its stored target");
            go_on(errors)
        }
    }
}

/// The options that a target was made from, and what somebody gave of them; none if
/// this release cannot read them.
fn options_of(stored: &StoredTarget) -> Option<(Options, GivenOptions)> {
    let options: Options = serde_json::from_value(stored.options.clone()).ok()?;
    let given = match &stored.given {
        Some(given) => read_given(given).ok()?,
        None => GivenOptions::beside_defaults(&options).only(is_about_the_service),
    };
    Some((options, given))
}

fn read_given(given: &Value) -> Result<GivenOptions, LoadErrors> {
    GivenOptions::parse(given.to_string().as_bytes(), &Origin::Stored)
}

fn stored_target(
    options: &Options,
    given: &GivenOptions,
    program: EtcdProgram,
) -> StoredTarget {
    StoredTarget {
        target: target(options, program),
        // Plain data with string keys.
        options: serde_json::to_value(options).unwrap_or_default(),
        given: Some(given.to_json()),
    }
}

fn store_target(
    store: &Store,
    options: &Options,
    given: &GivenOptions,
    program: EtcdProgram,
) -> Result<(TargetId, StoredTarget), StoreError> {
    let stored = stored_target(options, given, program);
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
            NotProposed::Refused(refusals) => {
                let lines: Vec<String> =
                    refusals.iter().map(Refusal::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
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
    program: EtcdProgram,
) -> Result<Proposal, NotProposed> {
    let sent = GivenOptions::parse(sent, &Origin::Request)
        .map_err(NotProposed::NotUnderstood)?;
    let (old, old_given) = options_of(present).ok_or(NotProposed::PresentUnknown)?;
    let old = old.in_process_of(&started.options);
    let base = if replace {
        GivenOptions::default()
    } else {
        old_given
    };
    let given = sent.only(is_about_the_service).onto(&base);
    let defaults = Options::default().in_process_of(&started.options);
    let new = given.applied_to(&defaults);
    // What a start alone can change may be sent, if it is what holds already.
    let asked = sent.only(|row| !is_about_the_service(row)).applied_to(&new);
    let changes =
        judge_change(&old, &asked, Asked::WhileRunning).map_err(NotProposed::Refused)?;
    let (_, warnings) = new.check();
    Ok(Proposal {
        wanted: stored_target(&new, &given, program),
        changes,
        warnings,
    })
}

#[cfg(test)]
mod tests;
