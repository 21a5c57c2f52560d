//! Waiting for a condition, never longer than told.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::LocalError;

/// Short against what is waited for, long against what a look costs.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// What one look has shown.
pub enum Look<T> {
    /// It is so; the wait is over.
    Reached(T),
    /// Not yet: what there is instead, for the message if time runs out.
    NotYet(String),
}

/// Looks again and again until the condition holds, a look fails, or `limit` is over.
/// The error of a wait in vain says what was seen last.
pub async fn wait_until<T, F>(
    condition: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T, LocalError>
where
    F: Future<Output = Result<Look<T>, LocalError>>,
{
    let start = Instant::now();
    loop {
        let last_seen = match look().await? {
            Look::Reached(found) => return Ok(found),
            Look::NotYet(seen) => seen,
        };
        if start.elapsed() >= limit {
            let condition = condition.to_owned();
            return Err(LocalError::TimedOut {
                condition,
                waited: limit,
                last_seen,
            });
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
