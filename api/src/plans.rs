//! `/v1/plans`: plans, phases and steps as the SDK writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/plans/{plan}`. The HTTP status says it too: 200 when complete, 202
/// while it is not, 417 with errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanInfo {
    /// In order.
    pub phases: Vec<PhaseInfo>,
    /// Refused changes of the configuration and the like.
    pub errors: Vec<String>,
    /// `serial` or `parallel`: the order of the phases.
    pub strategy: String,
    /// One of the SDK's statuses, such as `IN_PROGRESS`.
    pub status: String,
    /// Why the plan waits for an operator, if it does. The SDK has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// A phase of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseInfo {
    /// A UUID made from the names of service, plan and phase: it stays the same
    /// when the scheduler restarts.
    pub id: String,
    /// For example `agents`.
    pub name: String,
    /// In order.
    pub steps: Vec<StepInfo>,
    /// The order of the steps: `serial`, `parallel`, `serial-canary`,
    /// `parallel-canary`.
    pub strategy: String,
    /// From the steps.
    pub status: String,
    /// Why the phase waits for an operator, if it does. The SDK has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// A step of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepInfo {
    /// A UUID made from the names of service, plan, phase and step.
    pub id: String,
    /// One of the SDK's statuses.
    pub status: String,
    /// For example `etcd-0:[node]`.
    pub name: String,
    /// Free text for people: the step's status, and why it does not go on.
    pub message: String,
    /// Why the step does not go on, by itself. The SDK has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}
