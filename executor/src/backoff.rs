//! The pause before etcd is started again.

use std::time::Duration;

/// After the first crash: etcd may have been killed by mistake, and every
/// second without it is a second with one voter less.
const FIRST: Duration = Duration::from_secs(1);
/// A crash loop costs little at this pace, and a mended host is used within a
/// minute.
const AT_MOST: Duration = Duration::from_secs(60);

/// etcd that has answered for this long has recovered: the next crash counts
/// as the first.
pub const STEADY_AFTER: Duration = Duration::from_secs(60);

/// The pause after so many crashes in a row, from 1.
pub fn pause(crashes: u32) -> Duration {
    FIRST
        .saturating_mul(1 << crashes.saturating_sub(1).min(16))
        .min(AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_a_limit() {
        let seconds: Vec<u64> = (1..9).map(|crashes| pause(crashes).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(0), FIRST);
        assert_eq!(pause(u32::MAX), AT_MOST);
    }
}
