//! May this voter stop now? One place answers, from what was observed.

use std::time::Duration;

use etcd_launch::{MemberId, PodIndex};

use crate::alarms;
use crate::model::Model;
use crate::observed::MemberAnswer;
use crate::record::Record;

/// An answer older than this says nothing about now. Members are asked every
/// second or two, so five rounds have failed by then.
const ANSWER_IS_FRESH: Duration = Duration::from_secs(10);

/// How many voters must be in good health for the cluster to accept writes.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The newest answer of a pod's etcd, if it is fresh.
pub fn fresh_answer(model: &Model, index: PodIndex) -> Option<&MemberAnswer> {
    let probe = model.observed.probes.get(&index)?;
    let fresh = model.clock.since(probe.at) <= ANSWER_IS_FRESH;
    probe.answer.as_ref().ok().filter(|_| fresh)
}

/// Whether a pod was just seen to be a voter in good health: it answers under
/// its recorded identity, follows a leader, and has no corruption alarm.
pub fn is_healthy_voter_seen(model: &Model, index: PodIndex) -> bool {
    let Some(identity) = model.record.identity_of(index) else {
        return false;
    };
    fresh_answer(model, index).is_some_and(|answer| {
        answer.cluster_id == identity.cluster_id
            && answer.member_id == identity.member_id
            && answer.leader.is_some()
            && !answer.is_learner
            && !alarms::is_corrupt(answer)
    })
}

/// The pods that count for quorum.
pub fn voters(record: &Record) -> Vec<PodIndex> {
    record
        .pods
        .iter()
        .filter(|(_, pod)| pod.membership.is_voter())
        .map(|(index, _)| *index)
        .collect()
}

/// Voters in good health other than this one, and all voters.
pub fn health_without(model: &Model, record: &Record, index: PodIndex) -> (usize, usize) {
    let voters = voters(record);
    let healthy = voters
        .iter()
        .filter(|voter| **voter != index && is_healthy_voter_seen(model, **voter))
        .count();
    (healthy, voters.len())
}

/// A voter that must not stop now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopWouldCostQuorum {
    /// Voters in good health without it.
    pub healthy_without: usize,
    /// All voters.
    pub voters: usize,
}

/// Whether stopping this pod now leaves the cluster able to accept writes.
///
/// A cluster of one has no quorum without its member; whoever runs one has
/// chosen to be without service during a restart, so that is allowed.
pub fn may_stop(
    model: &Model,
    record: &Record,
    index: PodIndex,
) -> Result<(), StopWouldCostQuorum> {
    let (healthy_without, voters) = health_without(model, record, index);
    if voters <= 1 || healthy_without >= majority(voters) {
        Ok(())
    } else {
        Err(StopWouldCostQuorum {
            healthy_without,
            voters,
        })
    }
}

/// The member that most fresh answers call leader.
pub fn leader(model: &Model) -> Option<MemberId> {
    model
        .record
        .pods
        .keys()
        .filter_map(|index| fresh_answer(model, *index))
        .filter(|answer| answer.leader.is_some())
        // A member that was cut off still names the leader of an old term.
        .max_by_key(|answer| answer.raft_term)
        .and_then(|answer| answer.leader)
}
