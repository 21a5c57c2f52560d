use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// SHA-256 of `executor\n`, `etcd\n`, from sha256sum.
const EXECUTOR_SHA256: &str =
    "05f288006800076fc79bf98b7ae7f8f1161497bacd6f41473f4a993fa3a5cf26";
const ETCD_SHA256: &str =
    "13735a0e2fd78602988af9b825ffb353ef9d934c112940ea032b4ca053afb4b1";

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn programs() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("etcd-executor", "executor\n"),
        ("etcd", "etcd\n"),
        ("etcdctl", "etcdctl\n"),
    ] {
        write(&directory.path().join(name), content, 0o755);
    }
    directory
}

fn open(directory: &TempDir) -> Result<Artifacts, ArtifactError> {
    Artifacts::open(
        &ExecutorSource::File(directory.path().join("etcd-executor")),
        &EtcdSource::Directory(directory.path().to_owned()),
        &directory.path().join("state"),
    )
}

/// The random part of the URIs of one launch.
fn path_of(artifacts: &Artifacts, programs: &Programs, at: Instant) -> String {
    let fetch = artifacts.fetch(programs, "http://x", at).unwrap();
    parts(&fetch.uris[0].uri).0
}

/// The random part of a URI, and the file.
fn parts(uri: &str) -> (String, String) {
    let rest = uri.split_once(ARTIFACT_PATH).unwrap().1;
    let (path, file) = rest.split_once('/').unwrap();
    (path.to_owned(), file.to_owned())
}

#[test]
fn checksums_and_uris() {
    let directory = programs();
    let artifacts = open(&directory).unwrap();
    let program = artifacts.served();
    let executor = program.executor.as_ref().unwrap();
    assert_eq!(executor.sha256.as_str(), EXECUTOR_SHA256);
    assert_eq!(program.directory, ".");
    let names: Vec<&String> = program.checksums.keys().collect();
    assert_eq!(names, ["etcd", "etcdctl"]);
    assert_eq!(program.checksums["etcd"].as_str(), ETCD_SHA256);
    let now = Instant::now();
    let Fetch { uris, checks } = artifacts
        .fetch(program, "http://127.0.0.1:80/", now)
        .unwrap();
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].0, EXECUTOR_FILE);
    let files: Vec<&str> = uris.iter().map(|uri| uri.output_file.as_str()).collect();
    assert_eq!(files, ["etcd-executor", "etcd", "etcdctl"]);
    for uri in &uris {
        assert!(uri.uri.starts_with("http://127.0.0.1:80/artifacts/"));
        assert!(uri.uri.ends_with(&format!("/{}", uri.output_file)));
        assert!(uri.executable && !uri.extract);
        assert_eq!(parts(&uri.uri).0.len(), 32);
    }
}

#[test]
fn etcdutl_is_served_where_it_is() {
    let directory = programs();
    write(&directory.path().join("etcdutl"), "etcdutl\n", 0o755);
    let artifacts = open(&directory).unwrap();
    assert!(artifacts.served().checksums.contains_key("etcdutl"));
}

#[test]
fn paths_expire_and_nothing_else_is_found() {
    let directory = programs();
    let artifacts = open(&directory).unwrap();
    let start = Instant::now();
    let path = |at| path_of(&artifacts, artifacts.served(), at);
    let first = path(start);
    let soon = start + PATH_LIFETIME - Duration::from_secs(1);
    let second = path(soon);
    assert_ne!(first, second);
    let late = start + PATH_LIFETIME;

    #[track_caller]
    fn check(artifacts: &Artifacts, path: &str, file: &str, at: Instant, found: bool) {
        let program = artifacts.find(path, file, at);
        assert_eq!(program.is_some(), found, "{path}/{file}");
    }
    check(&artifacts, &first, "etcd", start, true);
    check(&artifacts, &first, EXECUTOR_FILE, soon, true);
    check(&artifacts, &first, "etcd", late, false);
    check(&artifacts, &second, "etcd", late, true);
    check(&artifacts, &first.to_uppercase(), "etcd", start, false);
    check(&artifacts, "", "etcd", start, false);
    check(&artifacts, "0000", "etcd", start, false);
    check(&artifacts, &first, "", start, false);
    check(&artifacts, &first, "../etcd", start, false);
    check(&artifacts, &first, "/etc/passwd", start, false);
    check(&artifacts, &first, "etcdutl", start, false);

    // The next launch forgets what has expired.
    path(late);
    assert_eq!(artifacts.paths.lock().unwrap().len(), 2);
}

#[test]
fn programs_that_cannot_be_served() {
    #[track_caller]
    fn check(change: impl Fn(&Path), expected: &[&str]) {
        let directory = programs();
        change(directory.path());
        let error = open(&directory).unwrap_err();
        for words in expected {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    check(
        |directory| fs::remove_file(directory.join("etcd")).unwrap(),
        &["cannot read etcd ", "/etcd ", "scheduler.etcd_dir"],
    );
    check(
        |directory| write(&directory.join("etcdctl"), "x", 0o644),
        &["etcdctl", "is not executable", "scheduler.etcd_dir"],
    );
    check(
        |directory| write(&directory.join("etcd-executor"), "", 0o755),
        &["the executor", "is empty", "scheduler.executor"],
    );
    check(
        |directory| {
            fs::remove_file(directory.join("etcd-executor")).unwrap();
            fs::create_dir(directory.join("etcd-executor")).unwrap();
        },
        &["the executor", "is not a file"],
    );
    check(
        |directory| write(&directory.join("etcdutl"), "x", 0o600),
        &["etcdutl", "is not executable"],
    );
}

/// An upgrade, by rename or into the file itself, leaves what launches get as it was.
#[test]
fn programs_that_change_while_we_serve_them() {
    let directory = programs();
    let artifacts = open(&directory).unwrap();
    let now = Instant::now();
    let path = path_of(&artifacts, artifacts.served(), now);
    let etcd = directory.path().join("etcd");
    write(&directory.path().join("new"), "newer etcd\n", 0o755);
    fs::rename(directory.path().join("new"), &etcd).unwrap();
    write(&directory.path().join("etcdctl"), "overwritten\n", 0o755);
    for (file, content) in [("etcd", "etcd\n"), ("etcdctl", "etcdctl\n")] {
        let program = artifacts.find(&path, file, now).unwrap();
        assert!(program.is_unchanged());
        assert_eq!(program.read_chunk(0).unwrap(), content.as_bytes());
    }
    // One who writes into the copies is seen.
    let program = artifacts.find(&path, "etcdctl", now).unwrap();
    write(program.path(), "overwritten\n", 0o755);
    assert!(!program.is_unchanged());
}

/// A later start serves other programs, and what members ran with as well, until
/// nobody needs it.
#[test]
fn programs_of_an_earlier_start() {
    let directory = programs();
    let before = open(&directory).unwrap().served().clone();
    write(&directory.path().join("etcd"), "newer etcd\n", 0o755);
    write(
        &directory.path().join("etcd-executor"),
        "newer executor\n",
        0o755,
    );
    let artifacts = open(&directory).unwrap();
    let now = Instant::now();
    assert_ne!(*artifacts.served(), before);
    let content = |programs: &Programs, file: &str| {
        let path = path_of(&artifacts, programs, now);
        let program = artifacts.find(&path, file, now).unwrap();
        String::from_utf8(program.read_chunk(0).unwrap()).unwrap()
    };
    assert_eq!(content(artifacts.served(), "etcd"), "newer etcd\n");
    assert_eq!(content(&before, "etcd"), "etcd\n");
    assert_eq!(content(&before, EXECUTOR_FILE), "executor\n");
    let fetch = artifacts.fetch(&before, "http://x", now).unwrap();
    assert_eq!(fetch.checks[0].1.as_str(), EXECUTOR_SHA256);
    // Records of earlier releases name no executor: they get the one that is there.
    let nameless = Programs {
        executor: None,
        ..before.clone()
    };
    assert_eq!(content(&nameless, EXECUTOR_FILE), "newer executor\n");

    artifacts.forget_all_but([&before].into_iter());
    artifacts.look_for(&before).unwrap();
    artifacts.forget_all_but(std::iter::empty());
    artifacts.look_for(artifacts.served()).unwrap();
    let why = artifacts.look_for(&before).unwrap_err().to_string();
    for words in [
        "no copy of etcd-executor",
        EXECUTOR_SHA256,
        "scheduler.executor",
    ] {
        assert!(why.contains(words), "{why}");
    }
    assert!(artifacts.fetch(&before, "http://x", now).is_err());
}

#[test]
fn programs_from_elsewhere() {
    let sha256: Sha256 = "ab".repeat(32).parse().unwrap();
    let state = tempfile::tempdir().unwrap();
    let elsewhere = |uri: &str| {
        Artifacts::open(
            &ExecutorSource::Uri {
                uri: "https://example.org/etcd-executor-0.1".into(),
                sha256: sha256.clone(),
            },
            &EtcdSource::Archive {
                uri: uri.into(),
                sha256: sha256.clone(),
            },
            state.path(),
        )
    };
    let artifacts =
        elsewhere("https://example.org/a/etcd-v3.5.30-linux-amd64.tar.gz?x=1").unwrap();
    let program = artifacts.served();
    assert_eq!(program.directory, "etcd-v3.5.30-linux-amd64");
    assert!(program.checksums.is_empty());
    let now = Instant::now();
    let Fetch { uris, checks } = artifacts.fetch(program, "http://x", now).unwrap();
    assert_eq!(uris[0].uri, "https://example.org/etcd-executor-0.1");
    assert_eq!(uris[0].output_file, EXECUTOR_FILE);
    assert!(uris[1].extract && !uris[1].executable);
    let nowhere = Programs {
        archive: None,
        ..program.clone()
    };
    let why = artifacts.look_for(&nowhere).unwrap_err().to_string();
    assert!(
        why.contains("etcd-v3.5.30-linux-amd64 was fetched"),
        "{why}"
    );
    let checked: Vec<String> = checks.into_iter().map(|(file, _)| file).collect();
    assert_eq!(checked, [EXECUTOR_FILE, "etcd-v3.5.30-linux-amd64.tar.gz"]);
    for bad in [
        "https://example.org/etcd",
        "https://example.org/.tar.gz",
        "",
    ] {
        assert!(
            matches!(elsewhere(bad), Err(ArtifactError::NotAnArchive { .. })),
            "{bad}"
        );
    }
}
