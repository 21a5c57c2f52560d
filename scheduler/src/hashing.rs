//! Comparing what the members have: etcd itself compares only now and then, and not with
//! members that were down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use etcd_admin::member::MemberClient;
use etcd_launch::MemberId;
use etcd_planner::Event;
use etcd_planner::alarms::{Alarm, AlarmKind};
use etcd_planner::observed::{HashRound, HashSeen};
use etcd_planner::offer::TaskId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::debug;

use crate::clock;
use crate::probing;
use crate::published::Published;

/// Pause between two comparisons when all is well. A member reads all of its data for
/// one: about a second for each gigabyte.
const PAUSE_AT_REST: Duration = Duration::from_secs(600);

/// The same while etcd calls a member's data corrupt: nobody can write then.
const PAUSE_WHILE_CORRUPT: Duration = Duration::from_secs(10);

/// A member that was started comes with what its disk says, which etcd itself compares
/// with the others' only where it finds a raft snapshot. So much later, since more
/// starts may follow: one comparison does for a whole roll.
const AFTER_A_START: Duration = Duration::from_secs(30);

/// How often is looked whether that has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Compares until the loop is gone.
pub async fn compare_members(
    published: watch::Receiver<Arc<Published>>,
    results: mpsc::UnboundedSender<Event>,
) {
    let mut schedule = Schedule::default();
    while !results.is_closed() {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = published.borrow().clone();
        if !schedule.is_due(&now, Instant::now()) {
            continue;
        }
        if let Some(round) = compare(&now).await
            && results.send(Event::Hashed(round)).is_err()
        {
            return;
        }
    }
}

/// When members are compared.
#[derive(Debug, Default)]
struct Schedule {
    last: Option<Instant>,
    /// The launches that members in good health are from.
    launches: BTreeSet<TaskId>,
    /// Since when there is one that has not been compared.
    started: Option<Instant>,
}

impl Schedule {
    /// Whether members are to be compared now, which is taken for done then.
    fn is_due(&mut self, published: &Published, now: Instant) -> bool {
        let launches = launches_in_good_health(published);
        if !launches.is_subset(&self.launches) {
            self.started = Some(now);
        }
        self.launches.extend(launches);
        let pause = if is_corrupt(published) {
            PAUSE_WHILE_CORRUPT
        } else {
            PAUSE_AT_REST
        };
        let since = |then: Instant| now.saturating_duration_since(then);
        let is_due = self.last.is_none_or(|last| since(last) >= pause)
            || self.started.is_some_and(|at| since(at) >= AFTER_A_START);
        // Two members can differ; one alone cannot.
        if !is_due || published.healthy.len() < 2 {
            return false;
        }
        self.last = Some(now);
        self.started = None;
        self.launches = launches_in_good_health(published);
        true
    }
}

fn launches_in_good_health(published: &Published) -> BTreeSet<TaskId> {
    let pods = published.healthy.iter();
    let launches = pods.filter_map(|pod| published.record.pods.get(pod)?.launch.as_ref());
    launches.map(|launch| launch.task_id.clone()).collect()
}

fn is_corrupt(published: &Published) -> bool {
    let answers = published.probes.values();
    let errors = answers.flat_map(|probe| probe.answer.iter().flat_map(|it| &it.errors));
    errors
        .filter_map(|error| Alarm::parse(error))
        .any(|alarm| alarm.kind == AlarmKind::Corrupt)
}

/// Asks every member for its hash at the newest revision that all of them have. None if
/// nobody can say which that is.
async fn compare(published: &Published) -> Option<HashRound> {
    let at = clock::now();
    let mut clients = Vec::new();
    for (pod, url) in probing::running_members(published) {
        if let Ok(client) = MemberClient::connect(&url, None).await {
            clients.push((pod, client));
        }
    }
    let mut members = Vec::new();
    for (pod, client) in clients {
        if let Ok(status) = client.status().await {
            members.push((pod, client, status));
        }
    }
    // Each answers for its own newest revision, so the smallest is everybody's.
    let revision = members.iter().map(|(_, _, status)| status.revision).min()?;
    let mut hashes = BTreeMap::new();
    for (pod, client, status) in members {
        match client.hash_kv(revision).await {
            Ok(hash) => {
                let seen = HashSeen {
                    member_id: MemberId(status.member_id),
                    hash: hash.hash,
                    compact_revision: hash.compact_revision,
                };
                hashes.insert(pod, seen);
            }
            Err(error) => debug!(%pod, %error, "no hash to compare"),
        }
    }
    Some(HashRound {
        at,
        revision,
        hashes,
    })
}

#[cfg(test)]
mod tests {
    use etcd_launch::PodIndex;

    use super::*;
    use crate::samples;

    #[test]
    fn when_members_are_compared() {
        let begin = Instant::now();
        let mut model = samples::healthy_model();
        let mut schedule = Schedule::default();
        let healthy = |model: &etcd_planner::Model| {
            let mut published = samples::published(model);
            published.healthy = (0..3).map(PodIndex).collect();
            published
        };
        let mut check = |model: &etcd_planner::Model, seconds: u64, expected: bool| {
            let now = begin + Duration::from_secs(seconds);
            let found = schedule.is_due(&healthy(model), now);
            assert_eq!(found, expected, "after {seconds} s");
        };
        check(&model, 0, true);
        check(&model, 1, false);
        check(&model, 599, false);
        check(&model, 600, true);
        let pod = model.record.pods.get_mut(&PodIndex(1)).unwrap();
        pod.launch.as_mut().unwrap().task_id = TaskId("anew".into());
        check(&model, 700, false);
        check(&model, 729, false);
        check(&model, 730, true);
        check(&model, 731, false);
        check(&model, 1329, false);
        check(&model, 1330, true);
    }

    #[test]
    fn one_member_is_compared_with_nobody() {
        let mut published = samples::published(&samples::healthy_model());
        published.healthy = [PodIndex(0)].into();
        assert!(!Schedule::default().is_due(&published, Instant::now()));
    }
}
