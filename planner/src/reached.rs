//! How far each member is known to have come, so that an older copy of its data
//! can be told when it is launched again.
//!
//! What a status calls the raft index is what etcd knows to be committed, and it
//! says so before its own log has it on the disk: since 3.5 it announces the
//! index first and writes then, and a follower may get an entry and the word that
//! it is committed at once. A crash in between would leave a log that is shorter
//! than what was reported, and a good member would be refused for it. So an
//! answer counts only with the linearizable read that came after it: the member's
//! raft hands the read out with a later batch than the one that brought the
//! index, and begins no batch before the last one is on the disk.
//! (etcd: `raftNode.start` in `etcdserver/raft.go`, `node.run` of raft.)

use std::time::Duration;

use etcd_launch::{LogPosition, PodIndex};

use crate::model::Model;
use crate::observed::MemberAnswer;
use crate::record::{Pod, Reached};
use crate::time::Timestamp;

/// How old the record may become while members go on writing: what they wrote
/// meanwhile is forgotten if the scheduler crashes. At every end of a launch the
/// newest is written down at once.
const WRITTEN_DOWN_EVERY: Duration = Duration::from_secs(10);

/// Takes in what a member's answer proves.
pub(crate) fn note_answer(
    model: &mut Model,
    index: PodIndex,
    answer: &MemberAnswer,
    now: Timestamp,
) {
    let is_ours = model.record.identity_of(index).is_some_and(|ours| {
        ours.member_id == answer.member_id && ours.cluster_id == answer.cluster_id
    });
    if !answer.linearizable || !is_ours {
        return;
    }
    let position = LogPosition {
        term: answer.raft_term,
        index: answer.raft_index,
    };
    let reached = Reached {
        member_id: answer.member_id,
        position,
        at: now,
    };
    let newest = model.observed.reached.entry(index).or_insert(reached);
    if newest.member_id != answer.member_id {
        *newest = reached;
    }
    newest.position = newest.position.or_later(position);
    let (newest, recorded) = (*newest, model.record.pods.get(&index));
    let due = match recorded.and_then(|pod| Some((pod.reached()?, pod.reached?.at))) {
        None => true,
        Some((recorded, at)) => {
            let later = recorded.or_later(newest.position);
            later.term > recorded.term
                || (later != recorded && now.since(at) >= WRITTEN_DOWN_EVERY)
        }
    };
    if due {
        write_down(model, now);
    }
}

/// Records the newest that is known of all members: one change of the record
/// instead of several.
pub(crate) fn write_down(model: &mut Model, now: Timestamp) {
    for (index, reached) in &model.observed.reached {
        if let Some(pod) = model.record.pods.get_mut(index)
            && pod.membership.member_id() == Some(reached.member_id)
        {
            raise(pod, reached.position, now);
        }
    }
}

/// Records that a pod's member had come at least this far.
pub(crate) fn raise(pod: &mut Pod, position: LogPosition, now: Timestamp) {
    let Some(member_id) = pod.membership.member_id() else {
        return;
    };
    let before = pod.reached();
    let later = before.unwrap_or_default().or_later(position);
    if before != Some(later) {
        pod.reached = Some(Reached {
            member_id,
            position: later,
            at: now,
        });
    }
}
