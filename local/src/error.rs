//! The crate's error.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::programs::ProgramsError;

/// What can go wrong on one machine.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The Mesos programs could not be made.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
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
    /// A program could not be started.
    #[error("could not start {name}: {error}")]
    Start {
        /// Which one, "mesos-agent-2".
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// A signal could not be sent.
    #[error("could not signal process {pid} ({name}): {error}")]
    Signal {
        /// Which program.
        name: String,
        /// Its process id.
        pid: i32,
        /// What the system said.
        error: io::Error,
    },
    /// A program ended although it should run.
    #[error("{name} ended; the last lines of {}:\n{last_lines}", log.display())]
    Ended {
        /// Which program.
        name: String,
        /// Its log.
        log: PathBuf,
        /// The end of that log.
        last_lines: String,
    },
    /// Something did not come true in time.
    #[error("waited {} s in vain until {condition}; last seen: {last_seen}",
        waited.as_secs_f64())]
    TimedOut {
        /// What was waited for.
        condition: String,
        /// For how long.
        waited: Duration,
        /// What there was instead.
        last_seen: String,
    },
    /// A master answered otherwise than expected.
    #[error("{url} answered {what}")]
    Answer {
        /// What was called.
        url: String,
        /// Status or the first part of the body.
        what: String,
    },
    /// Mesos makes links relative to its directories, so they must be absolute.
    #[error("{} is not an absolute path: give one that is", path.display())]
    NotAbsolute {
        /// The path given.
        path: PathBuf,
    },
    /// All address ranges are in use.
    #[error(
        "no free loopback range in 127.{first}.0.0/24 to 127.{last}.0.0/24: end what \
         listens there, or look at the locks in {}", locks.display()
    )]
    NoFreeRange {
        /// Second byte of the first range tried.
        first: u8,
        /// Second byte of the last range tried.
        last: u8,
        /// The lock directory.
        locks: PathBuf,
    },
    /// Reaping below this directory would hit processes that are not ours.
    #[error("will not end all processes below {}: name a deeper directory", path.display())]
    RootTooWide {
        /// The directory given.
        path: PathBuf,
    },
    /// Processes go on appearing or refuse to die.
    #[error("{} processes are still running below {} after {} s: {pids:?}",
        pids.len(), root.display(), waited.as_secs())]
    NotReaped {
        /// The directory.
        root: PathBuf,
        /// For how long they were killed.
        waited: Duration,
        /// Those left.
        pids: Vec<i32>,
    },
    /// The agent gave the fetcher no or unreadable instructions.
    #[error("MESOS_FETCHER_INFO {why}: this program is started by a Mesos agent")]
    FetcherInstructions {
        /// What is wrong with them.
        why: String,
    },
    /// One URI could not be fetched.
    #[error("could not fetch {uri}: {why}")]
    Fetch {
        /// The URI.
        uri: String,
        /// What went wrong.
        why: String,
    },
}

impl LocalError {
    pub(crate) fn file(
        action: &'static str,
        path: impl AsRef<Path>,
        error: io::Error,
    ) -> Self {
        LocalError::File {
            action,
            path: path.as_ref().to_owned(),
            error,
        }
    }
}
