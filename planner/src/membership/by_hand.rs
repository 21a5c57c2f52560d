//! What somebody else has done to the members, with `etcdctl` for example.
//!
//! etcd's list is the truth. A member that was removed by hand can never run again
//! under its id, so it begins anew on its volume; one that was added by hand at a
//! pod's peer URL is that pod's.

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::model::Model;
use crate::observed::MemberSeen;
use crate::record::{Enrolled, Failures, Membership, Pod, StopCause};
use crate::restarting;

/// Brings a pod's record up to a list that shows all that we have changed ourselves.
pub(super) fn take_note(draft: &mut Draft<'_>, index: PodIndex, members: &[MemberSeen]) {
    let pod = draft.pod(index);
    let Some(enrolled) = pod.membership.enrolled() else {
        return;
    };
    let old = enrolled.member_id;
    if members.iter().any(|member| member.member_id == old) {
        return;
    }
    let peer_url = draft.peer_url(index);
    let successor = peer_url
        .as_ref()
        .and_then(|url| super::new_member_at(draft, index, members, url));
    let superseded = draft.record.superseded_identity_of(index);
    let pod = draft.pod_mut(index);
    pod.superseded.extend(superseded);
    pod.exchange_asked = None;
    pod.failures = Failures::default();
    pod.membership = match (successor, peer_url) {
        (Some(member), Some(peer_url)) => membership_of(member, peer_url),
        _ => Membership::Absent,
    };
}

/// Stops what runs as a member that is none any more. No quorum can need it.
pub(crate) fn stop_former_members(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        if runs_as_former_member(draft.pod(index)) {
            restarting::stop_now(draft, index, StopCause::Replace);
        }
    }
}

/// Whether what runs was launched as a member that the pod is no more.
pub(super) fn runs_as_former_member(pod: &Pod) -> bool {
    let launched_as = pod
        .launch
        .as_ref()
        .filter(|launch| launch.end.is_none() && !launch.paused)
        .and_then(|launch| launch.member_id);
    launched_as.is_some() && launched_as != pod.membership.member_id()
}

/// A member that is no pod's and keeps etcd from taking in another one. It may be
/// somebody's who is about to start it, so it is for an operator to remove.
pub(super) fn unfinished(model: &Model) -> Option<String> {
    let pods = model.record.pods.values();
    let is_ours = |member: &MemberSeen| {
        pods.clone().any(|pod| match &pod.membership {
            Membership::Adding { peer_url } => member.peer_urls.contains(peer_url),
            known => known.member_id() == Some(member.member_id),
        })
    };
    let members = super::member_list(model)?.members.iter();
    let mut hindering =
        members.filter(|member| member.is_learner || member.name.is_empty());
    let member = hindering.find(|member| !is_ours(member))?;
    Some(format!(
        "member {} at {} was added by hand and does not vote yet; it has to start, or to be \
         removed with `etcdctl member remove {}`",
        member.member_id,
        member.peer_urls.join(", "),
        member.member_id
    ))
}

/// What a pod is whose member was added by hand.
fn membership_of(member: &MemberSeen, peer_url: String) -> Membership {
    let enrolled = Enrolled {
        member_id: member.member_id,
        peer_url,
        launched: false,
        // It was, if it has told the others its name. Then there is data that counts.
        started: !member.name.is_empty(),
    };
    if member.is_learner {
        Membership::Learner(enrolled)
    } else {
        Membership::Voter(enrolled)
    }
}
