//! Which etcd may come after which.
//!
//! etcd's own rules: a cluster goes up one minor version at a time, and the cluster's
//! version is that of its oldest member. For as long as one member runs the older
//! minor, the others may go back to it; once all run the newer one, its data is not
//! read by the older one any more, unless etcd itself makes it ready for that
//! ([`Way::Downgrade`]).

use std::fmt;

use crate::programs::EtcdVersion;

/// From which patch on a minor may be left for the next one.
const LEFT_FROM: [(EtcdVersion, &str); 2] = [
    // etcd's upgrade guide to 3.6; etcd#19557, etcd#20793, etcd#20995.
    (
        EtcdVersion::new(3, 5, 26),
        "with older ones, members that joined as learners may lose their votes on the \
         way, and removed members may come back",
    ),
    // etcd's upgrade guide to 3.7.
    (
        EtcdVersion::new(3, 6, 11),
        "etcd's upgrade guide asks for it",
    ),
];

/// From this minor on etcd can be taken back by one, by a call of its own. 3.5 has the
/// call, too, and says that 3.4 can be validated; but enabling it runs into etcd's time
/// limit, the cluster stays at 3.5, and a 3.4 ends on its data (tried with 3.5.30 and
/// 3.4.23).
const HAS_DOWNGRADE: (u16, u16) = (3, 6);

/// How members come to another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One after the other.
    Members,
    /// One after the other, once etcd has agreed to go back and has made the data of
    /// all of them ready for the minor version before.
    Downgrade,
}

/// Why a version may not come after those that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRefusal {
    /// Another major version.
    OtherMajor {
        /// What runs.
        from: EtcdVersion,
    },
    /// A minor version is left out.
    SkipsMinor {
        /// The oldest that runs.
        from: EtcdVersion,
        /// What is wanted.
        to: EtcdVersion,
    },
    /// An older minor version than all members have, of an etcd without a downgrade.
    OlderMinor {
        /// The oldest that runs.
        from: EtcdVersion,
        /// What is wanted.
        to: EtcdVersion,
    },
    /// More than one minor version back.
    TooFarBack {
        /// The newest that runs.
        from: EtcdVersion,
        /// What is wanted.
        to: EtcdVersion,
    },
    /// The patch that runs is too old to be left for the next minor version.
    PatchFirst {
        /// What runs.
        from: EtcdVersion,
        /// The first patch that will do.
        first: EtcdVersion,
        /// Why.
        why: &'static str,
    },
}

/// How members that run these versions may be brought to another one. Where nobody
/// knows what runs, nothing speaks against it.
///
/// # Errors
///
/// Why not.
pub fn judge(running: &[EtcdVersion], to: EtcdVersion) -> Result<Way, VersionRefusal> {
    let (Some(from), Some(newest)) = (running.iter().min(), running.iter().max()) else {
        return Ok(Way::Members);
    };
    let (from, newest) = (*from, *newest);
    if running.iter().any(|from| from.major != to.major) {
        return Err(VersionRefusal::OtherMajor { from });
    }
    if to.minor < from.minor {
        if (from.major, from.minor) < HAS_DOWNGRADE {
            return Err(VersionRefusal::OlderMinor { from, to });
        }
        if newest.minor > to.minor + 1 {
            return Err(VersionRefusal::TooFarBack { from: newest, to });
        }
        return Ok(Way::Downgrade);
    }
    if to.minor > from.minor + 1 {
        return Err(VersionRefusal::SkipsMinor { from, to });
    }
    let leaving = running.iter().filter(|from| from.minor < to.minor);
    for from in leaving.copied() {
        let rule = LEFT_FROM.iter().find(|(first, _)| {
            (first.major, first.minor) == (from.major, from.minor) && from < *first
        });
        if let Some((first, why)) = rule.copied() {
            return Err(VersionRefusal::PatchFirst { from, first, why });
        }
    }
    Ok(Way::Members)
}

impl fmt::Display for VersionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionRefusal::OtherMajor { from } => write!(
                f,
                "members run {from}, and another major version is nothing that this \
                 release knows"
            ),
            VersionRefusal::SkipsMinor { from, to } => write!(
                f,
                "etcd goes up one minor version at a time, and a member runs {from}: \
                 take the newest {}.{} first, then {to}",
                from.major,
                from.minor + 1
            ),
            VersionRefusal::OlderMinor { from, to } => write!(
                f,
                "all members run {from} or later, and etcd cannot go back to {}.{}: its \
                 downgrade came with 3.6; to go back, restore a snapshot of that time \
                 into a new service",
                to.major, to.minor
            ),
            VersionRefusal::TooFarBack { from, to } => write!(
                f,
                "etcd goes back one minor version at a time, and a member runs {from}: \
                 take {}.{} first, then {to}",
                from.major,
                from.minor - 1
            ),
            VersionRefusal::PatchFirst { from, first, why } => write!(
                f,
                "a member runs {from}; take {first} or later of {}.{} first: {why}",
                first.major, first.minor
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_after_what() {
        #[track_caller]
        fn check(running: &str, to: &str, expected: &str) {
            let read = |text: &str| EtcdVersion::parse(text).unwrap();
            let running: Vec<EtcdVersion> =
                running.split_whitespace().map(read).collect();
            let judged = judge(&running, read(to));
            let found = match judged {
                Ok(Way::Members) => "fine".to_owned(),
                Ok(Way::Downgrade) => "by a downgrade".to_owned(),
                Err(why) => why.to_string(),
            };
            assert!(found.contains(expected), "{running:?} {to}: {found}");
        }
        check("", "3.6.1", "fine");
        check("3.4.23 3.4.23", "3.4.23", "fine");
        check("3.5.16", "3.5.30", "fine");
        check("3.5.30", "3.5.16", "fine");
        check("3.4.23 3.4.23 3.4.23", "3.5.30", "fine");
        // Half of the way, and back again.
        check("3.4.23 3.5.30 3.5.30", "3.5.30", "fine");
        check("3.4.23 3.5.30 3.5.30", "3.4.23", "fine");
        check("3.4.23 3.5.30", "3.6.14", "one minor version at a time");
        check(
            "3.4.23",
            "3.6.14",
            "a member runs 3.4.23: take the newest 3.5 first, then 3.6.14",
        );
        check("3.5.30 3.5.30", "3.4.23", "cannot go back to 3.4");
        check("3.6.14 3.6.11", "3.5.30", "by a downgrade");
        check("3.7.1", "3.6.14", "by a downgrade");
        // Half of the way back, and of the way up again.
        check("3.5.30 3.6.14", "3.5.30", "fine");
        check("3.5.30 3.6.14", "3.6.14", "fine");
        check(
            "3.7.1",
            "3.5.30",
            "one minor version at a time, and a member runs 3.7.1: take 3.6 first",
        );
        check(
            "3.6.14 3.7.1",
            "3.5.30",
            "a member runs 3.7.1: take 3.6 first",
        );
        check(
            "3.5.16 3.5.30",
            "3.6.14",
            "runs 3.5.16; take 3.5.26 or later",
        );
        check("3.5.26", "3.6.14", "fine");
        check("3.6.10", "3.7.1", "take 3.6.11 or later");
        check("3.6.11", "3.7.1", "fine");
        check("3.5.30", "4.0.0", "another major version");
    }
}
