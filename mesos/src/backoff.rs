//! Growing, jittered delays between attempts, without a clock or a random
//! source of its own.

use std::time::Duration;

/// Delays that double from `first` to `longest`. Each is drawn from the upper
/// half of its step, so that many clients which lost the same master at the
/// same moment do not come back at the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    step: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        let first = first.min(longest);
        Self {
            first,
            longest,
            step: first,
            random: seed,
        }
    }

    /// The next delay: at least half of the present step, at most all of it.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let step = self.step;
        self.step = step.saturating_mul(2).min(self.longest);
        step / 2 + (step / 2).mul_f64(self.next_fraction())
    }

    pub(crate) fn reset(&mut self) {
        self.step = self.first;
    }

    /// Between 0 and 1, by SplitMix64 (Steele, Lea, Flood 2014): three lines,
    /// and good enough to spread delays.
    fn next_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // 53 bits are what a double can hold.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_stay_within_the_upper_half() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(
                Duration::from_millis(100),
                Duration::from_millis(1500),
                seed,
            );
            for step in [100, 200, 400, 800, 1500, 1500, 1500] {
                let delay = backoff.next_delay();
                let step = Duration::from_millis(step);
                assert!(delay >= step / 2 && delay <= step, "{delay:?} of {step:?}");
            }
            backoff.reset();
            assert!(backoff.next_delay() <= Duration::from_millis(100));
        }
    }

    #[test]
    fn seeds_give_different_delays_and_the_same_seed_the_same() {
        let delay = |seed| {
            Backoff::new(Duration::from_secs(1), Duration::from_secs(1), seed)
                .next_delay()
        };
        assert_eq!(delay(7), delay(7));
        assert_ne!(delay(7), delay(8));
    }
}
