//! The wanted options are tried beside a member before it is touched.

use etcd_launch::{FORMAT, PodGeneration, TrialAnswer, TrialVerdict};
use etcd_planner::Effect;
use etcd_planner::waiting::WaitingReason;

use super::changes::untried;
use super::*;

/// The pods beside which options are to be tried, the pods that are to be stopped, and
/// why etcd-1 waits.
fn turn(model: &mut Model, now: Timestamp) -> String {
    let turn = Turn {
        now,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let decision = plan(model, &turn);
    let reason = decision.waiting.get(&PodIndex(1));
    let reason = reason.map_or("nothing", WaitingReason::code);
    let mut told: Vec<String> = Vec::new();
    for (_, effect) in model.absorb(decision.clone(), now) {
        match effect {
            Effect::TryRecipe { pod, id, .. } => told.push(format!("try {pod} {id}")),
            Effect::Kill { pod: Some(pod), .. } => told.push(format!("kill {pod}")),
            _ => {}
        }
    }
    told.push(format!("waits for {reason}"));
    told.join(", ")
}

fn answer(model: &mut Model, id: &str, verdict: TrialVerdict) {
    let answer = TrialAnswer {
        format: FORMAT,
        id: id.into(),
        pod: PodIndex(1),
        generation: PodGeneration::default(),
        verdict,
    };
    model.apply(Event::Tried(answer), NOW);
}

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

#[test]
fn a_member_is_touched_once_its_etcd_takes_the_options() {
    let mut model = untried(service(Parallel, 3), Serial);
    let asked = "try etcd-1 t2/0, waits for trying_options";
    let waits = "waits for trying_options";
    assert_eq!(turn(&mut model, NOW), asked);
    assert_eq!(turn(&mut model, later(1)), waits, "once is enough");
    assert_eq!(turn(&mut model, later(10)), asked, "it may have been lost");
    answer(&mut model, "t1/0", TrialVerdict::Taken);
    assert_eq!(turn(&mut model, later(11)), waits, "about something else");
    answer(&mut model, "t2/0", TrialVerdict::Taken);
    assert_eq!(
        turn(&mut model, later(12)),
        "kill etcd-1, waits for stopping"
    );
}

#[test]
fn nothing_is_touched_for_options_that_are_refused() {
    let mut model = untried(service(Parallel, 3), Serial);
    turn(&mut model, NOW);
    let why = "bad flag".to_owned();
    answer(&mut model, "t2/0", TrialVerdict::Refused { why });
    turn(&mut model, later(1));
    assert_eq!(turn(&mut model, later(2)), "waits for nothing");
    check(
        model,
        "continue update",
        "continue update: Command has already been reported or completed
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        update (serial): ERROR
          agents (serial): ERROR: PENDING ERROR PENDING
        etcd-0: update_stopped
        etcd-2: update_stopped",
    );
}

/// The next launch could not have it either.
#[test]
fn nothing_is_touched_for_an_etcd_that_cannot_be_had() {
    let mut model = untried(service(Parallel, 3), Serial);
    for minute in 0..10 {
        let asked = "try etcd-1 t2/0, waits for trying_options";
        assert_eq!(turn(&mut model, later(60 * minute)), asked);
        let why = "404".to_owned();
        answer(&mut model, "t2/0", TrialVerdict::NotHad { why });
    }
}

/// An executor that knows no trials must not hold up updates for ever.
#[test]
fn silence_ends_the_trial() {
    let mut model = untried(service(Parallel, 3), Serial);
    turn(&mut model, NOW);
    assert!(turn(&mut model, later(179)).contains("trying_options"));
    assert_eq!(
        turn(&mut model, later(180)),
        "kill etcd-1, waits for stopping"
    );
}
