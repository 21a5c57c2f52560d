//! Carrying out effects. Every effect is one bounded attempt, and what came of
//! it goes back to the loop as an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_admin::member::MemberClient;
use etcd_launch::PodIndex;
use etcd_planner::alarms::AlarmKind;
use etcd_planner::effect::{EffectKind, Operation, Outcome};
use etcd_planner::programs::Programs;
use etcd_planner::record::TargetId;
use etcd_planner::{Effect, EffectId, Event};
use mesos_v1::scheduler::{Call, call};
use mesos_v1::{Epoch, SchedulerHandle, v1};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::artifacts::{Artifacts, Fetch, NotAtHand};
use crate::clock;
use crate::failpoint::{self, Stage};
use crate::maintenance;
use crate::metrics::Metrics;
use crate::published::Published;
use crate::reading::Readers;
use crate::snapshot_files::SnapshotFiles;
use crate::translate::operations::{self, Feedback};
use crate::translate::tasks::{self, LaunchFrame};
use crate::trials;

/// How long etcd is asked to agree on a change of members. It gives up itself
/// after seven seconds and then says why.
const MEMBERSHIP_LIMIT: Duration = Duration::from_secs(10);

/// How long old revisions are cleared away on the member that is asked: etcd clears
/// ten thousand in ten milliseconds or so, unless the disk is busy.
const COMPACTION_LIMIT: Duration = Duration::from_secs(300);

/// Where launches get their files.
#[derive(Clone, Debug)]
pub struct FileSource {
    /// What this scheduler serves.
    pub artifacts: Arc<Artifacts>,
    /// How agents reach this scheduler, without a slash at the end.
    pub base_url: String,
}

impl FileSource {
    /// What an agent fetches for a member with these programs.
    ///
    /// # Errors
    ///
    /// When a program of theirs is not to be had any more.
    pub fn fetch(&self, programs: &Programs) -> Result<Fetch, NotAtHand> {
        self.artifacts
            .fetch(programs, &self.base_url, Instant::now())
    }
}

/// One thing for the master, in the order of the decisions.
#[derive(Debug)]
pub struct MesosJob {
    /// In which subscription it was decided.
    pub epoch: Epoch,
    /// The call.
    pub call: Call,
    /// Which effect it is, if its result is awaited.
    pub effect: Option<(EffectId, &'static str)>,
}

/// Sends calls to the master one after the other, so that they arrive in the
/// order in which they were decided.
pub async fn send_to_master(
    handle: SchedulerHandle,
    mut jobs: mpsc::UnboundedReceiver<MesosJob>,
    results: mpsc::UnboundedSender<Event>,
    metrics: Arc<Metrics>,
) {
    while let Some(job) = jobs.recv().await {
        let name = job.effect.map_or("acknowledge", |(_, name)| name);
        metrics.note_mesos_call(name);
        failpoint::hit(Stage::Before, name);
        let result = handle.call(job.epoch, job.call).await;
        failpoint::hit(Stage::After, name);
        if let Err(error) = &result {
            warn!(effect = name, %error, "a call to the master failed");
        }
        if let Some((id, name)) = job.effect {
            let outcome = outcome(result);
            metrics.note_effect_done(name, &outcome);
            // Fails only when the loop is gone.
            let _ = results.send(Event::EffectDone { id, outcome });
        }
    }
}

/// Why there is no call for an effect.
#[derive(Debug, thiserror::Error)]
pub enum NoCall {
    /// The launch spec cannot be written.
    #[error("the launch spec cannot be written: {0}")]
    Spec(#[from] serde_json::Error),
    /// The agent could not fetch what the member runs.
    #[error("{why}")]
    NotAtHand {
        /// Which programs.
        programs: Box<Programs>,
        /// Why not.
        why: NotAtHand,
    },
}

fn outcome<E: std::fmt::Display>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed {
            why: error.to_string(),
        },
    }
}

/// The call to the master that an effect stands for; none if it is for etcd.
///
/// # Errors
///
/// When it cannot be written, or its agent could not fetch what it needs.
///
/// `feedback` is that of the agent whose offer the effect accepts.
pub fn mesos_call(
    effect: &Effect,
    frame: &LaunchFrame,
    source: &FileSource,
    feedback: Feedback,
) -> Result<Option<Call>, NoCall> {
    let call = match effect {
        Effect::Accept {
            pod,
            offer_id,
            operations,
            ..
        } => {
            let mut messages = Vec::new();
            for operation in operations {
                messages.extend(operation_messages(
                    frame, source, *pod, operation, feedback,
                )?);
            }
            accept(&offer_id.0, messages)
        }
        Effect::Release {
            offer_id,
            pod,
            placement,
            has_volume,
            shown,
        } => {
            let reserver = &frame.reserver;
            let there = (*has_volume, shown);
            let messages =
                operations::release(reserver, *pod, placement, there, feedback);
            accept(&offer_id.0, messages)
        }
        Effect::Decline { offers, refuse } => Call {
            r#type: Some(call::Type::Decline.into()),
            decline: Some(call::Decline {
                offer_ids: offers
                    .iter()
                    .map(|id| v1::OfferId {
                        value: id.0.clone(),
                    })
                    .collect(),
                filters: Some(filters(*refuse)),
            }),
            ..Default::default()
        },
        Effect::Suppress => Call {
            r#type: Some(call::Type::Suppress.into()),
            ..Default::default()
        },
        Effect::Revive => Call {
            r#type: Some(call::Type::Revive.into()),
            ..Default::default()
        },
        Effect::Reconcile { tasks } => reconcile(
            tasks
                .iter()
                .map(|(task_id, agent_id)| call::reconcile::Task {
                    task_id: v1::TaskId {
                        value: task_id.0.clone(),
                    },
                    agent_id: Some(v1::AgentId {
                        value: agent_id.0.clone(),
                    }),
                })
                .collect(),
        ),
        Effect::ReconcileAll => reconcile(Vec::new()),
        Effect::Kill {
            task_id, agent_id, ..
        } => Call {
            r#type: Some(call::Type::Kill.into()),
            kill: Some(call::Kill {
                task_id: v1::TaskId {
                    value: task_id.0.clone(),
                },
                agent_id: Some(v1::AgentId {
                    value: agent_id.0.clone(),
                }),
                kill_policy: None,
            }),
            ..Default::default()
        },
        Effect::TryRecipe {
            agent_id,
            executor_id,
            id,
            program,
            tuning,
            ..
        } => Call::message(
            v1::AgentId {
                value: agent_id.0.clone(),
            },
            v1::ExecutorId {
                value: executor_id.0.clone(),
            },
            trials::request(id, program.as_ref(), tuning, source)?,
        ),
        Effect::AddLearner { .. }
        | Effect::Promote { .. }
        | Effect::RemoveMember { .. }
        | Effect::Disarm { .. }
        | Effect::Defragment { .. }
        | Effect::Compact { .. }
        | Effect::TakeSnapshot { .. }
        | Effect::EnableDowngrade { .. }
        | Effect::CancelDowngrade
        | Effect::MoveLeader { .. } => return Ok(None),
    };
    Ok(Some(call))
}

fn filters(refuse: Duration) -> v1::Filters {
    v1::Filters {
        refuse_seconds: Some(refuse.as_secs_f64()),
    }
}

fn reconcile(tasks: Vec<call::reconcile::Task>) -> Call {
    Call {
        r#type: Some(call::Type::Reconcile.into()),
        reconcile: Some(call::Reconcile { tasks }),
        ..Default::default()
    }
}

fn accept(offer_id: &str, operations: Vec<v1::offer::Operation>) -> Call {
    Call {
        r#type: Some(call::Type::Accept.into()),
        accept: Some(call::Accept {
            offer_ids: vec![v1::OfferId {
                value: offer_id.to_owned(),
            }],
            operations,
            // What is left of the offer may come again at once: another pod
            // may want the volume that is on the same agent.
            filters: Some(filters(Duration::ZERO)),
        }),
        ..Default::default()
    }
}

fn operation_messages(
    frame: &LaunchFrame,
    source: &FileSource,
    pod: PodIndex,
    operation: &Operation,
    feedback: Feedback,
) -> Result<Vec<v1::offer::Operation>, NoCall> {
    let reserver = &frame.reserver;
    Ok(match operation {
        Operation::Reserve(placement) => {
            operations::reserve(reserver, pod, placement, feedback)
        }
        Operation::CreateVolume(placement) => {
            operations::create(reserver, pod, placement, feedback)
        }
        Operation::ReserveMore {
            id,
            placement,
            amount,
        } => {
            let what = (placement.as_ref(), amount);
            operations::reserve_more(reserver, pod, what, id, feedback)
        }
        Operation::UnreserveSurplus {
            id,
            placement,
            amount,
        } => {
            let what = (placement.as_ref(), amount);
            operations::unreserve_surplus(reserver, pod, what, id, feedback)
        }
        // Mesos tells of a launch by the task's statuses, and takes no name
        // for it.
        Operation::Launch(order) => {
            let fetch = source.fetch(&order.programs).map_err(|why| {
                let programs = Box::new(order.programs.clone());
                NoCall::NotAtHand { programs, why }
            })?;
            let task = tasks::task_info(frame, order, &fetch)?;
            vec![v1::offer::Operation::launch(vec![task])]
        }
    })
}

/// Carries out an effect on etcd, through the members at these client URLs:
/// the leader's first, since only it can do some of them.
pub async fn ask_etcd(
    id: EffectId,
    effect: Effect,
    client_urls: Vec<String>,
    readers: Readers,
    results: mpsc::UnboundedSender<Event>,
    metrics: Arc<Metrics>,
) {
    let name = effect.name();
    failpoint::hit(Stage::Before, name);
    let limit = match &effect {
        // It says itself when its own limit is over.
        Effect::Defragment { limit, .. } => 2 * *limit + MEMBERSHIP_LIMIT,
        Effect::Compact { .. } => COMPACTION_LIMIT + MEMBERSHIP_LIMIT,
        _ => MEMBERSHIP_LIMIT,
    };
    let result =
        tokio::time::timeout(limit, ask_members(&effect, &client_urls, &readers))
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
    failpoint::hit(Stage::After, name);
    match &result {
        Ok(()) => info!(%effect, "done"),
        Err(why) => warn!(%effect, why, "etcd did not do it"),
    }
    let outcome = outcome(result);
    metrics.note_effect_done(name, &outcome);
    // Fails only when the loop is gone.
    let _ = results.send(Event::EffectDone { id, outcome });
}

/// Writes a copy of all data to our disk, and tells of it before it is called done: what
/// is on the disk and not in the record is only in the way.
pub async fn take_snapshot(
    id: EffectId,
    target: TargetId,
    published: Arc<Published>,
    files: Arc<SnapshotFiles>,
    readers: Readers,
    results: mpsc::UnboundedSender<Event>,
    metrics: Arc<Metrics>,
) {
    let name = EffectKind::TakeSnapshot.as_str();
    failpoint::hit(Stage::Before, name);
    let taken = files
        .take(&published, &target, &readers, clock::now())
        .await;
    failpoint::hit(Stage::After, name);
    let outcome = match taken {
        Ok(taken) => {
            // Fails only when the loop is gone.
            let _ = results.send(Event::SnapshotTaken(taken));
            Outcome::Done
        }
        Err(why) => {
            warn!(why, "no snapshot could be taken");
            Outcome::Failed { why }
        }
    };
    metrics.note_effect_done(name, &outcome);
    let _ = results.send(Event::EffectDone { id, outcome });
}

/// Asks the members in turn until one of them has said anything that is not
/// "nobody is here".
async fn ask_members(
    effect: &Effect,
    client_urls: &[String],
    readers: &Readers,
) -> Result<(), String> {
    if let Effect::Defragment { pod, limit, .. } = effect
        && !readers.have_ended(*pod, *limit).await
    {
        return Err("a snapshot is being read from it".to_owned());
    }
    let mut last = "no member can be asked".to_owned();
    for url in client_urls {
        let client = match MemberClient::connect(url, None).await {
            Ok(client) => client,
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        let result = match effect {
            Effect::AddLearner { peer_url, .. } => {
                client.add_learner(peer_url).await.map(drop)
            }
            Effect::Promote { member_id, .. } => client.promote(member_id.0).await,
            Effect::RemoveMember { member_id, .. } => client.remove(member_id.0).await,
            Effect::MoveLeader { to, .. } => client.move_leader(to.0).await,
            Effect::EnableDowngrade { to } => {
                client.enable_downgrade(&to.minor_version()).await
            }
            Effect::CancelDowngrade => client.cancel_downgrade().await,
            Effect::Defragment {
                member_id, limit, ..
            } => return maintenance::defragment(&client, *member_id, *limit).await,
            Effect::Compact { keep_revisions, .. } => {
                maintenance::compact(&client, *keep_revisions, COMPACTION_LIMIT).await
            }
            Effect::Disarm { alarm } => {
                let kind = match alarm.kind {
                    AlarmKind::NoSpace => etcd_admin::member::AlarmKind::NoSpace,
                    AlarmKind::Corrupt => etcd_admin::member::AlarmKind::Corrupt,
                    AlarmKind::Other(_) => return Err("an unknown alarm".to_owned()),
                };
                let member_id = alarm.member_id.0;
                client
                    .disarm(etcd_admin::member::Alarm { member_id, kind })
                    .await
            }
            _ => return Err("not an effect on etcd".to_owned()),
        };
        match result {
            Ok(()) => return Ok(()),
            // It may have happened: only the member list can tell.
            Err(error) if error.may_have_happened() => return Err(error.to_string()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
