//! A cluster is born once: the founders' ids are fixed before the first of
//! them is launched, and a birth that fails is cleared away as a whole.

use etcd_config::DeployStrategy;
use etcd_launch::{ClusterToken, Founder, PodIndex, SupersededIdentity};

use crate::draft::Draft;
use crate::holding;
use crate::overrides::PlanName;
use crate::quorum;
use crate::reconciling;
use crate::record::{Cluster, Enrolled, Incarnation, Membership, StopCause};
use crate::waiting::WaitingReason;

/// Once every founder has a place, fixes who they are.
///
/// The record is stored before any founder is launched, so that whatever
/// happens next, nobody can found a second cluster under these names.
pub(crate) fn fix_founders(draft: &mut Draft<'_>) {
    if draft.record.cluster != Cluster::Unborn {
        return;
    }
    let pods = founders(draft);
    if pods.is_empty() || hold_founders(draft, &pods) {
        return;
    }
    let homeless: Vec<PodIndex> = pods
        .iter()
        .copied()
        .filter(|index| draft.pod(*index).placement.is_none())
        .collect();
    if !homeless.is_empty() {
        for index in pods {
            draft.wait(
                index,
                WaitingReason::OtherFounders {
                    pods: homeless.clone(),
                },
            );
        }
        return;
    }
    let random = draft.names.next();
    let token = ClusterToken(format!("{}-{random}", draft.model.target.token_prefix));
    let founders: Vec<Founder> = pods
        .iter()
        .filter_map(|index| {
            let peer_url = draft.peer_url(*index)?;
            Some(Founder {
                name: index.task_name(),
                peer_url,
            })
        })
        .collect();
    let (cluster_id, member_ids) = match (draft.turn.identify_founders)(&token, &founders)
    {
        Ok(ids) => ids,
        Err(why) => {
            for index in pods {
                draft.wait(
                    index,
                    WaitingReason::MembershipUnsettled { why: why.clone() },
                );
            }
            return;
        }
    };
    for ((index, founder), member_id) in pods.into_iter().zip(founders).zip(member_ids) {
        draft.pod_mut(index).membership = Membership::Founder(Enrolled {
            member_id,
            peer_url: founder.peer_url,
            launched: false,
            started: false,
        });
    }
    let since = draft.now();
    draft.record.cluster = Cluster::Forming(Incarnation {
        token,
        cluster_id,
        since,
    });
}

/// Who founds the cluster: all members at once, or the first one, and the others
/// join as learners. Nobody waits for a pod without a place whose step was forced
/// to complete: it joins later.
fn founders(draft: &Draft<'_>) -> Vec<PodIndex> {
    let at_most = match draft.model.target.deploy_strategy {
        DeployStrategy::Parallel => usize::MAX,
        DeployStrategy::Serial
        | DeployStrategy::SerialCanary
        | DeployStrategy::ParallelCanary => 1,
    };
    draft
        .wanted_pods()
        .filter(|index| {
            draft.pod(*index).placement.is_some()
                || !draft.record.overrides.is_forced(PlanName::Deploy, *index)
        })
        .take(at_most)
        .collect()
}

/// Whether the founding is held back. It cannot be held back for one founder
/// alone, since a cluster is founded at once.
fn hold_founders(draft: &mut Draft<'_>, founders: &[PodIndex]) -> bool {
    let target = &draft.model.target;
    let held: Vec<(PodIndex, WaitingReason)> = founders
        .iter()
        .filter_map(|index| {
            let reason = holding::hold(&draft.record, target, *index)?;
            Some((*index, reason))
        })
        .collect();
    let pods: Vec<PodIndex> = held.iter().map(|(index, _)| *index).collect();
    for (index, reason) in held {
        draft.wait(index, reason);
    }
    if !pods.is_empty() {
        for index in founders {
            let pods = pods.clone();
            draft.wait(*index, WaitingReason::OtherFounders { pods });
        }
    }
    !pods.is_empty()
}

/// A forming cluster is formed as soon as one of its members proves quorum.
pub(crate) fn look_for_quorum(draft: &mut Draft<'_>) {
    let Cluster::Forming(incarnation) = &draft.record.cluster else {
        return;
    };
    let seen = draft.recorded_pods().into_iter().any(|index| {
        quorum::fresh_answer(draft.model, index).is_some_and(|answer| {
            answer.cluster_id == incarnation.cluster_id
                && answer.leader.is_some()
                && answer.linearizable
        })
    });
    if seen {
        draft.record.cluster = Cluster::Formed(incarnation.clone());
    }
}

/// Stops the founders of a failed birth; when none can be running any more,
/// the service is as if it had never tried, except that the old identities are
/// known and will never be used again.
pub(crate) fn clear_failed_birth(draft: &mut Draft<'_>) {
    let Cluster::Abandoning { incarnation, why } = draft.record.cluster.clone() else {
        return;
    };
    let mut running = false;
    for index in draft.recorded_pods() {
        draft.wait(index, WaitingReason::AbandoningBirth { why: why.clone() });
        let Some(launch) = draft
            .pod_mut(index)
            .launch
            .as_mut()
            .filter(|launch| launch.end.is_none())
        else {
            continue;
        };
        running = true;
        launch.stop_asked.get_or_insert(StopCause::AbandonedBirth);
        let (task_id, agent_id) = (launch.task_id.clone(), launch.agent_id.clone());
        // A task that the master has not told us about cannot be killed
        // usefully; reconciliation will find it or declare it gone.
        if draft.model.task(index).is_some() {
            reconciling::kill(draft, Some(index), task_id, agent_id);
        }
    }
    if running {
        return;
    }
    for index in draft.recorded_pods() {
        let cluster_id = incarnation.cluster_id;
        let pod = draft.pod_mut(index);
        if let Some(member_id) = pod.membership.member_id() {
            pod.superseded.insert(SupersededIdentity {
                cluster_id,
                member_id,
            });
        }
        pod.membership = Membership::Absent;
        pod.launch = None;
        pod.restart_asked = false;
        pod.generation = pod.generation.next();
    }
    draft.record.cluster = Cluster::Unborn;
    draft.waiting.clear();
}
