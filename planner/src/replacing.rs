//! Exchanging a pod's member for a new one: on another agent (replace), or on the
//! same volume (reset).
//!
//! A member in good health leaves only after its successor has joined: it goes on
//! under a name of its own ([`PodIndex::leaving`]) while the pod begins anew. So
//! the cluster never has fewer voters than it should, and nothing is given up
//! before there is something better. A member that is down cannot wait for that,
//! because etcd takes in nobody while one of three voters is down: it leaves first.
//!
//! Either way the old place is kept until the successor is a voter and all members
//! are well ([`crate::leaving`]).
//!
//! A member that is reset leaves first, too, and its place is its successor's, under
//! the same peer URL. The executor sets the old data aside.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::alarms;
use crate::draft::Draft;
use crate::effect::Effect;
use crate::holding;
use crate::maintenance;
use crate::membership;
use crate::model::Model;
use crate::observed::TaskState;
use crate::offer::Hostname;
use crate::quorum::{self, StopWouldCostQuorum};
use crate::record::{Cluster, Exchange, Failures, Membership, Pod, StopCause};
use crate::recovery;
use crate::restarting;
use crate::target::Network;
use crate::waiting::{OfferRefusal, WaitingReason};

/// What old places are kept for, in the words that operators see.
const REPLACED: &str = "an operator asked for another member in its place";

/// Why a member is removed that is to be reset.
const RESET: &str = "an operator asked for a reset: its data is built anew";

/// For how long a place beside a member in good health is looked for before it makes
/// way for its successor.
const MAKES_WAY_AFTER: Duration = Duration::from_secs(60);

/// How long a member's etcd may be silent before it counts as down.
const SILENT_IS_DOWN_AFTER: Duration = Duration::from_secs(10);

/// Why a member is not exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceRefusal {
    /// There is nobody else who has the data.
    #[error(
        "it is the only voter, and its data would go with it; make a backup and restore \
         it, or grow the cluster first"
    )]
    OnlyVoter,
    /// The others could not agree on the exchange, or not go on without it.
    #[error(
        "{healthy_without} of {voters} voters are in good health without it, and a \
         majority is needed; bring back the others first"
    )]
    WouldCostQuorum {
        /// Voters in good health without it.
        healthy_without: usize,
        /// All voters.
        voters: usize,
    },
    /// The founders' ids are made from all their places: none can be exchanged.
    #[error("no cluster has formed yet; it forms with the places that were chosen")]
    NotFormed,
    /// It is being exchanged already.
    #[error("it is being replaced already")]
    BeingReplaced,
    /// Old and new would be one to etcd.
    #[error(
        "on its virtual network a successor would have the same DNS name, and etcd takes \
         no two members with one address; only with force, which lets the old member \
         leave first"
    )]
    SameAddress,
}

/// Whether a pod's member may be exchanged now. Asked once more, from what is seen
/// then, before anything is stopped.
///
/// # Errors
///
/// Why not.
pub fn judge(
    model: &Model,
    index: PodIndex,
    how: Exchange,
) -> Result<(), ReplaceRefusal> {
    let record = &model.record;
    let Some(pod) = record.pods.get(&index) else {
        return Ok(());
    };
    if pod.exchange_asked.is_some() || record.pods.contains_key(&index.leaving()) {
        return Err(ReplaceRefusal::BeingReplaced);
    }
    if !matches!(record.cluster, Cluster::Formed(_)) {
        return Err(ReplaceRefusal::NotFormed);
    }
    if !pod.membership.is_voter() {
        return Ok(());
    }
    let joins_first =
        how == Exchange::JoinFirst && quorum::is_healthy_voter_seen(model, index);
    if joins_first && keeps_address(model, index, pod) {
        return Err(ReplaceRefusal::SameAddress);
    }
    if quorum::voters(record).len() == 1 && !joins_first {
        return Err(ReplaceRefusal::OnlyVoter);
    }
    quorum::may_stop(model, record, index).map_err(|cost| {
        let StopWouldCostQuorum {
            healthy_without,
            voters,
        } = cost;
        ReplaceRefusal::WouldCostQuorum {
            healthy_without,
            voters,
        }
    })
}

/// Whether a successor would be reached where the pod is: by a name and not by the
/// address of another agent.
fn keeps_address(model: &Model, index: PodIndex, pod: &Pod) -> bool {
    let Some(placement) = &pod.placement else {
        return false;
    };
    let target = &model.target;
    matches!(target.network, Network::Virtual(_))
        && target.address_of(index, &placement.address) == placement.address
        && target.needs.peer_port == placement.needs.peer_port
}

/// Lets members in good health that are to be exchanged go on as members that
/// leave, and their pods begin anew.
///
/// This is part of taking in events and not of planning, since what was seen of
/// the pod has to be put under its new name, too.
pub(crate) fn begin(model: &mut Model) {
    let ready: Vec<PodIndex> = model
        .record
        .pods
        .iter()
        .filter(|(_, pod)| pod.exchange_asked == Some(Exchange::JoinFirst))
        .map(|(index, _)| *index)
        .filter(|index| may_begin(model, *index))
        .collect();
    // One at a time in the service.
    let Some(index) = ready.first().copied() else {
        return;
    };
    let Some(mut old) = model.record.pods.remove(&index) else {
        return;
    };
    old.exchange_asked = None;
    old.restart_asked = false;
    old.leaving_since = Some(model.clock);
    let new = Pod {
        generation: old.generation.next(),
        // What was deployed once is not deployed anew, but recovers.
        deployed: old.deployed,
        updating: old.updating.take(),
        ..Pod::default()
    };
    model.record.pods.insert(index.leaving(), old);
    model.record.pods.insert(index, new);
    model.observed.rename(index, index.leaving());
}

/// Whether another member is wanted in its place, and it has not begun to leave.
fn is_asked(pod: &Pod) -> bool {
    pod.exchange_asked.is_some()
}

fn may_begin(model: &Model, index: PodIndex) -> bool {
    let others_at_work = model.record.pods.iter().any(|(other, pod)| {
        let joins_or_goes = matches!(
            pod.membership,
            Membership::Absent
                | Membership::Adding { .. }
                | Membership::Learner(_)
                | Membership::Lost { .. }
        );
        *other != index && (other.is_leaving() || joins_or_goes)
    });
    let busy = model.is_in_flight(|effect| match effect {
        Effect::Accept { pod, .. }
        | Effect::AddLearner { pod, .. }
        | Effect::Promote { pod, .. }
        | Effect::RemoveMember { pod, .. }
        | Effect::Defragment { pod, .. }
        | Effect::MoveLeader { from: pod, .. } => *pod == index,
        Effect::Kill { pod, .. } => *pod == Some(index),
        Effect::Release { .. }
        | Effect::Decline { .. }
        | Effect::Disarm { .. }
        | Effect::TryRecipe { .. }
        | Effect::Compact { .. }
        | Effect::TakeSnapshot { .. }
        | Effect::EnableDowngrade { .. }
        | Effect::CancelDowngrade
        | Effect::Suppress
        | Effect::Revive
        | Effect::Reconcile { .. }
        | Effect::ReconcileAll => false,
    });
    let runs = model.record.pods.get(&index).is_some_and(|pod| {
        pod.launch
            .as_ref()
            .is_some_and(|launch| launch.end.is_none() && launch.stop_asked.is_none())
    });
    // Once the last exchange has come to rest; else old places would pile up.
    let old_places = &model.record.abandoned;
    let at_rest = old_places
        .iter()
        .all(|place| place.can_be_missed || place.awaits_approval);
    !others_at_work
        && at_rest
        && !busy
        && runs
        && matches!(model.record.cluster, Cluster::Formed(_))
        && quorum::is_healthy_voter_seen(model, index)
}

/// Asks for the exchange of a member that has been down for as long as the target
/// allows: of one at a time, and never where it would touch quorum.
pub(crate) fn exchange_what_is_down_for_long(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        note_how_long_it_is_down(draft, index);
    }
    let Some(after) = draft
        .model
        .target
        .replace_after_ms
        .map(Duration::from_millis)
    else {
        return;
    };
    let pods = draft.recorded_pods();
    if pods
        .iter()
        .any(|index| is_asked(draft.pod(*index)) || index.is_leaving())
    {
        return;
    }
    for index in pods {
        let Some(since) = draft.pod(index).down_since else {
            continue;
        };
        let due = since.plus(after);
        if draft.now() < due {
            draft.wake_at(due);
        } else if judge(draft.model, index, Exchange::LeaveFirst).is_ok()
            && holding::hold_repair(&draft.record, index).is_none()
        {
            draft.pod_mut(index).exchange_asked = Some(Exchange::LeaveFirst);
            return;
        }
    }
}

fn note_how_long_it_is_down(draft: &mut Draft<'_>, index: PodIndex) {
    let pod = draft.pod(index);
    // Who is stopped because somebody wants it so is not down.
    let is_wanted_so = pod.paused.is_some()
        || pod.restart_asked
        || pod
            .launch
            .as_ref()
            .is_some_and(|it| it.stop_asked.is_some());
    let votes = matches!(
        pod.membership,
        Membership::Founder(_) | Membership::Voter(_)
    );
    let now = draft.now();
    let is_maintained = maintenance::busy(draft.model, &draft.record, now) == Some(index);
    let counts = pod.deployed && votes && !is_wanted_so && !is_maintained;
    match condition(draft, index) {
        Condition::Down if counts => {
            draft.pod_mut(index).down_since.get_or_insert(now);
        }
        Condition::Unknown if counts => {}
        Condition::Down | Condition::Unknown | Condition::Well => {
            draft.pod_mut(index).down_since = None;
        }
    }
}

/// The next step of the exchange that is under way.
pub(crate) fn exchange_members(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        if index.is_leaving() {
            leave_if_not_needed(draft, index);
        }
    }
    let mut asked = draft.recorded_pods();
    asked.retain(|index| is_asked(draft.pod(*index)));
    // A voter in good health can begin to leave only when nobody else joins.
    asked.sort_by_key(|index| condition(draft, *index) == Condition::Well);
    let Some((busy, others)) = asked.split_first() else {
        return;
    };
    leave_first(draft, *busy);
    for index in others {
        draft.wait(*index, WaitingReason::OneAtATime { busy: *busy });
    }
}

/// How a member is, as far as an exchange is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// A voter in good health.
    Well,
    /// It does not run, or cannot be reached, or etcd does not answer.
    Down,
    /// Not known yet.
    Unknown,
}

fn condition(draft: &Draft<'_>, index: PodIndex) -> Condition {
    let model = draft.model;
    if quorum::is_healthy_voter_seen(model, index) {
        return Condition::Well;
    }
    let answer = quorum::fresh_answer(model, index);
    if !draft.pod(index).membership.is_voter() || answer.is_some_and(alarms::is_corrupt) {
        // Nobody counts on it.
        return Condition::Down;
    }
    let running = draft
        .pod(index)
        .launch
        .as_ref()
        .is_some_and(|launch| launch.end.is_none());
    if !running {
        return Condition::Down;
    }
    let silent_since = model.observed.silent_since.get(&index);
    let is_silent = silent_since
        .is_some_and(|since| draft.now().since(*since) >= SILENT_IS_DOWN_AFTER);
    match model.task(index).map(|seen| seen.state) {
        Some(TaskState::Unreachable | TaskState::Unknown) => Condition::Down,
        Some(_) if is_silent => Condition::Down,
        Some(_) | None => Condition::Unknown,
    }
}

/// A member that makes way before its successor has joined: it is down, or the
/// operator wants it so.
fn leave_first(draft: &mut Draft<'_>, index: PodIndex) {
    let Some(how) = draft.pod(index).exchange_asked else {
        return;
    };
    if is_told_to_leave(draft, index) {
        if leave(draft, index, how) {
            draft.pod_mut(index).exchange_asked = None;
        }
        return;
    }
    if matches!(draft.pod(index).membership, Membership::Learner(_))
        && !membership::is_proven_learner(draft.model, index)
    {
        let why = format!("the others have to say that {index} does not vote yet");
        draft.wait(index, WaitingReason::MembershipUnsettled { why });
        draft.wake_in(Duration::from_secs(1));
        return;
    }
    let condition = condition(draft, index);
    if let Some(busy) = another_at_work(draft, index, condition) {
        draft.wait(index, WaitingReason::OneAtATime { busy });
        return;
    }
    match condition {
        // Begun with an event, see `begin`.
        Condition::Well if how == Exchange::JoinFirst => {
            let why = "the last exchange of a member has to come to rest".to_owned();
            draft.wait(index, WaitingReason::MembershipUnsettled { why });
            draft.wake_in(Duration::from_secs(1));
            return;
        }
        Condition::Unknown => {
            draft.wait(index, WaitingReason::Reconciling);
            draft.wake_in(Duration::from_secs(1));
            return;
        }
        Condition::Well => {
            if let Some(why) = membership::unsettled(draft) {
                draft.wait(index, WaitingReason::MembershipUnsettled { why });
                draft.wake_in(Duration::from_secs(1));
                return;
            }
        }
        Condition::Down => {}
    }
    if leave(draft, index, how) {
        draft.pod_mut(index).exchange_asked = None;
    }
}

/// A member whose successor is to join first leaves once that has happened. If it
/// goes down before, it leaves first after all: with it down, nobody can join.
fn leave_if_not_needed(draft: &mut Draft<'_>, index: PodIndex) {
    let successor = index.successor();
    if draft.pod(index).membership == Membership::Absent {
        let launch = draft.pod(index).launch.as_ref();
        if launch.is_none_or(|launch| launch.end.is_some()) {
            // It has left the cluster; whatever it had is kept as an old place.
            recovery::abandon_placement(draft, index, REPLACED);
            draft.record.pods.remove(&index);
        }
        return;
    }
    if matches!(draft.pod(index).membership, Membership::Lost { .. }) {
        // The change of members goes on with it.
        return;
    }
    let leave = |draft: &mut Draft<'_>| leave(draft, index, Exchange::JoinFirst);
    if is_told_to_leave(draft, index) {
        leave(draft);
        return;
    }
    let joins = draft.record.pods.get(&successor).is_some_and(|pod| {
        matches!(
            pod.membership,
            Membership::Adding { .. } | Membership::Learner(_)
        )
    });
    // Once its successor has joined, it is removed and then stopped: up to the change
    // of members.
    if !has_been_succeeded(draft, index) {
        let down = condition(draft, index) == Condition::Down;
        if !joins && down && quorum::may_stop(draft.model, &draft.record, index).is_ok() {
            leave(draft);
        }
        let why = if is_in_the_way(draft, successor) {
            let patience = MAKES_WAY_AFTER.as_secs();
            format!(
                "placement constraints let {successor} join only where it is; it leaves \
                 first if that is so for {patience} s"
            )
        } else {
            format!("it leaves once {successor} is a voter")
        };
        draft.wait(index, WaitingReason::MembershipUnsettled { why });
    }
}

/// Whether a member that leaves is needed no more: its successor is a voter.
pub(crate) fn has_been_succeeded(draft: &Draft<'_>, index: PodIndex) -> bool {
    let successor = index.successor();
    let pod = draft.record.pods.get(&successor);
    index.is_leaving()
        && quorum::is_healthy_voter_seen(draft.model, successor)
        && pod.is_some_and(|pod| pod.membership.is_voter())
}

/// Whether an offer for the successor was refused for the sake of this member alone.
fn is_in_the_way(draft: &Draft<'_>, successor: PodIndex) -> bool {
    let mut refusals = draft.refusals.get(&successor).into_iter().flatten();
    refusals.any(|(_, refusal)| matches!(refusal, OfferRefusal::HeldByLeaving { .. }))
}

/// Lets members in good health leave before their successors have joined, where a
/// placement constraint allows these nowhere else. An agent for the successor is at
/// hand then. Where none is, leaving first would gain nothing: the ports of the old
/// place stay reserved until the successor is a voter.
pub(crate) fn make_way_for_successors(draft: &mut Draft<'_>) {
    for successor in draft.could_take_over.clone() {
        let index = successor.leaving();
        let since = draft
            .record
            .pods
            .get(&index)
            .and_then(|pod| pod.leaving_since);
        let Some(due) = since.map(|since| since.plus(MAKES_WAY_AFTER)) else {
            continue;
        };
        if draft.now() < due {
            draft.wake_at(due);
        } else if membership::unsettled(draft).is_none() {
            leave(draft, index, Exchange::LeaveFirst);
        }
    }
}

/// The next step out: stopped, then removed. True once the rest is up to the change
/// of members.
fn leave(draft: &mut Draft<'_>, index: PodIndex, how: Exchange) -> bool {
    if let Some(cost) = cost_of_the_only_voter(draft, index) {
        draft.wait(index, cost.into());
        return false;
    }
    let runs = draft
        .pod(index)
        .launch
        .as_ref()
        .is_some_and(|launch| launch.end.is_none());
    let reachable = !draft.model.task(index).is_some_and(|seen| {
        matches!(seen.state, TaskState::Unreachable | TaskState::Unknown)
    });
    if runs && reachable {
        restarting::stop(draft, index, StopCause::Replace);
        return false;
    }
    if runs && how == Exchange::InPlace {
        // Its volume cannot be used before its task has ended.
        let hostname = draft.pod(index).placement.as_ref();
        let hostname = hostname.map_or_else(Hostname::unknown, |at| at.hostname.clone());
        draft.wait(index, WaitingReason::AgentUnreachable { hostname });
        return false;
    }
    // Who cannot be reached cannot be stopped, but removed: it will not be listened
    // to any more. Should its agent come back, its task is a stray and is killed.
    if let Err(cost) = quorum::may_stop(draft.model, &draft.record, index)
        && draft.pod(index).membership.is_voter()
    {
        draft.wait(index, cost.into());
        return false;
    }
    let pod = draft.pod_mut(index);
    pod.launch = None;
    pod.down_since = None;
    pod.failures = Failures::default();
    if how == Exchange::InPlace {
        recovery::lose_member(draft, index, RESET);
    } else {
        recovery::abandon_placement(draft, index, REPLACED);
        recovery::lose_member(draft, index, REPLACED);
    }
    true
}

/// A cluster of one may be without service for a while, and so its member may be
/// stopped; but it may not leave: its data would go with it, however it is now.
fn cost_of_the_only_voter(
    draft: &Draft<'_>,
    index: PodIndex,
) -> Option<StopWouldCostQuorum> {
    let voters = quorum::voters(&draft.record);
    (voters == [index]).then_some(StopWouldCostQuorum {
        healthy_without: 0,
        voters: 1,
    })
}

/// Whether its task was told to stop for good: there is no way back then.
fn is_told_to_leave(draft: &Draft<'_>, index: PodIndex) -> bool {
    let launch = draft.pod(index).launch.as_ref();
    launch.is_some_and(|launch| launch.stop_asked == Some(StopCause::Replace))
}

/// Another pod whose members are being changed. While a member is down nobody can
/// join, so it waits for none that does.
fn another_at_work(
    draft: &Draft<'_>,
    index: PodIndex,
    condition: Condition,
) -> Option<PodIndex> {
    let mut pods = draft.record.pods.iter();
    let at_work = |(other, pod): &(&PodIndex, &Pod)| {
        let joins = matches!(
            pod.membership,
            Membership::Adding { .. } | Membership::Learner(_)
        );
        let goes = matches!(pod.membership, Membership::Lost { .. });
        let waits_for_joining = condition != Condition::Down;
        **other != index && (goes || waits_for_joining && (other.is_leaving() || joins))
    };
    pods.find(at_work).map(|(other, _)| *other)
}
