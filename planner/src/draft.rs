//! A decision in the making.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_launch::{PodGeneration, PodIndex};

use crate::decision::{Decision, Judged};
use crate::effect::{Effect, Operation};
use crate::model::Model;
use crate::observed::VolumeSeen;
use crate::offer::{AgentId, Offer, OfferId};
use crate::record::{Pod, Record};
use crate::time::{FreshNames, Timestamp, Turn};
use crate::waiting::{OfferRefusal, WaitingReason};

/// The model as it was, and the record, effects and reasons as they grow.
pub(crate) struct Draft<'m> {
    pub(crate) model: &'m Model,
    pub(crate) turn: &'m Turn,
    pub(crate) names: FreshNames,
    pub(crate) record: Record,
    pub(crate) effects: Vec<Effect>,
    /// Offers that are being accepted in this turn, by pod.
    pub(crate) accepts: BTreeMap<PodIndex, DraftAccept>,
    pub(crate) waiting: BTreeMap<PodIndex, WaitingReason>,
    pub(crate) service_waiting: Option<WaitingReason>,
    pub(crate) refusals: BTreeMap<PodIndex, BTreeMap<AgentId, OfferRefusal>>,
    pub(crate) volumes_seen: BTreeMap<PodIndex, VolumeSeen>,
    pub(crate) unknown_reservations: BTreeSet<String>,
    pub(crate) judged: Judged,
    /// Pods for which an offer at hand would do if the member that they succeed had
    /// left.
    pub(crate) could_take_over: BTreeSet<PodIndex>,
    /// Offers that no pod took are kept: places are not chosen yet.
    pub(crate) keeps_offers: bool,
    /// Offers that were declined are wanted again: there is a new use for them.
    pub(crate) wants_declined_offers: bool,
    wake_at: Option<Timestamp>,
}

/// An ACCEPT in the making.
pub(crate) struct DraftAccept {
    pub(crate) offer_id: OfferId,
    pub(crate) agent_id: AgentId,
    pub(crate) operations: Vec<Operation>,
}

impl<'m> Draft<'m> {
    pub(crate) fn new(model: &'m Model, turn: &'m Turn) -> Self {
        Draft {
            model,
            turn,
            names: FreshNames::new(turn.entropy),
            record: model.record.clone(),
            effects: Vec::new(),
            accepts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            service_waiting: None,
            refusals: model.observed.refusals.clone(),
            volumes_seen: model.observed.volumes_seen.clone(),
            unknown_reservations: model.observed.unknown_reservations.clone(),
            judged: Judged::default(),
            could_take_over: BTreeSet::new(),
            keeps_offers: false,
            wants_declined_offers: false,
            wake_at: None,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.turn.now
    }

    /// The pods that the target wants, in order.
    pub(crate) fn wanted_pods(&self) -> impl Iterator<Item = PodIndex> + use<> {
        (0..self.model.target.members).map(PodIndex)
    }

    /// All pods on record, in order.
    pub(crate) fn recorded_pods(&self) -> Vec<PodIndex> {
        self.record.pods.keys().copied().collect()
    }

    pub(crate) fn pod(&self, index: PodIndex) -> &Pod {
        &self.record.pods[&index]
    }

    /// The pod, for changing. A pod that is not on record is put there.
    pub(crate) fn pod_mut(&mut self, index: PodIndex) -> &mut Pod {
        self.record.pods.entry(index).or_default()
    }

    /// Gives the reason why a pod waits. The first reason given in a turn is
    /// the one that must go away first, so later ones do not replace it.
    pub(crate) fn wait(&mut self, pod: PodIndex, reason: WaitingReason) {
        self.waiting.entry(pod).or_insert(reason);
    }

    /// Asks to be called again at the latest at this moment.
    pub(crate) fn wake_at(&mut self, moment: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(moment, |before| before.min(moment)));
    }

    pub(crate) fn wake_in(&mut self, duration: Duration) {
        self.wake_at(self.now().plus(duration));
    }

    /// Offers of this turn that no pod has taken yet, in a fixed order.
    pub(crate) fn untaken_offers(&self) -> Vec<&'m Offer> {
        let taken: BTreeSet<&OfferId> = self
            .accepts
            .values()
            .map(|accept| &accept.offer_id)
            .chain(self.effects.iter().filter_map(|effect| match effect {
                Effect::Release { offer_id, .. } => Some(offer_id),
                _ => None,
            }))
            .collect();
        self.model
            .observed
            .offers
            .values()
            .filter(|offer| !taken.contains(&offer.id))
            .collect()
    }

    /// Offers that are being accepted in this turn.
    pub(crate) fn taken_offers(&self) -> impl Iterator<Item = &'m Offer> {
        self.accepts
            .values()
            .filter_map(|accept| self.model.observed.offers.get(&accept.offer_id))
    }

    /// Whether an ACCEPT for the pod is still unanswered.
    pub(crate) fn accept_in_flight(&self, index: PodIndex) -> bool {
        self.model.is_in_flight(
            |effect| matches!(effect, Effect::Accept { pod, .. } if *pod == index),
        )
    }

    pub(crate) fn finish(mut self) -> Decision {
        let accepts = std::mem::take(&mut self.accepts);
        let accepts: Vec<Effect> = accepts
            .into_iter()
            .map(|(pod, accept)| Effect::Accept {
                pod,
                generation: self
                    .record
                    .pods
                    .get(&pod)
                    .map_or(PodGeneration::default(), |pod| pod.generation),
                offer_id: accept.offer_id,
                agent_id: accept.agent_id,
                operations: accept.operations,
            })
            .collect();
        // Accepts first: a decline before them would only delay a launch.
        self.effects.splice(0..0, accepts);
        Decision {
            record: self.record,
            effects: self.effects,
            waiting: self.waiting,
            service_waiting: self.service_waiting,
            refusals: self.refusals,
            volumes_seen: self.volumes_seen,
            unknown_reservations: self.unknown_reservations,
            judged: self.judged,
            wake_at: self.wake_at,
        }
    }
}
