//! `/v1/status`: the whole service on one page.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;

use etcd_admin::{EtcdVersion, free_of_known_bugs, known_data_bugs};
use etcd_api::ServiceStatus;
use etcd_api::status::{
    ClusterState, ClusterStatus, Leader, MesosState, MesosStatus, PlanSummary,
    PodFailures, PodStatus, Role, SnapshotFile, Waiting,
};
use etcd_launch::{MemberId, PodIndex};
use etcd_planner::WaitingReason;
use etcd_planner::observed::{MemberAnswer, MesosLink, OfferStream};
use etcd_planner::plans::{PlanView, Status};
use etcd_planner::record::{Cluster, Membership, Pod, SnapshotTaken};

use super::{ApiState, ServiceFacts, alarms, answer};
use crate::published::Published;

pub(super) async fn status(State(state): State<ApiState>) -> Response {
    answer::ok(&service_status(&state.published(), &state.facts))
}

fn service_status(published: &Published, facts: &ServiceFacts) -> ServiceStatus {
    ServiceStatus {
        service: published.target.service.clone(),
        version: facts.version.clone(),
        at_ms: published.at.0,
        framework_id: published
            .record
            .framework_id
            .as_ref()
            .map(|id| id.0.clone()),
        mesos: mesos_status(&published.mesos),
        cluster: cluster_status(&published.record.cluster),
        leader: published.leader.map(|member_id| Leader {
            member_id: member_id.to_string(),
            pod: pod_of(published, member_id).map(|pod| pod.to_string()),
        }),
        pods: published
            .pods()
            .into_iter()
            .map(|pod| pod_status(published, pod))
            .collect(),
        plans: published.plans.iter().map(plan_summary).collect(),
        update_snapshot: published.record.snapshot.as_ref().map(snapshot_file),
        waiting: published.service_waiting.as_ref().map(waiting),
        warnings: warnings(published),
    }
}

fn mesos_status(link: &MesosLink) -> MesosStatus {
    match link {
        MesosLink::Connected(session) => MesosStatus {
            state: MesosState::Connected,
            since_ms: Some(session.since.0),
            why: None,
            offers_suppressed: Some(session.offers == OfferStream::Suppressed),
        },
        MesosLink::Disconnected { why } => MesosStatus {
            state: MesosState::Disconnected,
            since_ms: None,
            why: Some(why.clone()),
            offers_suppressed: None,
        },
    }
}

/// The token stays out of it: whoever knows it can start a member that believes
/// itself one of the cluster's.
fn cluster_status(cluster: &Cluster) -> ClusterStatus {
    let (state, why) = match cluster {
        Cluster::Unborn => (ClusterState::Unborn, None),
        Cluster::Forming(_) => (ClusterState::Forming, None),
        Cluster::Abandoning { why, .. } => (ClusterState::Abandoning, Some(why.clone())),
        Cluster::Formed(_) => (ClusterState::Formed, None),
    };
    let incarnation = cluster.incarnation();
    ClusterStatus {
        state,
        cluster_id: incarnation.map(|incarnation| incarnation.cluster_id.to_string()),
        since_ms: incarnation.map(|incarnation| incarnation.since.0),
        why,
    }
}

fn pod_of(published: &Published, member_id: MemberId) -> Option<PodIndex> {
    published
        .record
        .pods
        .iter()
        .find(|(_, pod)| pod.membership.member_id() == Some(member_id))
        .map(|(index, _)| *index)
}

fn pod_status(published: &Published, index: PodIndex) -> PodStatus {
    let nobody = Pod::default();
    let pod = published.record.pods.get(&index).unwrap_or(&nobody);
    let placement = pod.placement.as_ref();
    let member_id = pod.membership.member_id();
    let probe = published.probes.get(&index);
    let answer: Option<&MemberAnswer> =
        probe.and_then(|probe| probe.answer.as_ref().ok());
    PodStatus {
        name: index.to_string(),
        host: placement.map(|placement| placement.hostname.0.clone()),
        address: placement.map(|placement| placement.address.clone()),
        client_url: placement.map(|placement| {
            format!(
                "{}://{}:{}",
                published.target.scheme.as_str(),
                placement.address,
                placement.needs.client_port
            )
        }),
        task_id: pod.launch.as_ref().map(|launch| launch.task_id.0.clone()),
        task_state: published.task_state(index).map(str::to_owned),
        executor: published
            .tasks
            .get(&index)
            .and_then(|seen| seen.report.as_ref())
            .map(|report| report.phase.to_string()),
        member_id: member_id.map(|id| id.to_string()),
        role: role(&pod.membership, &published.record.cluster),
        healthy: published.healthy.contains(&index),
        leader: member_id.is_some() && member_id == published.leader,
        probed_at_ms: probe.map(|probe| probe.at.0),
        etcd_version: answer.map(|answer| answer.version.clone()),
        db_size_bytes: answer.map(|answer| answer.db_size_bytes),
        db_size_in_use_bytes: answer.map(|answer| answer.db_size_in_use_bytes),
        db_quota_bytes: etcd_planner::alarms::quota(pod),
        disk_free_bytes: published.disk_room.get(&index).map(|room| room.free_bytes),
        raft_term: answer.map(|answer| answer.raft_term),
        raft_index: answer.map(|answer| answer.raft_index),
        alarms: answer
            .map(|answer| answer.errors.iter().map(|error| alarms::in_words(error)))
            .into_iter()
            .flatten()
            .collect(),
        probe_error: probe.and_then(|probe| probe.answer.as_ref().err().cloned()),
        waiting: published.waiting.get(&index).map(waiting),
        failures: PodFailures {
            in_a_row: pod.failures.in_a_row,
            last: pod.failures.last.clone(),
            retry_at_ms: pod.failures.retry_at.map(|at| at.0),
        },
        down_since_ms: pod.down_since.map(|since| since.0),
        replaced_from_ms: pod
            .down_since
            .zip(published.target.replace_after_ms)
            .map(|(since, after)| since.0.saturating_add(after)),
    }
}

fn role(membership: &Membership, cluster: &Cluster) -> Role {
    match membership {
        Membership::Absent => Role::Absent,
        Membership::Founder(_) if matches!(cluster, Cluster::Formed(_)) => Role::Voter,
        Membership::Founder(_) => Role::Founder,
        Membership::Adding { .. } => Role::Adding,
        Membership::Learner(_) => Role::Learner,
        Membership::Voter(_) => Role::Voter,
        Membership::Lost { .. } => Role::Lost,
    }
}

fn waiting(reason: &WaitingReason) -> Waiting {
    Waiting {
        code: reason.code().to_owned(),
        text: reason.to_string(),
    }
}

fn plan_summary(plan: &PlanView) -> PlanSummary {
    let steps = || plan.phases.iter().flat_map(|phase| &phase.steps);
    PlanSummary {
        name: plan.name.to_owned(),
        status: plan.status.as_str().to_owned(),
        complete_steps: steps()
            .filter(|step| step.status == Status::Complete)
            .count(),
        total_steps: steps().count(),
    }
}

fn snapshot_file(taken: &SnapshotTaken) -> SnapshotFile {
    SnapshotFile {
        path: taken.path.clone(),
        revision: taken.revision,
        size_bytes: taken.bytes,
        taken_at_ms: taken.at.0,
        target_id: taken.target.0.clone(),
    }
}

fn warnings(published: &Published) -> Vec<String> {
    let mut warnings = alarms::warnings(published);
    let versions: BTreeSet<EtcdVersion> = published
        .probes
        .values()
        .filter_map(|probe| probe.answer.as_ref().ok()?.version.parse().ok())
        .collect();
    for version in versions {
        for bug in known_data_bugs(version) {
            warnings.push(format!("etcd {version} has a known data bug: {bug}"));
        }
        if let Some(fixed_in) = free_of_known_bugs(version) {
            warnings.push(format!(
                "etcd {version} should be updated: {fixed_in} has none of these bugs"
            ));
        }
    }
    for reservation in &published.unknown_reservations {
        warnings.push(format!(
            "reservation {reservation} carries our labels and is in no record; it is \
             left alone"
        ));
    }
    for abandoned in &published.record.abandoned {
        let what_follows = if abandoned.can_be_missed {
            "it is given back when its agent offers it"
        } else {
            "it is kept until all members are well without it"
        };
        warnings.push(format!(
            "{} left its volume {} on {} ({}); {what_follows}",
            abandoned.pod,
            abandoned.placement.volume_id,
            abandoned.placement.hostname,
            abandoned.why
        ));
    }
    warnings
}
