//! What the client says when members are gone, stopped or silent.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use etcd_admin::{CallLimits, EtcdError, MemberClient};
use rustix::process::Signal;

use crate::servers::{TestCluster, free_port, own_address};

#[tokio::test]
async fn without_quorum_a_member_still_tells_what_it_knows() {
    let mut cluster = TestCluster::start("no-quorum", 3).await;
    cluster.members[1].kill().await;
    cluster.members[2].kill().await;
    let status = cluster
        .wait_until(0, "has no leader", |status| status.leader.is_none())
        .await;
    assert!(!status.is_leader());

    let client = cluster.members[0].client().await;
    let known = client.members_as_this_one_knows().await.unwrap();
    assert_eq!(known.len(), 3);
    let (read, members, alarms) = tokio::join!(
        client.linearizable_read(),
        client.members(),
        client.alarms()
    );
    let refusals = [
        read.map(drop).unwrap_err(),
        members.map(drop).unwrap_err(),
        alarms.map(drop).unwrap_err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(
                refusal,
                EtcdError::NoQuorum { .. } | EtcdError::TimedOut { .. }
            ),
            "{refusal}"
        );
        assert!(refusal.may_have_happened());
    }
}

#[tokio::test]
async fn nothing_is_added_to_three_voters_with_one_down() {
    let mut cluster = TestCluster::start("one-down", 3).await;
    let (leader, follower) = cluster.leader_and_follower().await;
    cluster.members[follower].kill().await;
    let client = cluster.members[leader].client().await;
    let address = own_address();
    let peer_url = format!("http://{address}:{}", free_port(&address));
    let refusal = client.add_learner(&peer_url).await.unwrap_err();
    assert!(
        matches!(refusal, EtcdError::UnhealthyCluster { .. }),
        "{refusal}"
    );
    assert!(!refusal.may_have_happened());
    assert_eq!(client.members().await.unwrap().len(), 3);
}

const SHORT: CallLimits = CallLimits {
    connect: Duration::from_millis(500),
    local: Duration::from_millis(800),
    quorum: Duration::from_millis(1200),
    hash: Duration::from_millis(1200),
};

/// What a call may take beyond its limit on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

async fn check_bounded(endpoint: &str, is_expected: fn(&EtcdError) -> bool) {
    let client = MemberClient::connect_with(endpoint, None, SHORT)
        .await
        .unwrap();
    let begun = Instant::now();
    let error = client.status().await.unwrap_err();
    assert!(is_expected(&error), "{error:?}");
    assert!(
        begun.elapsed() < SHORT.local + SLACK,
        "took {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_closed_port_is_unreachable_at_once() {
    let address = own_address();
    let endpoint = format!("http://{address}:{}", free_port(&address));
    check_bounded(&endpoint, |error| match error {
        EtcdError::Unreachable { detail, .. } => detail.contains("refused"),
        _ => false,
    })
    .await;
}

#[tokio::test]
async fn a_port_that_never_answers_times_out() {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    check_bounded(&endpoint, |error| {
        matches!(error, EtcdError::TimedOut { .. })
    })
    .await;
}

#[tokio::test]
async fn a_stopped_process_times_out_and_recovers() {
    let cluster = TestCluster::start("stopped", 1).await;
    let endpoint = cluster.members[0].client_url.clone();
    let client = MemberClient::connect_with(&endpoint, None, SHORT)
        .await
        .unwrap();
    client.status().await.unwrap();
    cluster.members[0].signal(Signal::STOP);
    let error = client.status().await.unwrap_err();
    assert!(
        matches!(error, EtcdError::TimedOut { call: "status", .. }),
        "{error}"
    );
    let error = client.linearizable_read().await.unwrap_err();
    assert!(matches!(error, EtcdError::TimedOut { .. }), "{error}");
    cluster.members[0].signal(Signal::CONT);
    cluster.wait_until(0, "answers again", |_| true).await;
    client.status().await.unwrap();
}

#[tokio::test]
async fn something_that_is_not_etcd_is_no_member() {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::Write;
        for connection in listener.incoming().take(4) {
            let _ = connection.unwrap().write_all(b"220 mail ready\r\n");
        }
    });
    check_bounded(&endpoint, |error| {
        matches!(
            error,
            EtcdError::Unreachable { .. } | EtcdError::TimedOut { .. }
        )
    })
    .await;
}
