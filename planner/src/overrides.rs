//! What operators have told plans.
//!
//! Plans are computed from the model in every turn. What an operator says about
//! them cannot be computed, so it is recorded here, small and typed, and outlives
//! the scheduler (the SDK kept it in memory and forgot it).
//!
//! * *Interrupted*: nothing new is begun there. What has begun is finished: a
//!   learner that was left half joined would keep etcd from helping others.
//! * *Approved*: how often the canary of the deploy plan was told to go on.
//! * *Forced to complete*: nobody waits for the step any more. It changes what
//!   plans wait for, and nothing about members: the pod is still brought up
//!   whenever that is possible, from then on by the recovery plan, and every rule
//!   about quorum and membership stays in force.

use std::collections::BTreeSet;
use std::fmt;

use etcd_launch::PodIndex;
use serde::{Deserialize, Serialize};

use crate::record::TargetId;
use crate::time::Timestamp;

/// Names a plan of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PlanName {
    /// Brings up every member for the first time.
    Deploy,
    /// Brings back members that were well once.
    Recovery,
    /// Restarts members that run with something else than the target wants.
    Update,
    /// Restarts every member.
    RollingRestart,
    /// Lets members go that the target does not want.
    Decommission,
    /// Defragments databases.
    Maintenance,
}

impl PlanName {
    /// All plans, in the order in which they are shown.
    pub const ALL: [PlanName; 6] = [
        PlanName::Deploy,
        PlanName::Recovery,
        PlanName::Update,
        PlanName::RollingRestart,
        PlanName::Decommission,
        PlanName::Maintenance,
    ];

    /// As the API and the CLI write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PlanName::Deploy => "deploy",
            PlanName::Recovery => "recovery",
            PlanName::Update => "update",
            PlanName::RollingRestart => "rolling-restart",
            PlanName::Decommission => "decommission",
            PlanName::Maintenance => "maintenance",
        }
    }

    /// The plan of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == name)
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a phase of a plan: `agents`, or a pod where each has a phase of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PhaseName(pub String);

impl PhaseName {
    /// The one phase of plans that go through all members.
    pub fn agents() -> Self {
        PhaseName("agents".to_owned())
    }

    /// The phase in which a plan handles a pod.
    pub fn of(plan: PlanName, pod: PodIndex) -> Self {
        match plan {
            PlanName::Deploy
            | PlanName::Update
            | PlanName::RollingRestart
            | PlanName::Maintenance => PhaseName::agents(),
            PlanName::Recovery | PlanName::Decommission => PhaseName(pod.to_string()),
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plan, a phase of one, or a step of a phase.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlanPart {
    /// Of which plan.
    pub plan: PlanName,
    /// None for the whole plan.
    pub phase: Option<PhaseName>,
    /// None for the whole phase. A step is named by its pod.
    pub step: Option<PodIndex>,
}

impl PlanPart {
    /// A whole plan.
    pub const fn plan(plan: PlanName) -> Self {
        PlanPart {
            plan,
            phase: None,
            step: None,
        }
    }

    /// A whole phase.
    pub const fn phase(plan: PlanName, phase: PhaseName) -> Self {
        PlanPart {
            plan,
            phase: Some(phase),
            step: None,
        }
    }

    /// One step.
    pub fn step(plan: PlanName, pod: PodIndex) -> Self {
        PlanPart {
            plan,
            phase: Some(PhaseName::of(plan, pod)),
            step: Some(pod),
        }
    }

    /// Whether the step of this pod lies in this part.
    pub fn contains(&self, plan: PlanName, pod: PodIndex) -> bool {
        self.plan == plan
            && self
                .phase
                .as_ref()
                .is_none_or(|phase| *phase == PhaseName::of(plan, pod))
            && self.step.is_none_or(|step| step == pod)
    }
}

impl fmt::Display for PlanPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan;
        match (&self.phase, self.step) {
            (None, _) => write!(f, "plan {plan}"),
            (Some(phase), None) => write!(f, "phase {phase} of plan {plan}"),
            (Some(_), Some(step)) => write!(f, "step {step} of plan {plan}"),
        }
    }
}

/// Somebody told a part of a plan to begin nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// Which part.
    pub at: PlanPart,
    /// Who.
    pub by: String,
    /// When.
    pub since: Timestamp,
}

/// A step that somebody forced to complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForcedStep {
    /// Of which plan.
    pub plan: PlanName,
    /// Which.
    pub pod: PodIndex,
}

/// How far an operator has let a canary go.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Approval {
    /// Not at all.
    #[default]
    Nothing,
    /// The first member may be brought up.
    First,
    /// All may.
    All,
}

/// Everything that operators have told plans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// At most one for each part, the newest last.
    pub interruptions: Vec<Interruption>,
    /// How far the deploy plan's canary may go. Without a canary it says nothing.
    #[serde(default)]
    pub approved: Approval,
    /// The target that may go on to the other members after the first.
    #[serde(default)]
    pub update_approved: Option<TargetId>,
    /// Steps that nobody waits for.
    #[serde(default)]
    pub forced: BTreeSet<ForcedStep>,
}

impl Overrides {
    /// The interruption of exactly this part.
    pub fn interruption(&self, at: &PlanPart) -> Option<&Interruption> {
        self.interruptions.iter().find(|found| found.at == *at)
    }

    /// What holds back the step of a pod: the widest interruption that it lies in.
    pub fn interruption_over(
        &self,
        plan: PlanName,
        pod: PodIndex,
    ) -> Option<&Interruption> {
        self.interruptions
            .iter()
            .filter(|found| found.at.contains(plan, pod))
            .min_by_key(|found| &found.at)
    }

    /// Whether nobody waits for this step.
    pub fn is_forced(&self, plan: PlanName, pod: PodIndex) -> bool {
        self.forced.contains(&ForcedStep { plan, pod })
    }

    /// Interrupts a part, unless it is interrupted already.
    pub(crate) fn interrupt(&mut self, at: &PlanPart, by: &str, since: Timestamp) {
        if self.interruption(at).is_none() {
            self.interruptions.push(Interruption {
                at: at.clone(),
                by: by.to_owned(),
                since,
            });
        }
    }

    /// Ends the interruption of exactly this part.
    pub(crate) fn resume(&mut self, at: &PlanPart) {
        self.interruptions.retain(|found| found.at != *at);
    }

    /// A step has completed by itself, so nothing that was said about it matters
    /// any more.
    pub(crate) fn step_completed(&mut self, plan: PlanName, pod: PodIndex) {
        self.forced.remove(&ForcedStep { plan, pod });
        self.resume(&PlanPart::step(plan, pod));
        if PhaseName::of(plan, pod) != PhaseName::agents() {
            // The phase goes with its one step.
            self.resume(&PlanPart::phase(plan, PhaseName::of(plan, pod)));
        }
    }

    /// Nothing of a plan is to be passed over any more.
    pub(crate) fn forget_forced(&mut self, plan: PlanName) {
        self.forced.retain(|step| step.plan != plan);
    }

    /// All of a plan has completed: a pause does not outlive what was paused.
    pub(crate) fn plan_completed(&mut self, plan: PlanName) {
        self.interruptions.retain(|found| found.at.plan != plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_contain_steps() {
        #[track_caller]
        fn check(part: &PlanPart, expected: &str) {
            let mut found = String::new();
            for plan in PlanName::ALL {
                for pod in [PodIndex(0), PodIndex(1)] {
                    if part.contains(plan, pod) {
                        found.push_str(&format!("{plan} {pod}, "));
                    }
                }
            }
            assert_eq!(found.trim_end_matches(", "), expected, "{part}");
        }
        use PlanName::{Deploy, Recovery};
        check(&PlanPart::plan(Deploy), "deploy etcd-0, deploy etcd-1");
        let agents = PlanPart::phase(Deploy, PhaseName::agents());
        check(&agents, "deploy etcd-0, deploy etcd-1");
        check(&PlanPart::step(Deploy, PodIndex(1)), "deploy etcd-1");
        check(
            &PlanPart::plan(Recovery),
            "recovery etcd-0, recovery etcd-1",
        );
        let phase = PlanPart::phase(Recovery, PhaseName("etcd-0".into()));
        check(&phase, "recovery etcd-0");
        check(&PlanPart::phase(Recovery, PhaseName::agents()), "");
    }

    #[test]
    fn the_widest_interruption_is_the_reason() {
        let mut overrides = Overrides::default();
        let step = PlanPart::step(PlanName::Deploy, PodIndex(1));
        let plan = PlanPart::plan(PlanName::Deploy);
        overrides.interrupt(&step, "alice", Timestamp(1));
        overrides.interrupt(&plan, "bob", Timestamp(2));
        overrides.interrupt(&plan, "carol", Timestamp(3));
        let over = |overrides: &Overrides, pod| {
            overrides
                .interruption_over(PlanName::Deploy, PodIndex(pod))
                .map(|found| found.by.clone())
        };
        assert_eq!(over(&overrides, 0).as_deref(), Some("bob"));
        assert_eq!(over(&overrides, 1).as_deref(), Some("bob"));
        overrides.resume(&plan);
        assert_eq!(over(&overrides, 0), None);
        assert_eq!(over(&overrides, 1).as_deref(), Some("alice"));
        overrides.step_completed(PlanName::Deploy, PodIndex(1));
        assert_eq!(overrides, Overrides::default());
    }
}
