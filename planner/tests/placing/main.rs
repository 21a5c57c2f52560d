//! Which agent gets which pod, and what is said of those that get none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod properties;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_launch::{FORMAT, Phase, PodIndex, Refusal, Report};
use etcd_planner::event::{OperationStatus, OperationVerdict, TaskStatus, TaskVerdict};
use etcd_planner::observed::{TaskEnd, TaskState};
use etcd_planner::offer::ReservedBundle;
use etcd_planner::record::PlacementStage;
use etcd_planner::target::DiskWish;
use etcd_planner::{Decision, Effect, Event, Model, Target, Timestamp};

use agents::{T0, decide, facts, offer, places, subscribed, target};

/// Offers of these agents for this target, in both orders: the choice must not
/// depend on it.
#[track_caller]
fn check_target(target: Target, agents: &[&str], expected: &str) {
    for backwards in [false, true] {
        let mut offers: Vec<_> = agents.iter().map(|line| offer(line)).collect();
        if backwards {
            offers.reverse();
        }
        // Offers are kept by id, so the order is turned by the ids too.
        for (place, offer) in offers.iter_mut().enumerate() {
            offer.id.0 = format!("{place}");
        }
        let mut model = subscribed(target.clone());
        model.apply(Event::Offers(offers), T0);
        assert_eq!(places(&decide(&model, T0)), expected, "{agents:?}");
    }
}

#[track_caller]
fn check(constraints: &str, agents: &[&str], expected: &str) {
    check_target(target(constraints), agents, expected);
}

#[test]
fn constraints_choose_agents() {
    check("hostname:UNIQUE", &["a", "b", "c"], "0@a 1@b 2@c");
    check(
        "hostname:UNIQUE",
        &["a", "b"],
        "0@a 1@b 2: no offer is suitable: hostname UNIQUE (2 agents refused)",
    );
    check(
        "rack:UNIQUE",
        &["a rack=1", "b rack=1", "c rack=2", "d", "e rack=3"],
        "0@a 1@c 2@e",
    );
    check(
        "rack:IS:2",
        &["a rack=1", "b rack=2", "c rack=2", "d rack=2"],
        "0@b 1@c 2@d",
    );
    check(
        "@zone:MAX_PER:2",
        &["a zone=z1", "b zone=z1", "c zone=z1", "d zone=z2"],
        "0@a 1@d 2@b",
    );
    check(
        "rack:CLUSTER:9",
        &["a rack=1", "b"],
        "0: no offer is suitable: rack CLUSTER 9 (2 agents refused) \
         1: no offer is suitable: rack CLUSTER 9 (2 agents refused) \
         2: no offer is suitable: rack CLUSTER 9 (2 agents refused)",
    );
}

#[test]
fn without_constraints_members_are_spread_all_the_same() {
    check(
        "",
        &["a zone=z1", "b zone=z1", "c zone=z2", "d zone=z3"],
        "0@a 1@c 2@d",
    );
    // One host runs two agents: the other hosts come first.
    check("", &["a host=x", "b host=x", "c", "d"], "0@a 1@c 2@d");
}

#[test]
fn a_later_advantage_counts_only_where_earlier_ones_are_equal() {
    // Memory that is left decides between equals,
    check(
        "",
        &["a mem=4000", "b mem=9000", "c mem=8000", "d mem=5000"],
        "0@b 1@c 2@d",
    );
    // but never against zones,
    check(
        "",
        &[
            "a zone=z1 mem=9000",
            "b zone=z1 mem=8000",
            "c zone=z2 mem=2000",
            "d zone=z3",
        ],
        "0@a 1@d 2@c",
    );
    // and an agent that is going away is the last to be taken.
    check(
        "",
        &["a away zone=z1", "b zone=z2", "c zone=z2", "d zone=z2"],
        "0@b 1@c 2@d",
    );
}

#[test]
fn members_stay_in_the_region_of_the_masters() {
    let agents = ["a region=north", "b region=south", "c region=north", "d"];
    check("", &agents, "0@a 1@d 2@c");
    // A constraint that speaks of regions replaces the rule.
    let one = |constraints, region: Option<&str>| Target {
        members: 1,
        region: region.map(str::to_owned),
        ..target(constraints)
    };
    check_target(one("@region:IS:south", None), &agents, "0@b");
    check_target(one("", Some("south")), &agents, "0@b");
    check_target(
        one("", Some("west")),
        &agents,
        "0: no offer is suitable: not in region west (4 agents refused)",
    );
    check_target(
        one("", None),
        &agents[1..2],
        "0: no offer is suitable: not in the masters' region (1 agent refused)",
    );
}

#[test]
fn resources_that_lack_are_named() {
    check(
        "",
        &["a cpus=1000", "b mem=1000", "c disk=5000", "d noport"],
        "0: no offer is suitable: fewer than 1.1 cpus (1 agent refused); less than 1056 MB \
         of memory (1 agent refused); less than 5376 MB of disk (1 agent refused); \
         port 2379 not offered (1 agent refused) \
         1: no offer is suitable: fewer than 1.1 cpus (1 agent refused); less than 1056 MB \
         of memory (1 agent refused); less than 5376 MB of disk (1 agent refused); \
         port 2379 not offered (1 agent refused) \
         2: no offer is suitable: fewer than 1.1 cpus (1 agent refused); less than 1056 MB \
         of memory (1 agent refused); less than 5376 MB of disk (1 agent refused); \
         port 2379 not offered (1 agent refused)",
    );
}

#[track_caller]
fn check_disks(wish: DiskWish, agents: &[&str], expected: &str) {
    let target = Target {
        disk: wish,
        members: 1,
        ..target("")
    };
    let mut model = subscribed(target);
    model.apply(
        Event::Offers(agents.iter().map(|line| offer(line)).collect()),
        T0,
    );
    let decision = decide(&model, T0);
    let pod = &decision.record.pods[&PodIndex(0)];
    let text = match &pod.placement {
        Some(placement) => match &placement.disk {
            Some(disk) => format!(
                "{} {} of {}",
                placement.agent_id,
                disk.size,
                disk.source.root.as_deref().unwrap()
            ),
            None => format!(
                "{} {} of its own",
                placement.agent_id,
                placement.volume_size()
            ),
        },
        None => places(&decision),
    };
    assert_eq!(text, expected);
}

#[test]
fn volumes_are_made_on_the_wanted_kind_of_disk() {
    let mount = DiskWish::Mount { profiles: vec![] };
    let fast = DiskWish::Mount {
        profiles: vec!["fast".into()],
    };
    check_disks(
        DiskWish::Root,
        &["a disk:mount=9000"],
        "a 5120 MB of its own",
    );
    check_disks(
        mount.clone(),
        &["a disk:mount=9000"],
        "a 9000 MB of /disks/9000",
    );
    // The smallest whole disk that is large enough, over all agents.
    check_disks(
        mount.clone(),
        &[
            "a disk:mount=9000",
            "b disk:mount=6000",
            "c disk:mount=5000",
        ],
        "b 6000 MB of /disks/6000",
    );
    check_disks(
        fast,
        &[
            "a disk:mount=6000",
            "b disk:mount=9000@fast",
            "c disk:mount=6000@slow",
        ],
        "b 9000 MB of /disks/9000",
    );
    // Of a shared disk no more than is wanted.
    check_disks(
        DiskWish::Path,
        &["a disk:path=6000 disk:path=9000"],
        "a 5120 MB of /disks/9000",
    );
    check_disks(
        mount,
        &["a disk:path=9000", "b disk:mount=9000@fast", "c"],
        "0: no offer is suitable: no MOUNT disk of 5120 MB (3 agents refused)",
    );
}

#[test]
fn what_can_never_be_is_said_at_once() {
    let agents = ["a zone=z1", "b zone=z1"];
    let mut model = subscribed(target("@zone:UNIQUE"));
    let offers: Vec<_> = agents.iter().map(|line| offer(line)).collect();
    model.apply(Event::Agents(offers.iter().map(facts).collect()), T0);
    // No offer has come, and none has to.
    assert_eq!(
        decide(&model, T0).waiting[&PodIndex(0)].to_string(),
        "cannot be placed: 3 members are wanted, and [[\"@zone\", \"UNIQUE\"]] allows \
         1 member on the 2 agents of this cluster"
    );
    model.apply(Event::Offers(offers), T0);
    assert_eq!(
        places(&decide(&model, T0)),
        "0@a 1: cannot be placed: 3 members are wanted, and [[\"@zone\", \"UNIQUE\"]] \
         allows 1 member on the 2 agents of this cluster; @zone UNIQUE (2 agents refused) \
         2: cannot be placed: 3 members are wanted, and [[\"@zone\", \"UNIQUE\"]] allows \
         1 member on the 2 agents of this cluster; @zone UNIQUE (2 agents refused)"
    );
}

#[test]
fn offers_are_collected_for_a_moment() {
    let target = Target {
        offer_collection_ms: 300,
        members: 1,
        ..target("")
    };
    let mut model = subscribed(target);
    model.apply(Event::Offers(vec![offer("a mem=2000")]), T0);
    let decision = decide(&model, T0);
    assert_eq!(
        places(&decision),
        "0: one offer is at hand, and more are waited for a moment"
    );
    assert!(
        !decision
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Decline { .. })),
        "an offer that is still wanted is kept: {decision}"
    );
    let over = T0.plus(Duration::from_millis(300));
    assert_eq!(decision.wake_at, Some(over));
    let _ = model.absorb(decision, T0);
    model.apply(
        Event::Offers(vec![offer("b mem=9000")]),
        T0.plus(Duration::from_millis(200)),
    );
    assert_eq!(places(&decide(&model, over)), "0@b");
}

/// Places etcd-0 on `a` and gives the model after that. A single member is launched at
/// once, too.
fn placed_on_a(members: u16) -> Model {
    let target = Target {
        members,
        ..target("")
    };
    let mut model = subscribed(target);
    model.apply(Event::Offers(vec![offer("a")]), T0);
    let decision = decide(&model, T0);
    assert!(places(&decision).starts_with("0@a"), "{decision}");
    for (id, _) in model.absorb(decision, T0) {
        let outcome = etcd_planner::Outcome::Done;
        model.apply(Event::EffectDone { id, outcome }, T0);
    }
    model
}

/// The decision when `a` and `b` offer everything once more.
fn decide_on_offers_again(model: &mut Model, at: Timestamp) -> Decision {
    let again = ["a", "b"].map(|line| {
        let mut offer = offer(line);
        offer.id.0.push_str("-again");
        offer.received = at;
        offer
    });
    model.apply(Event::Offers(again.to_vec()), at);
    decide(model, at)
}

#[test]
fn a_volume_that_cannot_be_created_is_looked_for_elsewhere() {
    let mut model = placed_on_a(2);
    let placement = model.record.pods[&PodIndex(0)].placement.clone().unwrap();
    model.apply(
        Event::OperationStatus(OperationStatus {
            id: placement.create_operation(),
            verdict: OperationVerdict::Failed,
            words: "OPERATION_FAILED: read-only file system".into(),
        }),
        T0,
    );
    let soon = T0.plus(Duration::from_secs(1));
    let decision = decide_on_offers_again(&mut model, soon);
    assert_eq!(
        places(&decision),
        "0@b 1: no offer is suitable: a place could not be had there lately (1 agent \
         refused); just taken for another pod (1 agent refused)"
    );
    let abandoned = &decision.record.abandoned[0];
    assert_eq!(
        abandoned.why,
        "the agent could not create the volume: OPERATION_FAILED: read-only file system"
    );
    let avoided = &decision.record.avoided[&placement.agent_id];
    assert_eq!(
        (avoided.failures, avoided.until),
        (1, soon.plus(Duration::from_secs(16)))
    );
    assert!(
        decision.judged.outcomes.iter().any(|outcome| !outcome.taken
            && outcome.why
                == [format!(
                    "a place could not be had there lately: {}",
                    abandoned.why
                )]),
        "{:?}",
        decision.judged.outcomes
    );
}

/// What the executor says of its volume after the launch on `a`: where is the pod then?
#[track_caller]
fn check_refused_volume(etcd_was_started: bool, expected: &str) {
    let mut model = placed_on_a(1);
    let launch = model.record.pods[&PodIndex(0)].launch.clone().unwrap();
    let status = |verdict, phase| {
        Event::TaskStatus(TaskStatus {
            task_id: launch.task_id.clone(),
            agent_id: Some(launch.agent_id.clone()),
            verdict,
            words: "as the executor says".into(),
            report: Some(Report {
                format: FORMAT,
                pod: PodIndex(0),
                generation: launch.generation,
                phase,
            }),
        })
    };
    if etcd_was_started {
        let starting = TaskVerdict::Alive(TaskState::Starting);
        model.apply(status(starting, Phase::EtcdStarted), T0);
    }
    let refusal = Refusal::VolumeUnusable {
        why: "read-only".into(),
    };
    let failed = TaskVerdict::Over(TaskEnd::Failed);
    model.apply(status(failed, Phase::Refused(refusal)), T0);
    let later = T0.plus(Duration::from_secs(5));
    for _ in 0..2 {
        // A birth that is given up is cleared away before the next one.
        let decision = decide(&model, later);
        let _ = model.absorb(decision, later);
    }
    let decision = decide_on_offers_again(&mut model, later);
    assert!(
        places(&decision).starts_with(expected),
        "{}",
        places(&decision)
    );
}

#[test]
fn a_volume_that_cannot_be_used_is_left_unless_data_may_be_on_it() {
    check_refused_volume(false, "0@b");
    check_refused_volume(true, "0@a");
}

#[test]
fn an_empty_place_on_a_silent_agent_is_left() {
    let mut model = placed_on_a(2);
    let seconds = |seconds| T0.plus(Duration::from_secs(seconds));
    let decision = decide(&model, seconds(59));
    assert!(places(&decision).starts_with("0@a"), "{decision}");
    let _ = model.absorb(decision, seconds(59));
    let decision = decide(&model, seconds(60));
    assert!(places(&decision).starts_with("0: "), "{decision}");
    assert_eq!(
        decision.record.abandoned[0].why,
        "nothing was started there yet, and its agent is silent"
    );
    assert!(matches!(
        decision.record.abandoned[0].placement.stage,
        PlacementStage::Requested(_)
    ));
}

/// The task of an agent that was lost and is back still holds its place when the
/// agent's first offers come: they prove nothing yet.
#[test]
fn an_old_place_is_given_back_even_if_it_does_not_show_at_first() {
    let mut model = placed_on_a(2);
    let seconds = |seconds| T0.plus(Duration::from_secs(seconds));
    // The empty place on the silent agent is left, and its agent comes back late.
    let decision = decide(&model, seconds(60));
    let old = decision.record.abandoned[0].placement.clone();
    let _ = model.absorb(decision, seconds(60));
    let mut offered = |at: u64, shows: bool| {
        let mut offer = offer("a");
        offer.id.0 = format!("back-{at}");
        offer.received = seconds(at);
        if shows {
            let bundle = ReservedBundle {
                pod: Some(PodIndex(0)),
                framework_id: None,
                resources: offer.free.clone(),
                volumes: BTreeMap::new(),
            };
            let id = old.reservation_id.clone();
            offer.reserved.insert(id, bundle);
        }
        model.apply(Event::Offers(vec![offer]), seconds(at));
        let decision = decide(&model, seconds(at));
        let released = |effect: &Effect| matches!(effect, Effect::Release { .. });
        let (kept, gives_back) = (
            !decision.record.abandoned.is_empty(),
            decision.effects.iter().any(released),
        );
        let _ = model.absorb(decision, seconds(at));
        (kept, gives_back)
    };
    assert_eq!(offered(500, false), (true, false), "it may still be in use");
    assert_eq!(offered(559, false), (true, false));
    assert_eq!(
        offered(570, true),
        (true, true),
        "it shows, and is given back"
    );
}

#[test]
fn an_old_place_that_never_shows_is_forgotten() {
    let mut model = placed_on_a(2);
    let seconds = |seconds| T0.plus(Duration::from_secs(seconds));
    let decision = decide(&model, seconds(60));
    let _ = model.absorb(decision, seconds(60));
    for (at, is_kept) in [(500, true), (559, true), (560, false)] {
        let mut offer = offer("a");
        offer.id.0 = format!("back-{at}");
        offer.received = seconds(at);
        model.apply(Event::Offers(vec![offer]), seconds(at));
        let decision = decide(&model, seconds(at));
        assert_eq!(!decision.record.abandoned.is_empty(), is_kept, "{at}");
        let _ = model.absorb(decision, seconds(at));
    }
}
