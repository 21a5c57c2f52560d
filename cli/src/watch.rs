//! `plan watch`: a plan until it is complete.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use etcd_api::PlanInfo;

use crate::arguments::WatchArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Paint, Tone, one_line};
use crate::request::Request;
use crate::tree;
use crate::utc;

/// Between two looks at the plan. Answers come from memory.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A command is answered once it is stored, and shows in the plans with the
/// scheduler's next turn, milliseconds later. Whoever restarts a pod and watches the
/// recovery at once must not be told that all is complete already.
const COMPLETE_LOOKS: u32 = 2;

/// A scheduler that is away for longer does not just restart.
const AWAY_FOR: Duration = Duration::from_secs(120);

const COMPLETE: &str = "COMPLETE";

/// Shows a plan until it is complete: as a live tree on a terminal, else a line
/// for each change, or with `json` a line of JSON for each change.
///
/// # Errors
///
/// When the plan has errors, the time is over, or the scheduler stays away.
pub(crate) async fn plan(
    client: &Client,
    arguments: &WatchArguments,
    output: &Output,
    json: bool,
) -> Result<(), Failure> {
    let name = &arguments.plan;
    let request = Request::get(&["v1", "plans", name]);
    let started = Instant::now();
    let mut screen = match (json, output.is_terminal) {
        (true, _) => Screen::Json { last: None },
        (false, true) => Screen::Live {
            last: String::new(),
            rows: 0,
        },
        (false, false) => Screen::Lines { last: Parts::new() },
    };
    let mut heard: Option<(Instant, PlanInfo)> = None;
    let mut complete = 0;
    loop {
        match client.read::<PlanInfo>(&request).await {
            Ok(plan) => {
                screen.show(output, name, &plan, &progress(started, None))?;
                if !plan.errors.is_empty() {
                    return Err(Failure::PlanHasErrors(name.clone()));
                }
                complete = if plan.status == COMPLETE {
                    complete + 1
                } else {
                    0
                };
                if complete == COMPLETE_LOOKS {
                    return Ok(());
                }
                heard = Some((Instant::now(), plan));
            }
            Err(failure) => match &heard {
                Some((at, plan)) if failure.may_pass() && at.elapsed() < AWAY_FOR => {
                    let away = progress(started, Some(&failure));
                    screen.show(output, name, plan, &away)?;
                }
                // One that never answered is not waited for.
                _ => return Err(failure),
            },
        }
        if let Some(limit) = arguments
            .at_most
            .filter(|limit| started.elapsed() >= *limit)
        {
            let seconds = limit.as_secs_f64();
            return Err(Failure::GaveUp(format!(
                "the plan {name} is not complete after {seconds} s"
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn progress(started: Instant, failure: Option<&Failure>) -> String {
    let seconds = started.elapsed().as_secs();
    match failure {
        None => format!("{seconds} s"),
        Some(failure) => format!("{seconds} s; {}", one_line(&failure.to_string())),
    }
}

/// How changes are shown, and what was shown last.
enum Screen {
    /// A tree that is drawn over itself.
    Live {
        /// What it was.
        last: String,
        /// How many rows of the terminal it took.
        rows: usize,
    },
    /// A line for each change.
    Lines { last: Parts },
    /// A line of JSON for each change.
    Json { last: Option<PlanInfo> },
}

impl Screen {
    fn show(
        &mut self,
        output: &Output,
        name: &str,
        plan: &PlanInfo,
        progress: &str,
    ) -> Result<(), Failure> {
        match self {
            Screen::Live { last, rows } => {
                let size = terminal_size();
                let plain = tree::plan(name, plan, Paint::Plain) + progress;
                let painted = tree::plan(name, plan, output.paint)
                    + &output.paint.tone(Tone::Faint, progress);
                let (frame, taken) = frame(&plain, &painted, size);
                // A terminal that is drawn anew for nothing flickers.
                if frame == *last {
                    return Ok(());
                }
                // Up to where the last frame began, and away with it.
                let back = match *rows {
                    0 => String::new(),
                    rows => format!("\x1b[{rows}A\r\x1b[J"),
                };
                *rows = taken;
                output.write(&format!("{back}{frame}"))?;
                *last = frame;
                Ok(())
            }
            Screen::Lines { last } => {
                let now = parts(name, plan);
                let at = utc::text(now_ms());
                let lines: String = changes(last, &now)
                    .iter()
                    .map(|change| format!("{at}  {change}\n"))
                    .collect();
                *last = now;
                output.write(&lines)
            }
            Screen::Json { last } if last.as_ref() != Some(plan) => {
                *last = Some(plan.clone());
                output.print(&serde_json::json!(plan).to_string())
            }
            Screen::Json { .. } => Ok(()),
        }
    }
}

/// Columns and rows.
#[derive(Clone, Copy, Debug)]
struct Size {
    columns: usize,
    rows: usize,
}

fn terminal_size() -> Size {
    let known = rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0);
    // What terminals had that did not tell their size.
    known.map_or(
        Size {
            columns: 80,
            rows: 24,
        },
        |size| Size {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        },
    )
}

/// The end of a text that fits a terminal, and how many rows it takes there. The
/// plain text tells how wide the lines of the painted one are.
fn frame(plain: &str, painted: &str, size: Size) -> (String, usize) {
    let rows_of = |line: &str| line.chars().count().div_ceil(size.columns).max(1);
    let mut taken = 0;
    let mut lines = Vec::new();
    for (plain, painted) in plain.lines().rev().zip(painted.lines().rev()) {
        let rows = rows_of(plain);
        // The cursor stands in the row below.
        if taken + rows >= size.rows {
            break;
        }
        taken += rows;
        lines.push(painted);
    }
    lines.reverse();
    let mut text = lines.join("\n");
    text.push('\n');
    (text, taken)
}

/// What every part of a plan is at, in the plan's order: its place and its name,
/// and its status with what it waits for.
type Parts = BTreeMap<(usize, usize, String), String>;

fn parts(name: &str, plan: &PlanInfo) -> Parts {
    let state = |status: &str, waiting: &Option<String>| match waiting {
        Some(reason) => format!("{status} waits: {}", one_line(reason)),
        None => status.to_owned(),
    };
    let mut parts = Parts::new();
    parts.insert((0, 0, name.to_owned()), state(&plan.status, &plan.waiting));
    for (place, phase) in (1..).zip(&plan.phases) {
        let path = format!("{name} {}", phase.name);
        parts.insert(
            (place, 0, path.clone()),
            state(&phase.status, &phase.waiting),
        );
        for (under, step) in (1..).zip(&phase.steps) {
            let path = format!("{path} {}", step.name);
            parts.insert((place, under, path), state(&step.status, &step.waiting));
        }
    }
    for (place, error) in plan.errors.iter().enumerate() {
        let key = (usize::MAX, place, format!("{name} error"));
        parts.insert(key, one_line(error));
    }
    parts
}

/// What is new, then what is gone.
fn changes(before: &Parts, now: &Parts) -> Vec<String> {
    let new = now
        .iter()
        .filter(|(part, state)| before.get(*part) != Some(*state))
        .map(|((_, _, part), state)| format!("{part}: {state}"));
    let is_named = |name: &String| now.keys().any(|(_, _, part)| part == name);
    let gone = before
        .keys()
        .filter(|(_, _, part)| !is_named(part))
        .map(|(_, _, part)| format!("{part}: not in the plan any more"));
    new.chain(gone).collect()
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use etcd_api::{PhaseInfo, StepInfo};

    use super::*;

    fn plan_of(status: &str, steps: &[(&str, &str, Option<&str>)]) -> PlanInfo {
        let step = |(name, status, waiting): &(&str, &str, Option<&str>)| StepInfo {
            id: String::new(),
            status: (*status).to_owned(),
            name: (*name).to_owned(),
            message: String::new(),
            waiting: waiting.map(str::to_owned),
        };
        let phase = PhaseInfo {
            id: String::new(),
            name: "agents".to_owned(),
            steps: steps.iter().map(step).collect(),
            strategy: "parallel".to_owned(),
            status: status.to_owned(),
            waiting: None,
        };
        PlanInfo {
            phases: if steps.is_empty() {
                vec![]
            } else {
                vec![phase]
            },
            errors: Vec::new(),
            strategy: "serial".to_owned(),
            status: status.to_owned(),
            waiting: None,
        }
    }

    #[test]
    fn only_changes_are_told() {
        #[track_caller]
        fn check(before: Option<PlanInfo>, now: &PlanInfo, expected: &[&str]) {
            let before = before.map_or_else(Parts::new, |plan| parts("p", &plan));
            assert_eq!(changes(&before, &parts("p", now)), expected);
        }
        let begun = plan_of(
            "IN_PROGRESS",
            &[("a", "COMPLETE", None), ("b", "PENDING", Some("no offer"))],
        );
        check(
            None,
            &begun,
            &[
                "p: IN_PROGRESS",
                "p agents: IN_PROGRESS",
                "p agents a: COMPLETE",
                "p agents b: PENDING waits: no offer",
            ],
        );
        check(Some(begun.clone()), &begun, &[]);
        let further = plan_of(
            "IN_PROGRESS",
            &[("a", "COMPLETE", None), ("b", "STARTING", None)],
        );
        check(Some(begun), &further, &["p agents b: STARTING"]);
        let done = plan_of("COMPLETE", &[]);
        check(
            Some(further),
            &done,
            &[
                "p: COMPLETE",
                "p agents: not in the plan any more",
                "p agents a: not in the plan any more",
                "p agents b: not in the plan any more",
            ],
        );
        let mut wrong = plan_of("ERROR", &[]);
        wrong.errors.push("bad\nconfig".to_owned());
        check(None, &wrong, &["p: ERROR", "p error: bad config"]);
    }

    #[test]
    fn frames_fit_the_terminal() {
        #[track_caller]
        fn check(text: &str, columns: usize, rows: usize, expected: (&str, usize)) {
            let size = Size { columns, rows };
            let (found, taken) = frame(text, text, size);
            assert_eq!((found.as_str(), taken), expected);
        }
        check("a\nb\n2 s", 80, 24, ("a\nb\n2 s\n", 3));
        check("abcd\nb\n2 s", 3, 24, ("abcd\nb\n2 s\n", 4));
        check("abc\nb", 3, 24, ("abc\nb\n", 2));
        check("a\nb\nc", 80, 3, ("b\nc\n", 2));
        check("abcd\nb", 3, 3, ("b\n", 1));
    }
}
