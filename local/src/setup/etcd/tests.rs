//! With small scripts in place of etcd, and no network.

use std::cell::RefCell;
use std::ffi::OsString;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A server that prints a version, with the client beside it.
fn programs(directory: &Path, version: &str) {
    let says = format!("#!/bin/sh\necho 'etcd Version: {version}'\necho 'Git SHA: x'\n");
    script(&directory.join(SERVER), &says);
    script(&directory.join(CLIENT), "#!/bin/sh\n");
}

fn ensure_scripts(
    cache: &Path,
    version: &'static str,
    fetches: &AtomicUsize,
) -> Result<EtcdBinaries, SetupError> {
    let origin = EtcdOrigin::DebianSuite("sid".to_owned());
    ensure_cached(cache, "etcd-from-sid", origin, &|_| {}, |scratch| {
        fetches.fetch_add(1, Ordering::Relaxed);
        programs(&scratch.join("root/usr/bin"), version);
        Ok(scratch.join("root"))
    })
}

#[test]
fn versions_are_read_from_what_etcd_prints() {
    #[track_caller]
    fn check(output: &str, expected: Option<&str>) {
        let read = version_in(output).map(|(version, _)| version);
        assert_eq!(read.as_deref(), expected, "{output}");
    }
    check("etcd Version: 3.5.30\nGit SHA: x\n", Some("3.5.30"));
    check("etcd Version: 3.8.0-alpha.0\n", Some("3.8.0-alpha.0"));
    check("etcd Version: 3.5\n", None);
    check("etcd Version: 3.5.1/../../x\n", None);
    check("etcdctl version: 3.5.30\n", None);
    check("", None);
}

#[test]
fn what_was_fetched_is_kept() {
    let cache = tempfile::tempdir().unwrap();
    let fetches = AtomicUsize::new(0);
    let first = ensure_scripts(cache.path(), "3.5.30", &fetches).unwrap();
    assert_eq!(first.version, "3.5.30");
    assert!(first.dir.ends_with("etcd-3.5.30") && first.etcdctl().is_file());
    assert_eq!(first.etcdutl(), None);
    let second = ensure_scripts(cache.path(), "3.5.30", &fetches).unwrap();
    assert_eq!(second, first);
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
    assert!(!cache.path().join("etcd-scratch").exists());

    // A cache that lost a program is filled again.
    fs::remove_file(first.etcdctl()).unwrap();
    ensure_scripts(cache.path(), "3.5.30", &fetches).unwrap();
    assert!(first.etcdctl().is_file());
    assert_eq!(fetches.load(Ordering::Relaxed), 2);
}

#[test]
fn many_ask_and_one_fetches() {
    let cache = tempfile::tempdir().unwrap();
    let fetches = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| ensure_scripts(cache.path(), "3.5.30", &fetches).unwrap());
        }
    });
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[test]
fn a_server_that_does_not_run_here_is_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let result = ensure_cached(
        cache.path(),
        "etcd-from-sid",
        EtcdOrigin::MachinesApt,
        &|_| {},
        |scratch| {
            let server = scratch.join("root/usr/bin/etcd");
            script(
                &server,
                "#!/bin/sh\necho 'GLIBC_9.9 not found' >&2\nexit 127\n",
            );
            Ok(scratch.join("root"))
        },
    );
    let error = result.unwrap_err().to_string();
    assert!(error.contains("GLIBC_9.9 not found"), "{error}");
    assert!(!cache.path().join("etcd-from-sid").exists());
}

#[test]
fn etcd_on_path() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let look = |names: &[&str]| {
        let path: OsString = std::env::join_paths(names.iter().map(|n| at(n))).unwrap();
        on_path(&path, directory.path())
    };
    script(
        &at("server-alone/etcd"),
        "#!/bin/sh\necho 'etcd Version: 3.5.1'\n",
    );
    programs(&at("good"), "3.5.30");
    programs(&at("old"), "3.3.27");
    programs(&at("not-executable"), "3.5.30");
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(at("not-executable/etcd"), mode).unwrap();

    assert_eq!(look(&["server-alone", "not-executable"]).unwrap(), None);
    let found = look(&["server-alone", "good", "old"]).unwrap().unwrap();
    assert_eq!(
        (found.dir, found.version),
        (at("good"), "3.5.30".to_owned())
    );
    let error = look(&["old", "good"]).unwrap_err().to_string();
    assert!(
        error.contains("it is 3.3.27; needed is 3.4 or newer"),
        "{error}"
    );
}

#[test]
fn without_an_archive_nothing_is_fetched_and_it_is_said() {
    let cache = tempfile::tempdir().unwrap();
    let told = RefCell::new(Vec::new());
    let tell = |step: &str| told.borrow_mut().push(step.to_owned());
    let error = ensure_suite(cache.path(), "sid", &[], &tell).unwrap_err();
    assert!(matches!(error, SetupError::NoDebianArchive), "{error}");
    assert_eq!(told.into_inner(), Vec::<String>::new());
}
