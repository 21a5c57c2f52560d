//! The ids that we compute are the ids that real servers take, and the log on
//! disk proves them.

use etcd_admin::data_dir::inspect;
use etcd_admin::{DataDir, WalIdentity, format_id, static_birth, wal_identity};

use crate::servers::TestCluster;

async fn born_as_computed(token: &str, peer_url_counts: &[usize]) {
    let mut cluster = TestCluster::prepare(token, peer_url_counts);
    let expected = static_birth(token, &cluster.founders()).unwrap();
    cluster.start_all().await;
    for (index, member_id) in expected.member_ids.iter().copied().enumerate() {
        let status = cluster.wait_until(index, "answers", |_| true).await;
        println!(
            "{} token {token:?} urls {:?}: cluster {} member {}",
            status.version,
            cluster.members[index].peer_urls,
            format_id(status.cluster_id),
            format_id(status.member_id),
        );
        assert_eq!(status.cluster_id, expected.cluster_id);
        assert_eq!(status.member_id, member_id);
        assert_eq!(
            wal_identity(&cluster.members[index].data_dir),
            Some(WalIdentity {
                cluster_id: expected.cluster_id,
                member_id
            })
        );
    }
}

#[tokio::test]
async fn three_founders_get_the_ids_that_were_computed() {
    born_as_computed("dcos-5f0c3a52", &[1, 1, 1]).await;
}

#[tokio::test]
async fn one_founder_with_an_empty_token() {
    born_as_computed("", &[1]).await;
}

#[tokio::test]
async fn a_founder_with_several_peer_urls() {
    born_as_computed("two-urls", &[2]).await;
}

#[tokio::test]
async fn a_log_of_several_files_names_one_owner() {
    let cluster = TestCluster::start("several-files", 1).await;
    let member = &cluster.members[0];
    let mut client = etcd_client::Client::connect([&member.client_url], None)
        .await
        .unwrap();
    // etcd begins a new file after 64 MiB.
    for number in 0..70 {
        client
            .put(format!("filler-{number}"), vec![b'x'; 1 << 20], None)
            .await
            .unwrap();
    }
    let found = inspect(&member.data_dir).unwrap();
    let DataDir::Wal {
        identity,
        wal_files,
        has_database,
    } = found
    else {
        panic!("expected a log, found {found:?}");
    };
    let status = cluster.wait_until(0, "answers", |_| true).await;
    assert_eq!(identity.cluster_id, status.cluster_id);
    assert_eq!(identity.member_id, status.member_id);
    assert!(wal_files >= 2, "only {wal_files} log file");
    assert!(has_database);
}
