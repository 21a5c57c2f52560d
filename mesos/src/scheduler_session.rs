//! Drives a [`Subscription`] over tokio and reqwest.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::endpoint::Masters;
use crate::http::{
    Access, CALL_TIMEOUT, ClientSetupError, EventStream, HttpClient, STREAM_ID,
    StreamInput, error_body, explain,
};
use crate::scheduler::Call;
use crate::subscription::{
    Action, Attempt, CallRoute, Epoch, SessionEvent, Subscription, SubscriptionConfig,
    SubscriptionTiming,
};
use crate::v1::FrameworkInfo;

/// The path of the scheduler API on a master.
const SCHEDULER_PATH: &str = "/api/v1/scheduler";

/// Events that wait for the application. When it is slower than that, the
/// stream is read no further, and TCP tells the master to slow down.
const EVENT_QUEUE: usize = 256;

/// Pieces of the stream that wait for the session.
const STREAM_QUEUE: usize = 16;

/// What a session has to know.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Where to look for the leader.
    pub masters: Masters,
    /// The framework; with `id` set, its scheduler is replaced by this one.
    pub framework: FrameworkInfo,
    /// Roles for which no offers are wanted at first.
    pub suppressed_roles: Vec<String>,
    /// Who we are, and whom we trust.
    pub access: Access,
    /// How patient to be with the subscription.
    pub timing: SubscriptionTiming,
    /// The longest that one call may take.
    pub call_timeout: Duration,
}

impl SessionConfig {
    /// The defaults: no credential, [`CALL_TIMEOUT`].
    pub fn new(masters: Masters, framework: FrameworkInfo) -> Self {
        Self {
            masters,
            framework,
            suppressed_roles: Vec::new(),
            access: Access::default(),
            timing: SubscriptionTiming::default(),
            call_timeout: CALL_TIMEOUT,
        }
    }
}

/// Why a call was not made, or what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// Not sent: the subscription in which it was decided has ended.
    #[error("the call was decided in subscription {asked}, which has ended")]
    StaleEpoch {
        /// The epoch that the call carries.
        asked: Epoch,
    },
    /// Not sent: there is no subscription.
    #[error("not subscribed to a Mesos master")]
    NotConnected,
    /// The master answered with an error; the call did nothing.
    #[error("the master refused the call with status {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The master's words.
        body: String,
    },
    /// No answer: whether the call took effect is unknown.
    #[error("no answer to the call: {0}")]
    Transport(String),
}

/// Starts sessions.
#[derive(Debug)]
pub struct SchedulerSession;

impl SchedulerSession {
    /// Starts to subscribe, in a task of its own, and goes on until the receiver
    /// of events is dropped or [`SessionEvent::Failed`] was sent. To be called
    /// within a tokio runtime.
    pub fn start(
        config: SessionConfig,
    ) -> Result<(SchedulerHandle, mpsc::Receiver<SessionEvent>), ClientSetupError> {
        let scheme = config.masters.scheme();
        let calls = HttpClient::for_calls(scheme, &config.access, config.call_timeout)?;
        let streams = HttpClient::for_streams(scheme, &config.access)?;
        let subscription = Subscription::new(
            SubscriptionConfig {
                masters: config.masters,
                framework: config.framework,
                suppressed_roles: config.suppressed_roles,
                timing: config.timing,
                jitter_seed: uuid::Uuid::new_v4().as_u64_pair().0,
            },
            Instant::now().into_std(),
        );
        let (route_sender, route) = watch::channel(None);
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
        let (disowned_sender, disowned) = mpsc::unbounded_channel();
        let (input_sender, inputs) = mpsc::channel(STREAM_QUEUE);
        let driver = Driver {
            subscription,
            streams,
            stream: None,
            input_sender,
            inputs,
            disowned,
            route: route_sender,
            events: event_sender,
        };
        tokio::spawn(driver.run());
        Ok((
            SchedulerHandle {
                calls,
                route,
                disowned: disowned_sender,
            },
            events,
        ))
    }
}

/// Sends calls for a running session. Clones are cheap and send side by side.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    calls: HttpClient,
    route: watch::Receiver<Option<CallRoute>>,
    disowned: mpsc::UnboundedSender<(Epoch, String)>,
}

impl SchedulerHandle {
    /// Sends one call, filling in the framework's id and the stream's. `Ok` means
    /// that the master has taken it (202), not that it did what it asks: that
    /// comes as events. Calls that depend on each other are to be awaited one by
    /// one, for the order of concurrent ones is not kept.
    pub async fn call(&self, epoch: Epoch, mut call: Call) -> Result<(), CallError> {
        let route = self.route_of(epoch)?;
        call.framework_id = Some(route.framework_id);
        let response = self
            .calls
            .post(&route.master.url(SCHEDULER_PATH), &call)
            .header(STREAM_ID, route.stream_id)
            .send()
            .await
            .map_err(|error| CallError::Transport(explain(&error)))?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status().as_u16();
        let body = error_body(response).await;
        if disowns(status, &body) {
            let why = format!("a call was refused with status {status}: {body}");
            // Only fails when the session is over.
            let _ = self.disowned.send((epoch, why));
        }
        Err(CallError::Refused { status, body })
    }

    /// The present epoch, if subscribed.
    pub fn epoch(&self) -> Option<Epoch> {
        self.route.borrow().as_ref().map(|route| route.epoch)
    }

    fn route_of(&self, epoch: Epoch) -> Result<CallRoute, CallError> {
        match self.route.borrow().as_ref() {
            None => Err(CallError::NotConnected),
            Some(route) if route.epoch != epoch => {
                Err(CallError::StaleEpoch { asked: epoch })
            }
            Some(route) => Ok(route.clone()),
        }
    }
}

/// Does this refusal say that the master does not have our subscription? Then
/// the stream, even if still open, is of no use. Mesos 1.11, src/master/http.cpp:
/// a redirect, "Framework cannot be found", "Framework is not subscribed", "The
/// stream ID '...' included in this request didn't match the stream ID currently
/// associated with framework ID ...".
fn disowns(status: u16, body: &str) -> bool {
    match status {
        307 => true,
        400 => body.contains("stream ID") || body.contains("Framework cannot be found"),
        403 => body.contains("Framework is not subscribed"),
        _ => false,
    }
}

struct Driver {
    subscription: Subscription,
    streams: HttpClient,
    stream: Option<EventStream>,
    input_sender: mpsc::Sender<(Attempt, StreamInput)>,
    inputs: mpsc::Receiver<(Attempt, StreamInput)>,
    disowned: mpsc::UnboundedReceiver<(Epoch, String)>,
    route: watch::Sender<Option<CallRoute>>,
    events: mpsc::Sender<SessionEvent>,
}

/// The application dropped its receiver.
struct Abandoned;

impl Driver {
    async fn run(mut self) {
        let ended = loop {
            if let Err(Abandoned) = self.perform_actions().await {
                break "the application has left";
            }
            let Some(due) = self.subscription.poll_timeout() else {
                break "the subscription has failed";
            };
            // What has arrived is looked at before the clock, so that a slow
            // application is not mistaken for a silent master.
            tokio::select! {
                biased;
                () = self.events.closed() => break "the application has left",
                Some((attempt, input)) = self.inputs.recv() => {
                    self.handle_input(attempt, input);
                }
                Some((epoch, why)) = self.disowned.recv() => {
                    self.subscription.handle_disowned(Instant::now().into_std(), epoch, why);
                }
                () = tokio::time::sleep_until(due.into()) => {
                    self.subscription.handle_timeout(Instant::now().into_std());
                }
            }
        };
        self.route.send_replace(None);
        debug!("the scheduler session ends: {ended}");
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
        // Before the application hears of a change its calls obey it.
        let route = self.subscription.route();
        if self.route.borrow().as_ref() != route {
            self.route.send_replace(route.cloned());
        }
        while let Some(action) = self.subscription.poll_action() {
            match action {
                Action::Open {
                    attempt,
                    master,
                    call,
                } => {
                    debug!(%master, "subscribing");
                    let request = self.streams.post(&master.url(SCHEDULER_PATH), &*call);
                    let inputs = self.input_sender.clone();
                    self.stream = Some(EventStream::open(request, attempt, inputs));
                }
                Action::Close { attempt } => {
                    self.stream.take_if(|stream| stream.attempt == attempt);
                }
                Action::Tell(event) => {
                    log(&event);
                    self.events.send(event).await.map_err(|_| Abandoned)?;
                }
            }
        }
        Ok(())
    }
}

fn log(event: &SessionEvent) {
    match event {
        SessionEvent::Connected {
            epoch,
            framework_id,
            master,
            ..
        } => {
            info!(%epoch, framework_id, master, "subscribed to Mesos");
        }
        SessionEvent::Disconnected { epoch, why } => {
            warn!(%epoch, why, "the Mesos subscription ended");
        }
        SessionEvent::Waiting { why } => warn!(why, "not subscribed to Mesos"),
        SessionEvent::Failed { error } => warn!(%error, "the Mesos subscription failed"),
        SessionEvent::Event { epoch, event } => {
            debug!(%epoch, kind = event.r#type().as_str_name(), "event");
        }
    }
}
