//! Asking every running member's etcd, again and again, how it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use etcd_admin::member::{CallLimits, MemberClient};
use etcd_launch::{ClusterId, MemberId, PodIndex};
use etcd_planner::Event;
use etcd_planner::observed::{MemberAnswer, MemberSeen, Probe};
use etcd_planner::programs::EtcdVersion;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::published::Published;

/// Pause between rounds while something is not well: what the planner waits
/// for is mostly one of these answers.
const ROUND_WHILE_BUSY: Duration = Duration::from_millis(200);

/// Pause between rounds when all is well. The planner calls an answer fresh for
/// ten seconds, so several may fail before it changes its mind.
const ROUND_AT_REST: Duration = Duration::from_secs(2);

/// A member that does not answer within these is as good as down for the
/// planner; the next round asks again.
const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(1),
    local: Duration::from_secs(2),
    quorum: Duration::from_secs(3),
    hash: Duration::from_secs(3),
};

/// Probes until the loop is gone.
pub async fn probe_members(
    mut published: watch::Receiver<Arc<Published>>,
    results: mpsc::UnboundedSender<Event>,
) {
    let mut clients: BTreeMap<PodIndex, (String, MemberClient)> = BTreeMap::new();
    let mut asked: BTreeSet<PodIndex> = BTreeSet::new();
    let mut rounds: JoinSet<(PodIndex, String, Option<MemberClient>, Probe)> =
        JoinSet::new();
    loop {
        let now = published.borrow_and_update().clone();
        for (pod, url) in running_members(&now) {
            if !asked.insert(pod) {
                continue;
            }
            let client = clients
                .remove(&pod)
                .and_then(|(known, client)| (known == url).then_some(client));
            rounds.spawn(ask(pod, url, client));
        }
        let busy = !now.waiting.is_empty() || now.service_waiting.is_some();
        let pause = if busy {
            ROUND_WHILE_BUSY
        } else {
            ROUND_AT_REST
        };
        let round_ends = tokio::time::sleep(pause);
        tokio::pin!(round_ends);
        loop {
            tokio::select! {
                () = &mut round_ends => break,
                Some(answered) = rounds.join_next(), if !rounds.is_empty() => {
                    let Ok((pod, url, client, probe)) = answered else { continue };
                    asked.remove(&pod);
                    if let Some(client) = client {
                        clients.insert(pod, (url, client));
                    }
                    if results.send(Event::Probed { pod, probe }).is_err() {
                        return;
                    }
                }
                changed = published.changed(), if !busy => {
                    if changed.is_err() {
                        return;
                    }
                    // Something happened after a time of rest: look at once.
                    let now = published.borrow_and_update();
                    if !now.waiting.is_empty() || now.service_waiting.is_some() {
                        break;
                    }
                }
            }
        }
    }
}

/// Pods with a live launch, and where their etcd listens for clients.
pub fn running_members(published: &Published) -> Vec<(PodIndex, String)> {
    let scheme = published.target.scheme.as_str();
    published
        .record
        .pods
        .iter()
        .filter_map(|(index, pod)| {
            pod.launch.as_ref().filter(|launch| launch.end.is_none())?;
            let placement = pod.placement.as_ref()?;
            let (address, port) = (&placement.address, placement.needs.client_port);
            Some((*index, format!("{scheme}://{address}:{port}")))
        })
        .collect()
}

async fn ask(
    pod: PodIndex,
    url: String,
    client: Option<MemberClient>,
) -> (PodIndex, String, Option<MemberClient>, Probe) {
    // What it says was so at this moment or later.
    let at = clock::now();
    let client = match client {
        Some(client) => Ok(client),
        None => MemberClient::connect_with(&url, None, LIMITS).await,
    };
    let (client, answer) = match client {
        Ok(client) => match answer(&client).await {
            Ok(answer) => (Some(client), Ok(answer)),
            // A new connection next time: this one may be what is broken.
            Err(error) => (None, Err(error)),
        },
        Err(error) => (None, Err(error.to_string())),
    };
    let probe = Probe { at, answer };
    (pod, url, client, probe)
}

async fn answer(client: &MemberClient) -> Result<MemberAnswer, String> {
    let status = client.status().await.map_err(|error| error.to_string())?;
    // A learner serves no linearizable read; its answer is still worth having.
    let members = if status.leader.is_some() && !status.is_learner {
        client.members().await.ok()
    } else {
        None
    };
    Ok(MemberAnswer {
        cluster_id: ClusterId(status.cluster_id),
        member_id: MemberId(status.member_id),
        version: status.version,
        storage_version: status
            .storage_version
            .and_then(|it| EtcdVersion::parse(&it)),
        downgrade_to: status.downgrade_to.and_then(|it| EtcdVersion::parse(&it)),
        leader: status.leader.map(MemberId),
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        raft_applied_index: status.raft_applied_index,
        db_size_bytes: status.db_size,
        db_size_in_use_bytes: status.db_size_in_use,
        is_learner: status.is_learner,
        errors: status.errors,
        // The member list was read behind a linearizable read.
        linearizable: members.is_some(),
        members: members
            .unwrap_or_default()
            .into_iter()
            .map(|member| MemberSeen {
                member_id: MemberId(member.id),
                name: member.name,
                peer_urls: member.peer_urls,
                is_learner: member.is_learner,
            })
            .collect(),
    })
}
