//! Restarts that go through all members, one after the other: the rolling restart
//! that an operator asks for, and the update to a changed target.
//!
//! What a member runs with is its [`Recipe`]. It is recorded with the pod and changed here
//! alone, so that a member that ends by itself while a change is rolled out comes back as
//! it was: a change that does no good reaches one member and no other.
//!
//! Members that are not well come first, since nothing is lost by restarting them;
//! then followers; the leader last, when all others are well and have its whole log.

use std::time::Duration;

use etcd_launch::{Phase, PodIndex};

use crate::alarms;
use crate::another_etcd;
use crate::draft::Draft;
use crate::membership;
use crate::model::Model;
use crate::observed::TaskState;
use crate::offer::DiskKind;
use crate::overrides::{PhaseName, PlanName, PlanPart};
use crate::quorum;
use crate::record::{
    Cluster, EndKind, Exchange, Failures, KeptBack, Membership, Placement, Pod, Record,
    StopCause, Updating,
};
use crate::replacing;
use crate::resizing;
use crate::resizing::Step;
use crate::restarting;
use crate::target::{Recipe, Target};
use crate::trying::{self, Tried};
use crate::waiting::WaitingReason;

/// Failed starts in a row after which an update is called failed before its time
/// is over.
const FAILED_STARTS: u32 = 3;

/// The plan that a pod is to be restarted for.
pub(crate) fn due(model: &Model, record: &Record, index: PodIndex) -> Option<PlanName> {
    let pod = record.pods.get(&index)?;
    let target = &model.target;
    let is_forced = |plan| record.overrides.is_forced(plan, index);
    let runs = pod.launch.as_ref().filter(|launch| launch.end.is_none());
    let is_old = |since| runs.is_some_and(|launch| launch.issued < since);
    let restart = record.rolling_restart.as_ref();
    // One that is to leave in any case is changed only to help the others.
    if !is_wanted(target, index) && quorum::is_healthy_voter_seen(model, index) {
        None
    } else if differs(model, pod) && !is_forced(PlanName::Update) {
        Some(PlanName::Update)
    } else if restart.is_some_and(|asked| is_old(asked.since))
        && !is_forced(PlanName::RollingRestart)
    {
        Some(PlanName::RollingRestart)
    } else {
        None
    }
}

fn is_wanted(target: &Target, index: PodIndex) -> bool {
    index.0 < target.members
}

/// Whether the pod runs with another recipe than the target's or on another kind of
/// place, and is to be changed.
fn differs(model: &Model, pod: &Pod) -> bool {
    let was_launched = votes(pod) && pod.launch.is_some();
    let is_other = pod.recipe.as_ref() != Some(&model.target.recipe());
    was_launched
        && (is_other
            || is_misplaced(model, pod)
            || resizing::wanted(model, pod).is_some())
        && kept_back(model, pod).is_none()
}

/// Whether a voter's place cannot become what the target wants, so that it has to move.
fn is_misplaced(model: &Model, pod: &Pod) -> bool {
    let target = &model.target;
    // Founders' ids are made from their places.
    if !matches!(model.record.cluster, Cluster::Formed(_)) {
        return false;
    }
    let Some(placement) = pod.placement.as_ref().filter(|_| votes(pod)) else {
        return false;
    };
    let (has, wants) = (&placement.needs, &target.needs);
    let is_whole_disk = target.disk.kind() == Some(DiskKind::Mount);
    let holds_enough = is_whole_disk && placement.volume_size() >= wants.volume;
    let is_other_volume = has.volume != wants.volume && !holds_enough;
    // The peer port is part of the member's address in etcd.
    is_other_volume || has.peer_port != wants.peer_port || is_elsewhere(target, placement)
}

/// Whether a place is of another kind than those of the target: on another kind of
/// disk or network, or with data of another user.
fn is_elsewhere(target: &Target, placement: &Placement) -> bool {
    let source = placement.disk.as_ref().map(|disk| &disk.source);
    let is_other_user = placement
        .user
        .as_ref()
        .is_some_and(|user| *user != target.user && !target.user.is_empty());
    let is_other_network = placement
        .network
        .as_ref()
        .is_some_and(|network| *network != target.network);
    !target.disk.is_met_by(source) || is_other_user || is_other_network
}

pub(crate) fn votes(pod: &Pod) -> bool {
    matches!(
        pod.membership,
        Membership::Founder(_) | Membership::Voter(_)
    )
}

/// Why a pod is kept back from the present target, if it is.
pub(crate) fn kept_back<'r>(model: &Model, pod: &'r Pod) -> Option<&'r KeptBack> {
    let kept = pod.kept_back.as_ref()?;
    (kept.target == model.target_id).then_some(kept)
}

/// What a pod is launched with: what it ran with, or that of new members if its member
/// has never run. While a target fails on another member it is not tried on new ones.
pub(crate) fn choose_recipe(draft: &mut Draft<'_>, index: PodIndex) {
    let wanted = another_etcd::recipe_of_new_members(draft.model, &draft.record);
    let target_fails = failed(draft.model, &draft.record).is_some();
    let pod = draft.pod(index);
    let has_run = pod.membership.enrolled().is_some_and(|it| it.started);
    let recipe = match pod.recipe.clone() {
        Some(own) if has_run => own,
        Some(own) if target_fails => another_etcd::as_new_as_others(draft, index, own),
        _ => another_etcd::as_new_as_others(draft, index, wanted),
    };
    draft.pod_mut(index).recipe = Some(recipe);
}

/// Records of older releases do not tell what members run with. Those that were
/// launched from the present target run with its recipe.
pub(crate) fn adopt_recipes(draft: &mut Draft<'_>) {
    let recipe = draft.model.target.recipe();
    let target_id = draft.model.target_id.clone();
    for index in draft.recorded_pods() {
        let pod = draft.pod(index);
        let same = pod.launch.as_ref().is_some_and(|of| of.target == target_id);
        if pod.recipe.is_none() && same {
            draft.pod_mut(index).recipe = Some(recipe.clone());
        }
    }
}

/// The next step of whatever goes through the members.
pub(crate) fn roll_one_pod(draft: &mut Draft<'_>) {
    watch_updates(draft);
    let mut due = pods_due(draft);
    let mut pods = draft.recorded_pods().into_iter();
    if let Some(begun) = pods.find(|index| is_stopping(draft.pod(*index))) {
        wait_for(draft, &due, begun);
        restarting::stop(draft, begun, StopCause::Roll);
        return;
    }
    due.retain(|(index, plan)| match hold(draft, *index, *plan) {
        Some(reason) => {
            draft.wait(*index, reason);
            false
        }
        None => true,
    });
    let Some((next, plan)) = choose(draft, &due) else {
        return;
    };
    wait_for(draft, &due, next);
    // While the others settle, since it takes a moment.
    let tried = match plan {
        PlanName::Update => trying::try_recipe(draft, next),
        _ => Tried::GoOn,
    };
    if let Tried::Refused(why) = tried {
        keep_back(
            draft,
            next,
            format!("tried before it was touched: {why}"),
            true,
        );
        return;
    }
    if let Some(why) = obstacle(draft, next) {
        draft.wait(next, WaitingReason::OthersNotWell { why });
        draft.wake_in(Duration::from_secs(1));
        return;
    }
    if tried == Tried::Waits {
        return;
    }
    let mut recipe = draft.model.target.recipe();
    let mut is_whole = true;
    if plan == PlanName::Update
        && let Some(reason) = another_etcd::hold(draft, next)
    {
        let Some(rest) = another_etcd::all_but_etcd(draft, next) else {
            draft.wait(next, reason);
            return;
        };
        (recipe, is_whole) = (rest, false);
    }
    let has_recipe = draft.pod(next).recipe.as_ref() == Some(&recipe);
    let is_update = plan == PlanName::Update;
    let mut moves = is_misplaced(draft.model, draft.pod(next));
    if is_update && is_whole && !moves {
        match resizing::prepare(draft, next) {
            Step::Restart => {}
            Step::Move => moves = true,
            Step::Wait(reason) => {
                draft.wait(next, reason);
                return;
            }
        }
    }
    if is_update && is_whole && moves {
        match replacing::judge(draft.model, next, Exchange::JoinFirst) {
            Ok(()) => {
                begin_move(draft, next);
                return;
            }
            Err(refusal) if has_recipe => {
                let why = refusal.to_string();
                draft.wait(next, WaitingReason::CannotMove { why });
                return;
            }
            // Some of what is wanted can be had where it is.
            Err(_) => {}
        }
    }
    let runs = |draft: &Draft<'_>| {
        let launch = draft.pod(next).launch.as_ref();
        launch.is_some_and(|launch| launch.end.is_none())
    };
    if runs(draft) {
        restarting::stop(draft, next, StopCause::Roll);
    }
    if is_update && (!runs(draft) || is_stopping(draft.pod(next))) {
        begin_update(draft, next, recipe);
    }
}

/// Whether its turn has come: what runs is being stopped.
pub(crate) fn is_stopping(pod: &Pod) -> bool {
    let launch = pod.launch.as_ref().filter(|launch| launch.end.is_none());
    launch.is_some_and(|launch| launch.stop_asked == Some(StopCause::Roll))
}

/// The pod that an update or a rolling restart is at work on, or would be next. What an
/// operator has paused, and what has stopped at a failure, is not at work.
pub(crate) fn at_work(draft: &Draft<'_>) -> Option<PodIndex> {
    let begun = draft.recorded_pods().into_iter().find(|index| {
        let pod = draft.pod(*index);
        pod.updating.is_some() || is_stopping(pod)
    });
    begun.or_else(|| {
        let due = pods_due(draft).into_iter();
        let mut next = due.filter(|(index, plan)| {
            let needs_mending = another_etcd::waits_for_alarms(draft, *index);
            !needs_mending && hold(draft, *index, *plan).is_none()
        });
        next.next().map(|(index, _)| index)
    })
}

fn pods_due(draft: &Draft<'_>) -> Vec<(PodIndex, PlanName)> {
    let pods = draft.record.pods.keys();
    pods.filter_map(|index| Some((*index, due(draft.model, &draft.record, *index)?)))
        .collect()
}

fn wait_for(draft: &mut Draft<'_>, due: &[(PodIndex, PlanName)], busy: PodIndex) {
    for (index, _) in due {
        if *index != busy {
            draft.wait(*index, WaitingReason::OneAtATime { busy });
        }
    }
}

/// What an operator has to say, or to look at, before this pod is restarted.
fn hold(draft: &Draft<'_>, index: PodIndex, plan: PlanName) -> Option<WaitingReason> {
    let record = &draft.record;
    if let Some(found) = record.overrides.interruption_over(plan, index) {
        return Some(WaitingReason::Interrupted {
            part: found.at.clone(),
            by: found.by.clone(),
        });
    }
    if plan != PlanName::Update {
        return None;
    }
    if let Some((pod, why)) = failed(draft.model, record) {
        return Some(WaitingReason::UpdateStopped {
            pod,
            why: why.to_owned(),
        });
    }
    if awaits_approval(draft.model, record) {
        return Some(WaitingReason::AwaitsApproval {
            part: PlanPart::phase(PlanName::Update, PhaseName::agents()),
        });
    }
    let stays = !is_misplaced(draft.model, draft.pod(index));
    resizing::hold(draft, index).filter(|_| stays)
}

/// Whether the update's canary is well, and an operator has to approve the rest.
pub(crate) fn awaits_approval(model: &Model, record: &Record) -> bool {
    let target = &model.target;
    let approved = record.overrides.update_approved.as_ref() == Some(&model.target_id);
    let is_done = |pod: &Pod| {
        let has_recipe = pod.recipe.as_ref() == Some(&target.recipe());
        pod.launch.is_some() && has_recipe && !differs(model, pod)
    };
    let some_done = record.pods.values().any(is_done);
    let some_due = record
        .pods
        .keys()
        .any(|index| due(model, record, *index) == Some(PlanName::Update));
    target.update_strategy.has_canary() && !approved && some_done && some_due
}

/// The pod for whose sake the update does not go on.
pub(crate) fn failed<'r>(
    model: &Model,
    record: &'r Record,
) -> Option<(PodIndex, &'r str)> {
    let pods = record.pods.iter();
    let is_forced = |index| record.overrides.is_forced(PlanName::Update, index);
    pods.filter(|(index, _)| !is_forced(**index))
        .find_map(|(index, pod)| Some((*index, kept_back(model, pod)?.why.as_str())))
}

/// Who comes next: those without a running etcd, who may be what the others lack for
/// quorum; others that are not well; followers; the leader last.
fn choose(
    draft: &Draft<'_>,
    due: &[(PodIndex, PlanName)],
) -> Option<(PodIndex, PlanName)> {
    let leader = quorum::leader(draft.model);
    due.iter().copied().min_by_key(|(index, _)| {
        let well = quorum::is_healthy_voter_seen(draft.model, *index);
        let member_id = draft.pod(*index).membership.member_id();
        let leads = leader.is_some() && member_id == leader;
        let has_etcd = !restarting::runs_no_etcd(draft, *index);
        (has_etcd, well, leads, *index)
    })
}

/// Who is not as it has to be before a member may be restarted.
fn obstacle(draft: &Draft<'_>, next: PodIndex) -> Option<String> {
    // Founders become well together.
    if !matches!(draft.record.cluster, Cluster::Formed(_)) {
        return None;
    }
    let others = draft
        .recorded_pods()
        .into_iter()
        .filter(|index| *index != next);
    let mut updating = others.filter(|index| {
        let pod = draft.pod(*index);
        votes(pod) && pod.updating.is_some()
    });
    if let Some(busy) = updating.next() {
        return Some(format!("{busy} has to become well with what is new"));
    }
    // Of one that a scheduler has not asked yet since its start, nothing is known: most
    // likely it is well, and it may be the leader.
    let was_asked = draft.model.observed.probes.contains_key(&next);
    let task = draft.model.task(next);
    let is_up = task.is_some_and(|seen| seen.state == TaskState::Running);
    if is_up && !was_asked && !restarting::runs_no_etcd(draft, next) {
        return Some(format!("{next} has not been asked yet how it is"));
    }
    // One that is not well itself has nothing to lose, and nobody can join before it is.
    if !quorum::is_healthy_voter_seen(draft.model, next) {
        return None;
    }
    for index in draft.wanted_pods().chain(draft.recorded_pods()) {
        let pod = draft.record.pods.get(&index);
        if !pod.is_some_and(votes) {
            return Some(format!("{index} is no voter"));
        }
        let is_busy =
            pod.is_some_and(|pod| pod.restart_asked || pod.exchange_asked.is_some());
        if is_busy {
            return Some(format!("{index} is being restarted or exchanged"));
        }
    }
    membership::unsettled(draft)
        .or_else(|| membership::lagging(draft.model))
        .or_else(|| outgrown_quota(draft, next))
}

/// A database that the target's smaller quota does not hold: with it, etcd would take no
/// writes.
fn outgrown_quota(draft: &Draft<'_>, next: PodIndex) -> Option<String> {
    let target = draft.model.target.tuning.quota_backend_bytes;
    let present = alarms::quota(draft.pod(next))?;
    let size = quorum::fresh_answer(draft.model, next)?.db_size_bytes;
    (target < present && size >= target).then(|| {
        format!(
            "{next} has a database of {} MB, and etcd.quota is to be {} MB; defragment \
             first, or set a larger quota",
            alarms::megabytes(size),
            alarms::megabytes(target)
        )
    })
}

/// From now on the pod is launched with the target's recipe, or as much of it as can be
/// had now.
fn begin_update(draft: &mut Draft<'_>, index: PodIndex, recipe: Recipe) {
    let now = draft.now();
    let needs = resizing::begin(draft, index);
    let pod = draft.pod_mut(index);
    pod.failures = Failures::default();
    let from = pod.recipe.replace(recipe);
    // Who has not become well since the last change goes back to what was before it.
    let (from, needs) = match pod.updating.take() {
        Some(last) => (last.from, last.needs.or(needs)),
        None => (from, needs),
    };
    pod.updating = Some(Updating {
        since: now,
        generation: pod.generation,
        from,
        needs,
    });
}

/// The pod's member is exchanged for one on another place: it leaves when that has
/// joined.
fn begin_move(draft: &mut Draft<'_>, index: PodIndex) {
    let now = draft.now();
    let pod = draft.pod_mut(index);
    pod.exchange_asked = Some(Exchange::JoinFirst);
    pod.updating = Some(Updating {
        since: now,
        generation: pod.generation,
        from: pod.recipe.clone(),
        needs: None,
    });
    // What is at hand is for its successor, which is placed in the next turn.
    draft.keeps_offers = true;
    draft.wake_in(Duration::from_secs(1));
}

/// Takes note of updated members that are well, and of those that do not become so.
fn watch_updates(draft: &mut Draft<'_>) {
    let limit = Duration::from_millis(draft.model.target.update_timeout_ms);
    let is_formed = matches!(draft.record.cluster, Cluster::Formed(_));
    for index in draft.recorded_pods() {
        let Some(updating) = draft.pod(index).updating.clone() else {
            continue;
        };
        if !is_formed {
            // Founders become well together.
            draft.pod_mut(index).updating = None;
        }
        // What is new has nothing to go back to.
        if !is_formed || !votes(draft.pod(index)) {
            continue;
        }
        let launch = draft.pod(index).launch.as_ref();
        let is_new = launch.is_some_and(|it| it.generation > updating.generation);
        if is_new && membership::is_settled(draft, index) {
            draft.pod_mut(index).updating = None;
            continue;
        }
        let took = draft.now().since(updating.since);
        let why = failing(draft, index).or_else(|| {
            let seconds = limit.as_secs();
            (took >= limit).then(|| format!("it was not well within {seconds} s"))
        });
        draft.wake_at(updating.since.plus(limit));
        if let (true, Some(why)) = (is_new, why) {
            give_up(draft, index, updating, why);
        }
    }
}

/// What shows at once that a member cannot run with its recipe.
pub(crate) fn failing(draft: &Draft<'_>, index: PodIndex) -> Option<String> {
    let pod = draft.pod(index);
    let report = draft
        .model
        .task(index)
        .and_then(|seen| seen.report.as_ref());
    match report.map(|report| &report.phase) {
        Some(Phase::Crashed { exit, crashes, .. }) if *crashes >= FAILED_STARTS => {
            Some(format!("etcd ended {crashes} times in a row: {exit}"))
        }
        // What Mesos has lost says nothing of the recipe; the update's time limit does.
        _ if pod.failures.in_a_row >= FAILED_STARTS && !was_lost(pod) => {
            let last = pod.failures.last.as_deref().unwrap_or_default();
            Some(format!(
                "it failed {} times in a row: {last}",
                pod.failures.in_a_row
            ))
        }
        _ => None,
    }
}

/// Whether Mesos told of the newest launch only that it is no more.
fn was_lost(pod: &Pod) -> bool {
    let end = pod.launch.as_ref().and_then(|launch| launch.end.as_ref());
    end.is_some_and(|end| end.kind == EndKind::Gone)
}

/// The update goes no further, and the member that failed goes back if it is to.
fn give_up(draft: &mut Draft<'_>, index: PodIndex, updating: Updating, why: String) {
    let observed = &draft.model.observed;
    let can_go_back = |from: &Recipe| {
        observed.why_not_at_hand(&from.program).is_none()
            && another_etcd::may_be_given_again(draft, index, &from.program)
    };
    let goes_back = draft.model.target.update_rollback
        && updating.from.as_ref().is_some_and(can_go_back);
    // What fails may be what an earlier target wanted, and the present one is not at fault.
    let wanted = draft.model.target.recipe();
    let is_wanted = draft.pod(index).recipe.as_ref().is_some_and(|recipe| {
        let from = updating.from.as_ref().map(|from| &from.program);
        let mut all_but_program = wanted.clone();
        all_but_program.program.clone_from(&recipe.program);
        let kept_program = from == Some(&recipe.program) && *recipe == all_but_program;
        *recipe == wanted || kept_program
    });
    if is_wanted {
        keep_back(draft, index, why, goes_back);
    }
    let pod = draft.pod_mut(index);
    pod.updating = None;
    if goes_back {
        resizing::go_back(pod, updating.needs);
        pod.recipe = updating.from;
        pod.failures = Failures::default();
        pod.restart_asked = true;
    }
}

fn keep_back(draft: &mut Draft<'_>, index: PodIndex, why: String, went_back: bool) {
    let target = draft.model.target_id.clone();
    draft.pod_mut(index).kept_back = Some(KeptBack {
        target,
        why,
        went_back,
    });
}

/// Steps of the update or of the rolling restart that are done: what an operator
/// said about them matters no more.
pub(crate) fn is_done(
    model: &Model,
    record: &Record,
    plan: PlanName,
    index: PodIndex,
) -> bool {
    let Some(pod) = record.pods.get(&index) else {
        return true;
    };
    let is_due = match plan {
        PlanName::Update => differs(model, pod) || pod.updating.is_some(),
        _ => due(model, record, index) == Some(plan),
    };
    let is_passed_over = record.overrides.is_forced(plan, index);
    (is_passed_over || !is_due) && !is_stopping(pod)
}
