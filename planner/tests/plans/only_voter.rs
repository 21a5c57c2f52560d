//! The only voter may be without service for a while. It is never given up: its data
//! would go with it.

use etcd_planner::effect::Effect;
use etcd_planner::record::Exchange;

use super::*;

/// A cluster of one whose member is asked to make room for another.
fn asked(how: Exchange) -> Model {
    let mut model = service(Parallel, 1);
    model.target.members = 1;
    let pod = model.record.pods.get_mut(&PodIndex(0)).unwrap();
    pod.exchange_asked = Some(how);
    model
}

/// Nothing is stopped or removed, and why.
#[track_caller]
fn check_kept(model: &Model, index: PodIndex) {
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let decision = plan(model, &turn);
    let kept = &decision.record.pods[&index];
    assert_eq!(kept.placement, model.record.pods[&index].placement);
    assert_eq!(kept.membership, model.record.pods[&index].membership);
    assert!(decision.record.abandoned.is_empty());
    let harm = decision.effects.iter().find(|effect| {
        matches!(effect, Effect::Kill { .. } | Effect::RemoveMember { .. })
    });
    assert_eq!(harm, None);
    let why = decision.waiting.get(&index).expect("it waits");
    assert_eq!(why.code(), "stop_would_cost_quorum", "{why}");
}

#[test]
fn it_goes_down_before_its_successor_joins() {
    for how in [Exchange::JoinFirst, Exchange::LeaveFirst, Exchange::InPlace] {
        let mut model = asked(how);
        fail(&mut model, 0);
        check_kept(&model, PodIndex(0));
    }
}

/// It has begun to leave, and its successor has no place yet.
#[test]
fn it_goes_down_while_it_leaves() {
    let mut model = asked(Exchange::JoinFirst);
    model.observed.tasks.insert(
        PodIndex(0),
        TaskSeen {
            task_id: TaskId("task-0".into()),
            epoch: 1,
            state: TaskState::Running,
            at: NOW,
            words: "TASK_RUNNING".into(),
            report: None,
        },
    );
    model.apply(Event::Tick, NOW);
    let leaving = PodIndex(0).leaving();
    assert!(model.record.pods.contains_key(&leaving), "it leaves");
    model.observed.probes.remove(&leaving);
    let launch = model.record.pods.get_mut(&leaving).unwrap().launch.as_mut();
    launch.unwrap().end = Some(LaunchEnd {
        at: NOW,
        kind: EndKind::Failed,
        why: "TASK_FAILED".into(),
    });
    check_kept(&model, leaving);
}
