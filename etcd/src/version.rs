//! Versions of etcd: reading them, ordering them, and what each can do.

use std::fmt;
use std::str::FromStr;

use crate::EtcdError;

/// A version of etcd. Orders as versions do; a pre-release comes before its
/// release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdVersion {
    /// 3 in 3.5.30.
    pub major: u16,
    /// 5 in 3.5.30.
    pub minor: u16,
    /// 30 in 3.5.30.
    pub patch: u16,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    PreRelease,
    Release,
}

impl EtcdVersion {
    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        EtcdVersion {
            major,
            minor,
            patch,
            stage: Stage::Release,
        }
    }

    /// Reads what `etcd --version`, `etcdctl version` or `etcdutl version`
    /// print: several lines, of which the first that ends in a version counts.
    ///
    /// # Errors
    ///
    /// [`EtcdError::BadVersion`] when no line names a version.
    pub fn from_program_output(output: &str) -> Result<Self, EtcdError> {
        output
            .lines()
            .filter_map(|line| {
                line.trim()
                    .to_lowercase()
                    .strip_prefix("etcd")
                    .map(str::to_owned)
            })
            .find_map(|line| line.rsplit_once("version:")?.1.trim().parse().ok())
            .ok_or_else(|| EtcdError::BadVersion {
                text: output.lines().next().unwrap_or_default().to_owned(),
            })
    }

    /// Whether this is `of` or a later patch of the same minor, or of a later
    /// minor, which had the change from its first release.
    const fn has_since(self, of_3_4: Option<u16>, of_3_5: Option<u16>) -> bool {
        if self.major != 3 {
            return self.major > 3;
        }
        let since = match self.minor {
            0..=3 => None,
            4 => of_3_4,
            5 => of_3_5,
            _ => Some(0),
        };
        match since {
            Some(patch) => self.patch >= patch,
            None => false,
        }
    }

    /// Serves `/livez` and `/readyz` (3.4.29, 3.5.11). Older ones have only
    /// `/health`, which mixes liveness with quorum and alarms.
    pub const fn has_readyz(self) -> bool {
        self.has_since(Some(29), Some(11))
    }

    /// Takes `--enable-v2`; 3.6 does not start with it.
    pub const fn accepts_enable_v2(self) -> bool {
        self.major == 3 && self.minor <= 5
    }

    /// Takes `--experimental-*` flags; 3.7 does not start with one.
    pub const fn accepts_experimental_flags(self) -> bool {
        self.major == 3 && self.minor <= 6
    }

    /// Has `--feature-gates` (3.6).
    pub const fn has_feature_gates(self) -> bool {
        self.has_since(None, None)
    }

    /// Asks before it disturbs a leader with an election (pre-vote) without
    /// being told to (3.5).
    pub const fn has_pre_vote_by_default(self) -> bool {
        self.has_since(None, Some(0))
    }

    /// Comes with `etcdutl` (3.5).
    pub const fn has_etcdutl(self) -> bool {
        self.has_since(None, Some(0))
    }

    /// `snapshot restore` takes `--bump-revision` and `--mark-compacted`
    /// (3.4.27 in etcdctl, 3.5.10 in etcdutl).
    pub const fn restore_bumps_revision(self) -> bool {
        self.has_since(Some(27), Some(10))
    }

    /// A learner can be asked for a snapshot (3.4.28).
    pub const fn learner_serves_snapshots(self) -> bool {
        self.has_since(Some(28), Some(0))
    }

    /// Knows the call for a downgrade (3.5).
    pub const fn has_downgrade_call(self) -> bool {
        self.has_since(None, Some(0))
    }

    /// Has a downgrade that works (3.6).
    pub const fn has_downgrade(self) -> bool {
        self.has_since(None, None)
    }

    /// Adds a member to five voters although one of them is down (3.5.30,
    /// 3.6.11). Three voters with one down are refused by every version.
    pub const fn adds_member_with_one_of_five_down(self) -> bool {
        match (self.major, self.minor) {
            (3, 6) => self.patch >= 11,
            _ => self.has_since(None, Some(30)),
        }
    }

    /// Answers client calls on its peer port too (before 3.6).
    pub const fn peer_port_serves_clients(self) -> bool {
        self.major == 3 && self.minor <= 5
    }

    /// The flags, in this version's words, that make etcd check its data and
    /// keep a returning member from disturbing the leader. Nothing but their
    /// spelling differs between versions, and a version that lacks one does
    /// not start when given it.
    pub fn safety_flags(self) -> Vec<String> {
        let mut flags = Vec::new();
        if !self.has_pre_vote_by_default() {
            flags.push("--pre-vote=true".to_owned());
        }
        if self.has_feature_gates() {
            flags.push(
                "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true,\
                 StopGRPCServiceOnDefrag=true"
                    .to_owned(),
            );
            return flags;
        }
        flags.push("--experimental-initial-corrupt-check=true".to_owned());
        if self.has_since(None, Some(5)) {
            flags.push("--experimental-compact-hash-check-enabled=true".to_owned());
        }
        if self.has_since(None, Some(14)) {
            flags.push("--experimental-stop-grpc-service-on-defrag=true".to_owned());
        }
        flags
    }

    /// The flags that make etcd log JSON lines to standard error: 3.4 logs in
    /// an older form unless told, later ones know no other.
    pub fn json_log_flags(self) -> Vec<String> {
        let mut flags = Vec::new();
        if self.minor <= 4 {
            flags.push("--logger=zap".to_owned());
        }
        flags.push("--log-outputs=stderr".to_owned());
        flags
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match self.stage {
            Stage::PreRelease => f.write_str("-pre"),
            Stage::Release => Ok(()),
        }
    }
}

impl FromStr for EtcdVersion {
    type Err = EtcdError;

    /// Reads `3.5.30`, `v3.5.30`, `3.8.0-alpha.0` (which loses its last words)
    /// and `3.6.1+vendor`.
    fn from_str(text: &str) -> Result<Self, EtcdError> {
        let bad_version = || EtcdError::BadVersion {
            text: text.to_owned(),
        };
        let plain = text.strip_prefix('v').unwrap_or(text);
        let plain = plain
            .split_once('+')
            .map_or(plain, |(version, _build)| version);
        let (numbers, stage) = match plain.split_once('-') {
            Some((_, "")) => return Err(bad_version()),
            Some((numbers, _words)) => (numbers, Stage::PreRelease),
            None => (plain, Stage::Release),
        };
        let parts: Vec<u16> = numbers
            .split('.')
            .map(
                |part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => part.parse().ok(),
                    false => None,
                },
            )
            .collect::<Option<_>>()
            .ok_or_else(bad_version)?;
        match parts[..] {
            [major, minor, patch] => Ok(EtcdVersion {
                major,
                minor,
                patch,
                stage,
            }),
            _ => Err(bad_version()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> EtcdVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let read = text.parse::<EtcdVersion>().ok().map(|v| v.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        check("3.5.30", Some("3.5.30"));
        check("v3.4.23", Some("3.4.23"));
        check("3.8.0-alpha.0", Some("3.8.0-pre"));
        check("3.6.1+vendor", Some("3.6.1"));
        for bad in [
            "", "3", "3.5", "3.5.x", "3.5.30.1", "3.5.-1", "+3.5.1", "3..1", "3.5.1-",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn versions_are_ordered() {
        let ascending = [
            "3.4.23",
            "3.4.100",
            "3.5.9",
            "3.5.30",
            "3.6.0-rc.1",
            "3.6.0",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    /// What the programs of 3.4.23 and 3.5.30 print.
    #[test]
    fn program_output_is_read() {
        #[track_caller]
        fn check(output: &str, expected: &str) {
            let read = EtcdVersion::from_program_output(output).unwrap();
            assert_eq!(read.to_string(), expected);
        }
        check(
            "etcd Version: 3.5.30\nGit SHA: Not provided (use ./build instead of go build)\n\
             Go Version: go1.26.4\nGo OS/Arch: linux/amd64\n",
            "3.5.30",
        );
        check("etcdctl version: 3.4.23\nAPI version: 3.4\n", "3.4.23");
        check("etcdutl version: 3.5.30\nAPI version: 3.5\n", "3.5.30");
        let error =
            EtcdVersion::from_program_output("Go Version: go1.26.4\n").unwrap_err();
        assert!(
            error.to_string().contains("names no etcd version"),
            "{error}"
        );
    }

    #[test]
    fn what_versions_can_do() {
        #[track_caller]
        fn check(question: fn(EtcdVersion) -> bool, no: &[&str], yes: &[&str]) {
            for text in no {
                assert!(!question(version(text)), "{text}");
            }
            for text in yes {
                assert!(question(version(text)), "{text}");
            }
        }
        check(
            EtcdVersion::has_readyz,
            &["3.3.27", "3.4.28", "3.5.10"],
            &["3.4.29", "3.5.11", "3.6.0", "4.0.0"],
        );
        check(
            EtcdVersion::accepts_enable_v2,
            &["3.6.0", "4.0.0"],
            &["3.4.23", "3.5.30"],
        );
        check(
            EtcdVersion::accepts_experimental_flags,
            &["3.7.0"],
            &["3.4.0", "3.6.14"],
        );
        check(EtcdVersion::has_feature_gates, &["3.5.30"], &["3.6.0"]);
        check(EtcdVersion::has_etcdutl, &["3.4.23"], &["3.5.0", "3.6.0"]);
        check(
            EtcdVersion::restore_bumps_revision,
            &["3.4.26", "3.5.9"],
            &["3.4.27", "3.5.10", "3.6.0"],
        );
        check(
            EtcdVersion::learner_serves_snapshots,
            &["3.4.27"],
            &["3.4.28", "3.5.0"],
        );
        check(EtcdVersion::has_downgrade_call, &["3.4.33"], &["3.5.0"]);
        check(EtcdVersion::has_downgrade, &["3.5.30"], &["3.6.0"]);
        check(
            EtcdVersion::adds_member_with_one_of_five_down,
            &["3.4.45", "3.5.29", "3.6.10"],
            &["3.5.30", "3.6.11", "3.7.0"],
        );
        check(
            EtcdVersion::peer_port_serves_clients,
            &["3.6.0"],
            &["3.5.30"],
        );
    }

    #[test]
    fn safety_flags_speak_each_versions_language() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(version(text).safety_flags().join(" "), expected, "{text}");
        }
        check(
            "3.4.23",
            "--pre-vote=true --experimental-initial-corrupt-check=true",
        );
        check("3.5.1", "--experimental-initial-corrupt-check=true");
        check(
            "3.5.30",
            "--experimental-initial-corrupt-check=true \
             --experimental-compact-hash-check-enabled=true \
             --experimental-stop-grpc-service-on-defrag=true",
        );
        check(
            "3.6.0",
            "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true,\
             StopGRPCServiceOnDefrag=true",
        );
    }
}
