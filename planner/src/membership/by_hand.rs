//! What somebody else has done to the members, with `etcdctl` for example.
//!
//! etcd's list is the truth. A member that was removed by hand can never run again
//! under its id, so it begins anew on its volume; one that was added by hand at a
//! pod's peer URL is that pod's.

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::observed::MemberSeen;
use crate::record::{Enrolled, Exchange, Membership};

/// Brings a pod's record up to a list that shows all that we have changed ourselves.
pub(super) fn take_note(draft: &mut Draft<'_>, index: PodIndex, members: &[MemberSeen]) {
    let pod = draft.pod(index);
    let Some(enrolled) = pod.membership.enrolled() else {
        return;
    };
    let old = enrolled.member_id;
    if index.is_leaving() || members.iter().any(|member| member.member_id == old) {
        return;
    }
    let peer_url = draft.peer_url(index);
    let successor = members.iter().find(|member| {
        peer_url
            .as_ref()
            .is_some_and(|url| member.peer_urls.contains(url))
    });
    match (successor, peer_url) {
        (Some(member), Some(peer_url)) => adopt(draft, index, member, peer_url),
        // Whoever has paused it may be about to add it again.
        _ if draft.pod(index).paused.is_some() => {}
        _ => {
            draft
                .pod_mut(index)
                .exchange_asked
                .get_or_insert(Exchange::InPlace);
        }
    }
}

/// The pod goes on as the member that was added for it.
fn adopt(draft: &mut Draft<'_>, index: PodIndex, member: &MemberSeen, peer_url: String) {
    let superseded = draft.record.superseded_identity_of(index);
    let pod = draft.pod_mut(index);
    pod.superseded.extend(superseded);
    let enrolled = Enrolled {
        member_id: member.member_id,
        peer_url,
        launched: false,
        // It was, if it has told the others its name. Then there is data that counts.
        started: !member.name.is_empty(),
    };
    pod.membership = if member.is_learner {
        Membership::Learner(enrolled)
    } else {
        Membership::Voter(enrolled)
    };
    pod.exchange_asked = None;
    // What runs knows only the old identity.
    pod.restart_asked |= pod
        .launch
        .as_ref()
        .is_some_and(|launch| launch.end.is_none() && !launch.paused);
}
