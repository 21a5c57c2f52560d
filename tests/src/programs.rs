//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The directory of this workspace's programs: ours, or the one above, as
/// Cargo puts test programs into `deps/` below the others.
pub fn own_directory() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this program lies is unknown")?;
    own.ancestors()
        .skip(1)
        .find(|directory| !directory.ends_with("deps"))
        .map(Path::to_owned)
        .context("this program does not lie in a target directory")
}

/// A program of this workspace.
pub fn own_program(name: &str) -> Result<PathBuf> {
    let path = own_directory()?.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        bail!(
            "{} is missing: run cargo build --workspace first",
            path.display()
        )
    }
}

/// The newest etcd of a minor version that `make setup` has put into the cache: its
/// directory and its version.
pub fn newest_etcd_of(minor: &str) -> Result<(PathBuf, String)> {
    let cache = etcd_local::programs::cache_directory()?;
    let prefix = format!("etcd-{minor}.");
    let patch = |path: &Path| -> Option<u16> {
        path.file_name()?
            .to_str()?
            .strip_prefix(&prefix)?
            .parse()
            .ok()
    };
    let newest = std::fs::read_dir(&cache)
        .with_context(|| format!("{} cannot be read", cache.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("etcd").is_file())
        .filter_map(|path| Some((patch(&path)?, path)))
        .max();
    let (patch, path) =
        newest.with_context(|| format!("no etcd {minor} is there: run make setup"))?;
    Ok((path, format!("{minor}.{patch}")))
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
