//! Programs, ports and specs that cannot be used.

use std::fs;
use std::net::TcpListener;

use etcd_launch::{FORMAT, Refusal, Sha256};
use sha2::Digest;

use crate::etcd_program::etcd_directory;
use crate::executor::Executor;
use crate::sandbox::{CLIENT_PORT, PEER_PORT, Sandbox, make_executable};

fn sha256_of(contents: &[u8]) -> Sha256 {
    hex::encode(sha2::Sha256::digest(contents)).parse().unwrap()
}

#[test]
fn checksums() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("refused-1");
    let etcd = fs::read(etcd_directory().join("etcd")).unwrap();
    let right = sha256_of(&etcd);
    spec.etcd.checksums.insert("etcd".into(), right.clone());
    Executor::answering(&sandbox, &spec).stop();

    let wrong = sha256_of(b"another etcd");
    spec.etcd.checksums.insert("etcd".into(), wrong.clone());
    let refusal = Executor::start(&sandbox, &spec).refusal();
    let expected = Refusal::WrongChecksum {
        path: shown(&sandbox, "etcd"),
        expected: wrong,
        found: right,
    };
    assert_eq!(refusal, expected);
}

#[test]
fn etcd_is_missing() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("refused-2");
    fs::remove_file(sandbox.path().join("etcd")).unwrap();
    let refusal = Executor::start(&sandbox, &spec).refusal();
    let path = shown(&sandbox, "etcd");
    assert_eq!(refusal, Refusal::ProgramMissing { path });
    // What cannot run has left no trace on the volume.
    assert_eq!(sandbox.guard(), None);
}

#[test]
fn a_listed_tool_is_missing() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("refused-3");
    let checksum = sha256_of(b"etcdutl");
    spec.etcd.checksums.insert("etcdutl".into(), checksum);
    let refusal = Executor::start(&sandbox, &spec).refusal();
    let path = shown(&sandbox, "etcdutl");
    assert_eq!(refusal, Refusal::ProgramMissing { path });
}

#[test]
fn etcd_is_not_executable() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("refused-4");
    sandbox.replace_program("etcd", b"#!/bin/sh\n");
    let refusal = Executor::start(&sandbox, &spec).refusal();
    let expected = Refusal::ProgramNotExecutable {
        path: shown(&sandbox, "etcd"),
        why: "it has no permission to be executed".into(),
    };
    assert_eq!(refusal, expected);
}

#[test]
fn etcd_is_of_another_architecture() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("refused-5");
    let path = sandbox.replace_program("etcd", b"\x7fELF not for this machine");
    make_executable(&path);
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert!(
        matches!(refusal, Refusal::ProgramNotExecutable { .. }),
        "{refusal:?}"
    );
}

#[test]
fn a_port_is_taken() {
    for port in [CLIENT_PORT, PEER_PORT] {
        let sandbox = Sandbox::new();
        let spec = sandbox.spec("refused-6");
        let _taken = TcpListener::bind((sandbox.host(), port)).unwrap();
        let refusal = Executor::start(&sandbox, &spec).refusal();
        let address = format!("{}:{port}", sandbox.host());
        assert_eq!(refusal, Refusal::PortTaken { address });
        assert_eq!(sandbox.guard(), None);
    }
}

#[test]
fn an_address_of_another_host() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("refused-9");
    // Reserved for documentation: no host has it.
    spec.advertise_host = "192.0.2.7".into();
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert_eq!(
        refusal.to_string(),
        "cannot listen at 192.0.2.7:2379 on this host: \
            Cannot assign requested address (os error 99)"
    );
    assert_eq!(sandbox.guard(), None);
}

#[test]
fn etcd_does_not_run_here() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("refused-10");
    let etcd = b"#!/bin/sh\necho 'a library is missing' >&2\nexit 127\n";
    let path = sandbox.replace_program("etcd", etcd);
    make_executable(&path);
    let refusal = Executor::start(&sandbox, &spec).refusal();
    let expected = Refusal::ProgramNotExecutable {
        path: shown(&sandbox, "etcd"),
        why: "asked for its version: exit status: 127, a library is missing".into(),
    };
    assert_eq!(refusal, expected);
}

#[test]
fn a_wait_for_a_port_can_be_stopped() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("refused-7");
    let _taken = TcpListener::bind((sandbox.host(), PEER_PORT)).unwrap();
    let mut executor = Executor::start(&sandbox, &spec);
    executor.wait_for("it prepares", |_| Some(()));
    let exit = executor.stop();
    assert_eq!(exit, "etcd was not started");
}

#[test]
fn a_spec_of_a_later_release() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("refused-8");
    spec.format = FORMAT + 1;
    let refusal = Executor::start(&sandbox, &spec).refusal();
    assert!(
        matches!(refusal, Refusal::SpecUnreadable { .. }),
        "{refusal:?}"
    );
    assert_eq!(sandbox.guard(), None);
}

fn shown(sandbox: &Sandbox, program: &str) -> String {
    // The executor joins the directory of the spec, which is `.`.
    sandbox.path().join(".").join(program).display().to_string()
}
