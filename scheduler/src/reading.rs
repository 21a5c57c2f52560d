//! Whose database is being read whole. Meanwhile it is not defragmented: etcd would wait
//! for the reader to end, and serve nothing for as long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_launch::PodIndex;
use tokio::time::Instant;

/// Between two looks at whether the last reader has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Counts readers by pod. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Readers(Arc<Mutex<BTreeMap<PodIndex, usize>>>);

/// Somebody reads, until this is dropped.
#[derive(Debug)]
pub struct Reading {
    readers: Readers,
    pod: PodIndex,
}

impl Readers {
    /// Somebody begins to read a pod's database.
    #[must_use]
    pub fn begin(&self, pod: PodIndex) -> Reading {
        self.count(|counts| *counts.entry(pod).or_insert(0) += 1);
        Reading {
            readers: self.clone(),
            pod,
        }
    }

    /// Waits until nobody reads a pod's database any more; whether that was so in time.
    pub async fn have_ended(&self, pod: PodIndex, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.count(|counts| counts.contains_key(&pod)) {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        true
    }

    fn count<T>(&self, act: impl FnOnce(&mut BTreeMap<PodIndex, usize>) -> T) -> T {
        // Counts are whole after every change, whoever panicked.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readers.count(|counts| {
            if let Some(count) = counts.get_mut(&self.pod) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.pod);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_reader_is_waited_for() {
        let (readers, pod) = (Readers::default(), PodIndex(1));
        let within = Duration::from_secs(60);
        assert!(readers.have_ended(pod, within).await);
        let (first, second) = (readers.begin(pod), readers.begin(pod));
        drop(first);
        assert!(!readers.have_ended(pod, Duration::from_millis(1)).await);
        assert!(readers.have_ended(PodIndex(2), Duration::ZERO).await);
        let ended = tokio::spawn({
            let readers = readers.clone();
            async move { readers.have_ended(pod, within).await }
        });
        drop(second);
        assert!(ended.await.unwrap());
    }
}
