//! Giving back places that no pod uses any more.
//!
//! Where etcd never started there is nothing that anybody could miss. Any other
//! place may hold the newest copy of the data, or the only one, and is kept until
//! it cannot be: until the pod's present member is a voter, all voters of the
//! cluster are well, and nobody is joining. Then they have everything that was ever
//! acknowledged. That an offer shows the place proves that its task has ended.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_launch::PodIndex;

use crate::decommissioning;
use crate::draft::Draft;
use crate::effect::Effect;
use crate::membership;
use crate::observed::RoomSeen;
use crate::offer::{OfferId, OperationId, ReservationId};
use crate::record::{AbandonedPlacement, Cluster, Membership, Pod, Record};

/// An abandoned place that its agent's offers have not shown for this long is not
/// there. Earlier, the operations that make it may still be under way, or a task
/// may still be ending on it, such as that of an agent that was lost and is back.
const ABSENT_AFTER: Duration = Duration::from_secs(60);

/// Gives back what the offers at hand show of places that nobody can miss, and
/// forgets the places that are not there.
pub(crate) fn give_back_places(draft: &mut Draft<'_>) {
    note_what_can_be_missed(draft);
    let abandoned = std::mem::take(&mut draft.record.abandoned);
    let mut kept = Vec::with_capacity(abandoned.len());
    for mut place in abandoned {
        let reservation_id = &place.placement.reservation_id;
        if !place.can_be_missed
            || has_not_left(draft, &place)
            || is_being_given_back(draft, reservation_id)
        {
            kept.push(place);
            continue;
        }
        // An agent's resources may come in several offers, one for each role.
        let mut could_show = draft.untaken_offers();
        could_show.retain(|offer| place.placement.would_be_in(offer));
        let shown: Vec<(OfferId, RoomSeen)> = could_show
            .iter()
            .filter(|offer| offer.reserved.contains_key(reservation_id))
            .filter_map(|it| Some((it.id.clone(), RoomSeen::of(it, &place.placement)?)))
            .collect();
        if let [(offer_id, seen)] = shown.as_slice() {
            place.absent_since = None;
            // Without the volume it is all there only if the volume was never made.
            if seen.has_volume || seen.reserved.covers(&place.placement.amounts()) {
                draft.effects.push(Effect::Release {
                    offer_id: offer_id.clone(),
                    pod: place.pod,
                    placement: Box::new(place.placement.clone()),
                    has_volume: seen.has_volume,
                    shown: seen.reserved.clone(),
                });
            }
        } else if !shown.is_empty() {
            // In parts, which are declined and then offered together.
            place.absent_since = None;
        } else if let Some(newest) = could_show.iter().map(|offer| offer.received).max() {
            let absent_since = *place.absent_since.get_or_insert(newest);
            if newest.since(absent_since) >= ABSENT_AFTER {
                continue;
            }
        }
        kept.push(place);
    }
    draft.record.abandoned = kept;
}

/// Whether the member that was there may still be counted on by the others: it has
/// not been removed, or is just about to be made a voter.
fn has_not_left(draft: &Draft<'_>, place: &AbandonedPlacement) -> bool {
    let pods = [place.pod, place.pod.leaving()];
    let is_lost = |index: &PodIndex| {
        let pod = draft.record.pods.get(index);
        pod.is_some_and(|pod| matches!(pod.membership, Membership::Lost { .. }))
    };
    pods.iter().any(is_lost)
}

/// Forgets a place whose agent has said that nothing of it is reserved any more. Where a
/// provider of disks has a part in it, only offers tell that both have given it back.
pub(crate) fn forget_what_was_given_back(record: &mut Record, done: &OperationId) {
    record.abandoned.retain(|place| {
        let disk = place.placement.disk.as_ref();
        let has_provider = disk.is_some_and(|disk| disk.source.provider_id.is_some());
        let is_done = place.placement.unreserve_operation() == *done;
        // Of one that was being resized, some may have been in another offer.
        let is_all = !has_provider && place.placement.is_as_recorded();
        !(place.can_be_missed && is_done && is_all)
    });
}

/// Whether offers are wanted on account of places that are to be given back: as
/// long as there are any, for their agents may come back at any time.
pub(crate) fn are_looked_for(draft: &Draft<'_>) -> bool {
    draft
        .record
        .abandoned
        .iter()
        .any(|place| place.can_be_missed)
}

/// Once every voter has everything that was ever acknowledged, no old place of a pod
/// that votes or is not wanted any more is needed, and of one that does not vote yet,
/// only the newest. That stays so: what is acknowledged later is not there.
fn note_what_can_be_missed(draft: &mut Draft<'_>) {
    if draft
        .record
        .abandoned
        .iter()
        .all(|place| place.can_be_missed)
    {
        return;
    }
    let joined = |pod: &Pod| {
        matches!(
            pod.membership,
            Membership::Founder(_) | Membership::Voter(_)
        )
    };
    // A pod without a member, which may be waiting for room, needs nothing old
    // of another one.
    let nobody_is_joining = draft
        .record
        .pods
        .values()
        .all(|pod| joined(pod) || pod.membership == Membership::Absent);
    let is_formed = matches!(draft.record.cluster, Cluster::Formed(_));
    if !is_formed || !nobody_is_joining || membership::unsettled(draft).is_some() {
        return;
    }
    let (abandoned, pods) = (&mut draft.record.abandoned, &draft.record.pods);
    let mut kept_for = BTreeSet::new();
    // The newest place of a pod comes last.
    let undecided =
        |place: &&mut AbandonedPlacement| !place.can_be_missed && !place.awaits_approval;
    for place in abandoned.iter_mut().rev().filter(undecided) {
        let has_successor = pods.get(&place.pod).is_some_and(joined);
        // Until a pod votes again, the newest of its old places is kept for it.
        let is_wanted = !decommissioning::is_surplus(&draft.model.target, place.pod);
        place.can_be_missed = has_successor || !is_wanted || !kept_for.insert(place.pod);
        // While it was needed, it was declined like anything else.
        draft.wants_declined_offers |= place.can_be_missed;
    }
}

fn is_being_given_back(draft: &Draft<'_>, reservation_id: &ReservationId) -> bool {
    draft.model.is_in_flight(|effect| {
        matches!(
            effect,
            Effect::Release { placement, .. } if placement.reservation_id == *reservation_id
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{
        AgentId, Disk, DiskKind, DiskSource, Hostname, Megabytes, MilliCpus, VolumeId,
    };
    use crate::record::{Placement, PlacementStage, TargetId};
    use crate::target::Needs;
    use crate::time::Timestamp;

    fn place(
        reservation: &str,
        can_be_missed: bool,
        provider: Option<&str>,
    ) -> AbandonedPlacement {
        let disk = provider.map(|provider| Disk {
            source: DiskSource {
                kind: DiskKind::Mount,
                root: None,
                id: None,
                profile: None,
                vendor: None,
                provider_id: Some(provider.to_owned()),
                metadata: Vec::new(),
            },
            size: Megabytes(1),
        });
        AbandonedPlacement {
            pod: PodIndex(0),
            placement: Placement {
                agent_id: AgentId("a".into()),
                hostname: Hostname("h".into()),
                address: "10.0.0.1".into(),
                reservation_id: ReservationId(reservation.into()),
                volume_id: VolumeId("v".into()),
                needs: Needs {
                    cpus: MilliCpus(1),
                    mem: Megabytes(1),
                    volume: Megabytes(1),
                    executor_cpus: MilliCpus(1),
                    executor_mem: Megabytes(1),
                    executor_disk: Megabytes(1),
                    client_port: 1,
                    peer_port: 2,
                },
                disk,
                role: None,
                base: Vec::new(),
                user: None,
                network: None,
                domain: None,
                attributes: Default::default(),
                stage: PlacementStage::Confirmed,
                resize: None,
                over_since: None,
            },
            since: Timestamp(1),
            why: String::new(),
            awaits_approval: false,
            can_be_missed,
            absent_since: None,
        }
    }

    #[test]
    fn what_the_agent_has_taken_back_is_forgotten() {
        let check = |done: &str, expected: &[&str]| {
            let mut record = Record::new(TargetId("t".into()));
            record.abandoned = vec![
                place("given-back", true, None),
                place("kept", false, None),
                place("in-part", true, Some("provider")),
            ];
            forget_what_was_given_back(&mut record, &OperationId(done.into()));
            let left: Vec<&str> = record
                .abandoned
                .iter()
                .map(|place| place.placement.reservation_id.0.as_str())
                .collect();
            assert_eq!(left, expected, "{done}");
        };
        check("unreserve__given-back", &["kept", "in-part"]);
        check("destroy__given-back", &["given-back", "kept", "in-part"]);
        check("unreserve__kept", &["given-back", "kept", "in-part"]);
        check("unreserve__in-part", &["given-back", "kept", "in-part"]);
    }
}
