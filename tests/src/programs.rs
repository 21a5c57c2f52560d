//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// A program of this workspace, beside the test's own directory.
pub fn own_program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("where this test lies is unknown")?;
    let path = test
        .parent()
        .and_then(|deps| deps.parent())
        .map(|directory| directory.join(name))
        .context("this test does not lie in a target directory")?;
    if path.is_file() {
        Ok(path)
    } else {
        bail!(
            "{} is missing: run cargo build --workspace first",
            path.display()
        )
    }
}

/// The directory with the etcd that members run: as `make test` says, or the
/// newest that `make setup` has put into the cache.
pub fn etcd_directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("ETCD_TEST_BIN_DIR") {
        return Ok(directory.into());
    }
    let cache = etcd_local::programs::cache_directory()?;
    let mut found: Vec<PathBuf> = std::fs::read_dir(&cache)
        .with_context(|| {
            format!("{} cannot be read: run make setup first", cache.display())
        })?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("etcd").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .context("there is no etcd in the cache: run make setup first")
}
