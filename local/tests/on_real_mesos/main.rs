//! Masters and agents of real Mesos, booted, killed and brought back.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code; clippy exempts only functions marked as tests"
)]

mod framework;
mod hosts;
mod side_by_side;
mod support;
mod volumes;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use etcd_local::Signal;
use etcd_local::daemon::Lifetime;
use etcd_local::mesos::{Launcher, Master, MasterConfig, Timing};
use etcd_local::processes::ProcessIdentity;
use etcd_local::programs;
use etcd_local::waiting::{Look, wait_until};
use framework::Framework;
use serde_json::json;
use support::{AgentApi, LIMIT, by_hostname, cluster, helper, serve_forever};

#[tokio::test]
async fn an_agent_keeps_its_id_over_kill_and_over_a_reboot_of_its_host() {
    let mut cluster = cluster(2).await;
    let registered = cluster.master().agents().await.unwrap();
    let host = cluster.agents()[0].config().hostname.clone();
    let id = by_hostname(&registered, &host).id.clone();
    let other = registered
        .iter()
        .find(|agent| agent.hostname != host)
        .unwrap()
        .clone();

    for reboot in [false, true] {
        let agent = &mut cluster.agents()[0];
        if reboot {
            agent.host_reboot().unwrap();
        } else {
            agent.kill(Signal::KILL).unwrap();
        }
        assert!(!agent.is_running());
        let noticed = |agents: &[_]| !by_hostname(agents, &host).active;
        let master = cluster.master();
        let seen = master
            .wait_for_agents("the agent is missed", LIMIT, noticed)
            .await;
        assert!(by_hostname(&seen.unwrap(), &other.hostname).active);

        cluster.agents()[0].start_again().unwrap();
        let back = cluster
            .master()
            .wait_until_registered(2, LIMIT)
            .await
            .unwrap();
        assert_eq!(by_hostname(&back, &host).id, id, "after reboot: {reboot}");
    }
    let log = fs::read_to_string(cluster.agents()[0].log_path()).unwrap();
    assert!(
        log.contains("Agent host rebooted"),
        "the agent saw no reboot:\n{log}"
    );
}

#[tokio::test]
async fn a_master_that_was_killed_knows_its_agents_again() {
    let mut cluster = cluster(1).await;
    let before = cluster.master().agents().await.unwrap();
    cluster.master().kill(Signal::KILL).unwrap();
    cluster.master().start_again().unwrap();
    cluster.master().wait_until_leading(LIMIT).await.unwrap();
    let after = cluster
        .master()
        .wait_until_registered(1, LIMIT)
        .await
        .unwrap();
    assert_eq!(before[0].id, after[0].id);
}

#[tokio::test]
async fn a_master_that_cannot_start_says_why() {
    let mut cluster = cluster(0).await;
    cluster.master().stop().await.unwrap();
    let launcher = launcher(Lifetime::WithParent);
    let directory = cluster.root().join("other-master");
    let mut config =
        MasterConfig::new(cluster.master_address(), directory, Timing::Quick);
    config.extra_flags.push("--no-such-flag".to_owned());
    let mut master = Master::start(config, &launcher).unwrap();
    let error = master
        .wait_until_leading(LIMIT)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("mesos-master ended"), "{error}");
    assert!(error.contains("no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_detached_master_is_found_again_by_its_pid_file() {
    let cluster = cluster(0).await;
    let launcher = launcher(Lifetime::Detached);
    let address = cluster.lease().address(9, 5050);
    let directory = cluster.root().join("detached");
    let config = || MasterConfig::new(address, directory.clone(), Timing::Calm);

    let mut first = Master::start(config(), &launcher).unwrap();
    first.wait_until_leading(LIMIT).await.unwrap();
    let pid = first.pid().unwrap();
    drop(first);
    let mut second = Master::start(config(), &launcher).unwrap();
    assert_eq!(second.pid(), Some(pid), "not started a second time");
    second.stop().await.unwrap();
    assert!(Master::adopt(config(), &launcher).unwrap().pid().is_none());
}

#[tokio::test]
async fn containers_fetch_over_http_open_sessions_and_are_reaped() {
    let mut cluster = cluster(1).await;
    let agent = AgentApi(cluster.agents()[0].config().address);
    let server = serve_forever(b"#!/bin/sh\necho fetched > proof\nexec sleep 1000\n");
    let uri = json!([{"value": format!("http://{server}/tool"), "executable": true,
        "output_file": "bin/tool"}]);
    let mut framework = Framework::subscribe(cluster.master_address()).await;
    framework.launch("exec ./bin/tool", uri).await;
    let container = agent.only_container().await;

    // What `dcos task exec` stands on: without and with a terminal.
    let proof = "until [ -e proof ]; do sleep 0.05; done; cat proof; echo oops >&2; tty";
    let (stdout, stderr) = agent.exec(&container, proof, false).await;
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("fetched\nnot a tty\n", "oops\n")
    );
    let (stdout, _) = agent.exec(&container, proof, true).await;
    assert!(
        stdout.starts_with("fetched\r\noops\r\n/dev/pts/"),
        "{stdout}"
    );

    // The container outlives its agent, and is found by where it works.
    cluster.agents()[0].kill(Signal::KILL).unwrap();
    let sleeping = || sleeping_below(cluster.root());
    assert_eq!(sleeping().len(), 1);
    assert!(cluster.agents()[0].reap().unwrap() >= 1);
    assert_eq!(sleeping_below(cluster.root()), Vec::<i32>::new());
}

#[tokio::test]
async fn a_process_elsewhere_is_not_reaped() {
    let directory = tempfile::tempdir().unwrap();
    let (inside, outside) = (directory.path().join("a/b"), directory.path().join("ab"));
    let mut children = Vec::new();
    for place in [&inside, &outside] {
        fs::create_dir_all(place).unwrap();
        // In a session of its own, as executors are: the reaper spares terminals.
        let mut command = Command::new(helper().path());
        let command = command
            .args(["guard", "--", "sleep", "1000"])
            .current_dir(place);
        children.push(command.stdin(Stdio::null()).spawn().unwrap());
    }
    let identities: Vec<_> = children
        .iter()
        .map(|child| {
            ProcessIdentity::of(rustix::process::Pid::from_child(child)).unwrap()
        })
        .collect();
    wait_until("both are in a session of their own", LIMIT, || async {
        let done = identities
            .iter()
            .all(|p| p.executable().is_some_and(|e| !e.ends_with("etcd-local")));
        Ok(if done {
            Look::Reached(())
        } else {
            Look::NotYet("not yet".to_owned())
        })
    })
    .await
    .unwrap();

    assert_eq!(
        etcd_local::reaper::reap(&directory.path().join("a")).unwrap(),
        1
    );
    assert!(!identities[0].is_running());
    assert!(identities[1].is_running());
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn launcher(lifetime: Lifetime) -> Launcher {
    let cache = programs::cache_directory().unwrap();
    let programs = programs::ensure(&cache, &|_| ()).unwrap();
    Launcher {
        programs,
        helper: helper(),
        lifetime,
    }
}

/// The `sleep 1000` processes that work below a directory.
fn sleeping_below(root: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| cwd.starts_with(root))
                && fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line == b"sleep\x001000\x00")
        })
        .collect()
}
