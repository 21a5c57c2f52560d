//! `/v1/snapshot`: a copy of all data, passed on as it comes from a member.
//!
//! Nothing is kept: the next piece is asked for when the last one was taken, and
//! etcd waits meanwhile. A snapshot that is not whole must not look whole, so its
//! last bytes, which are its sum, are held back until they have proved right, and
//! an answer that cannot be finished is broken off.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use etcd_admin::EtcdError;
use etcd_admin::snapshot::{SUM_LENGTH, SnapshotStream};
use etcd_api::snapshot::{MEMBER_HEADER, POD_HEADER, REVISION_HEADER, VERSION_HEADER};
use etcd_launch::PodIndex;
use etcd_planner::record::Cluster;

use super::{ApiState, answer};
use crate::commands::Actor;
use crate::published::Published;
use crate::reading::Reading;
use crate::snapshots::{
    BEGUN_WITHIN, Begun, ENDED_WITHIN, Source, begin, file_name, sources,
};

/// One for a backup that runs every night, and one for an operator who cannot wait
/// for it. Each makes a member keep what it would free.
const AT_ONCE: usize = 2;

/// When one of them may have ended.
const COME_BACK_AFTER: &str = "10";

/// Tells nginx, and so DC/OS' Admin Router, not to keep it on its disk.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How many snapshots may be under way.
#[derive(Debug)]
pub struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Slots(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Slots {
    /// Takes one, if one is free; it is given back when dropped.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

pub(super) async fn take(
    State(state): State<ApiState>,
    Extension(by): Extension<Actor>,
) -> Response {
    let Some(slot) = state.snapshots.take() else {
        return busy();
    };
    let published = state.published();
    let Cluster::Formed(cluster) = &published.record.cluster else {
        return unavailable("the cluster has not formed yet, and holds nothing");
    };
    let mut failures = Vec::new();
    for source in sources(&published) {
        let pod = source.pod;
        let reading = state.readers.begin(pod);
        let begun = begin(&source, cluster.cluster_id);
        match tokio::time::timeout(BEGUN_WITHIN, begun).await {
            Ok(Ok(begun)) => {
                let (member, revision) = (source.member_id, begun.revision);
                tracing::info!(%by, %pod, %member, revision, "a snapshot is taken");
                return answer_with(&published, &source, begun, (slot, reading));
            }
            Ok(Err(error)) => failures.push(format!("{pod}: {error}")),
            Err(_) => failures.push(format!("{pod}: no answer in {BEGUN_WITHIN:?}")),
        }
    }
    if failures.is_empty() {
        failures.push("no follower is in good health".to_owned());
    }
    let why = failures.join("; ");
    tracing::warn!(%by, why, "nobody can give a snapshot");
    unavailable(&format!("no member can give a snapshot now: {why}"))
}

fn busy() -> Response {
    let message = format!("{AT_ONCE} snapshots are under way; come back when one ended");
    let mut response = answer::problem(StatusCode::TOO_MANY_REQUESTS, "busy", &message);
    let headers = response.headers_mut();
    headers.insert(
        header::RETRY_AFTER,
        HeaderValue::from_static(COME_BACK_AFTER),
    );
    response
}

fn unavailable(message: &str) -> Response {
    answer::problem(StatusCode::SERVICE_UNAVAILABLE, "no_source", message)
}

/// What a snapshot under way holds.
type Held = (OwnedSemaphorePermit, Reading);

fn answer_with(
    published: &Published,
    source: &Source,
    begun: Begun,
    held: Held,
) -> Response {
    let name = file_name(&published.target.service, source.pod, begun.revision);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        (NO_BUFFERING, "no".to_owned()),
        (
            HeaderName::from_static(REVISION_HEADER),
            begun.revision.to_string(),
        ),
        (
            HeaderName::from_static(MEMBER_HEADER),
            source.member_id.to_string(),
        ),
        (HeaderName::from_static(POD_HEADER), source.pod.to_string()),
        (HeaderName::from_static(VERSION_HEADER), begun.version),
    ];
    let pieces = pieces(begun.stream, begun.first, source.pod, held);
    (headers, Body::from_stream(held_back(pieces))).into_response()
}

/// What comes from the member, for as long as it may take.
fn pieces(
    stream: SnapshotStream,
    first: Vec<u8>,
    pod: PodIndex,
    held: Held,
) -> impl Stream<Item = Result<Vec<u8>, EtcdError>> {
    let deadline = Instant::now() + ENDED_WITHIN;
    let begin = (stream, Some(first), held);
    stream::try_unfold(begin, move |(mut stream, first, held)| async move {
        if let Some(first) = first {
            return Ok(Some((first, (stream, None, held))));
        }
        let next = match tokio::time::timeout_at(deadline, stream.next()).await {
            Ok(next) => next,
            Err(_) => Err(EtcdError::BadSnapshot {
                endpoint: pod.to_string(),
                problem: format!("it was not taken within {ENDED_WITHIN:?}"),
            }),
        };
        match next {
            Ok(Some(piece)) => Ok(Some((piece, (stream, None, held)))),
            Ok(None) => {
                tracing::info!(%pod, "a snapshot is whole");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%pod, %error, "a snapshot is broken off");
                Err(error)
            }
        }
    })
}

/// The same, with the sum at the end kept back until nothing follows. A reader that
/// does not notice that an answer was broken off has a file that no tool of etcd's
/// takes.
fn held_back<E>(
    pieces: impl Stream<Item = Result<Vec<u8>, E>>,
) -> impl Stream<Item = Result<Vec<u8>, E>> {
    let begin = (Box::pin(pieces), Some(Vec::new()));
    stream::try_unfold(begin, |(mut pieces, tail)| async move {
        let Some(mut held) = tail else {
            return Ok(None);
        };
        while let Some(piece) = pieces.try_next().await? {
            held.extend_from_slice(&piece);
            if let Some(sent) = held.len().checked_sub(SUM_LENGTH).filter(|n| *n > 0) {
                let tail = held.split_off(sent);
                return Ok(Some((held, (pieces, Some(tail)))));
            }
        }
        Ok(Some((held, (pieces, None))))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    type Piece = Result<Vec<u8>, &'static str>;

    async fn sent(pieces: Vec<Piece>) -> (Vec<u8>, Option<&'static str>) {
        let mut sent = Vec::new();
        let mut body = Box::pin(held_back(stream::iter(pieces)));
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => sent.extend(piece),
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    }

    #[tokio::test]
    async fn the_sum_is_held_back_until_the_end() {
        let whole: Vec<u8> = (0..200).collect();
        for size in 1..=whole.len() {
            let pieces = || whole.chunks(size).map(|piece| Ok(piece.to_vec()));
            assert_eq!(sent(pieces().collect()).await, (whole.clone(), None));
            let cut = pieces().chain([Err("wrong sum")]).collect();
            let (sent, error) = sent(cut).await;
            assert_eq!(error, Some("wrong sum"));
            assert!(sent.len() <= whole.len() - SUM_LENGTH, "{size}");
            assert!(whole.starts_with(&sent));
        }
        assert_eq!(sent(vec![Err("at once")]).await, (vec![], Some("at once")));
    }
}
