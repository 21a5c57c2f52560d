//! Snapshots of all data: which member gives one, and how it is begun.

use std::time::Duration;

use etcd_admin::EtcdError;
use etcd_admin::member::{CallLimits, MemberClient};
use etcd_admin::snapshot::SnapshotStream;
use etcd_launch::{ClusterId, MemberId, PodIndex};
use etcd_planner::WaitingReason;
use etcd_planner::record::Membership;

use crate::probing::running_members;
use crate::published::Published;

/// From the first question to a member until its first piece is here. Two members
/// can be tried before the asker is told that nobody answered in time.
pub(crate) const BEGUN_WITHIN: Duration = Duration::from_secs(12);

/// A reader that takes nothing is cut off by the listener; this is for one that
/// takes little. At 10 MB/s, which is slow, an hour is enough for the 8 GB that etcd
/// should hold at most. The member's file grows meanwhile, as it must not forget.
pub(crate) const ENDED_WITHIN: Duration = Duration::from_secs(3600);

const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(1),
    local: Duration::from_secs(2),
    quorum: Duration::from_secs(3),
    hash: Duration::from_secs(3),
};

/// A member that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) pod: PodIndex,
    pub(crate) member_id: MemberId,
    pub(crate) url: String,
}

/// Whom to ask, the best first: followers in good health, the most caught-up one
/// first. The leader has enough to do; it is asked only where it is alone.
pub(crate) fn sources(published: &Published) -> Vec<Source> {
    let voters = published.record.pods.values().filter_map(|pod| {
        let (Membership::Founder(enrolled) | Membership::Voter(enrolled)) =
            &pod.membership
        else {
            return None;
        };
        Some(enrolled.member_id)
    });
    let leader_is_alone = voters.count() == 1;
    let applied = |pod: PodIndex| {
        let answer = published.probes.get(&pod)?.answer.as_ref().ok()?;
        Some((answer.member_id, answer.raft_applied_index))
    };
    let mut sources: Vec<(u64, Source)> = running_members(published)
        .into_iter()
        .filter(|(pod, _)| published.healthy.contains(pod))
        .filter(|(pod, _)| !is_maintained(published, *pod))
        .filter_map(|(pod, url)| {
            let (member_id, applied) = applied(pod)?;
            let leads = published.leader == Some(member_id);
            let source = Source {
                pod,
                member_id,
                url,
            };
            (!leads || leader_is_alone).then_some((applied, source))
        })
        .collect();
    sources.sort_by_key(|(applied, source)| (std::cmp::Reverse(*applied), source.pod));
    sources.into_iter().map(|(_, source)| source).collect()
}

/// Whether it is being defragmented, or about to be: it would not answer.
fn is_maintained(published: &Published, pod: PodIndex) -> bool {
    let reason = published.waiting.get(&pod);
    matches!(reason, Some(WaitingReason::Maintenance { .. }))
}

/// A snapshot whose first piece is here.
pub(crate) struct Begun {
    pub(crate) stream: SnapshotStream,
    pub(crate) first: Vec<u8>,
    pub(crate) revision: i64,
    pub(crate) version: String,
}

/// Begins a snapshot of this very member. What a linearizable read from it has seen
/// it has applied, and what it has applied is in the snapshot.
pub(crate) async fn begin(
    source: &Source,
    cluster_id: ClusterId,
) -> Result<Begun, EtcdError> {
    let client = MemberClient::connect_with(&source.url, None, LIMITS).await?;
    let status = client.status().await?;
    let answers = (ClusterId(status.cluster_id), MemberId(status.member_id));
    if answers != (cluster_id, source.member_id) {
        return Err(EtcdError::BadEndpoint {
            endpoint: source.url.clone(),
            detail: format!("member {} of cluster {} answers", answers.1, answers.0),
        });
    }
    let revision = client.linearizable_read().await?;
    let mut stream = client.snapshot().await?;
    let first = stream.next().await?.unwrap_or_default();
    Ok(Begun {
        stream,
        first,
        revision,
        version: status.version,
    })
}

/// `etcd-1-revision-4711.db`, with the service's name before it.
pub(crate) fn file_name(service: &str, pod: PodIndex, revision: i64) -> String {
    let plain = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => letter,
        _ => '-',
    };
    let service: String = service.trim_matches('/').chars().map(plain).collect();
    format!("{service}-{pod}-revision-{revision}.db")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[track_caller]
    fn check(published: &Published, expected: &[&str]) {
        let names = sources(published).into_iter();
        let names: Vec<String> = names.map(|source| source.pod.to_string()).collect();
        assert_eq!(names, expected);
    }

    fn published() -> Published {
        let mut published = samples::published(&samples::healthy_model());
        for (index, applied) in [(0, 90), (1, 70), (2, 80)] {
            let probe = published.probes.get_mut(&PodIndex(index)).unwrap();
            probe.answer.as_mut().unwrap().raft_applied_index = applied;
        }
        published.leader = Some(samples::member_id(0));
        published.healthy = (0..3).map(PodIndex).collect();
        published
    }

    #[test]
    fn the_best_source_comes_first() {
        let mut published = published();
        check(&published, &["etcd-2", "etcd-1"]);
        published.leader = Some(samples::member_id(2));
        check(&published, &["etcd-0", "etcd-1"]);
        published.healthy.remove(&PodIndex(0));
        check(&published, &["etcd-1"]);
        // The leader of three is spared, whatever the others are.
        published.healthy.remove(&PodIndex(1));
        check(&published, &[]);
        published.record.pods.remove(&PodIndex(0));
        published.record.pods.remove(&PodIndex(1));
        check(&published, &["etcd-2"]);
        published.probes.clear();
        check(&published, &[]);
    }

    #[test]
    fn file_names_are_plain() {
        let name = file_name("/dept/etcd \"x\"", PodIndex(1), 4711);
        assert_eq!(name, "dept-etcd--x--etcd-1-revision-4711.db");
    }
}
