//! What offers show of the places that pods have.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::observed::{OfferStream, VolumeSeen};
use crate::offer::{AgentId, Offer};
use crate::record::{Membership, PlacementStage};
use crate::recovery;
use crate::time::Timestamp;

/// A reservation that two offers later and after this time has not shown up
/// was not granted.
const REQUEST_IS_LOST_AFTER: Duration = Duration::from_secs(10);

/// A volume that its agent's offers have not shown for this long is gone. An
/// executor that is still ending holds its volume back for some seconds, and
/// taking that for a loss would cost a member.
const VOLUME_IS_GONE_AFTER: Duration = Duration::from_secs(60);

/// Offers that must agree before anything is concluded from them.
const OFFERS_THAT_PROVE: u32 = 2;

/// An empty place whose agent has made no offer for this long is left for
/// another one: nothing would be lost by it, and the agent may never return.
const SILENT_AGENT_IS_LEFT_AFTER: Duration = Duration::from_secs(60);

/// Compares offers with the recorded placements: confirms what they show, and
/// concludes in the end that what they never show is not there.
pub(crate) fn look_for_own_places(draft: &mut Draft<'_>) {
    let mut pods_by_agent: BTreeMap<AgentId, Vec<PodIndex>> = BTreeMap::new();
    for (index, pod) in &draft.record.pods {
        if let Some(placement) = &pod.placement {
            let pods = pods_by_agent.entry(placement.agent_id.clone()).or_default();
            pods.push(*index);
        }
    }
    for offer in draft.untaken_offers() {
        note_unknown_reservations(draft, offer);
        for index in pods_by_agent.get(&offer.agent_id).into_iter().flatten() {
            let placement = draft.pod(*index).placement.as_ref();
            if placement.is_some_and(|placement| placement.would_be_in(offer)) {
                look_for_volume(draft, offer, *index);
            }
        }
    }
    for index in draft.recorded_pods() {
        if let Some(why) = why_place_is_gone(draft, index) {
            recovery::placement_vanished(draft, index, &why);
        }
    }
}

/// Why the pod has lost its place, if it has.
fn why_place_is_gone(draft: &Draft<'_>, index: PodIndex) -> Option<String> {
    let pod = draft.pod(index);
    let placement = pod.placement.as_ref()?;
    let now = draft.now();
    let idle = !draft.accept_in_flight(index)
        && pod
            .launch
            .as_ref()
            .is_none_or(|launch| launch.end.is_some());
    let (patience, why) = match placement.stage {
        PlacementStage::Requested(_) => {
            let failed = draft.model.observed.failed_operations.get(&index);
            if let Some((reservation, why)) = failed
                && *reservation == placement.reservation_id
                && idle
            {
                return Some(why.clone());
            }
            (REQUEST_IS_LOST_AFTER, "its reservation was not granted")
        }
        PlacementStage::Confirmed => {
            (VOLUME_IS_GONE_AFTER, "its agent offers without its volume")
        }
        PlacementStage::GivenUp => return None,
    };
    let seen = draft.volumes_seen.get(&index);
    let gone = seen.is_some_and(|seen| {
        !seen.present
            && seen.offers >= OFFERS_THAT_PROVE
            && now.since(seen.since) >= patience
    });
    if gone {
        return Some(why.to_owned());
    }
    let never_used = pod.launch.is_none() && pod.membership == Membership::Absent;
    let OfferStream::Flowing { begun, .. } = draft.model.session()?.offers else {
        return None;
    };
    let requested = match placement.stage {
        PlacementStage::Requested(at) => at,
        PlacementStage::Confirmed | PlacementStage::GivenUp => Timestamp::default(),
    };
    let heard = begun
        .max(requested)
        .max(seen.map_or(begun, |seen| seen.newest));
    let silent = idle && never_used && now.since(heard) >= SILENT_AGENT_IS_LEFT_AFTER;
    silent.then(|| "nothing was started there yet, and its agent is silent".to_owned())
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
    let present = offer
        .reserved
        .get(&placement.reservation_id)
        .is_some_and(|reserved| reserved.volumes.contains_key(&placement.volume_id));
    if present {
        let agent_id = placement.agent_id.clone();
        placement.stage = PlacementStage::Confirmed;
        draft.record.avoided.remove(&agent_id);
    } else if in_use {
        return;
    }
    let seen = draft.volumes_seen.get(&index).copied();
    let seen = match seen.filter(|seen| seen.present == present) {
        // An offer that is being held says nothing new.
        Some(seen) if seen.newest >= offer.received => seen,
        Some(seen) => VolumeSeen {
            offers: seen.offers.saturating_add(1),
            newest: offer.received,
            ..seen
        },
        None => VolumeSeen {
            present,
            since: now,
            offers: 1,
            newest: offer.received,
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
