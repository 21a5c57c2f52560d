//! `run-etcd`: what it becomes dies with whoever started it.
//!
//! The kernel counts the *thread* that made the child as its parent. These
//! tests hold on to that fact, for it is why the executor does everything on
//! its main thread.

#![expect(
    clippy::unwrap_used,
    reason = "in a test's own machinery a panic is the report"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Stands for etcd: says that it runs, then does nothing for a long time.
const STAND_IN: [&str; 3] = ["/bin/sh", "-c", "echo runs; exec sleep 600"];

fn run_etcd(parent_pid: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-executor"));
    command
        .args(["run-etcd", "--parent-pid", &parent_pid.to_string(), "--"])
        .args(STAND_IN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Starts the stand-in from this thread and waits until it runs.
fn start_stand_in() -> Child {
    use std::io::Read;
    let mut child = run_etcd(std::process::id()).spawn().unwrap();
    let mut said = [0; 5];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    assert_eq!(&said, b"runs\n");
    child
}

fn wait_for_end(mut child: Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the child has outlived its parent by {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_child_of_somebody_else_does_not_start() {
    let Output { status, stderr, .. } = run_etcd(1)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .unwrap();
    assert_eq!(status.code(), Some(71));
    assert_eq!(
        String::from_utf8_lossy(&stderr),
        "etcd-executor: the executor has died\n"
    );
}

#[test]
fn it_dies_with_the_thread_that_started_it() {
    let child = thread::spawn(start_stand_in).join().unwrap();
    assert_eq!(wait_for_end(child).signal(), Some(9));
}

#[test]
fn other_threads_may_end() {
    // A thread of its own starts it, and outlives another one.
    let (finish, finished) = channel::<()>();
    let (send, receive) = channel();
    let parent = thread::spawn(move || {
        send.send(start_stand_in()).unwrap();
        finished.recv().unwrap();
    });
    let mut child = receive.recv_timeout(PATIENCE).unwrap();
    for _ in 0..8 {
        thread::spawn(|| ()).join().unwrap();
    }
    // A signal of the kernel would have come by now: the next test's does
    // within a millisecond of its thread's end.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None);
    finish.send(()).unwrap();
    parent.join().unwrap();
    assert_eq!(wait_for_end(child).signal(), Some(9));
}
