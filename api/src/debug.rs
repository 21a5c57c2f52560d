//! `/v1/debug` and `/v2/debug`: how the scheduler sees things, in the shapes
//! of the DC/OS SDK.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/debug/plans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebugPlans {
    /// What the scheduler is busy with.
    pub scheduler_state: SchedulerState,
    /// The plans that have something to do.
    pub active_plans: Vec<String>,
    /// The plans that were asked for: all, or the one of `?plan=`.
    pub plans: Vec<DebugPlan>,
    /// The names of all plans, phases and steps, whatever was asked for.
    pub service_topology: Vec<TopologyElement>,
}

/// What the scheduler is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchedulerState {
    /// The deployment is under way.
    Deploying,
    /// The deployment is complete.
    Deployed,
    /// A pod that was complete is being brought back.
    Recovering,
    /// A pod is being given up.
    Decommissioning,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebugPlan {
    /// For example `deploy`.
    pub name: String,
    /// One of the SDK's statuses.
    pub status: String,
    /// `serial` or `parallel`.
    pub strategy: String,
    /// All phases, or the one of `?phase=`.
    pub phases: Vec<DebugPhase>,
    /// Steps of all phases.
    pub total_steps: usize,
    /// Those of them that are complete.
    pub completed_steps: usize,
}

/// A phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugPhase {
    /// For example `agents`.
    pub name: String,
    /// One of the SDK's statuses.
    pub status: String,
    /// `serial` or `parallel`.
    pub strategy: String,
    /// All steps, or the one of `?step=`.
    pub steps: Vec<DebugStep>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugStep {
    /// For example `etcd-0:[node]`.
    pub name: String,
    /// One of the SDK's statuses.
    pub status: String,
    /// What it waits for, if it does.
    pub errors: Vec<String>,
}

/// A plan, phase or step and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopologyElement {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ElementKind,
    /// Its parts; null for a step.
    pub children: Option<Vec<TopologyElement>>,
}

/// What an element of the topology is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ElementKind {
    /// A plan.
    Plan,
    /// A phase of a plan.
    Phase,
    /// A step of a phase.
    Step,
}

/// What `/v1/debug/plans` answers, with status 200 as the SDK does, when
/// `?plan=`, `?phase=` and `?step=` name nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InvalidInput {
    /// What is wrong, for people.
    pub invalid_input: String,
}

/// One entry of `GET /v1/debug/taskStatuses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanTasks {
    /// The plan.
    pub name: String,
    /// Its phases.
    pub phases: Vec<PhaseTasks>,
}

/// The tasks of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTasks {
    /// The phase.
    pub name: String,
    /// Its steps.
    pub steps: Vec<StepTasks>,
}

/// The tasks of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepTasks {
    /// The step.
    pub name: String,
    /// Its tasks; with us always one.
    pub task_status: Vec<StepTask>,
}

/// One task of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepTask {
    /// For example `etcd-0-node`.
    pub name: String,
    /// The id of the newest launch; null before the first.
    pub task_id: Option<String>,
    /// Mesos' state, such as `TASK_RUNNING`; null while Mesos has told none.
    pub task_status: Option<String>,
}

/// `GET /v1/debug/reservations`: by host name, the ids of our reservations
/// there, those included that were given up and not destroyed.
pub type Reservations = BTreeMap<String, Vec<String>>;

/// `GET /v2/debug/offers`. Counted since the scheduler started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebugOffers {
    /// Offers that were taken for a pod.
    pub accepted_count: u64,
    /// Offers that were not good enough, counted once for each pod that they
    /// were looked at for.
    pub rejected_count: u64,
    /// Rejections by reason. The reasons are whole sentences, such as
    /// `fewer than 1 cpus`.
    pub failure_reasons: BTreeMap<String, u64>,
    /// Rejections by agent id.
    pub rejected_agents: BTreeMap<String, u64>,
    /// The newest outcomes, oldest first, at most 100.
    pub offers: Vec<OfferOutcome>,
}

/// What became of one offer when it was looked at for one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OfferOutcome {
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// For example `etcd-2`.
    pub pod_instance_name: String,
    /// Whether it was taken.
    pub outcome: PassOrFail,
    /// Why: each line begins with `PASS` or `FAIL`.
    pub explanation: Vec<String>,
    /// Whose offer it was.
    pub offer: String,
}

/// Whether an offer was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassOrFail {
    /// It was.
    Pass,
    /// It was not.
    Fail,
}
