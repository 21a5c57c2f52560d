//! `snapshot save`: a file is there when the snapshot is whole, and not before.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

use crate::stand_in::{Ended, StandIn, response, run};

/// For a program to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of one page and its sum.
fn snapshot() -> Vec<u8> {
    let database = vec![7; 512];
    let sum = Sha256::digest(&database);
    [database.as_slice(), sum.as_slice()].concat()
}

/// An answer in chunks; `whole` ends it as HTTP asks for.
fn answer(body: &[u8], whole: bool) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\
        etcd-snapshot-revision: 4711\r\netcd-snapshot-member: b1\r\n\
        etcd-snapshot-pod: etcd-1\r\netcd-snapshot-version: 3.5.30\r\n\
        transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        .to_vec();
    for piece in body.chunks(100) {
        answer.extend(format!("{:x}\r\n", piece.len()).bytes());
        answer.extend(piece);
        answer.extend(b"\r\n");
    }
    if whole {
        answer.extend(b"0\r\n\r\n");
    }
    answer
}

fn save(words: &str, answers: &[&[u8]]) -> (Ended, Vec<String>) {
    let stand_in = StandIn::answering(answers);
    let url = stand_in.url();
    let ended = run(
        &format!("snapshot save {words}"),
        &[("ETCDFW_URL", &url), ("ETCDFW_TOKEN", "t0ken")],
    );
    let asked = match answers {
        [] => Vec::new(),
        _ => stand_in.asked(),
    };
    let error = ended.error.replace(&url, "URL");
    (Ended { error, ..ended }, asked)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn a_whole_snapshot_is_saved() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.db");
    let shown = file.display().to_string();
    let sha256 = hex::encode(Sha256::digest(snapshot()));
    let (ended, asked) = save(&shown, &[&answer(&snapshot(), true)]);
    assert_eq!((ended.error.as_str(), ended.code), ("", 0));
    assert_eq!(
        asked,
        ["GET /v1/snapshot HTTP/1.1 | authorization: Bearer t0ken"]
    );
    assert_eq!(
        ended.out,
        format!(
            "saved {shown}\nrevision: 4711 or later\nsize: 544 bytes\n\
             sha256: {sha256}\nfrom: etcd-1, member b1, etcd 3.5.30\n"
        )
    );
    assert_eq!(fs::read(&file).unwrap(), snapshot());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others may not read it");

    // It is not replaced by mistake, and nobody is asked.
    let (ended, _) = save(&shown, &[]);
    assert_eq!(ended.code, 64);
    assert_eq!(
        ended.error,
        format!("dcos-etcd: error: {shown} is there already; --force replaces it\n")
    );
    fs::write(&file, "old").unwrap();
    let words = format!("{shown} --force --json");
    let (ended, _) = save(&words, &[&answer(&snapshot(), true)]);
    assert_eq!((ended.error.as_str(), ended.code), ("", 0));
    let saved: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let expected = serde_json::json!({
        "file": shown, "revision": 4711, "size": 544, "sha256": sha256,
        "member": "b1", "pod": "etcd-1", "version": "3.5.30",
    });
    assert_eq!(saved, expected);
    assert_eq!(fs::read(&file).unwrap(), snapshot());
    assert_eq!(names_in(directory.path()), ["a.db"]);
}

#[test]
fn anything_else_leaves_nothing_behind() {
    #[track_caller]
    fn check(answer: &[u8], code: i32, error: &str) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.db");
        for replaced in [false, true] {
            let force = if replaced { " --force" } else { "" };
            let (ended, _) = save(&format!("{}{force}", file.display()), &[answer]);
            assert_eq!(ended.code, code, "{}", ended.error);
            assert!(ended.error.contains(error), "{}", ended.error);
            assert_eq!(ended.out, "");
            let left = names_in(directory.path());
            assert_eq!(left, if replaced { vec!["a.db"] } else { vec![] });
            if replaced {
                assert_eq!(fs::read(&file).unwrap(), b"old");
            }
            fs::write(&file, "old").unwrap();
        }
    }
    let whole = snapshot();
    // Broken off, though every byte has come.
    check(&answer(&whole, false), 69, "the answer broke off");
    check(&answer(&whole[..300], false), 69, "the answer broke off");
    check(
        &answer(&whole[..300], true),
        76,
        "300 bytes are no whole snapshot",
    );
    check(&answer(b"", true), 76, "0 bytes are no whole snapshot");
    let mut other = whole.clone();
    other[100] ^= 1;
    check(
        &answer(&other, true),
        76,
        "the snapshot does not have the sum at its end",
    );
    let busy = response(
        "429 Too Many Requests",
        "application/json",
        r#"{"code": "busy", "message": "2 snapshots are under way"}"#,
    );
    check(busy.as_bytes(), 1, "2 snapshots are under way");
    let nobody = response(
        "503 Service Unavailable",
        "application/json",
        r#"{"code": "no_source", "message": "no member can give a snapshot now"}"#,
    );
    check(nobody.as_bytes(), 69, "no member can give a snapshot now");
}

#[test]
fn a_file_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("absent/a.db");
    let (ended, _) = save(&file.display().to_string(), &[]);
    assert_eq!(ended.code, 74);
    assert!(
        ended.error.contains("No such file or directory"),
        "{}",
        ended.error
    );
    let (ended, _) = save("/", &[]);
    assert_eq!(ended.code, 64, "{}", ended.error);
    let (ended, _) = save("/..", &[]);
    assert_eq!(ended.code, 64, "{}", ended.error);
}

/// SIGINT, as Ctrl-C sends it, while the scheduler takes its time.
#[test]
fn an_interrupted_command_leaves_nothing_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.db");
    let child = Command::new(env!("CARGO_BIN_EXE_dcos-etcd"))
        .args(["snapshot", "save"])
        .arg(&file)
        .env_clear()
        .env(
            "ETCDFW_URL",
            format!("http://{}", silent.local_addr().unwrap()),
        )
        .env("ETCDFW_TOKEN", "t0ken")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while names_in(directory.path()).is_empty() {
        assert!(started.elapsed() < PATIENCE, "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{error}");
    assert!(error.contains("interrupted; nothing is saved"), "{error}");
    assert_eq!(names_in(directory.path()), Vec::<String>::new());
}
