//! What `plan` answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use etcd_launch::PodIndex;

use crate::effect::Effect;
use crate::observed::VolumeSeen;
use crate::offer::{AgentId, Hostname};
use crate::record::Record;
use crate::time::Timestamp;
use crate::waiting::{OfferRefusal, WaitingReason};

/// The next safe effects, and why nothing more is done.
#[must_use = "a decision that nobody carries out or shows is lost"]
#[derive(Clone, Debug)]
pub struct Decision {
    /// The record as it must be stored BEFORE any of the effects is issued.
    pub record: Record,
    /// What to do, in this order.
    pub effects: Vec<Effect>,
    /// Why a pod does not go on.
    pub waiting: BTreeMap<PodIndex, WaitingReason>,
    /// Why the service as a whole does not go on.
    pub service_waiting: Option<WaitingReason>,
    /// Newly refused offers, to be remembered until the agent offers again.
    pub refusals: BTreeMap<PodIndex, BTreeMap<AgentId, OfferRefusal>>,
    /// What this round's offers showed of the pods' volumes.
    pub volumes_seen: BTreeMap<PodIndex, VolumeSeen>,
    /// Reservations with our labels that no record knows.
    pub unknown_reservations: BTreeSet<String>,
    /// What became of the offers that were looked at for a place.
    pub judged: Judged,
    /// When to plan again even if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// What became of the offers that were looked at for a place in one turn.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// How many were refused for each reason, counted once for each pod that
    /// they were looked at for.
    pub reasons: BTreeMap<OfferRefusal, usize>,
    /// The same, by agent.
    pub refused_agents: BTreeMap<AgentId, usize>,
    /// The offers that were taken, and refused ones, as far as there is room.
    pub outcomes: Vec<OfferOutcome>,
}

/// What became of one offer when it was looked at for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferOutcome {
    /// For which pod.
    pub pod: PodIndex,
    /// Whose offer.
    pub agent_id: AgentId,
    /// The agent's host.
    pub hostname: Hostname,
    /// Whether it was taken.
    pub taken: bool,
    /// Why, or everything that spoke against it.
    pub why: Vec<String>,
}

impl Judged {
    /// Counts the refusals of one pod.
    pub(crate) fn note<'a>(
        &mut self,
        refusals: impl Iterator<Item = (&'a AgentId, &'a OfferRefusal)>,
    ) {
        for (agent_id, refusal) in refusals {
            if let Some(count) = self.reasons.get_mut(refusal) {
                *count += 1;
            } else {
                self.reasons.insert(refusal.clone(), 1);
            }
            if let Some(count) = self.refused_agents.get_mut(agent_id) {
                *count += 1;
            } else {
                self.refused_agents.insert(agent_id.clone(), 1);
            }
        }
    }
}

/// One line an effect, then one line a waiting pod: what tests compare.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for effect in &self.effects {
            writeln!(f, "{effect}")?;
        }
        if let Some(reason) = &self.service_waiting {
            writeln!(f, "service waits: {reason}")?;
        }
        for (pod, reason) in &self.waiting {
            writeln!(f, "{pod} waits: {reason}")?;
        }
        Ok(())
    }
}
