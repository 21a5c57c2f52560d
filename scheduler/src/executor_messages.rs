//! What executors say in messages: answers to trials, and how much room there is.

use etcd_launch::{ExecutorMessage, FORMAT, RoomReport, TrialAnswer};
use etcd_planner::Event;
use serde::Deserialize;
use tracing::{debug, info, warn};

/// What is read first. Answers to trials have no kind.
#[derive(Deserialize)]
struct Head {
    format: u32,
    kind: Option<String>,
}

/// What an executor said, if this release can read it.
pub fn event(data: &[u8]) -> Option<Event> {
    match read(data) {
        Ok(event) => Some(event),
        Err(Unread::Newer { format }) => {
            warn!(format, "a message of a newer executor is not understood");
            None
        }
        Err(Unread::Misread(error)) => {
            warn!(%error, "a message of an executor is not understood");
            None
        }
    }
}

/// Why a message is not understood.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("it has format {format}")]
    Newer { format: u32 },
    #[error(transparent)]
    Misread(#[from] serde_json::Error),
}

fn read(data: &[u8]) -> Result<Event, Unread> {
    let Head { format, kind } = serde_json::from_slice(data)?;
    if format > FORMAT {
        return Err(Unread::Newer { format });
    }
    if kind.is_none() {
        let answer: TrialAnswer = serde_json::from_slice(data)?;
        info!(pod = %answer.pod, id = answer.id, verdict = ?answer.verdict, "tried");
        return Ok(Event::Tried(answer));
    }
    let ExecutorMessage::Room(report) = serde_json::from_slice(data)?;
    let RoomReport {
        pod,
        volume_free_bytes,
        ..
    } = &report;
    debug!(%pod, volume_free_bytes, "told");
    Ok(Event::RoomTold(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let found = match read(text.as_bytes()) {
                Ok(Event::Tried(answer)) => format!("{} tried {}", answer.pod, answer.id),
                Ok(Event::RoomTold(report)) => {
                    format!("{} has {}", report.pod, report.volume_free_bytes)
                }
                Ok(other) => format!("{other:?}"),
                Err(why) => why.to_string(),
            };
            assert!(found.contains(expected), "{found}");
        }
        // As executors of earlier releases write it.
        check(
            r#"{"format":1,"id":"t/3","pod":0,"generation":3,"verdict":"Taken"}"#,
            "etcd-0 tried t/3",
        );
        check(
            r#"{"kind":"room","format":1,"pod":2,"generation":3,"volume_free_bytes":7}"#,
            "etcd-2 has 7",
        );
        check(
            r#"{"kind":"weather","format":1}"#,
            "unknown variant `weather`",
        );
        check(r#"{"kind":"room","format":2}"#, "it has format 2");
        check("hello", "expected value");
    }
}
