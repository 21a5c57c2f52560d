//! `etcd-local up`, `down` and `status`, as `make` calls them, on addresses of
//! their own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use etcd_local::addresses::Lease;
use etcd_tests::programs;

/// The directory under test; whatever is left there ends with the test.
struct Root(std::path::PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        if self.0.exists() {
            let _ = local(&["down", "--clean", "--root", self.0.to_str().unwrap()]);
        }
    }
}

fn local(arguments: &[&str]) -> Output {
    Command::new(programs::own_program("etcd-local").unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    let output = local(arguments);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}: {text}",
        output.status
    );
    text
}

fn etcdctl(root: &Path, arguments: &[&str]) -> String {
    let env = std::fs::read_to_string(root.join("env")).unwrap();
    let endpoints = env
        .lines()
        .find_map(|line| line.strip_prefix("ETCDCTL_ENDPOINTS="))
        .expect("ETCDCTL_ENDPOINTS in the env file");
    let output = Command::new(programs::etcd_directory().unwrap().join("etcdctl"))
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints={endpoints}"))
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lines of the status table that name a member.
fn members(status: &str) -> Vec<String> {
    status
        .lines()
        .filter(|line| line.starts_with("etcd-"))
        .map(|line| {
            line.split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[test]
fn up_down_up_keeps_members_and_data_and_clean_removes_all() {
    let lease = Lease::take().unwrap();
    let address = lease.address(1, 0).ip().octets();
    let network = format!("{}.{}.{}", address[0], address[1], address[2]);
    let directory =
        std::env::temp_dir().join(format!("etcd-one-machine-{}", std::process::id()));
    let root = Root(directory.clone());
    let path = directory.to_str().unwrap();
    let up = ["up", "--root", path, "--network", &network];

    let text = succeed(&up);
    assert!(text.contains("endpoints: http://"), "{text}");
    let before = members(&succeed(&["status", "--root", path]));
    assert_eq!(before.len(), 3, "{before:?}");
    assert_eq!(etcdctl(&root.0, &["put", "hello", "world"]).trim(), "OK");

    let text = succeed(&up);
    assert!(text.contains("the scheduler runs already"), "{text}");

    let text = succeed(&["down", "--root", path]);
    assert!(text.contains("3 members have stopped"), "{text}");
    assert!(
        !local(&["status", "--root", path]).status.success(),
        "nothing runs"
    );

    succeed(&up);
    assert_eq!(members(&succeed(&["status", "--root", path])), before);
    assert_eq!(etcdctl(&root.0, &["get", "hello"]).trim(), "hello\nworld");

    succeed(&["down", "--clean", "--root", path]);
    assert!(!directory.exists());
    let left = etcd_local::reaper::reap(&std::env::temp_dir().join(path)).unwrap_or(0);
    assert_eq!(left, 0, "processes are left");
}
