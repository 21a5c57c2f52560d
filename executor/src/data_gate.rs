//! May etcd start on this data directory? The decision that keeps a member
//! from forgetting what it acknowledged.
//!
//! etcd itself accepts an empty directory under a known member id, catches up,
//! votes, and so lets a write that a majority had acknowledged vanish. Nothing
//! in etcd notices. This does.

use etcd_admin::data_dir::DataDir;
use etcd_admin::wal::WalIdentity;
use etcd_launch::{DataHistory, Guard, Identity, Refusal, SupersededIdentity};

/// What is to be done before etcd may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing of this member is here, and nothing has to be: write the guard,
    /// have it known that etcd starts, and start.
    StartFresh,
    /// The member's own data is here.
    Resume,
    /// Data of a member that will never run again is in the way: move it
    /// aside, then look again.
    SetAside(SupersededIdentity),
    /// etcd must not start.
    Refuse(Refusal),
}

/// Decides from the guard and from what lies beside it.
pub fn decide(
    identity: &Identity,
    history: &DataHistory,
    guard: Option<&Guard>,
    found: &DataDir,
) -> Gate {
    if let DataDir::Damaged(damage) = found {
        // A damaged log is not an empty one: the data may be saved by hand.
        return Gate::Refuse(Refusal::VolumeUnusable {
            why: format!("{}: {}", damage.file.display(), damage.problem),
        });
    }
    let log = match found {
        DataDir::Wal { identity, .. } => Some(*identity),
        _ => None,
    };
    match (guard, log) {
        (Some(guard), _) if guard.identity != *identity => foreign_guard(history, guard),
        (_, Some(log)) if !is_same(log, identity) => foreign_log(history, log),
        (_, Some(_)) => Gate::Resume,
        (Some(guard), None) if guard.wal_seen => {
            missing("etcd's log was here and is gone")
        }
        // The guard is here, so the volume is; etcd never got as far as a log.
        (Some(_), None) => Gate::StartFresh,
        (None, None) if history.was_started => {
            missing("etcd was started here before, and the volume is empty")
        }
        (None, None) => Gate::StartFresh,
    }
}

fn missing(what: &str) -> Gate {
    Gate::Refuse(Refusal::DataMissing {
        what: what.to_owned(),
    })
}

fn foreign_guard(history: &DataHistory, guard: &Guard) -> Gate {
    let owner = SupersededIdentity {
        cluster_id: guard.identity.cluster_id,
        member_id: guard.identity.member_id,
    };
    set_aside_or_refuse(history, owner)
}

fn foreign_log(history: &DataHistory, log: WalIdentity) -> Gate {
    let owner = SupersededIdentity {
        cluster_id: etcd_launch::ClusterId(log.cluster_id),
        member_id: etcd_launch::MemberId(log.member_id),
    };
    set_aside_or_refuse(history, owner)
}

fn set_aside_or_refuse(history: &DataHistory, owner: SupersededIdentity) -> Gate {
    if history.superseded.contains(&owner) {
        Gate::SetAside(owner)
    } else {
        Gate::Refuse(Refusal::ForeignData {
            found: format!(
                "data of member {} of cluster {}",
                owner.member_id, owner.cluster_id
            ),
        })
    }
}

fn is_same(log: WalIdentity, identity: &Identity) -> bool {
    log.cluster_id == identity.cluster_id.0 && log.member_id == identity.member_id.0
}

#[cfg(test)]
mod tests {
    use etcd_launch::{ClusterId, ClusterToken, FORMAT, MemberId};

    use super::*;

    const OURS: (u64, u64) = (0xc, 0x1);
    const OLD: (u64, u64) = (0xb, 0x1);
    const OTHER: (u64, u64) = (0xc, 0x9);

    fn identity((cluster, member): (u64, u64)) -> Identity {
        Identity {
            token: ClusterToken(format!("t-{cluster:x}")),
            cluster_id: ClusterId(cluster),
            member_id: MemberId(member),
        }
    }

    fn guard(owner: (u64, u64), wal_seen: bool) -> Option<Guard> {
        Some(Guard {
            format: FORMAT,
            identity: identity(owner),
            wal_seen,
        })
    }

    fn log((cluster_id, member_id): (u64, u64)) -> DataDir {
        DataDir::Wal {
            identity: WalIdentity {
                cluster_id,
                member_id,
            },
            wal_files: 1,
            has_database: true,
        }
    }

    #[track_caller]
    fn check(was_started: bool, guard: Option<Guard>, found: DataDir, expected: &str) {
        let old = identity(OLD);
        let history = DataHistory {
            was_started,
            superseded: vec![SupersededIdentity {
                cluster_id: old.cluster_id,
                member_id: old.member_id,
            }],
        };
        let gate = decide(&identity(OURS), &history, guard.as_ref(), &found);
        let text = match gate {
            Gate::StartFresh => "fresh".to_owned(),
            Gate::Resume => "resume".to_owned(),
            Gate::SetAside(_) => "set aside".to_owned(),
            Gate::Refuse(Refusal::DataMissing { .. }) => "data missing".to_owned(),
            Gate::Refuse(Refusal::ForeignData { .. }) => "foreign data".to_owned(),
            Gate::Refuse(other) => other.to_string(),
        };
        assert_eq!(
            text, expected,
            "was_started={was_started} {guard:?} {found:?}"
        );
    }

    #[test]
    fn no_guard() {
        for empty in [DataDir::Absent, DataDir::Empty] {
            check(false, None, empty.clone(), "fresh");
            check(true, None, empty, "data missing");
        }
        check(false, None, log(OURS), "resume");
        check(true, None, log(OURS), "resume");
        check(false, None, log(OLD), "set aside");
        check(false, None, log(OTHER), "foreign data");
    }

    #[test]
    fn our_guard() {
        check(false, guard(OURS, false), DataDir::Empty, "fresh");
        // etcd was reported started and then wrote nothing: the guard proves
        // that the volume is the one it was started on.
        check(true, guard(OURS, false), DataDir::Empty, "fresh");
        check(
            true,
            guard(OURS, false),
            DataDir::NoWal {
                has_database: false,
            },
            "fresh",
        );
        check(false, guard(OURS, true), DataDir::Empty, "data missing");
        check(
            true,
            guard(OURS, true),
            DataDir::NoWal { has_database: true },
            "data missing",
        );
        check(true, guard(OURS, true), log(OURS), "resume");
        check(false, guard(OURS, false), log(OURS), "resume");
        check(true, guard(OURS, true), log(OTHER), "foreign data");
        check(true, guard(OURS, true), log(OLD), "set aside");
    }

    #[test]
    fn guard_of_another() {
        check(false, guard(OLD, true), log(OLD), "set aside");
        check(false, guard(OLD, false), DataDir::Empty, "set aside");
        check(false, guard(OTHER, true), log(OTHER), "foreign data");
        check(true, guard(OTHER, false), DataDir::Empty, "foreign data");
    }
}
