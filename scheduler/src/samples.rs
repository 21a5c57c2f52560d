//! A service for tests: three members on three agents, formed and well.

use std::collections::BTreeMap;

use etcd_config::Options;
use etcd_launch::{
    ClusterId, ClusterStart, ClusterToken, DataHistory, Identity, LaunchSpec, MemberId,
    PodGeneration, PodIndex, Scheme, Tuning,
};
use etcd_planner::observed::{
    DiskRoom, MemberAnswer, MesosLink, OfferStream, Probe, Session, TaskSeen, TaskState,
};
use etcd_planner::offer::{
    AgentId, ExecutorId, FrameworkId, Hostname, Megabytes, MilliCpus, ReservationId,
    TaskId, VolumeId,
};
use etcd_planner::programs::Programs;
use etcd_planner::record::{
    Cluster, Enrolled, Failures, Incarnation, Launch, Membership, Placement,
    PlacementStage, Pod, Record, TargetId,
};
use etcd_planner::target::{DiskWish, Needs, Network};
use etcd_planner::{Model, Target, Timestamp};

use crate::published::Published;

pub(crate) const FRAMEWORK_ID: &str = "b9ff885a-0001-0003";
pub(crate) const NOW: Timestamp = Timestamp(1_763_700_000_000);

pub(crate) fn member_id(index: u16) -> MemberId {
    MemberId(0xb0 + u64::from(index))
}

/// Options that a scheduler starts with.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.scheduler.masters = vec!["127.0.0.1:5050".into()];
    options.scheduler.etcd_dir = Some("/opt/etcd".into());
    options
}

pub(crate) fn target() -> Target {
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
        tuning: Tuning {
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            snapshot_count: 100_000,
            quota_backend_bytes: 2 << 30,
            auto_compaction: None,
            enable_v2: false,
        },
        program: Programs {
            directory: ".".into(),
            checksums: BTreeMap::new(),
            archive: None,
            executor: None,
            version: None,
        },
        scheme: Scheme::Http,
        stop_grace_ms: 30_000,
        deploy_strategy: etcd_config::DeployStrategy::Parallel,
        update_strategy: etcd_config::DeployStrategy::Serial,
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

/// Three founders of a formed cluster, all launched.
pub(crate) fn formed_record() -> Record {
    let mut record = Record::new(TargetId("t-1".into()));
    record.framework_id = Some(FrameworkId(FRAMEWORK_ID.into()));
    record.cluster = Cluster::Formed(Incarnation {
        token: ClusterToken("dcos-5d1c".into()),
        cluster_id: ClusterId(0xc1),
        since: Timestamp(1_763_690_000_000),
    });
    record.pods = (0..3).map(|index| (PodIndex(index), pod(index))).collect();
    record
}

fn pod(index: u16) -> Pod {
    let address = format!("127.0.0.{}", index + 2);
    let agent_id = AgentId(format!("agent-{index}"));
    Pod {
        generation: PodGeneration(2),
        recipe: Some(target().recipe()),
        membership: Membership::Founder(Enrolled {
            member_id: member_id(index),
            peer_url: format!("http://{address}:2380"),
            launched: true,
            started: true,
        }),
        placement: Some(Placement {
            agent_id: agent_id.clone(),
            hostname: Hostname(format!("agent-{index}.example")),
            address,
            reservation_id: ReservationId(format!("reservation-{index}")),
            volume_id: VolumeId(format!("volume-{index}")),
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
            task_id: TaskId(format!("etcd__etcd-{index}-node__{index}")),
            executor_id: ExecutorId(format!("etcd__etcd__{index}")),
            agent_id,
            generation: PodGeneration(2),
            issued: Timestamp(1_763_690_000_000),
            target: TargetId("t-1".into()),
            member_id: None,
            paused: false,
            seen: true,
            stop_asked: None,
            end: None,
        }),
        failures: Failures::default(),
        ..Pod::default()
    }
}

/// Connected, all tasks running, all members answering; etcd-0 leads.
pub(crate) fn healthy_model() -> Model {
    let mut record = formed_record();
    record.pods.values_mut().for_each(|pod| pod.deployed = true);
    let mut model = Model::new(TargetId("t-1".into()), target(), record);
    model.clock = NOW;
    model.observed.mesos = MesosLink::Connected(Session {
        epoch: 1,
        since: Timestamp(1_763_690_000_000),
        master_region: None,
        reconciled: None,
        reconciled_implicitly: None,
        offers: OfferStream::Suppressed,
    });
    for index in 0..3 {
        let pod = PodIndex(index);
        model.observed.tasks.insert(pod, task(index));
        let room = DiskRoom {
            at: NOW,
            free_bytes: 10 << 30,
        };
        model.observed.disk_room.insert(pod, room);
        model.observed.probes.insert(
            pod,
            Probe {
                at: NOW,
                answer: Ok(member_answer(index)),
            },
        );
    }
    model
}

fn task(index: u16) -> TaskSeen {
    TaskSeen {
        task_id: TaskId(format!("etcd__etcd-{index}-node__{index}")),
        epoch: 1,
        state: TaskState::Running,
        at: Timestamp(1_763_690_001_500),
        words: "TASK_RUNNING".into(),
        report: None,
    }
}

fn member_answer(index: u16) -> MemberAnswer {
    MemberAnswer {
        cluster_id: ClusterId(0xc1),
        member_id: member_id(index),
        version: "3.4.23".into(),
        storage_version: None,
        downgrade_to: None,
        leader: Some(member_id(0)),
        raft_term: 2,
        raft_index: 11,
        raft_applied_index: 11,
        db_size_bytes: 20_480,
        db_size_in_use_bytes: 16_384,
        is_learner: false,
        errors: Vec::new(),
        linearizable: true,
        members: Vec::new(),
    }
}

/// What the loop shows of a model that waits for nothing.
pub(crate) fn published(model: &Model) -> Published {
    Published::of(model, BTreeMap::new(), None, NOW)
}

/// A launch of `etcd-0`.
pub(crate) fn launch_spec(target: &Target, advertise_host: &str) -> LaunchSpec {
    LaunchSpec {
        format: etcd_launch::FORMAT,
        pod: PodIndex(0),
        generation: PodGeneration(2),
        etcd: target.program.etcd(),
        identity: Identity {
            token: ClusterToken("dcos-5d1c".into()),
            cluster_id: ClusterId(0xc1),
            member_id: member_id(0),
        },
        start: ClusterStart::New,
        history: DataHistory {
            was_started: false,
            superseded: Vec::new(),
            reached: None,
        },
        peers: Vec::new(),
        scheme: target.scheme,
        certificate_directory: None,
        advertise_host: advertise_host.to_owned(),
        listen_host: target.network.listen_host(),
        client_port: target.needs.client_port,
        peer_port: target.needs.peer_port,
        tuning: target.tuning.clone(),
        stop_grace_ms: target.stop_grace_ms,
        paused: false,
    }
}
