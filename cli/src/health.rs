//! `health`: one line a member, then the cluster.

use etcd_api::ServiceStatus;
use etcd_api::status::{ClusterState, PodStatus, Role};
use serde::Serialize;

use crate::output::{Paint, Tone, one_line};

/// How the members and the cluster are.
#[derive(Debug, Serialize)]
pub(crate) struct HealthReport {
    /// Whether all is well: what the exit code says.
    pub(crate) healthy: bool,
    /// The cluster in one sentence.
    cluster: String,
    /// One entry for each pod.
    members: Vec<MemberHealth>,
}

#[derive(Debug, Serialize)]
struct MemberHealth {
    member_id: Option<String>,
    pod: String,
    healthy: bool,
    why: Option<String>,
    url: Option<String>,
}

/// Judges a status.
pub(crate) fn judge(status: &ServiceStatus) -> HealthReport {
    let members: Vec<MemberHealth> = status.pods.iter().map(member).collect();
    let is_formed = status.cluster.state == ClusterState::Formed;
    let healthy =
        is_formed && !members.is_empty() && members.iter().all(|member| member.healthy);
    HealthReport {
        healthy,
        cluster: cluster(status, healthy),
        members,
    }
}

fn member(pod: &PodStatus) -> MemberHealth {
    let healthy = pod.healthy && pod.alarms.is_empty();
    MemberHealth {
        member_id: pod.member_id.clone(),
        pod: pod.name.clone(),
        healthy,
        why: (!healthy).then(|| why_not(pod)),
        url: pod.client_url.clone(),
    }
}

/// Everything that is known, the most telling first.
fn why_not(pod: &PodStatus) -> String {
    let mut reasons = Vec::new();
    if !pod.alarms.is_empty() {
        reasons.push(format!("alarm {}", pod.alarms.join(", ")));
    }
    if let Some(waiting) = &pod.waiting {
        reasons.push(one_line(&waiting.text));
    }
    if let Some(error) = &pod.probe_error {
        reasons.push(one_line(error));
    }
    match pod.role {
        Role::Voter => {}
        Role::Learner => reasons.push("a learner, without a vote yet".to_owned()),
        Role::Adding => reasons.push("is being added".to_owned()),
        Role::Founder => reasons.push("the cluster has not formed yet".to_owned()),
        Role::Lost => reasons.push("its data is gone; it will be removed".to_owned()),
        Role::Absent => reasons.push("is not in the cluster".to_owned()),
    }
    if reasons.is_empty() {
        reasons.push("has not answered yet".to_owned());
    }
    reasons.join("; ")
}

/// What etcd counts for quorum: a lost member too, until it is removed.
fn has_vote(pod: &&PodStatus) -> bool {
    matches!(pod.role, Role::Voter | Role::Lost)
}

fn cluster(status: &ServiceStatus, healthy: bool) -> String {
    let (voters, others): (Vec<&PodStatus>, Vec<&PodStatus>) =
        status.pods.iter().partition(has_vote);
    let well = voters.iter().filter(|pod| pod.healthy).count();
    let counted = format!("{well} of {} voters answer", voters.len());
    // The scheduler knows who is down, and why.
    let lost = status
        .waiting
        .as_ref()
        .filter(|why| why.code == "no_quorum");
    if let Some(waiting) = lost {
        return format!("cluster has {}", one_line(&waiting.text));
    }
    let mut sentence = match status.cluster.state {
        ClusterState::Unborn => "cluster is not there yet: unborn".to_owned(),
        ClusterState::Forming => "cluster is not there yet: forming".to_owned(),
        ClusterState::Abandoning => {
            "cluster is not there yet: its birth failed and starts over".to_owned()
        }
        ClusterState::Formed if healthy => "cluster is healthy".to_owned(),
        ClusterState::Formed if 2 * well <= voters.len() => {
            format!("cluster has no quorum: {counted}")
        }
        ClusterState::Formed if others.is_empty() => {
            format!("cluster is degraded: {counted}")
        }
        ClusterState::Formed => {
            format!(
                "cluster is degraded: {counted}, {} without a vote",
                others.len()
            )
        }
    };
    if let Some(waiting) = status.waiting.as_ref().filter(|_| !healthy) {
        sentence.push_str("; ");
        sentence.push_str(&one_line(&waiting.text));
    }
    sentence
}

/// For people.
pub(crate) fn drawn(report: &HealthReport, paint: Paint) -> String {
    let mut text = String::new();
    for member in &report.members {
        text.push_str(&line(member, paint));
        text.push('\n');
    }
    let tone = if report.healthy {
        Tone::Good
    } else {
        Tone::Bad
    };
    text.push_str(&paint.tone(tone, &report.cluster));
    text.push('\n');
    text
}

fn line(member: &MemberHealth, paint: Paint) -> String {
    let id = member.member_id.as_deref().unwrap_or("(no id yet)");
    let pod = &member.pod;
    let url = member.url.as_deref().unwrap_or("no URL yet");
    match &member.why {
        None => {
            let healthy = paint.tone(Tone::Good, "healthy");
            format!("member {id} {pod} is {healthy}: {url}")
        }
        Some(why) => {
            let unhealthy = paint.tone(Tone::Bad, "not healthy");
            format!("member {id} {pod} is {unhealthy}: {why}: {url}")
        }
    }
}

#[cfg(test)]
mod tests {
    use etcd_api::status::Waiting;

    use super::*;
    use crate::samples::status;

    #[track_caller]
    fn check(change: impl FnOnce(&mut ServiceStatus), healthy: bool, expected: &str) {
        let mut status = status();
        change(&mut status);
        let report = judge(&status);
        assert_eq!(drawn(&report, Paint::Plain), expected);
        assert_eq!(report.healthy, healthy);
    }

    #[test]
    fn well() {
        check(
            |_| {},
            true,
            "\
member a0 etcd-0 is healthy: http://10.0.0.1:2379
member a1 etcd-1 is healthy: http://10.0.0.2:2379
member a2 etcd-2 is healthy: http://10.0.0.3:2379
cluster is healthy
",
        );
    }

    #[test]
    fn one_is_down() {
        check(
            |status| {
                status.pods[1].healthy = false;
                status.pods[1].probe_error = Some("connection\nrefused".to_owned());
            },
            false,
            "\
member a0 etcd-0 is healthy: http://10.0.0.1:2379
member a1 etcd-1 is not healthy: connection refused: http://10.0.0.2:2379
member a2 etcd-2 is healthy: http://10.0.0.3:2379
cluster is degraded: 2 of 3 voters answer
",
        );
    }

    #[test]
    fn in_other_states() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut ServiceStatus), cluster: &str) {
            let mut status = status();
            change(&mut status);
            let report = judge(&status);
            assert_eq!(report.cluster, cluster);
            assert!(!report.healthy);
        }
        check(
            |status| {
                status.pods[0].healthy = false;
                status.pods[1].healthy = false;
            },
            "cluster has no quorum: 1 of 3 voters answer",
        );
        check(
            |status| {
                status.pods[0].healthy = false;
                status.pods[0].role = Role::Learner;
            },
            "cluster is degraded: 2 of 2 voters answer, 1 without a vote",
        );
        check(
            |status| {
                status.pods[0].healthy = false;
                status.pods[0].role = Role::Lost;
            },
            "cluster is degraded: 2 of 3 voters answer",
        );
        check(
            |status| status.pods[0].alarms.push("NOSPACE".to_owned()),
            "cluster is degraded: 3 of 3 voters answer",
        );
        check(
            |status| {
                status.waiting = Some(Waiting {
                    code: "no_quorum".to_owned(),
                    text: "no quorum: 1 of 3 voters; bring back 1 of: etcd-1, etcd-2"
                        .to_owned(),
                });
                status.pods[0].healthy = false;
            },
            "cluster has no quorum: 1 of 3 voters; bring back 1 of: etcd-1, etcd-2",
        );
        check(
            |status| status.cluster.state = ClusterState::Forming,
            "cluster is not there yet: forming",
        );
        check(
            |status| status.pods.clear(),
            "cluster has no quorum: 0 of 0 voters answer",
        );
    }
}
