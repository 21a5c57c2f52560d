//! A stand-in for etcd: enough of Raft to notice a lost acknowledged write.
//!
//! A cluster is a list of members and a count of committed writes. A member's
//! log is the count of writes that it holds. A majority of running voters
//! elects the one with the longest log; if that log is shorter than what was
//! committed, an acknowledged write is gone.

use std::collections::BTreeMap;

use etcd_launch::{ClusterId, Identity, MemberId};
use etcd_planner::programs::EtcdVersion;

mod versions;

use versions::Agreed;

/// What lies on a volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) guard: Option<(Identity, bool)>,
    pub(crate) wal: Option<Wal>,
}

#[derive(Clone, Debug)]
pub(crate) struct Wal {
    pub(crate) identity: Identity,
    pub(crate) log: u64,
    /// For which minor version of etcd it is.
    pub(crate) data: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) peer_url: String,
    pub(crate) name: String,
    pub(crate) is_learner: bool,
    /// Ever had a log under this id.
    pub(crate) had_log: bool,
    /// Its log while it runs.
    pub(crate) running: Option<u64>,
    /// Answers clients: it has once been part of a quorum in this run.
    pub(crate) serving: bool,
    /// The tick of its newest start.
    pub(crate) started_at: u64,
    /// It is defragmented until this tick: it serves nothing, and learns nothing.
    pub(crate) busy_until: u64,
    /// The program of its newest start.
    pub(crate) version: EtcdVersion,
    /// For which minor version of etcd its data is.
    pub(crate) data: u16,
}

impl Member {
    /// One that has never run.
    pub(crate) fn new(peer_url: &str, name: &str, is_learner: bool) -> Self {
        Member {
            peer_url: peer_url.to_owned(),
            name: name.to_owned(),
            is_learner,
            had_log: false,
            running: None,
            serving: false,
            started_at: 0,
            busy_until: 0,
            version: EtcdVersion::new(3, 0, 0),
            data: 0,
        }
    }

    pub(crate) fn is_busy(&self, tick: u64) -> bool {
        self.running.is_some() && self.busy_until > tick
    }

    fn takes_part(&self, tick: u64) -> bool {
        self.running.is_some() && !self.is_busy(tick)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) committed: u64,
    pub(crate) term: u64,
    pub(crate) leader: Option<MemberId>,
    pub(crate) agreed: Agreed,
}

/// All clusters that ever existed: there must never be two that matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Etcd {
    pub(crate) clusters: BTreeMap<ClusterId, Cluster>,
}

impl Etcd {
    /// A member starts on a disk. `Err` is a broken safety property.
    pub(crate) fn start(
        &mut self,
        identity: &Identity,
        disk: &mut Disk,
        founders: Option<&[(MemberId, String, String)]>,
        version: EtcdVersion,
        tick: u64,
    ) -> Result<(), String> {
        let cluster = self.clusters.entry(identity.cluster_id).or_default();
        if let (true, Some(founders)) = (cluster.members.is_empty(), founders) {
            for (id, name, peer_url) in founders {
                cluster
                    .members
                    .insert(*id, Member::new(peer_url, name, false));
            }
        }
        let id = identity.member_id;
        if !cluster.members.contains_key(&id) {
            // etcd exits: it is not in the cluster (any more).
            return Ok(());
        }
        let data = disk.wal.as_ref().map_or(0, |wal| wal.data);
        cluster
            .check_start(version, data)
            .map_err(|error| format!("{id}: {error}"))?;
        let Some(member) = cluster.members.get_mut(&id) else {
            return Ok(());
        };
        let log = match &disk.wal {
            Some(wal) if wal.identity == *identity => wal.log,
            Some(wal) => {
                return Err(format!("{id} started on the data of {:?}", wal.identity));
            }
            None if member.had_log => {
                return Err(format!(
                    "{id} started on an empty directory under an old id"
                ));
            }
            None => 0,
        };
        member.had_log = true;
        member.running = Some(log);
        member.serving = false;
        member.started_at = tick;
        member.busy_until = 0;
        member.version = version;
        member.data = data;
        disk.wal = Some(Wal {
            identity: identity.clone(),
            log,
            data,
        });
        Ok(())
    }

    pub(crate) fn stop(&mut self, identity: &Identity) {
        if let Some(member) = self
            .clusters
            .get_mut(&identity.cluster_id)
            .and_then(|cluster| cluster.members.get_mut(&identity.member_id))
        {
            member.running = None;
            member.serving = false;
        }
    }

    /// Elections and one client write in every cluster that has quorum.
    pub(crate) fn step(&mut self, tick: u64) -> Result<(), String> {
        for (cluster_id, cluster) in &mut self.clusters {
            let voters = cluster
                .members
                .values()
                .filter(|member| !member.is_learner)
                .count();
            let longest = cluster
                .members
                .iter()
                .filter(|(_, member)| !member.is_learner && member.takes_part(tick))
                .filter_map(|(id, member)| Some((member.running?, *id)))
                .max();
            let running = cluster
                .members
                .values()
                .filter(|member| !member.is_learner && member.takes_part(tick))
                .count();
            let Some((log, longest_id)) = longest.filter(|_| running > voters / 2) else {
                cluster.leader = None;
                continue;
            };
            if log < cluster.committed {
                return Err(format!(
                    "cluster {cluster_id}: elected a leader with {log} of {} acknowledged writes",
                    cluster.committed
                ));
            }
            let leader_runs = cluster.leader.is_some_and(|leader| {
                cluster
                    .members
                    .get(&leader)
                    .is_some_and(|member| member.takes_part(tick))
            });
            if !leader_runs {
                cluster.term += 1;
                cluster.leader = Some(longest_id);
            }
            cluster.committed = log + 1;
            for member in cluster
                .members
                .values_mut()
                .filter(|member| member.takes_part(tick))
            {
                member.running = Some(log + 1);
                member.serving = true;
            }
            cluster.agree(tick);
        }
        Ok(())
    }
}
