//! Launching pods on the places that they have.

use etcd_launch::{ClusterStart, DataHistory, FORMAT, Founder, LaunchSpec, PodIndex};

use crate::draft::{Draft, DraftAccept};
use crate::effect::{LaunchOrder, Operation};
use crate::holding;
use crate::membership;
use crate::offer::{ExecutorId, OfferId, TaskId};
use crate::record::{Cluster, EndKind, Launch, Membership, Placement};
use crate::resizing;
use crate::rolling;
use crate::target::{Needs, Network};
use crate::time::Timestamp;
use crate::waiting::WaitingReason;

impl Draft<'_> {
    /// The peer URL that a pod has at its place.
    pub(crate) fn peer_url(&self, index: PodIndex) -> Option<String> {
        let placement = self.pod(index).placement.as_ref()?;
        let scheme = self.model.target.scheme.as_str();
        Some(format!(
            "{scheme}://{}:{}",
            placement.address, placement.needs.peer_port
        ))
    }
}

/// Launches every pod that has an identity, a place with resources at hand,
/// and nothing running.
pub(crate) fn launch_pods(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        if !is_to_be_launched(draft, index) {
            continue;
        }
        if let Some(reason) = back_off(draft, index) {
            draft.wait(index, reason);
            continue;
        }
        let resizes = draft.pod(index).placement.as_ref();
        let resizes = resizes.is_some_and(Placement::next_launch_resizes);
        match own_resources(draft, index, Placement::needs_of_next_launch) {
            Some((offer_id, _)) => launch(draft, index, offer_id),
            None => {
                if resizes
                    && let Some((_, offered)) =
                        own_resources(draft, index, |placement| placement.needs)
                {
                    resizing::note_missing(draft, index, offered);
                }
                if let Some(reason) = data_at_fault(draft, index) {
                    draft.wait(index, reason);
                } else if let Some(placement) = &draft.pod(index).placement {
                    let hostname = placement.hostname.clone();
                    draft.wait(index, WaitingReason::OwnResourcesNotOffered { hostname });
                }
            }
        }
    }
}

/// Whether the pod has all that a launch needs, except resources and patience.
pub(crate) fn is_to_be_launched(draft: &Draft<'_>, index: PodIndex) -> bool {
    let pod = draft.pod(index);
    let born = matches!(
        draft.record.cluster,
        Cluster::Forming(_) | Cluster::Formed(_)
    );
    born && pod.placement.is_some()
        && pod.membership.enrolled().is_some()
        && pod
            .launch
            .as_ref()
            .is_none_or(|launch| launch.end.is_some())
        && !draft.accept_in_flight(index)
        && !resizing::is_asked(pod)
        && holding::hold_launch(&draft.record, index).is_none()
}

fn back_off(draft: &mut Draft<'_>, index: PodIndex) -> Option<WaitingReason> {
    let failures = &draft.pod(index).failures;
    let until = failures
        .retry_at
        .filter(|retry_at| *retry_at > draft.now())?;
    let reason = data_at_fault(draft, index).unwrap_or(WaitingReason::BackOff {
        until,
        failures: failures.in_a_row,
        last: failures.last.clone().unwrap_or_default(),
    });
    draft.wake_at(until);
    Some(reason)
}

/// What an operator has to decide before a launch can succeed, if the newest one
/// was refused for its data. It is launched again all the same, later and later:
/// the right volume may have been brought back meanwhile.
pub(crate) fn data_at_fault(draft: &Draft<'_>, index: PodIndex) -> Option<WaitingReason> {
    let pod = draft.pod(index);
    let end = pod.launch.as_ref()?.end.as_ref()?;
    let (why, failures) = (end.why.clone(), pod.failures.in_a_row);
    match end.kind {
        EndKind::DataBehind => Some(WaitingReason::DataBehind { why, failures }),
        EndKind::DataDamaged => Some(WaitingReason::DataDamaged { why, failures }),
        EndKind::Asked
        | EndKind::Failed
        | EndKind::Gone
        | EndKind::DataMissing
        | EndKind::PlaceUnusable
        | EndKind::AgentGivenUp => None,
    }
}

/// The offer that holds the pod's volume and what is reserved for it, so much of it,
/// and when it came; unless the pod's reservation is itself being accepted in this turn.
fn own_resources(
    draft: &Draft<'_>,
    index: PodIndex,
    needs: fn(&Placement) -> Needs,
) -> Option<(OfferId, Timestamp)> {
    if let Some(accept) = draft.accepts.get(&index) {
        return Some((accept.offer_id.clone(), draft.now()));
    }
    let placement = draft.pod(index).placement.as_ref()?;
    let amounts = needs(placement).beside_volume(placement.takes_ports());
    draft
        .untaken_offers()
        .into_iter()
        .filter(|offer| offer.agent_id == placement.agent_id)
        .find(|offer| {
            let reserved = offer.reserved.get(&placement.reservation_id);
            reserved.is_some_and(|reserved| {
                reserved.volumes.contains_key(&placement.volume_id)
                    && reserved.resources.covers(&amounts)
            })
        })
        .map(|offer| (offer.id.clone(), offer.received))
}

fn launch(draft: &mut Draft<'_>, index: PodIndex, offer_id: OfferId) {
    let Some(peers) = peers(draft, index) else {
        let why = "the member list is not known".to_owned();
        draft.wait(index, WaitingReason::MembershipUnsettled { why });
        return;
    };
    rolling::choose_recipe(draft, index);
    let Some(programs) = draft
        .pod(index)
        .recipe
        .as_ref()
        .map(|it| it.program.clone())
    else {
        return;
    };
    if let Some(why) = draft.model.observed.why_not_at_hand(&programs) {
        let why = why.to_owned();
        draft.wait(index, WaitingReason::ProgramMissing { why });
        return;
    }
    resizing::take_up(draft, index);
    let Some(placement) = draft.pod(index).placement.clone() else {
        return;
    };
    let generation = draft.pod(index).generation.next();
    let service = draft
        .model
        .target
        .service
        .trim_start_matches('/')
        .replace('/', ".");
    let task_id = TaskId(format!(
        "{service}__{}__{}",
        index.task_name(),
        draft.names.next()
    ));
    let executor_id = ExecutorId(format!("{service}__etcd__{}", draft.names.next()));
    draft.pod_mut(index).generation = generation;
    let Some(spec) = launch_spec(draft, index, &placement, peers) else {
        return;
    };
    let now = draft.now();
    let target = draft.model.target_id.clone();
    let pod = draft.pod_mut(index);
    if let Some(enrolled) = pod.membership.enrolled_mut() {
        enrolled.launched = true;
    }
    pod.launch = Some(Launch {
        task_id: task_id.clone(),
        executor_id: executor_id.clone(),
        agent_id: placement.agent_id.clone(),
        generation,
        issued: now,
        target,
        member_id: Some(spec.identity.member_id),
        paused: pod.paused.is_some(),
        seen: false,
        stop_asked: None,
        end: None,
    });
    draft.volumes_seen.remove(&index);
    let agent_id = placement.agent_id.clone();
    let order = LaunchOrder {
        task_id,
        executor_id,
        placement,
        spec,
        programs,
    };
    draft
        .accepts
        .entry(index)
        .or_insert(DraftAccept {
            offer_id,
            agent_id,
            operations: Vec::new(),
        })
        .operations
        .push(Operation::Launch(Box::new(order)));
}

fn launch_spec(
    draft: &Draft<'_>,
    index: PodIndex,
    placement: &Placement,
    peers: Vec<Founder>,
) -> Option<LaunchSpec> {
    let pod = draft.pod(index);
    let recipe = pod.recipe.clone()?;
    let start = match draft.record.cluster {
        Cluster::Forming(_) => ClusterStart::New,
        // Once formed, never `new` again: see the design's fourth rule.
        _ => ClusterStart::Existing,
    };
    Some(LaunchSpec {
        format: FORMAT,
        pod: index,
        generation: pod.generation,
        etcd: recipe.program.etcd(),
        identity: draft.record.identity_of(index)?,
        start,
        history: DataHistory {
            was_started: pod.membership.enrolled()?.started,
            superseded: pod.superseded.iter().copied().collect(),
            reached: pod.reached(),
        },
        peers,
        scheme: recipe.scheme,
        certificate_directory: None,
        advertise_host: placement.address.clone(),
        listen_host: placement.network.as_ref().and_then(Network::listen_host),
        client_port: placement.needs.client_port,
        peer_port: placement.needs.peer_port,
        tuning: recipe.tuning,
        stop_grace_ms: recipe.stop_grace_ms,
        paused: pod.paused.is_some(),
    })
}

/// etcd's `initial-cluster` for a launch; none if it is not known well enough.
///
/// It matters only to a member without data. A learner that never started must be
/// given exactly the list that its cluster has, or etcd refuses to start. For all
/// others the record is right, and has to be: one that was promoted without our
/// knowing may be needed for the quorum that alone can tell the list.
fn peers(draft: &Draft<'_>, index: PodIndex) -> Option<Vec<Founder>> {
    // So must a voter that somebody added by hand.
    let is_new = matches!(
        &draft.pod(index).membership,
        Membership::Learner(enrolled) | Membership::Voter(enrolled) if !enrolled.started
    );
    if !is_new {
        return Some(
            draft
                .record
                .pods
                .iter()
                .filter_map(|(index, pod)| {
                    let peer_url = pod.membership.enrolled()?.peer_url.clone();
                    Some(Founder {
                        name: index.task_name(),
                        peer_url,
                    })
                })
                .collect(),
        );
    }
    let list = membership::member_list(draft.model)?;
    let mut peers = Vec::new();
    for member in list.members {
        let recorded = draft
            .record
            .pods
            .iter()
            .find(|(_, pod)| pod.membership.member_id() == Some(member.member_id))
            .map(|(index, _)| index.task_name());
        // An unstarted member has no name in etcd's list, but it has in ours.
        let name = recorded.unwrap_or_else(|| member.name.clone());
        for peer_url in &member.peer_urls {
            peers.push(Founder {
                name: name.clone(),
                peer_url: peer_url.clone(),
            });
        }
    }
    peers.sort();
    Some(peers)
}
