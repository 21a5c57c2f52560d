//! The model: wanted, recorded, observed, in flight. One event changes it.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;

use crate::decision::Decision;
use crate::effect::{Effect, EffectId, InFlight, Outcome};
use crate::event::{Event, OperationStatus, OperationVerdict};
use crate::leaving;
use crate::maintenance;
use crate::membership;
use crate::observed::{MesosLink, Observed, OfferStream, RoomSeen, Session, TaskSeen};
use crate::offer::Offer;
use crate::overrides::PlanName;
use crate::plan_commands;
use crate::programs::Programs;
use crate::quorum;
use crate::reached;
use crate::record::{Paused, Record, Resize, ResizeStage, TargetId};
use crate::replacing;
use crate::resizing;
use crate::target::Target;
use crate::time::Timestamp;
use crate::trying;

mod tasks;

/// Everything that decisions are made from. Owned by the event loop alone.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is wanted.
    pub target: Target,
    /// The id under which the target is stored.
    pub target_id: TargetId,
    /// What survives a crash.
    pub record: Record,
    /// What was last seen.
    pub observed: Observed,
    /// Issued, and not answered yet.
    pub in_flight: BTreeMap<EffectId, InFlight>,
    /// When the newest event came: how old an observation is, is measured
    /// from here.
    pub clock: Timestamp,
    /// Number of the next effect.
    next_effect: EffectId,
}

impl Model {
    /// The model of a scheduler that has just started: it knows its record and
    /// nothing else.
    pub fn new(target_id: TargetId, target: Target, record: Record) -> Self {
        Model {
            target,
            target_id,
            record,
            observed: Observed::default(),
            in_flight: BTreeMap::new(),
            clock: Timestamp::default(),
            next_effect: EffectId(1),
        }
    }

    /// Programs that members are, or may have to be, launched with.
    pub fn programs(&self) -> impl Iterator<Item = &Programs> {
        let of_recipes = self.record.recipes().map(|recipe| &recipe.program);
        of_recipes.chain([&self.target.program])
    }

    /// The present subscription.
    pub fn session(&self) -> Option<&Session> {
        match &self.observed.mesos {
            MesosLink::Connected(session) => Some(session),
            MesosLink::Disconnected { .. } => None,
        }
    }

    /// What is known of a pod's task from the present subscription.
    pub fn task(&self, pod: PodIndex) -> Option<&TaskSeen> {
        let seen = self.observed.tasks.get(&pod)?;
        (seen.epoch == self.session()?.epoch).then_some(seen)
    }

    fn is_launched(&self, pod: PodIndex) -> bool {
        let pod = self.record.pods.get(&pod);
        pod.is_some_and(|pod| {
            pod.launch
                .as_ref()
                .is_some_and(|launch| launch.end.is_none())
        })
    }

    /// Whether an effect that fits is still unanswered.
    pub fn is_in_flight(&self, fits: impl Fn(&Effect) -> bool) -> bool {
        self.in_flight
            .values()
            .any(|in_flight| fits(&in_flight.effect))
    }

    /// Takes in one event. May change the record, which the loop then stores
    /// before it acknowledges the event or acts on it.
    pub fn apply(&mut self, event: Event, now: Timestamp) {
        self.clock = now;
        match event {
            Event::Subscribed {
                epoch,
                framework_id,
                master_region,
            } => {
                self.record.framework_id = Some(framework_id);
                // Offers of an earlier subscription are void; a failed-over
                // master never heard of them.
                self.observed.offers.clear();
                self.observed.room.clear();
                self.observed.offers_in_doubt.clear();
                self.observed.stray_tasks.clear();
                self.observed.mesos = MesosLink::Connected(Session {
                    epoch,
                    since: now,
                    master_region,
                    reconciled: None,
                    reconciled_implicitly: None,
                    offers: OfferStream::Flowing {
                        begun: now,
                        since: now,
                    },
                });
            }
            Event::Disconnected { why } => {
                self.observed.offers.clear();
                self.observed.offers_in_doubt.clear();
                self.observed.mesos = MesosLink::Disconnected { why };
            }
            Event::Offers(offers) => {
                self.note_room(&offers);
                self.observed
                    .offers
                    .extend(offers.into_iter().map(|offer| (offer.id.clone(), offer)));
            }
            Event::OfferRescinded(id) => {
                self.observed.offers.remove(&id);
            }
            Event::OperationStatus(status) => self.note_operation(status, now),
            Event::Agents(agents) => {
                let agents = agents.into_iter().map(|facts| (facts.id.clone(), facts));
                self.observed.agents = Some(agents.collect());
            }
            Event::TaskStatus(status) => {
                self.observed.doubted_tasks.remove(&status.task_id);
                self.apply_status(status, now);
            }
            Event::Failure {
                agent_id,
                executor_id,
            } => self.doubt_tasks(&agent_id, executor_id.as_ref()),
            // The answer of a member that goes on under another name came late.
            Event::Probed { pod, .. } if !self.is_launched(pod) => {}
            Event::Probed { pod, probe } => {
                match &probe.answer {
                    Ok(answer) => {
                        reached::note_answer(self, pod, answer, now);
                        self.observed.silent_since.remove(&pod);
                        self.observed.answering_since.entry(pod).or_insert(probe.at);
                        let in_use = answer.db_size_in_use_bytes;
                        let seen = self.observed.in_use.entry(pod);
                        let seen = seen.or_insert((in_use, probe.at));
                        if seen.0 != in_use {
                            *seen = (in_use, probe.at);
                        }
                    }
                    Err(_) => {
                        self.observed.silent_since.entry(pod).or_insert(probe.at);
                        self.observed.answering_since.remove(&pod);
                    }
                }
                self.observed.probes.insert(pod, probe);
                self.forget_moves_of_the_lead();
            }
            Event::Tried(answer) => trying::note_answer(self, answer),
            Event::RoomTold(report) => maintenance::note_disk_room(self, &report, now),
            Event::Hashed(round) => self.observed.hashes = Some(round),
            Event::EffectDone { id, outcome } => self.apply_outcome(id, outcome, now),
            Event::RestartAsked { pod } => {
                if let Some(pod) = self.record.pods.get_mut(&pod) {
                    pod.restart_asked = true;
                }
            }
            Event::ExchangeAsked { pod, how } => {
                if let Some(pod) = self.record.pods.get_mut(&pod) {
                    pod.exchange_asked = Some(how);
                }
            }
            Event::PauseAsked { pod, by } => {
                if let Some(pod) = self.record.pods.get_mut(&pod) {
                    pod.paused.get_or_insert(Paused { by, since: now });
                }
            }
            Event::ResumeAsked { pod } => {
                if let Some(pod) = self.record.pods.get_mut(&pod) {
                    pod.paused = None;
                }
            }
            Event::PlanCommand(command) => {
                plan_commands::carry_out(self, &command, now);
            }
            Event::MaintenanceAsked(request) => {
                maintenance::ask(&mut self.record, &request, now);
            }
            Event::SnapshotTaken(taken) => self.record.snapshot = Some(taken),
            Event::TargetChanged { id, target } => {
                self.observed.target_since = now;
                self.change_target(id, *target);
            }
            Event::NotAtHand { programs, why } => {
                if self.observed.why_not_at_hand(&programs).is_none() {
                    self.observed.not_at_hand.push((*programs, why));
                }
            }
            Event::Tick => {}
        }
        membership::stuck::note_progress(self, now);
        replacing::begin(self);
    }

    /// Who does not lead may be asked again to hand over when it leads once more.
    fn forget_moves_of_the_lead(&mut self) {
        if self.observed.leader_moves.is_empty() {
            return;
        }
        let Some(leader) = quorum::leader(self) else {
            return;
        };
        let pods = &self.record.pods;
        self.observed.leader_moves.retain(|index, _| {
            let member_id = pods.get(index).and_then(|pod| pod.membership.member_id());
            member_id == Some(leader)
        });
    }

    /// Goes on under another target. Reasons against one that was refused are
    /// answered by it.
    fn change_target(&mut self, id: TargetId, target: Target) {
        // What was said about the steps of the last change was not said of this one.
        self.record.overrides.forget_forced(PlanName::Update);
        self.record.target = id.clone();
        self.target_id = id;
        self.target = target;
        self.observed.target_errors.clear();
        self.observed.snapshot_failed = None;
        self.observed.downgrade_refused = None;
    }

    /// What agents of places offer is known for longer than the offers are held.
    fn note_room(&mut self, offers: &[Offer]) {
        let pods = self.record.pods.values();
        for placement in pods.filter_map(|pod| pod.placement.as_ref()) {
            let of_agent = offers.iter().filter(|it| it.agent_id == placement.agent_id);
            for seen in of_agent.filter_map(|it| RoomSeen::of(it, placement)) {
                let id = placement.reservation_id.clone();
                self.observed.room.insert(id, seen);
            }
        }
    }

    /// An operation that failed is acted on by the next plan, which sees what
    /// else is known of the placement.
    fn note_operation(&mut self, status: OperationStatus, now: Timestamp) {
        match status.verdict {
            OperationVerdict::Open => return,
            OperationVerdict::Done => {
                leaving::forget_what_was_given_back(&mut self.record, &status.id);
                return;
            }
            OperationVerdict::Failed => {}
        }
        for (index, pod) in &mut self.record.pods {
            let Some(placement) = &mut pod.placement else {
                continue;
            };
            if let Some(Resize {
                stage: ResizeStage::Asked(asked),
                ..
            }) = placement.resize
                && placement.grow_operation(asked) == status.id
            {
                let why = format!("the agent could not reserve: {}", status.words);
                resizing::note_refused(placement, why, now);
                continue;
            }
            let what = if placement.reserve_operation() == status.id {
                "the agent could not reserve"
            } else if placement.create_operation() == status.id {
                "the agent could not create the volume"
            } else {
                continue;
            };
            let why = format!("{what}: {}", status.words);
            let failed = (placement.reservation_id.clone(), why);
            self.observed.failed_operations.insert(*index, failed);
        }
    }

    fn apply_outcome(&mut self, id: EffectId, outcome: Outcome, now: Timestamp) {
        let Some(in_flight) = self.in_flight.remove(&id) else {
            return;
        };
        maintenance::note_outcome(&mut self.record, &in_flight.effect, &outcome, now);
        let Outcome::Failed { why } = outcome else {
            // What members said while it was under way does not show it yet.
            if in_flight.effect.changes_what_members_say() {
                self.observed.membership_asked = Some(now);
            }
            return;
        };
        match in_flight.effect {
            // Nobody knows whether it arrived. The master does: ask it. If the
            // ACCEPT comes late, after the DECLINE, Mesos refuses its launch.
            Effect::Accept { offer_id, .. } | Effect::Release { offer_id, .. } => {
                self.observed.offers_in_doubt.insert(offer_id);
                if let MesosLink::Connected(session) = &mut self.observed.mesos {
                    session.reconciled = None;
                }
            }
            Effect::Decline { offers, .. } => {
                self.observed.offers_in_doubt.extend(offers);
            }
            Effect::Kill { .. } => {
                if let MesosLink::Connected(session) = &mut self.observed.mesos {
                    session.reconciled = None;
                }
            }
            Effect::AddLearner { .. }
            | Effect::Promote { .. }
            | Effect::RemoveMember { .. }
            | Effect::Disarm { .. }
            | Effect::MoveLeader { .. } => {
                self.observed.membership_refused = Some((now, why));
            }
            Effect::TakeSnapshot { .. } => {
                self.observed.snapshot_failed = Some((now, why));
            }
            Effect::EnableDowngrade { .. } | Effect::CancelDowngrade => {
                self.observed.downgrade_refused = Some((now, why));
            }
            Effect::Defragment { .. }
            | Effect::Compact { .. }
            | Effect::Suppress
            | Effect::Revive
            | Effect::Reconcile { .. }
            | Effect::TryRecipe { .. }
            | Effect::ReconcileAll => {}
        }
    }

    /// Takes in a decision whose record has been stored: returns its effects,
    /// numbered, for the shell to carry out.
    pub fn absorb(
        &mut self,
        decision: Decision,
        now: Timestamp,
    ) -> Vec<(EffectId, Effect)> {
        self.record = decision.record;
        self.observed.refusals = decision.refusals;
        self.observed.volumes_seen = decision.volumes_seen;
        self.observed.unknown_reservations = decision.unknown_reservations;
        decision
            .effects
            .into_iter()
            .map(|effect| {
                let id = self.next_effect;
                self.next_effect = EffectId(id.0 + 1);
                self.note_issued(id, &effect, now);
                (id, effect)
            })
            .collect()
    }

    fn note_issued(&mut self, id: EffectId, effect: &Effect, now: Timestamp) {
        match effect {
            Effect::Accept { offer_id, .. } | Effect::Release { offer_id, .. } => {
                self.observed.offers.remove(offer_id);
            }
            Effect::Decline { offers, .. } => {
                for offer in offers {
                    self.observed.offers.remove(offer);
                    self.observed.offers_in_doubt.remove(offer);
                }
            }
            Effect::Kill { task_id, .. } => {
                self.observed.kills.insert(task_id.clone(), now);
            }
            Effect::AddLearner { .. }
            | Effect::Promote { .. }
            | Effect::Disarm { .. }
            | Effect::EnableDowngrade { .. }
            | Effect::CancelDowngrade
            | Effect::RemoveMember { .. } => self.observed.membership_asked = Some(now),
            Effect::MoveLeader { from, .. } => {
                self.observed.leader_moves.insert(*from, now);
            }
            Effect::TryRecipe { pod, id, .. } => {
                trying::note_asked(self, *pod, id, now);
            }
            _ => {}
        }
        if let MesosLink::Connected(session) = &mut self.observed.mesos {
            match effect {
                Effect::Suppress => session.offers = OfferStream::Suppressed,
                Effect::Revive => {
                    let begun = match session.offers {
                        OfferStream::Flowing { begun, .. } => begun,
                        OfferStream::Suppressed => now,
                    };
                    session.offers = OfferStream::Flowing { begun, since: now };
                }
                Effect::Reconcile { .. } => {
                    let times = session.reconciled.map_or(0, |(_, times)| times);
                    session.reconciled = Some((now, times + 1));
                }
                Effect::ReconcileAll => session.reconciled_implicitly = Some(now),
                _ => {}
            }
        }
        if effect.awaits_result() {
            self.in_flight.insert(
                id,
                InFlight {
                    effect: effect.clone(),
                    since: now,
                },
            );
        }
    }
}
