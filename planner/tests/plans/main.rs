//! What plan commands do, as a table: a service that deploys, what is told to its
//! plans, and what the plans show then.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod another_etcd;
mod changes;
mod corruption;
mod disk_room;
mod failures;
mod maintenance;
mod moving;
mod only_voter;
mod resizing;
mod trying;

use std::collections::BTreeMap;
use std::fmt::Write;

use etcd_config::DeployStrategy;
use etcd_launch::{ClusterId, ClusterToken, MemberId, PodIndex};
use etcd_planner::observed::{
    MemberAnswer, MemberSeen, MesosLink, OfferStream, Probe, Session, TaskSeen, TaskState,
};
use etcd_planner::offer::{
    AgentId, ExecutorId, Hostname, Megabytes, MilliCpus, ReservationId, TaskId, VolumeId,
};
use etcd_planner::overrides::{PhaseName, PlanName, PlanPart};
use etcd_planner::plan_commands::{self, PlanCommand, PlanVerb};
use etcd_planner::plans::plans;
use etcd_planner::record::{
    Cluster, EndKind, Enrolled, Incarnation, KeptBack, Launch, LaunchEnd, Membership,
    Placement, PlacementStage, Pod, Record, TargetId,
};
use etcd_planner::target::{DiskWish, Needs, Network};
use etcd_planner::{Event, Model, Target, Timestamp, Turn, plan};

const NOW: Timestamp = Timestamp(1_000_000);

fn target(strategy: DeployStrategy) -> Target {
    Target {
        service: "etcd".into(),
        members: 3,
        placement: etcd_config::PlacementConstraints::default(),
        region: None,
        disk: DiskWish::Root,
        offer_collection_ms: 0,
        network: Network::Host,
        user: "root".into(),
        needs: needs(),
        token_prefix: "dcos".into(),
        tuning: etcd_launch::Tuning {
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            snapshot_count: 100_000,
            quota_backend_bytes: 2 << 30,
            auto_compaction: None,
            enable_v2: false,
        },
        program: etcd_planner::programs::Programs {
            directory: ".".into(),
            checksums: BTreeMap::new(),
            archive: None,
            executor: None,
            version: None,
        },
        scheme: etcd_launch::Scheme::Http,
        stop_grace_ms: 30_000,
        deploy_strategy: strategy,
        update_strategy: DeployStrategy::Serial,
        replace_after_ms: None,
        allow_scale_in: false,
        update_timeout_ms: 600_000,
        update_rollback: true,
        move_on_resize: false,
        defragment: None,
    }
}

fn needs() -> Needs {
    Needs {
        cpus: MilliCpus(1000),
        mem: Megabytes(1024),
        volume: Megabytes(5120),
        executor_cpus: MilliCpus(100),
        executor_mem: Megabytes(32),
        executor_disk: Megabytes(256),
        client_port: 2379,
        peer_port: 2380,
    }
}

/// A connected service whose first members, so many, are healthy voters.
fn service(strategy: DeployStrategy, up: u16) -> Model {
    let id = TargetId("t".into());
    let mut record = Record::new(id.clone());
    if up > 0 {
        record.cluster = Cluster::Formed(Incarnation {
            token: ClusterToken("dcos-1".into()),
            cluster_id: ClusterId(1),
            since: Timestamp(1),
        });
    }
    record.pods = (0..up).map(|index| (PodIndex(index), pod(index))).collect();
    let mut model = Model::new(id, target(strategy), record);
    model.clock = NOW;
    model.observed.mesos = MesosLink::Connected(Session {
        epoch: 1,
        since: Timestamp(1),
        master_region: None,
        reconciled: None,
        reconciled_implicitly: None,
        offers: OfferStream::Suppressed,
    });
    let members: Vec<MemberSeen> = (0..up).map(member_seen).collect();
    for index in (0..up).map(PodIndex) {
        let answer = Ok(MemberAnswer {
            members: members.clone(),
            ..answer(index)
        });
        model
            .observed
            .probes
            .insert(index, Probe { at: NOW, answer });
    }
    model
}

fn pod(index: u16) -> Pod {
    let address = format!("10.0.0.{index}");
    let agent_id = AgentId(format!("agent-{index}"));
    Pod {
        membership: Membership::Voter(Enrolled {
            member_id: member_id(index),
            peer_url: format!("http://{address}:2380"),
            launched: true,
            started: true,
        }),
        placement: Some(Placement {
            agent_id: agent_id.clone(),
            hostname: Hostname(address.clone()),
            address,
            reservation_id: ReservationId(format!("r-{index}")),
            volume_id: VolumeId(format!("v-{index}")),
            needs: needs(),
            disk: None,
            role: None,
            base: Vec::new(),
            user: Some("root".into()),
            network: Some(Network::Host),
            domain: None,
            attributes: BTreeMap::new(),
            stage: PlacementStage::Confirmed,
            resize: None,
            over_since: None,
        }),
        launch: Some(Launch {
            task_id: TaskId(format!("task-{index}")),
            executor_id: ExecutorId(format!("executor-{index}")),
            agent_id,
            generation: etcd_launch::PodGeneration::default(),
            issued: Timestamp(1),
            target: TargetId("t".into()),
            member_id: None,
            paused: false,
            seen: true,
            stop_asked: None,
            end: None,
        }),
        deployed: true,
        recipe: Some(target(Parallel).recipe()),
        ..Pod::default()
    }
}

/// Not 0, with which etcd means nobody.
fn member_id(index: u16) -> MemberId {
    MemberId(u64::from(index) + 1)
}

fn member_seen(index: u16) -> MemberSeen {
    MemberSeen {
        member_id: member_id(index),
        name: PodIndex(index).task_name(),
        peer_urls: vec![format!("http://10.0.0.{index}:2380")],
        is_learner: false,
    }
}

fn answer(index: PodIndex) -> MemberAnswer {
    MemberAnswer {
        cluster_id: ClusterId(1),
        member_id: member_id(index.0),
        version: "3.5.30".into(),
        storage_version: None,
        downgrade_to: None,
        leader: Some(member_id(0)),
        raft_term: 2,
        raft_index: 11,
        raft_applied_index: 11,
        db_size_bytes: 0,
        db_size_in_use_bytes: 0,
        is_learner: false,
        errors: Vec::new(),
        linearizable: true,
        members: Vec::new(),
    }
}

/// A member that was up has ended by itself.
fn fail(model: &mut Model, index: u16) {
    let index = PodIndex(index);
    model.observed.probes.remove(&index);
    let launch = model.record.pods.get_mut(&index).unwrap().launch.as_mut();
    launch.unwrap().end = Some(LaunchEnd {
        at: NOW,
        kind: EndKind::Failed,
        why: "TASK_FAILED".into(),
    });
}

fn part(words: &[&str]) -> PlanPart {
    let step = |name: &&str| name.parse().unwrap();
    PlanPart {
        plan: PlanName::parse(words[0]).unwrap(),
        phase: words.get(1).map(|name| PhaseName((*name).to_owned())),
        step: words.get(2).map(step),
    }
}

/// Tells plans one thing a line, such as `interrupt deploy agents`; what came of
/// it, then of a turn: the statuses of plan, phases and steps, and the reasons.
#[track_caller]
fn check(mut model: Model, told: &str, expected: &str) {
    let mut found = String::new();
    for line in told.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let command = PlanCommand {
            verb: PlanVerb::parse(words[0]).unwrap(),
            part: part(&words[1..]),
            by: "alice".into(),
        };
        match plan_commands::judge(&model, &command) {
            Ok(()) => model.apply(Event::PlanCommand(command), NOW),
            Err(refusal) => writeln!(found, "{line}: {refusal}").unwrap(),
        }
    }
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let decision = plan(&model, &turn);
    let waiting = decision.waiting.clone();
    let _ = model.absorb(decision, NOW);
    for plan in plans(&model, &waiting) {
        let is_shown =
            ["deploy", "recovery"].contains(&plan.name) || told.contains(plan.name);
        if plan.phases.is_empty() || !is_shown {
            continue;
        }
        let name = plan.name;
        writeln!(
            found,
            "{name} ({}): {}",
            plan.strategy,
            plan.status.as_str()
        )
        .unwrap();
        for phase in &plan.phases {
            let steps: Vec<&str> = phase
                .steps
                .iter()
                .map(|step| step.status.as_str())
                .collect();
            writeln!(
                found,
                "  {} ({}): {}: {}",
                phase.name,
                phase.strategy,
                phase.status.as_str(),
                steps.join(" ")
            )
            .unwrap();
        }
    }
    for (pod, reason) in waiting {
        writeln!(found, "{pod}: {}", reason.code()).unwrap();
    }
    let expected: Vec<&str> = expected
        .lines()
        .map(|line| line.strip_prefix("        ").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(found.trim_end(), expected.join("\n").trim_end(), "{told}");
}

use DeployStrategy::{Parallel, ParallelCanary, Serial, SerialCanary};

#[test]
fn strategies() {
    check(
        service(Parallel, 0),
        "",
        "
        deploy (serial): PENDING
          agents (parallel): PENDING: PENDING PENDING PENDING
        etcd-0: no_offer
        etcd-1: no_offer
        etcd-2: no_offer
        ",
    );
    check(
        service(Serial, 0),
        "",
        "
        deploy (serial): PENDING
          agents (serial): PENDING: PENDING PENDING PENDING
        etcd-0: no_offer
        etcd-1: earlier_step
        etcd-2: earlier_step
        ",
    );
    check(
        service(Serial, 1),
        "",
        "
        deploy (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: COMPLETE PENDING PENDING
        etcd-1: no_offer
        etcd-2: earlier_step
        ",
    );
    check(
        service(SerialCanary, 0),
        "",
        "
        deploy (serial): WAITING
          agents (serial-canary): WAITING: PENDING PENDING PENDING
        etcd-0: awaits_approval
        etcd-1: awaits_approval
        etcd-2: awaits_approval
        ",
    );
    check(
        service(SerialCanary, 0),
        "continue deploy agents",
        "
        deploy (serial): PENDING
          agents (serial-canary): PENDING: PENDING PENDING PENDING
        etcd-0: no_offer
        etcd-1: earlier_step
        etcd-2: earlier_step
        ",
    );
    check(
        service(SerialCanary, 1),
        "continue deploy",
        "
        deploy (serial): WAITING
          agents (serial-canary): WAITING: COMPLETE PENDING PENDING
        etcd-1: awaits_approval
        etcd-2: awaits_approval
        ",
    );
    check(
        service(SerialCanary, 1),
        "continue deploy
        continue deploy
        continue deploy",
        "
        continue deploy: Command has already been reported or completed
        deploy (serial): IN_PROGRESS
          agents (serial-canary): IN_PROGRESS: COMPLETE PENDING PENDING
        etcd-1: no_offer
        etcd-2: earlier_step
        ",
    );
    check(
        service(ParallelCanary, 1),
        "continue deploy
        continue deploy",
        "
        deploy (serial): IN_PROGRESS
          agents (parallel-canary): IN_PROGRESS: COMPLETE PENDING PENDING
        etcd-1: no_offer
        etcd-2: no_offer
        ",
    );
}

#[test]
fn pauses() {
    check(
        service(Parallel, 0),
        "interrupt deploy
        interrupt deploy",
        "
        interrupt deploy: Command has already been reported or completed
        deploy (serial): WAITING
          agents (parallel): PENDING: PENDING PENDING PENDING
        etcd-0: interrupted
        etcd-1: interrupted
        etcd-2: interrupted
        ",
    );
    check(
        service(Serial, 1),
        "interrupt deploy agents",
        "
        deploy (serial): WAITING
          agents (serial): WAITING: COMPLETE PENDING PENDING
        etcd-1: interrupted
        etcd-2: interrupted
        ",
    );
    check(
        service(Parallel, 1),
        "interrupt deploy agents etcd-2",
        "
        deploy (serial): WAITING
          agents (parallel): WAITING: COMPLETE PENDING WAITING
        etcd-1: no_offer
        etcd-2: interrupted
        ",
    );
    check(
        service(Parallel, 1),
        "interrupt deploy agents etcd-2
        interrupt deploy
        continue deploy",
        "
        deploy (serial): WAITING
          agents (parallel): WAITING: COMPLETE PENDING WAITING
        etcd-1: no_offer
        etcd-2: interrupted
        ",
    );
    check(
        service(Parallel, 1),
        "interrupt deploy agents etcd-2
        continue deploy",
        "
        deploy (serial): IN_PROGRESS
          agents (parallel): IN_PROGRESS: COMPLETE PENDING PENDING
        etcd-1: no_offer
        etcd-2: no_offer
        ",
    );
    check(
        service(Parallel, 3),
        "interrupt deploy
        interrupt recovery
        continue deploy",
        "
        interrupt deploy: Command has already been reported or completed
        interrupt recovery: Command has already been reported or completed
        continue deploy: Command has already been reported or completed
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        ",
    );
    let mut failed = service(Parallel, 3);
    fail(&mut failed, 1);
    check(
        failed.clone(),
        "",
        "
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): PENDING
          etcd-1 (serial): PENDING: PENDING
        etcd-1: own_resources_not_offered
        ",
    );
    check(
        failed.clone(),
        "interrupt recovery",
        "
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): WAITING
          etcd-1 (serial): PENDING: PENDING
        etcd-1: interrupted
        ",
    );
    check(
        failed.clone(),
        "interrupt recovery etcd-1",
        "
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): WAITING
          etcd-1 (serial): WAITING: PENDING
        etcd-1: interrupted
        ",
    );
    check(
        failed,
        "interrupt recovery etcd-0",
        "
        interrupt recovery etcd-0: Phase etcd-0 not found
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): PENDING
          etcd-1 (serial): PENDING: PENDING
        etcd-1: own_resources_not_offered
        ",
    );
}

#[test]
fn forced_steps() {
    check(
        service(Serial, 1),
        "forceComplete deploy agents etcd-1
        forceComplete deploy agents etcd-1",
        "
        forceComplete deploy agents etcd-1: Command has already been reported or completed
        deploy (serial): IN_PROGRESS
          agents (serial): IN_PROGRESS: COMPLETE COMPLETE PENDING
        recovery (parallel): PENDING
          etcd-1 (serial): PENDING: PENDING
        etcd-1: no_offer
        etcd-2: no_offer
        ",
    );
    check(
        service(Serial, 0),
        "forceComplete deploy",
        "
        deploy (serial): COMPLETE
          agents (serial): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): PENDING
          etcd-0 (serial): PENDING: PENDING
          etcd-1 (serial): PENDING: PENDING
          etcd-2 (serial): PENDING: PENDING
        etcd-0: no_offer
        etcd-1: no_offer
        etcd-2: no_offer
        ",
    );
    let mut failed = service(Parallel, 3);
    fail(&mut failed, 1);
    check(
        failed,
        "forceComplete recovery",
        "
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        recovery (parallel): COMPLETE
          etcd-1 (serial): COMPLETE: COMPLETE
        etcd-1: own_resources_not_offered
        ",
    );
}

#[test]
fn restarts() {
    check(
        service(Parallel, 3),
        "restart deploy agents etcd-1
        restart deploy agents etcd-1",
        "
        restart deploy agents etcd-1: Command has already been reported or completed
        deploy (serial): IN_PROGRESS
          agents (parallel): IN_PROGRESS: COMPLETE PENDING COMPLETE
        etcd-1: reconciling
        ",
    );
    check(
        service(Parallel, 3),
        "stop deploy",
        "
        deploy (serial): WAITING
          agents (parallel): PENDING: PENDING PENDING PENDING
        etcd-0: interrupted
        etcd-1: interrupted
        etcd-2: interrupted
        ",
    );
    check(
        service(Parallel, 3),
        "start deploy",
        "
        deploy (serial): PENDING
          agents (parallel): PENDING: PENDING PENDING PENDING
        etcd-0: reconciling
        etcd-1: one_at_a_time
        etcd-2: one_at_a_time
        ",
    );
    check(
        service(Parallel, 3),
        "restart deploy
        forceComplete deploy",
        "
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        ",
    );
    check(
        service(Serial, 1),
        "interrupt deploy
        restart deploy",
        "
        deploy (serial): PENDING
          agents (serial): PENDING: PENDING PENDING PENDING
        etcd-0: reconciling
        etcd-1: no_offer
        etcd-2: earlier_step
        ",
    );
    check(
        service(Parallel, 3),
        "restart recovery",
        "
        restart recovery: Command has already been reported or completed
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        ",
    );
    check(
        service(Parallel, 3),
        "restart deploy agents etcd-7",
        "
        restart deploy agents etcd-7: Step etcd-7:[node] not found
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        ",
    );
    check(
        service(Parallel, 3),
        "restart deploy etcd-1",
        "
        restart deploy etcd-1: Phase etcd-1 not found
        deploy (serial): COMPLETE
          agents (parallel): COMPLETE: COMPLETE COMPLETE COMPLETE
        ",
    );
}
