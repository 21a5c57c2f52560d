//! Bugs of etcd that can cost data, by version, for the warning that goes with
//! every place where a version is chosen or shown.
//!
//! Sources: etcd's changelogs of 3.4 to 3.6, its post-mortem on 3.5 data
//! inconsistency, and the issues named. Not listed: bugs that only stop etcd,
//! and those of versions before 3.4.

use std::fmt;

use crate::EtcdVersion;

/// One bug that can cost data, or show it to the wrong reader.
#[derive(Debug, PartialEq, Eq)]
pub struct DataBug {
    /// Where it is described: an issue of etcd's, or an advisory.
    pub id: &'static str,
    /// What happens, and when, in one sentence without a full stop.
    pub text: &'static str,
    /// Which versions have it.
    pub affected: &'static [AffectedLine],
}

/// The affected stretch of one minor version.
#[derive(Debug, PartialEq, Eq)]
pub struct AffectedLine {
    /// The first version with the bug.
    pub first: EtcdVersion,
    /// The first version of the same minor without it.
    pub fixed_in: EtcdVersion,
}

impl DataBug {
    /// The first version of `version`'s minor that is free of this bug;
    /// none when `version` does not have it.
    pub fn fixed_in(&self, version: EtcdVersion) -> Option<EtcdVersion> {
        self.affected
            .iter()
            .find(|line| line.first <= version && version < line.fixed_in)
            .map(|line| line.fixed_in)
    }
}

impl fmt::Display for DataBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (fixed in ", self.id, self.text)?;
        for (position, line) in self.affected.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{}", line.fixed_in)?;
        }
        f.write_str(")")
    }
}

/// The bugs that `version` has, in the order of [`DATA_BUGS`].
pub fn known_data_bugs(version: EtcdVersion) -> Vec<&'static DataBug> {
    DATA_BUGS
        .iter()
        .filter(|bug| bug.fixed_in(version).is_some())
        .collect()
}

/// Bugs that cost data in ordinary service, so that nobody should choose a version with
/// them. The others need a rare moment or a call that can be left alone.
const IN_ORDINARY_SERVICE: &str = "etcd#13766";

/// The same, where there is one member alone.
const FOR_ONE_MEMBER: &str = "etcd#14370";

/// The bug for which a cluster of so many members should not be brought to `version`,
/// and the first version of the same minor without any such bug.
pub fn not_to_be_chosen(
    version: EtcdVersion,
    members: u64,
) -> Option<(&'static DataBug, EtcdVersion)> {
    let stands_against = |bug: &&'static DataBug| {
        bug.id == IN_ORDINARY_SERVICE || bug.id == FOR_ONE_MEMBER && members == 1
    };
    let bugs = known_data_bugs(version).into_iter().filter(stands_against);
    let bugs: Vec<_> = bugs
        .filter_map(|bug| Some((bug, bug.fixed_in(version)?)))
        .collect();
    let fixed_in = bugs.iter().map(|(_, fixed_in)| *fixed_in).max()?;
    bugs.first().map(|(bug, _)| (*bug, fixed_in))
}

/// The first version of `version`'s minor that has none of the bugs of this table; none
/// when `version` itself has none.
pub fn free_of_known_bugs(version: EtcdVersion) -> Option<EtcdVersion> {
    let bugs = DATA_BUGS.iter();
    bugs.filter_map(|bug| bug.fixed_in(version)).max()
}

/// Bugs that a defragmentation can trigger, by their ids.
const TRIGGERED_BY_DEFRAGMENTATION: [&str; 2] = ["etcd#14685", "etcd#20653"];

/// A bug of `version` that a defragmentation under writes can trigger, if there is one.
pub fn triggered_by_defragmentation(version: EtcdVersion) -> Option<&'static DataBug> {
    known_data_bugs(version)
        .into_iter()
        .find(|bug| TRIGGERED_BY_DEFRAGMENTATION.contains(&bug.id))
}

/// Versions `3.minor.first` up to, but without, `3.minor.fixed_in`.
const fn line(minor: u16, first: u16, fixed_in: u16) -> AffectedLine {
    AffectedLine {
        first: EtcdVersion::new(3, minor, first),
        fixed_in: EtcdVersion::new(3, minor, fixed_in),
    }
}

/// Every bug known to this table, roughly from worst to mildest.
pub const DATA_BUGS: &[DataBug] = &[
    DataBug {
        id: "etcd#13766",
        text: "a member that crashes under load can come back with other data than \
               its peers and serve it",
        affected: &[line(5, 0, 3)],
    },
    DataBug {
        id: "etcd#14370",
        text: "a cluster of one member can lose acknowledged writes in a crash",
        affected: &[line(4, 0, 21), line(5, 0, 5)],
    },
    DataBug {
        id: "etcd#20653",
        text: "a member that receives a snapshot while it is defragmented can end \
               with corrupt data",
        affected: &[line(4, 0, 38), line(5, 0, 23), line(6, 0, 5)],
    },
    DataBug {
        id: "etcd#14685",
        text: "a crash during defragmentation can leave a member with other \
               revisions than its peers",
        affected: &[line(5, 0, 6)],
    },
    DataBug {
        id: "etcd#17780",
        text: "a crash during compaction can make revisions go backwards",
        affected: &[line(4, 0, 32), line(5, 0, 14)],
    },
    DataBug {
        id: "etcd#18799",
        text: "a transaction that fails midway can be applied in part",
        affected: &[line(5, 0, 17)],
    },
    DataBug {
        id: "etcd#18475",
        text: "compaction at the revision of a deletion can drop the deletion's \
               record, so that members disagree and watchers miss it",
        affected: &[line(4, 0, 34), line(5, 0, 16)],
    },
    DataBug {
        id: "etcd#14571",
        text: "a member that caught up by snapshot can judge users by an old state \
               of the accounts, so that members disagree",
        affected: &[line(4, 0, 22), line(5, 0, 6)],
    },
    DataBug {
        id: "etcd#20418",
        text: "reads that should be linearizable can be stale after a process was \
               paused or the leader changed",
        affected: &[line(4, 20, 42), line(5, 0, 28), line(6, 0, 9)],
    },
    DataBug {
        id: "etcd#20616",
        text: "a lease can be reported as renewed although it is gone",
        affected: &[line(4, 0, 38), line(5, 0, 23), line(6, 0, 5)],
    },
    DataBug {
        id: "etcd#19557",
        text: "promoted learners are stored as learners; after an upgrade to 3.6 \
               they may be learners again and the cluster may not start",
        affected: &[line(5, 1, 24)],
    },
    DataBug {
        id: "etcd#20995",
        text: "removed members stay in the store and can come back after an \
               upgrade to 3.6",
        affected: &[line(5, 0, 26)],
    },
    DataBug {
        id: "etcd#20339",
        text: "starting with force-new-cluster can leave old members or learners \
               in the new cluster",
        affected: &[line(5, 0, 25), line(6, 0, 6)],
    },
    DataBug {
        id: "etcd#21694",
        text: "updating the peer urls of a learner gives it a vote before it has \
               caught up",
        affected: &[line(5, 0, 31), line(6, 0, 12)],
    },
    DataBug {
        id: "etcd#15548",
        text: "a restore at the same addresses can raise a false alarm of \
               corruption",
        affected: &[line(4, 0, 28), line(5, 0, 10)],
    },
    DataBug {
        id: "CVE-2026-33413",
        text: "with authentication on, several calls (member list and alarms \
               among them) answer without it",
        affected: &[line(4, 0, 42), line(5, 0, 28), line(6, 0, 9)],
    },
    DataBug {
        id: "CVE-2026-33343",
        text: "with authentication on, nested transactions get round the checks \
               of roles",
        affected: &[line(4, 0, 42), line(5, 0, 28), line(6, 0, 9)],
    },
    DataBug {
        id: "GHSA-3wh4-j44w-pg92",
        text: "revoked client certificates are accepted when \
               listen-client-http-urls is set",
        affected: &[line(5, 0, 32), line(6, 0, 13)],
    },
    DataBug {
        id: "GHSA-xg4h-6gfc-h4m8",
        text: "a user who may read one key can watch every key that sorts after it",
        affected: &[line(5, 0, 33), line(6, 0, 14)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_of_the_versions_that_debian_has() {
        #[track_caller]
        fn check(version: &str, expected: &str) {
            let bugs = known_data_bugs(version.parse().unwrap());
            let ids: Vec<&str> = bugs.iter().map(|bug| bug.id).collect();
            assert_eq!(ids.join(" "), expected, "{version}");
        }
        check(
            "3.4.23",
            "etcd#20653 etcd#17780 etcd#18475 etcd#20418 etcd#20616 etcd#15548 \
             CVE-2026-33413 CVE-2026-33343",
        );
        check(
            "3.5.16",
            "etcd#20653 etcd#18799 etcd#20418 etcd#20616 etcd#19557 etcd#20995 \
             etcd#20339 etcd#21694 CVE-2026-33413 CVE-2026-33343 \
             GHSA-3wh4-j44w-pg92 GHSA-xg4h-6gfc-h4m8",
        );
        check(
            "3.5.30",
            "etcd#21694 GHSA-3wh4-j44w-pg92 GHSA-xg4h-6gfc-h4m8",
        );
        check("3.5.33", "");
        check("3.6.14", "");
    }

    #[test]
    fn a_bug_says_where_it_is_fixed() {
        let bugs = known_data_bugs(EtcdVersion::new(3, 4, 31));
        let bug = bugs.iter().find(|bug| bug.id == "etcd#17780").unwrap();
        let fixed_in = bug.fixed_in(EtcdVersion::new(3, 4, 31));
        assert_eq!(fixed_in, Some(EtcdVersion::new(3, 4, 32)));
        assert_eq!(bug.fixed_in(EtcdVersion::new(3, 4, 32)), None);
        assert_eq!(
            bug.to_string(),
            "etcd#17780: a crash during compaction can make revisions go backwards \
             (fixed in 3.4.32, 3.5.14)"
        );
    }

    #[test]
    fn what_nobody_should_choose() {
        #[track_caller]
        fn check(version: &str, members: u64, expected: Option<(&str, &str)>) {
            let found = not_to_be_chosen(version.parse().unwrap(), members);
            let found = found.map(|(bug, fixed_in)| (bug.id, fixed_in.to_string()));
            let found = found
                .as_ref()
                .map(|(id, fixed_in)| (*id, fixed_in.as_str()));
            assert_eq!(found, expected, "{version}");
        }
        check("3.5.0", 3, Some(("etcd#13766", "3.5.3")));
        check("3.5.1", 1, Some(("etcd#13766", "3.5.5")));
        check("3.5.3", 3, None);
        check("3.5.4", 1, Some(("etcd#14370", "3.5.5")));
        check("3.4.20", 1, Some(("etcd#14370", "3.4.21")));
        check("3.4.23", 1, None);
        check("3.5.30", 3, None);
    }

    #[test]
    fn what_to_upgrade_to() {
        #[track_caller]
        fn check(version: &str, expected: Option<&str>) {
            let found = free_of_known_bugs(version.parse().unwrap());
            let found = found.map(|version| version.to_string());
            assert_eq!(found.as_deref(), expected, "{version}");
        }
        check("3.4.23", Some("3.4.42"));
        check("3.5.30", Some("3.5.33"));
        check("3.5.33", None);
    }

    #[test]
    fn the_table_is_sound() {
        for bug in DATA_BUGS {
            assert!(
                !bug.affected.is_empty() && !bug.text.ends_with('.'),
                "{}",
                bug.id
            );
            for line in bug.affected {
                assert_eq!(line.first.minor, line.fixed_in.minor, "{}", bug.id);
                assert!(line.first < line.fixed_in, "{}", bug.id);
            }
            let same_id = DATA_BUGS.iter().filter(|other| other.id == bug.id).count();
            assert_eq!(same_id, 1, "{}", bug.id);
        }
    }

    #[test]
    fn versions_that_are_not_to_be_defragmented() {
        #[track_caller]
        fn check(version: &str, expected: Option<&str>) {
            let bug = triggered_by_defragmentation(version.parse().unwrap());
            assert_eq!(bug.map(|bug| bug.id), expected, "{version}");
        }
        check("3.4.23", Some("etcd#20653"));
        check("3.5.5", Some("etcd#20653"));
        check("3.5.22", Some("etcd#20653"));
        check("3.5.23", None);
        check("3.5.30", None);
        check("3.6.4", Some("etcd#20653"));
        check("3.6.5", None);
    }
}
