//! What a start would change, found out without one.

use etcd_config::{Asked, Change, ChangeClass, find_option, judge_change};
use etcd_launch::PodIndex;
use etcd_planner::programs::Programs;
use etcd_planner::target::Recipe;
use etcd_planner::{Record, Target};

use super::{NotProposed, Started, name_recipes, options_of};
use crate::etcd_choice::{self, Served};
use crate::store::{Store, StoreError};
use crate::target::target;

/// What a start would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// The options that differ.
    pub changes: Vec<Change>,
    /// The programs of the present target.
    pub present: Programs,
    /// Those that the start would bring.
    pub wanted: Programs,
    /// Members that would be restarted or exchanged for it, and whether a task of
    /// theirs is known to run; those without one first, as it would be.
    pub members: Vec<(PodIndex, bool)>,
}

/// What a start would change, or why it would not.
///
/// # Errors
///
/// When the store cannot be read.
pub fn foresee(
    store: &Store,
    started: &Started,
    served: &Served,
) -> Result<Result<Foreseen, NotProposed>, StoreError> {
    let Some(stored) = store.load()? else {
        return Ok(Err(NotProposed::PresentUnknown));
    };
    let mut record = stored.record;
    let so_far = store.target(&record.target)?;
    let (Some(so_far), Some((old, _))) = (&so_far, so_far.as_ref().and_then(options_of))
    else {
        return Ok(Err(NotProposed::PresentUnknown));
    };
    // As in `begin`: what a start says of the same programs is no change of them.
    name_recipes(&mut record, store)?;
    for recipe in record.recipes_mut() {
        recipe.program.adopt(&served.programs);
    }
    let mut present = so_far.target.program.clone();
    present.adopt(&served.programs);

    let is_new = store.start_options()?.as_ref() != Some(&started.given.to_json());
    let mut refusals = Vec::new();
    let (new, mut changes) = if is_new {
        let judged = judge_change(&old, &started.options, Asked::AtStart);
        let changes = judged.unwrap_or_else(|found| {
            refusals = found;
            Vec::new()
        });
        (started.options.clone(), changes)
    } else {
        // The options of the last start change nothing but the process.
        let new = old.in_process_of(&started.options);
        let changes = etcd_config::changes(&old, &new);
        (new, changes)
    };
    refusals.extend(etcd_choice::judge(served, &present, &record, &new));
    if !refusals.is_empty() {
        return Ok(Err(NotProposed::Refused(refusals)));
    }
    let wanted = served.programs.clone();
    if wanted == present {
        // The same programs from elsewhere.
        for change in changes.iter_mut().filter(|it| names_a_program(it)) {
            change.class = ChangeClass::Scheduler;
        }
    }
    let members = members(&record, &changes, &target(&new, wanted.clone()));
    Ok(Ok(Foreseen {
        changes,
        present,
        wanted,
        members,
    }))
}

/// Whether an option says where a program comes from.
fn names_a_program(change: &Change) -> bool {
    let rule = find_option(change.option).map(|row| row.change);
    rule.is_some_and(|rule| rule.only_at_start && rule.class.restarts_members())
}

/// Who would be restarted or exchanged. A recipe is what members are restarted for; what
/// takes another place or other amounts stands beside it, and is for all.
fn members(
    record: &Record,
    changes: &[Change],
    target: &Target,
) -> Vec<(PodIndex, bool)> {
    let is_for_all = changes.iter().any(|change| {
        matches!(
            change.class,
            ChangeClass::Resize | ChangeClass::RollingReplace
        )
    });
    let recipe: Recipe = target.recipe();
    let launched = record.pods.iter().filter_map(|(index, pod)| {
        let launch = pod.launch.as_ref()?;
        let stays = !index.is_leaving() && index.0 < target.members;
        let differs = is_for_all || pod.recipe.as_ref() != Some(&recipe);
        (stays && differs).then_some((*index, launch.end.is_none()))
    });
    let mut members: Vec<(PodIndex, bool)> = launched.collect();
    members.sort_by_key(|(index, runs)| (*runs, *index));
    members
}
