//! etcd's write-ahead log, read without etcd and without changing it.
//!
//! The log's first records say whose it is: cluster and member. That is proof
//! of identity from the disk alone, with etcd stopped.
//!
//! Facts of the format (etcd's `wal`, `walpb` and `raftpb` packages; the same
//! from 3.0 on): files are named `<sequence>-<first index>.wal`, both as 16
//! hexadecimal digits. A file is a row of frames: eight bytes, little endian,
//! whose low 56 bits give the record's length and, when the highest bit is
//! set, whose bits 56 to 58 give the count of padding bytes behind it; then
//! the record. A length of zero is the zeroed space at the end. A record is a
//! protobuf message: type (1), CRC-32C of all data so far (2), data (3).
//! Every file begins with a record that carries on the CRC of the file
//! before, then the metadata: member id (1) and cluster id (2).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::EtcdError;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalIdentity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
}

/// Why a log file cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalDamage {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// A log file's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalFileName {
    /// Its place in the row of files.
    pub sequence: u64,
    /// The index of its first entry.
    pub first_index: u64,
}

impl WalFileName {
    /// Takes a name apart; none when it is not one of etcd's.
    pub fn parse(name: &str) -> Option<Self> {
        let (sequence, first_index) = name.strip_suffix(".wal")?.split_once('-')?;
        Some(WalFileName {
            sequence: sixteen_hex_digits(sequence)?,
            first_index: sixteen_hex_digits(first_index)?,
        })
    }
}

fn sixteen_hex_digits(text: &str) -> Option<u64> {
    let all_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

/// Whose data lies in a member's data directory (the one that holds
/// `member/`); none when it holds no log, or one that does not say.
pub fn wal_identity(data_dir: &Path) -> Option<WalIdentity> {
    match crate::data_dir::inspect(data_dir) {
        Ok(crate::DataDir::Wal { identity, .. }) => Some(identity),
        _ => None,
    }
}

/// The record types that are of use here.
const RECORD_METADATA: u64 = 1;
pub(crate) const RECORD_CRC: u64 = 4;

/// A metadata record is some thirty bytes, a CRC record fewer; anything longer
/// at the head of a file is damage and must not be allocated on its word.
const HEAD_RECORD_LIMIT: u64 = 4096;

/// The metadata is the second record of every file. A few more are looked at,
/// so that a later version may put something in between.
const HEAD_RECORDS: usize = 4;

/// Reads whose log a file belongs to from its first records.
pub(crate) fn identity_of_file(
    path: &Path,
) -> Result<Result<WalIdentity, WalDamage>, EtcdError> {
    let unreadable = |source| EtcdError::DataDirUnreadable {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let damage = |problem: String| {
        Ok(Err(WalDamage {
            file: path.to_owned(),
            problem,
        }))
    };
    let mut crc = Crc32c::default();
    for _ in 0..HEAD_RECORDS {
        let record = match read_record(&mut reader, HEAD_RECORD_LIMIT) {
            Ok(Some(record)) => record,
            Ok(None) => return damage("ends before it says whose it is".to_owned()),
            Err(BadFrame::Io(source)) => return Err(unreadable(source)),
            Err(BadFrame::Damaged(problem)) => return damage(problem),
        };
        if record.kind == RECORD_CRC {
            crc = Crc32c::starting_at(record.crc);
            continue;
        }
        crc.update(&record.data);
        if crc.value() != record.crc {
            return damage("a record's checksum does not match its data".to_owned());
        }
        if record.kind == RECORD_METADATA {
            return match metadata_identity(&record.data) {
                Some(identity) => Ok(Ok(identity)),
                None => damage("its metadata names no cluster and member".to_owned()),
            };
        }
    }
    damage("its first records do not say whose it is".to_owned())
}

fn metadata_identity(data: &[u8]) -> Option<WalIdentity> {
    let mut identity = WalIdentity {
        cluster_id: 0,
        member_id: 0,
    };
    let mut fields = Fields { rest: data };
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(id)) => identity.member_id = id,
            (2, Value::Number(id)) => identity.cluster_id = id,
            _ => {}
        }
    }
    (identity.cluster_id != 0 && identity.member_id != 0).then_some(identity)
}

struct Record {
    kind: u64,
    crc: u32,
    data: Vec<u8>,
}

enum BadFrame {
    Io(io::Error),
    Damaged(String),
}

/// Reads the next record; none at the end of the file or at the zeroed space.
fn read_record(reader: &mut impl Read, limit: u64) -> Result<Option<Record>, BadFrame> {
    let mut length_field = [0_u8; 8];
    match reader.read_exact(&mut length_field) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(BadFrame::Io(error)),
    }
    let length_field = u64::from_le_bytes(length_field);
    if length_field == 0 {
        return Ok(None);
    }
    let record_length = length_field & 0x00ff_ffff_ffff_ffff;
    let is_padded = length_field >> 63 == 1;
    let padding = if is_padded {
        (length_field >> 56) & 0x7
    } else {
        0
    };
    if record_length > limit {
        return Err(BadFrame::Damaged(format!(
            "a record claims {record_length} bytes"
        )));
    }
    let mut bytes = Vec::new();
    let frame = record_length + padding;
    match reader.take(frame).read_to_end(&mut bytes) {
        Ok(read) if read as u64 == frame => {}
        Ok(_) => return Err(BadFrame::Damaged("ends amid a record".to_owned())),
        Err(error) => return Err(BadFrame::Io(error)),
    }
    bytes.truncate(bytes.len() - padding as usize);
    decode_record(&bytes)
        .map(Some)
        .ok_or_else(|| BadFrame::Damaged("a record is not a protobuf message".to_owned()))
}

fn decode_record(bytes: &[u8]) -> Option<Record> {
    let mut record = Record {
        kind: 0,
        crc: 0,
        data: Vec::new(),
    };
    let mut fields = Fields { rest: bytes };
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(kind)) => record.kind = kind,
            (2, Value::Number(crc)) => record.crc = u32::try_from(crc).ok()?,
            (3, Value::Bytes(data)) => record.data = data.to_vec(),
            _ => {}
        }
    }
    Some(record)
}

/// The fields of a protobuf message, as far as these messages need them.
pub(crate) struct Fields<'a> {
    pub(crate) rest: &'a [u8],
}

pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field and its number; inner none at the end, outer none when
    /// the bytes are no message.
    pub(crate) fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let value = match key & 0x7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some(Some((key >> 3, value)))
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

/// CRC-32 with Castagnoli's polynomial, carried on from record to record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crc32c {
    value: u32,
}

impl Crc32c {
    /// Castagnoli's polynomial, bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;

    pub(crate) fn starting_at(value: u32) -> Self {
        Crc32c { value }
    }

    /// Eight bytes at a time: a start reads up to 64 MiB, and etcd waits for it.
    pub(crate) fn update(&mut self, data: &[u8]) {
        let mut register = !self.value;
        let (eights, rest) = data.as_chunks::<8>();
        for eight in eights {
            let [a, b, c, d, e, f, g, h] = *eight;
            let [i, j, k, l] = register.to_le_bytes();
            let places = [h, g, f, e, d ^ l, c ^ k, b ^ j, a ^ i];
            register = Self::TABLES
                .iter()
                .zip(places)
                .fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)]);
        }
        for byte in rest {
            let place = usize::from((register as u8) ^ byte);
            register = (register >> 8) ^ Self::TABLES[0][place];
        }
        self.value = !register;
    }

    pub(crate) fn value(self) -> u32 {
        self.value
    }

    /// What a byte adds to the checksum; in each further table, with one more byte
    /// behind it.
    const TABLES: [[u32; 256]; 8] = {
        let mut tables = [[0; 256]; 8];
        let mut byte = 0;
        while byte < 256 {
            let mut register = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                let carry = register & 1;
                register >>= 1;
                if carry == 1 {
                    register ^= Self::POLYNOMIAL;
                }
                bit += 1;
            }
            tables[0][byte] = register;
            byte += 1;
        }
        let mut behind = 1;
        while behind < 8 {
            let mut byte = 0;
            while byte < 256 {
                let before = tables[behind - 1][byte];
                tables[behind][byte] =
                    (before >> 8) ^ tables[0][(before & 0xff) as usize];
                byte += 1;
            }
            behind += 1;
        }
        tables
    };
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// The first 104 bytes of a log that etcd 3.5.30 wrote (3.4.23 wrote the
    /// same), as member c88e42e261df2946 of cluster bf4b7445b1c6215d.
    const REAL_HEAD: &str = "\
        040000000000008408041000000000002000000000000000080110ced6edcd01\
        1a1608c6d2fc8ea6dc90c7c80110ddc2988edb88dda5bf010e00000000000082\
        080510d0dab7b4091a040800100000006e000000000000820802108faab1a509\
        1a64080110011801";

    pub(crate) const REAL_IDENTITY: WalIdentity = WalIdentity {
        cluster_id: 0xbf4b_7445_b1c6_215d,
        member_id: 0xc88e_42e2_61df_2946,
    };

    pub(crate) fn real_head() -> Vec<u8> {
        REAL_HEAD
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
            })
            .collect()
    }

    /// A log's head as etcd would write it for this owner.
    pub(crate) fn head_of(identity: WalIdentity) -> Vec<u8> {
        let mut metadata = vec![0x08];
        put_varint(&mut metadata, identity.member_id);
        metadata.push(0x10);
        put_varint(&mut metadata, identity.cluster_id);
        let mut crc = Crc32c::default();
        crc.update(&metadata);
        let mut record = vec![0x08, RECORD_METADATA as u8, 0x10];
        put_varint(&mut record, u64::from(crc.value()));
        record.extend([0x1a, metadata.len() as u8]);
        record.extend(metadata);
        let mut head = real_head()[..16].to_vec();
        head.extend((record.len() as u64).to_le_bytes());
        head.extend(record);
        head
    }

    pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }

    fn read(bytes: &[u8]) -> Result<WalIdentity, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory
            .path()
            .join("0000000000000000-0000000000000000.wal");
        fs::write(&path, bytes).unwrap();
        identity_of_file(&path)
            .unwrap()
            .map_err(|damage| damage.problem)
    }

    #[test]
    fn a_real_head_names_its_owner() {
        assert_eq!(read(&real_head()), Ok(REAL_IDENTITY));
        assert_eq!(read(&head_of(REAL_IDENTITY)), Ok(REAL_IDENTITY));
    }

    #[test]
    fn zeroed_space_and_cut_files_prove_nothing() {
        assert_eq!(read(&[]).unwrap_err(), "ends before it says whose it is");
        assert_eq!(
            read(&[0; 4096]).unwrap_err(),
            "ends before it says whose it is"
        );
        // The metadata record ends at byte 56; any cut before that shows.
        for length in 0..56 {
            assert!(read(&real_head()[..length]).is_err(), "{length}");
        }
        assert_eq!(read(&real_head()[..56]), Ok(REAL_IDENTITY));
    }

    #[test]
    fn no_flipped_bit_yields_another_owner() {
        // Bytes 0 to 55 are the two records that matter.
        for position in 0..56 * 8 {
            let mut bytes = real_head();
            bytes[position / 8] ^= 1 << (position % 8);
            if let Ok(identity) = read(&bytes) {
                assert_eq!(identity, REAL_IDENTITY, "bit {position}");
            }
        }
    }

    #[test]
    fn a_huge_length_is_damage_not_memory() {
        let mut bytes = real_head();
        bytes[6] = 0xff;
        assert!(read(&bytes).unwrap_err().contains("claims"));
    }

    #[test]
    fn file_names() {
        #[track_caller]
        fn check(name: &str, expected: Option<(u64, u64)>) {
            let read = WalFileName::parse(name);
            assert_eq!(
                read.map(|n| (n.sequence, n.first_index)),
                expected,
                "{name}"
            );
        }
        check("0000000000000000-0000000000000000.wal", Some((0, 0)));
        check(
            "000000000000000a-00000000000f4240.wal",
            Some((10, 1_000_000)),
        );
        check("0.tmp", None);
        check("0000000000000000-0000000000000000.wal.broken", None);
        check("0-0.wal", None);
        check("+000000000000000-0000000000000000.wal", None);
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C, from the catalogue of CRCs.
        let mut crc = Crc32c::default();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xe306_9283);
        // However the data is cut into pieces.
        let data: Vec<u8> = (0..100_u8).map(|n| n.wrapping_mul(37)).collect();
        let mut whole = Crc32c::default();
        whole.update(&data);
        for cut in 0..data.len() {
            let mut pieces = Crc32c::default();
            pieces.update(&data[..cut]);
            data[cut..].chunks(1).for_each(|byte| pieces.update(byte));
            assert_eq!(pieces.value(), whole.value(), "{cut}");
        }
    }
}
