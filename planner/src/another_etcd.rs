//! What has to be before the first member gets another etcd.
//!
//! A new tunable that does harm is taken back. What another etcd writes may be more than
//! the one before reads, so before the first member is touched, everything has to be
//! well, and a copy of all data lies on the scheduler's disk. From then on it is an
//! update as any other; new members join with the new etcd, as etcd demands of a change
//! that has begun.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_launch::PodIndex;

use crate::alarms;
use crate::downgrading;
use crate::draft::Draft;
use crate::effect::Effect;
use crate::membership;
use crate::model::Model;
use crate::programs::{EtcdVersion, Programs};
use crate::quorum;
use crate::record::{Cluster, Membership, Record};
use crate::rolling;
use crate::target::Recipe;
use crate::versions::{self, Way};
use crate::waiting::WaitingReason;

/// A snapshot that is older than this when the first member's turn comes is taken anew:
/// what was written since would not be in it. Longer than the snapshot itself takes and
/// than the leader needs to be moved.
const SNAPSHOT_COUNTS_FOR: Duration = Duration::from_secs(10 * 60);

/// After a failure the next one is not begun at once: it reads all of a member's data.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Why this member cannot be given the target's etcd now, if it has another one. The
/// first such member of a change finds everything well and a snapshot taken, or has to
/// wait for it.
pub(crate) fn hold(draft: &mut Draft<'_>, next: PodIndex) -> Option<WaitingReason> {
    let target = &draft.model.target.program;
    if !matches!(draft.record.cluster, Cluster::Formed(_)) {
        let why = forms_first(draft, next)?;
        return Some(WaitingReason::BeforeAnotherEtcd { why });
    }
    let own = draft.pod(next).recipe.as_ref().map(|it| &it.program);
    if own.is_some_and(|own| own.has_same_etcd(target)) {
        return None;
    }
    let to = target.version;
    let way = match to.map(|to| versions::judge(&running_versions(draft), to)) {
        Some(Err(why)) => {
            let why = why.to_string();
            return Some(WaitingReason::EtcdRefused { why });
        }
        Some(Ok(way)) => way,
        None => Way::Members,
    };
    if has_begun(&draft.record, target) {
        let why = to.and_then(|to| downgrading::not_ready(draft.model, next, to));
        return why.map(|why| WaitingReason::BeforeAnotherEtcd { why });
    }
    // Nobody can take a snapshot, and it may be this bug that keeps the others down.
    if needs_a_patch(draft, next) && !has_quorum(draft) {
        return None;
    }
    let why = not_well(draft, next)
        .or_else(|| no_snapshot(draft))
        .or_else(|| match (way, to) {
            (Way::Downgrade, Some(to)) => downgrading::prepare(draft, to),
            _ => None,
        })?;
    draft.wake_in(Duration::from_secs(1));
    Some(WaitingReason::BeforeAnotherEtcd { why })
}

/// What of the target a member can be given at once that is kept from another etcd: it is
/// not well, and the rest may be what it needs.
pub(crate) fn all_but_etcd(draft: &Draft<'_>, index: PodIndex) -> Option<Recipe> {
    if quorum::is_healthy_voter_seen(draft.model, index) {
        return None;
    }
    let own = draft.pod(index).recipe.as_ref()?;
    let rest = Recipe {
        program: own.program.clone(),
        ..draft.model.target.recipe()
    };
    (rest != *own).then_some(rest)
}

/// Whether a change of etcd cannot begin before somebody has mended what alarms are for.
pub(crate) fn waits_for_alarms(draft: &Draft<'_>, index: PodIndex) -> bool {
    let target = &draft.model.target.program;
    let own = draft.pod(index).recipe.as_ref().map(|it| &it.program);
    own.is_some_and(|own| !own.has_same_etcd(target))
        && !has_begun(&draft.record, target)
        && !alarms::raised(draft.model).is_empty()
}

/// A founder that has run does not get an older minor version before the cluster is seen
/// to have formed: it may have done so unseen, and work as the newer one.
fn forms_first(draft: &Draft<'_>, next: PodIndex) -> Option<String> {
    let pod = draft.pod(next);
    let own = pod.recipe.as_ref()?.program.version?;
    let to = draft.model.target.program.version?;
    let is_older = (to.major, to.minor) < (own.major, own.minor);
    (is_older && pod.launch.is_some()).then(|| {
        let (own, to) = (own.minor_version(), to.minor_version());
        format!(
            "the cluster has to form first, with etcd {own}: {to} could not read what was \
             begun with that"
        )
    })
}

/// Whether a member that failed with its etcd may go back to the one before. When it was
/// the last one of its minor version, the cluster may have gone on without that in the
/// meantime, and nobody can tell from outside.
pub(crate) fn may_be_given_again(
    draft: &Draft<'_>,
    index: PodIndex,
    before: &Programs,
) -> bool {
    let Some(own) = draft.pod(index).recipe.as_ref().map(|it| &it.program) else {
        return true;
    };
    let Some(to) = before.version.filter(|_| !own.has_same_etcd(before)) else {
        return true;
    };
    // What it said last may be of the time before.
    let others = quorum::voters(&draft.record).into_iter();
    let others = others.filter(|voter| *voter != index);
    let running: Vec<EtcdVersion> = others
        .filter_map(|voter| running_version(draft, voter))
        .chain(own.version)
        .collect();
    versions::judge(&running, to) == Ok(Way::Members)
}

fn running_versions(draft: &Draft<'_>) -> Vec<EtcdVersion> {
    let voters = quorum::voters(&draft.record).into_iter();
    voters
        .filter_map(|voter| running_version(draft, voter))
        .collect()
}

/// What a member says that it runs; if it says nothing, what it was last launched with.
fn running_version(draft: &Draft<'_>, voter: PodIndex) -> Option<EtcdVersion> {
    let answer = quorum::fresh_answer(draft.model, voter);
    let said = answer.and_then(|answer| EtcdVersion::parse(&answer.version));
    said.or_else(|| draft.pod(voter).launched_recipe()?.program.version)
}

/// Whether some member has this etcd already.
fn has_begun(record: &Record, etcd: &Programs) -> bool {
    with_recipes(record).any(|(_, recipe)| recipe.program.has_same_etcd(etcd))
}

/// The voters of which it is known what they run with.
fn with_recipes(record: &Record) -> impl Iterator<Item = (PodIndex, &Recipe)> {
    let voters = record.pods.iter().filter(|(_, pod)| {
        matches!(
            pod.membership,
            Membership::Founder(_) | Membership::Voter(_)
        )
    });
    voters.filter_map(|(index, pod)| Some((*index, pod.recipe.as_ref()?)))
}

/// Who or what is not as it has to be.
fn not_well(draft: &Draft<'_>, next: PodIndex) -> Option<String> {
    let model = draft.model;
    for voter in quorum::voters(&draft.record) {
        let is_excused = voter == next && can_only_go_on(draft, voter);
        if !is_excused && !quorum::is_healthy_voter_seen(model, voter) {
            return Some(format!("{voter} has to be in good health"));
        }
    }
    if let Some(alarm) = alarms::raised(model).first() {
        let (kind, member) = (alarm.kind.as_str(), alarm.member_id);
        return Some(format!("the alarm {kind} of member {member} is raised"));
    }
    let mut pods = draft.record.pods.iter();
    let is_joining = pods.find(|(_, pod)| {
        matches!(
            pod.membership,
            Membership::Adding { .. } | Membership::Learner(_)
        )
    });
    if let Some((index, _)) = is_joining {
        return Some(format!("{index} is joining"));
    }
    let Some(members) = membership::members_now(model) else {
        return Some("the member list is not known".to_owned());
    };
    if let Some(learner) = members.iter().find(|member| member.is_learner) {
        return Some(format!("member {} is a learner", learner.member_id));
    }
    differing_versions(draft)
}

/// Whether a member's etcd ends again and again, and is wanted with another patch: between
/// patches of one minor version there is a way back.
fn needs_a_patch(draft: &Draft<'_>, index: PodIndex) -> bool {
    let running = running_versions(draft);
    let is_patch = draft.model.target.program.version.is_some_and(|to| {
        let is_same_minor =
            |it: &EtcdVersion| (it.major, it.minor) == (to.major, to.minor);
        !running.is_empty() && running.iter().all(is_same_minor)
    });
    is_patch && rolling::failing(draft, index).is_some()
}

fn has_quorum(draft: &Draft<'_>) -> bool {
    let voters = quorum::voters(&draft.record);
    let is_well = |voter: &&PodIndex| quorum::is_healthy_voter_seen(draft.model, **voter);
    voters.iter().filter(is_well).count() >= quorum::majority(voters.len())
}

/// Whether another etcd may be what a member needs to become well: its own ends again
/// and again, or is gone, or no other member has it, and so it was left by a change that
/// came to no good.
fn can_only_go_on(draft: &Draft<'_>, index: PodIndex) -> bool {
    let Some(own) = draft.pod(index).recipe.as_ref().map(|it| &it.program) else {
        return false;
    };
    let mut others = with_recipes(&draft.record).filter(|(other, _)| *other != index);
    needs_a_patch(draft, index)
        || draft.model.observed.why_not_at_hand(own).is_some()
        || others.all(|(_, it)| !it.program.has_same_etcd(own))
}

/// Members that were given one etcd have to run one version. Of a change that was
/// superseded on its way they may have two.
fn differing_versions(draft: &Draft<'_>) -> Option<String> {
    let mut recipes = with_recipes(&draft.record).map(|(_, recipe)| recipe);
    let first = recipes.next()?;
    if !recipes.all(|recipe| recipe.program.has_same_etcd(&first.program)) {
        return None;
    }
    let voters = quorum::voters(&draft.record).into_iter();
    let versions: BTreeSet<&str> = voters
        .filter_map(|voter| quorum::fresh_answer(draft.model, voter))
        .map(|answer| answer.version.as_str())
        .collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    (versions.len() > 1)
        .then(|| format!("members say that they run {}", versions.join(" and ")))
}

/// Has a snapshot taken, unless there is a new one.
fn no_snapshot(draft: &mut Draft<'_>) -> Option<String> {
    let (model, now) = (draft.model, draft.now());
    let snapshot = draft.record.snapshot.as_ref();
    let is_new = snapshot.is_some_and(|snapshot| {
        let is_for_this = snapshot.target == model.target_id;
        is_for_this && now.since(snapshot.at) <= SNAPSHOT_COUNTS_FOR
    });
    if is_new {
        return None;
    }
    let is_under_way =
        model.is_in_flight(|effect| matches!(effect, Effect::TakeSnapshot { .. }));
    if is_under_way {
        return Some("a snapshot of all data is being taken".to_owned());
    }
    if let Some((at, why)) = &model.observed.snapshot_failed {
        let again = at.plus(TRY_AGAIN_AFTER);
        if again > now {
            draft.wake_at(again);
            return Some(format!("no snapshot of all data could be taken: {why}"));
        }
    }
    let target = model.target_id.clone();
    draft.effects.push(Effect::TakeSnapshot { target });
    Some("a snapshot of all data is to be taken".to_owned())
}

/// What a member is launched with that has never run, if the minor version of its etcd is
/// not older than all others': the cluster may have gone on without that, now that the
/// last one that had it has left. Else it gets what one of the others has.
pub(crate) fn as_new_as_others(
    draft: &Draft<'_>,
    index: PodIndex,
    recipe: Recipe,
) -> Recipe {
    let minor = |recipe: &Recipe| {
        let version = recipe.program.version;
        version.map(|version| (version.major, version.minor))
    };
    let others = with_recipes(&draft.record).filter(|(other, _)| *other != index);
    let oldest = others
        .map(|(_, recipe)| recipe)
        .filter(|recipe| minor(recipe).is_some())
        .min_by_key(|recipe| recipe.program.version);
    let is_formed = matches!(draft.record.cluster, Cluster::Formed(_));
    match oldest {
        Some(oldest) if is_formed && minor(&recipe) < minor(oldest) => oldest.clone(),
        _ => recipe,
    }
}

/// What a member is launched with that has never run: the target's recipe, or, before
/// the first member has the target's etcd, what the others run with.
pub(crate) fn recipe_of_new_members(model: &Model, record: &Record) -> Recipe {
    let wanted = model.target.recipe();
    let is_born = matches!(record.cluster, Cluster::Formed(_));
    let others = with_recipes(record).map(|(_, recipe)| recipe);
    match others.min_by_key(|recipe| recipe.program.version) {
        Some(others) if is_born && !has_begun(record, &wanted.program) => others.clone(),
        _ => wanted,
    }
}
