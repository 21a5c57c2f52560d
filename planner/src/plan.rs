//! The order in which things are looked at.

use std::time::Duration;

use crate::alarms;
use crate::birth;
use crate::corruption;
use crate::decision::Decision;
use crate::decommissioning;
use crate::downgrading;
use crate::draft::Draft;
use crate::explain;
use crate::holding;
use crate::launching;
use crate::leaving;
use crate::maintenance;
use crate::membership;
use crate::model::Model;
use crate::observed::MesosLink;
use crate::offers;
use crate::own_places;
use crate::pausing;
use crate::placing;
use crate::reconciling;
use crate::recovery;
use crate::replacing;
use crate::resizing;
use crate::restarting;
use crate::rolling;
use crate::time::Turn;
use crate::waiting::WaitingReason;

/// The loop plans at least this often, so that a timer that was forgotten
/// somewhere costs seconds and not a night.
const PLAN_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// Looks at what is wanted, recorded, observed and in flight, and answers with
/// the next safe effects.
///
/// Level-triggered: it does not matter which event came last. Called twice on
/// the same input it gives the same answer; called when all is well it gives
/// nothing to do.
pub fn plan(model: &Model, turn: &Turn) -> Decision {
    let mut draft = Draft::new(model, turn);
    draft.wake_in(PLAN_AT_LEAST_EVERY);
    for index in draft.wanted_pods() {
        draft.pod_mut(index);
    }
    if let MesosLink::Disconnected { why } = &model.observed.mesos {
        // Without the master we do not know what runs where: only look.
        draft.service_waiting = Some(WaitingReason::NotConnected { why: why.clone() });
        explain::explain(&mut draft);
        return draft.finish();
    }
    reconciling::ask_about_tasks(&mut draft);
    reconciling::kill_strays(&mut draft);
    // What has happened to the pods, before anything is done about it.
    rolling::adopt_recipes(&mut draft);
    own_places::look_for_own_places(&mut draft);
    resizing::look_for_reserved(&mut draft);
    recovery::settle_ended_launches(&mut draft);
    recovery::note_healthy_pods(&mut draft);
    holding::forget_what_is_over(&mut draft);
    leaving::give_back_places(&mut draft);
    resizing::give_back_what_is_over(&mut draft);
    birth::look_for_quorum(&mut draft);
    birth::clear_failed_birth(&mut draft);
    // What is to be done, the most urgent first.
    membership::change_one_member(&mut draft);
    membership::by_hand::stop_former_members(&mut draft);
    alarms::disarm_those_of_former_members(&mut draft);
    downgrading::take_back_the_unwanted(&mut draft);
    corruption::exchange_corrupt_members(&mut draft);
    membership::stuck::exchange_stuck_learners(&mut draft);
    replacing::exchange_what_is_down_for_long(&mut draft);
    replacing::exchange_members(&mut draft);
    decommissioning::let_go_of_former_members(&mut draft);
    pausing::stop_what_changes(&mut draft);
    restarting::restart_one_pod(&mut draft);
    rolling::roll_one_pod(&mut draft);
    maintenance::maintain(&mut draft);
    alarms::explain_full_databases(&mut draft);
    placing::place_pods(&mut draft);
    replacing::make_way_for_successors(&mut draft);
    birth::fix_founders(&mut draft);
    launching::launch_pods(&mut draft);
    explain::explain(&mut draft);
    offers::settle(&mut draft);
    draft.finish()
}
