//! Reading a launch spec that a scheduler of any release may have written.

use etcd_launch::{FORMAT, LaunchSpec, PodGeneration, PodIndex, Refusal};
use serde_json::Value;

/// A spec that cannot be followed, and whose it is as far as that can be told:
/// the report has to find its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableSpec {
    /// The pod; 0 if nothing tells.
    pub pod: PodIndex,
    /// Its generation; 0 if nothing tells.
    pub generation: PodGeneration,
    /// What is wrong.
    pub refusal: Refusal,
}

/// Reads the spec of the task with this name.
///
/// # Errors
///
/// [`UnreadableSpec`] for a newer format, whatever else it holds, and for text
/// that is not a spec.
pub fn read_spec(
    text: &[u8],
    task_name: &str,
) -> Result<LaunchSpec, Box<UnreadableSpec>> {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    let why = match number("format") {
        // Said before anything else: a newer format explains other surprises.
        Some(format) if format > u64::from(FORMAT) => {
            format!("it has format {format}, and this executor knows up to {FORMAT}")
        }
        _ => match serde_json::from_slice(text) {
            Ok(spec) => return Ok(spec),
            Err(error) => error.to_string(),
        },
    };
    let pod = number("pod").and_then(|pod| u16::try_from(pod).ok());
    Err(Box::new(UnreadableSpec {
        pod: PodIndex::of_task_name(task_name)
            .or(pod.map(PodIndex))
            .unwrap_or(PodIndex(0)),
        generation: PodGeneration(number("generation").unwrap_or(0)),
        refusal: Refusal::SpecUnreadable { why },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, task_name: &str, pod: u16, generation: u64, why: &str) {
        let unreadable = read_spec(text.as_bytes(), task_name).unwrap_err();
        let expected = UnreadableSpec {
            pod: PodIndex(pod),
            generation: PodGeneration(generation),
            refusal: Refusal::SpecUnreadable { why: why.into() },
        };
        assert_eq!(*unreadable, expected, "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_reported_for_its_pod() {
        let newer = "it has format 2, and this executor knows up to 1";
        check(r#"{"format":2,"pod":2,"generation":9}"#, "", 2, 9, newer);
        check(r#"{"format":2,"pod":"etcd-1"}"#, "etcd-1-node", 1, 0, newer);
        check(r#"{"format":2,"pod":70000}"#, "", 0, 0, newer);
        check(
            r#"{"format":1,"pod":1,"generation":4}"#,
            "etcd-1-node",
            1,
            4,
            "missing field `etcd` at line 1 column 35",
        );
        check(
            "",
            "x",
            0,
            0,
            "EOF while parsing a value at line 1 column 0",
        );
    }
}
