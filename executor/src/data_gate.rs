//! May etcd start on this data directory? The decision that keeps a member
//! from forgetting what it acknowledged.
//!
//! etcd itself accepts an empty directory under a known member id, catches up,
//! votes, and so lets a write that a majority had acknowledged vanish. Nothing
//! in etcd notices. This does.
//!
//! The same goes for an older copy of a member's own directory, from a backup or a
//! snapshot of its host: once leadership has changed, etcd takes it for a slow
//! follower.

use std::path::Path;

use etcd_admin::LogEnd;
use etcd_admin::data_dir::DataDir;
use etcd_admin::wal::{WalDamage, WalIdentity};
use etcd_launch::{
    ClusterId, DATA_DIRECTORY, DataHistory, Guard, Identity, LogPosition, MemberId,
    Refusal, SupersededIdentity,
};

/// What is to be done before etcd may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing of this member is here, and nothing has to be: write the guard,
    /// have it known that etcd starts, and start.
    StartFresh,
    /// The member's own data is here. Whether it is all of it, [`check_age`]
    /// tells.
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
    match guard {
        None => without_guard(identity, history, found),
        Some(guard) if guard.identity == *identity => {
            behind_own_guard(identity, guard, found)
        }
        Some(guard) => behind_other_guard(identity, history, guard, found),
    }
}

/// Refuses a log that ends before the place where its member is known to have
/// come: `reached`, none where nobody knows.
///
/// Terms and indexes only grow along a log, and what a member was known to have
/// stays in it, so both must be there. A longer log is fine: more was written
/// since anybody asked.
///
/// # Errors
///
/// [`Refusal::DataBehind`]; [`Refusal::DataDamaged`] where the log might go on,
/// but cannot be read so far. A damaged log that goes far enough is left to
/// etcd's own judgement, which knows better what it can repair.
pub fn check_age(reached: Option<LogPosition>, end: &LogEnd) -> Result<(), Refusal> {
    let ends_at = LogPosition {
        term: end.term,
        index: end.index,
    };
    let reached = reached.unwrap_or_default();
    if ends_at.term >= reached.term && ends_at.index >= reached.index {
        return Ok(());
    }
    Err(match &end.damage {
        Some(damage) => Refusal::DataDamaged {
            what: format!(
                "{}: {}; the log can be read up to {ends_at}, the member had reached \
                 {reached}",
                file_name(&damage.file),
                damage.problem
            ),
        },
        None => Refusal::DataBehind { ends_at, reached },
    })
}

/// The path of a sandbox is long, and no help to anybody.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What a log proves on its own: its member had come at least this far.
pub fn proven_by(end: &LogEnd) -> LogPosition {
    // The last entry may yet give way to another leader's; what is committed stays.
    LogPosition {
        term: 0,
        index: end.commit,
    }
}

/// The guard is on the disk before etcd first starts, so a crash of ours never
/// leaves files of etcd's without one: whatever lies here came in another way,
/// and only a log can prove whose it is.
fn without_guard(identity: &Identity, history: &DataHistory, found: &DataDir) -> Gate {
    match found {
        DataDir::Wal { identity: log, .. } if owner_of_log(*log) == owner(identity) => {
            Gate::Resume
        }
        DataDir::Wal { identity: log, .. } => {
            set_aside_or_refuse(identity, history, owner_of_log(*log))
        }
        DataDir::Damaged(damage) => damaged(damage),
        DataDir::Absent | DataDir::Empty | DataDir::NoWal { .. }
            if history.was_started =>
        {
            missing("etcd was started here before, and the volume is empty")
        }
        DataDir::NoWal { .. } => foreign("files of etcd's without a log and a guard"),
        // A member in the sandbox itself would be gone with the sandbox.
        DataDir::Absent => Gate::Refuse(Refusal::VolumeUnusable {
            why: format!("there is no directory {DATA_DIRECTORY}: it is not mounted"),
        }),
        DataDir::Empty => Gate::StartFresh,
    }
}

fn behind_own_guard(identity: &Identity, guard: &Guard, found: &DataDir) -> Gate {
    match found {
        DataDir::Wal { identity: log, .. } if owner_of_log(*log) == owner(identity) => {
            Gate::Resume
        }
        // Even a superseded one stays: it has taken the place of our own log,
        // and setting it aside would make that loss look like a new volume.
        DataDir::Wal { identity: log, .. } => {
            let log = owner_of_log(*log);
            foreign(&format!("{}, though the guard is ours", data_of(log)))
        }
        DataDir::Damaged(damage) => damaged(damage),
        _ if guard.wal_seen => missing("etcd's log was here and is gone"),
        // The guard is here, so the volume is; etcd never got as far as a log.
        _ => Gate::StartFresh,
    }
}

/// A guard of a member that will never run again, as an operator leaves it who
/// paused a pod, added a member by hand and ran it here: it says no more than no
/// guard would, and a log of our own proves as much as it does [`without_guard`].
/// We never leave the two together, as the guard is written before etcd first
/// starts. The marker `initialized` adds nothing to that proof: an operator's
/// word cannot make a log newer, and [`check_age`] refuses an older one all the
/// same.
fn behind_other_guard(
    identity: &Identity,
    history: &DataHistory,
    guard: &Guard,
    found: &DataDir,
) -> Gate {
    let guarded = owner(&guard.identity);
    if let DataDir::Wal { identity: log, .. } = found {
        let log = owner_of_log(*log);
        let guard_is_void =
            guarded != owner(identity) && history.superseded.contains(&guarded);
        if log == owner(identity) && guard_is_void {
            return Gate::Resume;
        }
        let may_be_moved = log != owner(identity) && history.superseded.contains(&log);
        if log != guarded && !may_be_moved {
            return foreign(&format!("{} behind a guard of another", data_of(log)));
        }
    }
    set_aside_or_refuse(identity, history, guarded)
}

fn set_aside_or_refuse(
    identity: &Identity,
    history: &DataHistory,
    found: SupersededIdentity,
) -> Gate {
    // Our own ids with another token are nobody's whom we know.
    if history.superseded.contains(&found) && found != owner(identity) {
        Gate::SetAside(found)
    } else {
        foreign(&data_of(found))
    }
}

fn missing(what: &str) -> Gate {
    Gate::Refuse(Refusal::DataMissing {
        what: what.to_owned(),
    })
}

fn foreign(found: &str) -> Gate {
    Gate::Refuse(Refusal::ForeignData {
        found: found.to_owned(),
    })
}

/// A damaged log is not an empty one: the data may be saved by hand.
fn damaged(damage: &WalDamage) -> Gate {
    Gate::Refuse(Refusal::VolumeUnusable {
        why: format!("{}: {}", damage.file.display(), damage.problem),
    })
}

fn data_of(found: SupersededIdentity) -> String {
    format!(
        "data of member {} of cluster {}",
        found.member_id, found.cluster_id
    )
}

fn owner(identity: &Identity) -> SupersededIdentity {
    SupersededIdentity {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
    }
}

fn owner_of_log(log: WalIdentity) -> SupersededIdentity {
    SupersededIdentity {
        cluster_id: ClusterId(log.cluster_id),
        member_id: MemberId(log.member_id),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use etcd_launch::{ClusterToken, FORMAT};

    use super::*;

    const OURS: (u64, u64) = (0xc, 0x1);
    const OLD: (u64, u64) = (0xb, 0x1);
    const OLDER: (u64, u64) = (0xa, 0x1);
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

    fn torn() -> DataDir {
        DataDir::Damaged(WalDamage {
            file: PathBuf::from("0.wal"),
            problem: "torn".into(),
        })
    }

    /// As a first start leaves it that was cut short: etcd makes its database
    /// before its log.
    const CUT_SHORT: DataDir = DataDir::NoWal { has_database: true };

    #[track_caller]
    fn check(was_started: bool, guard: Option<Guard>, found: DataDir, expected: &str) {
        let history = DataHistory {
            was_started,
            // Ours among them would be a mistake of the scheduler's, and must
            // not move what is in use.
            superseded: [OLD, OLDER, OURS].map(|ids| owner(&identity(ids))).to_vec(),
            reached: None,
        };
        let gate = decide(&identity(OURS), &history, guard.as_ref(), &found);
        let text = match gate {
            Gate::StartFresh => "fresh".to_owned(),
            Gate::Resume => "resume".to_owned(),
            Gate::SetAside(owner) => format!("set {:x} aside", owner.cluster_id.0),
            Gate::Refuse(Refusal::DataMissing { .. }) => "data missing".to_owned(),
            Gate::Refuse(Refusal::ForeignData { .. }) => "foreign data".to_owned(),
            Gate::Refuse(Refusal::VolumeUnusable { .. }) => "unusable".to_owned(),
            Gate::Refuse(other) => other.to_string(),
        };
        assert_eq!(
            text, expected,
            "was_started={was_started} {guard:?} {found:?}"
        );
    }

    #[test]
    fn no_guard() {
        for (found, new_member, started_member) in [
            (DataDir::Absent, "unusable", "data missing"),
            (DataDir::Empty, "fresh", "data missing"),
            (CUT_SHORT, "foreign data", "data missing"),
            (log(OURS), "resume", "resume"),
            (log(OLD), "set b aside", "set b aside"),
            (log(OTHER), "foreign data", "foreign data"),
            (torn(), "unusable", "unusable"),
        ] {
            check(false, None, found.clone(), new_member);
            check(true, None, found, started_member);
        }
    }

    /// What the scheduler knows makes no difference here: the guard proves
    /// that the volume is the one that etcd was started on.
    #[test]
    fn our_guard() {
        for was_started in [false, true] {
            for (found, log_not_seen, log_seen) in [
                (DataDir::Empty, "fresh", "data missing"),
                (CUT_SHORT, "fresh", "data missing"),
                (log(OURS), "resume", "resume"),
                (log(OLD), "foreign data", "foreign data"),
                (log(OTHER), "foreign data", "foreign data"),
                (torn(), "unusable", "unusable"),
            ] {
                check(was_started, guard(OURS, false), found.clone(), log_not_seen);
                check(was_started, guard(OURS, true), found, log_seen);
            }
        }
    }

    #[test]
    fn guard_of_another() {
        for was_started in [false, true] {
            for (found, superseded, other) in [
                (DataDir::Empty, "set b aside", "foreign data"),
                (CUT_SHORT, "set b aside", "foreign data"),
                (log(OLD), "set b aside", "foreign data"),
                (log(OLDER), "set b aside", "foreign data"),
                // What cannot be read is kept all the same.
                (torn(), "set b aside", "foreign data"),
                (log(OTHER), "foreign data", "foreign data"),
                // Run by hand, in a pod that was paused.
                (log(OURS), "resume", "foreign data"),
            ] {
                check(was_started, guard(OLD, true), found.clone(), superseded);
                check(was_started, guard(OTHER, true), found, other);
            }
        }
    }

    #[test]
    fn our_ids_under_another_token() {
        let mut guard = guard(OURS, true);
        if let Some(guard) = &mut guard {
            guard.identity.token = ClusterToken("another".into());
        }
        check(true, guard, log(OURS), "foreign data");
    }

    #[track_caller]
    fn check_log(reached: Option<(u64, u64)>, ends_at: (u64, u64), expected: &str) {
        let reached = reached.map(|(term, index)| LogPosition { term, index });
        let end = |problem: Option<&str>| LogEnd {
            term: ends_at.0,
            index: ends_at.1,
            commit: 0,
            damage: problem.map(|problem| WalDamage {
                file: PathBuf::from("0.wal"),
                problem: problem.to_owned(),
            }),
        };
        let text = |end: &LogEnd| match check_age(reached, end) {
            Ok(()) => "may start".to_owned(),
            Err(Refusal::DataBehind { ends_at, .. }) => format!("behind: {ends_at}"),
            Err(Refusal::DataDamaged { what }) => format!("damaged: {what}"),
            Err(other) => other.to_string(),
        };
        assert_eq!(text(&end(None)), expected, "{reached:?} {ends_at:?}");
        // One cannot know that what is missing is not behind the damage.
        let damaged = text(&end(Some("torn")));
        let kind = expected.replace("behind", "damaged");
        let same = damaged.split(':').next() == kind.split(':').next();
        assert!(same, "{reached:?} {ends_at:?}: {damaged}");
    }

    #[test]
    fn age() {
        check_log(None, (0, 0), "may start");
        check_log(None, (2, 7), "may start");
        for ends_at in [(3, 100), (3, 101), (4, 100), (4, 3000)] {
            check_log(Some((3, 100)), ends_at, "may start");
        }
        check_log(Some((3, 100)), (3, 99), "behind: term 3 index 99");
        check_log(Some((3, 100)), (0, 0), "behind: index 0");
        // Entries that another leader has since replaced, however many.
        check_log(Some((3, 100)), (2, 3000), "behind: term 2 index 3000");
        check_log(Some((3, 100)), (4, 99), "behind: term 4 index 99");
        // As when etcd itself said that it lacks entries: it names no term.
        check_log(Some((0, 107)), (2, 84), "behind: term 2 index 84");
        check_log(Some((0, 107)), (2, 107), "may start");
    }
}
