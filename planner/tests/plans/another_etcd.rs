//! What has to be before the first member gets another etcd, and who gets which.

use etcd_launch::{FORMAT, Phase, PodGeneration, Report};
use etcd_planner::effect::{Effect, EffectId, InFlight, Outcome};
use etcd_planner::programs::{EtcdVersion, Programs};
use etcd_planner::record::SnapshotTaken;

use super::changes::{settle, taken_by_all};
use super::*;

fn etcd(version: &str) -> Programs {
    let sum = version.bytes().map(|byte| format!("{byte:02x}"));
    let sum = format!("{:0>64}", sum.collect::<String>());
    let mut programs = target(Parallel).program;
    programs
        .checksums
        .insert("etcd".into(), sum.parse().unwrap());
    programs.version = EtcdVersion::parse(version);
    programs
}

/// Members run these versions, the first one leads, and another one is wanted.
fn wanting(version: &str, running: [&str; 3]) -> Model {
    let mut model = service(Parallel, 3);
    for (index, version) in (0..).map(PodIndex).zip(running) {
        let pod = model.record.pods.get_mut(&index).unwrap();
        pod.recipe.as_mut().unwrap().program = etcd(version);
        says(&mut model, index, |answer| answer.version = version.into());
    }
    let mut target = Box::new(model.target.clone());
    target.program = etcd(version);
    let id = TargetId("t2".into());
    model.apply(Event::TargetChanged { id, target }, NOW);
    settle(&mut model);
    taken_by_all(&mut model);
    model
}

const OLD: [&str; 3] = ["3.4.23"; 3];

fn says(model: &mut Model, index: PodIndex, change: impl FnOnce(&mut MemberAnswer)) {
    let probe = model.observed.probes.get_mut(&index).unwrap();
    change(probe.answer.as_mut().unwrap());
}

fn snapshot_at(model: &mut Model, at: Timestamp) {
    let taken = SnapshotTaken {
        target: model.target_id.clone(),
        path: "snapshots/1.db".into(),
        revision: 7,
        bytes: 20_480,
        at,
    };
    model.apply(Event::SnapshotTaken(taken), NOW);
}

/// The first effect of a turn that is about etcd or a task, and why pods wait.
#[track_caller]
fn check_turn(model: &Model, expected: &str) {
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let decision = plan(model, &turn);
    let mut found = String::new();
    let shown = |effect: &&Effect| {
        matches!(
            effect,
            Effect::TakeSnapshot { .. }
                | Effect::EnableDowngrade { .. }
                | Effect::CancelDowngrade
                | Effect::Kill { .. }
                | Effect::MoveLeader { .. }
        )
    };
    for effect in decision.effects.iter().filter(shown) {
        writeln!(found, "{effect}").unwrap();
    }
    for (pod, reason) in &decision.waiting {
        if reason.code() != "one_at_a_time" {
            writeln!(found, "{pod}: {reason}").unwrap();
        }
    }
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(found.trim(), expected.join("\n").trim());
}

const BEGUN: &str = "kill etcd-1\netcd-1: etcd is stopping";

#[test]
fn a_snapshot_comes_first() {
    let mut model = wanting("3.5.30", OLD);
    let wanted = "take a snapshot
        etcd-1: before the first member gets another etcd: a snapshot of all data is to \
        be taken";
    check_turn(&model, wanted);
    let effect = Effect::TakeSnapshot {
        target: model.target_id.clone(),
    };
    let in_flight = InFlight { effect, since: NOW };
    model.in_flight.insert(EffectId(90), in_flight);
    check_turn(
        &model,
        "etcd-1: before the first member gets another etcd: a snapshot of all data is being \
         taken",
    );
    let outcome = Outcome::Failed {
        why: "etcd-2: no space left on device".into(),
    };
    let id = EffectId(90);
    model.apply(Event::EffectDone { id, outcome }, NOW);
    check_turn(
        &model,
        "etcd-1: before the first member gets another etcd: no snapshot of all data could \
         be taken: etcd-2: no space left on device",
    );
    let long_ago = Timestamp(NOW.0 - 15_000);
    model.observed.snapshot_failed.as_mut().unwrap().0 = long_ago;
    check_turn(&model, wanted);
    snapshot_at(&mut model, Timestamp(NOW.0 - 601_000));
    check_turn(&model, wanted);
    snapshot_at(&mut model, Timestamp(NOW.0 - 600_000));
    check_turn(&model, BEGUN);
    // One that was taken before another change.
    model.record.snapshot.as_mut().unwrap().target = TargetId("t1".into());
    check_turn(&model, wanted);
}

#[test]
fn everything_is_well_first() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Model), expected: &str) {
        let mut model = wanting("3.5.30", OLD);
        snapshot_at(&mut model, NOW);
        change(&mut model);
        check_turn(&model, expected);
    }
    check(|_| {}, BEGUN);
    check(
        |model| {
            let alarm = "memberID:3 alarm:NOSPACE ".to_owned();
            says(model, PodIndex(2), |answer| answer.errors.push(alarm));
        },
        "etcd-1: before the first member gets another etcd: the alarm NOSPACE of member \
         3 is raised",
    );
    check(
        |model| {
            for index in (0..3).map(PodIndex) {
                says(model, index, |answer| answer.members[1].is_learner = true);
            }
        },
        "etcd-1: before the first member gets another etcd: member 2 is a \
         learner",
    );
    check(
        |model| says(model, PodIndex(0), |it| it.version = "3.4.20".into()),
        "etcd-1: before the first member gets another etcd: members say that they run \
         3.4.20 and 3.4.23",
    );
    // One that is not well would come first.
    check(
        |model| says(model, PodIndex(2), |answer| answer.leader = None),
        "etcd-2: before the first member gets another etcd: etcd-2 has to be in good health",
    );
}

#[test]
fn a_change_that_was_begun_goes_on() {
    check_turn(&wanting("3.5.30", ["3.5.30", "3.4.23", "3.4.23"]), BEGUN);
    check_turn(
        &wanting("3.4.23", ["3.4.23", "3.4.23", "3.5.30"]),
        "kill etcd-2\netcd-2: etcd is stopping",
    );
    // The third one has to begin anew, but may be what was left of the second.
    let mut left = wanting("3.5.30", ["3.4.23", "3.4.23", "3.5.16"]);
    says(&mut left, PodIndex(2), |answer| answer.leader = None);
    snapshot_at(&mut left, NOW);
    check_turn(&left, "kill etcd-2\netcd-2: etcd is stopping");
}

#[test]
fn what_members_run_decides_and_not_what_they_were_given() {
    let refused = "etcd-1: it does not get the etcd of the target: ";
    let mut model = wanting("3.6.14", OLD);
    check_turn(
        &model,
        &format!(
            "{refused}etcd goes up one minor version at a time, and a member runs 3.4.23: \
             take the newest 3.5 first, then 3.6.14"
        ),
    );
    for index in (0..3).map(PodIndex) {
        says(&mut model, index, |answer| answer.version = "3.5.30".into());
    }
    snapshot_at(&mut model, NOW);
    check_turn(&model, BEGUN);
    let mut model = wanting("3.4.23", ["3.4.23"; 3]);
    // Somebody has put another one in its place.
    model.target.program = etcd("3.4.20");
    for index in (0..3).map(PodIndex) {
        says(&mut model, index, |answer| answer.version = "3.5.30".into());
    }
    check_turn(
        &model,
        &format!(
            "{refused}all members run 3.5.30 or later, and etcd cannot go back to 3.4: its \
             downgrade came with 3.6; to go back, restore a snapshot of that time into a \
             new service"
        ),
    );
}

/// Another executor, or another tunable, is no other etcd.
#[test]
fn other_changes_need_no_snapshot() {
    let mut model = wanting("3.4.23", OLD);
    model.target.tuning.heartbeat_interval_ms = 150;
    model.target.program.executor = Some(etcd_planner::programs::ExecutorProgram {
        sha256: "e".repeat(64).parse().unwrap(),
        uri: None,
    });
    check_turn(&model, BEGUN);
}

/// A bug of etcd may be what takes the quorum, and another patch what brings it back.
#[test]
fn members_that_end_again_and_again_get_a_patch() {
    #[track_caller]
    fn check(wanted: &str, down: &[u16], expected: &str) {
        let mut model = wanting(wanted, ["3.5.29"; 3]);
        for index in down.iter().copied().map(PodIndex) {
            model.observed.probes.remove(&index);
            let crashed = Phase::Crashed {
                exit: "exit status 2".into(),
                last_log_lines: Vec::new(),
                crashes: 3,
                restart_in_ms: 2_000,
            };
            model.observed.tasks.get_mut(&index).unwrap().report = Some(Report {
                format: FORMAT,
                pod: index,
                generation: PodGeneration::default(),
                phase: crashed,
            });
        }
        check_turn(&model, expected);
    }
    check("3.5.30", &[1, 2], "kill etcd-1\netcd-1: etcd is stopping");
    // The others have quorum, and a copy of all data comes first.
    check(
        "3.5.30",
        &[2],
        "take a snapshot
        etcd-2: before the first member gets another etcd: a snapshot of all data is to be \
        taken",
    );
    check(
        "3.6.14",
        &[1, 2],
        "etcd-1: before the first member gets another etcd: etcd-1 has to be in good health",
    );
}

/// One that cannot become well with what it has gets what else is wanted at once.
#[test]
fn a_member_that_is_not_well_is_not_kept_from_the_rest() {
    let mut model = wanting("3.5.30", OLD);
    says(&mut model, PodIndex(2), |answer| answer.leader = None);
    model.target.tuning.heartbeat_interval_ms = 150;
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let record = plan(&model, &turn).record;
    let recipe = record.pods[&PodIndex(2)].recipe.clone().unwrap();
    assert_eq!(recipe.tuning, model.target.tuning);
    assert_eq!(recipe.program, etcd("3.4.23"));
}

/// The member that failed goes back to its own program, unless that is gone, or the
/// cluster may have gone on without it.
#[test]
fn going_back_takes_a_program() {
    let failed = |at_hand: bool, others: &str| {
        let mut model = wanting("3.5.30", [others, "3.4.23", others]);
        if !at_hand {
            let why = "no copy".to_owned();
            model.observed.not_at_hand.push((etcd("3.4.23"), why));
        }
        let recipe = Some(model.target.recipe());
        let pod = model.record.pods.get_mut(&PodIndex(1)).unwrap();
        let from = std::mem::replace(&mut pod.recipe, recipe);
        pod.generation = pod.generation.next();
        pod.launch.as_mut().unwrap().generation = pod.generation;
        pod.failures.in_a_row = 3;
        pod.updating = Some(etcd_planner::record::Updating {
            since: Timestamp(1),
            generation: etcd_launch::PodGeneration::default(),
            from,
            needs: None,
        });
        let turn = Turn {
            now: NOW,
            entropy: 7,
            identify_founders: |_, _| Err("nobody is to be founded here".into()),
        };
        says(&mut model, PodIndex(1), |answer| answer.leader = None);
        let record = plan(&model, &turn).record;
        let pod = &record.pods[&PodIndex(1)];
        let version = pod.recipe.as_ref().unwrap().program.version.unwrap();
        let went_back = pod.kept_back.as_ref().unwrap().went_back;
        (version.to_string(), went_back)
    };
    assert_eq!(failed(true, "3.4.23"), ("3.4.23".into(), true));
    assert_eq!(failed(false, "3.4.23"), ("3.5.30".into(), false));
    assert_eq!(failed(true, "3.5.30"), ("3.5.30".into(), false));
}

const NEW: [&str; 3] = ["3.6.14"; 3];

/// What all members say of the version of their data, and of a downgrade.
fn tell_versions(model: &mut Model, data: &str, downgrade_to: Option<&str>) {
    for index in (0..3).map(PodIndex) {
        says(model, index, |answer| {
            answer.storage_version = EtcdVersion::parse(data);
            answer.downgrade_to = downgrade_to.and_then(EtcdVersion::parse);
        });
    }
}

/// Members of 3.6 are to get a 3.5, and a snapshot has been taken.
fn going_back() -> Model {
    let mut model = wanting("3.5.30", NEW);
    tell_versions(&mut model, "3.6.0", None);
    snapshot_at(&mut model, NOW);
    model
}

#[test]
fn etcd_makes_its_data_ready_before_members_go_back() {
    let before = "before the first member gets another etcd:";
    let mut model = going_back();
    // The copy of all data comes before any change of it.
    model.record.snapshot = None;
    check_turn(
        &model,
        &format!(
            "take a snapshot\netcd-1: {before} a snapshot of all data is to be taken"
        ),
    );
    snapshot_at(&mut model, NOW);
    let enable = format!(
        "enable the downgrade to 3.5\netcd-1: {before} etcd is to be asked to enable the \
         downgrade to 3.5"
    );
    check_turn(&model, &enable);
    let effect = Effect::EnableDowngrade {
        to: EtcdVersion::new(3, 5, 30),
    };
    let in_flight = InFlight { effect, since: NOW };
    model.in_flight.insert(EffectId(90), in_flight);
    check_turn(
        &model,
        &format!("etcd-1: {before} etcd is asked to enable the downgrade to 3.5"),
    );
    let mut refused = model.clone();
    let outcome = Outcome::Failed {
        why: "no quorum".into(),
    };
    let id = EffectId(90);
    refused.apply(Event::EffectDone { id, outcome }, NOW);
    let why = format!(
        "etcd-1: {before} etcd was asked to enable the downgrade to 3.5, and did not: no \
         quorum"
    );
    check_turn(&refused, &why);
    let long_ago = Timestamp(NOW.0 - 15_000);
    refused.observed.downgrade_refused.as_mut().unwrap().0 = long_ago;
    check_turn(&refused, &enable);

    let id = EffectId(90);
    let outcome = Outcome::Done;
    model.apply(Event::EffectDone { id, outcome }, NOW);
    // What members said before etcd had answered is no reason to ask again.
    check_turn(
        &model,
        &format!("etcd-1: {before} the member list is not known"),
    );
    model.observed.membership_asked = None;
    tell_versions(&mut model, "3.6.0", Some("3.5.0"));
    let behind =
        |pod: &str| format!("etcd-1: {before} {pod} makes its data ready for etcd 3.5");
    check_turn(&model, &behind("etcd-0"));
    tell_versions(&mut model, "3.5.0", Some("3.5.0"));
    // It does not know yet.
    says(&mut model, PodIndex(2), |answer| {
        answer.storage_version = None
    });
    check_turn(&model, &behind("etcd-2"));
    tell_versions(&mut model, "3.5.0", Some("3.5.0"));
    check_turn(&model, BEGUN);
}

/// The first one has gone back. Data that is not ready keeps the others from it, whoever
/// has interfered.
#[test]
fn data_of_a_newer_version_keeps_an_older_etcd_away() {
    let mut model = wanting("3.5.30", ["3.5.30", "3.6.14", "3.6.14"]);
    tell_versions(&mut model, "3.5.0", None);
    check_turn(&model, BEGUN);
    tell_versions(&mut model, "3.6.0", None);
    check_turn(
        &model,
        "etcd-1: before the first member gets another etcd: the data of etcd-1 is of etcd \
         3.6, and not of 3.5 yet",
    );
}

#[test]
fn a_downgrade_that_nobody_wants_is_taken_back() {
    #[track_caller]
    fn check(running: [&str; 3], downgrade_to: Option<&str>, expected: &str) {
        let mut model = wanting("3.6.14", running);
        tell_versions(&mut model, "3.5.0", downgrade_to);
        check_turn(&model, expected);
    }
    check(NEW, None, "");
    check(NEW, Some("3.5.0"), "cancel the downgrade");
    // Somebody is launched with the older etcd yet.
    let half = ["3.6.14", "3.5.30", "3.6.14"];
    check(half, None, BEGUN);
    check(half, Some("3.5.0"), BEGUN);
    // One that is wanted.
    let mut model = going_back();
    tell_versions(&mut model, "3.5.0", Some("3.5.0"));
    check_turn(&model, BEGUN);
}
