//! What clients did and saw, as data.

use std::time::Duration;

/// What a key held: every write has a value of its own.
pub type Value = u64;

/// One call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// On which key. Keys are independent of each other.
    pub key: u8,
    /// What was asked, and what came of it.
    pub deed: Deed,
    /// When it was asked, since the history's begin.
    pub asked: Duration,
    /// When the answer came. None if nobody knows whether it took effect: it may
    /// then have done so at any time after it was asked, or never.
    pub answered: Option<Duration>,
    /// The revision that etcd gave to the change, where an answer told one.
    pub revision: Option<i64>,
}

/// What an operation asks for and, if it was answered, the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The key gets this value.
    Put(Value),
    /// The key is read.
    Get(Option<Value>),
    /// The key is removed.
    Delete {
        /// Whether there was something to remove.
        found: Option<bool>,
    },
    /// A transaction: if the key holds `expected`, it gets `new`.
    Swap {
        /// What it must hold.
        expected: Option<Value>,
        /// What it then gets.
        new: Value,
        /// Whether it did.
        swapped: Option<bool>,
    },
    /// The lease under which this value was put is revoked: if the key still
    /// holds the value, it is removed.
    Revoke(Value),
}

impl Deed {
    /// What the key holds afterwards, if the answer is possible when it held
    /// `held` before.
    pub(super) fn apply(self, held: Option<Value>) -> Option<Option<Value>> {
        let agrees = |answer: Option<bool>, truth: bool| {
            answer.is_none_or(|answer| answer == truth)
        };
        match self {
            Deed::Put(value) => Some(Some(value)),
            Deed::Get(seen) => (seen == held).then_some(held),
            Deed::Delete { found } => agrees(found, held.is_some()).then_some(None),
            Deed::Swap {
                expected,
                new,
                swapped,
            } => {
                let swaps = held == expected;
                agrees(swapped, swaps).then_some(if swaps { Some(new) } else { held })
            }
            Deed::Revoke(value) if held == Some(value) => Some(None),
            Deed::Revoke(_) => Some(held),
        }
    }

    /// The value that it writes, if it takes effect.
    pub(super) fn written(self) -> Option<Value> {
        match self {
            Deed::Put(value) | Deed::Swap { new: value, .. } => Some(value),
            Deed::Get(_) | Deed::Delete { .. } | Deed::Revoke(_) => None,
        }
    }

    /// What the key holds after the change that this deed made, if it is certain
    /// that it made one.
    pub(super) fn certain_change(self) -> Option<Option<Value>> {
        match self {
            Deed::Put(value) => Some(Some(value)),
            Deed::Delete { found: Some(true) } => Some(None),
            Deed::Swap {
                new,
                swapped: Some(true),
                ..
            } => Some(Some(new)),
            Deed::Get(_) | Deed::Delete { .. } | Deed::Swap { .. } | Deed::Revoke(_) => {
                None
            }
        }
    }
}

/// What a watch told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision that made it.
    pub revision: i64,
    /// Of which key.
    pub key: u8,
    /// What the key holds since; none if it was removed.
    pub value: Option<Value>,
}
