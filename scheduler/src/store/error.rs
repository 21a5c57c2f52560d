//! What can go wrong with the state store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with the state store. No variant is ever answered by
/// starting anew.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the state directory.
    #[error(
        "state directory {} is in use by another scheduler{}; stop that one first, or give this one a directory of its own",
        .directory.display(),
        match .holder { Some(pid) => format!(" (process {pid})"), None => String::new() }
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, if it said so.
        holder: Option<u32>,
    },
    /// The file is damaged.
    #[error("state store {} is damaged: {why}. {what_to_do}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What an operator can do.
        what_to_do: WhatToDo,
    },
    /// A newer release wrote it.
    #[error(
        "{what} in state store {} has format {found}, and this release reads up to {newest}; start the newer release that wrote it",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: String,
        /// Its format.
        found: u64,
        /// The newest that we read.
        newest: u64,
    },
    /// The record was saved by somebody else meanwhile.
    #[error(
        "the record has version {stored}, expected {expected}: another scheduler wrote to this store"
    )]
    Conflict {
        /// What the caller had loaded.
        expected: u64,
        /// What is stored.
        stored: u64,
    },
    /// A value is over its limit.
    #[error("{what} has {bytes} bytes, and at most {limit} are stored")]
    TooLarge {
        /// Which value.
        what: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Targets are immutable.
    #[error("another target is stored as {id}; targets are never changed")]
    TargetExists {
        /// The id.
        id: String,
    },
    /// A value cannot be written as JSON.
    #[error("{what} cannot be written as json")]
    NotEncodable {
        /// Which value.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What an operator can do about a damaged store, in one place, since it is
/// read at the worst of times.
#[derive(Clone, Copy, Debug)]
pub struct WhatToDo;

impl fmt::Display for WhatToDo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "The members and their data are not touched and keep running. Check the disk, \
             then put back a copy of the file, or move it away to start without a record: \
             only do that when no member of this service is left, for a scheduler without \
             a record founds a new cluster",
        )
    }
}

/// Turns redb's errors into ours, for one file.
pub(super) struct Trouble<'a> {
    path: &'a Path,
}

impl<'a> Trouble<'a> {
    pub(super) fn at(path: &'a Path) -> Self {
        Trouble { path }
    }

    pub(super) fn opening<E: Into<redb::Error>>(&self) -> impl Fn(E) -> StoreError {
        self.doing("open")
    }

    pub(super) fn reading<E: Into<redb::Error>>(&self) -> impl Fn(E) -> StoreError {
        self.doing("read")
    }

    pub(super) fn writing<E: Into<redb::Error>>(&self) -> impl Fn(E) -> StoreError {
        self.doing("write")
    }

    fn doing<E: Into<redb::Error>>(
        &self,
        action: &'static str,
    ) -> impl Fn(E) -> StoreError {
        let path = self.path.to_owned();
        move |error| from_redb(error.into(), action, &path)
    }
}

fn from_redb(error: redb::Error, action: &'static str, path: &Path) -> StoreError {
    match error {
        redb::Error::Io(source) if !says_damaged(&source) => StoreError::System {
            action,
            path: path.to_owned(),
            source,
        },
        redb::Error::PreviousIo => StoreError::System {
            action,
            path: path.to_owned(),
            source: io::Error::other("an earlier write failed"),
        },
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
            directory: path.parent().unwrap_or(path).to_owned(),
            holder: None,
        },
        // Everything else says that the file's content is not what we wrote:
        // corrupted pages, tables of another type, a missing table.
        other => StoreError::Damaged {
            path: path.to_owned(),
            why: other.to_string(),
            what_to_do: WhatToDo,
        },
    }
}

/// redb reports a file without its magic number, and one that ends too early,
/// as plain input errors.
fn says_damaged(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}
