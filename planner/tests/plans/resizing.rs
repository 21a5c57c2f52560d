//! Members that get other resources where they are, step by step: what agents offer,
//! what is asked of Mesos, and what is said meanwhile.

use std::time::Duration;

use etcd_planner::event::{OperationStatus, OperationVerdict, TaskStatus, TaskVerdict};
use etcd_planner::observed::TaskEnd;
use etcd_planner::offer::{
    Bundle, Offer, OfferId, OperationId, PortRange, ReservedBundle,
};
use etcd_planner::record::{AbandonedPlacement, ResizeStage};

use super::changes::settle;
use super::*;

/// A service under another target, and the time.
pub(super) struct Run {
    pub(super) model: Model,
    pub(super) now: Timestamp,
    pub(super) offers: u32,
}

pub(super) fn bundle(mem: u64) -> Bundle {
    Bundle {
        mem: Megabytes(mem),
        ..Bundle::default()
    }
}

pub(super) fn whole(needs: &Needs) -> Bundle {
    needs.beside_volume(true)
}

impl Run {
    /// Three members in good health, and a change of what is wanted. Offers flow.
    pub(super) fn new(change: impl FnOnce(&mut Target)) -> Self {
        let mut run = Run {
            model: service(Parallel, 3),
            now: NOW,
            offers: 0,
        };
        settle(&mut run.model);
        let MesosLink::Connected(session) = &mut run.model.observed.mesos else {
            unreachable!()
        };
        session.offers = OfferStream::Flowing {
            begun: NOW,
            since: NOW,
        };
        run.wants(change);
        run
    }

    pub(super) fn wants(&mut self, change: impl FnOnce(&mut Target)) {
        let mut target = Box::new(self.model.target.clone());
        change(&mut target);
        let id = TargetId(format!("{}+", self.model.target_id.0));
        let event = Event::TargetChanged { id, target };
        self.model.apply(event, self.now);
    }

    /// Time passes; all go on answering, and whoever runs is seen to run.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.model.clock = self.now;
        for probe in self.model.observed.probes.values_mut() {
            probe.at = self.now;
        }
    }

    /// A restarted scheduler knows its record, and then sees that all run.
    fn restart(&mut self) {
        let stored = self.model.record.clone();
        let json = serde_json::to_string(&stored).unwrap();
        let stored: Record = serde_json::from_str(&json).unwrap();
        let (id, target) = (self.model.target_id.clone(), self.model.target.clone());
        let before = std::mem::replace(&mut self.model, Model::new(id, target, stored));
        self.model.clock = self.now;
        self.model.observed.mesos = before.observed.mesos;
        self.model.observed.probes = before.observed.probes;
        self.model.observed.tasks = before.observed.tasks;
        self.model.observed.answering_since = before.observed.answering_since;
    }

    /// One offer of the agent of a pod: so much is free, so much reserved for the pod.
    pub(super) fn offers(
        &mut self,
        index: u16,
        free: Bundle,
        reserved: Bundle,
        has_volume: bool,
    ) {
        self.offers += 1;
        let pod = &self.model.record.pods[&PodIndex(index)];
        let placement = pod.placement.as_ref().unwrap();
        let volume = (placement.volume_id.clone(), placement.needs.volume);
        let ours = ReservedBundle {
            pod: Some(PodIndex(index)),
            framework_id: None,
            resources: reserved,
            volumes: has_volume.then_some(volume).into_iter().collect(),
        };
        let is_shown = has_volume || !ours.resources.is_empty();
        let reserved = is_shown.then(|| (placement.reservation_id.clone(), ours));
        let offer = Offer {
            id: OfferId(format!("offer-{}", self.offers)),
            agent_id: placement.agent_id.clone(),
            hostname: placement.hostname.clone(),
            address: placement.address.clone(),
            attributes: BTreeMap::new(),
            domain: None,
            role: "etcd-role".into(),
            unavailable_from: None,
            free,
            base: Vec::new(),
            disks: Vec::new(),
            reserved: reserved.into_iter().collect(),
            received: self.now,
        };
        self.model.apply(Event::Offers(vec![offer]), self.now);
    }

    /// The pod's task ends as it was told.
    fn ends(&mut self, index: u16) {
        let pod = &self.model.record.pods[&PodIndex(index)];
        let task_id = pod.launch.as_ref().unwrap().task_id.clone();
        let status = TaskStatus {
            task_id,
            agent_id: None,
            verdict: TaskVerdict::Over(TaskEnd::Killed),
            words: "TASK_KILLED".into(),
            report: None,
        };
        self.model.apply(Event::TaskStatus(status), self.now);
    }

    /// The pod's task runs, its etcd answers, and has for a minute.
    fn runs(&mut self, index: u16) {
        let pod = PodIndex(index);
        let launch = self.model.record.pods[&pod].launch.as_ref().unwrap();
        let status = TaskStatus {
            task_id: launch.task_id.clone(),
            agent_id: None,
            verdict: TaskVerdict::Alive(TaskState::Running),
            words: "TASK_RUNNING".into(),
            report: None,
        };
        self.model.apply(Event::TaskStatus(status), self.now);
        let members: Vec<MemberSeen> = (0..3).map(member_seen).collect();
        let answer = Ok(MemberAnswer {
            members,
            ..answer(pod)
        });
        let probe = Probe {
            at: self.now,
            answer,
        };
        self.model.apply(Event::Probed { pod, probe }, self.now);
        self.wait(60);
    }

    /// One turn; all that is done succeeds. What is asked of Mesos, and what is said of
    /// a pod.
    #[track_caller]
    pub(super) fn turn(&mut self, about: u16, expected: &str) {
        let turn = Turn {
            now: self.now,
            entropy: self.now.0.into(),
            identify_founders: |_, _| Err("nobody is to be founded here".into()),
        };
        let decision = plan(&self.model, &turn);
        let about = PodIndex(about);
        let mut found: Vec<String> = decision
            .effects
            .iter()
            .map(ToString::to_string)
            .filter(|effect| {
                let of_no_interest = ["decline", "suppress", "revive", "reconcile"];
                !of_no_interest.iter().any(|word| effect.starts_with(word))
            })
            .collect();
        if let Some(reason) = decision.waiting.get(&about) {
            found.push(format!("{about}: {reason}"));
        }
        for (id, effect) in self.model.absorb(decision, self.now) {
            if effect.awaits_result() {
                let outcome = etcd_planner::Outcome::Done;
                self.model
                    .apply(Event::EffectDone { id, outcome }, self.now);
            }
        }
        assert_eq!(found.join("\n"), expected);
    }

    fn placement(&self, index: u16) -> &Placement {
        let pod = &self.model.record.pods[&PodIndex(index)];
        pod.placement.as_ref().unwrap()
    }
}

pub(super) fn more_memory(target: &mut Target) {
    target.needs.mem = Megabytes(1536);
}

/// Reserved first, while it runs; then stopped; then launched with more.
#[test]
fn growth_with_room() {
    for restarts in [false, true] {
        let mut run = Run::new(more_memory);
        let step = |run: &mut Run| {
            if restarts {
                run.restart();
            }
        };
        run.turn(
            1,
            "etcd-1: 10.0.0.1 has not offered yet what it has room for",
        );
        run.wait(1);
        run.offers(1, bundle(600), Bundle::default(), false);
        run.turn(
            1,
            "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
             etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
        );
        step(&mut run);
        run.wait(1);
        run.turn(
            1,
            "etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
        );
        run.offers(1, bundle(88), bundle(512), false);
        run.turn(1, "kill etcd-1\netcd-1: etcd is stopping");
        step(&mut run);
        run.wait(1);
        run.ends(1);
        run.turn(
            1,
            "etcd-1: 10.0.0.1 has not offered the pod's own resources",
        );
        step(&mut run);
        // Its executor still ends.
        run.offers(1, bundle(88), bundle(512), false);
        run.turn(
            1,
            "etcd-1: 10.0.0.1 has not offered the pod's own resources",
        );
        let reserved = whole(&run.model.target.needs);
        run.offers(1, bundle(88), reserved, true);
        run.turn(
            1,
            "accept agent-1 for etcd-1: launch as existing\n\
             etcd-1: launched: the offer is being accepted",
        );
        assert_eq!(run.placement(1).needs, run.model.target.needs);
        step(&mut run);
        run.wait(1);
        run.runs(1);
        run.offers(1, bundle(88), Bundle::default(), false);
        run.turn(1, "");
        assert_eq!(run.placement(1).resize, None);
        assert_eq!(run.placement(1).over_since, None);
        assert_eq!(run.model.record.pods[&PodIndex(1)].updating, None);
    }
}

/// The others go on; it is said what is lacking, and what helps.
#[test]
fn growth_without_room() {
    let mut run = Run::new(more_memory);
    run.wait(1);
    run.offers(1, bundle(100), Bundle::default(), false);
    run.offers(2, bundle(512), Bundle::default(), false);
    run.turn(
        1,
        "accept agent-2 for etcd-2: reserve 512 MB of memory more\n\
         etcd-1: it is to have 512 MB of memory more, and 10.0.0.1 does not offer 412 MB of \
         memory of that; it goes on when there is room, and takes another agent with \
         service.move_on_resize = true or `pod replace etcd-1`",
    );
    // An agent that offers nothing at all has nothing, after a while.
    let mut run = Run::new(more_memory);
    run.wait(39);
    run.turn(
        1,
        "etcd-1: 10.0.0.1 has not offered yet what it has room for",
    );
    run.wait(1);
    run.turn(
        1,
        "etcd-1: it is to have 512 MB of memory more, and 10.0.0.1 does not offer 512 MB of \
         memory of that; it goes on when there is room, and takes another agent with \
         service.move_on_resize = true or `pod replace etcd-1`",
    );
}

/// A canary is the first that has the new amounts, not one that runs the same etcd.
#[test]
fn growth_with_a_canary() {
    let mut run = Run::new(|target| {
        more_memory(target);
        target.update_strategy = SerialCanary;
    });
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
         etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
    );
    run.wait(1);
    run.offers(1, bundle(88), bundle(512), false);
    run.turn(
        2,
        "kill etcd-1\netcd-2: one at a time in the service: etcd-1 comes first",
    );
    run.ends(1);
    let reserved = whole(&run.model.target.needs);
    run.offers(1, bundle(88), reserved, true);
    run.turn(
        2,
        "accept agent-1 for etcd-1: launch as existing\n\
         etcd-2: phase agents of plan update is a canary and waits for `continue`",
    );
}

/// Less is used at once, and what is over is given back once the member is well.
#[test]
fn shrinking() {
    let mut run = Run::new(|target| {
        target.needs.mem = Megabytes(512);
        target.needs.cpus = MilliCpus(500);
    });
    run.turn(1, "kill etcd-1\netcd-1: etcd is stopping");
    run.wait(1);
    run.ends(1);
    run.offers(1, Bundle::default(), whole(&needs()), true);
    run.turn(
        1,
        "accept agent-1 for etcd-1: launch as existing\n\
         etcd-1: launched: the offer is being accepted",
    );
    let over = whole(&needs()).without(&run.placement(1).amounts());
    run.wait(1);
    run.offers(1, Bundle::default(), over.clone(), false);
    run.turn(
        1,
        "etcd-1: the master has not told the state of the task yet",
    );
    run.runs(1);
    run.turn(1, "kill etcd-2");
    run.restart();
    run.offers(1, Bundle::default(), over, false);
    run.turn(
        1,
        "accept agent-1 for etcd-1: give back 0.5 cpus, 512 MB of memory\nkill etcd-2",
    );
    assert!(run.placement(1).over_since.is_some());
    run.wait(1);
    run.offers(1, bundle(512), Bundle::default(), false);
    run.turn(1, "");
    assert_eq!(run.placement(1).over_since, None);
}

#[test]
fn another_client_port() {
    let port = |port: u16| Bundle {
        ports: vec![PortRange {
            begin: port,
            end: port,
        }],
        ..Bundle::default()
    };
    let mut run = Run::new(|target| target.needs.client_port = 4001);
    run.offers(1, port(4000), Bundle::default(), false);
    run.turn(
        1,
        "etcd-1: it is to have port 4001 more, and 10.0.0.1 does not offer port 4001 of \
         that; it goes on when there is room, and takes another agent with \
         service.move_on_resize = true or `pod replace etcd-1`",
    );
    run.wait(1);
    run.offers(1, port(4001), Bundle::default(), false);
    run.turn(
        1,
        "accept agent-1 for etcd-1: reserve port 4001 more\n\
         etcd-1: port 4001 more are being reserved for it on 10.0.0.1",
    );
    run.wait(1);
    run.offers(1, Bundle::default(), port(4001), false);
    run.turn(1, "kill etcd-1\netcd-1: etcd is stopping");
    run.ends(1);
    let mut all = whole(&needs());
    all.ports.extend(port(4001).ports);
    run.offers(1, Bundle::default(), all, true);
    run.turn(
        1,
        "accept agent-1 for etcd-1: launch as existing\n\
         etcd-1: launched: the offer is being accepted",
    );
    run.wait(1);
    run.runs(1);
    run.turn(1, "");
    run.offers(1, Bundle::default(), port(2379), false);
    run.turn(1, "accept agent-1 for etcd-1: give back port 2379");
}

/// Nothing was stopped for it: the member runs on as it was, and it is tried again.
#[test]
fn a_reservation_that_is_dropped() {
    let refused = |run: &mut Run, why: &str| {
        run.turn(
            1,
            &format!(
                "etcd-1: what it is to have more on 10.0.0.1 was not reserved, and is asked \
                 for again: {why}"
            ),
        );
    };
    let asked = || {
        let mut run = Run::new(more_memory);
        run.offers(1, bundle(600), Bundle::default(), false);
        run.turn(
            1,
            "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
             etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
        );
        run
    };
    // Mesos says so.
    let mut run = asked();
    let status = OperationStatus {
        id: OperationId(format!("grow__r-1__{}", run.now.0)),
        verdict: OperationVerdict::Failed,
        words: "OPERATION_DROPPED".into(),
    };
    run.model.apply(Event::OperationStatus(status), run.now);
    refused(&mut run, "the agent could not reserve: OPERATION_DROPPED");
    // Offers show that it was not.
    let mut run = asked();
    for _ in 0..2 {
        run.wait(10);
        run.offers(1, bundle(600), Bundle::default(), false);
        run.turn(1, if run.now.since(NOW).as_secs() == 10 {
            "etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1"
        } else {
            "etcd-1: what it is to have more on 10.0.0.1 was not reserved, and is asked for \
             again: its agent did not reserve it"
        });
    }
    // Its agent says nothing any more.
    let mut run = asked();
    run.wait(60);
    refused(&mut run, "its agent has not shown that it is reserved");
    assert_eq!(run.placement(1).needs, needs());
    run.wait(60);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
         etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
    );
}

/// A scheduler that dies between its record and its call: the next one finds out, and
/// asks at once.
#[test]
fn a_reservation_that_nobody_asked_for() {
    let ask = "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
               etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1";
    let mut run = Run::new(more_memory);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(1, ask);
    run.wait(1);
    run.restart();
    let MesosLink::Connected(session) = &mut run.model.observed.mesos else {
        unreachable!()
    };
    session.since = run.now;
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
    );
    run.wait(10);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(1, ask);
    // From now on it is as always.
    run.wait(10);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
    );
    run.wait(10);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "etcd-1: what it is to have more on 10.0.0.1 was not reserved, and is asked for \
         again: its agent did not reserve it",
    );
}

/// A scheduler that has just started takes nobody for unwell whom it has not asked yet.
#[test]
fn a_member_that_was_not_asked_yet() {
    let mut run = Run::new(|target| target.needs.mem = Megabytes(512));
    let probe = run.model.observed.probes.remove(&PodIndex(2)).unwrap();
    run.turn(
        2,
        "etcd-2: its turn comes when the others are well: etcd-2 has not been asked yet how \
         it is",
    );
    run.model.observed.probes.insert(PodIndex(2), probe);
    run.turn(1, "kill etcd-1\netcd-1: etcd is stopping");
}

/// It was reserved, and is gone when the member has been stopped for it.
#[test]
fn what_was_reserved_and_is_gone() {
    let mut run = Run::new(more_memory);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
         etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
    );
    run.wait(1);
    run.offers(1, bundle(88), bundle(512), false);
    run.turn(1, "kill etcd-1\netcd-1: etcd is stopping");
    run.ends(1);
    for _ in 0..2 {
        run.offers(1, bundle(600), whole(&needs()), true);
        run.turn(
            1,
            "etcd-1: 10.0.0.1 has not offered the pod's own resources",
        );
        run.wait(10);
    }
    run.offers(1, bundle(600), whole(&needs()), true);
    run.turn(
        1,
        "accept agent-1 for etcd-1: launch as existing\n\
         etcd-1: what it is to have more on 10.0.0.1 was not reserved, and is asked for \
         again: what was reserved for it is not there any more",
    );
    assert_eq!(run.placement(1).needs, needs());
}

/// What is wanted changes back: what was reserved for it is given back.
#[test]
fn growth_that_is_not_wanted_any_more() {
    let mut run = Run::new(more_memory);
    run.offers(1, bundle(600), Bundle::default(), false);
    run.turn(
        1,
        "accept agent-1 for etcd-1: reserve 512 MB of memory more\n\
         etcd-1: 512 MB of memory more are being reserved for it on 10.0.0.1",
    );
    run.wants(|target| target.needs = needs());
    run.turn(1, "");
    assert_eq!(run.placement(1).resize, None);
    run.wait(1);
    run.offers(1, bundle(88), bundle(512), false);
    run.turn(1, "accept agent-1 for etcd-1: give back 512 MB of memory");
}

/// With less it does not become well: it goes back to what it had, which was kept.
#[test]
fn a_member_that_fails_with_less() {
    let mut run = Run::new(|target| target.needs.mem = Megabytes(512));
    run.turn(1, "kill etcd-1\netcd-1: etcd is stopping");
    run.ends(1);
    run.offers(1, Bundle::default(), whole(&needs()), true);
    run.turn(
        1,
        "accept agent-1 for etcd-1: launch as existing\n\
         etcd-1: launched: the offer is being accepted",
    );
    let pod = run.model.record.pods.get_mut(&PodIndex(1)).unwrap();
    pod.failures.in_a_row = 3;
    pod.failures.last = Some("out of memory".into());
    let launch = pod.launch.as_mut().unwrap();
    launch.end = Some(LaunchEnd {
        at: NOW,
        kind: EndKind::Failed,
        why: "out of memory".into(),
    });
    run.wait(1);
    run.turn(
        1,
        "etcd-1: 10.0.0.1 has not offered the pod's own resources",
    );
    let placement = run.placement(1);
    assert_eq!(
        placement.resize.as_ref().unwrap().stage,
        ResizeStage::AtNextLaunch
    );
    run.offers(1, Bundle::default(), whole(&needs()), true);
    run.turn(
        1,
        "accept agent-1 for etcd-1: launch as existing\n\
         etcd-1: launched: the offer is being accepted",
    );
    assert_eq!(run.placement(1).needs, needs());
}

/// A place is given back by what its agent shows of it, not by what was thought.
#[test]
fn a_resized_place_is_given_back() {
    let mut run = Run::new(|_| {});
    let pod = run.model.record.pods.get_mut(&PodIndex(2)).unwrap();
    let placement = pod.placement.clone().unwrap();
    run.model.record.abandoned.push(AbandonedPlacement {
        pod: PodIndex(2),
        placement: Placement {
            agent_id: AgentId("old".into()),
            reservation_id: ReservationId("r-old".into()),
            over_since: Some(NOW),
            ..placement
        },
        since: NOW,
        why: "it moved".into(),
        awaits_approval: false,
        can_be_missed: true,
        absent_since: None,
    });
    let mut shown = whole(&needs());
    shown.mem = Megabytes(4096);
    let offer = |run: &mut Run, resources: Bundle, has_volume: bool| {
        let place = run.model.record.abandoned[0].placement.clone();
        let volume = (place.volume_id.clone(), place.needs.volume);
        run.offers += 1;
        let ours = ReservedBundle {
            pod: Some(PodIndex(2)),
            framework_id: None,
            resources,
            volumes: has_volume.then_some(volume).into_iter().collect(),
        };
        let offer = Offer {
            id: OfferId(format!("old-{}", run.offers)),
            agent_id: place.agent_id,
            hostname: place.hostname,
            address: place.address,
            attributes: BTreeMap::new(),
            domain: None,
            role: "etcd-role".into(),
            unavailable_from: None,
            free: Bundle::default(),
            base: Vec::new(),
            disks: Vec::new(),
            reserved: BTreeMap::from([(place.reservation_id, ours)]),
            received: run.now,
        };
        run.model.apply(Event::Offers(vec![offer]), run.now);
    };
    // Its executor still ends: only a part is shown.
    offer(&mut run, bundle(512), false);
    run.turn(2, "");
    // In two offers: they are declined, and come as one.
    offer(&mut run, bundle(512), false);
    offer(&mut run, whole(&needs()), true);
    run.turn(2, "");
    offer(&mut run, shown.clone(), true);
    let turn = Turn {
        now: run.now,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let decision = plan(&run.model, &turn);
    let given_back = decision.effects.iter().find_map(|effect| match effect {
        etcd_planner::Effect::Release {
            shown, has_volume, ..
        } => Some((shown.clone(), *has_volume)),
        _ => None,
    });
    assert_eq!(given_back, Some((shown, true)));
    // Some of it may be in yet another offer, so that it is not forgotten before
    // offers have gone without it for a while.
    let _ = run.model.absorb(decision, run.now);
    let status = OperationStatus {
        id: OperationId("unreserve__r-old".into()),
        verdict: OperationVerdict::Done,
        words: "OPERATION_FINISHED".into(),
    };
    run.model.apply(Event::OperationStatus(status), run.now);
    assert_eq!(run.model.record.abandoned.len(), 1);
}

/// What cannot be changed in place: size, kind and profile of the disk, the peer port,
/// the user and the network.
#[test]
fn what_takes_another_place() {
    let check = |change: fn(&mut Target)| {
        let mut run = Run::new(change);
        run.turn(1, "");
        let pod = &run.model.record.pods[&PodIndex(1)];
        assert!(pod.exchange_asked.is_some(), "{:?}", run.model.target);
    };
    check(|target| target.needs.volume = Megabytes(8192));
    check(|target| target.needs.peer_port = 2381);
    check(|target| target.disk = DiskWish::Path);
    check(|target| target.user = "etcd".into());
    check(|target| {
        target.network = Network::Virtual(etcd_planner::target::VirtualNetwork {
            name: "dcos".into(),
            labels: Vec::new(),
            maps_ports: false,
            dns_domain: "etcd.example".into(),
        });
    });
}
