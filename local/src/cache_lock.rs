//! How several processes of one machine fill one cache.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than all steps of another process that fetches may take together.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);
const BETWEEN_LOCK_TRIES: Duration = Duration::from_millis(100);

/// Why the right to fill the cache could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CacheLockError {
    /// Another process has had it for too long.
    #[error(
        "another process has held {} for {} s: end it and try again",
        lock.display(), LOCK_LIMIT.as_secs()
    )]
    Held {
        /// The lock file.
        lock: PathBuf,
    },
    /// The lock file could not be used.
    #[error("could not lock {}: {error}", lock.display())]
    File {
        /// The lock file.
        lock: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The right to put something into the cache. Held until the file is dropped, and
/// given back by the system if we die. `doing` says what the other one does, for
/// whom we wait: "fetches etcd".
pub(crate) fn lock(
    path: &Path,
    doing: &str,
    progress: &dyn Fn(&str),
) -> Result<File, CacheLockError> {
    let unusable = |error| CacheLockError::File {
        lock: path.to_owned(),
        error,
    };
    let file = File::create(path).map_err(unusable)?;
    let deadline = Instant::now() + LOCK_LIMIT;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(CacheLockError::Held {
                    lock: path.to_owned(),
                });
            }
            Err(TryLockError::WouldBlock) => {
                if !told {
                    progress(&format!("waiting for another process that {doing}"));
                    told = true;
                }
                std::thread::sleep(BETWEEN_LOCK_TRIES);
            }
        }
    }
}
