//! The order in which things are looked at.

use crate::decision::Decision;
use crate::model::Model;
use crate::time::Turn;

/// Stub.
pub fn plan(model: &Model, _turn: &Turn) -> Decision {
    Decision {
        record: model.record.clone(),
        effects: vec![],
        waiting: Default::default(),
        service_waiting: None,
        refusals: Default::default(),
        volumes_seen: Default::default(),
        unknown_reservations: Default::default(),
        wake_at: None,
    }
}
