//! RecordIO, the framing of Mesos' event streams.
//!
//! A record is its length in bytes as decimal digits, a newline, and the bytes
//! themselves. Records follow each other without anything between them. The
//! decoder is fed with whatever pieces the network delivers.
//!
//! ```
//! use mesos_v1::recordio::RecordDecoder;
//!
//! let mut decoder = RecordDecoder::new(1024);
//! decoder.feed(b"5\nhel");
//! assert_eq!(decoder.next_record()?, None);
//! decoder.feed(b"lo0\n");
//! assert_eq!(decoder.next_record()?.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(decoder.next_record()?.as_deref(), Some(&b""[..]));
//! assert_eq!(decoder.next_record()?, None);
//! # Ok::<(), mesos_v1::recordio::RecordError>(())
//! ```

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// No length prefix is longer: 2^64 - 1 has twenty digits.
const MAX_PREFIX_DIGITS: usize = 20;

/// A limit that fits every honest event: one agent's offer is about 1 KiB, so
/// the offers of 30,000 agents in one event still pass, while a broken length
/// cannot make us collect gigabytes.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 32 * 1024 * 1024;

/// Why a stream cannot be read on. The position in it is lost: reconnect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Twenty bytes went by without the newline that ends a length.
    #[error("no record length within {MAX_PREFIX_DIGITS} bytes: got \"{found}\"")]
    PrefixTooLong {
        /// What stood in its place, escaped.
        found: String,
    },
    /// The length is empty or has something else than digits in it.
    #[error("a record length must be decimal digits: got \"{found}\"")]
    NotANumber {
        /// What stood in its place, escaped.
        found: String,
    },
    /// A record longer than this decoder accepts.
    #[error("a record of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The length that the prefix claims, in bytes.
        length: u64,
        /// The decoder's limit, in bytes.
        limit: usize,
    },
    /// The stream ended within a record.
    #[error("the stream ended within a record: {buffered} bytes are left over")]
    Truncated {
        /// Bytes received of the unfinished record, its prefix included.
        buffered: usize,
    },
}

/// Cuts a byte stream into records.
///
/// After an error every further call returns the same error: a stream whose
/// framing broke once cannot be trusted again.
#[derive(Debug)]
pub struct RecordDecoder {
    buffer: BytesMut,
    limit: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Prefix,
    Body { length: usize },
    Broken(RecordError),
}

impl RecordDecoder {
    /// A decoder that refuses records longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
            state: State::Prefix,
        }
    }

    /// Adds the next piece of the stream, of any size.
    pub fn feed(&mut self, chunk: &[u8]) {
        if !matches!(self.state, State::Broken(_)) {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next whole record, or `None` until more is fed.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        loop {
            match &self.state {
                State::Broken(error) => return Err(error.clone()),
                State::Body { length } if self.buffer.len() < *length => return Ok(None),
                State::Body { length } => {
                    let record = self.buffer.split_to(*length).freeze();
                    self.state = State::Prefix;
                    return Ok(Some(record));
                }
                State::Prefix => match self.take_prefix() {
                    Ok(Some(length)) => self.state = State::Body { length },
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        self.buffer = BytesMut::new();
                        self.state = State::Broken(error);
                    }
                },
            }
        }
    }

    /// To be asked when the stream has ended: did it end between two records?
    pub fn finish(&self) -> Result<(), RecordError> {
        match &self.state {
            State::Broken(error) => Err(error.clone()),
            State::Prefix if self.buffer.is_empty() => Ok(()),
            _ => Err(RecordError::Truncated {
                buffered: self.buffer.len(),
            }),
        }
    }

    /// Judges the first byte that is not a digit, so that the verdict does not
    /// depend on how much more has arrived.
    fn take_prefix(&mut self) -> Result<Option<usize>, RecordError> {
        let window = &self.buffer[..self.buffer.len().min(MAX_PREFIX_DIGITS + 1)];
        let Some(end) = window.iter().position(|byte| !byte.is_ascii_digit()) else {
            if window.len() > MAX_PREFIX_DIGITS {
                return Err(RecordError::PrefixTooLong {
                    found: escape(window),
                });
            }
            return Ok(None);
        };
        if window[end] != b'\n' || end == 0 {
            return Err(RecordError::NotANumber {
                found: escape(&window[..=end]),
            });
        }
        let length = parse_decimal(&window[..end]);
        let fits = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.limit);
        let Some(fitting) = fits else {
            return Err(RecordError::TooLong {
                length,
                limit: self.limit,
            });
        };
        self.buffer.advance(end + 1);
        Ok(Some(fitting))
    }
}

/// Appends one record to `stream`.
pub fn encode_record(record: &[u8], stream: &mut BytesMut) {
    stream.extend_from_slice(record.len().to_string().as_bytes());
    stream.extend_from_slice(b"\n");
    stream.extend_from_slice(record);
}

/// The value of decimal digits. One past 2^64 becomes the largest number, which
/// is over every limit.
fn parse_decimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value: u64, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the stream in chunks of `size` bytes; shows records, then the end.
    fn decode(stream: &[u8], size: usize) -> String {
        let mut decoder = RecordDecoder::new(8);
        let mut shown = Vec::new();
        for chunk in stream.chunks(size) {
            decoder.feed(chunk);
            loop {
                match decoder.next_record() {
                    Ok(Some(record)) => shown.push(escape(&record)),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.next_record(), Err(error.clone()));
                        assert_eq!(decoder.finish(), Err(error.clone()));
                        shown.push(error.to_string());
                        return shown.join("|");
                    }
                }
            }
        }
        match decoder.finish() {
            Ok(()) => shown.push("end".to_owned()),
            Err(error) => shown.push(error.to_string()),
        }
        shown.join("|")
    }

    #[test]
    fn streams_are_cut_into_records_however_they_arrive() {
        let check = |stream: &[u8], expected: &str| {
            for size in 1..=stream.len().max(1) {
                assert_eq!(decode(stream, size), expected, "chunks of {size} bytes");
            }
        };
        check(b"", "end");
        check(b"5\nhello3\nyou", "hello|you|end");
        check(b"0\n0\n1\n\n", "||\\n|end");
        check(b"8\n12345678", "12345678|end");
        check(b"008\n12345678", "12345678|end");
        check(
            b"5\nhel",
            "the stream ended within a record: 3 bytes are left over",
        );
        check(
            b"12",
            "the stream ended within a record: 2 bytes are left over",
        );
        check(b"9\n", "a record of 9 bytes is over the limit of 8");
        check(b"\n", "a record length must be decimal digits: got \"\\n\"");
        check(
            b"+5\nhello",
            "a record length must be decimal digits: got \"+\"",
        );
        check(
            b"1\n!HTTP/1.1",
            "!|a record length must be decimal digits: got \"H\"",
        );
        check(
            b"99999999999999999999\n",
            "a record of 18446744073709551615 bytes is over the limit of 8",
        );
        check(
            b"000000000000000000005\nhello",
            "no record length within 20 bytes: got \"000000000000000000005\"",
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_with_any_chunking(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(1_usize..50, 1..200),
        ) {
            let mut stream = BytesMut::new();
            for record in &records {
                encode_record(record, &mut stream);
            }
            let mut decoder = RecordDecoder::new(40);
            let mut decoded = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !stream.is_empty() {
                let cut = cuts.next().unwrap_or(1).min(stream.len());
                decoder.feed(&stream.split_to(cut));
                while let Some(record) = decoder.next_record().unwrap() {
                    decoded.push(record.to_vec());
                }
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
            prop_assert_eq!(decoded, records);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_chunking_never_matters(
            stream in prop::collection::vec(
                prop_oneof![Just(b'1'), Just(b'\n'), Just(b'9'), any::<u8>()], 0..200),
            size in 1_usize..30,
        ) {
            prop_assert_eq!(decode(&stream, size), decode(&stream, stream.len().max(1)));
        }
    }
}
