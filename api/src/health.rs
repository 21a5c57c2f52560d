//! `/v1/health`: one number for the state of the service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/health`. The HTTP status is the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// See [`HealthCode`].
    pub value: u16,
    /// With `?verbose`: what was looked at, and what it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
}

/// The SDK's codes, where HTTP can carry them: instead of its 204 and 205,
/// which may not have a body, 202 and 203 stand for the whole of deploying and
/// of recovering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthCode {
    /// A plan has errors.
    Error,
    /// Never subscribed at a Mesos master yet.
    Initializing,
    /// The deployment is under way.
    Deploying,
    /// What is left of the deployment waits after failures.
    Delayed,
    /// A plan waits for an operator.
    WaitingForUser,
    /// A pod that was complete is being brought back.
    Recovering,
    /// All is well.
    Running,
    /// A plan is in none of these states.
    Unknown,
}

impl HealthCode {
    /// The number.
    pub const fn number(self) -> u16 {
        match self {
            HealthCode::Error => 500,
            HealthCode::Initializing => 318,
            HealthCode::Deploying => 202,
            HealthCode::Delayed => 208,
            HealthCode::WaitingForUser => 207,
            HealthCode::Recovering => 203,
            HealthCode::Running => 200,
            HealthCode::Unknown => 503,
        }
    }
}
