//! Finds etcd on this machine, or fetches it from Debian into the cache.
//!
//! The cache has a directory `etcd-<version>` for each version, with `etcd`, `etcdctl`
//! and, where the version has it, `etcdutl`; and a file `etcd-from-<suite>` with the
//! version that a suite gave, so that the network is asked once. Remove that file to
//! have a suite asked again.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::SetupError;
use super::apt_sources::{DebianArchive, machines_archives};
use super::commands::run;
use super::fresh_directory;
use super::private_apt::{unpack_packages, unpack_packages_as_the_machine_does};
use crate::cache_lock;

/// Debian's suites that may have a newer etcd than the machine's own, newest first. A
/// program from the second may run where the first one's needs too new a C library.
const NEWER_SUITES: [&str; 2] = ["sid", "trixie"];
const PACKAGES: [&str; 2] = ["etcd-server", "etcd-client"];
const SERVER: &str = "etcd";
const CLIENT: &str = "etcdctl";
/// Comes with 3.5 and later.
const OFFLINE_TOOL: &str = "etcdutl";
/// The oldest etcd that the product runs: (major, minor).
const OLDEST: (u16, u16) = (3, 4);

/// Printing its version takes etcd some milliseconds.
const ASK_LIMIT: Duration = Duration::from_secs(20);

/// etcd's programs of one version in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdBinaries {
    /// Holds `etcd`, `etcdctl` and perhaps `etcdutl`.
    pub dir: PathBuf,
    /// As `etcd --version` says it: `3.5.30`.
    pub version: String,
    /// Whence they came.
    pub origin: EtcdOrigin,
}

/// Whence etcd's programs came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdOrigin {
    /// Somebody had put them on PATH.
    Path,
    /// From this Debian suite.
    DebianSuite(String),
    /// From where the machine's own apt takes them.
    MachinesApt,
}

impl fmt::Display for EtcdOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EtcdOrigin::Path => f.write_str("found on PATH"),
            EtcdOrigin::DebianSuite(suite) => write!(f, "from Debian {suite}"),
            EtcdOrigin::MachinesApt => f.write_str("from the machine's apt sources"),
        }
    }
}

impl EtcdBinaries {
    /// The server.
    pub fn etcd(&self) -> PathBuf {
        self.dir.join(SERVER)
    }

    /// The client for operators.
    pub fn etcdctl(&self) -> PathBuf {
        self.dir.join(CLIENT)
    }

    /// The tool for data directories and snapshots, where there is one (not in 3.4).
    pub fn etcdutl(&self) -> Option<PathBuf> {
        Some(self.dir.join(OFFLINE_TOOL)).filter(|path| path.is_file())
    }
}

/// Gives etcd: the one on PATH, else the newest of Debian's suites that runs here, else
/// what the machine's own suite has. `cache` is [`crate::programs::cache_directory`];
/// `progress` is told each step that takes time. Safe to be called by many processes.
///
/// Blocks: some 10 seconds the first time, milliseconds afterwards.
///
/// # Errors
///
/// [`SetupError::NoEtcd`] with every place tried, [`SetupError::File`],
/// [`SetupError::Locked`].
pub fn ensure(cache: &Path, progress: &dyn Fn(&str)) -> Result<EtcdBinaries, SetupError> {
    let mut tried = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    match on_path(&path, &std::env::temp_dir()) {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {
            tried.push("PATH: no directory with both etcd and etcdctl".to_owned())
        }
        Err(error) => {
            progress(&format!("passing over the etcd on PATH: {error}"));
            tried.push(format!("PATH: {error}"));
        }
    }
    let archives = machines_archives();
    let own_suite = archives.first().map(|archive| archive.suite.as_str());
    let mut suites = NEWER_SUITES.to_vec();
    suites.extend(own_suite.filter(|suite| !NEWER_SUITES.contains(suite)));
    for suite in suites {
        match ensure_suite(cache, suite, &archives, progress) {
            Ok(found) => return Ok(found),
            Err(error) => {
                progress(&format!("no etcd from Debian {suite}: {error}"));
                tried.push(format!("Debian {suite}: {error}"));
            }
        }
    }
    match ensure_as_the_machine_does(cache, progress) {
        Ok(found) => Ok(found),
        Err(error) => {
            tried.push(format!("the machine's apt: {error}"));
            Err(SetupError::NoEtcd { tried })
        }
    }
}

/// Gives the etcd of one Debian suite, whatever is on PATH: `bookworm` has 3.4.23.
///
/// # Errors
///
/// [`SetupError::NoDebianArchive`], [`SetupError::Command`] when the archive has no
/// such suite or cannot be reached, [`SetupError::UnusableEtcd`],
/// [`SetupError::File`], [`SetupError::Locked`].
pub fn ensure_from_suite(
    cache: &Path,
    suite: &str,
    progress: &dyn Fn(&str),
) -> Result<EtcdBinaries, SetupError> {
    ensure_suite(cache, suite, &machines_archives(), progress)
}

fn ensure_suite(
    cache: &Path,
    suite: &str,
    archives: &[DebianArchive],
    progress: &dyn Fn(&str),
) -> Result<EtcdBinaries, SetupError> {
    let origin = EtcdOrigin::DebianSuite(suite.to_owned());
    ensure_cached(
        cache,
        &format!("etcd-from-{suite}"),
        origin,
        progress,
        |scratch| {
            let mut last_error = SetupError::NoDebianArchive;
            for (number, archive) in archives.iter().enumerate() {
                progress(&format!("fetching etcd from Debian {suite} (30 MB, once)"));
                let directory =
                    fresh_directory(&scratch.join(format!("archive-{number}")))?;
                match unpack_packages(archive, suite, &PACKAGES, &directory) {
                    Ok(root) => return Ok(root),
                    Err(error) => last_error = error,
                }
            }
            Err(last_error)
        },
    )
}

fn ensure_as_the_machine_does(
    cache: &Path,
    progress: &dyn Fn(&str),
) -> Result<EtcdBinaries, SetupError> {
    let record = "etcd-from-machine";
    ensure_cached(
        cache,
        record,
        EtcdOrigin::MachinesApt,
        progress,
        |scratch| {
            progress("fetching etcd by the machine's own apt (20 MB, once)");
            unpack_packages_as_the_machine_does(&PACKAGES, scratch)
        },
    )
}

/// What the cache has under `record`, or else what `fetch` puts into a scratch
/// directory, moved into the cache.
fn ensure_cached(
    cache: &Path,
    record: &str,
    origin: EtcdOrigin,
    progress: &dyn Fn(&str),
    fetch: impl FnOnce(&Path) -> Result<PathBuf, SetupError>,
) -> Result<EtcdBinaries, SetupError> {
    fs::create_dir_all(cache)
        .map_err(|source| SetupError::file("make", cache, source))?;
    // Absolute, since the programs are started from other directories.
    let cache = &fs::canonicalize(cache)
        .map_err(|source| SetupError::file("find", cache, source))?;
    let record = cache.join(record);
    // Both appear whole and the record last, so a look without the lock is enough.
    if let Some(found) = recorded(cache, &record, &origin) {
        return Ok(found);
    }
    let _lock = cache_lock::lock(&cache.join("etcd.lock"), "fetches etcd", progress)?;
    if let Some(found) = recorded(cache, &record, &origin) {
        return Ok(found);
    }
    // Whoever died here while fetching held the lock that we hold now.
    let scratch = fresh_directory(&cache.join("etcd-scratch"))?;
    let result = fetch(&scratch).and_then(|root| {
        let version = install(&root.join("usr/bin"), cache, &scratch)?;
        write_record(&record, &version, &scratch)?;
        Ok(EtcdBinaries {
            dir: cache.join(format!("etcd-{version}")),
            version,
            origin,
        })
    });
    let _ = fs::remove_dir_all(&scratch);
    result
}

fn recorded(cache: &Path, record: &Path, origin: &EtcdOrigin) -> Option<EtcdBinaries> {
    let version = fs::read_to_string(record).ok()?.trim().to_owned();
    let found = EtcdBinaries {
        dir: cache.join(format!("etcd-{version}")),
        version,
        origin: origin.clone(),
    };
    (found.etcd().is_file() && found.etcdctl().is_file()).then_some(found)
}

/// Moves the programs from `unpacked` into their place in the cache, once the server
/// has shown that it runs here. Gives its version.
fn install(unpacked: &Path, cache: &Path, scratch: &Path) -> Result<String, SetupError> {
    let version = usable_version(&unpacked.join(SERVER), scratch)?;
    let place = cache.join(format!("etcd-{version}"));
    if place.join(SERVER).is_file() && place.join(CLIENT).is_file() {
        return Ok(version);
    }
    let aside = fresh_directory(&scratch.join("complete"))?;
    for name in [SERVER, CLIENT, OFFLINE_TOOL] {
        let program = unpacked.join(name);
        if name != OFFLINE_TOOL || program.is_file() {
            fs::rename(&program, aside.join(name))
                .map_err(|source| SetupError::file("move", &program, source))?;
        }
    }
    // What is there is not complete, or we would not be here.
    let _ = fs::remove_dir_all(&place);
    fs::rename(&aside, &place)
        .map_err(|source| SetupError::file("move etcd to", &place, source))?;
    Ok(version)
}

fn write_record(record: &Path, version: &str, scratch: &Path) -> Result<(), SetupError> {
    let aside = scratch.join("record");
    fs::write(&aside, format!("{version}\n"))
        .and_then(|()| fs::rename(&aside, record))
        .map_err(|source| SetupError::file("write", record, source))
}

/// The first directory of `path` with both server and client. An error when its
/// server is of no use: what comes later on PATH is not what the user gets either.
fn on_path(path: &OsStr, scratch: &Path) -> Result<Option<EtcdBinaries>, SetupError> {
    let directory = std::env::split_paths(path).find(|directory| {
        directory.is_absolute()
            && is_executable(&directory.join(SERVER))
            && is_executable(&directory.join(CLIENT))
    });
    let Some(dir) = directory else {
        return Ok(None);
    };
    let version = usable_version(&dir.join(SERVER), scratch)?;
    Ok(Some(EtcdBinaries {
        dir,
        version,
        origin: EtcdOrigin::Path,
    }))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Runs a server to see its version, and that it runs at all.
fn usable_version(program: &Path, scratch: &Path) -> Result<String, SetupError> {
    let unusable = |why: String| SetupError::UnusableEtcd {
        program: program.to_owned(),
        why,
    };
    let log = scratch.join(format!("etcd-version-{}.log", std::process::id()));
    let mut command = Command::new(program);
    command.arg("--version");
    let output = run(command, "ask etcd for its version", ASK_LIMIT, &log)
        .map_err(|error| unusable(error.to_string()));
    let _ = fs::remove_file(&log);
    let output = output?;
    let Some((version, series)) = version_in(&output) else {
        return Err(unusable(format!(
            "its version cannot be read from {output:?}"
        )));
    };
    if series < OLDEST {
        return Err(unusable(format!("it is {version}; needed is 3.4 or newer")));
    }
    Ok(version)
}

/// The version and its first two numbers. It becomes part of a path, so nothing but
/// what versions are made of is taken.
fn version_in(output: &str) -> Option<(String, (u16, u16))> {
    let version = output
        .lines()
        .find_map(|line| line.strip_prefix("etcd Version:"))?
        .trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    let mut numbers = version.split('.');
    let series = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let is_version = version.chars().all(is_plain) && numbers.next().is_some();
    is_version.then(|| (version.to_owned(), series))
}

#[cfg(test)]
mod tests;
