//! Giving back places that no pod uses any more.
//!
//! Only places where etcd never started are given back here: there is nothing
//! on them that anybody could miss. All others may hold the newest copy of the
//! data and stay until that is proven wrong.

use std::time::Duration;

use crate::draft::Draft;
use crate::effect::Effect;
use crate::offer::{Offer, ReservationId};
use crate::record::AbandonedPlacement;

/// An abandoned place that its agent's offers do not show after this time is
/// not there. Earlier, the operations that make it may still be under way.
const ABSENT_AFTER: Duration = Duration::from_secs(60);

/// For how long offers are asked for on account of empty places. After that
/// they are given back whenever offers are asked for anyway: their agent may
/// never return.
const LOOKED_FOR: Duration = Duration::from_secs(600);

/// Gives back what the offers at hand show of empty places, and forgets the
/// places that are not there.
pub(crate) fn give_back_empty_places(draft: &mut Draft<'_>) {
    let now = draft.now();
    let abandoned = std::mem::take(&mut draft.record.abandoned);
    let mut kept = Vec::with_capacity(abandoned.len());
    for place in abandoned {
        let reservation_id = &place.placement.reservation_id;
        if !place.never_used || is_being_given_back(draft, reservation_id) {
            kept.push(place);
            continue;
        }
        let old_enough = place.since.plus(ABSENT_AFTER);
        // An agent's resources may come in several offers, one for each role.
        let mut could_show = draft.untaken_offers();
        could_show.retain(|offer| place.placement.would_be_in(offer));
        let shown = could_show
            .iter()
            .find_map(|offer| Some((offer.id.clone(), shown(offer, &place)?)));
        if let Some((offer_id, has_volume)) = shown {
            draft.effects.push(Effect::Release {
                offer_id,
                pod: place.pod,
                placement: Box::new(place.placement.clone()),
                has_volume,
            });
        } else if !could_show.is_empty() {
            if now >= old_enough {
                continue;
            }
            draft.wake_at(old_enough);
        }
        kept.push(place);
    }
    draft.record.abandoned = kept;
}

/// Whether empty places are worth asking for offers.
pub(crate) fn are_looked_for(draft: &Draft<'_>) -> bool {
    let now = draft.now();
    draft
        .record
        .abandoned
        .iter()
        .any(|place| place.never_used && now.since(place.since) < LOOKED_FOR)
}

/// Whether the offer shows the place, and if so, whether with its volume.
fn shown(offer: &Offer, place: &AbandonedPlacement) -> Option<bool> {
    let reserved = offer.reserved.get(&place.placement.reservation_id)?;
    Some(reserved.volumes.contains_key(&place.placement.volume_id))
}

fn is_being_given_back(draft: &Draft<'_>, reservation_id: &ReservationId) -> bool {
    draft.model.is_in_flight(|effect| {
        matches!(
            effect,
            Effect::Release { placement, .. } if placement.reservation_id == *reservation_id
        )
    })
}
