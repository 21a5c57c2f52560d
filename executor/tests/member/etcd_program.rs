//! The etcd that the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use etcd_admin::EtcdVersion;

const MISSING: &str = "no etcd for the tests: run `make setup`, or set \
    ETCD_TEST_BIN_DIR to a directory with etcd and etcdctl";

/// A directory with `etcd` and `etcdctl`: as `make test` says, or the newest
/// that `make setup` has put into its cache.
pub(crate) fn etcd_directory() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let directory = match std::env::var_os("ETCD_TEST_BIN_DIR") {
            Some(directory) => PathBuf::from(directory),
            None => newest_in_cache().expect(MISSING),
        };
        for program in ["etcd", "etcdctl"] {
            let path = directory.join(program);
            assert!(path.is_file(), "{} is missing; {MISSING}", path.display());
        }
        directory
    })
}

fn newest_in_cache() -> Option<PathBuf> {
    let cache = std::env::var_os("ETCD_LOCAL_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".cache/etcd-mesos"))
        })?;
    std::fs::read_dir(cache)
        .ok()?
        .flatten()
        .filter_map(|entry| Some((version_in(&entry.path())?, entry.path())))
        .max()
        .map(|(_, directory)| directory)
}

/// Asked of the program: directories may be named after a Debian suite.
fn version_in(directory: &Path) -> Option<EtcdVersion> {
    let output = Command::new(directory.join("etcd"))
        .arg("--version")
        .output()
        .ok()?;
    EtcdVersion::from_program_output(&String::from_utf8_lossy(&output.stdout)).ok()
}
