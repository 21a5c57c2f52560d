//! How much room the disk under a member has.
//!
//! A defragmentation writes a second database file beside the first. Nobody but the
//! executor sees the file system that both are on, so it tells every so often, in a Mesos
//! MESSAGE. One that is lost is followed by the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{PodGeneration, PodIndex};

/// So often an executor tells. A disk that fills up within that time is met by nobody
/// anyway, and a message costs next to nothing.
pub const TOLD_EVERY: Duration = Duration::from_secs(30);

/// What executors say without being asked. The answers to trials, which are older, have
/// no `kind` ([`crate::TrialAnswer`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExecutorMessage {
    /// How much room there is.
    Room(RoomReport),
}

/// What an executor tells of the disk under its member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomReport {
    /// See [`crate::FORMAT`].
    pub format: u32,
    /// Whose executor it is.
    pub pod: PodIndex,
    /// The generation of its launch.
    pub generation: PodGeneration,
    /// What may still be written on the file system of the volume, bytes.
    pub volume_free_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Executors of this release are heard by later schedulers.
    #[test]
    fn as_it_travels() {
        let message = ExecutorMessage::Room(RoomReport {
            format: crate::FORMAT,
            pod: PodIndex(2),
            generation: PodGeneration(3),
            volume_free_bytes: 1 << 40,
        });
        let text = r#"{"kind":"room","format":1,"pod":2,"generation":3,"volume_free_bytes":1099511627776}"#;
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
        let read: ExecutorMessage = serde_json::from_str(text).unwrap();
        assert_eq!(read, message);
    }
}
