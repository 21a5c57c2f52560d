//! What operators ask for, and what plan commands do to a round.

use std::collections::BTreeMap;

use etcd_launch::PodIndex;

use super::{FreeSpace, Round, Stage, Step, is_formed};
use crate::model::Model;
use crate::overrides::{ForcedStep, PlanName, PlanPart};
use crate::quorum;
use crate::record::{Failures, Record};
use crate::time::Timestamp;

/// Somebody wants databases defragmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceRequest {
    /// Of this pod alone; of all members if none is named.
    pub pod: Option<PodIndex>,
    /// Old revisions are to be forgotten before, except so many of the newest, and
    /// the alarm of a full database taken back after.
    pub keep_revisions: Option<u64>,
    /// Who.
    pub by: String,
}

/// Why nothing is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceRefusal {
    /// There is nothing yet that could be looked after.
    #[error("no cluster has formed yet")]
    NotFormed,
    /// The pod's member has no vote, or the pod none.
    #[error("{0} is no voter of the cluster")]
    NoVoter(PodIndex),
    /// An alarm is taken back only when every database has room.
    #[error("space is freed in all members or in none; leave out the pod")]
    SpaceIsOfAll,
}

/// Whether a round may be asked for now.
///
/// # Errors
///
/// Why not.
pub fn judge(
    model: &Model,
    request: &MaintenanceRequest,
) -> Result<(), MaintenanceRefusal> {
    if !is_formed(&model.record) {
        return Err(MaintenanceRefusal::NotFormed);
    }
    match request.pod {
        Some(_) if request.keep_revisions.is_some() => {
            Err(MaintenanceRefusal::SpaceIsOfAll)
        }
        Some(pod) if !quorum::voters(&model.record).contains(&pod) => {
            Err(MaintenanceRefusal::NoVoter(pod))
        }
        _ => Ok(()),
    }
}

/// Begins a round, or adds to the one that is under way. What was begun with a member
/// is finished in any case.
pub(crate) fn ask(record: &mut Record, request: &MaintenanceRequest, now: Timestamp) {
    let voters = quorum::voters(record);
    let asked = voters
        .into_iter()
        .filter(|voter| request.pod.is_none_or(|pod| pod == *voter));
    let mut steps: BTreeMap<PodIndex, Step> =
        asked.map(|index| (index, Step::default())).collect();
    let mut space = request.keep_revisions.map(|keep_revisions| FreeSpace {
        keep_revisions,
        compacted: None,
        failures: Failures::default(),
    });
    for index in steps.keys() {
        record.overrides.forced.remove(&ForcedStep {
            plan: PlanName::Maintenance,
            pod: *index,
        });
    }
    if let Some(open) = record.maintenance.round.take() {
        // One that has ended may have been given up while etcd was still at work.
        let is_open = open.end.is_none();
        for (index, step) in open.steps {
            let is_begun = matches!(step.stage, Stage::Begun { .. });
            if is_begun {
                steps.insert(index, step);
            } else if is_open {
                steps.entry(index).or_insert(step);
            }
        }
        space = space.or(open.space.filter(|_| is_open));
    }
    record.maintenance.round = Some(Round {
        since: now,
        by: request.by.clone(),
        space,
        steps,
        end: None,
    });
}

/// Does a part of the newest round again, or all of it.
pub(crate) fn begin_anew(record: &mut Record, part: &PlanPart, by: &str, now: Timestamp) {
    let last = record.maintenance.round.as_ref();
    let keep_revisions = last
        .and_then(|round| round.space.as_ref())
        .map(|space| space.keep_revisions)
        .filter(|_| part.step.is_none());
    let whole_round = last.filter(|_| part.step.is_none());
    let only: Option<Vec<PodIndex>> =
        whole_round.map(|round| round.steps.keys().copied().collect());
    let request = MaintenanceRequest {
        pod: part.step,
        keep_revisions,
        by: by.to_owned(),
    };
    ask(record, &request, now);
    if let (Some(only), Some(round)) = (only, &mut record.maintenance.round) {
        round.steps.retain(|index, _| only.contains(index));
    }
}

/// Ends the round after the member whose turn it is.
pub(crate) fn stop(record: &mut Record) {
    let Some(round) = record.maintenance.open_mut() else {
        return;
    };
    round
        .steps
        .retain(|_, step| !matches!(step.stage, Stage::Pending));
    round.space = None;
}
