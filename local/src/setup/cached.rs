//! How several processes of one machine fill one cache.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::SetupError;

/// Longer than all steps of another process that fetches may take together.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);
const BETWEEN_LOCK_TRIES: Duration = Duration::from_millis(100);

/// Makes an empty directory in the place of whatever is there.
pub(super) fn fresh_directory(path: &Path) -> Result<PathBuf, SetupError> {
    let make = |source| SetupError::file("make", path, source);
    if path.exists() {
        fs::remove_dir_all(path).map_err(make)?;
    }
    fs::create_dir_all(path).map_err(make)?;
    Ok(path.to_owned())
}

/// The right to put `what` into the cache. Held until the file is dropped, and given back by the system if we die.
pub(super) fn lock(
    path: &Path,
    what: &str,
    progress: &dyn Fn(&str),
) -> Result<File, SetupError> {
    let open = |source| SetupError::file("lock", path, source);
    let file = File::create(path).map_err(open)?;
    let deadline = Instant::now() + LOCK_LIMIT;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(open(source)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(SetupError::Locked {
                    lock: path.to_owned(),
                    seconds: LOCK_LIMIT.as_secs(),
                });
            }
            Err(TryLockError::WouldBlock) => {
                if !told {
                    progress(&format!("waiting for another process that fetches {what}"));
                    told = true;
                }
                std::thread::sleep(BETWEEN_LOCK_TRIES);
            }
        }
    }
}
