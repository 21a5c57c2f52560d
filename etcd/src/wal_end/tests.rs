use std::fs;

use proptest::prelude::*;

use super::*;
use crate::wal::tests::{put_varint, real_head};

/// Writes log files as etcd does.
struct Writer {
    bytes: Vec<u8>,
    crc: Crc32c,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    Entry { term: u64, index: u64, data: usize },
    State { term: u64, commit: u64 },
    Snapshot { index: u64, term: u64 },
}

impl Writer {
    /// A file that follows one with this checksum.
    fn after(crc: u32) -> Self {
        let mut writer = Writer {
            bytes: Vec::new(),
            crc: Crc32c::starting_at(crc),
        };
        writer.frame(RECORD_CRC, &[]);
        writer.frame(1, b"whose it is");
        writer
    }

    fn with(lines: &[Line]) -> Self {
        let mut writer = Writer::after(0);
        lines.iter().for_each(|line| writer.write(*line));
        writer
    }

    fn write(&mut self, line: Line) {
        match line {
            Line::Entry { term, index, data } => {
                let mut message = numbers(&[0, term, index]);
                message.push(0x22);
                put_varint(&mut message, data as u64);
                message.extend(vec![b'x'; data]);
                self.frame(RECORD_ENTRY, &message);
            }
            Line::State { term, commit } => {
                self.frame(RECORD_STATE, &numbers(&[term, 7, commit]));
            }
            Line::Snapshot { index, term } => {
                self.frame(RECORD_SNAPSHOT, &numbers(&[index, term]));
            }
        }
    }

    fn frame(&mut self, kind: u64, data: &[u8]) {
        self.crc.update(data);
        let mut record = vec![0x08, kind as u8, 0x10];
        put_varint(&mut record, u64::from(self.crc.value()));
        if !data.is_empty() {
            record.push(0x1a);
            put_varint(&mut record, data.len() as u64);
            record.extend(data);
        }
        let padding = (8 - record.len() % 8) % 8;
        let mut length = record.len() as u64;
        if padding > 0 {
            length |= (0x80 | padding as u64) << 56;
        }
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(record);
        self.bytes.extend(vec![0; padding]);
    }
}

/// A message of numbers: fields 1, 2, 3...
fn numbers(values: &[u64]) -> Vec<u8> {
    let mut message = Vec::new();
    for (field, value) in (1_u8..).zip(values) {
        message.push(field << 3);
        put_varint(&mut message, *value);
    }
    message
}

fn entry(term: u64, index: u64) -> Line {
    Line::Entry {
        term,
        index,
        data: 10,
    }
}

fn state(commit: u64) -> Line {
    Line::State { term: 9, commit }
}

fn read(bytes: &[u8], is_newest: bool) -> FileEnd {
    read_records(bytes, bytes.len() as u64, is_newest).unwrap()
}

/// Puts files into a data directory and gives the end as text.
fn end_of(files: &[&[u8]]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let wal = directory.path().join("member/wal");
    fs::create_dir_all(&wal).unwrap();
    for (number, bytes) in files.iter().enumerate() {
        fs::write(wal.join(format!("{number:016x}-{number:016x}.wal")), bytes).unwrap();
    }
    let end = log_end(directory.path()).unwrap();
    let damage = end
        .damage
        .map_or(String::new(), |damage| format!(", {}", damage.problem));
    format!("{}/{} commit {}{damage}", end.term, end.index, end.commit)
}

#[track_caller]
fn check(lines: &[Line], expected: &str) {
    let bytes = Writer::with(lines).bytes;
    assert_eq!(end_of(&[&bytes]), expected, "{lines:?}");
    // etcd makes its files 64 MiB long, and fills them.
    let mut preallocated = bytes;
    preallocated.extend([0; 4096]);
    assert_eq!(end_of(&[&preallocated]), expected, "{lines:?}");
}

#[test]
fn what_a_file_ends_with() {
    check(&[], "0/0 commit 0");
    check(&[entry(1, 1), entry(1, 2), state(1)], "1/2 commit 1");
    check(&[entry(2, 5), state(5), state(3)], "2/5 commit 3");
    // Entries that were never committed, and another leader's in their place.
    check(
        &[entry(2, 5), entry(2, 6), entry(2, 7), entry(3, 6)],
        "3/6 commit 0",
    );
    // A snapshot of our own, and one that was received.
    let taken = Line::Snapshot { index: 4, term: 2 };
    let received = Line::Snapshot { index: 90, term: 4 };
    check(&[entry(2, 5), state(5), taken], "2/5 commit 5");
    check(
        &[entry(2, 5), state(5), received, state(90)],
        "4/90 commit 90",
    );
    check(
        &[entry(2, 5), state(5), received, state(90), entry(4, 91)],
        "4/91 commit 90",
    );
    // Saved, and then there was the crash: etcd does not go on from it.
    check(&[entry(2, 5), state(5), received], "2/5 commit 5");
    check(
        &[Line::Entry {
            term: 3,
            index: u64::MAX,
            data: 300_000,
        }],
        "3/18446744073709551615 commit 0",
    );
}

#[test]
fn several_files() {
    let mut first = Writer::with(&[entry(2, 5), state(4)]);
    let mut second = Writer::after(first.crc.value());
    second.write(state(5));
    // Just begun: its last entry stands in the file before.
    assert_eq!(end_of(&[&first.bytes, &second.bytes]), "2/5 commit 5");
    second.write(entry(3, 6));
    assert_eq!(end_of(&[&first.bytes, &second.bytes]), "3/6 commit 5");
    // A finished file has no torn end.
    first.bytes.truncate(first.bytes.len() - 20);
    assert_eq!(end_of(&[&first.bytes, &second.bytes]), "3/6 commit 5");
    let begun = Writer::with(&[state(5)]).bytes;
    assert_eq!(
        end_of(&[&first.bytes, &begun]),
        "2/5 commit 5, ends amid a record"
    );
    assert_eq!(end_of(&[]), "0/0 commit 0");
}

#[test]
fn damage_is_told_with_the_end_before_it() {
    let lines = [entry(1, 1), entry(1, 2), entry(1, 3)];
    let before = Writer::with(&lines[..2]).bytes.len();
    let mut bytes = Writer::with(&lines).bytes;
    bytes[before + 24] ^= 1;
    assert_eq!(
        end_of(&[&bytes]),
        "1/2 commit 0, a record's checksum does not match its data"
    );
    let mut writer = Writer::with(&lines);
    writer.crc = Crc32c::starting_at(5);
    writer.frame(RECORD_CRC, &[]);
    assert_eq!(
        end_of(&[&writer.bytes]),
        "1/3 commit 0, its checksums do not follow one another"
    );
}

#[test]
fn a_record_with_an_unwritten_sector_is_torn() {
    let large = Line::Entry {
        term: 1,
        index: 2,
        data: 2000,
    };
    let mut torn = Writer::with(&[entry(1, 1), large]).bytes;
    torn[1024..1536].fill(0);
    let end = read(&torn, true);
    assert_eq!((end.entry, end.damage), (Some((1, 1)), None));
    assert!(read(&torn, false).damage.is_some());
    // Half a sector is not how disks fail.
    torn[1030..1536].fill(1);
    assert!(read(&torn, true).damage.is_some());
}

/// The log of a real etcd, byte for byte; it ends amid its next record.
#[test]
fn a_real_head_has_no_end() {
    let end = read(&real_head(), true);
    assert_eq!(end, FileEnd::default());
}

fn any_entry() -> impl Strategy<Value = Line> {
    (0_u64..300, 0_u64..300, 0_usize..700).prop_map(|(term, index, data)| Line::Entry {
        term,
        index,
        data,
    })
}

fn any_line() -> impl Strategy<Value = Line> {
    let small = 0_u64..300;
    prop_oneof![
        4 => any_entry(),
        2 => (small.clone(), small.clone())
            .prop_map(|(term, commit)| Line::State { term, commit }),
        1 => (small.clone(), small).prop_map(|(index, term)| Line::Snapshot { index, term }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a file is cut off, what stands before the cut counts, and no
    /// more; and an older file that is cut off is never taken for whole.
    #[test]
    fn cut_off_at_any_byte(lines in prop::collection::vec(any_line(), 0..8)) {
        let whole = Writer::with(&lines).bytes;
        let ends: Vec<(usize, FileEnd)> = (0..=lines.len())
            .map(|count| {
                let bytes = Writer::with(&lines[..count]).bytes;
                (bytes.len(), read(&bytes, true))
            })
            .collect();
        for cut in 0..=whole.len() {
            let expected = ends
                .iter()
                .rev()
                .find(|(length, _)| *length <= cut)
                .map_or(FileEnd::default(), |(_, end)| end.clone());
            prop_assert_eq!(read(&whole[..cut], true), expected, "cut at {}", cut);
            let older = read(&whole[..cut], false);
            let between = ends.iter().all(|(length, _)| *length != cut);
            if between && cut > ends[0].0 {
                prop_assert!(older.damage.is_some(), "cut at {}", cut);
            }
            // As after a crash in a file that was made long beforehand.
            if (cut as u64).is_multiple_of(SECTOR) {
                let mut zeroed = whole[..cut].to_vec();
                zeroed.resize(whole.len().next_multiple_of(512) + 512, 0);
                // Nothing is lost of a record whose padding is.
                let (_, expected) = ends
                    .iter()
                    .rfind(|(length, _)| zeroed[..*length] == whole[..*length])
                    .cloned()
                    .unwrap_or_default();
                prop_assert_eq!(read(&zeroed, true), expected, "zeroed from {}", cut);
            }
        }
    }

    /// No bytes at all make it panic, or read what is not there.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes, true);
        read(&bytes, false);
    }

    /// No flipped bit makes another entry: it is damage, or it lies where nothing
    /// depends on it, or it hides what comes behind.
    #[test]
    fn a_flipped_bit_makes_no_entry(
        lines in prop::collection::vec(any_entry(), 1..6),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut bytes = Writer::with(&lines).bytes;
        let ends: Vec<Option<Position>> = (0..=lines.len())
            .map(|count| read(&Writer::with(&lines[..count]).bytes, true).entry)
            .collect();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(ends.contains(&read(&bytes, true).entry));
    }
}
