//! What is done with the offers that no pod took: offers that are held harm
//! other frameworks, and offers that are not wanted should not come at all.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::effect::Effect;
use crate::launching;
use crate::leaving;
use crate::observed::OfferStream;
use crate::offer::OfferId;
use crate::placing;
use crate::resizing;

/// How long the same resources are not offered again when something else is
/// looked for. The SDK's value.
const REFUSE_WHILE_LOOKING: Duration = Duration::from_secs(5);

/// The same while something is about to be needed: an answer is outstanding,
/// a back-off is running.
const REFUSE_WHILE_BUSY: Duration = Duration::from_secs(1);

/// The same while only empty places are to be given back. A filter does not keep
/// them away: what it hides is what was declined, and they were not among it.
const REFUSE_WHILE_CLEANING: Duration = Duration::from_secs(60);

/// The same when nothing is needed. The SDK's value; REVIVE ends it.
const REFUSE_WHEN_IDLE: Duration = Duration::from_secs(3600);

/// Pause between two REVIVEs: each makes the master's allocator run, and a
/// storm of them harms every framework.
const REVIVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// If no offer at all has come for this long, REVIVE is sent again, since the
/// first may have been lost.
const REVIVE_IF_NOTHING_CAME_FOR: Duration = Duration::from_secs(30);

/// The same where only what nobody needs is to be given back, which has time.
const REVIVE_WHILE_CLEANING_AFTER: Duration = Duration::from_secs(120);

/// How much offers are wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Appetite {
    Nothing,
    EmptyPlaces,
    Soon,
    AnyAgent,
    OwnResources,
}

/// Declines what was not taken; stops and restarts the stream of offers.
pub(crate) fn settle(draft: &mut Draft<'_>) {
    let appetite = appetite(draft);
    let untaken = draft.untaken_offers();
    let nothing_at_hand = untaken.is_empty();
    let declined: Vec<OfferId> = if draft.keeps_offers {
        Vec::new()
    } else {
        untaken.into_iter().map(|offer| offer.id.clone()).collect()
    };
    let declined: Vec<OfferId> = declined
        .into_iter()
        .chain(draft.model.observed.offers_in_doubt.iter().cloned())
        .collect();
    if !declined.is_empty() {
        let refuse = match appetite {
            Appetite::Nothing => REFUSE_WHEN_IDLE,
            Appetite::EmptyPlaces => REFUSE_WHILE_CLEANING,
            Appetite::Soon => REFUSE_WHILE_BUSY,
            Appetite::AnyAgent | Appetite::OwnResources => REFUSE_WHILE_LOOKING,
        };
        draft.effects.push(Effect::Decline {
            offers: declined,
            refuse,
        });
    }
    let Some(session) = draft.model.session() else {
        return;
    };
    match (session.offers, appetite) {
        (OfferStream::Flowing { .. }, Appetite::Nothing) => {
            draft.effects.push(Effect::Suppress);
        }
        (
            OfferStream::Flowing { since, .. },
            Appetite::AnyAgent | Appetite::OwnResources,
        ) => {
            let pause = if appetite == Appetite::OwnResources {
                REVIVE_AGAIN_AFTER
            } else {
                REVIVE_IF_NOTHING_CAME_FOR
            };
            let again = since.plus(pause);
            if draft.wants_declined_offers && nothing_at_hand {
                draft.effects.push(Effect::Revive);
            } else if again > draft.now() {
                draft.wake_at(again);
            } else if nothing_at_hand {
                draft.effects.push(Effect::Revive);
            }
        }
        (OfferStream::Suppressed, Appetite::Nothing) => {}
        (OfferStream::Suppressed, _) => draft.effects.push(Effect::Revive),
        (OfferStream::Flowing { .. }, Appetite::EmptyPlaces)
            if draft.wants_declined_offers =>
        {
            draft.effects.push(Effect::Revive);
        }
        (OfferStream::Flowing { since, .. }, Appetite::EmptyPlaces) => {
            let again = since.plus(REVIVE_WHILE_CLEANING_AFTER);
            if again > draft.now() {
                draft.wake_at(again);
            } else if nothing_at_hand {
                draft.effects.push(Effect::Revive);
            }
        }
        (OfferStream::Flowing { .. }, Appetite::Soon) => {}
    }
}

fn appetite(draft: &Draft<'_>) -> Appetite {
    let for_leaving = if leaving::are_looked_for(draft) {
        Appetite::EmptyPlaces
    } else {
        Appetite::Nothing
    };
    let for_what_is_kept = if draft.keeps_offers {
        Appetite::Soon
    } else {
        Appetite::Nothing
    };
    draft
        .recorded_pods()
        .into_iter()
        .map(|index| {
            if draft.accepts.contains_key(&index) || draft.accept_in_flight(index) {
                Appetite::Soon
            } else if placing::wants_place(draft, index)
                || resizing::looks_for_room(draft, index)
            {
                Appetite::AnyAgent
            } else if launching::is_to_be_launched(draft, index) {
                let failures = &draft.pod(index).failures;
                match failures.retry_at {
                    Some(retry_at) if retry_at > draft.now() => Appetite::Soon,
                    _ => Appetite::OwnResources,
                }
            } else if will_want_offers(draft, index) {
                Appetite::Soon
            } else if resizing::looks_for_surplus(draft, index) {
                Appetite::EmptyPlaces
            } else {
                Appetite::Nothing
            }
        })
        .chain([for_leaving, for_what_is_kept])
        .max()
        .unwrap_or(Appetite::Nothing)
}

/// Whether the pod will need offers without another failure first: it does not
/// run, or it is being stopped in order to be launched anew.
fn will_want_offers(draft: &Draft<'_>, index: PodIndex) -> bool {
    draft
        .pod(index)
        .launch
        .as_ref()
        .is_none_or(|launch| launch.end.is_some() || launch.stop_asked.is_some())
}
