//! `/v1/pod`: what runs, and the commands for one pod.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use etcd_api::pods::{
    Command as CommandShape, ContainerStatus, Label, Labels, Range, Ranges, Resource,
    Scalar, TaskInfo, TaskStatus, Wrapped,
};
use etcd_api::{
    PodCommandResult, PodInstance, PodTask, PodType, ServicePods, TaskRecord,
};
use etcd_launch::PodIndex;
use etcd_planner::record::{Exchange, Launch, Placement};
use serde::Deserialize;

use super::routes::Routes;
use super::{ApiState, answer, asking};
use crate::commands::{Actor, Command, CommandRefusal};
use crate::published::Published;

/// The one kind of pod that we have.
const POD_TYPE: &str = "etcd";

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/v1/pod", list)
        .get("/v1/pod/status", all_status)
        .get("/v1/pod/{pod}/status", one_status)
        .get("/v1/pod/{pod}/info", info)
        .post("/v1/pod/{pod}/restart", restart)
        .post("/v1/pod/{pod}/replace", replace)
        .post("/v1/pod/{pod}/reset", reset)
        .post("/v1/pod/{pod}/pause", pause)
        .post("/v1/pod/{pod}/resume", resume)
}

async fn list(State(state): State<ApiState>) -> Response {
    let names: Vec<String> = state
        .published()
        .pods()
        .iter()
        .map(PodIndex::to_string)
        .collect();
    answer::ok(&names)
}

async fn all_status(State(state): State<ApiState>) -> Response {
    let published = state.published();
    answer::ok(&ServicePods {
        service: published.target.service.clone(),
        pods: vec![PodType {
            name: POD_TYPE.to_owned(),
            instances: published
                .pods()
                .into_iter()
                .map(|pod| instance(&published, pod))
                .collect(),
        }],
    })
}

async fn one_status(State(state): State<ApiState>, Path(pod): Path<String>) -> Response {
    let published = state.published();
    match known_pod(&published, &pod) {
        Ok(pod) => answer::ok(&instance(&published, pod)),
        Err(response) => *response,
    }
}

async fn info(State(state): State<ApiState>, Path(pod): Path<String>) -> Response {
    let published = state.published();
    match known_pod(&published, &pod) {
        Ok(pod) => answer::ok(&task_records(&published, pod)),
        Err(response) => *response,
    }
}

async fn restart(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path(pod): Path<String>,
) -> Response {
    let pod = match known_pod(&state.published(), &pod) {
        Ok(pod) => pod,
        Err(response) => return *response,
    };
    tell(&state, by, pod, Command::RestartPod { pod }).await
}

/// What may stand behind the path of `replace`.
#[derive(Debug, Deserialize)]
struct HowToReplace {
    /// The member leaves before its successor has joined.
    #[serde(default)]
    force: bool,
}

async fn replace(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path(pod): Path<String>,
    how: Result<Query<HowToReplace>, QueryRejection>,
) -> Response {
    let pod = match known_pod(&state.published(), &pod) {
        Ok(pod) => pod,
        Err(response) => return *response,
    };
    let Ok(Query(how)) = how else {
        return answer::text(
            StatusCode::BAD_REQUEST,
            "force is either true or false".to_owned(),
        );
    };
    let how = if how.force {
        Exchange::LeaveFirst
    } else {
        Exchange::JoinFirst
    };
    tell(&state, by, pod, Command::ExchangePod { pod, how }).await
}

async fn reset(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path(pod): Path<String>,
) -> Response {
    let pod = match known_pod(&state.published(), &pod) {
        Ok(pod) => pod,
        Err(response) => return *response,
    };
    let how = Exchange::InPlace;
    tell(&state, by, pod, Command::ExchangePod { pod, how }).await
}

async fn pause(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path(pod): Path<String>,
    tasks: Bytes,
) -> Response {
    match pod_of_tasks(&state.published(), &pod, &tasks) {
        Ok(pod) => tell(&state, by, pod, Command::PausePod { pod }).await,
        Err(response) => *response,
    }
}

async fn resume(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
    Path(pod): Path<String>,
    tasks: Bytes,
) -> Response {
    match pod_of_tasks(&state.published(), &pod, &tasks) {
        Ok(pod) => tell(&state, by, pod, Command::ResumePod { pod }).await,
        Err(response) => *response,
    }
}

/// As with the SDK, a body may name the pod's tasks. A pod of ours has one, `node`.
fn pod_of_tasks(
    published: &Published,
    pod: &str,
    tasks: &[u8],
) -> Result<PodIndex, Box<Response>> {
    let pod = known_pod(published, pod)?;
    if tasks.is_empty() {
        return Ok(pod);
    }
    let refusal = |status, text: String| Box::new(answer::text(status, text));
    let names: Vec<String> = serde_json::from_slice(tasks).map_err(|_| {
        let text = "the body is no JSON list of task names".to_owned();
        refusal(StatusCode::BAD_REQUEST, text)
    })?;
    let unknown = names
        .iter()
        .find(|name| **name != "node" && **name != pod.task_name());
    match unknown {
        Some(name) => {
            let text = format!("Task {name} of pod {pod} not found");
            Err(refusal(StatusCode::NOT_FOUND, text))
        }
        None => Ok(pod),
    }
}

/// Hands a command for a pod to the loop, and answers as the SDK does.
async fn tell(state: &ApiState, by: Actor, pod: PodIndex, command: Command) -> Response {
    match asking::ask_loop(state, by, command).await {
        Ok(Ok(())) => answer::ok(&PodCommandResult {
            pod: pod.to_string(),
            tasks: vec![pod.task_name()],
        }),
        Ok(Err(refusal @ CommandRefusal::UnknownPod(_))) => {
            answer::text(StatusCode::NOT_FOUND, refusal.to_string())
        }
        Ok(Err(refusal)) => {
            answer::problem(StatusCode::CONFLICT, "not_now", &refusal.to_string())
        }
        Err(response) => *response,
    }
}

/// The pod of a name. The refusal is boxed because a response is large and
/// nearly never made.
fn known_pod(published: &Published, name: &str) -> Result<PodIndex, Box<Response>> {
    // By name, since one that leaves has none that could be read back.
    published
        .pods()
        .into_iter()
        .find(|pod| pod.to_string() == name)
        .ok_or_else(|| {
            let text = format!("Pod {name} not found");
            Box::new(answer::text(StatusCode::NOT_FOUND, text))
        })
}

fn newest_launch(published: &Published, pod: PodIndex) -> Option<&Launch> {
    published.record.pods.get(&pod)?.launch.as_ref()
}

/// The task's state as the SDK writes it, which has words of its own for pauses.
fn sdk_state(published: &Published, pod: PodIndex) -> Option<&'static str> {
    let state = published.task_state(pod)?.trim_start_matches("TASK_");
    let wanted = published.record.pods.get(&pod)?.paused.is_some();
    let launch = newest_launch(published, pod)?;
    let running = launch.end.is_none() && state == "RUNNING";
    Some(match (wanted, launch.paused) {
        (true, true) if running => "PAUSED",
        (true, _) => "PAUSING",
        (false, true) => "STARTING",
        (false, false) => state,
    })
}

fn instance(published: &Published, pod: PodIndex) -> PodInstance {
    let task = newest_launch(published, pod).map(|launch| PodTask {
        id: launch.task_id.0.clone(),
        name: pod.task_name(),
        status: sdk_state(published, pod).map(str::to_owned),
    });
    PodInstance {
        name: pod.to_string(),
        tasks: task.into_iter().collect(),
    }
}

fn task_records(published: &Published, pod: PodIndex) -> Vec<TaskRecord> {
    let Some(launch) = newest_launch(published, pod) else {
        return Vec::new();
    };
    let placement = published
        .record
        .pods
        .get(&pod)
        .and_then(|pod| pod.placement.as_ref());
    let info = TaskInfo {
        name: pod.task_name(),
        task_id: wrapped(&launch.task_id.0),
        slave_id: wrapped(&launch.agent_id.0),
        resources: placement.map(resources).unwrap_or_default(),
        command: CommandShape::default(),
        labels: placement.map(labels).unwrap_or_default(),
    };
    vec![TaskRecord {
        info,
        status: task_status(published, pod, launch),
    }]
}

fn task_status(
    published: &Published,
    pod: PodIndex,
    launch: &Launch,
) -> Option<TaskStatus> {
    let state = published.task_state(pod)?;
    let (at, message) = match (&launch.end, published.tasks.get(&pod)) {
        (Some(end), _) => (end.at, &end.why),
        (None, Some(seen)) => (seen.at, &seen.words),
        (None, None) => return None,
    };
    Some(TaskStatus {
        task_id: wrapped(&launch.task_id.0),
        state: state.to_owned(),
        // Whole milliseconds of this century fit a double exactly enough.
        timestamp: Duration::from_millis(at.0).as_secs_f64(),
        message: message.clone(),
        healthy: published.healthy.contains(&pod),
        container_status: ContainerStatus {},
    })
}

fn wrapped(value: &str) -> Wrapped {
    Wrapped {
        value: value.to_owned(),
    }
}

/// What the pod holds, as Mesos' resources without their reservations.
fn resources(placement: &Placement) -> Vec<Resource> {
    let needs = &placement.needs;
    let scalar = |name: &str, value: f64| Resource {
        name: name.to_owned(),
        kind: "SCALAR".to_owned(),
        scalar: Some(Scalar { value }),
        ranges: None,
    };
    let port = |port: u16| Range {
        begin: port.into(),
        end: port.into(),
    };
    // Amounts of one machine: far below 2^52, so no digit is lost.
    vec![
        scalar("cpus", needs.total_cpus().0 as f64 / 1000.0),
        scalar("mem", needs.total_mem().0 as f64),
        scalar("disk", needs.total_disk().0 as f64),
        Resource {
            name: "ports".to_owned(),
            kind: "RANGES".to_owned(),
            scalar: None,
            ranges: Some(Ranges {
                range: vec![port(needs.client_port), port(needs.peer_port)],
            }),
        },
    ]
}

fn labels(placement: &Placement) -> Labels {
    let label = |key: &str, value: &str| Label {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    Labels {
        labels: vec![
            label("offer_hostname", &placement.hostname.0),
            label("reservation_id", &placement.reservation_id.0),
            label("volume_id", &placement.volume_id.0),
        ],
    }
}
