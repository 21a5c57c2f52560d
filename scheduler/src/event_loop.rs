//! The event loop: the single owner of the model.
//!
//! Everything that happens comes in here as an event. A turn takes in what has
//! come, plans, stores the record if it changed, and only then acknowledges
//! statuses and issues effects. A crash at any point between leads to the same
//! end, because what was stored is enough to go on from, and what was not
//! acknowledged is told again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_launch::{ClusterId, ClusterToken, Founder, MemberId, PodIndex};
use etcd_planner::effect::Outcome;
use etcd_planner::event::OperationVerdict;
use etcd_planner::maintenance::{self, MaintenanceRequest};
use etcd_planner::offer::{AgentId, ExecutorId, FrameworkId};
use etcd_planner::plan_commands::{self, PlanCommand};
use etcd_planner::programs::Programs;
use etcd_planner::{Effect, EffectId, Event, Model, Record, Turn, plan, quorum};
use etcd_planner::{pausing, replacing};
use mesos_v1::scheduler::{Call, call, event};
use mesos_v1::{Epoch, SessionEvent, SubscriptionError, v1};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::clock;
use crate::commands::{Actor, Command, CommandRefusal, Order};
use crate::effects::{self, FileSource, MesosJob, NoCall};
use crate::events::Journal;
use crate::executor_messages;
use crate::failpoint::{self, EVENT, Stage};
use crate::metrics::Metrics;
use crate::offer_history::OfferHistory;
use crate::probing;
use crate::published::Published;
use crate::reading::Readers;
use crate::snapshot_files::SnapshotFiles;
use crate::store::{Store, StoreError};
use crate::translate::offers::Claims;
use crate::translate::operations::Feedback;
use crate::translate::tasks::LaunchFrame;
use crate::translate::{agents, offers, operations, statuses};

/// Events that are taken in before a turn plans. More than one, because a
/// thousand statuses after a failover need no thousand plans; bounded, because
/// a flood must not keep the planner from acting.
const EVENTS_A_TURN: usize = 256;

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The store failed. Nothing may be done that is not recorded.
    #[error("the record cannot be stored")]
    Store(#[from] StoreError),
    /// Mesos will never take us back like this.
    #[error("Mesos refuses this framework")]
    Mesos(#[source] SubscriptionError),
}

/// What the loop is wired to.
pub struct Wiring {
    /// From the Mesos session.
    pub session: mpsc::Receiver<SessionEvent>,
    /// Results of effects, and probes.
    pub results: mpsc::UnboundedReceiver<Event>,
    /// To the senders of results, for effects that the loop starts.
    pub results_sender: mpsc::UnboundedSender<Event>,
    /// From the API.
    pub commands: mpsc::Receiver<Order>,
    /// To the one that sends calls to the master.
    pub mesos_jobs: mpsc::UnboundedSender<MesosJob>,
    /// To everyone who looks.
    pub published: watch::Sender<Arc<Published>>,
    /// To those who ask what happened, and who wanted it.
    pub journal: Journal,
    /// To those who ask why no offer was good enough.
    pub offer_history: Arc<OfferHistory>,
    /// Where launches get their files.
    pub files: FileSource,
    /// Where snapshots are written to.
    pub snapshots: Arc<SnapshotFiles>,
    /// What every launch has in common.
    pub frame: LaunchFrame,
    /// Which offered resources are for this service.
    pub claims: Claims,
    /// Whose database is being read whole.
    pub readers: Readers,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The loop's state.
pub struct EventLoop {
    model: Model,
    store: Arc<Store>,
    stored: Record,
    version: u64,
    wiring: Wiring,
    /// Acknowledgements to be sent once the record is stored.
    acknowledgements: Vec<MesosJob>,
    wake_at: Instant,
}

impl EventLoop {
    /// A loop that goes on from what is stored under this version.
    pub fn new(model: Model, store: Arc<Store>, version: u64, wiring: Wiring) -> Self {
        EventLoop {
            stored: model.record.clone(),
            model,
            store,
            version,
            wiring,
            acknowledgements: Vec::new(),
            wake_at: Instant::now(),
        }
    }

    /// Runs until `shutdown` says so, or until it cannot go on.
    pub async fn run(
        mut self,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), LoopError> {
        loop {
            let wake_at = tokio::time::Instant::from_std(self.wake_at);
            tokio::select! {
                biased;
                _ = shutdown.changed() => return Ok(()),
                Some(event) = self.wiring.session.recv() => self.take_session_event(event)?,
                Some(event) = self.wiring.results.recv() => self.apply(event),
                Some(order) = self.wiring.commands.recv() => self.take_order(order)?,
                () = tokio::time::sleep_until(wake_at) => self.apply(Event::Tick),
            }
            for _ in 1..EVENTS_A_TURN {
                if let Ok(event) = self.wiring.session.try_recv() {
                    self.take_session_event(event)?;
                } else if let Ok(event) = self.wiring.results.try_recv() {
                    self.apply(event);
                } else {
                    break;
                }
            }
            self.turn()?;
        }
    }

    fn apply(&mut self, event: Event) {
        self.model.apply(event, clock::now());
    }

    /// Plans, stores, acknowledges, acts, publishes: in this order.
    fn turn(&mut self) -> Result<(), LoopError> {
        let started = Instant::now();
        let now = clock::now();
        let turn = Turn {
            now,
            entropy: uuid::Uuid::new_v4().as_u128(),
            identify_founders,
        };
        let decision = plan(&self.model, &turn);
        let effect_names: Vec<&'static str> =
            decision.effects.iter().map(Effect::name).collect();
        self.persist(&decision.record, &effect_names)?;
        self.wake_at = started
            + decision
                .wake_at
                .map_or(Duration::from_secs(1), |moment| moment.since(now));
        let (waiting, service_waiting) =
            (decision.waiting.clone(), decision.service_waiting.clone());
        self.log_changes_of_waiting(&waiting);
        self.wiring.offer_history.note(&decision.judged, now);
        let effects = self.model.absorb(decision, now);
        for job in self.acknowledgements.drain(..) {
            // Fails only when the process is ending.
            let _ = self.wiring.mesos_jobs.send(job);
        }
        for (id, effect) in effects {
            self.issue(id, effect);
        }
        let published = Published::of(&self.model, waiting, service_waiting, now);
        let published = Arc::new(published);
        let before = self.wiring.published.send_replace(Arc::clone(&published));
        self.wiring.journal.note_turn(&before, &published);
        self.wiring.metrics.note_turn(started.elapsed());
        Ok(())
    }

    fn persist(
        &mut self,
        record: &Record,
        effects: &[&'static str],
    ) -> Result<(), LoopError> {
        if *record == self.stored {
            return Ok(());
        }
        let points = if effects.is_empty() {
            &[EVENT]
        } else {
            effects
        };
        points
            .iter()
            .for_each(|point| failpoint::hit(Stage::BeforeStore, point));
        self.version = self.store.save(record, self.version)?;
        points
            .iter()
            .for_each(|point| failpoint::hit(Stage::AfterStore, point));
        self.let_go_of_programs(record);
        self.stored = record.clone();
        self.wiring.metrics.note_store_write();
        Ok(())
    }

    /// Removes copies of programs that the record does not name any more.
    fn let_go_of_programs(&self, record: &Record) {
        let programs = |record: &Record| -> Vec<Programs> {
            let recipes = record.recipes();
            recipes.map(|recipe| recipe.program.clone()).collect()
        };
        let mut needed = programs(record);
        let are_all_needed = self
            .stored
            .recipes()
            .all(|recipe| needed.contains(&recipe.program));
        if are_all_needed {
            return;
        }
        needed.push(self.model.target.program.clone());
        let artifacts = Arc::clone(&self.wiring.files.artifacts);
        tokio::task::spawn_blocking(move || artifacts.forget_all_but(needed.iter()));
    }

    /// What keeps a pod waiting is worth a line whenever it changes, and no
    /// more than that.
    fn log_changes_of_waiting(
        &self,
        waiting: &std::collections::BTreeMap<PodIndex, etcd_planner::WaitingReason>,
    ) {
        let before = self.wiring.published.borrow();
        for (pod, reason) in waiting {
            let known = before
                .waiting
                .get(pod)
                .is_some_and(|old| old.code() == reason.code());
            if !known {
                info!(%pod, reason = %reason, "waits");
            }
        }
        for pod in before
            .waiting
            .keys()
            .filter(|pod| !waiting.contains_key(pod))
        {
            info!(%pod, "is a healthy voter");
        }
    }

    fn issue(&mut self, id: EffectId, effect: Effect) {
        let name = effect.name();
        if effect.awaits_result() && !matches!(effect, Effect::Decline { .. }) {
            info!(%effect, "issued");
        } else {
            debug!(%effect, "issued");
        }
        self.wiring.metrics.note_effect_issued(&effect);
        let feedback = self.feedback_on(&effect);
        let (frame, files) = (&self.wiring.frame, &self.wiring.files);
        match effects::mesos_call(&effect, frame, files, feedback) {
            Ok(Some(call)) => {
                let epoch = self.model.session().map_or(0, |session| session.epoch);
                let job = MesosJob {
                    epoch: Epoch(epoch),
                    call,
                    effect: Some((id, name)),
                };
                // Fails only when the process is ending.
                let _ = self.wiring.mesos_jobs.send(job);
            }
            Ok(None) => self.issue_elsewhere(id, effect),
            Err(error) => {
                warn!(%effect, %error, "the effect cannot be put into a call");
                let why = error.to_string();
                if let NoCall::NotAtHand { programs, why } = error {
                    let why = why.to_string();
                    self.apply(Event::NotAtHand { programs, why });
                }
                let outcome = Outcome::Failed { why };
                self.apply(Event::EffectDone { id, outcome });
            }
        }
    }

    /// What is not for the master goes on beside the loop.
    fn issue_elsewhere(&self, id: EffectId, effect: Effect) {
        let results = self.wiring.results_sender.clone();
        let metrics = self.wiring.metrics.clone();
        let readers = self.wiring.readers.clone();
        if let Effect::TakeSnapshot { target } = effect {
            let published = Arc::clone(&self.wiring.published.borrow());
            let files = Arc::clone(&self.wiring.snapshots);
            tokio::spawn(effects::take_snapshot(
                id, target, published, files, readers, results, metrics,
            ));
            return;
        }
        let urls = self.client_urls(&effect);
        tokio::spawn(effects::ask_etcd(
            id, effect, urls, readers, results, metrics,
        ));
    }

    /// Whether the agent that an effect is about tells what becomes of it.
    fn feedback_on(&self, effect: &Effect) -> Feedback {
        let agent_id = match effect {
            Effect::Accept { agent_id, .. } => agent_id,
            Effect::Release { placement, .. } => &placement.agent_id,
            _ => return Feedback::Untold,
        };
        let agents = self.model.observed.agents.as_ref();
        match agents.and_then(|agents| agents.get(agent_id)) {
            Some(facts) if facts.tells_of_operations => Feedback::Told,
            _ => Feedback::Untold,
        }
    }

    /// Client URLs of the members that an effect may be asked of: the leader's first,
    /// then healthy ones.
    fn client_urls(&self, effect: &Effect) -> Vec<String> {
        let leader = quorum::leader(&self.model);
        let published = self.wiring.published.borrow();
        let mut members = probing::running_members(&published);
        if let Effect::Defragment { pod, .. } = effect {
            members.retain(|(member, _)| member == pod);
        }
        members.sort_by_key(|(pod, _)| {
            let answer = quorum::fresh_answer(&self.model, *pod);
            let leads = answer.is_some_and(|answer| Some(answer.member_id) == leader);
            let healthy = quorum::is_healthy_voter_seen(&self.model, *pod);
            (!leads, !healthy, *pod)
        });
        members.into_iter().map(|(_, url)| url).collect()
    }

    fn take_order(&mut self, order: Order) -> Result<(), LoopError> {
        info!(by = %order.by, command = %order.command, "an operator asks");
        let (request, about) = (order.command.to_string(), order.command.pod());
        let answer = self.note_wish(order.command, &order.by)?;
        self.wiring.journal.note_request(
            &order.by,
            &request,
            about,
            &answer,
            clock::now(),
        );
        // The asker may have gone away; the wish stands all the same.
        let _ = order.reply.send(answer);
        Ok(())
    }

    /// Judges what is asked for and, if it is taken, stores it; the next turns
    /// carry it out.
    fn note_wish(
        &mut self,
        command: Command,
        by: &Actor,
    ) -> Result<Result<(), CommandRefusal>, LoopError> {
        let event = match self.judge(command, by) {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.apply(event);
        let record = self.model.record.clone();
        self.persist(&record, &[])?;
        Ok(Ok(()))
    }

    fn judge(&self, command: Command, by: &Actor) -> Result<Event, CommandRefusal> {
        let tells_plan = matches!(command, Command::TellPlan { .. });
        if let Some(pod) = command.pod().filter(|_| !tells_plan)
            && !self.model.record.pods.contains_key(&pod)
        {
            return Err(CommandRefusal::UnknownPod(pod));
        }
        match command {
            Command::RestartPod { pod } => Ok(Event::RestartAsked { pod }),
            Command::ExchangePod { pod, how } => {
                replacing::judge(&self.model, pod, how)
                    .map_err(|refusal| CommandRefusal::Exchange(pod, refusal, how))?;
                Ok(Event::ExchangeAsked { pod, how })
            }
            Command::PausePod { pod } => {
                pausing::judge(&self.model, pod)
                    .map_err(|refusal| CommandRefusal::Pause(pod, refusal))?;
                let by = by.to_string();
                Ok(Event::PauseAsked { pod, by })
            }
            Command::ResumePod { pod } => Ok(Event::ResumeAsked { pod }),
            Command::Maintain {
                pod,
                keep_revisions,
            } => {
                let by = by.to_string();
                let request = MaintenanceRequest {
                    pod,
                    keep_revisions,
                    by,
                };
                maintenance::judge(&self.model, &request)
                    .map_err(CommandRefusal::Maintain)?;
                Ok(Event::MaintenanceAsked(request))
            }
            Command::ChangeTarget { from, id, target } => {
                let present = &self.model.target_id;
                if from != *present {
                    return Err(CommandRefusal::OtherTarget(present.clone()));
                }
                Ok(Event::TargetChanged { id, target })
            }
            Command::TellPlan { verb, part } => {
                let by = by.to_string();
                let command = PlanCommand { verb, part, by };
                plan_commands::judge(&self.model, &command)?;
                Ok(Event::PlanCommand(command))
            }
        }
    }

    fn take_session_event(&mut self, event: SessionEvent) -> Result<(), LoopError> {
        match event {
            SessionEvent::Connected {
                epoch,
                framework_id,
                master,
                master_info,
            } => {
                info!(%master, %framework_id, epoch = epoch.0, "subscribed");
                self.wiring
                    .frame
                    .reserver
                    .framework_id
                    .clone_from(&framework_id);
                self.apply(Event::Subscribed {
                    epoch: epoch.0,
                    framework_id: FrameworkId(framework_id),
                    master_region: master_info.as_deref().and_then(agents::region),
                });
            }
            SessionEvent::Disconnected { why, .. } => {
                warn!(why, "the subscription has ended");
                self.apply(Event::Disconnected { why });
            }
            SessionEvent::Waiting { why } => {
                warn!(why, "not subscribed");
                self.apply(Event::Disconnected { why });
            }
            SessionEvent::Event { epoch, event } => self.take_mesos_event(epoch, *event),
            SessionEvent::Failed { error } => return Err(LoopError::Mesos(error)),
        }
        Ok(())
    }

    fn take_mesos_event(&mut self, epoch: Epoch, event: mesos_v1::scheduler::Event) {
        let Ok(kind) = event::Type::try_from(event.r#type.unwrap_or_default()) else {
            return;
        };
        match kind {
            event::Type::Offers => {
                let offers = event.offers.unwrap_or_default().offers;
                self.wiring.metrics.note_offers(offers.len());
                let now = clock::now();
                let claims = &self.wiring.claims;
                let offers = offers
                    .iter()
                    .map(|offer| offers::offer(offer, claims, now))
                    .collect();
                self.apply(Event::Offers(offers));
            }
            event::Type::Rescind => {
                if let Some(rescind) = event.rescind {
                    let id = etcd_planner::offer::OfferId(rescind.offer_id.value);
                    self.apply(Event::OfferRescinded(id));
                }
            }
            event::Type::Update => {
                if let Some(update) = event.update {
                    self.take_status(epoch, &update.status);
                }
            }
            event::Type::UpdateOperationStatus => {
                if let Some(update) = event.update_operation_status {
                    self.take_operation_status(epoch, &update.status);
                }
            }
            event::Type::Message => {
                let data = event.message.map(|message| message.data);
                if let Some(event) = data.and_then(|it| executor_messages::event(&it)) {
                    self.apply(event);
                }
            }
            event::Type::Failure => {
                if let Some(failure) = event.failure {
                    self.take_failure(failure);
                }
            }
            other => debug!(event = other.as_str_name(), "nothing to do"),
        }
    }

    fn take_failure(&mut self, failure: v1::scheduler::event::Failure) {
        let agent = failure.agent_id.map(|id| id.value).unwrap_or_default();
        let executor = failure.executor_id.map(|id| id.value);
        info!(
            agent,
            executor,
            status = failure.status.unwrap_or_default(),
            "Mesos reports the end of an agent or executor"
        );
        self.apply(Event::Failure {
            agent_id: AgentId(agent),
            executor_id: executor.map(ExecutorId),
        });
    }

    fn take_status(&mut self, epoch: Epoch, status: &v1::TaskStatus) {
        if let Ok(state) = v1::TaskState::try_from(status.state) {
            self.wiring.metrics.note_task_status(state.as_str_name());
        }
        if let Some(translated) = statuses::status(status) {
            let words = &translated.words;
            info!(task = status.task_id.value, %words, "status");
            self.apply(Event::TaskStatus(translated));
        }
        // Without a uuid it is the master's own word, which is not repeated.
        if let (Some(uuid), Some(agent_id)) = (&status.uuid, &status.agent_id) {
            self.acknowledgements.push(MesosJob {
                epoch,
                call: Call {
                    r#type: Some(call::Type::Acknowledge.into()),
                    acknowledge: Some(call::Acknowledge {
                        agent_id: agent_id.clone(),
                        task_id: status.task_id.clone(),
                        uuid: uuid.clone(),
                    }),
                    ..Default::default()
                },
                effect: None,
            });
        }
    }

    fn take_operation_status(&mut self, epoch: Epoch, status: &v1::OperationStatus) {
        if let Some(translated) = operations::status(status) {
            let (operation, words) = (&translated.id, &translated.words);
            match translated.verdict {
                OperationVerdict::Failed => warn!(%operation, words, "status"),
                _ => info!(%operation, words, "status"),
            }
            self.apply(Event::OperationStatus(translated));
        }
        // Without a uuid it is the master's own word, which is not repeated.
        if let Some(call) = Call::acknowledge_operation_status(status) {
            self.acknowledgements.push(MesosJob {
                epoch,
                call,
                effect: None,
            });
        }
    }
}

/// The ids that etcd will give to the founders.
fn identify_founders(
    token: &ClusterToken,
    founders: &[Founder],
) -> Result<(ClusterId, Vec<MemberId>), String> {
    let named: Vec<(String, Vec<String>)> = founders
        .iter()
        .map(|founder| (founder.name.clone(), vec![founder.peer_url.clone()]))
        .collect();
    let birth = etcd_admin::identity::static_birth(&token.0, &named)
        .map_err(|error| error.to_string())?;
    let member_ids = birth.member_ids.into_iter().map(MemberId).collect();
    Ok((ClusterId(birth.cluster_id), member_ids))
}
