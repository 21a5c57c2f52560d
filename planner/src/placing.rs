//! Which agent gets which pod.
//!
//! A pod that has a place stays there: its volume is there. A pod without one
//! gets the best of the offers that have been collected for a moment, by
//! [`choice::Score`]. An offer that breaks a rule is never taken; every refusal
//! is counted and shown.

mod choice;
mod elsewhere;
mod refusing;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_launch::PodIndex;

use crate::constraints::{self, Spot};
use crate::decision::OfferOutcome;
use crate::draft::{Draft, DraftAccept};
use crate::effect::Operation;
use crate::holding;
use crate::offer::{Disk, Offer, ReservationId, VolumeId};
use crate::record::{Cluster, Membership, Placement, PlacementStage};
use crate::time::Timestamp;
use crate::waiting::{self, OfferRefusal, WaitingReason};
use choice::Choice;
pub(crate) use elsewhere::could_move;
use refusing::Rules;

/// Outcomes that are written out in a turn; the others are only counted.
const OUTCOMES_IN_FULL: usize = 100;

/// Finds a place for every pod that needs one.
pub(crate) fn place_pods(draft: &mut Draft<'_>) {
    let (wanting, settled): (Vec<PodIndex>, Vec<PodIndex>) = draft
        .wanted_pods()
        .partition(|index| wants_place(draft, *index));
    for index in settled {
        let looks = draft.waiting.get(&index);
        match looks {
            Some(WaitingReason::NoPlaceToMove { .. }) => {
                if let Err(refusals) = could_move(draft, index) {
                    draft.refusals.insert(index, refusals);
                }
            }
            _ => {
                draft.refusals.remove(&index);
            }
        }
    }
    if wanting.is_empty() {
        return;
    }
    if let Some(until) = collects_until(draft) {
        draft.keeps_offers = true;
        draft.wake_at(until);
        let offers = draft.untaken_offers().len();
        for index in wanting {
            draft.wait(index, WaitingReason::CollectingOffers { offers });
        }
        return;
    }
    for index in wanting {
        place(draft, index);
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
    stage_allows
        && pod.placement.is_none()
        && !draft.accept_in_flight(index)
        && holding::hold(&draft.record, &draft.model.target, index).is_none()
}

/// Until when offers are collected before places are chosen; none if there are
/// none, or the time is over.
///
/// The first offer that fits is seldom the best, and the master sends those of
/// one round of its allocator almost at once. Held offers keep others waiting,
/// so it is a moment and no more.
fn collects_until(draft: &Draft<'_>) -> Option<Timestamp> {
    let window = Duration::from_millis(draft.model.target.offer_collection_ms);
    let first = draft
        .untaken_offers()
        .into_iter()
        .map(|offer| offer.received)
        .min()?;
    let until = first.plus(window);
    (until > draft.now()).then_some(until)
}

fn place(draft: &mut Draft<'_>, index: PodIndex) {
    let offers = draft.untaken_offers();
    let others = places_of_others(draft, index);
    let spots: Vec<Spot<'_>> = others.values().map(Spot::from).collect();
    let rules = Rules::of(draft, index, &spots);
    let without_leaving = spots_without(&others, index.leaving());
    let rules_without_leaving = Rules::of(draft, index, &without_leaving);
    let mut best: Option<Choice<'_>> = None;
    let mut refusals = BTreeMap::new();
    for offer in &offers {
        match rules.first_refusal(offer) {
            None => {
                let choice = Choice::new(&rules, offer);
                best = Some(match best.take() {
                    Some(better) if better.score <= choice.score => better,
                    _ => choice,
                });
            }
            Some(refusal) => {
                let rule = constraint_of_leaving(&refusal, &rules_without_leaving, offer);
                let refusal = match rule {
                    Some(rule) => OfferRefusal::HeldByLeaving {
                        rule,
                        by: index.leaving(),
                    },
                    None => refusal,
                };
                refusals.insert(offer.agent_id.clone(), refusal);
            }
        }
    }
    for offer in draft.taken_offers() {
        let refusal = rules.first_refusal(offer).unwrap_or(OfferRefusal::Taken);
        refusals.insert(offer.agent_id.clone(), refusal);
    }
    let outcomes = outcomes(&rules, index, &offers, best.as_ref());
    let chosen = best.map(|choice| (choice.offer, choice.disk));
    let held_by_leaving =
        |refusal| matches!(refusal, &OfferRefusal::HeldByLeaving { .. });
    if chosen.is_none() && refusals.values().any(held_by_leaving) {
        draft.could_take_over.insert(index);
    }
    draft.judged.note(refusals.iter());
    draft.judged.outcomes.extend(outcomes);
    if let Some((offer, disk)) = chosen {
        return take(draft, offer, disk, index);
    }
    let known = draft.refusals.entry(index).or_default();
    known.extend(refusals);
    let reason = why_no_place(draft, index);
    if let Some(until) = next_agent_to_be_tried(draft) {
        draft.wake_at(until);
    }
    draft.wait(index, reason);
}

/// Where the other members are. A member that is lost, and not removed yet,
/// has no place any more.
fn places_of_others(draft: &Draft<'_>, index: PodIndex) -> BTreeMap<PodIndex, Placement> {
    draft
        .record
        .pods
        .iter()
        .filter(|(other, _)| **other != index)
        .filter_map(|(other, pod)| Some((*other, pod.placement.clone()?)))
        .collect()
}

/// The constraint for which an offer was refused, if it is one of the member that leaves
/// alone: without that member nothing speaks against the offer.
fn constraint_of_leaving(
    refusal: &OfferRefusal,
    without_leaving: &Rules<'_>,
    offer: &Offer,
) -> Option<String> {
    match refusal {
        OfferRefusal::Constraint { rule }
            if without_leaving.first_refusal(offer).is_none() =>
        {
            Some(rule.clone())
        }
        _ => None,
    }
}

fn spots_without(
    places: &BTreeMap<PodIndex, Placement>,
    without: PodIndex,
) -> Vec<Spot<'_>> {
    let others = places.iter().filter(|(other, _)| **other != without);
    others.map(|(_, placement)| Spot::from(placement)).collect()
}

/// What became of the offers, in full for the first ones.
fn outcomes(
    rules: &Rules<'_>,
    index: PodIndex,
    offers: &[&Offer],
    best: Option<&Choice<'_>>,
) -> Vec<OfferOutcome> {
    let taken = best.map(|choice| &choice.offer.id);
    let mut outcomes: Vec<OfferOutcome> = offers
        .iter()
        .take(OUTCOMES_IN_FULL)
        .filter(|offer| Some(&offer.id) != taken)
        .map(|offer| OfferOutcome {
            pod: index,
            agent_id: offer.agent_id.clone(),
            hostname: offer.hostname.clone(),
            taken: false,
            why: match rules.all_refusals(offer) {
                whys if whys.is_empty() => vec!["another offer was better".to_owned()],
                whys => whys,
            },
        })
        .collect();
    if let Some(choice) = best {
        outcomes.push(OfferOutcome {
            pod: index,
            agent_id: choice.offer.agent_id.clone(),
            hostname: choice.offer.hostname.clone(),
            taken: true,
            why: vec![choice.score.to_string()],
        });
    }
    outcomes
}

fn why_no_place(draft: &Draft<'_>, index: PodIndex) -> WaitingReason {
    let refusals = draft.refusals.get(&index).map(waiting::count);
    let refusals = refusals.unwrap_or_default();
    if let Some(why) = impossible(draft) {
        return WaitingReason::CannotBePlaced { why, refusals };
    }
    if refusals.is_empty() {
        let since = draft
            .model
            .session()
            .map_or(draft.now(), |session| session.since);
        WaitingReason::NoOffer { since }
    } else {
        WaitingReason::NoSuitableOffer { refusals }
    }
}

/// Why the agents that the master has can never hold all wanted members,
/// whatever they offer; none if they can, or if the master did not tell.
pub(crate) fn impossible(draft: &Draft<'_>) -> Option<String> {
    let target = &draft.model.target;
    let agents = draft.model.observed.agents.as_ref()?;
    let spots: Vec<Spot<'_>> = agents
        .values()
        .map(Spot::from)
        .filter(|spot| refusing::is_in_region(draft.model, *spot))
        .collect();
    let room = constraints::room(
        target.placement.constraints(),
        &spots,
        target.reserves_ports(),
    );
    let wanted = usize::from(target.members);
    (room < wanted).then(|| {
        let members = if room == 1 { "member" } else { "members" };
        format!(
            "{wanted} members are wanted, and {} allows {room} {members} on the {} \
             agents of this cluster",
            if target.placement.constraints().is_empty() {
                "one member an agent".to_owned()
            } else {
                target.placement.to_string()
            },
            agents.len(),
        )
    })
}

fn next_agent_to_be_tried(draft: &Draft<'_>) -> Option<Timestamp> {
    let now = draft.now();
    let avoided = draft.record.avoided.values();
    avoided
        .map(|avoided| avoided.until)
        .filter(|until| *until > now)
        .min()
}

/// Reserves the place. The placement is recorded before the ACCEPT goes out,
/// so that a reservation of ours is always one that we know.
fn take(draft: &mut Draft<'_>, offer: &Offer, disk: Option<Disk>, index: PodIndex) {
    let placement = Placement {
        agent_id: offer.agent_id.clone(),
        hostname: offer.hostname.clone(),
        address: draft.model.target.address_of(index, &offer.address),
        reservation_id: ReservationId(draft.names.next()),
        volume_id: VolumeId(draft.names.next()),
        needs: draft.model.target.needs,
        disk,
        role: Some(offer.role.clone()),
        base: offer.base.clone(),
        user: Some(draft.model.target.user.clone()),
        network: Some(draft.model.target.network.clone()),
        domain: offer.domain.clone(),
        attributes: offer.attributes.clone(),
        stage: PlacementStage::Requested(draft.now()),
        resize: None,
        over_since: None,
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
