//! Copies of programs, by checksum, in the state directory.
//!
//! What a package or an operator has put in place may be another release tomorrow,
//! while members that were not changed yet, or that go back, still need this one.
//! So whatever is served is copied first and served from its copy, and a copy stays
//! until no recipe names it any more.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use etcd_launch::Sha256;
use sha2::Digest;

/// The directory of the copies, in the state directory.
const KEPT_DIRECTORY: &str = "programs";

/// What a copy is called until it is whole.
const UNFINISHED: &str = ".unfinished";

/// Large enough to keep a disk busy, small enough to hold in memory for each of
/// a handful of fetches at once.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// The copies.
#[derive(Debug)]
pub struct KeptPrograms {
    directory: PathBuf,
}

impl KeptPrograms {
    /// Those in a state directory.
    ///
    /// # Errors
    ///
    /// When the system refuses to make the directory.
    pub fn in_state(state: &Path) -> io::Result<Self> {
        let directory = state.join(KEPT_DIRECTORY);
        fs::create_dir_all(&directory)?;
        Ok(KeptPrograms { directory })
    }

    /// Where the copy of a program is, if there is one.
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        self.directory.join(sha256.as_str())
    }

    /// Opens a copy, if there is one and it is what it is called. One that is not is
    /// as good as none: the agents would refuse it.
    pub fn open(&self, sha256: &Sha256) -> io::Result<File> {
        let file = File::open(self.path(sha256))?;
        if checksum(&file)? == *sha256 {
            Ok(file)
        } else {
            Err(io::Error::other("the copy is damaged"))
        }
    }

    /// Keeps a copy of what this file holds, and opens it.
    ///
    /// # Errors
    ///
    /// When the system refuses, or the file changes meanwhile.
    pub fn keep(&self, source: &File, sha256: &Sha256) -> io::Result<File> {
        if let Ok(file) = self.open(sha256) {
            return Ok(file);
        }
        let unfinished = self.path(sha256).with_extension(&UNFINISHED[1..]);
        let mut copy = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            // The scheduler itself asks etcd for its version.
            .mode(0o755)
            .open(&unfinished)?;
        let copied = copy_and_sum(source, &mut copy)?;
        if copied != *sha256 {
            return Err(io::Error::other("it changes while it is copied"));
        }
        copy.sync_all()?;
        fs::rename(&unfinished, self.path(sha256))?;
        File::open(&self.directory)?.sync_all()?;
        File::open(self.path(sha256))
    }

    /// Removes all copies but those that are needed, and tells which.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or a copy not be removed.
    pub fn remove_all_but(&self, needed: &BTreeSet<Sha256>) -> io::Result<Vec<String>> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Whatever else an administrator has put there is not ours to remove.
            let sum = name.strip_suffix(UNFINISHED).unwrap_or(&name);
            let is_needed = match sum.parse::<Sha256>() {
                Ok(sum) => name == sum.as_str() && needed.contains(&sum),
                Err(_) => true,
            };
            if !is_needed {
                fs::remove_file(entry.path())?;
                removed.push(name);
            }
        }
        removed.sort_unstable();
        Ok(removed)
    }
}

/// The checksum of an open file, wherever it was read up to.
pub(super) fn checksum(file: &File) -> io::Result<Sha256> {
    copy_and_sum(file, &mut io::sink())
}

fn copy_and_sum(from: &File, to: &mut impl Write) -> io::Result<Sha256> {
    let mut hash = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let read = from.read_at(&mut chunk, offset)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
        offset += read as u64;
    }
    hex::encode(hash.finalize())
        .parse()
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (tempfile::TempDir, KeptPrograms) {
        let directory = tempfile::tempdir().unwrap();
        let kept = KeptPrograms::in_state(directory.path()).unwrap();
        (directory, kept)
    }

    fn source(directory: &Path, content: &str) -> (File, Sha256) {
        let path = directory.join("source");
        fs::write(&path, content).unwrap();
        let file = File::open(path).unwrap();
        let sum = checksum(&file).unwrap();
        (file, sum)
    }

    #[test]
    fn copies_outlive_their_sources() {
        let (directory, kept) = kept();
        let (file, sum) = source(directory.path(), "one");
        kept.keep(&file, &sum).unwrap();
        kept.keep(&file, &sum).unwrap();
        fs::remove_file(directory.path().join("source")).unwrap();
        assert_eq!(checksum(&kept.open(&sum).unwrap()).unwrap(), sum);
        assert_eq!(fs::read(kept.path(&sum)).unwrap(), b"one");
    }

    #[test]
    fn damaged_copies_are_none_and_are_made_anew() {
        let (directory, kept) = kept();
        let (file, sum) = source(directory.path(), "one");
        kept.keep(&file, &sum).unwrap();
        fs::write(kept.path(&sum), "onf").unwrap();
        let error = kept.open(&sum).unwrap_err();
        assert_eq!(error.to_string(), "the copy is damaged");
        kept.keep(&file, &sum).unwrap();
        assert!(kept.open(&sum).is_ok());
    }

    #[test]
    fn a_source_that_changes_is_not_kept() {
        let (directory, kept) = kept();
        let (file, sum) = source(directory.path(), "one");
        fs::write(directory.path().join("source"), "two").unwrap();
        assert!(kept.keep(&file, &sum).is_err());
        assert!(kept.open(&sum).is_err());
    }

    #[test]
    fn what_nobody_needs_goes() {
        let (directory, kept) = kept();
        let (file, one) = source(directory.path(), "one");
        kept.keep(&file, &one).unwrap();
        let (file, two) = source(directory.path(), "two");
        kept.keep(&file, &two).unwrap();
        let unfinished = format!("{one}{UNFINISHED}");
        fs::write(kept.directory.join(&unfinished), "o").unwrap();
        fs::write(kept.directory.join("README"), "x").unwrap();
        let removed = kept.remove_all_but(&[two.clone()].into()).unwrap();
        let mut expected = vec![one.to_string(), unfinished];
        expected.sort_unstable();
        assert_eq!(removed, expected);
        assert!(kept.open(&two).is_ok() && kept.open(&one).is_err());
    }
}
