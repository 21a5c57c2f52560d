//! What lies in a member's data directory, looked at without changing it.
//!
//! A data directory belongs to exactly one member of one cluster. Starting
//! etcd on an empty or foreign one under a known member id is accepted by etcd
//! in some states and forgets acknowledged writes, so what is there must be
//! known before etcd is started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::EtcdError;
use crate::wal::{WalDamage, WalFileName, WalIdentity, identity_of_file};

/// What was found. Only [`DataDir::Wal`] may be started as a known member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDir {
    /// There is no such directory.
    Absent,
    /// Nothing of etcd's is in it. (Other files, such as our guard, may be.)
    Empty,
    /// etcd was here and made files, but there is no log. A first start that
    /// was cut short looks so, and so does a directory whose log was lost:
    /// only a record elsewhere can tell which.
    NoWal {
        /// Whether there is a database file.
        has_database: bool,
    },
    /// A log is there and says whose it is.
    Wal {
        /// Whose.
        identity: WalIdentity,
        /// How many log files there are.
        wal_files: usize,
        /// Whether there is a database file.
        has_database: bool,
    },
    /// A log is there but cannot be understood, or its files contradict each
    /// other. etcd may or may not start on it; it proves no identity.
    Damaged(WalDamage),
}

/// Looks into the data directory at `path` (the one that holds `member/`).
///
/// Reads the directory and the first records of each log file: a few
/// kilobytes, fit for an executor's start.
///
/// # Errors
///
/// [`EtcdError::DataDirUnreadable`] when it cannot be looked at, which says
/// nothing about what is there: do not take it for empty.
pub fn inspect(path: &Path) -> Result<DataDir, EtcdError> {
    if list(path)?.is_none() {
        return Ok(DataDir::Absent);
    }
    let member = path.join("member");
    let Some(member_entries) = list(&member)? else {
        return Ok(DataDir::Empty);
    };
    if member_entries.is_empty() {
        return Ok(DataDir::Empty);
    }
    let has_database = is_file(&member.join("snap").join("db"))?;
    let wal_files = wal_files(&member.join("wal"))?;
    let Some((first, others)) = wal_files.split_first() else {
        return Ok(DataDir::NoWal { has_database });
    };
    if let Some(damage) = gap_in(&wal_files) {
        return Ok(DataDir::Damaged(damage));
    }
    let identity = match identity_of_file(&first.path)? {
        Ok(identity) => identity,
        Err(damage) => return Ok(DataDir::Damaged(damage)),
    };
    for file in others {
        match identity_of_file(&file.path)? {
            Ok(other) if other == identity => {}
            Ok(_) => {
                return Ok(DataDir::Damaged(file.damage("belongs to another member")));
            }
            Err(damage) => return Ok(DataDir::Damaged(damage)),
        }
    }
    Ok(DataDir::Wal {
        identity,
        wal_files: wal_files.len(),
        has_database,
    })
}

pub(crate) struct WalFile {
    pub(crate) name: WalFileName,
    pub(crate) path: PathBuf,
}

impl WalFile {
    fn damage(&self, problem: &str) -> WalDamage {
        WalDamage {
            file: self.path.clone(),
            problem: problem.to_owned(),
        }
    }
}

/// The log files of a `member/wal` directory, in their order. Files with
/// other names (`0.tmp`, `*.broken`) are etcd's scratch and are left out, as
/// etcd does.
pub(crate) fn wal_files(wal_dir: &Path) -> Result<Vec<WalFile>, EtcdError> {
    let mut files: Vec<WalFile> = list(wal_dir)?
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| {
            let parsed = WalFileName::parse(&name)?;
            Some(WalFile {
                name: parsed,
                path: wal_dir.join(name),
            })
        })
        .collect();
    files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(files)
}

/// etcd removes old files from the front and adds new ones at the back, so
/// the sequence has no holes.
fn gap_in(files: &[WalFile]) -> Option<WalDamage> {
    files.windows(2).find_map(|pair| match pair {
        [before, after] if before.name.sequence + 1 != after.name.sequence => {
            Some(after.damage("does not follow the log file before it"))
        }
        _ => None,
    })
}

/// The names in a directory; none when it does not exist. Names that are not
/// UTF-8 are none of etcd's, but they must not make a directory look empty.
fn list(path: &Path) -> Result<Option<Vec<String>>, EtcdError> {
    let unreadable = |source| EtcdError::DataDirUnreadable {
        path: path.to_owned(),
        source,
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(Some(names))
}

fn is_file(path: &Path) -> Result<bool, EtcdError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(EtcdError::DataDirUnreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::tests::{REAL_IDENTITY, head_of, real_head};

    const FIRST: &str = "member/wal/0000000000000000-0000000000000000.wal";
    const SECOND: &str = "member/wal/0000000000000001-0000000000001000.wal";
    const THIRD: &str = "member/wal/0000000000000002-0000000000002000.wal";

    /// Makes the files (a name that ends in `/` is a directory) and looks.
    fn look(files: &[(&str, &[u8])]) -> DataDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            let path = directory.path().join(name);
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        inspect(directory.path()).unwrap()
    }

    fn wal(wal_files: usize, has_database: bool) -> DataDir {
        DataDir::Wal {
            identity: REAL_IDENTITY,
            wal_files,
            has_database,
        }
    }

    #[test]
    fn directories_without_a_log() {
        let absent = inspect(Path::new("/nonexistent/data")).unwrap();
        assert_eq!(absent, DataDir::Absent);
        assert_eq!(look(&[]), DataDir::Empty);
        assert_eq!(
            look(&[("guard.json", b"{}"), ("lost+found/", b"")]),
            DataDir::Empty
        );
        assert_eq!(look(&[("member/", b"")]), DataDir::Empty);
        let cut_short = DataDir::NoWal {
            has_database: false,
        };
        assert_eq!(look(&[("member/snap/", b"")]), cut_short);
        assert_eq!(look(&[("member/wal.tmp/0.tmp", b"")]), cut_short);
        assert_eq!(look(&[("member/wal/0.tmp", b"")]), cut_short);
        let log_lost = DataDir::NoWal { has_database: true };
        assert_eq!(
            look(&[("member/snap/db", b"x"), ("member/wal/", b"")]),
            log_lost
        );
    }

    #[test]
    fn logs_of_one_owner() {
        let head = &real_head();
        assert_eq!(look(&[(FIRST, head)]), wal(1, false));
        assert_eq!(
            look(&[(FIRST, head), ("member/snap/db", b"x")]),
            wal(1, true)
        );
        assert_eq!(
            look(&[(FIRST, head), (SECOND, head), (THIRD, head)]),
            wal(3, false)
        );
        // etcd has deleted the first files and is making the next one.
        assert_eq!(
            look(&[(SECOND, head), (THIRD, head), ("member/wal/1.tmp", b"")]),
            wal(2, false)
        );
    }

    #[test]
    fn logs_that_prove_nothing() {
        #[track_caller]
        fn check(found: DataDir, expected: &str) {
            let DataDir::Damaged(damage) = found else {
                panic!("{found:?}")
            };
            assert_eq!(damage.problem, expected);
        }
        let head = &real_head();
        check(look(&[(FIRST, b"")]), "ends before it says whose it is");
        check(
            look(&[(FIRST, head), (THIRD, head)]),
            "does not follow the log file before it",
        );
        check(
            look(&[(FIRST, head), (SECOND, b"")]),
            "ends before it says whose it is",
        );
        let foreign = &head_of(WalIdentity {
            member_id: 7,
            ..REAL_IDENTITY
        });
        check(
            look(&[(FIRST, head), (SECOND, foreign)]),
            "belongs to another member",
        );
    }

    #[test]
    fn what_cannot_be_looked_at_is_an_error_not_emptiness() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = inspect(file.path()).unwrap_err();
        assert!(
            matches!(error, EtcdError::DataDirUnreadable { .. }),
            "{error:?}"
        );
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("member"), "not a directory").unwrap();
        assert!(inspect(directory.path()).is_err());
    }
}
