//! redb is sound against crashes, but a flipped bit in the pages that it keeps
//! for itself makes it panic when it opens the file (seen with redb 4.4, in the
//! allocator's state). An operator must read what is wrong with which file, and
//! the process must end by the same exit code as with any damaged store.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use super::StoreError;
use super::error::WhatToDo;

/// Runs what reads a file that may be damaged, and takes a panic for damage.
///
/// Used only while the scheduler starts: in a build that aborts on panics (a
/// release) the panic hook is ours meanwhile, and ends the process itself.
pub(super) fn against_panics<T>(
    path: &Path,
    reading: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if cfg!(panic = "abort") {
        let error = damaged(path);
        panic::set_hook(Box::new(move |panic| {
            tracing::error!(%panic, "{error}");
            std::process::exit(crate::start::EXIT_STORE.into());
        }));
        let result = reading();
        drop(panic::take_hook());
        return result;
    }
    // Whatever the panic left half done is dropped with the closure.
    panic::catch_unwind(AssertUnwindSafe(reading)).unwrap_or_else(|_| Err(damaged(path)))
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        why: "redb cannot read its own pages".to_owned(),
        what_to_do: WhatToDo,
    }
}
