//! The way back by a minor version, as far as an etcd has it that can be tried here: up to
//! 3.5, which knows the call and does not get it done.

use std::time::{Duration, Instant};

use etcd_admin::EtcdError;

use crate::servers::{START_LIMIT, TestCluster, etcd_version};

/// The minor version so many before this etcd's.
fn minor_before(minors: u16) -> String {
    let version = etcd_version();
    format!("{}.{}", version.major, version.minor - minors)
}

#[tokio::test]
async fn etcd_says_what_it_cannot_do() {
    let cluster = TestCluster::start("downgrade", 1).await;
    let client = cluster.members[0].client().await;
    if !etcd_version().has_downgrade_call() {
        let unknown = client.enable_downgrade(&minor_before(1)).await.unwrap_err();
        assert!(
            matches!(unknown, EtcdError::NotSupported { .. }),
            "{unknown:?}"
        );
        return;
    }
    // No version of the cluster is known in the first moments after its start.
    let deadline = Instant::now() + START_LIMIT;
    let too_far = loop {
        let refused = client.enable_downgrade(&minor_before(2)).await.unwrap_err();
        if !refused.to_string().contains("cluster version not found") {
            break refused;
        }
        assert!(Instant::now() < deadline, "no cluster version: {refused}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(
        too_far
            .to_string()
            .contains("invalid downgrade target version"),
        "{too_far}"
    );
    // Nothing to cancel is no error.
    client.cancel_downgrade().await.unwrap();
    let status = client.status().await.unwrap();
    if etcd_version().has_downgrade() {
        assert!(status.storage_version.is_some(), "{status:?}");
    } else {
        // It agrees to go back by one, does not get it done, and tells nothing of it.
        let unknown = client.enable_downgrade(&minor_before(1)).await.unwrap_err();
        assert!(unknown.may_have_happened(), "{unknown:?}");
        let after = client.status().await.unwrap();
        assert_eq!((after.storage_version, after.downgrade_to), (None, None));
        assert_eq!(after.version, status.version);
    }
}
