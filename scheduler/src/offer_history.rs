//! What became of offers lately, for `/v2/debug/offers`.
//!
//! The event loop notes, the API reads. Counts go on for as long as the
//! scheduler runs; of outcomes, the newest [`OUTCOMES_KEPT`] are kept.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_api::debug::{DebugOffers, OfferOutcome, PassOrFail};
use etcd_planner::Timestamp;
use etcd_planner::decision::{self, Judged};

/// The SDK's number: a few rounds of a small Mesos cluster.
const OUTCOMES_KEPT: usize = 100;

/// Reasons that are counted by themselves. There are about ten kinds of them
/// and one for each placement constraint; their texts change with the target,
/// which changes with a restart.
const REASONS_COUNTED: usize = 256;

/// Agents that are counted by themselves: more than a Mesos cluster has, and a
/// bound for a scheduler that runs for years while agents come and go.
const AGENTS_COUNTED: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub struct OfferHistory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    accepted: u64,
    rejected: u64,
    reasons: BTreeMap<String, u64>,
    agents: BTreeMap<String, u64>,
    outcomes: VecDeque<OfferOutcome>,
}

impl OfferHistory {
    /// Takes in what one turn said of offers.
    pub fn note(&self, judged: &Judged, at: Timestamp) {
        if judged.outcomes.is_empty() && judged.reasons.is_empty() {
            return;
        }
        let mut kept = self.kept();
        for outcome in &judged.outcomes {
            kept.accepted += u64::from(outcome.taken);
        }
        // Once for each pod and offer: the same offers stand in both counts.
        kept.rejected += judged
            .reasons
            .values()
            .map(|count| *count as u64)
            .sum::<u64>();
        add_up(&mut kept.reasons, &judged.reasons, REASONS_COUNTED);
        add_up(&mut kept.agents, &judged.refused_agents, AGENTS_COUNTED);
        // The ones before would be pushed out again at once.
        let newest = judged.outcomes.len().saturating_sub(OUTCOMES_KEPT);
        for outcome in &judged.outcomes[newest..] {
            if kept.outcomes.len() == OUTCOMES_KEPT {
                kept.outcomes.pop_front();
            }
            kept.outcomes.push_back(shown(outcome, at));
        }
    }

    /// Everything, as the API shows it.
    pub fn shown(&self) -> DebugOffers {
        let kept = self.kept();
        DebugOffers {
            accepted_count: kept.accepted,
            rejected_count: kept.rejected,
            failure_reasons: kept.reasons.clone(),
            rejected_agents: kept.agents.clone(),
            offers: kept.outcomes.iter().cloned().collect(),
        }
    }

    /// Nothing here can be left half done that would matter.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds counts by name; new names only while there is room.
fn add_up<Name: Display>(
    counts: &mut BTreeMap<String, u64>,
    more: &BTreeMap<Name, usize>,
    room: usize,
) {
    for (name, count) in more {
        let name = name.to_string();
        if let Some(known) = counts.get_mut(&name) {
            *known += *count as u64;
        } else if counts.len() < room {
            counts.insert(name, *count as u64);
        }
    }
}

fn shown(outcome: &decision::OfferOutcome, at: Timestamp) -> OfferOutcome {
    let (verdict, word) = if outcome.taken {
        (PassOrFail::Pass, "PASS")
    } else {
        (PassOrFail::Fail, "FAIL")
    };
    OfferOutcome {
        timestamp: at.0,
        pod_instance_name: outcome.pod.to_string(),
        outcome: verdict,
        explanation: outcome
            .why
            .iter()
            .map(|why| format!("{word}: {why}"))
            .collect(),
        offer: format!("agent {} on {}", outcome.agent_id, outcome.hostname),
    }
}

#[cfg(test)]
mod tests {
    use etcd_launch::PodIndex;
    use etcd_planner::offer::{AgentId, Hostname, MilliCpus};
    use etcd_planner::waiting::OfferRefusal;

    use super::*;

    /// One pod, these agents with too few cpus, and perhaps one that is taken.
    fn judged(refused: std::ops::Range<usize>, taken: bool) -> Judged {
        let agent = |number: usize| AgentId(format!("agent-{number}"));
        let refusal = OfferRefusal::Cpus {
            wanted: MilliCpus(1100),
        };
        let outcome = |number: usize, taken: bool| decision::OfferOutcome {
            pod: PodIndex(1),
            agent_id: agent(number),
            hostname: Hostname(format!("host-{number}")),
            taken,
            why: vec![if taken { "the best" } else { "too small" }.to_owned()],
        };
        Judged {
            reasons: BTreeMap::from([(refusal, refused.len())]),
            refused_agents: refused.clone().map(|number| (agent(number), 1)).collect(),
            outcomes: refused
                .map(|number| outcome(number, false))
                .chain(taken.then(|| outcome(7, true)))
                .collect(),
        }
    }

    #[test]
    fn counts_go_on_and_outcomes_are_bounded() {
        let history = OfferHistory::default();
        history.note(&Judged::default(), Timestamp(1));
        assert_eq!(history.shown(), DebugOffers::default());
        history.note(&judged(0..2, true), Timestamp(2));
        history.note(&judged(0..1000, false), Timestamp(3));
        let shown = history.shown();
        assert_eq!((shown.accepted_count, shown.rejected_count), (1, 1002));
        assert_eq!(
            shown.failure_reasons,
            BTreeMap::from([("fewer than 1.1 cpus".to_owned(), 1002)])
        );
        assert_eq!(shown.rejected_agents.len(), 1000);
        assert_eq!(shown.rejected_agents["agent-1"], 2);
        assert_eq!(shown.offers.len(), OUTCOMES_KEPT);
        assert_eq!(
            shown.offers[OUTCOMES_KEPT - 1],
            OfferOutcome {
                timestamp: 3,
                pod_instance_name: "etcd-1".into(),
                outcome: PassOrFail::Fail,
                explanation: vec!["FAIL: too small".into()],
                offer: "agent agent-999 on host-999".into(),
            }
        );
        history.note(&judged(0..0, true), Timestamp(4));
        let newest = history.shown().offers.pop().unwrap();
        assert_eq!(newest.outcome, PassOrFail::Pass);
        assert_eq!(newest.explanation, ["PASS: the best"]);
    }

    #[test]
    fn names_are_bounded() {
        let mut counts = BTreeMap::new();
        let more = (0..10).map(|number| (number, 1)).collect();
        add_up(&mut counts, &more, 4);
        add_up(&mut counts, &more, 4);
        assert_eq!(counts.len(), 4);
        assert!(counts.values().all(|count| *count == 2));
    }
}
