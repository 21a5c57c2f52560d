//! A copy of a member's database, as a stream.
//!
//! etcd sends the database file and behind it the SHA-256 of all of it, in 32
//! bytes. A stream may be cut without an error, so only that sum tells whether a
//! snapshot is whole. (etcd: `Snapshot` of its maintenance server; all versions
//! from 3.0 on.)

use std::time::Duration;

use etcd_client::SnapshotStreaming;
use sha2::{Digest, Sha256};

use crate::EtcdError;
use crate::member::MemberClient;

/// Length of the sum behind the database, bytes.
pub const SUM_LENGTH: usize = 32;

/// bbolt's files are made of pages, and no page is smaller than this, bytes.
const SMALLEST_PAGE: u64 = 512;

/// For each piece. The first comes when etcd has written out what it holds in
/// memory; the others are read from its disk, or from its page cache.
const PIECE_LIMIT: Duration = Duration::from_secs(30);

/// Computes the sum of a database while it passes, and compares it with the last
/// 32 bytes of what passed.
#[derive(Clone, Debug, Default)]
pub struct SnapshotSum {
    database: Sha256,
    /// What came last; it is the sum if nothing follows.
    tail: Vec<u8>,
    length: u64,
}

impl SnapshotSum {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.tail.extend_from_slice(piece);
        if let Some(surely_data) = self.tail.len().checked_sub(SUM_LENGTH) {
            self.database.update(&self.tail[..surely_data]);
            self.tail.drain(..surely_data);
        }
    }

    /// How much has passed, the sum included, bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether what has passed is a whole snapshot.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn finish(self) -> Result<(), String> {
        let database = self.length.saturating_sub(SUM_LENGTH as u64);
        if database == 0 || !database.is_multiple_of(SMALLEST_PAGE) {
            return Err(format!(
                "{} bytes cannot be a database and a sum of {SUM_LENGTH} bytes",
                self.length
            ));
        }
        match self.tail == self.database.finalize().as_slice() {
            true => Ok(()),
            false => Err(format!(
                "the last {SUM_LENGTH} of {} bytes are not the SHA-256 of the others",
                self.length
            )),
        }
    }
}

/// A snapshot on its way. The member holds its database at one moment for as long
/// as this lives, and its file grows meanwhile: do not keep it waiting.
#[derive(Debug)]
pub struct SnapshotStream {
    endpoint: String,
    pieces: SnapshotStreaming,
    /// Empty when it came to its end.
    sum: Option<SnapshotSum>,
}

impl MemberClient {
    /// Begins to copy the member's database. It holds at least all that the member
    /// had applied at the time of the call.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Unreachable`], [`EtcdError::TimedOut`],
    /// [`EtcdError::LearnerCannotServe`] from a learner of old versions.
    pub async fn snapshot(&self) -> Result<SnapshotStream, EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let pieces = self
            .bounded("snapshot", PIECE_LIMIT, maintenance.snapshot())
            .await?;
        Ok(SnapshotStream {
            endpoint: self.endpoint().to_owned(),
            pieces,
            sum: Some(SnapshotSum::default()),
        })
    }
}

impl SnapshotStream {
    /// The next piece, some ten kilobytes. `None` only when all has come and the sum
    /// is right: what came before an error is no snapshot.
    ///
    /// Not more than a few pieces are on their way at a time: etcd waits until they
    /// are asked for.
    ///
    /// # Errors
    ///
    /// [`EtcdError::BadSnapshot`] when the end comes too early or the sum is wrong;
    /// [`EtcdError::Unreachable`], [`EtcdError::TimedOut`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, EtcdError> {
        let Some(sum) = &mut self.sum else {
            return Ok(None);
        };
        let message = tokio::time::timeout(PIECE_LIMIT, self.pieces.message()).await;
        let message = message.map_err(|_| EtcdError::TimedOut {
            endpoint: self.endpoint.clone(),
            call: "snapshot",
            limit: PIECE_LIMIT,
        })?;
        let message = message
            .map_err(|error| EtcdError::from_client(&self.endpoint, "snapshot", error))?;
        if let Some(message) = message {
            sum.feed(message.blob());
            return Ok(Some(message.blob().to_vec()));
        }
        match self.sum.take().unwrap_or_default().finish() {
            Ok(()) => Ok(None),
            Err(problem) => Err(EtcdError::BadSnapshot {
                endpoint: self.endpoint.clone(),
                problem,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database of one page and its sum.
    fn sample() -> Vec<u8> {
        let database = vec![7; 512];
        let sum = Sha256::digest(&database);
        [database.as_slice(), sum.as_slice()].concat()
    }

    fn judge<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), String> {
        let mut sum = SnapshotSum::default();
        for piece in pieces {
            sum.feed(piece);
        }
        sum.finish()
    }

    #[test]
    fn however_it_is_cut_into_pieces() {
        let whole = sample();
        for size in 1..=whole.len() {
            assert_eq!(judge(whole.chunks(size)), Ok(()), "{size}");
        }
    }

    #[test]
    fn a_part_is_no_snapshot() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(judge([&whole[..length]]).is_err(), "{length}");
        }
        // A cut between two pages, too, where no length tells.
        assert_eq!(
            judge([[3; 1024].as_slice(), &[4; 32]]),
            Err("the last 32 of 1056 bytes are not the SHA-256 of the others".into())
        );
        assert_eq!(
            judge([[].as_slice()]),
            Err("0 bytes cannot be a database and a sum of 32 bytes".into())
        );
    }

    #[test]
    fn every_flipped_byte_shows() {
        let whole = sample();
        for place in 0..whole.len() {
            let mut other = whole.clone();
            other[place] ^= 1;
            assert!(judge([other.as_slice()]).is_err(), "{place}");
        }
        let more = [whole.as_slice(), &[0]].concat();
        assert!(judge([more.as_slice()]).is_err());
    }
}
