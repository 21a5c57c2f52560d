//! Which agent gets which pod.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::{Draft, DraftAccept};
use crate::effect::Operation;
use crate::observed::VolumeSeen;
use crate::offer::{Offer, ReservationId, VolumeId};
use crate::record::{Cluster, Membership, Placement, PlacementStage};
use crate::recovery;
use crate::target::{Needs, PlacementRule};
use crate::waiting::{self, OfferRefusal, WaitingReason};

/// A reservation that two offers later and after this time has not shown up
/// was not granted.
const REQUEST_IS_LOST_AFTER: Duration = Duration::from_secs(10);

/// A volume that its agent's offers have not shown for this long is gone. An
/// executor that is still ending holds its volume back for some seconds, and
/// taking that for a loss would cost a member.
const VOLUME_IS_GONE_AFTER: Duration = Duration::from_secs(60);

/// Offers that must agree before anything is concluded from them.
const OFFERS_THAT_PROVE: u32 = 2;

/// Compares offers with the recorded placements: confirms what they show, and
/// concludes in the end that what they never show is not there.
pub(crate) fn look_for_own_volumes(draft: &mut Draft<'_>) {
    for offer in draft.untaken_offers() {
        note_unknown_reservations(draft, offer);
        for index in draft.recorded_pods() {
            look_for_volume(draft, offer, index);
        }
    }
    let now = draft.now();
    for index in draft.recorded_pods() {
        let Some(placement) = &draft.pod(index).placement else {
            continue;
        };
        let patience = match placement.stage {
            PlacementStage::Requested(_) => REQUEST_IS_LOST_AFTER,
            PlacementStage::Confirmed | PlacementStage::GivenUp => VOLUME_IS_GONE_AFTER,
        };
        let gone = draft.volumes_seen.get(&index).is_some_and(|seen| {
            !seen.present
                && seen.offers >= OFFERS_THAT_PROVE
                && now.since(seen.since) >= patience
        });
        if gone {
            recovery::placement_vanished(draft, index);
        }
    }
}

fn look_for_volume(draft: &mut Draft<'_>, offer: &Offer, index: PodIndex) {
    // A running task uses the volume, so offers say nothing about it.
    let in_use = draft.accept_in_flight(index)
        || draft
            .pod(index)
            .launch
            .as_ref()
            .is_some_and(|launch| launch.end.is_none());
    let now = draft.now();
    let Some(placement) = draft.pod_mut(index).placement.as_mut() else {
        return;
    };
    if placement.agent_id != offer.agent_id {
        return;
    }
    let present = offer
        .reserved
        .get(&placement.reservation_id)
        .is_some_and(|reserved| reserved.volumes.contains_key(&placement.volume_id));
    if present {
        placement.stage = PlacementStage::Confirmed;
    } else if in_use {
        return;
    }
    let seen = draft.volumes_seen.get(&index).copied();
    let seen = match seen.filter(|seen| seen.present == present) {
        // Every offer is looked at once: what is not taken is declined in the
        // same turn.
        Some(seen) => VolumeSeen {
            offers: seen.offers.saturating_add(1),
            ..seen
        },
        None => VolumeSeen {
            present,
            since: now,
            offers: 1,
        },
    };
    draft.volumes_seen.insert(index, seen);
}

/// Reservations that carry our labels and that no record knows are shown to
/// the operator. They may hold the only copy of data: nothing is done to them.
fn note_unknown_reservations(draft: &mut Draft<'_>, offer: &Offer) {
    for (id, reserved) in &offer.reserved {
        let known = draft
            .record
            .pods
            .values()
            .filter_map(|pod| pod.placement.as_ref())
            .chain(
                draft
                    .record
                    .abandoned
                    .iter()
                    .map(|abandoned| &abandoned.placement),
            )
            .any(|placement| placement.reservation_id == *id);
        if !known {
            let whose = reserved
                .pod
                .map_or("no pod".to_owned(), |pod| pod.to_string());
            draft
                .unknown_reservations
                .insert(format!("{id} on {} for {whose}", offer.hostname));
        }
    }
}

/// Finds a place for every pod that needs one.
pub(crate) fn place_pods(draft: &mut Draft<'_>) {
    let wanted: Vec<PodIndex> = draft.wanted_pods().collect();
    for index in wanted {
        if wants_place(draft, index) {
            place(draft, index);
        } else {
            draft.refusals.remove(&index);
        }
    }
}

/// Whether the pod has to be given a place now. While a birth is under way or
/// being cleared, places are fixed.
pub(crate) fn wants_place(draft: &Draft<'_>, index: PodIndex) -> bool {
    let pod = draft.pod(index);
    let stage_allows = match draft.record.cluster {
        Cluster::Unborn => true,
        Cluster::Forming(_) | Cluster::Abandoning { .. } => false,
        Cluster::Formed(_) => pod.membership == Membership::Absent,
    };
    stage_allows && pod.placement.is_none() && !draft.accept_in_flight(index)
}

fn place(draft: &mut Draft<'_>, index: PodIndex) {
    let rule = draft.model.target.placement;
    let needs = draft.model.target.needs;
    let mut offers = draft.untaken_offers();
    // By agent, so that the same offers in another order give the same choice.
    offers.sort_by(|a, b| a.agent_id.cmp(&b.agent_id));
    for offer in offers {
        match refusal(draft, offer, index, rule, &needs) {
            None => return take(draft, offer, index, needs),
            Some(refusal) => {
                draft
                    .refusals
                    .entry(index)
                    .or_default()
                    .insert(offer.agent_id.clone(), refusal);
            }
        }
    }
    let reason = match draft
        .refusals
        .get(&index)
        .filter(|refusals| !refusals.is_empty())
    {
        Some(refusals) => WaitingReason::NoSuitableOffer {
            refusals: waiting::count(refusals),
        },
        None => {
            let since = draft
                .model
                .session()
                .map_or(draft.now(), |session| session.since);
            WaitingReason::NoOffer { since }
        }
    };
    draft.wait(index, reason);
}

/// Why the offer is not good enough; none if it is.
fn refusal(
    draft: &Draft<'_>,
    offer: &Offer,
    index: PodIndex,
    rule: PlacementRule,
    needs: &Needs,
) -> Option<OfferRefusal> {
    let host_taken = rule == PlacementRule::UniqueHostname
        && draft
            .record
            .pods
            .iter()
            .filter(|(other, _)| **other != index)
            .filter_map(|(_, pod)| pod.placement.as_ref())
            .any(|placement| placement.hostname == offer.hostname);
    let free = &offer.free;
    if host_taken {
        Some(OfferRefusal::HostTaken)
    } else if !free.has_port(needs.client_port) {
        Some(OfferRefusal::Port {
            port: needs.client_port,
        })
    } else if !free.has_port(needs.peer_port) {
        Some(OfferRefusal::Port {
            port: needs.peer_port,
        })
    } else if free.cpus < needs.total_cpus() {
        Some(OfferRefusal::Cpus {
            wanted: needs.total_cpus(),
        })
    } else if free.mem < needs.total_mem() {
        Some(OfferRefusal::Mem {
            wanted: needs.total_mem(),
        })
    } else if free.disk < needs.total_disk() {
        Some(OfferRefusal::Disk {
            wanted: needs.total_disk(),
        })
    } else {
        None
    }
}

/// Reserves the place. The placement is recorded before the ACCEPT goes out,
/// so that a reservation of ours is always one that we know.
fn take(draft: &mut Draft<'_>, offer: &Offer, index: PodIndex, needs: Needs) {
    let placement = Placement {
        agent_id: offer.agent_id.clone(),
        hostname: offer.hostname.clone(),
        address: offer.address.clone(),
        reservation_id: ReservationId(draft.names.next()),
        volume_id: VolumeId(draft.names.next()),
        needs,
        disk: None,
        role: Some(offer.role.clone()),
        base: offer.base.clone(),
        domain: offer.domain.clone(),
        attributes: offer.attributes.clone(),
        stage: PlacementStage::Requested(draft.now()),
    };
    draft.refusals.remove(&index);
    draft.volumes_seen.remove(&index);
    let pod = draft.pod_mut(index);
    pod.generation = pod.generation.next();
    pod.placement = Some(placement.clone());
    draft.accepts.insert(
        index,
        DraftAccept {
            offer_id: offer.id.clone(),
            agent_id: offer.agent_id.clone(),
            operations: vec![
                Operation::Reserve(placement.clone()),
                Operation::CreateVolume(placement),
            ],
        },
    );
}
