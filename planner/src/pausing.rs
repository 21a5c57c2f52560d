//! Members that an operator has paused: their containers and volumes stay, and etcd
//! does not run, so that somebody can work inside.
//!
//! A pause is a restart in another form. The member is stopped by the rules of every
//! stop, and its task is launched again without etcd; so is the way back. The pause
//! is part of the record and outlives the scheduler.

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::model::Model;
use crate::quorum::{self, StopWouldCostQuorum};
use crate::record::{Cluster, StopCause};
use crate::restarting;
use crate::waiting::WaitingReason;

/// Why a member is not paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseRefusal {
    /// All founders are needed for the cluster to form.
    #[error("no cluster has formed yet, and it needs every founder")]
    NotFormed,
    /// The others could not go on without it.
    #[error(
        "{healthy_without} of {voters} voters are in good health without it, and a \
         majority is needed; bring back the others first"
    )]
    WouldCostQuorum {
        /// Voters in good health without it.
        healthy_without: usize,
        /// All voters.
        voters: usize,
    },
    /// It is about to be stopped for good.
    #[error("it is leaving the cluster")]
    Leaving,
}

/// Whether a pod may be paused now. Asked once more before it is stopped.
///
/// # Errors
///
/// Why not.
pub fn judge(model: &Model, index: PodIndex) -> Result<(), PauseRefusal> {
    let record = &model.record;
    if index.is_leaving() {
        return Err(PauseRefusal::Leaving);
    }
    if !matches!(record.cluster, Cluster::Formed(_)) {
        return Err(PauseRefusal::NotFormed);
    }
    let is_voter = |pod: &crate::record::Pod| pod.membership.is_voter();
    if !record.pods.get(&index).is_some_and(is_voter) {
        return Ok(());
    }
    quorum::may_stop(model, record, index).map_err(|cost| {
        let StopWouldCostQuorum {
            healthy_without,
            voters,
        } = cost;
        PauseRefusal::WouldCostQuorum {
            healthy_without,
            voters,
        }
    })
}

/// Stops what runs and is to be paused, and what is paused and is to run.
pub(crate) fn stop_what_changes(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        let pod = draft.pod(index);
        let wanted = pod.paused.is_some();
        let running = pod.launch.as_ref().filter(|launch| launch.end.is_none());
        if running.is_some_and(|launch| launch.paused != wanted) {
            restarting::stop(draft, index, StopCause::Pause);
        }
    }
}

/// Why a pod waits that is paused.
pub(crate) fn reason(draft: &Draft<'_>, index: PodIndex) -> Option<WaitingReason> {
    let pod = draft.pod(index);
    let by = pod.paused.as_ref()?.by.clone();
    let launch = pod.launch.as_ref()?;
    (launch.paused && launch.end.is_none()).then_some(WaitingReason::Paused { by })
}
