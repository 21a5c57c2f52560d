//! What is told of two pictures of the sample service.

use etcd_launch::{FORMAT, Phase, Report};
use etcd_planner::observed::TaskState;
use etcd_planner::offer::{ReservationId, TaskId};
use etcd_planner::record::{
    AbandonedPlacement, AvoidedAgent, EndKind, Enrolled, LaunchEnd,
};
use etcd_planner::{Model, WaitingReason};

use super::narrator::*;
use super::*;
use crate::samples;

const ONE: PodIndex = PodIndex(1);

fn line(told: Told) -> String {
    let mut line = sentence(told.pod, &told.what);
    for (between, more) in [
        (" because ", told.why),
        (" for ", told.asked_by.map(|by| by.to_string())),
    ] {
        if let Some(more) = more {
            line.push_str(between);
            line.push_str(&more);
        }
    }
    line
}

fn lines(told: Vec<Told>) -> Vec<String> {
    told.into_iter().map(line).collect()
}

/// A narrator that knows the healthy sample.
fn narrator() -> Narrator {
    let mut narrator = Narrator::default();
    let picture = samples::published(&samples::healthy_model());
    let told = lines(narrator.tell(&picture, &picture));
    assert_eq!(told, ["etcd-0 leads"]);
    narrator
}

#[track_caller]
fn check(change: impl FnOnce(&mut Model), expected: &[&str]) {
    let mut model = samples::healthy_model();
    let before = samples::published(&model);
    change(&mut model);
    let after = samples::published(&model);
    let mut narrator = narrator();
    assert_eq!(lines(narrator.tell(&before, &after)), expected);
    assert_eq!(lines(narrator.tell(&after, &after)), [""; 0], "told twice");
}

fn pod(model: &mut Model) -> &mut etcd_planner::record::Pod {
    model.record.pods.get_mut(&ONE).unwrap()
}

fn launch(model: &mut Model) -> &mut etcd_planner::record::Launch {
    pod(model).launch.as_mut().unwrap()
}

fn enrolled(id: u64) -> Enrolled {
    Enrolled {
        member_id: etcd_launch::MemberId(id),
        peer_url: "http://127.0.0.9:2380".into(),
        launched: false,
        started: false,
    }
}

#[test]
fn mesos() {
    use etcd_planner::observed::MesosLink;
    check(
        |model| {
            model.observed.mesos = MesosLink::Disconnected {
                why: "no heartbeat".into(),
            };
        },
        &["the subscription at the Mesos master ended because no heartbeat"],
    );
    check(
        |model| {
            if let MesosLink::Connected(session) = &mut model.observed.mesos {
                session.epoch = 2;
            }
        },
        &["subscribed at a Mesos master"],
    );
}

#[test]
fn clusters() {
    use etcd_planner::record::Cluster;
    let change = |to: fn(etcd_planner::record::Incarnation) -> Cluster| {
        move |model: &mut Model| {
            let incarnation = model.record.cluster.incarnation().unwrap().clone();
            model.record.cluster = to(incarnation);
        }
    };
    check(change(Cluster::Forming), &["cluster c1 is being founded"]);
    check(
        change(|incarnation| Cluster::Abandoning {
            incarnation,
            why: "etcd-2 lost its disk".into(),
        }),
        &["cluster c1 could not form; a new one is begun because etcd-2 lost its disk"],
    );
    check(change(|_| Cluster::Unborn), &[]);
}

#[test]
fn places() {
    use etcd_planner::record::PlacementStage;
    check(
        |model| {
            let place = pod(model).placement.as_mut().unwrap();
            let old = place.clone();
            place.reservation_id = ReservationId("another".into());
            place.hostname.0 = "agent-9.example".into();
            model.record.abandoned.push(AbandonedPlacement {
                pod: ONE,
                placement: old,
                since: samples::NOW,
                why: "its agent is gone".into(),
                awaits_approval: false,
                can_be_missed: false,
                absent_since: None,
            });
        },
        &[
            "etcd-1 has lost its place on agent-1.example because its agent is gone",
            "etcd-1 is placed on agent-9.example",
        ],
    );
    // Never seen since it was asked for.
    let mut model = samples::healthy_model();
    let place = pod(&mut model).placement.as_mut().unwrap();
    place.stage = PlacementStage::Requested(samples::NOW);
    let agent_id = place.agent_id.clone();
    let before = samples::published(&model);
    pod(&mut model).placement = None;
    let avoided = AvoidedAgent {
        failures: 1,
        until: samples::NOW,
        why: "the agent could not create the volume: read-only".into(),
    };
    model.record.avoided.insert(agent_id, avoided);
    let told = narrator().tell(&before, &samples::published(&model));
    assert_eq!(
        lines(told),
        [
            "etcd-1 could not get its place on agent-1.example because the agent could \
             not create the volume: read-only"
        ]
    );
}

#[test]
fn members() {
    use etcd_planner::record::Membership;
    let to = |membership: Membership| {
        move |model: &mut Model| {
            pod(model).membership = membership;
        }
    };
    check(
        to(Membership::Learner(enrolled(0xb9))),
        &["etcd-1 is member b1 no more", "etcd-1 is member b9"],
    );
    check(
        to(Membership::Voter(enrolled(0xb1))),
        &["etcd-1 (member b1) is a voter"],
    );
    check(to(Membership::Absent), &["etcd-1 is member b1 no more"]);
    let lost = || Membership::Lost {
        member_id: etcd_launch::MemberId(0xb1),
        why: "no WAL".into(),
    };
    check(
        to(lost()),
        &["etcd-1 has lost the data of member b1 because no WAL"],
    );
    let mut model = samples::healthy_model();
    pod(&mut model).membership = lost();
    let before = samples::published(&model);
    pod(&mut model).membership = Membership::Absent;
    let told = narrator().tell(&before, &samples::published(&model));
    assert_eq!(lines(told), ["etcd-1 is member b1 no more"]);
    // What is seen when somebody else leads.
    check(
        |model| {
            for probe in model.observed.probes.values_mut() {
                if let Ok(answer) = &mut probe.answer {
                    answer.leader = Some(samples::member_id(2));
                }
            }
        },
        &["etcd-2 leads after etcd-0"],
    );
}

#[test]
fn tasks() {
    let seen = |state: TaskState, words: &'static str| {
        move |model: &mut Model| {
            let seen = model.observed.tasks.get_mut(&ONE).unwrap();
            seen.state = state;
            seen.words = words.into();
        }
    };
    check(
        seen(
            TaskState::Unreachable,
            "TASK_UNREACHABLE, REASON_SLAVE_REMOVED",
        ),
        &["etcd-1: TASK_UNREACHABLE because REASON_SLAVE_REMOVED"],
    );
    // Mesos repeats itself, with other reasons.
    check(
        seen(TaskState::Running, "TASK_RUNNING, REASON_RECONCILIATION"),
        &[],
    );
    check(
        |model| {
            let seen = model.observed.tasks.get_mut(&ONE).unwrap();
            seen.words = "TASK_RUNNING: paused".into();
            seen.report = Some(Report {
                format: FORMAT,
                pod: ONE,
                generation: etcd_launch::PodGeneration(2),
                phase: Phase::Paused,
            });
        },
        &["etcd-1: TASK_RUNNING, paused"],
    );
    check(
        |model| {
            model.observed.tasks.remove(&ONE);
            launch(model).end = Some(LaunchEnd {
                at: samples::NOW,
                kind: EndKind::Failed,
                why: "TASK_FAILED: out of memory".into(),
            });
        },
        &["etcd-1: TASK_FAILED because out of memory"],
    );
}

/// From the wish to the healthy member, with the one who asked.
#[test]
fn a_restart_and_who_asked_for_it() {
    use etcd_planner::record::StopCause;
    let log = Arc::new(EventLog::starting("0.1.0", samples::NOW));
    let mut journal = Journal::new(Arc::clone(&log));
    journal.narrator = narrator();
    let mut model = samples::healthy_model();
    let mut before = samples::published(&model);
    let mut turn = |journal: &mut Journal, model: &Model| {
        let after = samples::published(model);
        journal.note_turn(&before, &after);
        before = after;
    };
    let alice = Actor::named("alice");
    let refused = Err(CommandRefusal::UnknownPod(PodIndex(7)));
    let request = "restart etcd-7 in place";
    journal.note_request(&alice, request, Some(PodIndex(7)), &refused, samples::NOW);
    let request = "restart etcd-1 in place";
    journal.note_request(&alice, request, Some(ONE), &Ok(()), samples::NOW);
    pod(&mut model).restart_asked = true;
    turn(&mut journal, &model);
    pod(&mut model).restart_asked = false;
    launch(&mut model).stop_asked = Some(StopCause::Restart);
    turn(&mut journal, &model);
    let (seen, probe) = (
        model.observed.tasks.remove(&ONE).unwrap(),
        model.observed.probes.remove(&ONE).unwrap(),
    );
    launch(&mut model).end = Some(LaunchEnd {
        at: samples::NOW,
        kind: EndKind::Asked,
        why: "TASK_KILLED".into(),
    });
    turn(&mut journal, &model);
    let next = TaskId("etcd__etcd-1-node__next".into());
    let newest = launch(&mut model);
    newest.task_id = next.clone();
    (newest.stop_asked, newest.end) = (None, None);
    turn(&mut journal, &model);
    let seen = etcd_planner::observed::TaskSeen {
        task_id: next,
        ..seen
    };
    model.observed.tasks.insert(ONE, seen);
    model.observed.probes.insert(ONE, probe);
    turn(&mut journal, &model);
    // What comes later is nobody's wish.
    launch(&mut model).stop_asked = Some(StopCause::Restart);
    turn(&mut journal, &model);
    let told: Vec<String> = log
        .after(None, EVENTS_KEPT)
        .events
        .iter()
        .map(|event| {
            let by = event.asked_by.as_deref().unwrap_or("nobody");
            format!("{} ({by})", event.text)
        })
        .collect();
    assert_eq!(
        told,
        [
            "scheduler 0.1.0 started (nobody)",
            "request refused: restart etcd-7 in place (alice)",
            "request taken: restart etcd-1 in place (alice)",
            "etcd-1 is to stop (alice)",
            "etcd-1: TASK_KILLED (alice)",
            "etcd-1 is launched on agent-1.example (alice)",
            "etcd-1: TASK_RUNNING (nobody)",
            "etcd-1 is to stop (nobody)",
        ]
    );
}

#[test]
fn reasons_that_come_and_go_are_told_once() {
    let waits = |reason: Option<WaitingReason>| {
        let waiting = reason.into_iter().map(|reason| (ONE, reason)).collect();
        Published::of(&samples::healthy_model(), waiting, None, samples::NOW)
    };
    let no_offer = || {
        let since = samples::NOW;
        waits(Some(WaitingReason::NoOffer { since }))
    };
    let collecting = |offers| waits(Some(WaitingReason::CollectingOffers { offers }));
    let pictures = [
        waits(None),
        waits(Some(WaitingReason::Reconciling)),
        no_offer(),
        collecting(1),
        collecting(2),
        no_offer(),
        collecting(1),
        waits(None),
        no_offer(),
        waits(None),
    ];
    let mut narrator = narrator();
    let told: Vec<String> = pictures
        .windows(2)
        .flat_map(|pair| lines(narrator.tell(&pair[0], &pair[1])))
        .collect();
    let no_offer = "etcd-1 waits (no_offer) because no agent has offered resources";
    let well = "etcd-1 waits for nothing more";
    assert_eq!(
        told,
        [
            no_offer,
            "etcd-1 waits (collecting_offers) because one offer is at hand, and more \
             are waited for a moment",
            well,
            no_offer,
            well,
        ]
    );
}

#[test]
fn a_member_that_goes_on_under_another_name_is_neither_lost_nor_new() {
    check(
        |model| {
            let old = model.record.pods.remove(&ONE).unwrap();
            model.record.pods.insert(ONE.leaving(), old);
            model.record.pods.insert(ONE, Default::default());
            let seen = model.observed.tasks.remove(&ONE).unwrap();
            model.observed.tasks.insert(ONE.leaving(), seen);
        },
        &["etcd-1 gets another member; the present one is etcd-1-leaving now"],
    );
}
