//! What agents fetch for a member: etcd, and the executor that runs it.
//!
//! It belongs to the recipe. A member that was not changed yet, one that crashed and
//! one that goes back are launched with exactly what their recipe says, whatever the
//! scheduler was started with since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use etcd_launch::{EtcdProgram, Sha256};

use crate::record::Record;
use crate::target::Recipe;

/// The programs of a member. Records of earlier releases hold only `directory` and
/// `checksums`; see [`Programs::adopt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// Directory below the sandbox that holds etcd's programs; `.` when the fetcher
    /// puts them at the top.
    pub directory: String,
    /// The checksum of each of etcd's programs that the scheduler serves, by name.
    pub checksums: BTreeMap<String, Sha256>,
    /// The release archive with etcd, where agents fetch it from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// The executor; none where nobody knows, in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorProgram>,
    /// Which etcd it is; none where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<EtcdVersion>,
}

/// An archive that agents fetch from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// From where.
    pub uri: String,
    /// Its checksum.
    pub sha256: Sha256,
}

/// The executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorProgram {
    /// Its checksum.
    pub sha256: Sha256,
    /// From where agents fetch it; none for the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// A release of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EtcdVersion {
    /// 3 in 3.5.30.
    pub major: u16,
    /// 5 in 3.5.30.
    pub minor: u16,
    /// 30 in 3.5.30.
    pub patch: u16,
}

impl Programs {
    /// What the executor is told of etcd.
    pub fn etcd(&self) -> EtcdProgram {
        EtcdProgram {
            directory: self.directory.clone(),
            checksums: self.checksums.clone(),
        }
    }

    /// Whether both have the same etcd, byte for byte.
    pub fn has_same_etcd(&self, other: &Programs) -> bool {
        let archive_of = |programs: &Programs| {
            let archive = programs.archive.as_ref();
            archive.map(|archive| archive.sha256.clone())
        };
        self.directory == other.directory
            && self.checksums == other.checksums
            && archive_of(self) == archive_of(other)
    }

    /// The checksums of all that the scheduler itself serves.
    pub fn served(&self) -> BTreeSet<&Sha256> {
        let executor = self.executor.as_ref().filter(|it| it.uri.is_none());
        let executor = executor.map(|executor| &executor.sha256);
        self.checksums.values().chain(executor).collect()
    }

    /// Takes over what `present` says of the same programs: where they are fetched
    /// now, and what records of earlier releases do not tell.
    pub fn adopt(&mut self, present: &Programs) {
        let executor = self.executor.as_ref().map(|it| &it.sha256);
        let same = present.executor.as_ref().map(|it| &it.sha256);
        if executor.is_none() || executor == same {
            self.executor.clone_from(&present.executor);
        }
        // An archive's directory is named after the release.
        let knows_no_archive = self.checksums.is_empty() && self.archive.is_none();
        if knows_no_archive
            && present.checksums.is_empty()
            && self.directory == present.directory
        {
            self.archive.clone_from(&present.archive);
        }
        if self.has_same_etcd(present) {
            self.archive.clone_from(&present.archive);
            self.version = present.version.or(self.version);
        }
    }
}

impl Record {
    /// What members run with.
    pub fn recipes_in_use(&self) -> impl Iterator<Item = &Recipe> {
        self.pods.values().filter_map(|pod| pod.recipe.as_ref())
    }

    /// What members run with, and what they go back to.
    pub fn recipes(&self) -> impl Iterator<Item = &Recipe> {
        let updating = self.pods.values().filter_map(|pod| pod.updating.as_ref());
        let before = updating.filter_map(|updating| updating.from.as_ref());
        self.recipes_in_use().chain(before)
    }

    /// The same, for changing.
    pub fn recipes_mut(&mut self) -> impl Iterator<Item = &mut Recipe> {
        self.pods.values_mut().flat_map(|pod| {
            let updating = pod.updating.as_mut();
            let before = updating.and_then(|updating| updating.from.as_mut());
            pod.recipe.as_mut().into_iter().chain(before)
        })
    }
}

impl EtcdVersion {
    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        EtcdVersion {
            major,
            minor,
            patch,
        }
    }

    /// `3.5` of 3.5.30.
    pub fn minor_version(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// Whether both are releases of one minor version.
    pub fn has_same_minor(self, other: EtcdVersion) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }

    /// Reads `3.5.30`, and of `3.6.0-rc.1` what is before the dash.
    pub fn parse(text: &str) -> Option<Self> {
        let release = text.split(['-', '+']).next()?;
        let mut numbers = release.split('.').map(|number| number.parse().ok());
        let version = EtcdVersion {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
        };
        numbers.next().is_none().then_some(version)
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl From<EtcdVersion> for String {
    fn from(version: EtcdVersion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for EtcdVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        EtcdVersion::parse(&text)
            .ok_or_else(|| format!("{text:?} is no version of etcd such as 3.5.30"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(letter: &str) -> Sha256 {
        letter.repeat(64).parse().unwrap()
    }

    fn programs(etcd: &str, executor: Option<&str>) -> Programs {
        Programs {
            directory: ".".into(),
            checksums: [("etcd".to_owned(), sum(etcd))].into(),
            archive: None,
            executor: executor.map(|letter| ExecutorProgram {
                sha256: sum(letter),
                uri: None,
            }),
            version: None,
        }
    }

    #[test]
    fn what_is_adopted() {
        #[track_caller]
        fn check(mut old: Programs, present: &Programs, same: bool) {
            old.adopt(present);
            assert_eq!(old == *present, same);
        }
        let mut present = programs("a", Some("e"));
        present.version = Some(EtcdVersion::new(3, 5, 30));
        check(programs("a", None), &present, true);
        check(programs("a", Some("e")), &present, true);
        check(programs("a", Some("f")), &present, false);
        check(programs("b", None), &present, false);
        let mut moved = programs("a", Some("e"));
        moved.executor.as_mut().unwrap().uri = Some("https://x/e".into());
        check(moved, &present, true);

        let archive = |directory: &str, archive: Option<(&str, &str)>| Programs {
            directory: directory.into(),
            checksums: BTreeMap::new(),
            archive: archive.map(|(uri, letter)| Archive {
                uri: uri.into(),
                sha256: sum(letter),
            }),
            ..programs("a", Some("e"))
        };
        let present = archive("etcd-v3", Some(("https://x/etcd-v3.tgz", "a")));
        check(archive("etcd-v3", None), &present, true);
        check(archive("etcd-v2", None), &present, false);
        let elsewhere =
            |letter| archive("etcd-v3", Some(("https://y/etcd-v3.tgz", letter)));
        check(elsewhere("a"), &present, true);
        check(elsewhere("b"), &present, false);
    }

    #[test]
    fn versions_are_read() {
        let check = |text: &str, expected: Option<&str>| {
            let read = EtcdVersion::parse(text).map(|version| version.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("3.5.30", Some("3.5.30"));
        check("3.6.0-rc.1", Some("3.6.0"));
        for bad in ["", "3.5", "3.5.x", "3.5.1.2", "v3.5.1"] {
            check(bad, None);
        }
    }

    /// As a record of the release before has it.
    #[test]
    fn programs_of_the_release_before_are_read() {
        let old = format!(
            r#"{{"directory":".","checksums":{{"etcd":"{}"}}}}"#,
            sum("a")
        );
        let read: Programs = serde_json::from_str(&old).unwrap();
        assert_eq!(read, programs("a", None));
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
    }
}
