//! Where a member's write-ahead log ends, read without etcd and without
//! changing it: how far the member on this disk has come.
//!
//! Facts (etcd's `server/wal`; the same in 3.4, 3.5 and 3.6): a record of type
//! 2 is an entry (term in field 2, index in field 3), type 3 the hard state
//! (commit in field 3), type 5 says that a snapshot was taken or received (index
//! in field 1, term in field 2). A later entry takes the place of earlier ones
//! with its index and above, so the last entry in the files is the end. A new
//! file repeats the hard state, but no entry. After a crash the newest file may
//! end amid a record; etcd then cuts the rest off and goes on, and so do we.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::EtcdError;
use crate::data_dir::wal_files;
use crate::wal::{Crc32c, Fields, RECORD_CRC, Value, WalDamage};

/// Where a log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Term of the last entry, or of the snapshot that the log goes on from.
    pub term: u64,
    /// Its index; 0 for a log without entries.
    pub index: u64,
    /// Up to here the log itself says that entries are committed. The cluster
    /// may have committed more of them.
    pub commit: u64,
    /// What kept us from reading on. What lies behind it is not known; the end
    /// is that of the part before it.
    pub damage: Option<WalDamage>,
}

/// Reads where the log in the data directory at `data_dir` ends.
///
/// Reads the newest log file, and older ones only if that one holds no entry
/// yet: some 64 MiB, as etcd itself will do, in a few kilobytes of memory.
///
/// # Errors
///
/// [`EtcdError::DataDirUnreadable`] when a file cannot be read.
pub fn log_end(data_dir: &Path) -> Result<LogEnd, EtcdError> {
    let files = wal_files(&data_dir.join("member").join("wal"))?;
    let mut end = LogEnd::default();
    let mut commit = None;
    for (age, file) in files.iter().rev().enumerate() {
        let found = read_file(&file.path, age == 0).map_err(|source| {
            EtcdError::DataDirUnreadable {
                path: file.path.clone(),
                source,
            }
        })?;
        commit = commit.or(found.commit);
        let position = found.entry.max(found.snapshot);
        if let Some((index, term)) = position.filter(|(index, _)| *index >= end.index) {
            (end.index, end.term) = (index, term);
        }
        if let Some(problem) = found.damage {
            end.damage = Some(WalDamage {
                file: file.path.clone(),
                problem,
            });
        }
        if found.entry.is_some() || end.damage.is_some() {
            break;
        }
    }
    end.commit = commit.unwrap_or(0);
    Ok(end)
}

/// Index first, so that positions compare as places in one log.
type Position = (u64, u64);

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileEnd {
    entry: Option<Position>,
    snapshot: Option<Position>,
    commit: Option<u64>,
    damage: Option<String>,
}

const RECORD_ENTRY: u64 = 2;
const RECORD_STATE: u64 = 3;
const RECORD_SNAPSHOT: u64 = 5;

fn read_file(path: &Path, is_newest: bool) -> io::Result<FileEnd> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    read_records(BufReader::with_capacity(PIECE, file), length, is_newest)
}

fn read_records(reader: impl Read, length: u64, is_newest: bool) -> io::Result<FileEnd> {
    let mut records = Records {
        reader,
        offset: 0,
        length,
        is_newest,
        crc: Crc32c::default(),
        piece: vec![0; PIECE],
    };
    let mut end = FileEnd::default();
    // Written before the state that commits it. etcd ignores it without one.
    let mut unproven_snapshot = None;
    loop {
        let (kind, numbers) = match records.next()? {
            Next::Record { kind, numbers } => (kind, numbers),
            Next::End => return Ok(end),
            Next::Damaged(problem) => {
                end.damage = Some(problem);
                return Ok(end);
            }
        };
        let [_, first, second, third] = numbers;
        match kind {
            RECORD_ENTRY => end.entry = Some((third, second)),
            RECORD_STATE => end.commit = Some(third),
            RECORD_SNAPSHOT => unproven_snapshot = Some((first, second)),
            _ => {}
        }
        if let Some(snapshot) = unproven_snapshot
            && end.commit.is_some_and(|commit| snapshot.0 <= commit)
        {
            end.snapshot = end.snapshot.max(unproven_snapshot.take());
        }
    }
}

/// What is read at a time.
const PIECE: usize = 64 * 1024;

/// Enough of a record for its own fields and for the numbers that its data
/// begins with: six fields of at most eleven bytes.
const HEAD: usize = 96;

/// Disks write sectors of this size whole or not at all.
const SECTOR: u64 = 512;

struct Records<R> {
    reader: R,
    /// Where the next record begins.
    offset: u64,
    length: u64,
    is_newest: bool,
    crc: Crc32c,
    piece: Vec<u8>,
}

enum Next {
    Record {
        kind: u64,
        /// The data's numbers by field, as far as they come before anything
        /// else; field 0 is never used.
        numbers: [u64; 4],
    },
    End,
    Damaged(String),
}

impl<R: Read> Records<R> {
    fn next(&mut self) -> io::Result<Next> {
        let mut length_field = [0_u8; 8];
        let left = self.length - self.offset;
        if left == 0 {
            return Ok(Next::End);
        }
        if left < 8 {
            return Ok(self.torn_or("ends amid a record"));
        }
        self.reader.read_exact(&mut length_field)?;
        let length_field = u64::from_le_bytes(length_field);
        if length_field == 0 {
            return Ok(Next::End);
        }
        let record = length_field & 0x00ff_ffff_ffff_ffff;
        let padding = if length_field >> 63 == 1 {
            (length_field >> 56) & 0x7
        } else {
            0
        };
        if record > (left - 8).saturating_sub(padding) {
            return Ok(self.torn_or("ends amid a record"));
        }
        self.read_body(record, padding)
    }

    /// Reads a record that the file is long enough for.
    fn read_body(&mut self, record: u64, padding: u64) -> io::Result<Next> {
        let mut sectors = Sectors::from(self.offset + 8);
        let mut head = [0_u8; HEAD];
        let head = &mut head[..usize::try_from(record).map_or(HEAD, |all| all.min(HEAD))];
        self.reader.read_exact(head)?;
        sectors.feed(head);
        let parsed = RecordHead::parse(head, record);
        let mut crc = self.crc;
        if let Some(parsed) = &parsed {
            crc.update(&head[parsed.data_at..]);
        }
        let mut unread = record - head.len() as u64;
        while unread > 0 {
            let size = usize::try_from(unread).map_or(PIECE, |all| all.min(PIECE));
            let piece = &mut self.piece[..size];
            self.reader.read_exact(piece)?;
            sectors.feed(piece);
            crc.update(piece);
            unread -= size as u64;
        }
        let mut pad = [0_u8; 8];
        let pad = &mut pad[..usize::try_from(padding).unwrap_or(0)];
        self.reader.read_exact(pad)?;
        sectors.feed(pad);
        let torn = self.is_newest && sectors.found_zeroed();
        let wrong = |problem: &str| {
            if torn {
                Next::End
            } else {
                Next::Damaged(problem.to_owned())
            }
        };
        let Some(parsed) = parsed else {
            return Ok(wrong("a record is not a protobuf message"));
        };
        if parsed.kind == RECORD_CRC {
            // The first one of a file carries on from a file that we have not read.
            if self.offset != 0 && self.crc.value() != parsed.crc {
                let problem = "its checksums do not follow one another".to_owned();
                return Ok(Next::Damaged(problem));
            }
            crc = Crc32c::starting_at(parsed.crc);
        } else if crc.value() != parsed.crc {
            return Ok(wrong("a record's checksum does not match its data"));
        }
        self.crc = crc;
        self.offset += 8 + record + padding;
        Ok(Next::Record {
            kind: parsed.kind,
            numbers: leading_numbers(&head[parsed.data_at..]),
        })
    }

    /// The newest file may end anywhere after a crash; older ones were finished.
    fn torn_or(&self, problem: &str) -> Next {
        if self.is_newest {
            Next::End
        } else {
            Next::Damaged(problem.to_owned())
        }
    }
}

/// A record's own fields. etcd writes them in order, the data last.
struct RecordHead {
    kind: u64,
    crc: u32,
    /// Where the data begins; it ends with the record.
    data_at: usize,
}

impl RecordHead {
    fn parse(head: &[u8], record: u64) -> Option<Self> {
        let mut parsed = RecordHead {
            kind: 0,
            crc: 0,
            data_at: head.len(),
        };
        let mut fields = Fields { rest: head };
        while !fields.rest.is_empty() {
            match fields.varint()? {
                0x08 => parsed.kind = fields.varint()?,
                0x10 => parsed.crc = u32::try_from(fields.varint()?).ok()?,
                0x1a => {
                    let data = fields.varint()?;
                    parsed.data_at = head.len() - fields.rest.len();
                    let end = (parsed.data_at as u64).checked_add(data)?;
                    return (end == record).then_some(parsed);
                }
                _ => return None,
            }
        }
        Some(parsed)
    }
}

/// The numbers that a message begins with. The rest may be cut off.
fn leading_numbers(data: &[u8]) -> [u64; 4] {
    let mut numbers = [0; 4];
    let mut fields = Fields { rest: data };
    while let Some(Some((field, Value::Number(number)))) = fields.next() {
        let Some(place) = usize::try_from(field)
            .ok()
            .and_then(|field| numbers.get_mut(field))
        else {
            break;
        };
        *place = number;
    }
    numbers
}

/// Watches for sectors, or the parts of sectors that a record covers, that are
/// all zero: those were never written. etcd takes a bad record with one for
/// torn, and one without for damaged.
struct Sectors {
    offset: u64,
    all_zero: bool,
    found: bool,
}

impl Sectors {
    fn from(offset: u64) -> Self {
        Sectors {
            offset,
            all_zero: true,
            found: false,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let to_boundary = SECTOR - self.offset % SECTOR;
            let here =
                usize::try_from(to_boundary).map_or(bytes.len(), |n| n.min(bytes.len()));
            let (part, rest) = bytes.split_at(here);
            self.all_zero &= part.iter().all(|byte| *byte == 0);
            self.offset += here as u64;
            if self.offset.is_multiple_of(SECTOR) {
                self.found |= self.all_zero;
                self.all_zero = true;
            }
            bytes = rest;
        }
    }

    fn found_zeroed(&self) -> bool {
        let ends_within = !self.offset.is_multiple_of(SECTOR);
        self.found || (ends_within && self.all_zero)
    }
}

#[cfg(test)]
mod tests;
