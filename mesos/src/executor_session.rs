//! Drives an [`ExecutorSubscription`] over tokio and reqwest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::RequestBuilder;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::executor::{Call, call};
use crate::executor_environment::ExecutorEnvironment;
use crate::executor_subscription::{
    ExecutorAction, ExecutorEvent, ExecutorSubscription, ExecutorSubscriptionConfig,
    SendFailure,
};
use crate::http::{
    Access, ClientSetupError, EventStream, HttpClient, StreamInput, error_body, explain,
};
use crate::scheduler_session::CallError;
use crate::subscription::Attempt;
use crate::v1::{TaskStatus, task_status};

/// Events that wait for the application.
const EVENT_QUEUE: usize = 64;

/// Pieces of the stream that wait for the session.
const STREAM_QUEUE: usize = 16;

/// For one call to the agent on the same host.
const AGENT_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The session is over: its receiver of events was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the executor's session with its agent is over")]
pub struct SessionOver;

/// Starts sessions.
#[derive(Debug)]
pub struct ExecutorSession;

impl ExecutorSession {
    /// Starts to subscribe with the agent, in a task of its own, and goes on until
    /// the receiver of events is dropped. To be called within a tokio runtime.
    pub fn start(
        environment: ExecutorEnvironment,
        certificate_authorities: Option<Vec<u8>>,
    ) -> Result<(ExecutorHandle, mpsc::Receiver<ExecutorEvent>), ClientSetupError> {
        let access = Access {
            credential: environment.credential,
            certificate_authorities,
        };
        let scheme = environment.agent.scheme();
        let agent = Agent {
            url: environment.agent.url(&environment.path),
            calls: HttpClient::for_calls(scheme, &access, AGENT_CALL_TIMEOUT)?,
            streams: HttpClient::for_streams(scheme, &access)?,
        };
        let subscription = ExecutorSubscription::new(
            ExecutorSubscriptionConfig {
                framework_id: environment.framework_id.clone(),
                executor_id: environment.executor_id.clone(),
                recovery_timeout: environment.recovery_timeout,
                subscription_backoff_max: environment.subscription_backoff_max,
                jitter_seed: uuid::Uuid::new_v4().as_u64_pair().0,
            },
            Instant::now().into_std(),
        );
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
        let (input_sender, inputs) = mpsc::channel(STREAM_QUEUE);
        let (update_sender, updates) = mpsc::unbounded_channel();
        let (sent_sender, sent) = mpsc::channel(1);
        let (progress_sender, progress) = watch::channel(Progress::default());
        let driver = Driver {
            agent: agent.clone(),
            subscription,
            stream: None,
            input_sender,
            inputs,
            updates,
            sent_sender,
            sent,
            progress: progress_sender,
            events: event_sender,
        };
        tokio::spawn(driver.run());
        let identity = Call {
            executor_id: environment.executor_id,
            framework_id: environment.framework_id,
            ..Call::default()
        };
        let handle = ExecutorHandle {
            agent,
            identity,
            updates: update_sender,
            submitted: Arc::new(AtomicU64::new(0)),
            progress,
        };
        Ok((handle, events))
    }
}

#[derive(Debug, Clone)]
struct Agent {
    url: String,
    calls: HttpClient,
    streams: HttpClient,
}

impl Agent {
    fn request(&self, call: &Call) -> RequestBuilder {
        self.calls.post(&self.url, call)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    subscribed: bool,
    settled_updates: u64,
}

/// Speaks to the agent. Clones are cheap.
#[derive(Debug, Clone)]
pub struct ExecutorHandle {
    agent: Agent,
    /// A call with our ids and nothing else.
    identity: Call,
    updates: mpsc::UnboundedSender<TaskStatus>,
    submitted: Arc<AtomicU64>,
    progress: watch::Receiver<Progress>,
}

impl ExecutorHandle {
    /// Reports a task's state. It is sent, and sent again, until the agent
    /// acknowledges it; the agent passes it on until the scheduler does. The uuid,
    /// the time, the executor's id and the source are filled in where they are
    /// missing. Returns the uuid.
    pub fn update(&self, mut status: TaskStatus) -> Result<Bytes, SessionOver> {
        let new_uuid = || Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        let uuid = status.uuid.get_or_insert_with(new_uuid).clone();
        status.timestamp.get_or_insert_with(seconds_since_1970);
        status
            .executor_id
            .get_or_insert_with(|| self.identity.executor_id.clone());
        status
            .source
            .get_or_insert(task_status::Source::Executor.into());
        self.submitted.fetch_add(1, Ordering::SeqCst);
        self.updates.send(status).map_err(|_| SessionOver)?;
        Ok(uuid)
    }

    /// Waits until the agent has every update that was handed in before this call.
    /// To be awaited (with a limit) before the process exits.
    pub async fn updates_settled(&self) -> Result<(), SessionOver> {
        let submitted = self.submitted.load(Ordering::SeqCst);
        self.progress
            .clone()
            .wait_for(|progress| progress.settled_updates >= submitted)
            .await
            .map(|_| ())
            .map_err(|_| SessionOver)
    }

    /// Sends data to the scheduler. Mesos may lose it; it is not repeated here.
    pub async fn message(&self, data: impl Into<Bytes>) -> Result<(), CallError> {
        if !self.progress.borrow().subscribed {
            return Err(CallError::NotConnected);
        }
        let mut call = self.identity.clone();
        call.r#type = Some(call::Type::Message.into());
        call.message = Some(call::Message { data: data.into() });
        let sent = send(self.agent.request(&call)).await;
        sent.map_err(|failure| match failure.status {
            Some(status) => CallError::Refused {
                status,
                body: failure.why,
            },
            None => CallError::Transport(failure.why),
        })
    }
}

fn seconds_since_1970() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

async fn send(request: RequestBuilder) -> Result<(), SendFailure> {
    let response = request.send().await.map_err(|error| SendFailure {
        status: None,
        why: explain(&error),
    })?;
    if response.status().is_success() {
        return Ok(());
    }
    let status = Some(response.status().as_u16());
    Err(SendFailure {
        status,
        why: error_body(response).await,
    })
}

struct Driver {
    agent: Agent,
    subscription: ExecutorSubscription,
    stream: Option<EventStream>,
    input_sender: mpsc::Sender<(Attempt, StreamInput)>,
    inputs: mpsc::Receiver<(Attempt, StreamInput)>,
    updates: mpsc::UnboundedReceiver<TaskStatus>,
    sent_sender: mpsc::Sender<(Attempt, Result<(), SendFailure>)>,
    sent: mpsc::Receiver<(Attempt, Result<(), SendFailure>)>,
    progress: watch::Sender<Progress>,
    events: mpsc::Sender<ExecutorEvent>,
}

/// The application dropped its receiver.
struct Abandoned;

impl Driver {
    async fn run(mut self) {
        while let Ok(()) = self.perform_actions().await {
            let due = self.subscription.poll_timeout();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.events.closed() => break,
                Some((attempt, input)) = self.inputs.recv() => {
                    self.handle_input(attempt, input);
                }
                Some((attempt, result)) = self.sent.recv() => {
                    self.subscription.handle_sent(Instant::now().into_std(), attempt, result);
                }
                Some(status) = self.updates.recv() => self.subscription.update(status),
                () = timer => self.subscription.handle_timeout(Instant::now().into_std()),
            }
        }
        debug!("the executor session ends: the application has left");
    }

    fn handle_input(&mut self, attempt: Attempt, input: StreamInput) {
        let now = Instant::now().into_std();
        match input {
            StreamInput::Answer(answer) => {
                self.subscription.handle_answer(now, attempt, answer);
            }
            StreamInput::Data(chunk) => {
                self.subscription.handle_data(now, attempt, &chunk)
            }
            StreamInput::End(why) => self.subscription.handle_end(now, attempt, why),
        }
    }

    async fn perform_actions(&mut self) -> Result<(), Abandoned> {
        let progress = Progress {
            subscribed: self.subscription.is_subscribed(),
            settled_updates: self.subscription.settled_updates(),
        };
        self.progress
            .send_if_modified(|told| std::mem::replace(told, progress) != progress);
        while let Some(action) = self.subscription.poll_action() {
            match action {
                ExecutorAction::Open { attempt, call } => {
                    let request = self.agent.streams.post(&self.agent.url, &*call);
                    let inputs = self.input_sender.clone();
                    self.stream = Some(EventStream::open(request, attempt, inputs));
                }
                ExecutorAction::Close { attempt } => {
                    self.stream.take_if(|stream| stream.attempt == attempt);
                }
                ExecutorAction::Send { attempt, call } => {
                    let (request, sent) =
                        (self.agent.request(&call), self.sent_sender.clone());
                    tokio::spawn(async move {
                        let result = send(request).await;
                        // Only fails when the session is over.
                        let _ = sent.send((attempt, result)).await;
                    });
                }
                ExecutorAction::Tell(event) => {
                    log(&event);
                    self.events.send(event).await.map_err(|_| Abandoned)?;
                }
            }
        }
        Ok(())
    }
}

fn log(event: &ExecutorEvent) {
    match event {
        ExecutorEvent::Subscribed { .. } => info!("subscribed with the Mesos agent"),
        ExecutorEvent::Disconnected { why } => warn!(why, "the agent's connection broke"),
        ExecutorEvent::AgentLost { .. } => warn!("the agent is away for too long"),
        ExecutorEvent::Waiting { why } => warn!(why, "not subscribed with the agent"),
        ExecutorEvent::Refused { status, body } => {
            warn!(status, body, "the agent refuses this executor");
        }
        ExecutorEvent::Error { message } => warn!(message, "the agent reports an error"),
        ExecutorEvent::Launch(task) => info!(task = task.task_id.value, "LAUNCH"),
        ExecutorEvent::Kill { task_id, .. } => info!(task = task_id.value, "KILL"),
        ExecutorEvent::Shutdown => info!("SHUTDOWN"),
        ExecutorEvent::LaunchGroup(_)
        | ExecutorEvent::Acknowledged { .. }
        | ExecutorEvent::Message(_) => {}
    }
}
