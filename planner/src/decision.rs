//! What `plan` answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use etcd_launch::PodIndex;

use crate::effect::Effect;
use crate::observed::VolumeSeen;
use crate::offer::AgentId;
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
    /// When to plan again even if nothing happens.
    pub wake_at: Option<Timestamp>,
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
