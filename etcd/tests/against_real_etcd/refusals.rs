//! What the client says when etcd wants credentials, or we asked for nonsense.

use etcd_admin::{EtcdError, MemberClient, TlsFiles};
use etcd_client::Client;

use crate::servers::TestCluster;

#[tokio::test]
async fn with_authentication_on_strangers_are_told_so() {
    let cluster = TestCluster::start("auth", 1).await;
    let endpoint = &cluster.members[0].client_url;
    let mut root = Client::connect([endpoint], None).await.unwrap();
    root.user_add("root", "secret", None).await.unwrap();
    root.role_add("root").await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.auth_enable().await.unwrap();

    let stranger = cluster.members[0].client().await;
    let refusals = [
        stranger.linearizable_read().await.map(drop).unwrap_err(),
        stranger.members().await.map(drop).unwrap_err(),
        stranger
            .add_learner("http://127.0.0.1:1")
            .await
            .map(drop)
            .unwrap_err(),
        stranger.remove(1).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, EtcdError::Permission { .. }),
            "{refusal:?}"
        );
        assert!(!refusal.may_have_happened());
    }
}

#[tokio::test]
async fn a_revision_that_is_not_there_is_no_other_error() {
    let cluster = TestCluster::start("future", 1).await;
    let client = cluster.members[0].client().await;
    let error = client.hash_kv(1_000_000).await.unwrap_err();
    assert!(matches!(error, EtcdError::FutureRevision), "{error}");
}

#[tokio::test]
async fn urls_and_tls_files_must_fit() {
    #[track_caller]
    fn check(made: Result<MemberClient, EtcdError>, expected: &str) {
        let error = made.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let files = TlsFiles {
        ca: "/nowhere/ca.pem".into(),
        identity: None,
    };
    check(
        MemberClient::connect("127.0.0.1:2379", None).await,
        "expected http://",
    );
    check(
        MemberClient::connect("https://127.0.0.1:2379", None).await,
        "with tls files",
    );
    check(
        MemberClient::connect("http://127.0.0.1:1", Some(&files)).await,
        "without",
    );
    check(
        MemberClient::connect("http://no host", None).await,
        "cannot make a client",
    );
    check(
        MemberClient::connect("https://127.0.0.1:2379", Some(&files)).await,
        "/nowhere/ca.pem",
    );
}
