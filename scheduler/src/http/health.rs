//! `/v1/health`, the state of the service as one number, and `/v1/livez`, which
//! says only that the scheduler lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use etcd_api::Health;
use etcd_api::health::HealthCode;
use etcd_planner::WaitingReason;
use etcd_planner::plans::{PlanView, Status};

use super::{ApiState, answer};
use crate::published::Published;

/// The loop turns at least every five seconds, whatever happens. After this
/// long it hangs (a disk that does not answer, a bug), and only a restart
/// helps; members do not notice one.
const LOOP_HANGS_AFTER: Duration = Duration::from_secs(120);

pub(super) async fn health(
    State(state): State<ApiState>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    // `?verbose` and `?verbose=true` are both in use.
    let verbose = query.get("verbose").is_some_and(|value| value != "false");
    let published = state.published();
    let (code, mut reasons) = judge(&published);
    reasons.extend(published.service_waiting.iter().map(ToString::to_string));
    let body = Health {
        value: code.number(),
        reasons: verbose.then_some(reasons),
    };
    let status =
        StatusCode::from_u16(code.number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer::json(status, &body)
}

pub(super) async fn livez(State(state): State<ApiState>) -> Response {
    let silent = Instant::now().saturating_duration_since(state.published().taken);
    if silent <= LOOP_HANGS_AFTER {
        return answer::text(StatusCode::OK, "ok");
    }
    answer::text(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("the event loop has not turned for {} s", silent.as_secs()),
    )
}

/// The first of the SDK's questions that is answered with yes decides. The
/// reasons list all questions up to that one.
fn judge(published: &Published) -> (HealthCode, Vec<String>) {
    let mut reasons = Vec::new();
    for (place, (code, holds, about)) in questions(published).into_iter().enumerate() {
        let truth = if holds { "TRUE" } else { "FALSE" };
        reasons.push(format!(
            "Priority {place}. Status Code {} is {truth}, {about}",
            code.number()
        ));
        if holds {
            return (code, reasons);
        }
    }
    (HealthCode::Unknown, reasons)
}

fn questions(published: &Published) -> [(HealthCode, bool, String); 7] {
    let deploy = Steps::of(published.plan("deploy"));
    let recovery = Steps::of(published.plan("recovery"));
    let update = Steps::of(published.plan("update"));
    let failed: Vec<&str> = published
        .plans
        .iter()
        .filter(|plan| plan.status == Status::Error || !plan.errors.is_empty())
        .map(|plan| plan.name)
        .collect();
    let is_full = matches!(
        published.service_waiting,
        Some(WaitingReason::NoSpace { .. })
    );
    let waits_for_user = is_full
        || published
            .plans
            .iter()
            .any(|plan| plan.status == Status::Waiting && plan.is_active());
    [
        (
            HealthCode::Error,
            !failed.is_empty(),
            with_errors(published, &failed),
        ),
        (
            HealthCode::Initializing,
            published.record.framework_id.is_none(),
            "Never subscribed at a Mesos master".to_owned(),
        ),
        (HealthCode::Delayed, deploy.is_delayed(), deploy.to_string()),
        (
            HealthCode::Deploying,
            deploy.is_under_way() || update.is_under_way(),
            if deploy.is_under_way() {
                deploy.to_string()
            } else {
                format!("update: {update}")
            },
        ),
        (
            HealthCode::WaitingForUser,
            waits_for_user,
            "Plans, or a full database, that wait for an operator".to_owned(),
        ),
        (
            HealthCode::Recovering,
            recovery.is_under_way() || recovery.is_delayed(),
            recovery.to_string(),
        ),
        (
            HealthCode::Running,
            deploy.is_complete() && recovery.is_complete(),
            format!("{deploy}; {recovery}"),
        ),
    ]
}

/// The plans with errors, and the errors.
fn with_errors(published: &Published, failed: &[&str]) -> String {
    let errors = published.plans.iter().flat_map(|plan| &plan.errors);
    let errors = errors.fold(String::new(), |text, error| format!("{text}; {error}"));
    format!("Plans with errors: [{}]{errors}", failed.join(", "))
}

/// The steps of a plan, counted by status.
struct Steps {
    by_status: BTreeMap<Status, usize>,
    total: usize,
}

impl Steps {
    fn of(plan: Option<&PlanView>) -> Self {
        let mut by_status = BTreeMap::new();
        let mut total = 0;
        for phase in plan.into_iter().flat_map(|plan| &plan.phases) {
            for step in &phase.steps {
                *by_status.entry(step.status).or_insert(0) += 1;
                total += 1;
            }
        }
        Steps { by_status, total }
    }

    fn with(&self, status: Status) -> usize {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    fn is_complete(&self) -> bool {
        self.with(Status::Complete) == self.total
    }

    /// Nothing but steps that wait after failures is left.
    fn is_delayed(&self) -> bool {
        let delayed = self.with(Status::Delayed);
        delayed > 0 && self.with(Status::Complete) + delayed == self.total
    }

    fn is_under_way(&self) -> bool {
        !self.is_complete() && !self.is_delayed()
    }
}

impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Steps: Total({}) Pending({}) Prepared({}) Starting({}) Started({}) Completed({}) Delayed({})",
            self.total,
            self.with(Status::Pending),
            self.with(Status::Prepared),
            self.with(Status::Starting),
            self.with(Status::Started),
            self.with(Status::Complete),
            self.with(Status::Delayed),
        )
    }
}
