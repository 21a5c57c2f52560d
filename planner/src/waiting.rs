//! Why something waits. Nothing waits without one of these.

use std::collections::BTreeMap;
use std::fmt;

use etcd_launch::{MemberId, PodIndex};

use crate::offer::Hostname;
use crate::overrides::{PlanName, PlanPart};
use crate::quorum::StopWouldCostQuorum;
use crate::time::Timestamp;

mod refusals;

pub use refusals::OfferRefusal;
pub(crate) use refusals::count;

/// Why a pod, or the whole service, does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// No subscription at a Mesos master.
    NotConnected {
        /// What the session said.
        why: String,
    },
    /// The master has not told the state of the pod's task yet.
    Reconciling,
    /// No offer has come.
    NoOffer {
        /// Since when offers are wanted.
        since: Timestamp,
    },
    /// Offers are at hand, and more are collected for a moment.
    CollectingOffers {
        /// How many.
        offers: usize,
    },
    /// The agents of the Mesos cluster can never hold all members.
    CannotBePlaced {
        /// Why not.
        why: String,
        /// How many agents were refused for each reason.
        refusals: BTreeMap<OfferRefusal, usize>,
    },
    /// Offers came, and none was good enough.
    NoSuitableOffer {
        /// How many agents were refused for each reason.
        refusals: BTreeMap<OfferRefusal, usize>,
    },
    /// Reservation and volume were asked for and not seen yet.
    PlacementUnconfirmed {
        /// On which host.
        hostname: Hostname,
    },
    /// The agent has not offered the pod's own resources.
    OwnResourcesNotOffered {
        /// On which host.
        hostname: Hostname,
    },
    /// An operator has paused the plan, or a part of it.
    Interrupted {
        /// Which part.
        part: PlanPart,
        /// Who.
        by: String,
    },
    /// An operator has paused the pod: its container runs without etcd.
    Paused {
        /// Who.
        by: String,
    },
    /// It is to be restarted or to leave, and the others have to be well before.
    OthersNotWell {
        /// Who is not.
        why: String,
    },
    /// The target wants it in another place, and it cannot move now.
    CannotMove {
        /// Why not.
        why: String,
    },
    /// The wanted options are being tried beside its member.
    TryingOptions {
        /// Why the wanted etcd could not be had on its agent, if it could not.
        not_had: Option<String>,
    },
    /// It is to have more than its agent has.
    NoRoomToGrow {
        /// Which pod.
        pod: PodIndex,
        /// On which host.
        hostname: Hostname,
        /// What more it is to have.
        wanted: String,
        /// What of that is not offered.
        lacking: String,
    },
    /// It is to have more than its agent has, and to move, and nobody offers a place.
    NoPlaceToMove {
        /// On which host it is.
        hostname: Hostname,
        /// What more it is to have.
        wanted: String,
        /// What of that is not offered there.
        lacking: String,
        /// How many agents were refused for each reason.
        refusals: BTreeMap<OfferRefusal, usize>,
    },
    /// It is to have more, and its agent has not said what it has.
    RoomUnknown {
        /// On which host.
        hostname: Hostname,
    },
    /// What it is to have more is being reserved.
    Growing {
        /// On which host.
        hostname: Hostname,
        /// What more.
        wanted: String,
    },
    /// What it is to have more was not reserved.
    GrowthRefused {
        /// On which host.
        hostname: Hostname,
        /// Why not.
        why: String,
    },
    /// The member did not become well with what the target wants.
    UpdateFailed {
        /// What went wrong.
        why: String,
        /// It was put back on what it ran with before.
        went_back: bool,
    },
    /// The update does not go on, because of another member.
    UpdateStopped {
        /// Which.
        pod: PodIndex,
        /// What went wrong with it.
        why: String,
    },
    /// It has left, and its volume is kept until an operator gives it up.
    VolumeKept {
        /// On which host.
        hostname: Hostname,
    },
    /// The plan is not under way.
    NotStarted {
        /// Which.
        plan: PlanName,
    },
    /// The plan goes step by step, and another one comes first.
    EarlierStep {
        /// Whose.
        pod: PodIndex,
    },
    /// A canary waits for an operator.
    AwaitsApproval {
        /// Which part of a plan is to be continued.
        part: PlanPart,
    },
    /// Other founders have no place yet, and a cluster is founded at once.
    OtherFounders {
        /// Which.
        pods: Vec<PodIndex>,
    },
    /// The pod failed and is tried again later.
    BackOff {
        /// When.
        until: Timestamp,
        /// Failures in a row.
        failures: u32,
        /// The newest failure.
        last: String,
    },
    /// The member's data is older than what it had, so it is not started.
    DataBehind {
        /// In the executor's words.
        why: String,
        /// Failures in a row.
        failures: u32,
    },
    /// etcd cannot go on with the member's data.
    DataDamaged {
        /// In the executor's words.
        why: String,
        /// Failures in a row.
        failures: u32,
    },
    /// The members' data is not the same.
    DataDiffers {
        /// What differs.
        why: String,
    },
    /// It would be the first member with another etcd, and something has to be first.
    BeforeAnotherEtcd {
        /// What.
        why: String,
    },
    /// The etcd of the target may not come after what members run.
    EtcdRefused {
        /// Why not.
        why: String,
    },
    /// Its agent cannot fetch the programs of its recipe.
    ProgramMissing {
        /// Which, and why not.
        why: String,
    },
    /// Launched; what the executor last reported.
    Launching {
        /// In the executor's words.
        phase: String,
    },
    /// etcd answers, but the cluster has no leader or no quorum.
    NoQuorum {
        /// What the member said.
        what: String,
    },
    /// The agent cannot be reached; the task may well be running.
    AgentUnreachable {
        /// Which host.
        hostname: Hostname,
    },
    /// A stop would cost quorum.
    StopWouldCostQuorum {
        /// Voters in good health without this one.
        healthy_without: usize,
        /// All voters.
        voters: usize,
    },
    /// Another member is being stopped, started, added or removed.
    OneAtATime {
        /// Which.
        busy: PodIndex,
    },
    /// Its database is being looked after, or it comes first.
    Maintenance {
        /// What is done.
        what: String,
    },
    /// A database has reached its quota, and etcd takes no writes.
    NoSpace {
        /// Whose, how large, and what can be done.
        what: String,
    },
    /// The member was stopped and is ending.
    Stopping,
    /// Leadership is being moved away before a stop.
    MovingLeader {
        /// To whom.
        to: MemberId,
    },
    /// A failed birth is being cleared away.
    AbandoningBirth {
        /// Why it failed.
        why: String,
    },
    /// The member lost its data; it is being removed from the cluster.
    RemovingLostMember {
        /// Why it is lost.
        why: String,
    },
    /// A lost member cannot be removed now.
    RemovalBlocked {
        /// Why not.
        why: String,
    },
    /// The member was added and has to catch up before it may vote.
    LearnerCatchingUp {
        /// Entries behind the leader.
        behind: u64,
    },
    /// etcd refuses a change of members just now, or we wait for it to settle.
    MembershipUnsettled {
        /// What is missing.
        why: String,
    },
}

impl WaitingReason {
    /// A short fixed name, for metrics and JSON.
    pub fn code(&self) -> &'static str {
        match self {
            WaitingReason::NotConnected { .. } => "not_connected",
            WaitingReason::Reconciling => "reconciling",
            WaitingReason::NoOffer { .. } => "no_offer",
            WaitingReason::CollectingOffers { .. } => "collecting_offers",
            WaitingReason::CannotBePlaced { .. } => "cannot_be_placed",
            WaitingReason::NoSuitableOffer { .. } => "no_suitable_offer",
            WaitingReason::PlacementUnconfirmed { .. } => "placement_unconfirmed",
            WaitingReason::OwnResourcesNotOffered { .. } => "own_resources_not_offered",
            WaitingReason::Interrupted { .. } => "interrupted",
            WaitingReason::Paused { .. } => "paused",
            WaitingReason::OthersNotWell { .. } => "others_not_well",
            WaitingReason::CannotMove { .. } => "cannot_move",
            WaitingReason::TryingOptions { .. } => "trying_options",
            WaitingReason::NoRoomToGrow { .. } => "no_room_to_grow",
            WaitingReason::NoPlaceToMove { .. } => "no_place_to_move",
            WaitingReason::RoomUnknown { .. } => "room_unknown",
            WaitingReason::Growing { .. } => "growing",
            WaitingReason::GrowthRefused { .. } => "growth_refused",
            WaitingReason::UpdateFailed { .. } => "update_failed",
            WaitingReason::UpdateStopped { .. } => "update_stopped",
            WaitingReason::VolumeKept { .. } => "volume_kept",
            WaitingReason::NotStarted { .. } => "not_started",
            WaitingReason::EarlierStep { .. } => "earlier_step",
            WaitingReason::AwaitsApproval { .. } => "awaits_approval",
            WaitingReason::OtherFounders { .. } => "other_founders",
            WaitingReason::BackOff { .. } => "back_off",
            WaitingReason::DataBehind { .. } => "data_behind",
            WaitingReason::DataDamaged { .. } => "data_damaged",
            WaitingReason::DataDiffers { .. } => "data_differs",
            WaitingReason::BeforeAnotherEtcd { .. } => "before_another_etcd",
            WaitingReason::EtcdRefused { .. } => "etcd_refused",
            WaitingReason::ProgramMissing { .. } => "program_missing",
            WaitingReason::Launching { .. } => "launching",
            WaitingReason::NoQuorum { .. } => "no_quorum",
            WaitingReason::AgentUnreachable { .. } => "agent_unreachable",
            WaitingReason::StopWouldCostQuorum { .. } => "stop_would_cost_quorum",
            WaitingReason::OneAtATime { .. } => "one_at_a_time",
            WaitingReason::Maintenance { .. } => "maintenance",
            WaitingReason::NoSpace { .. } => "no_space",
            WaitingReason::Stopping => "stopping",
            WaitingReason::MovingLeader { .. } => "moving_leader",
            WaitingReason::AbandoningBirth { .. } => "abandoning_birth",
            WaitingReason::RemovingLostMember { .. } => "removing_lost_member",
            WaitingReason::RemovalBlocked { .. } => "removal_blocked",
            WaitingReason::LearnerCatchingUp { .. } => "learner_catching_up",
            WaitingReason::MembershipUnsettled { .. } => "membership_unsettled",
        }
    }
}

impl From<StopWouldCostQuorum> for WaitingReason {
    fn from(cost: StopWouldCostQuorum) -> Self {
        WaitingReason::StopWouldCostQuorum {
            healthy_without: cost.healthy_without,
            voters: cost.voters,
        }
    }
}

impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingReason::NotConnected { why } => {
                write!(f, "not connected to a Mesos master: {why}")
            }
            WaitingReason::Reconciling => {
                f.write_str("the master has not told the state of the task yet")
            }
            WaitingReason::NoOffer { .. } => {
                f.write_str("no agent has offered resources")
            }
            WaitingReason::CollectingOffers { offers: 1 } => {
                f.write_str("one offer is at hand, and more are waited for a moment")
            }
            WaitingReason::CollectingOffers { offers } => write!(
                f,
                "{offers} offers are at hand, and more are waited for a moment"
            ),
            WaitingReason::CannotBePlaced { why, refusals } => {
                write!(f, "cannot be placed: {why}")?;
                if !refusals.is_empty() {
                    f.write_str("; ")?;
                }
                refusals::write_all(f, refusals)
            }
            WaitingReason::NoSuitableOffer { refusals } => {
                f.write_str("no offer is suitable: ")?;
                refusals::write_all(f, refusals)
            }
            WaitingReason::PlacementUnconfirmed { hostname } => {
                write!(f, "reserved resources on {hostname} have not been seen yet")
            }
            WaitingReason::OwnResourcesNotOffered { hostname } => {
                write!(f, "{hostname} has not offered the pod's own resources")
            }
            WaitingReason::Interrupted { part, by } => {
                write!(f, "{by} has paused {part}; it goes on with `continue`")
            }
            WaitingReason::Paused { by } => write!(
                f,
                "{by} has paused it: its container runs without etcd; it goes on with \
                 `debug pod resume`"
            ),
            WaitingReason::OthersNotWell { why } => {
                write!(f, "its turn comes when the others are well: {why}")
            }
            WaitingReason::CannotMove { why } => {
                write!(f, "it has to move for what is wanted, and cannot: {why}")
            }
            WaitingReason::TryingOptions { not_had: None } => f.write_str(
                "its agent tries whether etcd takes the wanted options, before the member \
                 is touched",
            ),
            WaitingReason::TryingOptions { not_had: Some(why) } => write!(
                f,
                "its agent cannot get the wanted etcd, so the member is not touched: {why}"
            ),
            WaitingReason::NoRoomToGrow {
                pod,
                hostname,
                wanted,
                lacking,
            } => write!(
                f,
                "it is to have {wanted} more, and {hostname} does not offer {lacking} of \
                 that; it goes on when there is room, and takes another agent with \
                 service.move_on_resize = true or `pod replace {pod}`"
            ),
            WaitingReason::NoPlaceToMove {
                hostname,
                wanted,
                lacking,
                refusals,
            } => {
                write!(
                    f,
                    "it is to have {wanted} more, {hostname} does not offer {lacking} of \
                     that, and there is no place to move to"
                )?;
                if !refusals.is_empty() {
                    f.write_str(": ")?;
                }
                refusals::write_all(f, refusals)
            }
            WaitingReason::RoomUnknown { hostname } => {
                write!(f, "{hostname} has not offered yet what it has room for")
            }
            WaitingReason::Growing { hostname, wanted } => {
                write!(f, "{wanted} more are being reserved for it on {hostname}")
            }
            WaitingReason::GrowthRefused { hostname, why } => write!(
                f,
                "what it is to have more on {hostname} was not reserved, and is asked \
                 for again: {why}"
            ),
            WaitingReason::UpdateFailed { why, went_back } => {
                write!(f, "it does not run with the new target: {why}; ")?;
                f.write_str(if *went_back {
                    "it runs with its old one; set other options, or try again \
                     with `plan force-restart update`"
                } else {
                    "set other options, or try again with `plan force-restart update`"
                })
            }
            WaitingReason::UpdateStopped { pod, why } => {
                write!(f, "the update has stopped at {pod}: {why}")
            }
            WaitingReason::VolumeKept { hostname } => write!(
                f,
                "it has left; its volume on {hostname} is kept until it is given up \
                 with `plan resume decommission`"
            ),
            WaitingReason::NotStarted { plan } => {
                write!(f, "it begins with `plan start {plan}`")
            }
            WaitingReason::EarlierStep { pod } => {
                write!(f, "one step after the other, and {pod} comes first")
            }
            WaitingReason::AwaitsApproval { part } => {
                write!(f, "{part} is a canary and waits for `continue`")
            }
            WaitingReason::OtherFounders { pods } => {
                f.write_str(
                    "a cluster is founded at once, and there is no place yet for ",
                )?;
                for (place, pod) in pods.iter().enumerate() {
                    write!(f, "{}{pod}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            WaitingReason::BackOff {
                failures: 1, last, ..
            } => {
                write!(f, "failed once and waits before the next try: {last}")
            }
            WaitingReason::BackOff { failures, last, .. } => write!(
                f,
                "failed {failures} times in a row and waits before the next try: {last}"
            ),
            WaitingReason::DataBehind { why, failures } => write!(
                f,
                "data behind the cluster: reset or replace (launched in vain {}: {why})",
                times(*failures)
            ),
            WaitingReason::DataDamaged { why, failures } => write!(
                f,
                "data damaged: reset or replace (launched in vain {}: {why})",
                times(*failures)
            ),
            WaitingReason::DataDiffers { why } => f.write_str(why),
            WaitingReason::BeforeAnotherEtcd { why } => {
                write!(f, "before the first member gets another etcd: {why}")
            }
            WaitingReason::EtcdRefused { why } => {
                write!(f, "it does not get the etcd of the target: {why}")
            }
            WaitingReason::ProgramMissing { why } => write!(
                f,
                "it cannot be launched with the programs that it ran with: {why}"
            ),
            WaitingReason::Launching { phase } => write!(f, "launched: {phase}"),
            WaitingReason::NoQuorum { what } => write!(f, "no quorum: {what}"),
            WaitingReason::AgentUnreachable { hostname } => {
                write!(
                    f,
                    "the master cannot reach the agent on {hostname}; its task may run"
                )
            }
            WaitingReason::StopWouldCostQuorum {
                healthy_without,
                voters,
            } => write!(
                f,
                "stopping it would leave {healthy_without} of {voters} voters in good health"
            ),
            WaitingReason::OneAtATime { busy } => {
                write!(f, "one at a time in the service: {busy} comes first")
            }
            WaitingReason::Maintenance { what } | WaitingReason::NoSpace { what } => {
                f.write_str(what)
            }
            WaitingReason::Stopping => f.write_str("etcd is stopping"),
            WaitingReason::MovingLeader { to } => {
                write!(f, "leadership is being moved to member {to}")
            }
            WaitingReason::AbandoningBirth { why } => write!(
                f,
                "the cluster could not form ({why}); founders are stopped for a new start"
            ),
            WaitingReason::RemovingLostMember { why } => {
                write!(f, "its data is lost ({why}); the member is being removed")
            }
            WaitingReason::RemovalBlocked { why } => {
                write!(
                    f,
                    "its data is lost, and the member cannot be removed now: {why}"
                )
            }
            WaitingReason::LearnerCatchingUp { behind } => {
                write!(f, "joined as a learner, {behind} entries behind the leader")
            }
            WaitingReason::MembershipUnsettled { why } => {
                write!(f, "before members are changed: {why}")
            }
        }
    }
}

fn times(failures: u32) -> String {
    match failures {
        1 => "once".to_owned(),
        failures => format!("{failures} times in a row"),
    }
}
