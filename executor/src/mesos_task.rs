//! The member as a Mesos task: one executor, one task, from LAUNCH to the last
//! acknowledgement.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_launch::{FORMAT, LaunchSpec, Phase, TrialAnswer, TrialRequest};
use mesos_v1::{ExecutorEnvironment, ExecutorEvent, ExecutorHandle, ExecutorSession, v1};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::member::{self, StopAsked};
use crate::reporter::{MesosReporter, Reporter};
use crate::spec_reading::read_spec;
use crate::trial::Trials;
use crate::volume_room;

/// How long the last report may take to reach the agent. If the agent is away
/// for longer, Mesos says itself that the task is over.
const LAST_REPORT_WITHIN: Duration = Duration::from_secs(10);

/// Mesos kills us at the end of the shutdown grace period; etcd must have
/// stopped, and the last report be out, before that.
const RESERVE_AT_SHUTDOWN: Duration = Duration::from_secs(3);

/// Requests that wait while one is answered. The scheduler makes one at a time.
const WAITING_REQUESTS: usize = 1;

/// An agent that has started us launches its task at once.
const TASK_WITHIN: Duration = Duration::from_secs(120);

/// Runs the executor until its task is over.
pub async fn run() -> anyhow::Result<()> {
    let environment = ExecutorEnvironment::read(|name| std::env::var(name).ok())?;
    let shutdown_grace = environment
        .shutdown_grace_period
        .saturating_sub(RESERVE_AT_SHUTDOWN)
        .max(Duration::from_secs(1));
    let sandbox = match &environment.sandbox {
        Some(sandbox) => PathBuf::from(sandbox),
        None => std::env::current_dir()?,
    };
    let (handle, mut events) = ExecutorSession::start(environment, None)?;
    let waited = tokio::time::timeout(TASK_WITHIN, first_task(&mut events)).await;
    let Ok(Some(task)) = waited else {
        info!("no task was launched; ending");
        return Ok(());
    };
    let (stop_sender, stop) = watch::channel(None);
    let spec = read_spec(task.data.as_deref().unwrap_or_default(), &task.name);
    let (pod, generation) = match &spec {
        Ok(spec) => (spec.pod, spec.generation),
        Err(unreadable) => (unreadable.pod, unreadable.generation),
    };
    let reporter = MesosReporter {
        handle: handle.clone(),
        task_id: task.task_id.clone(),
        pod,
        generation,
    };
    let (request_sender, requests) = mpsc::channel(WAITING_REQUESTS);
    let room = volume_room::tell(handle.clone(), spec.as_ref().ok(), &sandbox);
    let answers = answer_requests(handle.clone(), spec.as_ref().ok(), &sandbox, requests);
    let listener = Listener {
        handle,
        task_id: task.task_id,
        stop: stop_sender,
        requests: request_sender,
        shutdown_grace,
    };
    let grace = spec.as_ref().map_or(Duration::ZERO, |spec| {
        Duration::from_millis(spec.stop_grace_ms)
    });
    let life = async {
        match &spec {
            Ok(spec) => member::run(spec, &sandbox, &reporter, stop).await,
            Err(unreadable) => {
                reporter.report(Phase::Refused(unreadable.refusal.clone()))
            }
        }
        if tokio::time::timeout(LAST_REPORT_WITHIN, reporter.settled())
            .await
            .is_err()
        {
            warn!("the agent has not taken the last report; ending without");
        }
    };
    tokio::select! {
        () = life => Ok(()),
        () = answers => Ok(()),
        () = room => Ok(()),
        // Heard until the last report is out: a session ends with its listener.
        () = listener.listen(events, grace) => Ok(()),
    }
}

/// Answers the scheduler's requests, one after the other, for ever.
async fn answer_requests(
    handle: ExecutorHandle,
    spec: Option<&LaunchSpec>,
    sandbox: &Path,
    mut requests: mpsc::Receiver<TrialRequest>,
) {
    let mut trials = Trials::new(sandbox.to_owned());
    while let Some(request) = requests.recv().await {
        let Some(spec) = spec else {
            continue;
        };
        let verdict = trials.answer(request.clone(), spec).await;
        let answer = TrialAnswer::to(&request, spec, verdict);
        // Plain data with string keys: turning it into JSON cannot fail.
        let text = serde_json::to_vec(&answer).unwrap_or_default();
        if let Err(error) = handle.message(text).await {
            warn!(%error, "an answer is lost; the scheduler asks again");
        }
    }
    std::future::pending().await
}

async fn first_task(events: &mut mpsc::Receiver<ExecutorEvent>) -> Option<v1::TaskInfo> {
    while let Some(event) = events.recv().await {
        match event {
            ExecutorEvent::Launch(task) => return Some(*task),
            ExecutorEvent::Shutdown => return None,
            _ => {}
        }
    }
    None
}

/// Turns what the agent (or a signal) says into a wish to stop.
struct Listener {
    handle: ExecutorHandle,
    task_id: v1::TaskId,
    stop: watch::Sender<Option<StopAsked>>,
    requests: mpsc::Sender<TrialRequest>,
    shutdown_grace: Duration,
}

impl Listener {
    /// Listens for ever; the member's end ends it.
    async fn listen(&self, mut events: mpsc::Receiver<ExecutorEvent>, grace: Duration) {
        let mut terminate = signal(SignalKind::terminate()).ok();
        let mut session_is_over = false;
        loop {
            let signalled = async {
                match &mut terminate {
                    Some(terminate) => terminate.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = signalled => {
                    info!("SIGTERM");
                    self.ask(grace);
                }
                event = events.recv(), if !session_is_over => match event {
                    Some(event) => self.take(event, grace),
                    None => {
                        error!("the session with the agent is over; etcd goes on");
                        session_is_over = true;
                    }
                },
            }
        }
    }

    fn take(&self, event: ExecutorEvent, grace: Duration) {
        match event {
            ExecutorEvent::Kill {
                task_id,
                kill_policy,
            } if task_id == self.task_id => {
                let asked = kill_policy
                    .and_then(|policy| policy.grace_period)
                    .and_then(|period| u64::try_from(period.nanoseconds).ok())
                    .map(Duration::from_nanos);
                info!("asked to stop");
                self.ask(asked.unwrap_or(grace));
            }
            ExecutorEvent::Shutdown => {
                info!("the agent shuts this executor down");
                self.ask(self.shutdown_grace.min(grace));
            }
            ExecutorEvent::Launch(task) => self.refuse_second(&task),
            ExecutorEvent::LaunchGroup(group) => {
                group.tasks.iter().for_each(|task| self.refuse_second(task));
            }
            ExecutorEvent::Message(data) => self.take_message(&data),
            ExecutorEvent::AgentLost { .. } => {
                warn!(
                    "the agent has been away for longer than its recovery timeout; etcd goes on"
                );
            }
            ExecutorEvent::Disconnected { why } | ExecutorEvent::Waiting { why } => {
                warn!(why, "no connection to the agent; etcd goes on");
            }
            ExecutorEvent::Refused { status, body } => {
                warn!(status, body, "the agent refused a call");
            }
            _ => {}
        }
    }

    fn take_message(&self, data: &[u8]) {
        match serde_json::from_slice::<TrialRequest>(data) {
            // One that is not taken is asked again.
            Ok(request) if request.format <= FORMAT => {
                let _ = self.requests.try_send(request);
            }
            Ok(request) => warn!(request.format, "a request of a newer release"),
            Err(error) => warn!(%error, "a message that is no request"),
        }
    }

    fn ask(&self, grace: Duration) {
        self.stop.send_replace(Some(StopAsked { grace }));
    }

    /// One executor runs one member; its volume and ports are taken.
    fn refuse_second(&self, task: &v1::TaskInfo) {
        if task.task_id == self.task_id {
            return;
        }
        let status = v1::TaskStatus {
            task_id: task.task_id.clone(),
            state: v1::TaskState::TaskFailed.into(),
            message: Some("this executor already runs a member".to_owned()),
            ..Default::default()
        };
        if self.handle.update(status).is_err() {
            error!("the session with the agent is over");
        }
    }
}
