//! What is said when voters are down, and to which of them it is put down. Nothing is
//! ever done about it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "placing/agents.rs"]
#[expect(dead_code, reason = "it serves the tests of placing, too")]
mod agents;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_launch::{ClusterId, ClusterToken, MemberId, PodGeneration, PodIndex};
use etcd_planner::event::{TaskStatus, TaskVerdict};
use etcd_planner::observed::{MemberAnswer, Probe, TaskState};
use etcd_planner::offer::{
    AgentId, ExecutorId, Hostname, ReservationId, TaskId, VolumeId,
};
use etcd_planner::record::{
    Cluster, Enrolled, Incarnation, Launch, Membership, Placement, PlacementStage, Pod,
};
use etcd_planner::{Event, Model, Timestamp};

use agents::{T0, decide, subscribed, target};

/// A word a voter: what is known of it, ten seconds after the scheduler asked first.
#[track_caller]
fn check(voters: &str, expected: &str) {
    let mut model = subscribed(target(""));
    model.record.cluster = Cluster::Formed(Incarnation {
        token: ClusterToken("dcos-1".into()),
        cluster_id: ClusterId(1),
        since: Timestamp(1),
    });
    for (index, known) in (0..).zip(voters.split_whitespace()) {
        model.record.pods.insert(PodIndex(index), voter(index));
        learn(&mut model, index, known);
    }
    let now = T0.plus(Duration::from_secs(10));
    model.apply(Event::Tick, now);
    let decision = decide(&model, now);
    let said = decision.service_waiting.map(|reason| reason.to_string());
    assert_eq!(said.unwrap_or_default(), expected, "{voters}");
    let stops = |effect: &etcd_planner::Effect| {
        use etcd_planner::Effect::{Kill, Release, RemoveMember};
        matches!(effect, Kill { .. } | Release { .. } | RemoveMember { .. })
    };
    assert!(
        !decision.effects.iter().any(stops),
        "{:?}",
        decision.effects
    );
}

fn learn(model: &mut Model, index: u16, known: &str) {
    let seconds = |seconds| T0.plus(Duration::from_secs(seconds));
    let mut probed = |at: u64, answer: Result<MemberAnswer, String>| {
        let at = seconds(at);
        let probe = Probe { at, answer };
        let pod = PodIndex(index);
        model.apply(Event::Probed { pod, probe }, at);
    };
    match known {
        "unknown" => {}
        "well" => probed(9, Ok(answer(index, true, true))),
        // It has no majority round it, or there is an election.
        "alone" => probed(9, Ok(answer(index, false, false))),
        "silent" => probed(3, Err("connection refused".into())),
        "missed-one" => probed(8, Err("connection refused".into())),
        "unreachable" => {
            let status = TaskStatus {
                task_id: TaskId(format!("task-{index}")),
                agent_id: None,
                verdict: TaskVerdict::Alive(TaskState::Unreachable),
                words: "TASK_UNREACHABLE".into(),
                report: None,
            };
            model.apply(Event::TaskStatus(status), seconds(5));
        }
        "ended" => model.record.pods.get_mut(&PodIndex(index)).unwrap().launch = None,
        "lost" => {
            let pod = model.record.pods.get_mut(&PodIndex(index)).unwrap();
            pod.launch = None;
            pod.membership = Membership::Lost {
                member_id: MemberId(index.into()),
                why: "agent given up".into(),
            };
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_said_of_voters_that_are_down() {
    let rest = "; until then nothing is stopped or removed, and then all goes on by \
                itself";
    check("well well well", "");
    check("well well silent", "");
    // A scheduler that has just started; an election.
    check("unknown unknown unknown", "");
    check("alone alone alone", "");
    check("alone missed-one missed-one", "");
    check("alone silent unknown", "");
    check(
        "alone silent unreachable",
        &format!(
            "no quorum: 1 of 3 voters; bring back 1 of: etcd-1 (etcd there does not \
             answer), etcd-2 (its agent on 10.0.0.2 cannot be reached){rest}; if the \
             others are gone for good, save the data of etcd-0 first"
        ),
    );
    check(
        "ended lost ended",
        &format!(
            "no quorum: 0 of 3 voters; bring back 2 of: etcd-0 (it does not run), \
             etcd-1 (its data is lost), etcd-2 (it does not run){rest}"
        ),
    );
    // One proves a majority, so there is one, whatever the record says.
    check("well silent silent", "");
    check(
        "alone alone silent unreachable ended",
        &format!(
            "no quorum: 2 of 5 voters; bring back 1 of: etcd-2 (etcd there does not \
         answer), etcd-3 (its agent on 10.0.0.3 cannot be reached), etcd-4 (it does not \
         run){rest}; if the others are gone for good, save the data of etcd-0 or etcd-1 \
         first"
        ),
    );
}

fn voter(index: u16) -> Pod {
    let address = format!("10.0.0.{index}");
    let agent_id = AgentId(format!("agent-{index}"));
    Pod {
        membership: Membership::Voter(Enrolled {
            member_id: MemberId(index.into()),
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
            needs: target("").needs,
            disk: None,
            role: None,
            base: Vec::new(),
            user: None,
            network: None,
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
            generation: PodGeneration::default(),
            issued: Timestamp(1),
            target: etcd_planner::record::TargetId("t".into()),
            member_id: None,
            paused: false,
            seen: true,
            stop_asked: None,
            end: None,
        }),
        deployed: true,
        ..Pod::default()
    }
}

fn answer(index: u16, has_leader: bool, linearizable: bool) -> MemberAnswer {
    MemberAnswer {
        cluster_id: ClusterId(1),
        member_id: MemberId(index.into()),
        version: "3.5.30".into(),
        storage_version: None,
        downgrade_to: None,
        leader: has_leader.then_some(MemberId(0)),
        raft_term: 2,
        raft_index: 11,
        raft_applied_index: 11,
        db_size_bytes: 0,
        db_size_in_use_bytes: 0,
        is_learner: false,
        errors: Vec::new(),
        linearizable,
        members: Vec::new(),
    }
}
