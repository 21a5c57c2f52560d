//! Short answers: a command was taken, or a request was refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The SDK's answer to a plan command that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// For example `Received cmd: continue`.
    pub message: String,
}

/// Why a request was refused, on paths where the SDK does not demand plain
/// text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Fixed, for programs: `unauthorized`, `forbidden`, `not_found`, ...
    pub code: String,
    /// For people: what is wrong, and what to do about it.
    pub message: String,
}
