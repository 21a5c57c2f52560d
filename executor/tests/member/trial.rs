//! Options that are tried beside the member.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use etcd_launch::{
    FORMAT, LaunchSpec, Sha256, TrialAnswer, TrialProgram, TrialRecipe, TrialRequest,
    TrialVerdict,
};
use sha2::Digest;

use crate::etcd_program::etcd_directory;
use crate::sandbox::Sandbox;

/// Has an executor try a recipe.
fn try_recipe(sandbox: &Sandbox, spec: &LaunchSpec, recipe: TrialRecipe) -> TrialVerdict {
    let request = TrialRequest {
        format: FORMAT,
        id: "t2/7".into(),
        recipe,
    };
    let files = tempfile::tempdir().unwrap();
    let (spec_file, request_file) =
        (files.path().join("spec"), files.path().join("request"));
    fs::write(&spec_file, serde_json::to_vec(spec).unwrap()).unwrap();
    fs::write(&request_file, serde_json::to_vec(&request).unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_etcd-executor"))
        .arg("try-options")
        .arg("--spec")
        .arg(spec_file)
        .arg("--request")
        .arg(request_file)
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    let answer: TrialAnswer =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))
        });
    assert_eq!((answer.id.as_str(), answer.pod), ("t2/7", spec.pod));
    assert!(!sandbox.path().join("trial").exists(), "it is cleared away");
    assert_eq!(
        fs::read_dir(sandbox.data()).unwrap().count(),
        0,
        "the member's volume is not touched"
    );
    answer.verdict
}

fn words(verdict: &TrialVerdict) -> String {
    match verdict {
        TrialVerdict::Taken => "taken".to_owned(),
        TrialVerdict::Refused { why } => format!("refused: {why}"),
        TrialVerdict::NotHad { why } => format!("not had: {why}"),
        TrialVerdict::NotTried { why } => format!("not tried: {why}"),
    }
}

#[track_caller]
fn check_tuning(change: impl FnOnce(&mut LaunchSpec), expected: &str) {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("trial-of-options");
    let mut wanted = spec.clone();
    change(&mut wanted);
    let recipe = TrialRecipe {
        program: None,
        tuning: wanted.tuning,
    };
    let found = words(&try_recipe(&sandbox, &spec, recipe));
    assert!(found.contains(expected), "{found}");
}

#[test]
fn etcd_takes_other_options() {
    check_tuning(|spec| spec.tuning.heartbeat_interval_ms = 150, "taken");
}

#[test]
fn etcd_refuses_other_options() {
    check_tuning(
        |spec| spec.tuning.heartbeat_interval_ms = 900,
        "--election-timeout[1000ms] should be at least as 5 times as \
         --heartbeat-interval[900ms]",
    );
}

/// Serves one file once, over HTTP on the loopback.
fn serve(contents: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/etcd", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let length = contents.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&contents).unwrap();
    });
    uri
}

fn sha256(contents: &[u8]) -> Sha256 {
    let sum = sha2::Sha256::digest(contents);
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.parse().unwrap()
}

#[track_caller]
fn check_program(program: TrialProgram, expected: &str) {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec("trial-of-programs");
    let recipe = TrialRecipe {
        program: Some(program),
        tuning: spec.tuning.clone(),
    };
    let found = words(&try_recipe(&sandbox, &spec, recipe));
    assert!(found.contains(expected), "{found}");
}

#[test]
fn another_etcd_is_fetched_and_tried() {
    let etcd = fs::read(etcd_directory().join("etcd")).unwrap();
    let program = TrialProgram {
        sha256: sha256(&etcd),
        uri: serve(etcd),
        archived_in: None,
    };
    check_program(program, "taken");
}

#[test]
fn another_etcd_from_an_archive() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("etcd-v3");
    fs::create_dir(&inside).unwrap();
    fs::copy(etcd_directory().join("etcd"), inside.join("etcd")).unwrap();
    let archive = directory.path().join("etcd-v3.tar.gz");
    let packed = Command::new("tar")
        .args([Path::new("-czf"), &archive, Path::new("etcd-v3")])
        .current_dir(directory.path())
        .status()
        .unwrap();
    assert!(packed.success());
    let archive = fs::read(archive).unwrap();
    let program = TrialProgram {
        sha256: sha256(&archive),
        uri: serve(archive),
        archived_in: Some("etcd-v3".into()),
    };
    check_program(program, "taken");
}

#[test]
fn a_program_that_cannot_run_here_is_refused() {
    let script =
        b"#!/bin/sh\necho 'etcd Version: 3.5.99'\n[ \"$1\" = --version ] && exit 0
echo 'it lacks something' >&2\nexit 3\n"
            .to_vec();
    let program = TrialProgram {
        sha256: sha256(&script),
        uri: serve(script),
        archived_in: None,
    };
    check_program(
        program,
        "refused: etcd exited with code 3: it lacks something",
    );
}

#[test]
fn what_cannot_be_had_is_said() {
    let program = |uri: String| TrialProgram {
        uri,
        sha256: sha256(b"another one"),
        archived_in: None,
    };
    check_program(program(serve(b"not that".to_vec())), "not had: cannot get");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/etcd", nobody.local_addr().unwrap());
    drop(nobody);
    check_program(program(uri), "not had: cannot get");
}
