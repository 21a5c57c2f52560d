//! Several test processes on one machine, and one that dies without cleaning up.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Child;

use crate::framework::Framework;
use crate::support::{AgentApi, LIMIT, mounts_below, run_as_other_process, start};
use etcd_local::addresses::Lease;
use etcd_local::cluster::{ClusterOptions, Disk, Host};
use etcd_local::reaper;
use etcd_local::waiting::{Look, wait_until};

/// Printed before the values that the other process reports, so that they are told
/// from what the test harness prints.
const MARK: &str = "reported:";

fn reported(child: &mut Child) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines
        .map(|line| line.unwrap())
        .find_map(|line| line.split_once(MARK).map(|(_, value)| value.to_owned()))
        .unwrap()
}

#[test]
#[ignore = "run by leases_of_two_processes_do_not_collide in a process of its own"]
fn holds_a_lease() {
    let lease = Lease::take().unwrap();
    println!("{MARK}{}", lease.ip(0));
    // Until the other process closes our standard input.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn leases_of_two_processes_do_not_collide() {
    let mut other = run_as_other_process("side_by_side::holds_a_lease");
    let theirs = reported(&mut other);
    let ours = Lease::take().unwrap();
    assert_ne!(ours.ip(0).to_string(), theirs);
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

#[tokio::test]
#[ignore = "run by nothing_outlives_a_killed_test in a process of its own"]
async fn runs_a_cluster_until_killed() {
    let host = Host::new().disk(Disk::mount("whole", 16));
    let mut cluster = start(ClusterOptions::of([host])).await;
    let agent = AgentApi(cluster.agents()[0].config().address);
    let mut framework = Framework::subscribe(cluster.master_address()).await;
    framework
        .launch("exec sleep 1000", serde_json::json!([]))
        .await;
    agent.only_container().await;
    let pids = [
        cluster.master().pid().unwrap(),
        cluster.agents()[0].pid().unwrap(),
    ];
    println!("{MARK}{}|{pids:?}", cluster.root().display());
    let _ = std::io::stdin().read(&mut [0]);
}

#[tokio::test]
async fn nothing_outlives_a_killed_test() {
    let mut other = run_as_other_process("side_by_side::runs_a_cluster_until_killed");
    let report = reported(&mut other);
    let root = PathBuf::from(report.split_once('|').unwrap().0);
    other.kill().unwrap();
    other.wait().unwrap();

    // Master and agent die by themselves; they work right below the root.
    let daemons = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let working =
            entries.filter_map(|e| std::fs::read_link(e.path().join("cwd")).ok());
        working.filter(|cwd| cwd.parent() == Some(&root)).count()
    };
    wait_until("master and agent are gone", LIMIT, || async {
        Ok(match daemons() {
            0 => Look::Reached(()),
            count => Look::NotYet(format!("{count} run")),
        })
    })
    .await
    .unwrap();

    // The container and the mount are ended by whoever gets the range next. Other tests may take and
    // keep ranges meanwhile, so take as many as are needed to come round to it.
    let mut leases = Vec::new();
    wait_until("the next holder has cleared up", LIMIT, || {
        leases.push(Lease::take().unwrap());
        let left = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| {
                std::fs::read_link(entry.path().join("cwd"))
                    .is_ok_and(|cwd| cwd.starts_with(&root))
            });
        let left = left.count() + mounts_below(&root);
        async move {
            Ok(match left {
                0 => Look::Reached(()),
                count => Look::NotYet(format!("{count} are left")),
            })
        }
    })
    .await
    .unwrap();
    assert_eq!(reaper::reap(&root).unwrap(), 0);
    std::fs::remove_dir_all(&root).unwrap();
}
