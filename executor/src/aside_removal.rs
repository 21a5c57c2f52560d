//! When data that was set aside goes: once this member votes.
//!
//! It may have been the newest copy of something until then, and an operator may
//! want it back. A member that votes has all that its cluster has committed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_admin::member::{MemberClient, MemberStatus};

use crate::volume;

/// Between two questions whether the member votes. Nobody waits for the answer,
/// and a learner may remain one for long.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Deletes what was set aside on this volume as soon as the member votes. Ends
/// when nothing is left to do, which may be at once.
///
/// Only for an etcd that has answered under its own identity. What cannot be
/// deleted is left for the next start; it takes room, and that is all it does.
pub async fn once_it_votes(data: &Path, client: &MemberClient) {
    let aside = match volume::directories_set_aside(data) {
        Ok(aside) if aside.is_empty() => return,
        Ok(aside) => aside,
        Err(error) => {
            tracing::warn!(%error, "the volume cannot be searched for data set aside");
            return;
        }
    };
    let directories = aside.len();
    tracing::info!(
        directories,
        "data set aside is kept until this member votes"
    );
    // Each question is bounded by the client.
    while !client.status().await.as_ref().is_ok_and(votes) {
        tokio::time::sleep(ASK_AGAIN).await;
    }
    // Large files take their time: not here, where a wish to stop would wait.
    let deleted = tokio::task::spawn_blocking(move || delete(&aside)).await;
    if let Err(error) = deleted {
        tracing::warn!(%error, "data set aside could not be deleted");
    }
}

/// A member knows itself as a voter only by what its cluster has committed. With a
/// leader it is part of that cluster now.
fn votes(status: &MemberStatus) -> bool {
    !status.is_learner && status.leader.is_some()
}

fn delete(aside: &[PathBuf]) {
    for directory in aside {
        let shown = directory.display();
        match volume::delete_set_aside(directory) {
            Ok(()) => tracing::info!(%shown, "data set aside is deleted"),
            Err(error) => {
                tracing::warn!(%error, %shown, "data set aside could not be deleted");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_votes() {
        #[track_caller]
        fn check(is_learner: bool, leader: Option<u64>, expected: bool) {
            let status = MemberStatus {
                cluster_id: 1,
                member_id: 2,
                version: "3.5.30".into(),
                storage_version: None,
                downgrade_to: None,
                db_size: 0,
                db_size_in_use: 0,
                leader,
                raft_term: 2,
                raft_index: 9,
                raft_applied_index: 9,
                revision: 1,
                is_learner,
                errors: vec![],
            };
            assert_eq!(votes(&status), expected, "{is_learner} {leader:?}");
        }
        check(false, Some(2), true);
        check(false, Some(3), true);
        check(false, None, false);
        check(true, Some(3), false);
        check(true, None, false);
    }

    #[test]
    fn one_failure_does_not_keep_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().join("aside-1-2-1");
        std::fs::create_dir(&there).unwrap();
        delete(&[directory.path().join("aside-1-1-1"), there.clone()]);
        assert!(!there.exists());
    }
}
