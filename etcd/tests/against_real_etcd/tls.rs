//! TLS, with the certificate that etcd makes for itself (`--auto-tls`).

use std::fs;
use std::path::{Path, PathBuf};

use etcd_admin::{EtcdError, MemberClient, TlsFiles};

use crate::servers::{TestCluster, retry_while};

/// Where `--auto-tls` leaves its certificate, which is its own authority.
fn own_certificate(data_dir: &Path) -> PathBuf {
    data_dir.join("fixtures").join("client").join("cert.pem")
}

async fn tls_cluster(token: &str) -> TestCluster {
    let mut cluster = TestCluster::prepare(token, &[1]);
    let member = &mut cluster.members[0];
    member.client_url = member.client_url.replace("http://", "https://");
    member.extra_flags.push("--auto-tls".to_owned());
    let initial_cluster = cluster.initial_cluster();
    cluster.members[0].start(token, &initial_cluster, "new");
    cluster
}

async fn until_certificate_exists(cluster: &TestCluster) -> PathBuf {
    let path = own_certificate(&cluster.members[0].data_dir);
    let written = async || match fs::read_to_string(&path) {
        Ok(text) if text.contains("END CERTIFICATE") => Ok(()),
        _ => Err(EtcdError::LearnerNotReady),
    };
    retry_while(written, |_| true).await.unwrap_or_else(|_| {
        panic!("no certificate; log:\n{}", cluster.members[0].log_tail())
    });
    path
}

#[tokio::test]
async fn a_member_with_a_known_certificate_answers() {
    let cluster = tls_cluster("tls").await;
    let files = TlsFiles {
        ca: until_certificate_exists(&cluster).await,
        identity: None,
    };
    let endpoint = &cluster.members[0].client_url;
    let client = MemberClient::connect(endpoint, Some(&files)).await.unwrap();
    let status = retry_while(|| client.status(), |_| true).await.unwrap();
    assert!(status.member_id != 0);
}

#[tokio::test]
async fn a_member_with_an_unknown_certificate_is_not_spoken_to() {
    let cluster = tls_cluster("tls-stranger").await;
    let other = tls_cluster("tls-other").await;
    until_certificate_exists(&cluster).await;
    let files = TlsFiles {
        ca: until_certificate_exists(&other).await,
        identity: None,
    };
    let endpoint = &cluster.members[0].client_url;
    let client = MemberClient::connect(endpoint, Some(&files)).await.unwrap();
    let not_up = |error: &EtcdError| error.to_string().contains("refused");
    let error = retry_while(|| client.status(), not_up).await.unwrap_err();
    let EtcdError::Unreachable { detail, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(detail.contains("certificate"), "{detail}");
}
