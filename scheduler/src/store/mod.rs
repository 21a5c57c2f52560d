//! The state store: what must survive a crash, in one file.
//!
//! ## What is stored
//!
//! * the record ([`etcd_planner::Record`]), replaced as a whole by
//!   compare-and-swap on a version number;
//! * targets, which are immutable and written before a record points to them;
//! * the options of the newest start, to see whether those of the next one differ;
//! * properties: small facts by name, for `/v1/state/properties`.
//!
//! A write has reached the disk when it returns. Reads come from the same file,
//! so a scheduler that starts sees exactly what the last one was promised.
//!
//! ## What is never done
//!
//! A file that cannot be read is never replaced by an empty one: an empty
//! record would make a scheduler found a second cluster beside the first. Every
//! value is sealed with a checksum of its own, the file is checked as a whole
//! when it is opened, and whatever is wrong ends in a [`StoreError`] that names
//! the file.

mod error;
mod file;
mod guarded;
mod lock;
mod sealed;

use std::path::{Path, PathBuf};

use etcd_planner::record::{RECORD_FORMAT, RECORD_LIMIT_BYTES, TargetId};
use etcd_planner::{Record, Target};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use error::StoreError;
use error::{Trouble, WhatToDo};
use lock::DirectoryLock;

/// Name of the store's file in the state directory.
pub const STORE_FILE: &str = "scheduler.redb";

/// The newest layout of the file that this release reads and writes.
const STORE_FORMAT: u64 = 1;

/// A target is a page of numbers and its options a page of text; the bound only
/// keeps a slip (a whole file as an option) out of the store.
const TARGET_LIMIT_BYTES: usize = 256 * 1024;

/// The SDK let tasks store files of 1 KiB as properties; ours are smaller facts.
const PROPERTY_LIMIT_BYTES: usize = 16 * 1024;

const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const TARGETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("targets");
const PROPERTIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("properties");

const FORMAT_KEY: &str = "format";
const RECORD_KEY: &str = "current";
const START_OPTIONS_KEY: &str = "start-options";

/// The open store. One process at a time holds it; dropping it lets go.
pub struct Store {
    path: PathBuf,
    database: Database,
    _lock: DirectoryLock,
}

/// The stored record and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The record.
    pub record: Record,
    /// Raised by one with every [`Store::save`].
    pub version: u64,
}

/// A stored target.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTarget {
    /// What plans are made from.
    pub target: Target,
    /// All options that it was made from.
    pub options: serde_json::Value,
    /// Those of them that somebody gave, as an options file holds them: what the
    /// next change is merged onto. None in targets of earlier releases.
    pub given: Option<serde_json::Value>,
}

impl StoredTarget {
    /// The id: a UUID made from the content, so that the same options give the
    /// same id and a restart with nothing changed stores nothing new.
    #[must_use]
    pub fn id(&self) -> TargetId {
        let mut hash = Sha256::new();
        // All is plain data with string keys; turning it into JSON cannot fail.
        hash.update(serde_json::to_vec(&self.target).unwrap_or_default());
        hash.update([0]);
        hash.update(serde_json::to_vec(&self.options).unwrap_or_default());
        if let Some(given) = &self.given {
            hash.update([0]);
            hash.update(serde_json::to_vec(given).unwrap_or_default());
        }
        TargetId(crate::stable_uuid::from_digest(&hash.finalize().into()))
    }
}

/// The record as it lies in the file. The version belongs to it: the two must
/// never be torn apart.
#[derive(Serialize, Deserialize)]
struct RecordEntry {
    version: u64,
    record: Record,
}

/// Read first, and alone: an entry of a newer format may not be readable as
/// anything else.
#[derive(Deserialize)]
struct FormatOfRecordEntry {
    record: FormatOnly,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct TargetEntry {
    format: u32,
    target: Target,
    options: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<serde_json::Value>,
}

/// See [`TargetEntry`]; raised when its meaning changes.
const TARGET_FORMAT: u32 = 1;

impl Store {
    /// Opens the store in a state directory; makes both if there is neither.
    ///
    /// # Errors
    ///
    /// When another scheduler holds the directory, when the file is damaged or
    /// of a newer release, and when the system refuses to read or write it.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let lock = lock::acquire(directory)?;
        let path = directory.join(STORE_FILE);
        guarded::against_panics(&path.clone(), || {
            let database = file::open_or_create(&path)?;
            let store = Store {
                path,
                database,
                _lock: lock,
            };
            // A store that cannot be read must be known before Mesos is told
            // that the framework is back.
            store.load()?;
            store.start_options()?;
            for id in store.targets()? {
                store.target(&id)?;
            }
            for name in store.properties()? {
                store.property(&name)?;
            }
            Ok(store)
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest record, if one was ever saved.
    ///
    /// # Errors
    ///
    /// When it is damaged or of a newer release.
    pub fn load(&self) -> Result<Option<StoredRecord>, StoreError> {
        let Some(json) = self.get(RECORDS, RECORD_KEY)? else {
            return Ok(None);
        };
        let what = "the record";
        let FormatOfRecordEntry { record } = self.parse(what, &json)?;
        self.check_format(what, record.format.into(), RECORD_FORMAT.into())?;
        let entry: RecordEntry = self.parse(what, &json)?;
        Ok(Some(StoredRecord {
            record: entry.record,
            version: entry.version,
        }))
    }

    /// Replaces the record if the stored one still has `expected_version`
    /// (0: none was saved yet), and returns the new version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when somebody else saved meanwhile,
    /// [`StoreError::TooLarge`], and whatever the disk says. After an error of
    /// the disk nobody knows whether the record was saved: the process has to
    /// start again and load.
    pub fn save(
        &self,
        record: &Record,
        expected_version: u64,
    ) -> Result<u64, StoreError> {
        let entry = RecordEntry {
            version: expected_version + 1,
            record: record.clone(),
        };
        let json = self.encode("the record", &entry, RECORD_LIMIT_BYTES)?;
        let trouble = Trouble::at(&self.path);
        let transaction = self.database.begin_write().map_err(trouble.writing())?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(trouble.writing())?;
            let stored_version = match table.get(RECORD_KEY).map_err(trouble.writing())? {
                None => 0,
                Some(sealed) => {
                    let json = self.unseal("the record", sealed.value())?;
                    let entry: RecordEntry = self.parse("the record", &json)?;
                    entry.version
                }
            };
            if stored_version != expected_version {
                return Err(StoreError::Conflict {
                    expected: expected_version,
                    stored: stored_version,
                });
            }
            table
                .insert(RECORD_KEY, sealed::seal(&json).as_slice())
                .map_err(trouble.writing())?;
        }
        file::commit(&self.database, transaction).map_err(trouble.writing())?;
        Ok(entry.version)
    }

    /// Stores a target. Storing the same again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::TargetExists`] when another target has this id.
    pub fn put_target(
        &self,
        id: &TargetId,
        wanted: &StoredTarget,
    ) -> Result<(), StoreError> {
        if let Some(stored) = self.target(id)? {
            return if stored == *wanted {
                Ok(())
            } else {
                Err(StoreError::TargetExists { id: id.0.clone() })
            };
        }
        let entry = TargetEntry {
            format: TARGET_FORMAT,
            target: wanted.target.clone(),
            options: wanted.options.clone(),
            given: wanted.given.clone(),
        };
        let json = self.encode("the target", &entry, TARGET_LIMIT_BYTES)?;
        self.put(TARGETS, &id.0, &json)
    }

    /// A stored target.
    ///
    /// # Errors
    ///
    /// When it is damaged or of a newer release.
    pub fn target(&self, id: &TargetId) -> Result<Option<StoredTarget>, StoreError> {
        let Some(json) = self.get(TARGETS, &id.0)? else {
            return Ok(None);
        };
        let what = format!("target {}", id.0);
        let FormatOnly { format } = self.parse(&what, &json)?;
        self.check_format(&what, format.into(), TARGET_FORMAT.into())?;
        let entry: TargetEntry = self.parse(&what, &json)?;
        Ok(Some(StoredTarget {
            target: entry.target,
            options: entry.options,
            given: entry.given,
        }))
    }

    /// The options of the newest start that counted, as an options file holds
    /// them; none if there was none yet, as in stores of earlier releases.
    ///
    /// # Errors
    ///
    /// When they are damaged.
    pub fn start_options(&self) -> Result<Option<serde_json::Value>, StoreError> {
        match self.get(RECORDS, START_OPTIONS_KEY)? {
            None => Ok(None),
            Some(json) => Ok(Some(self.parse("the start options", &json)?)),
        }
    }

    /// Notes the options of a start that counts.
    ///
    /// # Errors
    ///
    /// When they are too large or cannot be written.
    pub fn put_start_options(&self, given: &serde_json::Value) -> Result<(), StoreError> {
        if self.start_options()?.as_ref() == Some(given) {
            return Ok(());
        }
        let json = self.encode("the start options", given, TARGET_LIMIT_BYTES)?;
        self.put(RECORDS, START_OPTIONS_KEY, &json)
    }

    /// The ids of all stored targets, sorted.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn targets(&self) -> Result<Vec<TargetId>, StoreError> {
        Ok(self.names(TARGETS)?.into_iter().map(TargetId).collect())
    }

    /// Stores a small fact under a name, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// When it is too large or cannot be written.
    pub fn put_property(
        &self,
        name: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let what = format!("property {name}");
        let json = self.encode(&what, value, PROPERTY_LIMIT_BYTES)?;
        self.put(PROPERTIES, name, &json)
    }

    /// The fact under a name.
    ///
    /// # Errors
    ///
    /// When it is damaged.
    pub fn property(&self, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        match self.get(PROPERTIES, name)? {
            None => Ok(None),
            Some(json) => Ok(Some(self.parse(&format!("property {name}"), &json)?)),
        }
    }

    /// The names of all properties, sorted.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn properties(&self) -> Result<Vec<String>, StoreError> {
        self.names(PROPERTIES)
    }

    fn get(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let trouble = Trouble::at(&self.path);
        let transaction = self.database.begin_read().map_err(trouble.reading())?;
        let table = transaction.open_table(table).map_err(trouble.reading())?;
        match table.get(key).map_err(trouble.reading())? {
            None => Ok(None),
            Some(sealed) => Ok(Some(self.unseal(key, sealed.value())?)),
        }
    }

    fn put(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        key: &str,
        json: &[u8],
    ) -> Result<(), StoreError> {
        let trouble = Trouble::at(&self.path);
        let transaction = self.database.begin_write().map_err(trouble.writing())?;
        transaction
            .open_table(table)
            .map_err(trouble.writing())?
            .insert(key, sealed::seal(json).as_slice())
            .map_err(trouble.writing())?;
        file::commit(&self.database, transaction).map_err(trouble.writing())
    }

    fn names(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
    ) -> Result<Vec<String>, StoreError> {
        let trouble = Trouble::at(&self.path);
        let transaction = self.database.begin_read().map_err(trouble.reading())?;
        let table = transaction.open_table(table).map_err(trouble.reading())?;
        let mut names = Vec::new();
        for entry in table.iter().map_err(trouble.reading())? {
            let (name, _) = entry.map_err(trouble.reading())?;
            names.push(name.value().to_owned());
        }
        Ok(names)
    }

    fn unseal(&self, what: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        match sealed::unseal(sealed) {
            Some(json) => Ok(json.to_vec()),
            None => Err(self.damaged(format!("the checksum of {what} does not match"))),
        }
    }

    fn parse<T: DeserializeOwned>(
        &self,
        what: &str,
        json: &[u8],
    ) -> Result<T, StoreError> {
        serde_json::from_slice(json)
            .map_err(|error| self.damaged(format!("{what} cannot be parsed: {error}")))
    }

    fn damaged(&self, why: String) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            why,
            what_to_do: WhatToDo,
        }
    }

    fn check_format(
        &self,
        what: &str,
        found: u64,
        newest: u64,
    ) -> Result<(), StoreError> {
        if found <= newest {
            return Ok(());
        }
        Err(StoreError::Newer {
            path: self.path.clone(),
            what: what.to_owned(),
            found,
            newest,
        })
    }

    fn encode<T: Serialize>(
        &self,
        what: &str,
        value: &T,
        limit: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let json =
            serde_json::to_vec(value).map_err(|source| StoreError::NotEncodable {
                what: what.to_owned(),
                source,
            })?;
        if json.len() > limit {
            return Err(StoreError::TooLarge {
                what: what.to_owned(),
                bytes: json.len(),
                limit,
            });
        }
        Ok(json)
    }
}

#[cfg(test)]
mod tests;
