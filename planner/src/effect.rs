//! Effects: what the shell is to do. Small, typed, printable attempts; each
//! result comes back as an event, and there is no retry inside.

use std::fmt;
use std::time::Duration;

use etcd_launch::{LaunchSpec, MemberId, PodGeneration, PodIndex, Tuning};

use crate::alarms::Alarm;
use crate::offer::{AgentId, Bundle, ExecutorId, OfferId, OperationId, TaskId};
use crate::programs::{EtcdVersion, Programs};
use crate::record::{Placement, TargetId};
use crate::time::Timestamp;

/// Names one issued effect; its result carries the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectId(pub u64);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// ACCEPT an offer with operations for one pod.
    Accept {
        /// For which pod.
        pod: PodIndex,
        /// For which life of it.
        generation: PodGeneration,
        /// The offer; it is gone from the model once this is issued.
        offer_id: OfferId,
        /// Whose offer it is.
        agent_id: AgentId,
        /// In this order.
        operations: Vec<Operation>,
    },
    /// ACCEPT an offer in order to give back a placement: DESTROY its volume,
    /// if there is one, and UNRESERVE its resources.
    Release {
        /// The offer that shows it.
        offer_id: OfferId,
        /// Whose placement it was.
        pod: PodIndex,
        /// What is given back.
        placement: Box<Placement>,
        /// Whether the volume was created.
        has_volume: bool,
        /// What the offer shows of it beside the volume.
        shown: Bundle,
    },
    /// DECLINE offers.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// For how long the same resources are not to be offered again.
        refuse: Duration,
    },
    /// SUPPRESS: no more offers.
    Suppress,
    /// REVIVE: offers again, and forget the filters of declined ones.
    Revive,
    /// RECONCILE the named tasks.
    Reconcile {
        /// Which.
        tasks: Vec<(TaskId, AgentId)>,
    },
    /// RECONCILE whatever the master knows of us.
    ReconcileAll,
    /// KILL a task.
    Kill {
        /// The pod, unless the task is a stray.
        pod: Option<PodIndex>,
        /// Which task.
        task_id: TaskId,
        /// On which agent.
        agent_id: AgentId,
    },
    /// Add a learner to the cluster.
    AddLearner {
        /// For which pod.
        pod: PodIndex,
        /// Its peer URL.
        peer_url: String,
    },
    /// Make a learner a voter.
    Promote {
        /// Which pod.
        pod: PodIndex,
        /// Its member id.
        member_id: MemberId,
    },
    /// Remove a member from the cluster.
    RemoveMember {
        /// Whose it was.
        pod: PodIndex,
        /// Its member id.
        member_id: MemberId,
    },
    /// Take back an alarm.
    Disarm {
        /// Which.
        alarm: Alarm,
    },
    /// Have the executor of a running member try another etcd, or other options, beside
    /// it.
    TryRecipe {
        /// Which pod's.
        pod: PodIndex,
        /// On which agent it is.
        agent_id: AgentId,
        /// Which executor.
        executor_id: ExecutorId,
        /// Names the trial.
        id: String,
        /// The etcd to try; none for the one that runs.
        program: Option<Programs>,
        /// The options to try.
        tuning: Tuning,
    },
    /// Give the free room in a member's database file back to its disk. The member
    /// serves nothing meanwhile.
    Defragment {
        /// Which pod's.
        pod: PodIndex,
        /// Its member id.
        member_id: MemberId,
        /// In which round: when that was asked for.
        round: Timestamp,
        /// How long it is waited for.
        limit: Duration,
    },
    /// Forget old revisions in the whole cluster.
    Compact {
        /// In which round: when that was asked for.
        round: Timestamp,
        /// So many of the newest revisions are kept.
        keep_revisions: u64,
    },
    /// Write a copy of all data to the scheduler's disk.
    TakeSnapshot {
        /// Before the change to which target.
        target: TargetId,
    },
    /// Ask etcd to go back by a minor version: it works as that one from then on, and
    /// makes its members' data ready for it.
    EnableDowngrade {
        /// To which; its patch says nothing.
        to: EtcdVersion,
    },
    /// Ask etcd to go back no further.
    CancelDowngrade,
    /// Ask the leader to hand over.
    MoveLeader {
        /// From which pod.
        from: PodIndex,
        /// To which member.
        to: MemberId,
    },
}

/// One operation of an ACCEPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// RESERVE the placement's resources with its labels.
    Reserve(Placement),
    /// CREATE the placement's volume.
    CreateVolume(Placement),
    /// RESERVE more under the placement's labels.
    ReserveMore {
        /// Its name.
        id: OperationId,
        /// For which placement.
        placement: Box<Placement>,
        /// How much more.
        amount: Bundle,
    },
    /// UNRESERVE what the placement's member does not use.
    UnreserveSurplus {
        /// Its name.
        id: OperationId,
        /// Of which placement.
        placement: Box<Placement>,
        /// How much of it.
        amount: Bundle,
    },
    /// LAUNCH the pod's task on the placement.
    Launch(Box<LaunchOrder>),
}

/// All that a LAUNCH needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchOrder {
    /// The task's id.
    pub task_id: TaskId,
    /// Its executor's id.
    pub executor_id: ExecutorId,
    /// Where.
    pub placement: Placement,
    /// What the executor is told.
    pub spec: LaunchSpec,
    /// What the agent fetches.
    pub programs: Programs,
}

impl Effect {
    /// Whether a result comes back and the planner must not ask for the same
    /// again until it has. The others are fire and forget: if they are lost,
    /// the next round sees it.
    pub fn awaits_result(&self) -> bool {
        match self {
            Effect::Accept { .. }
            | Effect::Release { .. }
            | Effect::Decline { .. }
            | Effect::Kill { .. }
            | Effect::AddLearner { .. }
            | Effect::Promote { .. }
            | Effect::RemoveMember { .. }
            | Effect::Disarm { .. }
            | Effect::Defragment { .. }
            | Effect::Compact { .. }
            | Effect::TakeSnapshot { .. }
            | Effect::EnableDowngrade { .. }
            | Effect::CancelDowngrade
            | Effect::MoveLeader { .. } => true,
            Effect::Suppress
            | Effect::Revive
            | Effect::Reconcile { .. }
            | Effect::TryRecipe { .. }
            | Effect::ReconcileAll => false,
        }
    }

    /// Whether etcd's member list is another one afterwards.
    pub fn changes_members(&self) -> bool {
        matches!(
            self,
            Effect::AddLearner { .. }
                | Effect::Promote { .. }
                | Effect::RemoveMember { .. }
        )
    }

    /// Whether members say something else afterwards: what they said before then is
    /// no reason for more of it.
    pub fn changes_what_members_say(&self) -> bool {
        self.changes_members()
            || matches!(
                self,
                Effect::Disarm { .. }
                    | Effect::EnableDowngrade { .. }
                    | Effect::CancelDowngrade
            )
    }

    /// A short fixed name, for failpoints, metrics and logs.
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Its kind, without what it is about.
    pub fn kind(&self) -> EffectKind {
        match self {
            Effect::Accept { operations, .. } => {
                match operations.first() {
                    Some(Operation::ReserveMore { .. }) => return EffectKind::Grow,
                    Some(Operation::UnreserveSurplus { .. }) => {
                        return EffectKind::Shrink;
                    }
                    _ => {}
                }
                let launches = operations
                    .iter()
                    .any(|operation| matches!(operation, Operation::Launch(_)));
                let reserves = operations
                    .iter()
                    .any(|operation| matches!(operation, Operation::Reserve(_)));
                match (reserves, launches) {
                    (true, true) => EffectKind::ReserveAndLaunch,
                    (true, false) => EffectKind::Reserve,
                    _ => EffectKind::Launch,
                }
            }
            Effect::Release { .. } => EffectKind::Release,
            Effect::Decline { .. } => EffectKind::Decline,
            Effect::Suppress => EffectKind::Suppress,
            Effect::Revive => EffectKind::Revive,
            Effect::Reconcile { .. } => EffectKind::Reconcile,
            Effect::ReconcileAll => EffectKind::ReconcileAll,
            Effect::Kill { .. } => EffectKind::Kill,
            Effect::AddLearner { .. } => EffectKind::AddLearner,
            Effect::Promote { .. } => EffectKind::Promote,
            Effect::RemoveMember { .. } => EffectKind::RemoveMember,
            Effect::Disarm { .. } => EffectKind::Disarm,
            Effect::TryRecipe { .. } => EffectKind::TryRecipe,
            Effect::Defragment { .. } => EffectKind::Defragment,
            Effect::Compact { .. } => EffectKind::Compact,
            Effect::TakeSnapshot { .. } => EffectKind::TakeSnapshot,
            Effect::EnableDowngrade { .. } => EffectKind::EnableDowngrade,
            Effect::CancelDowngrade => EffectKind::CancelDowngrade,
            Effect::MoveLeader { .. } => EffectKind::MoveLeader,
        }
    }
}

/// Declares the kinds of effects with their names, so that no list of them can
/// lack one.
macro_rules! effect_kinds {
    ($( $(#[$doc:meta])* $Kind:ident = $name:literal, )+) => {
        /// What kind of thing an effect is, with a short fixed name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EffectKind {
            $( $(#[$doc])* $Kind, )+
        }

        impl EffectKind {
            /// Every kind.
            pub const ALL: &[EffectKind] = &[$( EffectKind::$Kind ),+];

            /// Its name in failpoints, metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $( EffectKind::$Kind => $name, )+ }
            }
        }
    };
}

effect_kinds! {
    /// ACCEPT that reserves and launches.
    ReserveAndLaunch = "reserve-and-launch",
    /// ACCEPT that reserves.
    Reserve = "reserve",
    /// ACCEPT that launches.
    Launch = "launch",
    /// ACCEPT that reserves more for a member.
    Grow = "grow",
    /// ACCEPT that gives back what a member does not use.
    Shrink = "shrink",
    /// ACCEPT that gives a place back.
    Release = "release",
    /// DECLINE.
    Decline = "decline",
    /// SUPPRESS.
    Suppress = "suppress",
    /// REVIVE.
    Revive = "revive",
    /// RECONCILE of named tasks.
    Reconcile = "reconcile",
    /// RECONCILE of all tasks.
    ReconcileAll = "reconcile-all",
    /// KILL.
    Kill = "kill",
    /// A learner is added.
    AddLearner = "add-learner",
    /// A learner becomes a voter.
    Promote = "promote",
    /// A member is removed.
    RemoveMember = "remove-member",
    /// An alarm is taken back.
    Disarm = "disarm",
    /// Options are tried beside a running member.
    TryRecipe = "try-recipe",
    /// A database is defragmented.
    Defragment = "defragment",
    /// Old revisions are forgotten.
    Compact = "compact",
    /// A snapshot is written to the scheduler's disk.
    TakeSnapshot = "take-snapshot",
    /// etcd is asked to go back by a minor version.
    EnableDowngrade = "enable-downgrade",
    /// etcd is asked to go back no further.
    CancelDowngrade = "cancel-downgrade",
    /// The lead is handed over.
    MoveLeader = "move-leader",
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Accept {
                pod,
                agent_id,
                operations,
                ..
            } => {
                write!(f, "accept {agent_id} for {pod}:")?;
                for (place, operation) in operations.iter().enumerate() {
                    write!(f, "{} {operation}", if place == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Effect::Release { pod, placement, .. } => {
                write!(f, "give back {pod}'s empty place on {}", placement.hostname)
            }
            Effect::Decline { offers, refuse } => {
                write!(f, "decline {} for {} s", offers.len(), refuse.as_secs_f64())
            }
            Effect::Suppress => f.write_str("suppress offers"),
            Effect::Revive => f.write_str("revive offers"),
            Effect::Reconcile { tasks } => write!(f, "reconcile {} tasks", tasks.len()),
            Effect::ReconcileAll => f.write_str("reconcile all tasks"),
            Effect::Kill { pod: Some(pod), .. } => write!(f, "kill {pod}"),
            Effect::Kill {
                pod: None, task_id, ..
            } => write!(f, "kill stray {task_id}"),
            Effect::AddLearner { pod, peer_url } => {
                write!(f, "add {pod} as learner at {peer_url}")
            }
            Effect::Promote { pod, member_id } => {
                write!(f, "promote {pod} ({member_id})")
            }
            Effect::RemoveMember { pod, member_id } => {
                write!(f, "remove {pod} ({member_id})")
            }
            Effect::Disarm { alarm } => {
                let (kind, member_id) = (alarm.kind.as_str(), alarm.member_id);
                write!(f, "disarm {kind} of member {member_id}")
            }
            Effect::Defragment { pod, member_id, .. } => {
                write!(f, "defragment {pod} ({member_id})")
            }
            Effect::Compact { keep_revisions, .. } => {
                write!(f, "compact, keeping {keep_revisions} revisions")
            }
            Effect::TryRecipe { pod, .. } => write!(f, "try options beside {pod}"),
            Effect::TakeSnapshot { .. } => f.write_str("take a snapshot"),
            Effect::EnableDowngrade { to } => {
                write!(f, "enable the downgrade to {}", to.minor_version())
            }
            Effect::CancelDowngrade => f.write_str("cancel the downgrade"),
            Effect::MoveLeader { from, to } => {
                write!(f, "move leader from {from} to {to}")
            }
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Reserve(_) => f.write_str("reserve"),
            Operation::CreateVolume(_) => f.write_str("create volume"),
            Operation::ReserveMore { amount, .. } => write!(f, "reserve {amount} more"),
            Operation::UnreserveSurplus { amount, .. } => {
                write!(f, "give back {amount}")
            }
            Operation::Launch(order) => match order.spec.start {
                etcd_launch::ClusterStart::New => f.write_str("launch as new"),
                etcd_launch::ClusterStart::Existing => f.write_str("launch as existing"),
            },
        }
    }
}

/// An issued effect that has not been answered.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The effect.
    pub effect: Effect,
    /// When it was issued.
    pub since: Timestamp,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Mesos or etcd accepted it. For Mesos that says that the master has the
    /// call, not that it has been carried out.
    Done,
    /// It was refused, or nobody knows whether it arrived.
    Failed {
        /// What was said.
        why: String,
    },
}
