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
    )
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
    assert_eq!(artifacts.executor_sha256().as_str(), EXECUTOR_SHA256);
    let program = artifacts.program();
    assert_eq!(program.directory, ".");
    let names: Vec<&String> = program.checksums.keys().collect();
    assert_eq!(names, ["etcd", "etcdctl"]);
    assert_eq!(program.checksums["etcd"].as_str(), ETCD_SHA256);
    let checks = artifacts.checks_before_launch();
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].0, EXECUTOR_FILE);

    let uris = artifacts.uris_for_launch("http://127.0.0.1:80/", Instant::now());
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
    assert!(artifacts.program().checksums.contains_key("etcdutl"));
}

#[test]
fn paths_expire_and_nothing_else_is_found() {
    let directory = programs();
    let artifacts = open(&directory).unwrap();
    let start = Instant::now();
    let first = parts(&artifacts.uris_for_launch("http://x", start)[1].uri).0;
    let soon = start + PATH_LIFETIME - Duration::from_secs(1);
    let second = parts(&artifacts.uris_for_launch("http://x", soon)[1].uri).0;
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
    artifacts.uris_for_launch("http://x", late);
    assert_eq!(artifacts.valid_until.lock().unwrap().len(), 2);
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

/// An upgrade by rename leaves what launches get as it was; one that writes
/// into the file itself is seen.
#[test]
fn programs_that_change_while_we_serve_them() {
    let directory = programs();
    let artifacts = open(&directory).unwrap();
    let now = Instant::now();
    let path = parts(&artifacts.uris_for_launch("http://x", now)[1].uri).0;
    let etcd = directory.path().join("etcd");
    write(&directory.path().join("new"), "newer etcd\n", 0o755);
    fs::rename(directory.path().join("new"), &etcd).unwrap();
    let program = artifacts.find(&path, "etcd", now).unwrap();
    assert!(program.is_unchanged());
    assert_eq!(program.read_chunk(0).unwrap(), b"etcd\n");

    write(&directory.path().join("etcdctl"), "overwritten\n", 0o755);
    let program = artifacts.find(&path, "etcdctl", now).unwrap();
    assert!(!program.is_unchanged());
}

#[test]
fn programs_from_elsewhere() {
    let sha256: Sha256 = "ab".repeat(32).parse().unwrap();
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
        )
    };
    let artifacts =
        elsewhere("https://example.org/a/etcd-v3.5.30-linux-amd64.tar.gz?x=1").unwrap();
    let program = artifacts.program();
    assert_eq!(program.directory, "etcd-v3.5.30-linux-amd64");
    assert!(program.checksums.is_empty());
    let uris = artifacts.uris_for_launch("http://x", Instant::now());
    assert_eq!(uris[0].uri, "https://example.org/etcd-executor-0.1");
    assert_eq!(uris[0].output_file, EXECUTOR_FILE);
    assert!(uris[1].extract && !uris[1].executable);
    let checked: Vec<String> = artifacts
        .checks_before_launch()
        .into_iter()
        .map(|(file, _)| file)
        .collect();
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
