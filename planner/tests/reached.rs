//! How far members are known to have come: what of their answers is believed, when
//! it is recorded, who is told, and what an operator reads when data is older.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "placing/agents.rs"]
#[expect(dead_code, reason = "it serves the tests of placing, too")]
mod agents;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_launch::{
    ClusterId, FORMAT, LaunchSpec, LogPosition, MemberId, Phase, PodIndex, Refusal,
    Report,
};
use etcd_planner::effect::Operation;
use etcd_planner::event::{TaskStatus, TaskVerdict};
use etcd_planner::observed::{MemberAnswer, Probe, TaskEnd};
use etcd_planner::offer::{OfferId, ReservedBundle};
use etcd_planner::record::EndKind;
use etcd_planner::{Decision, Effect, Event, Model, Target, Timestamp};

use agents::{T0, decide, offer, subscribed, target};

const POD: PodIndex = PodIndex(0);

/// A single founder, placed and launched; what is decided is carried out.
fn launched() -> Model {
    let target = Target {
        members: 1,
        ..target("")
    };
    let mut model = subscribed(target);
    model.apply(Event::Offers(vec![offer("a")]), T0);
    let _ = carry_out(&mut model, T0);
    assert!(model.record.pods[&POD].launch.is_some());
    model
}

fn carry_out(model: &mut Model, now: Timestamp) -> Decision {
    let decision = decide(model, now);
    for (id, _) in model.absorb(decision.clone(), now) {
        let outcome = etcd_planner::Outcome::Done;
        model.apply(Event::EffectDone { id, outcome }, now);
    }
    decision
}

fn after(seconds: u64) -> Timestamp {
    T0.plus(Duration::from_secs(seconds))
}

fn answer(member: u64, term: u64, index: u64, linearizable: bool) -> MemberAnswer {
    MemberAnswer {
        cluster_id: ClusterId(1),
        member_id: MemberId(member),
        version: "3.5.30".into(),
        storage_version: None,
        downgrade_to: None,
        leader: Some(MemberId(member)),
        raft_term: term,
        raft_index: index,
        raft_applied_index: index,
        db_size_bytes: 1,
        db_size_in_use_bytes: 1,
        is_learner: false,
        errors: Vec::new(),
        linearizable,
        members: Vec::new(),
    }
}

fn probed(model: &mut Model, seconds: u64, answer: MemberAnswer) {
    let at = after(seconds);
    let probe = Probe {
        at,
        answer: Ok(answer),
    };
    model.apply(Event::Probed { pod: POD, probe }, at);
}

fn ended(model: &mut Model, seconds: u64, refusal: Option<Refusal>) {
    let pod = &model.record.pods[&POD];
    let launch = pod.launch.clone().unwrap();
    let report = refusal.map(|refusal| Report {
        format: FORMAT,
        pod: POD,
        generation: pod.generation,
        phase: Phase::Refused(refusal),
    });
    let status = TaskStatus {
        task_id: launch.task_id,
        agent_id: Some(launch.agent_id),
        verdict: TaskVerdict::Over(TaskEnd::Failed),
        words: "TASK_FAILED: so said the executor".into(),
        report,
    };
    model.apply(Event::TaskStatus(status), after(seconds));
}

fn recorded(model: &Model) -> String {
    model.record.pods[&POD]
        .reached()
        .map_or("nothing".into(), |position| position.to_string())
}

/// Answers (seconds, term, index) one after the other, and what is recorded then.
#[track_caller]
fn check(answers: &[(u64, u64, u64)], expected: &str, expected_at_end: &str) {
    let mut model = launched();
    for (seconds, term, index) in answers {
        probed(&mut model, *seconds, answer(1, *term, *index, true));
    }
    assert_eq!(recorded(&model), expected, "{answers:?}");
    ended(&mut model, 100, None);
    assert_eq!(recorded(&model), expected_at_end, "{answers:?}, at the end");
}

#[test]
fn what_is_recorded_and_when() {
    check(&[], "nothing", "nothing");
    check(&[(1, 2, 10)], "term 2 index 10", "term 2 index 10");
    // Not for every entry, but all of it when the launch ends.
    check(
        &[(1, 2, 10), (2, 2, 20)],
        "term 2 index 10",
        "term 2 index 20",
    );
    check(
        &[(1, 2, 10), (11, 2, 20)],
        "term 2 index 20",
        "term 2 index 20",
    );
    check(
        &[(1, 2, 10), (11, 2, 20), (12, 2, 30)],
        "term 2 index 20",
        "term 2 index 30",
    );
    // A new term at once: it makes all older copies recognizable.
    check(
        &[(1, 2, 10), (2, 3, 12)],
        "term 3 index 12",
        "term 3 index 12",
    );
    // etcd tells no term after a start until it has applied something.
    check(
        &[(1, 2, 10), (30, 0, 20)],
        "term 2 index 20",
        "term 2 index 20",
    );
    check(
        &[(1, 2, 10), (30, 2, 5)],
        "term 2 index 10",
        "term 2 index 10",
    );
}

#[test]
fn what_is_not_believed() {
    let mut model = launched();
    // The index may not be on the disk yet.
    probed(&mut model, 1, answer(1, 2, 10, false));
    // Somebody else listens there.
    probed(&mut model, 2, answer(9, 2, 10, true));
    let mut foreign = answer(1, 2, 10, true);
    foreign.cluster_id = ClusterId(9);
    probed(&mut model, 3, foreign);
    assert_eq!(recorded(&model), "nothing");
    // What one member had says nothing about the next one in its place.
    probed(&mut model, 4, answer(1, 2, 10, true));
    let pod = model.record.pods.get_mut(&POD).unwrap();
    pod.membership.enrolled_mut().unwrap().member_id = MemberId(7);
    assert_eq!(recorded(&model), "nothing");
    probed(&mut model, 5, answer(7, 1, 3, true));
    assert_eq!(recorded(&model), "term 1 index 3");
}

#[test]
fn at_rest_nothing_is_written() {
    let mut model = launched();
    probed(&mut model, 1, answer(1, 2, 10, true));
    let before = model.record.clone();
    for seconds in 2..200 {
        probed(&mut model, seconds, answer(1, 2, 10, true));
    }
    assert_eq!(model.record, before);
}

/// The pod's own resources, offered once more, and the launch that follows.
fn relaunched(model: &mut Model, seconds: u64) -> Option<LaunchSpec> {
    let placement = model.record.pods[&POD].placement.clone().unwrap();
    let mut offer = offer("a");
    offer.id = OfferId(format!("again-{seconds}"));
    offer.received = after(seconds);
    let reserved = ReservedBundle {
        pod: Some(POD),
        framework_id: None,
        resources: offer.free.clone(),
        volumes: BTreeMap::from([(placement.volume_id.clone(), placement.volume_size())]),
    };
    offer.reserved.insert(placement.reservation_id, reserved);
    model.apply(Event::Offers(vec![offer]), after(seconds));
    let decision = carry_out(model, after(seconds));
    decision
        .effects
        .into_iter()
        .find_map(|effect| match effect {
            Effect::Accept { operations, .. } => {
                operations
                    .into_iter()
                    .find_map(|operation| match operation {
                        Operation::Launch(order) => Some(order.spec),
                        _ => None,
                    })
            }
            _ => None,
        })
}

#[test]
fn the_next_launch_is_told() {
    let mut model = launched();
    probed(&mut model, 1, answer(1, 2, 10, true));
    probed(&mut model, 2, answer(1, 2, 20, true));
    ended(&mut model, 3, None);
    let spec = relaunched(&mut model, 10).unwrap();
    let reached = LogPosition { term: 2, index: 20 };
    assert_eq!(spec.history.reached, Some(reached));
}

/// A refusal for data: how it is shown, and that it is tried again all the same.
#[track_caller]
fn check_refusal(refusal: Refusal, kind: EndKind, code: &str, text: &str, reached: &str) {
    let mut model = launched();
    probed(&mut model, 1, answer(1, 2, 10, true));
    let mut at = 5;
    for times in ["once", "2 times in a row", "3 times in a row"] {
        ended(&mut model, at, Some(refusal.clone()));
        let pod = &model.record.pods[&POD];
        assert_eq!(
            pod.launch.as_ref().unwrap().end.as_ref().unwrap().kind,
            kind
        );
        // The member stays who it is: an operator decides.
        assert_eq!(pod.membership.member_id(), Some(MemberId(1)));
        assert_eq!(recorded(&model), reached);
        let decision = carry_out(&mut model, after(at));
        let waiting = &decision.waiting[&POD];
        assert_eq!(waiting.code(), code);
        let why = "TASK_FAILED: so said the executor";
        let expected = format!("{text} (launched in vain {times}: {why})");
        assert_eq!(waiting.to_string(), expected);
        at += 60;
        // And while its resources are not offered, either.
        let decision = carry_out(&mut model, after(at));
        assert_eq!(decision.waiting[&POD].code(), code);
        assert!(relaunched(&mut model, at).is_some());
    }
}

#[test]
fn data_that_is_older() {
    // etcd itself may have said how far the member had come.
    let refusal = Refusal::DataBehind {
        ends_at: LogPosition { term: 0, index: 9 },
        reached: LogPosition { term: 0, index: 40 },
    };
    check_refusal(
        refusal,
        EndKind::DataBehind,
        "data_behind",
        "data behind the cluster: reset or replace",
        "term 2 index 40",
    );
}

#[test]
fn data_that_is_damaged() {
    let refusal = Refusal::DataDamaged {
        what: "wal: crc mismatch".into(),
    };
    check_refusal(
        refusal,
        EndKind::DataDamaged,
        "data_damaged",
        "data damaged: reset or replace",
        "term 2 index 10",
    );
}
