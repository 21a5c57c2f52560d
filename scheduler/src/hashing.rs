//! Comparing what the members have: etcd itself compares only now and then, and not with
//! members that were down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_admin::member::MemberClient;
use etcd_launch::MemberId;
use etcd_planner::Event;
use etcd_planner::alarms::{Alarm, AlarmKind};
use etcd_planner::observed::{HashRound, HashSeen};
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

/// How often is looked whether that has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Compares until the loop is gone.
pub async fn compare_members(
    published: watch::Receiver<Arc<Published>>,
    results: mpsc::UnboundedSender<Event>,
) {
    let mut last: Option<Instant> = None;
    while !results.is_closed() {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = published.borrow().clone();
        let pause = if is_corrupt(&now) {
            PAUSE_WHILE_CORRUPT
        } else {
            PAUSE_AT_REST
        };
        let is_due = last.is_none_or(|last| last.elapsed() >= pause);
        // Two members can differ; one alone cannot.
        if !is_due || now.healthy.len() < 2 {
            continue;
        }
        last = Some(Instant::now());
        if let Some(round) = compare(&now).await
            && results.send(Event::Hashed(round)).is_err()
        {
            return;
        }
    }
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
