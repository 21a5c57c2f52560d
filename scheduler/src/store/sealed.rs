//! Values with a checksum of their own: a bit that flips on disk must not turn
//! a record into another record that also parses.
//!
//! redb has checksums too, but looks at them only when a file was not closed
//! properly.

use sha2::{Digest, Sha256};

/// 64 hexadecimal digits and a line feed: someone who has to rescue a value
/// with a hex editor can see where it begins.
const SEAL_BYTES: usize = 65;

/// The value with its checksum before it.
pub(super) fn seal(value: &[u8]) -> Vec<u8> {
    let mut sealed = checksum_line(value);
    sealed.extend_from_slice(value);
    sealed
}

/// The value, if its checksum holds.
pub(super) fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (seal, value) = sealed.split_at_checked(SEAL_BYTES)?;
    (seal == checksum_line(value)).then_some(value)
}

fn checksum_line(value: &[u8]) -> Vec<u8> {
    let mut line = hex::encode(Sha256::digest(value)).into_bytes();
    line.push(b'\n');
    line
}
