//! How a formed cluster changes its members: one step of one member at a
//! time, as a learner first, matched by id and peer URL and never by name.

use std::time::Duration;

use etcd_launch::{MemberId, PodIndex, SupersededIdentity};

use crate::alarms::{self, AlarmKind};
use crate::decommissioning;
use crate::draft::Draft;
use crate::effect::Effect;
use crate::holding;
use crate::maintenance;
use crate::model::Model;
use crate::observed::MemberSeen;
use crate::quorum;
use crate::record::{Cluster, Enrolled, Membership, PlacementStage, Pod};
use crate::waiting::WaitingReason;

pub(crate) mod by_hand;
pub(crate) mod stuck;

/// etcd refuses a change of members unless its peers have been connected for
/// five seconds (`HealthInterval`); asking earlier only fills its log.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// After a refused change the next one is not tried at once.
pub(crate) const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A learner that is behind the leader by no more than this many entries is in
/// sync. etcd itself would allow a tenth of the log, which can be a million
/// entries; 5000 is what it keeps in memory for slow followers.
const IN_SYNC_WITHIN: u64 = 5_000;

/// etcd's member list, as the cluster agrees on it.
#[derive(Clone, Copy)]
pub(crate) struct MemberList<'m> {
    pub(crate) members: &'m [MemberSeen],
    /// It was asked for after our last change was answered: what differs from the
    /// record is somebody else's doing.
    shows_last_change: bool,
}

/// The member list from a member that has just proved quorum.
pub(crate) fn member_list(model: &Model) -> Option<MemberList<'_>> {
    let asked = model.observed.membership_asked;
    let answers = model.record.pods.keys().filter_map(|index| {
        let at = model.observed.probes.get(index)?.at;
        Some((at, quorum::fresh_answer(model, *index)?))
    });
    answers
        .filter(|(_, answer)| {
            let ours = model
                .record
                .cluster
                .incarnation()
                .is_some_and(|incarnation| incarnation.cluster_id == answer.cluster_id);
            ours && answer.linearizable && !answer.members.is_empty()
        })
        .max_by_key(|(_, answer)| (answer.raft_applied_index, answer.member_id))
        .map(|(at, answer)| MemberList {
            members: &answer.members,
            shows_last_change: asked.is_none_or(|asked| at > asked)
                && !change_in_flight(model),
        })
}

/// The members, from a list that shows all that we have changed.
pub(crate) fn members_now(model: &Model) -> Option<&[MemberSeen]> {
    let list = member_list(model).filter(|list| list.shows_last_change)?;
    Some(list.members)
}

/// The next step of the one membership change that is under way, or the first
/// step of the next one.
pub(crate) fn change_one_member(draft: &mut Draft<'_>) {
    if !matches!(draft.record.cluster, Cluster::Formed(_)) {
        return;
    }
    let Some(list) = member_list(draft.model) else {
        wait_for_member_list(draft);
        return;
    };
    let members = list.members;
    for index in draft.recorded_pods() {
        take_note_of_member_list(draft, index, members);
        if list.shows_last_change {
            by_hand::take_note(draft, index, members);
        }
    }
    let pods = pods_to_change(draft);
    let Some((&index, others)) = pods.split_first() else {
        return;
    };
    for other in others {
        draft.wait(*other, WaitingReason::OneAtATime { busy: index });
    }
    if change_in_flight(draft.model) {
        return;
    }
    if !last_change_has_shown(draft.model) {
        let why = "the last change has not shown in the member list yet".to_owned();
        draft.wait(index, WaitingReason::MembershipUnsettled { why });
        return;
    }
    if let Some((at, why)) = &draft.model.observed.membership_refused {
        let again = at.plus(TRY_AGAIN_AFTER);
        if again > draft.now() {
            let why = format!("etcd refused the last change: {why}");
            draft.wait(index, WaitingReason::MembershipUnsettled { why });
            draft.wake_at(again);
            return;
        }
    }
    let is_to_leave = decommissioning::is_to_leave(draft, index);
    match draft.pod(index).membership.clone() {
        Membership::Lost { member_id, why } => {
            remove(draft, index, member_id, &why, members);
        }
        Membership::Founder(enrolled)
        | Membership::Voter(enrolled)
        | Membership::Learner(enrolled)
            if is_to_leave =>
        {
            if decommissioning::may_remove(draft, index) {
                let why = decommissioning::why_it_leaves(draft, index);
                remove(draft, index, enrolled.member_id, why, members);
            }
        }
        Membership::Learner(enrolled) => promote(draft, index, &enrolled),
        Membership::Adding { peer_url } => add(draft, index, peer_url),
        Membership::Absent => begin_adding(draft, index),
        Membership::Founder(_) | Membership::Voter(_) => {}
    }
}

fn wait_for_member_list(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        if !is_held(draft, index)
            && !matches!(
                draft.pod(index).membership,
                Membership::Founder(_) | Membership::Voter(_)
            )
        {
            let why =
                "no member proves quorum, so the member list is not known".to_owned();
            draft.wait(index, WaitingReason::MembershipUnsettled { why });
        }
    }
}

/// The pods whose membership is to be changed, the next one first: what is lost goes
/// first, since etcd takes in nobody while a voter is missing; then what was begun
/// comes before what is new. Last, members leave that are not needed any more: those that
/// are down first, then the highest.
fn pods_to_change(draft: &Draft<'_>) -> Vec<PodIndex> {
    let urgency = |membership: &Membership, placed: bool| match membership {
        Membership::Lost { .. } => Some(0),
        Membership::Learner(_) => Some(1),
        Membership::Adding { .. } => Some(2),
        Membership::Absent if placed => Some(3),
        Membership::Absent | Membership::Founder(_) | Membership::Voter(_) => None,
    };
    let mut pods: Vec<(u8, PodIndex)> = draft
        .record
        .pods
        .iter()
        .filter_map(|(index, pod)| {
            let placed = pod
                .placement
                .as_ref()
                .is_some_and(|placement| placement.stage == PlacementStage::Confirmed);
            let surplus = decommissioning::is_surplus(&draft.model.target, *index);
            let is_enrolled = pod.membership.enrolled().is_some();
            let votes = !matches!(pod.membership, Membership::Learner(_));
            let leaves = decommissioning::is_to_leave(draft, *index) && is_enrolled;
            let urgency = if leaves && votes {
                4
            } else {
                urgency(&pod.membership, placed)?
            };
            // A member that has left does not join again.
            let has_left =
                (index.is_leaving() || surplus) && pod.membership == Membership::Absent;
            // What runs there as somebody else has to end first.
            let is_free = !matches!(urgency, 2 | 3) || !still_runs(pod);
            let changes = !has_left && is_free && !is_held(draft, *index);
            changes.then_some((urgency, *index))
        })
        .collect();
    pods.sort_unstable_by_key(|(urgency, index)| match urgency {
        4 => {
            let is_well = quorum::is_healthy_voter_seen(draft.model, *index);
            (4, is_well, u16::MAX - index.0)
        }
        _ => (*urgency, false, index.0),
    });
    pods.into_iter().map(|(_, index)| index).collect()
}

fn still_runs(pod: &Pod) -> bool {
    let launch = pod.launch.as_ref();
    launch.is_some_and(|launch| launch.end.is_none() && !launch.paused)
}

/// Whether plans hold back the change that this pod needs. One that has begun is
/// finished: a learner left behind would keep etcd from taking in any other.
fn is_held(draft: &Draft<'_>, index: PodIndex) -> bool {
    let (record, target) = (&draft.record, &draft.model.target);
    match draft.pod(index).membership {
        // Whoever has paused it may be about to add it by hand.
        Membership::Absent if draft.pod(index).paused.is_some() => true,
        Membership::Absent => holding::hold(record, target, index).is_some(),
        Membership::Lost { .. } => holding::hold_repair(record, index).is_some(),
        Membership::Founder(_)
        | Membership::Adding { .. }
        | Membership::Learner(_)
        | Membership::Voter(_) => false,
    }
}

/// Whether members have been asked since the last change: what they said before
/// does not tell what came of it.
fn last_change_has_shown(model: &Model) -> bool {
    let answered = model
        .observed
        .probes
        .values()
        .filter(|probe| probe.answer.is_ok())
        .map(|probe| probe.at)
        .max();
    model
        .observed
        .membership_asked
        .is_none_or(|asked| answered.is_some_and(|answered| answered > asked))
}

fn change_in_flight(model: &Model) -> bool {
    model.is_in_flight(Effect::changes_members)
}

/// Brings the record up to what etcd's member list says has happened, whether
/// we have seen the answer to our call or not.
fn take_note_of_member_list(
    draft: &mut Draft<'_>,
    index: PodIndex,
    members: &[MemberSeen],
) {
    let cluster_id = draft
        .record
        .cluster
        .incarnation()
        .map(|found| found.cluster_id);
    let is_at_its_place =
        |peer_url: &String| draft.peer_url(index).as_ref() == Some(peer_url);
    let answered = !change_in_flight(draft.model) && last_change_has_shown(draft.model);
    let is_surplus = decommissioning::is_surplus(&draft.model.target, index);
    match draft.pod(index).membership.clone() {
        Membership::Adding { peer_url } => {
            let seen = new_member_at(draft, index, members, &peer_url);
            let membership = match seen {
                Some(seen) if is_at_its_place(&peer_url) => {
                    // Its place was declined while it could not be launched there.
                    draft.wants_declined_offers = true;
                    Membership::Learner(Enrolled {
                        member_id: seen.member_id,
                        peer_url,
                        launched: false,
                        started: false,
                    })
                }
                // Its place was lost meanwhile: it can never start there.
                Some(seen) => Membership::Lost {
                    member_id: seen.member_id,
                    why: "its place was lost while it was being added".to_owned(),
                },
                None if answered && (is_surplus || !is_at_its_place(&peer_url)) => {
                    Membership::Absent
                }
                None => return,
            };
            draft.pod_mut(index).membership = membership;
        }
        Membership::Learner(enrolled) => {
            let promoted = members.iter().any(|member| {
                member.member_id == enrolled.member_id && !member.is_learner
            });
            if promoted {
                let pod = draft.pod_mut(index);
                pod.membership = Membership::Voter(enrolled);
                pod.place_was_used = true;
            }
        }
        Membership::Lost { member_id, .. } => {
            let removed = members.iter().all(|member| member.member_id != member_id);
            if let (true, Some(cluster_id)) = (removed, cluster_id) {
                // They were declined while it was being removed.
                draft.wants_declined_offers = true;
                let pod = draft.pod_mut(index);
                pod.superseded.insert(SupersededIdentity {
                    cluster_id,
                    member_id,
                });
                pod.membership = Membership::Absent;
                pod.launch = None;
                pod.generation = pod.generation.next();
            }
        }
        Membership::Absent | Membership::Founder(_) | Membership::Voter(_) => {}
    }
}

/// The member at a pod's peer URL. An older list may still show one there that the pod
/// had before.
fn new_member_at<'m>(
    draft: &Draft<'_>,
    index: PodIndex,
    members: &'m [MemberSeen],
    peer_url: &String,
) -> Option<&'m MemberSeen> {
    let superseded = &draft.pod(index).superseded;
    let is_old = |id: MemberId| superseded.iter().any(|old| old.member_id == id);
    members
        .iter()
        .find(|member| member.peer_urls.contains(peer_url) && !is_old(member.member_id))
}

/// Removes a member. With it dead, the others must be a majority of the voters, or
/// etcd could not agree on the removal; with it well, they must be one afterwards. Who
/// votes is what etcd says: a lost learner never counted.
fn remove(
    draft: &mut Draft<'_>,
    index: PodIndex,
    member_id: MemberId,
    why: &str,
    members: &[MemberSeen],
) {
    let voters = members.iter().filter(|member| !member.is_learner).count();
    let (healthy, _) = quorum::health_without(draft.model, &draft.record, index);
    // One that leaves in good health agrees to its own removal.
    let agrees = usize::from(quorum::is_healthy_voter_seen(draft.model, index));
    let can_agree = healthy + agrees >= quorum::majority(voters);
    if !can_agree || healthy < quorum::majority(voters.saturating_sub(agrees)) {
        let why = format!("only {healthy} of {voters} voters are in good health");
        draft.wait(index, WaitingReason::RemovalBlocked { why });
        return;
    }
    draft.wait(
        index,
        WaitingReason::RemovingLostMember {
            why: why.to_owned(),
        },
    );
    draft.effects.push(Effect::RemoveMember {
        pod: index,
        member_id,
    });
}

/// Begins to add a member, once the cluster is in a state in which etcd
/// accepts it. The intent is recorded before the call.
fn begin_adding(draft: &mut Draft<'_>, index: PodIndex) {
    if let Some(why) = unsettled(draft) {
        draft.wait(index, WaitingReason::MembershipUnsettled { why });
        draft.wake_in(Duration::from_secs(1));
        return;
    }
    let Some(peer_url) = draft.peer_url(index) else {
        return;
    };
    draft.pod_mut(index).membership = Membership::Adding {
        peer_url: peer_url.clone(),
    };
    add(draft, index, peer_url);
}

fn add(draft: &mut Draft<'_>, index: PodIndex, peer_url: String) {
    if let Some(why) = by_hand::unfinished(draft.model) {
        draft.wait(index, WaitingReason::MembershipUnsettled { why });
        return;
    }
    let why = "being added as a learner".to_owned();
    draft.wait(index, WaitingReason::MembershipUnsettled { why });
    draft.effects.push(Effect::AddLearner {
        pod: index,
        peer_url,
    });
}

/// What must still come before a member can be added.
pub(crate) fn unsettled(draft: &Draft<'_>) -> Option<String> {
    if let Some(busy) = maintenance::busy(draft.model, &draft.record, draft.now()) {
        return Some(format!("{busy} is being defragmented"));
    }
    not_settled(draft)
}

/// The same, whatever maintenance does.
pub(crate) fn not_settled(draft: &Draft<'_>) -> Option<String> {
    if let Some(why) = by_hand::unfinished(draft.model) {
        return Some(why);
    }
    let mut alarms = alarms::raised(draft.model).into_iter();
    if let Some(alarm) = alarms.find(|alarm| alarm.kind == AlarmKind::Corrupt) {
        return Some(format!(
            "etcd calls the data of member {} corrupt",
            alarm.member_id
        ));
    }
    let now = draft.now();
    let voters = quorum::voters(&draft.record);
    // One alone has no peers that it could have lost.
    let has_peers = voters.len() > 1;
    for voter in voters {
        if !quorum::is_healthy_voter_seen(draft.model, voter) {
            return Some(format!("{voter} is not in good health"));
        }
        let settled = draft
            .model
            .observed
            .answering_since
            .get(&voter)
            .is_some_and(|since| now.since(*since) >= SETTLED_AFTER);
        if has_peers && !settled {
            return Some(format!("{voter} has answered for less than five seconds"));
        }
    }
    None
}

/// Whether etcd itself says that a pod's member has no vote. Our own record may not have
/// heard yet that it was promoted, and others may count on it since.
pub(crate) fn is_proven_learner(model: &Model, index: PodIndex) -> bool {
    let pod = model.record.pods.get(&index);
    let member_id = pod.and_then(|pod| pod.membership.member_id());
    members_now(model).is_some_and(|members| {
        let mut members = members.iter();
        members.any(|member| Some(member.member_id) == member_id && member.is_learner)
    })
}

/// Whether a pod is a voter in good health, and has been for long enough for etcd to
/// take in changes.
pub(crate) fn is_settled(draft: &Draft<'_>, index: PodIndex) -> bool {
    let since = draft.model.observed.answering_since.get(&index);
    quorum::is_healthy_voter_seen(draft.model, index)
        && since.is_some_and(|since| draft.now().since(*since) >= SETTLED_AFTER)
}

/// Which voter has not got nearly all that the others have, if one has not.
pub(crate) fn lagging(model: &Model) -> Option<String> {
    let voters = quorum::voters(&model.record);
    let answers = voters.iter().filter_map(|voter| {
        Some((
            *voter,
            quorum::fresh_answer(model, *voter)?.raft_applied_index,
        ))
    });
    let newest = answers.clone().map(|(_, applied)| applied).max()?;
    let (voter, applied) = answers.min_by_key(|(_, applied)| *applied)?;
    let behind = newest - applied;
    (behind > IN_SYNC_WITHIN).then(|| format!("{voter} is {behind} entries behind"))
}

/// Makes a learner a voter once it has what the leader has.
fn promote(draft: &mut Draft<'_>, index: PodIndex, enrolled: &Enrolled) {
    let Some(answer) = quorum::fresh_answer(draft.model, index) else {
        return;
    };
    if answer.member_id != enrolled.member_id {
        return;
    }
    let leader_index = draft
        .model
        .record
        .pods
        .keys()
        .filter_map(|index| quorum::fresh_answer(draft.model, *index))
        .filter(|answer| !answer.is_learner)
        .map(|answer| answer.raft_index)
        .max()
        .unwrap_or(u64::MAX);
    let behind = leader_index.saturating_sub(answer.raft_applied_index);
    draft.wait(index, WaitingReason::LearnerCatchingUp { behind });
    if behind <= IN_SYNC_WITHIN {
        let member_id = enrolled.member_id;
        draft.effects.push(Effect::Promote {
            pod: index,
            member_id,
        });
    }
}
