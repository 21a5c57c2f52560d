//! Compaction, defragmentation, alarms and snapshots, on real databases.

use std::time::{Duration, Instant};

use etcd_admin::member::{Alarm, AlarmKind};
use etcd_admin::{EtcdError, MemberClient, SnapshotSum};
use rustix::process::Signal;

use crate::servers::{START_LIMIT, TestCluster, TestMember, retry_while};

/// Large enough that a hundred of them show in the size of a database, bytes.
const VALUE: usize = 100 * 1024;

/// What defragmenting a small database may take on a busy disk.
const LIMIT: Duration = Duration::from_secs(60);

async fn plain_client(member: &TestMember) -> etcd_client::Client {
    etcd_client::Client::connect([&member.client_url], None)
        .await
        .unwrap()
}

/// Writes one key that often; gives the last revision.
async fn overwrite(member: &TestMember, times: usize) -> i64 {
    let mut kv = plain_client(member).await.kv_client();
    let mut revision = 0;
    for number in 0..times {
        let value = vec![u8::try_from(number % 251).unwrap(); VALUE];
        let put = kv.put("key", value, None).await.unwrap();
        revision = put.header().unwrap().revision();
    }
    revision
}

#[tokio::test]
async fn compaction_and_defragmentation_give_room_back() {
    let cluster = TestCluster::start("defragment", 1).await;
    let client = cluster.members[0].client().await;
    let revision = overwrite(&cluster.members[0], 100).await;
    client.compact(revision).await.unwrap();
    let again = client.compact(revision).await.unwrap_err();
    assert!(matches!(again, EtcdError::Compacted), "{again}");
    let future = client.compact(revision + 1000).await.unwrap_err();
    assert!(matches!(future, EtcdError::FutureRevision), "{future}");

    // The room is freed some time after the answer, when something else is written.
    let mut revision = revision;
    let deadline = Instant::now() + START_LIMIT;
    let freed = loop {
        revision = overwrite(&cluster.members[0], 1).await.max(revision);
        let status = client.status().await.unwrap();
        if status.db_size_in_use < status.db_size / 2 {
            break status;
        }
        assert!(Instant::now() < deadline, "nothing is freed: {status:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    client.defragment(LIMIT).await.unwrap();
    let after = client.status().await.unwrap();
    assert!(after.db_size < freed.db_size, "{freed:?} {after:?}");
    assert!(after.db_size < 100 * VALUE as u64 / 2, "{after:?}");
    assert_eq!(client.linearizable_read().await.unwrap(), revision);
}

/// A member that is stopped for longer than the five seconds after which others
/// give up.
#[tokio::test]
async fn a_long_defragmentation_is_waited_for() {
    let cluster = TestCluster::start("patience", 1).await;
    let member = &cluster.members[0];
    let client = member.client().await;
    client.status().await.unwrap();
    member.signal(Signal::STOP);
    let started = Instant::now();
    let silence = Duration::from_secs(6);
    let (answer, ()) = tokio::join!(client.defragment(LIMIT), async {
        tokio::time::sleep(silence).await;
        member.signal(Signal::CONT);
    });
    answer.unwrap();
    assert!(started.elapsed() >= silence);

    member.signal(Signal::STOP);
    let limit = Duration::from_millis(300);
    let silence = client.defragment(limit).await.unwrap_err();
    member.signal(Signal::CONT);
    assert!(matches!(silence, EtcdError::TimedOut { .. }), "{silence}");
    assert!(silence.may_have_happened());
}

async fn alarms_of(client: &MemberClient) -> Vec<(u64, AlarmKind)> {
    let alarms = client.alarms().await.unwrap();
    let alarms = alarms.iter().map(|alarm| (alarm.member_id, alarm.kind));
    alarms.collect()
}

#[tokio::test]
async fn an_alarm_is_taken_back_by_member_and_kind() {
    let mut cluster = TestCluster::prepare("alarm", &[1]);
    // The smallest that still takes a value of ours.
    cluster.members[0].extra_flags = vec!["--quota-backend-bytes=2000000".to_owned()];
    cluster.start_all().await;
    let client = cluster.members[0].client().await;
    let id = client.status().await.unwrap().member_id;
    let mut kv = plain_client(&cluster.members[0]).await.kv_client();
    // etcd takes note of the size from time to time only.
    let deadline = Instant::now() + START_LIMIT;
    let refused = loop {
        if let Err(error) = kv.put("key", vec![0; VALUE], None).await {
            break error.to_string();
        }
        assert!(Instant::now() < deadline, "the quota is not reached");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(refused.contains("database space exceeded"), "{refused}");
    let raised = async || match alarms_of(&client).await {
        alarms if alarms.is_empty() => Err(EtcdError::LearnerNotReady),
        alarms => Ok(alarms),
    };
    let alarms = retry_while(raised, |_| true).await.unwrap();
    assert_eq!(alarms, [(id, AlarmKind::NoSpace)]);

    // Not this alarm, and not this member: it stays.
    for (member_id, kind) in [(id, AlarmKind::Corrupt), (id + 1, AlarmKind::NoSpace)] {
        client.disarm(Alarm { member_id, kind }).await.unwrap();
        assert_eq!(alarms_of(&client).await, [(id, AlarmKind::NoSpace)]);
    }
    let alarm = Alarm {
        member_id: id,
        kind: AlarmKind::NoSpace,
    };
    // Nothing can be written that would make etcd clear up; being asked to wait for it
    // does.
    let before = client.status().await.unwrap();
    let newest = client.linearizable_read().await.unwrap();
    client.compact_and_clear(newest, LIMIT).await.unwrap();
    let cleared = client.status().await.unwrap();
    assert!(
        cleared.db_size_in_use < before.db_size_in_use / 2,
        "{cleared:?}"
    );
    // It may even grow: what is cleared up is written to pages that are free before.
    assert!(cleared.db_size >= before.db_size, "nothing is given back");
    client.defragment(LIMIT).await.unwrap();
    let after = client.status().await.unwrap();
    assert!(after.db_size < before.db_size / 2, "{before:?} {after:?}");
    client.disarm(alarm).await.unwrap();
    assert_eq!(alarms_of(&client).await, []);
    kv.put("key", vec![0; VALUE], None).await.unwrap();
    assert_eq!(alarms_of(&client).await, []);
}

#[tokio::test]
async fn a_snapshot_is_whole_and_holds_what_was_written_before() {
    let cluster = TestCluster::start("snapshot", 3).await;
    let (leader, follower) = cluster.leader_and_follower().await;
    overwrite(&cluster.members[leader], 100).await;
    let client = cluster.members[follower].client().await;
    client.linearizable_read().await.unwrap();
    let mut stream = client.snapshot().await.unwrap();
    // What is written from now on is none of its business.
    overwrite(&cluster.members[leader], 100).await;
    let mut file = Vec::new();
    let mut sum = SnapshotSum::default();
    while let Some(piece) = stream.next().await.unwrap() {
        sum.feed(&piece);
        file.extend(piece);
    }
    assert!(stream.next().await.unwrap().is_none());
    assert_eq!(sum.length(), file.len() as u64);
    sum.finish().unwrap();
    assert!(file.len() > 100 * VALUE, "{}", file.len());
    let value_of_last = [99; VALUE];
    assert!(
        file.windows(VALUE).any(|part| part == value_of_last),
        "the last value that was acknowledged before"
    );
}

/// A member that dies sends no sum.
#[tokio::test]
async fn a_snapshot_that_is_cut_off_is_none() {
    let mut cluster = TestCluster::start("cut", 1).await;
    overwrite(&cluster.members[0], 100).await;
    let client = cluster.members[0].client().await;
    let mut stream = client.snapshot().await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    cluster.members[0].kill().await;
    let cut = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it looks whole"),
            Err(error) => break error,
        }
    };
    let is_cut = matches!(
        cut,
        EtcdError::Unreachable { .. } | EtcdError::BadSnapshot { .. }
    );
    assert!(is_cut, "{cut:?}");
}
