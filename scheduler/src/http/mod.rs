//! The scheduler's HTTP API.
//!
//! Paths of the DC/OS SDK keep the SDK's shapes and status codes; ours are
//! clean JSON. Reads are answered from the published picture and never disturb
//! the event loop; writes go to the loop as [`crate::commands::Order`]s.
//!
//! | question | file |
//! |---|---|
//! | who may do what? | `access.rs` |
//! | which connections, how many, for how long? | `listener.rs` |
//! | how are answers written? | `answer.rs` |
//! | how does the event loop learn of a command? | `asking.rs` |
//! | which routes are there? | `routes()` below, and `api/src/routes.rs` in words |
//! | how does a snapshot get out? | `snapshot.rs` |
//! | plans, pods, configurations, debug, endpoints, events, state, health, status, metrics | one file each |

pub mod access;
mod alarms;
mod answer;
mod artifacts;
mod asking;
mod configurations;
mod debug;
mod endpoints;
mod events;
mod health;
mod listener;
mod metrics;
mod openapi;
mod plan_commands;
mod plans;
mod pods;
mod routes;
pub mod snapshot;
mod state;
mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::artifacts::{ARTIFACT_PATH, Artifacts};
use crate::commands::Order;
use crate::events::EventLog;
use crate::metrics::Metrics;
use crate::offer_history::OfferHistory;
use crate::published::{Published, PublishedReceiver};
use crate::reading::Readers;
use crate::store::{Store, StoreError};
use crate::wanted::Started;
use access::Access;
use routes::Routes;

/// Plan parameters and lists of task names are all that anyone sends.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Everything is answered from memory, except for commands, which the loop
/// takes within milliseconds. Who waits longer is better told.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// For how long requests under way may go on once the scheduler is told to
/// stop. Fetches of programs are cut off: the launch is repeated anyway.
const DRAIN_FOR: Duration = Duration::from_secs(5);

/// What answers are made from.
#[derive(Clone)]
pub struct ApiState {
    /// The newest picture.
    pub published: PublishedReceiver,
    /// To the event loop.
    pub commands: mpsc::Sender<Order>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// What became of offers.
    pub offer_history: Arc<OfferHistory>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// For properties and configurations.
    pub store: Arc<Store>,
    /// Programs for agents.
    pub artifacts: Arc<Artifacts>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// What does not change.
    pub facts: Arc<ServiceFacts>,
    /// Snapshots under way.
    pub snapshots: Arc<snapshot::Slots>,
    /// Whose database is being read whole.
    pub readers: Readers,
    /// How the scheduler was started.
    pub started: Arc<Started>,
}

/// What does not change while the scheduler runs.
#[derive(Clone, Debug)]
pub struct ServiceFacts {
    /// The scheduler's version.
    pub version: String,
    /// DNS domain of tasks, without a leading dot.
    pub task_domain: String,
    /// DNS domain of virtual addresses, without a leading dot.
    pub vip_domain: String,
}

impl Default for ServiceFacts {
    /// DC/OS' domains. On plain Mesos nobody answers for them; clients use the
    /// addresses there.
    fn default() -> Self {
        ServiceFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            task_domain: "autoip.dcos.thisdcos.directory".to_owned(),
            vip_domain: "l4lb.thisdcos.directory".to_owned(),
        }
    }
}

impl ApiState {
    /// The newest picture.
    fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }
}

/// All routes.
fn routes() -> Routes {
    let artifact = format!("{ARTIFACT_PATH}{{path}}/{{file}}");
    Routes::new()
        .merge(plans::routes())
        .merge(pods::routes())
        .merge(configurations::routes())
        .merge(debug::routes())
        .get("/v1/endpoints", endpoints::list)
        .get("/v1/endpoints/{name}", endpoints::show)
        .get("/v1/state/frameworkId", state::framework_id)
        .get("/v1/state/properties", state::properties)
        .get("/v1/state/properties/{key}", state::property)
        .get("/v1/health", health::health)
        .get("/v1/livez", health::livez)
        .get("/v1/status", status::status)
        .get("/v1/events", events::events)
        .get("/v1/openapi.json", openapi::document)
        .get("/v1/snapshot", snapshot::take)
        .get("/v1/metrics", metrics::codahale)
        .get("/v1/metrics/prometheus", metrics::openmetrics)
        .get(&artifact, artifacts::fetch)
}

/// All routes, behind the access check.
pub fn router(state: ApiState) -> Router {
    routes()
        .into_router()
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state.access),
            access::check,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state.metrics),
            bound_and_count,
        ))
        .with_state(state)
}

/// Reads the store beside the event loop, off the threads that serve others.
async fn from_store<T: Send + 'static>(
    state: &ApiState,
    reading: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Box<Response>> {
    let store = Arc::clone(&state.store);
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "cannot read the state store");
        Box::new(answer::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "store",
            "the state store cannot be read; the scheduler's log says why",
        ))
    };
    match tokio::task::spawn_blocking(move || reading(&store)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Serves the API until `stop` is done, and a little longer for requests under
/// way.
///
/// # Errors
///
/// Only what the listener's address lookup gives; failed connections are no
/// errors.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    state.access.announce();
    let address = listener.local_addr()?;
    tracing::info!(%address, "the API listens");
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener::Bounded::new(listener), router(state))
        .with_graceful_shutdown(async move {
            stop.await;
            // The receiver may be gone, when serving ended by itself.
            let _ = stopping.send(());
        });
    tokio::select! {
        ended = server => ended,
        () = async {
            let _ = stopped.await;
            tokio::time::sleep(DRAIN_FOR).await;
        } => Ok(()),
    }
}

/// Bounds the time to an answer's first byte, and counts answers.
async fn bound_and_count(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let answer = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
    let response = answer.unwrap_or_else(|_| {
        answer::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "the scheduler did not answer in time; its log may say why",
        )
    });
    metrics.note_api_request(method.as_str(), response.status().as_u16());
    response
}

async fn no_such_path(uri: Uri) -> Response {
    answer::problem(
        StatusCode::NOT_FOUND,
        "not_found",
        &format!(
            "there is nothing at {}; /v1/openapi.json lists what there is",
            uri.path()
        ),
    )
}

async fn no_such_method() -> Response {
    answer::problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path takes other methods",
    )
}

#[cfg(test)]
mod tests;
