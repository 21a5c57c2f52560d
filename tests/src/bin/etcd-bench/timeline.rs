//! Where the time of a birth goes, read from the scheduler's log.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::birth::Births;
use crate::median;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What has been reached at the last line with this text, in the order of a
/// birth: all three members have come so far then.
const STEPS: [(&str, &str); 6] = [
    (
        "scheduler up: options, store, checksums of the artifacts",
        "the API listens",
    ),
    ("subscribed", "subscribed master="),
    (
        "offers taken: reserve, create volume, launch",
        "issued effect=accept",
    ),
    (
        "containers, fetching, executors up",
        "TASK_STARTING: preparing",
    ),
    (
        "checksums, data gate, guard, acknowledged",
        "TASK_STARTING: etcd started",
    ),
    ("etcd starts, elects, answers", "TASK_RUNNING"),
];

/// From the answers to a status that says so.
const LAST_STEP: &str = "probed and found healthy";

/// How long each step took; the last is [`LAST_STEP`].
pub(crate) type Timeline = Vec<Duration>;

/// Reads the steps of a birth that began at `start`; none if one is missing.
pub(crate) fn read(log: &str, start: SystemTime, taken: Duration) -> Option<Timeline> {
    let start = start.duration_since(UNIX_EPOCH).ok()?;
    let mut before = Duration::ZERO;
    let mut timeline = Timeline::new();
    let reached = STEPS.iter().map(|(_, text)| {
        let line = log.lines().rfind(|line| line.contains(text))?;
        since(start, time_of_day(line)?)
    });
    for reached in reached.chain([Some(taken)]) {
        // A slow member may have had its turn after a fast one's next step.
        let reached = reached?.max(before);
        timeline.push(reached - before);
        before = reached;
    }
    Some(timeline)
}

/// The time of day of a log line such as `2026-11-21T03:35:48.376977Z  INFO x`.
fn time_of_day(line: &str) -> Option<Duration> {
    let time = line.split_once('T')?.1.split_once('Z')?.0;
    let mut parts = time.splitn(3, ':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(
        Duration::from_secs((hours * 60 + minutes) * 60)
            + Duration::try_from_secs_f64(seconds).ok()?,
    )
}

/// From `start`, since the epoch, to the next such time of day.
fn since(start: Duration, time_of_day: Duration) -> Option<Duration> {
    let start_of_day =
        Duration::from_secs(start.as_secs() / DAY.as_secs() * DAY.as_secs());
    let moment = start_of_day + time_of_day;
    moment
        .checked_sub(start)
        .or_else(|| (moment + DAY).checked_sub(start))
}

/// The medians of each step, for each build.
pub(crate) fn table(births: &[Births]) -> String {
    let builds: Vec<&Births> = births
        .iter()
        .filter(|births| !births.timelines.is_empty())
        .collect();
    let mut text = String::from("| step of a birth (median, ms) |");
    for build in &builds {
        text += &format!(" {} |", build.name);
    }
    text += "\n|---|";
    text += &"---|".repeat(builds.len());
    let names = STEPS.iter().map(|(name, _)| *name).chain([LAST_STEP]);
    for (number, name) in names.enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n| {name} |");
        for build in &builds {
            let step = median(build.timelines.iter().map(|timeline| timeline[number]));
            let _ = write!(text, " {} |", step.as_millis());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_log_lines() {
        let time = time_of_day("2026-11-21T03:35:48.376977Z  INFO subscribed").unwrap();
        assert_eq!(time, Duration::from_micros(12_948_376_977));
        assert_eq!(time_of_day("panicked at"), None);
    }

    #[test]
    fn a_birth_over_midnight() {
        let before_midnight = DAY * 3 - Duration::from_millis(300);
        let seen = since(before_midnight, Duration::from_millis(200)).unwrap();
        assert_eq!(seen, Duration::from_millis(500));
    }
}
