//! One scheduler for one state directory.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::StoreError;

/// A file of its own and not the store's, so that the lock is held before the
/// store is made, and so that it can say who holds it.
const LOCK_FILE: &str = "scheduler.lock";

/// Held for as long as the process uses the directory. The kernel lets go when
/// the process ends, however it ends.
pub(super) struct DirectoryLock {
    _file: File,
}

/// Makes the directory if need be, and locks it.
pub(super) fn acquire(directory: &Path) -> Result<DirectoryLock, StoreError> {
    let system = |action| {
        move |source| StoreError::System {
            action,
            path: directory.to_owned(),
            source,
        }
    };
    make_private_directory(directory).map_err(system("create or use state directory"))?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(directory.join(LOCK_FILE))
        .map_err(system("lock state directory"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse {
                directory: directory.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => {
            return Err(system("lock state directory")(source));
        }
    }
    write_holder(&mut file).map_err(system("lock state directory"))?;
    Ok(DirectoryLock { _file: file })
}

/// The record names agents and volumes, which is nobody else's business.
fn make_private_directory(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
