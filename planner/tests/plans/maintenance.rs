//! When databases are defragmented, in which order, and what holds it back.

use etcd_planner::Effect;
use etcd_planner::effect::Outcome;
use etcd_planner::maintenance::{MaintenanceRequest, judge};
use etcd_planner::record::{Exchange, Paused};
use etcd_planner::target::DefragmentWhen;

use super::*;

pub(super) const MIB: u64 = 1 << 20;

/// A service and its clock.
pub(super) struct Cared {
    pub(super) model: Model,
    pub(super) now: Timestamp,
}

impl Cared {
    /// So many members, all well for a minute, with a database of 200 MB of which
    /// half is free. etcd-0 leads.
    pub(super) fn of(members: u16) -> Self {
        let mut model = service(Parallel, members);
        model.target.members = members;
        changes::settle(&mut model);
        let mut cared = Cared { model, now: NOW };
        cared.all_say(|answer| {
            answer.db_size_bytes = 200 * MIB;
            answer.db_size_in_use_bytes = 100 * MIB;
        });
        cared
    }

    /// Three members, and a round that alice has asked for.
    pub(super) fn asked() -> Self {
        let mut cared = Cared::of(3);
        cared.ask(None, None);
        cared
    }

    pub(super) fn ask(&mut self, pod: Option<u16>, keep_revisions: Option<u64>) {
        let request = MaintenanceRequest {
            pod: pod.map(PodIndex),
            keep_revisions,
            by: "alice".into(),
        };
        judge(&self.model, &request).unwrap();
        self.model.apply(Event::MaintenanceAsked(request), self.now);
    }

    pub(super) fn tell(&mut self, told: &str) {
        let words: Vec<&str> = told.split(' ').collect();
        let command = PlanCommand {
            verb: PlanVerb::parse(words[0]).unwrap(),
            part: part(&words[1..]),
            by: "alice".into(),
        };
        plan_commands::judge(&self.model, &command).unwrap();
        self.model.apply(Event::PlanCommand(command), self.now);
    }

    /// Every member answers now, with this changed about its last answer.
    pub(super) fn all_say(&mut self, change: impl Fn(&mut MemberAnswer)) {
        for (pod, probe) in self.model.observed.probes.clone() {
            let mut answer = probe.answer.unwrap();
            change(&mut answer);
            let at = self.now;
            let answer = Ok(answer);
            let probe = Probe { at, answer };
            self.model.apply(Event::Probed { pod, probe }, self.now);
        }
    }

    /// So many seconds later all have answered again.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(std::time::Duration::from_secs(seconds));
        self.all_say(|_| {});
    }

    /// What a turn does and says.
    pub(super) fn turn(&mut self) -> String {
        let turn = Turn {
            now: self.now,
            entropy: 7,
            identify_founders: |_, _| Err("nobody is to be founded here".into()),
        };
        let decision = plan(&self.model, &turn);
        let calls = ["reconcile", "reconcile-all", "revive", "suppress"];
        let mut found: Vec<String> = decision
            .effects
            .iter()
            .filter(|effect| !calls.contains(&effect.name()))
            .map(ToString::to_string)
            .collect();
        let service = decision.service_waiting.as_ref();
        found.extend(service.map(|why| format!("service: {}", why.code())));
        let waiting = decision.waiting.iter();
        found.extend(waiting.map(|(pod, why)| format!("{pod}: {}", why.code())));
        let _ = self.model.absorb(decision, self.now);
        found.join("\n")
    }

    #[track_caller]
    pub(super) fn check(&mut self, expected: &str) {
        let expected: Vec<&str> = expected.lines().map(str::trim).collect();
        assert_eq!(self.turn(), expected.join("\n"));
    }

    /// What is under way ends so.
    pub(super) fn answered(&mut self, outcome: &Outcome) {
        let ids: Vec<_> = self.model.in_flight.keys().copied().collect();
        for id in ids {
            let outcome = outcome.clone();
            self.model
                .apply(Event::EffectDone { id, outcome }, self.now);
        }
    }

    pub(super) fn done(&mut self) {
        self.answered(&Outcome::Done);
    }

    pub(super) fn failed(&mut self) {
        let why = "no answer in time".into();
        self.answered(&Outcome::Failed { why });
    }

    pub(super) fn leads(&mut self, index: u16) {
        self.all_say(|answer| {
            answer.leader = Some(member_id(index));
            answer.raft_term += 1;
        });
    }

    /// Status of plan, phases and steps, and the errors.
    #[track_caller]
    pub(super) fn check_plan(&self, expected: &str) {
        let plans = plans(&self.model, &BTreeMap::new());
        let plan = plans.iter().find(|plan| plan.name == "maintenance");
        let plan = plan.unwrap();
        let phases = plan.phases.iter().map(|phase| {
            let steps = phase.steps.iter().map(|step| step.status.as_str());
            let steps: Vec<&str> = steps.collect();
            format!(
                "{} {}: {}",
                phase.name,
                phase.status.as_str(),
                steps.join(" ")
            )
        });
        let phases: Vec<String> = phases.collect();
        let found = format!(
            "{}; {}; {}",
            plan.status.as_str(),
            phases.join(", "),
            plan.errors.join(", ")
        );
        assert_eq!(found, expected);
    }
}

#[test]
fn followers_first_and_the_leader_last() {
    let mut cared = Cared::of(3);
    cared.check_plan("WAITING; agents WAITING: PENDING PENDING PENDING; ");
    cared.check("");
    cared.ask(None, None);
    cared.check(
        "defragment etcd-1 (2)
        etcd-0: one_at_a_time
        etcd-1: maintenance
        etcd-2: one_at_a_time",
    );
    cared.check_plan("IN_PROGRESS; agents IN_PROGRESS: PENDING STARTING PENDING; ");
    // It is asked once.
    cared.wait(60);
    cared.check(
        "etcd-0: one_at_a_time
        etcd-1: maintenance
        etcd-2: one_at_a_time",
    );
    cared.done();
    // It has to serve again, and for a while.
    let next = "etcd-0: one_at_a_time\netcd-2: others_not_well";
    cared.check(next);
    cared.wait(4);
    cared.check(next);
    cared.wait(1);
    cared.check(
        "defragment etcd-2 (3)
        etcd-0: one_at_a_time
        etcd-2: maintenance",
    );
    cared.done();
    cared.wait(5);
    cared.check("move leader from etcd-0 to 3\netcd-0: moving_leader");
    cared.done();
    cared.leads(2);
    cared.check("defragment etcd-0 (1)\netcd-0: maintenance");
    cared.done();
    cared.check("");
    cared.check_plan("COMPLETE; agents COMPLETE: COMPLETE COMPLETE COMPLETE; ");
    // Once more: the lead is moved again.
    cared.ask(Some(2), None);
    cared.wait(5);
    cared.check("move leader from etcd-2 to 2\netcd-2: moving_leader");
}

#[test]
fn what_comes_first() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Cared), expected: &str) {
        let mut cared = Cared::asked();
        change(&mut cared);
        let said = cared.turn();
        assert!(!said.contains("defragment"), "{said}");
        let reason = said.lines().find(|line| line.starts_with("etcd-1"));
        assert_eq!(reason, Some(expected), "{said}");
    }
    check(
        |cared| {
            let mut target = Box::new(cared.model.target.clone());
            target.tuning.heartbeat_interval_ms = 150;
            let id = TargetId("t2".into());
            cared.model.apply(Event::TargetChanged { id, target }, NOW);
        },
        "etcd-1: trying_options",
    );
    let others = "etcd-1: others_not_well";
    let pod = PodIndex(2);
    check(
        |cared| {
            cared.model.observed.probes.remove(&pod);
        },
        others,
    );
    check(
        |cared| {
            cared.model.observed.answering_since.insert(pod, NOW);
        },
        others,
    );
    check(
        |cared| {
            let probe = cared.model.observed.probes.get_mut(&pod).unwrap();
            probe.answer.as_mut().unwrap().raft_applied_index = 0;
            let probe = cared.model.observed.probes.get_mut(&PodIndex(0)).unwrap();
            probe.answer.as_mut().unwrap().raft_applied_index = 1_000_000;
        },
        others,
    );
    check(
        |cared| cared.model.apply(Event::RestartAsked { pod }, NOW),
        others,
    );
    check(
        |cared| {
            let asked = cared.model.record.pods.get_mut(&pod).unwrap();
            asked.exchange_asked = Some(Exchange::InPlace);
        },
        others,
    );
    check(
        |cared| {
            let by = "bob".into();
            let since = NOW;
            let paused = cared.model.record.pods.get_mut(&pod).unwrap();
            paused.paused = Some(Paused { by, since });
        },
        others,
    );
    check(
        |cared| cared.tell("interrupt maintenance"),
        "etcd-1: interrupted",
    );
}

/// Nothing is stopped while a member is being defragmented, and nobody joins.
#[test]
fn what_waits_for_it() {
    let mut cared = Cared::asked();
    cared.turn();
    for pod in [0, 1, 2].map(PodIndex) {
        cared.model.apply(Event::RestartAsked { pod }, NOW);
    }
    cared.check(
        "etcd-0: one_at_a_time
        etcd-1: one_at_a_time
        etcd-2: one_at_a_time",
    );
    // The scheduler was restarted: it may be at it still.
    cared.model.in_flight.clear();
    let said = cared.turn();
    assert!(!said.contains("kill"), "{said}");
    // No defragmentation takes that long.
    cared.wait(600);
    let said = cared.turn();
    assert!(said.starts_with("move leader from etcd-0"), "{said}");
}

#[test]
fn a_scheduler_that_was_restarted_begins_it_again() {
    let mut cared = Cared::asked();
    cared.turn();
    cared.model.in_flight.clear();
    cared.check(
        "etcd-0: one_at_a_time
        etcd-1: others_not_well
        etcd-2: one_at_a_time",
    );
    cared.wait(5);
    cared.check(
        "defragment etcd-1 (2)
        etcd-0: one_at_a_time
        etcd-1: maintenance
        etcd-2: one_at_a_time",
    );
}

#[test]
fn it_is_tried_three_times() {
    let mut cared = Cared::asked();
    for _ in 0..3 {
        let said = cared.turn();
        assert!(said.starts_with("defragment etcd-1"), "{said}");
        cared.failed();
        cared.check_plan("PENDING; agents PENDING: PENDING DELAYED PENDING; ");
        cared.wait(30);
    }
    cared.check("");
    cared.check_plan(
        "ERROR; agents ERROR: PENDING ERROR PENDING; etcd-1 cannot be defragmented: no \
         answer in time",
    );
    cared.tell("restart maintenance");
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-1"), "{said}");
}

/// etcd may go on after nobody waits any more: until it serves again, or for a while,
/// nothing is stopped.
#[test]
fn what_was_given_up_may_go_on() {
    let mut cared = Cared::asked();
    cared.turn();
    cared.failed();
    let pod = PodIndex(2);
    cared.model.apply(Event::RestartAsked { pod }, cared.now);
    let said = cared.turn();
    assert!(said.contains("etcd-2: one_at_a_time"), "{said}");
    cared.wait(1);
    let said = cared.turn();
    assert!(said.starts_with("kill etcd-2"), "{said}");
}

/// With the smaller quota etcd would take no writes.
#[test]
fn a_smaller_quota_waits_for_a_smaller_database() {
    let mut cared = Cared::of(3);
    let mut target = Box::new(cared.model.target.clone());
    target.tuning.quota_backend_bytes = 128 * MIB;
    let id = TargetId("t2".into());
    cared.model.apply(Event::TargetChanged { id, target }, NOW);
    changes::taken_by_all(&mut cared.model);
    cared.all_say(|answer| answer.db_size_bytes = 128 * MIB);
    let said = cared.turn();
    assert!(said.contains("etcd-1: others_not_well"), "{said}");
    cared.all_say(|answer| answer.db_size_bytes = 127 * MIB);
    let said = cared.turn();
    assert!(!said.contains("others_not_well"), "{said}");
}

#[test]
fn stopped_and_passed_over() {
    let mut cared = Cared::asked();
    cared.turn();
    cared.tell("stop maintenance");
    cared.check("etcd-1: maintenance");
    cared.done();
    cared.wait(5);
    cared.check("");
    cared.check_plan("COMPLETE; agents COMPLETE: COMPLETE; ");

    let mut cared = Cared::asked();
    cared.tell("forceComplete maintenance agents etcd-1");
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-2"), "{said}");
    cared.tell("forceComplete maintenance");
    cared.done();
    cared.check("");
    cared.check_plan("COMPLETE; agents COMPLETE: COMPLETE; ");
}

#[test]
fn the_only_member_has_nobody_to_hand_over_to() {
    let mut cared = Cared::of(1);
    cared.ask(None, None);
    cared.check("defragment etcd-0 (1)\netcd-0: maintenance");
}

#[test]
fn one_pod_and_one_more() {
    let mut cared = Cared::of(3);
    cared.ask(Some(2), None);
    cared.check("defragment etcd-2 (3)\netcd-2: maintenance");
    cared.ask(Some(1), None);
    cared.check("etcd-1: one_at_a_time\netcd-2: maintenance");
    cared.done();
    cared.wait(5);
    cared.check("defragment etcd-1 (2)\netcd-1: maintenance");
}

#[test]
fn what_is_refused() {
    let check = |model: &Model, pod: Option<u16>, keep, expected: &str| {
        let request = MaintenanceRequest {
            pod: pod.map(PodIndex),
            keep_revisions: keep,
            by: "alice".into(),
        };
        let found =
            judge(model, &request).map_or_else(|why| why.to_string(), |()| "".into());
        assert_eq!(found, expected);
    };
    let model = Cared::of(3).model;
    check(&model, Some(2), None, "");
    check(&model, Some(3), None, "etcd-3 is no voter of the cluster");
    let all = "space is freed in all members or in none; leave out the pod";
    check(&model, Some(2), Some(0), all);
    let unborn = service(Parallel, 0);
    check(&unborn, None, None, "no cluster has formed yet");
}

#[test]
fn on_a_schedule() {
    let mut cared = Cared::of(3);
    cared.model.target.defragment = Some(DefragmentWhen {
        every_ms: 60_000,
        free_percent: 45,
        from_bytes: 100 * MIB,
    });
    // The first time comes after the first pause.
    cared.check("");
    cared.wait(59);
    cared.check("");
    cared.wait(1);
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-1"), "{said}");
    let round = cared.model.record.maintenance.round.clone().unwrap();
    assert_eq!(
        (round.by.as_str(), round.steps.len()),
        ("etcd.defragment_every", 3)
    );

    // Where there is little to be had, nothing is done; where nobody answers, it is
    // looked again.
    let mut cared = Cared::of(3);
    cared.model.target.defragment = round_when(45);
    cared.check("");
    cared.all_say(|answer| answer.db_size_in_use_bytes = 150 * MIB);
    cared.wait(60);
    cared.check("");
    assert_eq!(cared.model.record.maintenance.looked, Some(cared.now));
    cared.model.target.defragment = None;
    cared.check("");
    assert_eq!(cared.model.record.maintenance.looked, None);
}

fn round_when(free_percent: u64) -> Option<DefragmentWhen> {
    Some(DefragmentWhen {
        every_ms: 60_000,
        free_percent,
        from_bytes: 100 * MIB,
    })
}

/// The database is full: of this size, and so much is in use after old revisions are
/// forgotten.
fn full() -> Cared {
    let mut cared = Cared::of(3);
    cared.all_say(|answer| {
        answer.db_size_bytes = 2048 * MIB;
        answer.db_size_in_use_bytes = 2000 * MIB;
        answer.errors = ["memberID:1 alarm:NOSPACE ", "memberID:3 alarm:NOSPACE "]
            .map(str::to_owned)
            .to_vec();
    });
    cared
}

#[test]
fn a_full_database_is_explained() {
    let mut cared = full();
    cared.check("service: no_space");
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let why = plan(&cared.model, &turn).service_waiting.unwrap();
    assert_eq!(
        why.to_string(),
        "the database is full, so etcd takes no writes and goes on to serve reads: etcd-0 \
         has 2048 MB of 2048 MB, 2000 MB of them in use, etcd-2 has 2048 MB of 2048 MB, 2000 \
         MB of them in use; free space with `defragment \
         --free-space`, which forgets old revisions; if what is in it is live, delete keys \
         before that, or raise etcd.quota"
    );
}

/// Goes through all members of a round that frees space.
fn give_room(cared: &mut Cared, size_after: u64) {
    cared.check(
        "compact, keeping 5 revisions
        service: no_space
        etcd-0: one_at_a_time
        etcd-1: maintenance
        etcd-2: one_at_a_time",
    );
    cared.done();
    cared.all_say(|answer| answer.db_size_in_use_bytes = size_after);
    // Old revisions are cleared away meanwhile.
    let said = cared.turn();
    assert!(said.contains("etcd-1: maintenance"), "{said}");
    assert!(!said.contains("defragment"), "{said}");
    cared.wait(5);
    for next in ["defragment etcd-1", "defragment etcd-2", "move leader"] {
        let said = cared.turn();
        assert!(said.starts_with(next), "{said}");
        cared.done();
        cared.wait(5);
    }
    cared.leads(1);
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-0"), "{said}");
    cared.all_say(|answer| answer.db_size_bytes = size_after);
    cared.done();
    // Sizes are looked at again before the alarm is taken back.
    let said = cared.turn();
    assert!(!said.contains("disarm"), "{said}");
    cared.wait(1);
}

#[test]
fn a_full_database_is_given_room() {
    let mut cared = full();
    cared.ask(None, Some(5));
    cared.check_plan(
        "PENDING; compact PENDING: , agents PENDING: PENDING PENDING PENDING, disarm \
         PENDING: ; ",
    );
    give_room(&mut cared, 10 * MIB);
    cared.check("disarm NOSPACE of member 1\nservice: no_space");
    cared.done();
    let said = cared.turn();
    assert!(!said.contains("disarm"), "{said}");
    cared.all_say(|answer| {
        answer.errors.remove(0);
    });
    cared.wait(1);
    cared.check("disarm NOSPACE of member 3\nservice: no_space");
    cared.done();
    cared.wait(1);
    cared.all_say(|answer| answer.errors.clear());
    cared.check("");
    cared.check_plan(
        "COMPLETE; compact COMPLETE: , agents COMPLETE: COMPLETE COMPLETE COMPLETE, disarm \
         COMPLETE: ; ",
    );
}

/// To take the alarm back would only raise it anew.
#[test]
fn live_data_is_said_to_be_live() {
    let mut cared = full();
    cared.ask(None, Some(5));
    give_room(&mut cared, 1900 * MIB);
    cared.check("service: no_space");
    cared.check_plan(
        "ERROR; compact COMPLETE: , agents COMPLETE: COMPLETE COMPLETE COMPLETE, disarm \
         ERROR: ; etcd-0 has 1900 MB of 2048 MB, 1900 MB of them in use: what is in it is \
         live; delete keys, or raise etcd.quota, and try again",
    );
}

/// Space is asked for while a round is under way: who was begun before the compaction
/// is done again.
#[test]
fn space_is_asked_for_meanwhile() {
    let mut cared = full();
    cared.ask(None, None);
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-1"), "{said}");
    cared.now = cared.now.plus(std::time::Duration::from_secs(1));
    cared.ask(None, Some(5));
    let said = cared.turn();
    assert!(!said.contains("compact"), "{said}");
    cared.done();
    cared.wait(5);
    let said = cared.turn();
    assert!(said.starts_with("compact, keeping 5"), "{said}");
    let effects = cared.model.in_flight.values();
    let is_compaction = |effect: &Effect| matches!(effect, Effect::Compact { .. });
    assert!(effects.map(|it| &it.effect).any(is_compaction));
    cared.done();
    cared.wait(5);
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-1"), "{said}");
}
