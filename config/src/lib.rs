//! What an operator may ask for: every option with its meaning, unit, default
//! and limits, and the checks that look at several options together.
//!
//! * [`Options`] is the whole configuration as plain typed data. It is what the
//!   planner reads and what the scheduler stores as the wanted state.
//! * [`option_table`] lists every option once. The structs, the checks, the
//!   loader and `docs/options.md` all come from that list.
//! * [`Options::check`] judges a configuration. It is pure: no files, no network.
//! * [`judge_change`] says whether a running service may change from one
//!   configuration to another, and what that costs its members.
//! * With the feature `load`, the module `load` collects options from defaults,
//!   a JSON file, the environment and flags, and reports every error at once.
//!
//! Option names are those of the original DC/OS package wherever it had one, so
//! an options file that operators already have keeps its meaning.

mod changes;
mod check;
mod choices;
#[cfg(feature = "load")]
mod given;
#[cfg(feature = "load")]
pub mod load;
mod names;
mod options;
pub mod placement;
mod plugin_labels;
mod quantities;
mod service_name;
mod table;
mod text_rules;

pub use changes::{
    Asked, Change, ChangeClass, ChangeRule, Refusal, changes, judge_change,
};
pub use check::{Problem, Warning};
pub use choices::{DeployStrategy, DiskType, LogFormat, LogLevel};
#[cfg(feature = "load")]
pub use given::GivenOptions;
pub use options::{EtcdOptions, NodeOptions, Options, SchedulerOptions, ServiceOptions};
pub use placement::PlacementConstraints;
pub use plugin_labels::PluginLabels;
pub use quantities::{Megabytes, MemberCount, MilliCpus, Millis, Port, Seconds};
pub use service_name::ServiceName;
pub use table::{Kind, OptionRow, Value, find_option, option_table};

/// A text that an option does not take. It says what the option takes instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is refused; allowed: {allowed}")]
pub struct Refused {
    /// What was given.
    pub given: String,
    /// What is allowed, in words for an operator.
    pub allowed: String,
}

impl Refused {
    /// Refuses `given` and says what would be taken.
    pub(crate) fn new(given: impl ToString, allowed: impl Into<String>) -> Self {
        Self {
            given: given.to_string(),
            allowed: allowed.into(),
        }
    }
}
