//! Crashes on demand, at every point where a crash must not matter.
//!
//! `ETCD_SCHEDULER_FAILPOINT=after-reserve-and-launch:2` aborts the process
//! when it passes that point for the second time.
//!
//! This is part of the product and not of a test build, for two reasons. The
//! tests then run the very binary that operators run, whose timing and
//! optimisation decide what a crash leaves behind. And whoever doubts that the
//! scheduler survives a crash can try it on their own cluster. It costs one
//! load of an atomic at each point, can only be switched on by whoever may
//! start the process anyway, and says so loudly when it is.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_planner::effect::EffectKind;

/// The environment variable that switches a failpoint on: its name, or its name
/// and the number of the pass at which it strikes.
pub const VARIABLE: &str = "ETCD_SCHEDULER_FAILPOINT";

/// Where the loop passes failpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The record that makes way for the effect is about to be stored.
    BeforeStore,
    /// It has been stored, and no effect has been issued.
    AfterStore,
    /// The effect is about to be issued.
    Before,
    /// The effect has been issued; its result has not been looked at.
    After,
}

impl Stage {
    /// In the order in which they are passed.
    pub const ALL: [Stage; 4] = [
        Stage::BeforeStore,
        Stage::AfterStore,
        Stage::Before,
        Stage::After,
    ];

    /// What the failpoint's name begins with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::BeforeStore => "before-store",
            Stage::AfterStore => "after-store",
            Stage::Before => "before",
            Stage::After => "after",
        }
    }
}

/// A record that is stored because of an event alone, such as the framework id
/// or the end of a task, has no effect to be named after.
pub const EVENT: &str = "event";

/// A failpoint that is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failpoint {
    stage: Stage,
    effect: &'static str,
    /// 1 for the first pass.
    pass: u32,
}

/// The text names no failpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}={given:?} names no failpoint; --list-failpoints prints all names")]
pub struct UnknownFailpoint {
    given: String,
}

static SWITCHED_ON: OnceLock<Failpoint> = OnceLock::new();
static PASSES: AtomicU32 = AtomicU32::new(0);

/// The names of all failpoints, for `--list-failpoints`.
pub fn names() -> impl Iterator<Item = String> {
    points().map(|(stage, effect)| name(stage, effect))
}

fn points() -> impl Iterator<Item = (Stage, &'static str)> {
    let stored_by_event = [Stage::BeforeStore, Stage::AfterStore]
        .into_iter()
        .map(|stage| (stage, EVENT));
    let of_effects = EffectKind::ALL.iter().flat_map(|effect| {
        Stage::ALL
            .into_iter()
            .map(move |stage| (stage, effect.as_str()))
    });
    stored_by_event.chain(of_effects)
}

fn name(stage: Stage, effect: &str) -> String {
    format!("{}-{effect}", stage.as_str())
}

/// Switches on what the value of [`VARIABLE`] asks for. Called once, at start.
///
/// # Errors
///
/// When it names no failpoint: a test that silently crashes nothing proves
/// nothing.
pub fn switch_on(value: Option<&str>) -> Result<(), UnknownFailpoint> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(());
    };
    let failpoint: Failpoint = value.parse()?;
    tracing::error!(
        %failpoint,
        "FAILPOINT IS ON: this scheduler will abort itself; unset {VARIABLE} unless this is a test"
    );
    // A second call would change nothing, as the first failpoint stays.
    let _ = SWITCHED_ON.set(failpoint);
    Ok(())
}

/// Passes a failpoint. Ends the process without any clean-up if it is switched
/// on and this is its pass.
pub fn hit(stage: Stage, effect: &str) {
    let Some(failpoint) = SWITCHED_ON.get() else {
        return;
    };
    if failpoint.stage == stage && failpoint.effect == effect {
        let pass = PASSES.fetch_add(1, Ordering::Relaxed) + 1;
        if pass == failpoint.pass {
            tracing::error!(%failpoint, "failpoint reached; aborting");
            std::process::abort();
        }
    }
}

impl FromStr for Failpoint {
    type Err = UnknownFailpoint;

    fn from_str(text: &str) -> Result<Self, UnknownFailpoint> {
        let unknown = || UnknownFailpoint {
            given: text.to_owned(),
        };
        let (wanted, pass) = match text.split_once(':') {
            None => (text, 1),
            Some((wanted, pass)) => (wanted, pass.parse().map_err(|_| unknown())?),
        };
        let (stage, effect) = points()
            .find(|(stage, effect)| name(*stage, effect) == wanted)
            .ok_or_else(unknown)?;
        if pass == 0 {
            return Err(unknown());
        }
        Ok(Failpoint {
            stage,
            effect,
            pass,
        })
    }
}

impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", name(self.stage, self.effect), self.pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_the_variable() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let found = text.parse::<Failpoint>().ok();
            assert_eq!(found.map(|found| found.to_string()).as_deref(), expected);
        }
        check("before-launch", Some("before-launch:1"));
        check("before-store-launch:3", Some("before-store-launch:3"));
        check(
            "after-reserve-and-launch:2",
            Some("after-reserve-and-launch:2"),
        );
        check("after-store-event", Some("after-store-event:1"));
        check("before-event", None);
        check("before-launch:0", None);
        check("before-launch:", None);
        check("before-store", None);
        check("", None);
    }

    #[test]
    fn names_are_unique_and_read_back() {
        let all: Vec<String> = names().collect();
        for name in &all {
            assert!(name.parse::<Failpoint>().is_ok(), "{name}");
            assert_eq!(all.iter().filter(|other| *other == name).count(), 1);
        }
    }

    #[test]
    fn off_is_silent() {
        assert_eq!(switch_on(None), Ok(()));
        assert_eq!(switch_on(Some("")), Ok(()));
        assert!(switch_on(Some("nonsense")).is_err());
        hit(Stage::Before, "launch");
    }
}
