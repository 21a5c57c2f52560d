//! What the plans show that change what runs: update, rolling restart, decommission.

use etcd_launch::TrialVerdict;
use etcd_planner::trying::Trial;

use super::*;

/// The same service with another heartbeat interval wanted, which etcd would take.
fn changed(model: Model, update_strategy: DeployStrategy) -> Model {
    let mut model = untried(model, update_strategy);
    taken_by_all(&mut model);
    model
}

/// What is wanted was tried beside every member, whose etcds would take it.
pub(super) fn taken_by_all(model: &mut Model) {
    for index in model.record.pods.keys() {
        let trial = Trial {
            id: "t2/0".into(),
            first_asked: NOW,
            last_asked: NOW,
            verdict: Some(TrialVerdict::Taken),
        };
        model.observed.trials.insert(*index, trial);
    }
}

/// The same service with another heartbeat interval wanted.
pub(super) fn untried(mut model: Model, update_strategy: DeployStrategy) -> Model {
    let mut target = Box::new(model.target.clone());
    target.tuning.heartbeat_interval_ms = 150;
    target.update_strategy = update_strategy;
    let id = TargetId("t2".into());
    model.apply(Event::TargetChanged { id, target }, NOW);
    settle(&mut model);
    model
}

/// All have answered for a minute.
pub(super) fn settle(model: &mut Model) {
    let since = Timestamp(NOW.0 - 60_000);
    for index in model.record.pods.keys() {
        model.observed.answering_since.insert(*index, since);
        let pod = &model.record.pods[index];
        let launch = pod.launch.as_ref().unwrap();
        let seen = TaskSeen {
            task_id: launch.task_id.clone(),
            epoch: 1,
            state: TaskState::Running,
            at: since,
            words: "TASK_RUNNING".into(),
            report: None,
        };
        model.observed.tasks.insert(*index, seen);
    }
}

#[test]
fn an_update_goes_through_followers_first() {
    // etcd-0 leads.
    check(
        changed(service(Parallel, 3), Serial),
        "continue update",
        "continue update: Command has already been reported or completed
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: PENDING STARTING PENDING
        etcd-0: one_at_a_time
        etcd-1: stopping
        etcd-2: one_at_a_time",
    );
    check(
        changed(service(Parallel, 3), Serial),
        "interrupt update",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): WAITING
          agents (serial): PENDING: PENDING PENDING PENDING
        etcd-0: interrupted
        etcd-1: interrupted
        etcd-2: interrupted",
    );
    check(
        changed(service(Parallel, 3), Serial),
        "interrupt update agents etcd-1",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: PENDING WAITING STARTING
        etcd-0: one_at_a_time
        etcd-1: interrupted
        etcd-2: stopping",
    );
}

/// It cannot hear that it is to stop, and nothing else is begun meanwhile.
#[test]
fn an_update_names_an_agent_that_cannot_be_reached() {
    let mut model = changed(service(Parallel, 3), Serial);
    model.observed.probes.remove(&PodIndex(1));
    model.observed.answering_since.remove(&PodIndex(1));
    model.observed.tasks.get_mut(&PodIndex(1)).unwrap().state = TaskState::Unreachable;
    check(
        model,
        "forceComplete update agents etcd-0",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): STARTING
          etcd-1 (serial): STARTING: STARTING
        update (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: COMPLETE STARTING PENDING
        etcd-1: agent_unreachable
        etcd-2: one_at_a_time",
    );
}

/// What was passed over in one change is not passed over in the next.
#[test]
fn a_change_supersedes_the_last_one() {
    let mut model = changed(service(Parallel, 3), Serial);
    let command = PlanCommand {
        verb: PlanVerb::ForceComplete,
        part: part(&["update"]),
        by: "alice".into(),
    };
    model.apply(Event::PlanCommand(command), NOW);
    let mut target = Box::new(model.target.clone());
    target.tuning.heartbeat_interval_ms = 200;
    let id = TargetId("t3".into());
    model.apply(Event::TargetChanged { id, target }, NOW);
    check(
        model,
        "interrupt update",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): WAITING
          agents (serial): PENDING: PENDING PENDING PENDING
        etcd-0: interrupted
        etcd-1: interrupted
        etcd-2: interrupted",
    );
}

#[test]
fn an_update_waits_for_whoever_is_not_well() {
    let mut model = changed(service(Parallel, 3), Serial);
    model.observed.answering_since.insert(PodIndex(2), NOW);
    check(
        model,
        "forceComplete update agents etcd-0",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: COMPLETE PENDING PENDING
        etcd-1: others_not_well
        etcd-2: one_at_a_time",
    );
}

#[test]
fn the_canary_of_an_update() {
    let after_the_first = || {
        let mut model = changed(service(Parallel, 3), SerialCanary);
        let recipe = Some(model.target.recipe());
        model.record.pods.get_mut(&PodIndex(1)).unwrap().recipe = recipe;
        model
    };
    check(
        after_the_first(),
        "",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        etcd-0: awaits_approval
        etcd-2: awaits_approval",
    );
    check(
        after_the_first(),
        "continue update",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): IN_PROGRESS
          agents (serial-canary): IN_PROGRESS: PENDING COMPLETE STARTING
        etcd-0: one_at_a_time
        etcd-2: stopping",
    );
}

/// The update stops at the first member that fails, which goes back; nothing but
/// another target, or being told to, makes it try again.
#[test]
fn an_update_that_fails() {
    let failed = |went_back: bool| {
        let mut model = changed(service(Parallel, 3), Serial);
        let target = model.target_id.clone();
        model.record.pods.get_mut(&PodIndex(1)).unwrap().kept_back = Some(KeptBack {
            target,
            why: "it was not well within 600 s".into(),
            went_back,
        });
        model
    };
    check(
        failed(true),
        "forceComplete update agents etcd-2",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): ERROR
          agents (serial): ERROR: PENDING ERROR COMPLETE
        etcd-0: update_stopped",
    );
    check(
        failed(true),
        "restart update agents etcd-1",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: PENDING STARTING PENDING
        etcd-0: one_at_a_time
        etcd-1: stopping
        etcd-2: one_at_a_time",
    );
}

#[test]
fn a_rolling_restart_is_started_and_stopped() {
    let settled = || {
        let mut model = service(Parallel, 3);
        settle(&mut model);
        model
    };
    let idle = "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        rolling-restart (serial): WAITING
          agents (serial): WAITING: PENDING PENDING PENDING";
    check(settled(), "stop rolling-restart", idle);
    check(
        settled(),
        "start rolling-restart",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        rolling-restart (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: PENDING STARTING PENDING
        etcd-0: one_at_a_time
        etcd-1: stopping
        etcd-2: one_at_a_time",
    );
    check(
        settled(),
        "start rolling-restart\nstop rolling-restart",
        idle,
    );
}

#[test]
fn members_that_are_not_wanted_leave_the_last_first() {
    let smaller = || {
        let mut model = service(Parallel, 3);
        let mut target = Box::new(model.target.clone());
        target.members = 1;
        let id = TargetId("t2".into());
        model.apply(Event::TargetChanged { id, target }, NOW);
        settle(&mut model);
        model
    };
    check(
        smaller(),
        "continue decommission",
        "continue decommission: Command has already been reported or completed
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE
        decommission (serial): PENDING
          etcd-2 (serial): PENDING: PENDING
          etcd-1 (serial): PENDING: PENDING
        etcd-1: one_at_a_time
        etcd-2: removing_lost_member",
    );
    check(
        smaller(),
        "interrupt decommission",
        "deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE
        decommission (serial): WAITING
          etcd-2 (serial): PENDING: PENDING
          etcd-1 (serial): PENDING: PENDING
        etcd-1: one_at_a_time
        etcd-2: interrupted",
    );
}
