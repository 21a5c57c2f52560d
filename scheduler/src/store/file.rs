//! Opening the store's file, and making it so that a half-made one is never
//! taken for an empty one.

use std::fs::{self, File};
use std::path::Path;

use redb::{Builder, Database, ReadableDatabase, WriteTransaction};

use super::error::{Trouble, WhatToDo};
use super::{
    FORMAT_KEY, NUMBERS, PROPERTIES, RECORDS, STORE_FORMAT, StoreError, TARGETS,
};

/// redb would take a gigabyte. The whole store is a few hundred kilobytes, and
/// the scheduler is to stay below 20 MB.
const CACHE_BYTES: usize = 1024 * 1024;

/// Opens the file, or makes it if it is not there. The caller holds the lock of
/// the directory.
pub(super) fn open_or_create(path: &Path) -> Result<Database, StoreError> {
    let exists = path.try_exists().map_err(|source| StoreError::System {
        action: "look for",
        path: path.to_owned(),
        source,
    })?;
    if exists { open(path) } else { create(path) }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let trouble = Trouble::at(path);
    let mut database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .open(path)
        .map_err(trouble.opening())?;
    // Reads every page, which for so small a file costs a few milliseconds.
    // `false` means that redb repaired what could be repaired, which for us is
    // damage like any other: nobody knows what is gone.
    if !database.check_integrity().map_err(trouble.opening())? {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            why: "its pages do not match their checksums".to_owned(),
            what_to_do: WhatToDo,
        });
    }
    let format = format_of(&database, path)?;
    if format != STORE_FORMAT {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            what: "the layout".to_owned(),
            found: format,
            newest: STORE_FORMAT,
        });
    }
    Ok(database)
}

fn format_of(database: &Database, path: &Path) -> Result<u64, StoreError> {
    let trouble = Trouble::at(path);
    let transaction = database.begin_read().map_err(trouble.reading())?;
    let numbers = transaction.open_table(NUMBERS).map_err(trouble.reading())?;
    let format = numbers.get(FORMAT_KEY).map_err(trouble.reading())?;
    format
        .map(|number| number.value())
        .ok_or_else(|| StoreError::Damaged {
            path: path.to_owned(),
            why: "it names no format".to_owned(),
            what_to_do: WhatToDo,
        })
}

/// Commits, and commits once more with nothing new.
///
/// The file has room for two commits. After a crash redb goes back to the older
/// one, without a word, if the newer one is damaged: it cannot tell damage from
/// a commit that the crash cut short. The older record may not know of a launch
/// that was issued. Like this both are the same record, and redb gives that one
/// or none. (redb's two-phase commit waits for the disk as often, but leaves a
/// bit in the header that brings back the older commit when it flips.)
pub(super) fn commit(
    database: &Database,
    transaction: WriteTransaction,
) -> Result<(), redb::Error> {
    transaction.commit()?;
    database.begin_write()?.commit()?;
    Ok(())
}

/// Makes the file under another name and renames it when it is complete, so
/// that under its own name there is only ever a whole store: an unreadable file
/// is always damage and never a first start that was cut short.
fn create(path: &Path) -> Result<Database, StoreError> {
    let unfinished = path.with_extension("redb.unfinished");
    let system = |action| {
        let path = path.to_owned();
        move |source| StoreError::System {
            action,
            path,
            source,
        }
    };
    match fs::remove_file(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(system("create")(error)),
    }
    let trouble = Trouble::at(path);
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create(&unfinished)
        .map_err(trouble.opening())?;
    let transaction = database.begin_write().map_err(trouble.writing())?;
    transaction
        .open_table(NUMBERS)
        .map_err(trouble.writing())?
        .insert(FORMAT_KEY, STORE_FORMAT)
        .map_err(trouble.writing())?;
    for table in [RECORDS, TARGETS, PROPERTIES] {
        transaction.open_table(table).map_err(trouble.writing())?;
    }
    commit(&database, transaction).map_err(trouble.writing())?;
    fs::rename(&unfinished, path).map_err(system("create"))?;
    if let Some(directory) = path.parent() {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(system("create"))?;
    }
    Ok(database)
}
