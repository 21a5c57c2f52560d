//! Gets ready what the one-machine mode stands on: [`etcd`] finds or fetches etcd,
//! [`machine`] says which Debian packages are missing and installs them; for tests,
//! [`pymesos`] fetches a framework library of somebody else.
//!
//! Nothing here is written down about hosts: whatever is fetched comes from where the
//! machine's own apt sources say that Debian is.

mod apt_sources;
mod commands;
pub mod etcd;
pub mod machine;
mod private_apt;
pub mod pymesos;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cache_lock::CacheLockError;

/// Why the machine could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No etcd could be had from anywhere.
    #[error(
        "found no etcd and could not fetch one; install etcd 3.4 or newer and put the \
         directory of etcd and etcdctl on PATH. Tried:\n{}",
        tried.join("\n")
    )]
    NoEtcd {
        /// Each place with the reason why it gave none.
        tried: Vec<String>,
    },
    /// The machine's apt sources do not say where Debian is.
    #[error(
        "the apt sources of this machine name no Debian archive: add one, or put etcd \
         on PATH"
    )]
    NoDebianArchive,
    /// The archive has another owner than Debian.
    #[error("the archive at {uri} says that its origin is {origin:?} and not Debian")]
    NotDebian {
        /// The archive.
        uri: String,
        /// What its signed index says.
        origin: String,
    },
    /// What was fetched, or stands on PATH, is not an etcd that can be used.
    #[error("{} cannot be used: {why}", program.display())]
    UnusableEtcd {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Only root can install packages.
    #[error("packages are missing and only root can install them; run: {command}")]
    NeedsRoot {
        /// The exact command line.
        command: String,
    },
    /// Packages were installed, but what we need of them is still not there.
    #[error("{} did not bring what is needed of them: look at apt's output above, or \
             install by hand", packages.join(", "))]
    StillMissing {
        /// Their names.
        packages: Vec<&'static str>,
    },
    /// A program that we ran failed.
    #[error("could not {doing}: {command}: {why}")]
    Command {
        /// What was being done.
        doing: &'static str,
        /// The command line.
        command: String,
        /// Exit status and the last lines of its output.
        why: String,
    },
    /// The cache is another process' to fill.
    #[error(transparent)]
    Locked(#[from] CacheLockError),
    /// A file or directory could not be used.
    #[error("could not {action} {}: {error}", path.display())]
    File {
        /// What was tried: "read", "make".
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl SetupError {
    fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        SetupError::File {
            action,
            path: path.to_owned(),
            error: source,
        }
    }
}

/// Makes an empty directory in the place of whatever is there.
fn fresh_directory(path: &Path) -> Result<PathBuf, SetupError> {
    let make = |source| SetupError::file("make", path, source);
    if path.exists() {
        fs::remove_dir_all(path).map_err(make)?;
    }
    fs::create_dir_all(path).map_err(make)?;
    Ok(path.to_owned())
}
