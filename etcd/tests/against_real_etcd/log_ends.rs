//! Where a log ends: we read the same as the etcd that goes on from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcd_admin::{LogEnd, log_end};

use crate::servers::{TestCluster, retry_while};

/// Last term and last index of the newest log that a member's etcd has gone on
/// from: raft says so at its start.
fn as_etcd_reads(log: &str) -> (u64, u64) {
    let line = log
        .lines()
        .rfind(|line| line.contains("newRaft "))
        .expect("raft tells how it starts");
    let number = |name: &str| {
        let (_, rest) = line.split_once(name).unwrap();
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse::<u64>().unwrap()
    };
    (number("lastterm: "), number("lastindex: "))
}

async fn put(cluster: &TestCluster, member: usize, keys: usize, bytes: usize) {
    let url = &cluster.members[member].client_url;
    let client = etcd_client::Client::connect([url], None).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..32 {
        let mut client = client.clone();
        tasks.spawn(async move {
            for number in (lane..keys).step_by(32) {
                let value = vec![b'x'; bytes];
                client
                    .put(format!("key-{number}"), value, None)
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Kills a member, reads its log, starts it again, and compares.
async fn check_against_restart(cluster: &mut TestCluster, index: usize) -> LogEnd {
    let client = cluster.members[index].client().await;
    let before = client.status().await.unwrap();
    // What a status says counts with a linearizable read behind it.
    retry_while(|| client.linearizable_read(), |_| true)
        .await
        .unwrap();
    cluster.members[index].kill().await;
    let end = log_end(&cluster.members[index].data_dir).unwrap();
    let token = cluster.token.clone();
    let initial_cluster = cluster.initial_cluster();
    cluster.members[index].start(&token, &initial_cluster, "existing");
    cluster
        .wait_until(index, "has a leader", |status| status.leader.is_some())
        .await;
    let (term, last) = as_etcd_reads(&cluster.members[index].log());
    println!("{}: {end:?}, status before {before:?}", before.version);
    assert_eq!((end.term, end.index), (term, last));
    assert_eq!(end.damage, None);
    assert!(before.raft_index <= end.index, "{before:?} {end:?}");
    assert!(before.raft_term <= end.term, "{before:?} {end:?}");
    assert!(end.commit <= end.index, "{end:?}");
    end
}

#[tokio::test]
async fn of_every_member_of_three_with_changes_of_leaders() {
    let mut cluster = TestCluster::start("log-ends-1", 3).await;
    for round in 0..2 {
        for index in 0..3 {
            put(&cluster, (index + 1) % 3, 40, 100 + round).await;
            check_against_restart(&mut cluster, index).await;
        }
    }
}

/// Killed amid its work, a member's log has all that a status said which a
/// linearizable read came after. (What a status says by itself it may not have yet:
/// etcd announces an index first and writes then.)
#[tokio::test]
async fn of_followers_that_are_killed_while_they_write() {
    let mut cluster = TestCluster::start("log-ends-5", 3).await;
    let mut said_too_early = 0;
    for round in 0..10 {
        let (leader, follower) = cluster.leader_and_follower().await;
        let url = cluster.members[leader].client_url.clone();
        let writers = writing(&url).await;
        let client = cluster.members[follower].client().await;
        let (mut proven, mut said) = (0, 0);
        let until = Instant::now() + Duration::from_millis(300 + 37 * round);
        while Instant::now() < until {
            let status = client.status().await.unwrap();
            client.linearizable_read().await.unwrap();
            proven = status.raft_index;
            said = client.status().await.unwrap().raft_index;
        }
        cluster.members[follower].kill().await;
        drop(writers);
        let end = log_end(&cluster.members[follower].data_dir).unwrap();
        println!("proven {proven}, said {said}, {end:?}");
        assert!(proven > 0 && proven <= end.index, "{proven} {end:?}");
        said_too_early += usize::from(said > end.index);
        let (token, initial_cluster) = (cluster.token.clone(), cluster.initial_cluster());
        cluster.members[follower].start(&token, &initial_cluster, "existing");
        cluster
            .wait_until(follower, "has caught up", |status| {
                status.raft_index >= proven
            })
            .await;
    }
    println!("a status alone was ahead of the log {said_too_early} times");
}

/// Clients that write until they are dropped.
async fn writing(url: &str) -> tokio::task::JoinSet<()> {
    let client = etcd_client::Client::connect([url], None).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..16 {
        let mut client = client.clone();
        tasks.spawn(async move {
            // The leader may change while its follower is killed.
            while client.put(format!("lane-{lane}"), "x", None).await.is_ok() {}
        });
    }
    tasks
}

/// Files are begun after 64 MiB; the newest may hold no entry yet.
#[tokio::test]
async fn of_several_files() {
    let mut cluster = TestCluster::start("log-ends-2", 1).await;
    put(&cluster, 0, 70, 1 << 20).await;
    let end = check_against_restart(&mut cluster, 0).await;
    assert!(wal_files(&cluster.members[0].data_dir).len() >= 2);
    // As if etcd had been killed when it had just begun the newest one.
    cluster.members[0].kill().await;
    let files = wal_files(&cluster.members[0].data_dir);
    let newest = files.last().unwrap();
    let head = used_length(newest, 3);
    let bytes = fs::read(newest).unwrap();
    fs::write(newest, &bytes[..head]).unwrap();
    let cut = log_end(&cluster.members[0].data_dir).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    let first = u64::from_str_radix(&name[17..33], 16).unwrap();
    assert_eq!(cut.index, first - 1, "{name}");
    assert!(cut.index < end.index, "{cut:?} {end:?}");
}

/// A follower that was away for long gets a snapshot instead of entries.
#[tokio::test]
async fn of_a_member_that_received_a_snapshot() {
    let mut cluster = TestCluster::prepare("log-ends-3", &[1, 1, 1]);
    for member in &mut cluster.members {
        member.extra_flags.push("--snapshot-count=50".to_owned());
    }
    cluster.start_all().await;
    let (leader, follower) = cluster.leader_and_follower().await;
    cluster.members[follower].kill().await;
    let behind = log_end(&cluster.members[follower].data_dir).unwrap();
    // The leader keeps 5000 entries for slow followers.
    put(&cluster, leader, 6000, 10).await;
    let leader_at = cluster
        .wait_until(leader, "answers", |_| true)
        .await
        .raft_index;
    let (token, initial_cluster) = (cluster.token.clone(), cluster.initial_cluster());
    cluster.members[follower].start(&token, &initial_cluster, "existing");
    cluster
        .wait_until(follower, "has caught up", |status| {
            status.raft_index >= leader_at
        })
        .await;
    let log = cluster.members[follower].log();
    assert!(
        log.contains("applied incoming Raft snapshot")
            || log.contains("snapshot at index")
    );
    let end = check_against_restart(&mut cluster, follower).await;
    assert!(end.index > behind.index + 5000, "{behind:?} {end:?}");
}

/// Cut off at any byte, a real log never panics us and never seems longer; and
/// etcd goes on from a torn one where we say that it ends.
#[tokio::test]
async fn of_a_real_log_that_is_cut_off() {
    let mut cluster = TestCluster::start("log-ends-4", 1).await;
    put(&cluster, 0, 12, 300).await;
    let member = &mut cluster.members[0];
    member.kill().await;
    let whole = log_end(&member.data_dir).unwrap();
    let file = wal_files(&member.data_dir).remove(0);
    let bytes = fs::read(&file).unwrap();
    let used = used_length(&file, usize::MAX);
    let mut last = LogEnd::default();
    let mut torn_at = 0;
    for cut in 0..=used {
        fs::write(&file, &bytes[..cut]).unwrap();
        let end = log_end(&member.data_dir).unwrap();
        assert_eq!(end.damage, None, "cut at {cut}");
        assert!(
            end.index >= last.index && end.term >= last.term,
            "cut at {cut}"
        );
        if end.index + 3 == whole.index && end.index == last.index {
            torn_at = cut;
        }
        last = end;
    }
    assert_eq!(last, whole);
    fs::write(&file, &bytes[..torn_at]).unwrap();
    let torn = log_end(&member.data_dir).unwrap();
    // Its database has applied more by now, and would go on from there.
    fs::remove_file(member.data_dir.join("member/snap/db")).unwrap();
    let (token, initial_cluster) = (cluster.token.clone(), cluster.initial_cluster());
    cluster.members[0].start(&token, &initial_cluster, "existing");
    cluster
        .wait_until(0, "has a leader", |status| status.leader.is_some())
        .await;
    let (term, index) = as_etcd_reads(&cluster.members[0].log());
    assert_eq!((torn.term, torn.index), (term, index), "cut at {torn_at}");
}

fn wal_files(data_dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(data_dir.join("member/wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "wal"))
        .collect();
    files.sort();
    files
}

/// How many bytes the first records of a file take, at most so many of them.
fn used_length(file: &Path, records: usize) -> usize {
    let bytes = fs::read(file).unwrap();
    let mut offset = 0;
    for _ in 0..records {
        let Some(field) = bytes.get(offset..offset + 8) else {
            break;
        };
        let field = u64::from_le_bytes(field.try_into().unwrap());
        if field == 0 {
            break;
        }
        let padding = if field >> 63 == 1 { field >> 56 & 7 } else { 0 };
        offset += 8 + (field & 0x00ff_ffff_ffff_ffff) as usize + padding as usize;
    }
    offset
}
