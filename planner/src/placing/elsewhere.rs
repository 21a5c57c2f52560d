//! Whether there is another place for a member that has one: asked before it moves.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;

use super::refusing::Rules;
use super::{constraint_of_leaving, spots_without};
use crate::constraints::Spot;
use crate::draft::Draft;
use crate::offer::AgentId;
use crate::record::Placement;
use crate::waiting::OfferRefusal;

/// Whether an offer at hand would do for the member's successor, as it will be judged
/// once the member has begun to leave.
///
/// # Errors
///
/// Why agents were refused, when they last made an offer.
pub(crate) fn could_move(
    draft: &Draft<'_>,
    index: PodIndex,
) -> Result<(), BTreeMap<AgentId, OfferRefusal>> {
    let places = draft.record.pods.iter();
    let places: BTreeMap<PodIndex, Placement> = places
        .filter_map(|(index, pod)| Some((*index, pod.placement.clone()?)))
        .collect();
    let spots: Vec<Spot<'_>> = places.values().map(Spot::from).collect();
    let rules = Rules::of(draft, index, &spots);
    let without_own = spots_without(&places, index);
    let rules_without_own = Rules::of(draft, index, &without_own);
    let own = draft.pod(index).placement.as_ref().map(|it| &it.agent_id);
    let mut refusals = draft.refusals.get(&index).cloned().unwrap_or_default();
    let offers = draft.untaken_offers().into_iter();
    for offer in offers.filter(|offer| Some(&offer.agent_id) != own) {
        let Some(refusal) = rules.first_refusal(offer) else {
            return Ok(());
        };
        if constraint_of_leaving(&refusal, &rules_without_own, offer).is_some() {
            return Ok(());
        }
        refusals.insert(offer.agent_id.clone(), refusal);
    }
    Err(refusals)
}
