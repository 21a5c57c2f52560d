//! `snapshot save`: all data in one file, which is there when it is whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use etcd_api::snapshot::{MEMBER_HEADER, POD_HEADER, REVISION_HEADER, VERSION_HEADER};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::arguments::SaveArguments;
use crate::client::{Client, Download};
use crate::failure::Failure;
use crate::output::Output;
use crate::request::Request;

/// Behind the database come so many bytes of its SHA-256.
const SUM_LENGTH: usize = 32;

/// The database is made of pages, and none is smaller, bytes.
const SMALLEST_PAGE: u64 = 512;

/// What was saved.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Saved {
    file: String,
    /// Surely in it; it may hold newer ones.
    revision: Option<i64>,
    /// Of the file, bytes.
    size: u64,
    /// Of the file, as `sha256sum` has it.
    sha256: String,
    /// Where it is from.
    member: Option<String>,
    pod: Option<String>,
    /// Of etcd there.
    version: Option<String>,
}

/// Takes a snapshot and saves it.
///
/// # Errors
///
/// When the file is there already, cannot be written, or the snapshot is not whole.
/// Nothing is left behind then.
pub(crate) async fn save(
    client: impl FnOnce() -> Result<Client, Failure>,
    arguments: &SaveArguments,
    output: &Output,
    json: bool,
) -> Result<(), Failure> {
    let target = &arguments.file;
    // Before anybody is asked for gigabytes.
    if !arguments.force && fs::symlink_metadata(target).is_ok() {
        return Err(exists(target));
    }
    let whole = async {
        let part = Part::beside(target)?;
        let request = Request::get(&["v1", "snapshot"]);
        let download = client()?.download(&request).await?;
        receive(download, part, target, arguments.force).await
    };
    let saved = tokio::select! {
        // Asked for first: the part would stay behind if it came between.
        biased;
        _ = tokio::signal::ctrl_c() => {
            return Err(Failure::GaveUp("interrupted; nothing is saved".to_owned()));
        }
        saved = whole => saved?,
    };
    let text = if json {
        crate::pretty(&saved)?
    } else {
        drawn(&saved)
    };
    output.print(&text)
}

async fn receive(
    mut download: Download,
    mut part: Part,
    target: &Path,
    force: bool,
) -> Result<Saved, Failure> {
    let cannot = |why: io::Error| cannot_write(target, why);
    let mut sums = Sums::default();
    while let Some(piece) = download.piece().await? {
        sums.feed(piece.as_ref());
        part.file.write_all(piece.as_ref()).map_err(cannot)?;
    }
    let url = download.url();
    let (size, sha256) = sums
        .finish()
        .map_err(|why| Failure::NotUnderstood { url, why })?;
    part.put_in_place(target, force)?;
    Ok(Saved {
        file: target.display().to_string(),
        revision: download
            .header(REVISION_HEADER)
            .and_then(|text| text.parse().ok()),
        size,
        sha256,
        member: download.header(MEMBER_HEADER),
        pod: download.header(POD_HEADER),
        version: download.header(VERSION_HEADER),
    })
}

fn drawn(saved: &Saved) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or("?".to_owned());
    let revision = saved.revision.map(|revision| revision.to_string());
    format!(
        "saved {}\n\
         revision: {} or later\n\
         size: {} bytes\n\
         sha256: {}\n\
         from: {}, member {}, etcd {}",
        saved.file,
        known(&revision),
        saved.size,
        saved.sha256,
        known(&saved.pod),
        known(&saved.member),
        known(&saved.version),
    )
}

fn exists(target: &Path) -> Failure {
    let target = target.display();
    Failure::Usage(format!("{target} is there already; --force replaces it"))
}

fn cannot_write(target: &Path, why: io::Error) -> Failure {
    let file = target.display().to_string();
    Failure::File { file, why }
}

/// A file beside its target, until it is whole. Deleted when dropped before.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn beside(target: &Path) -> Result<Self, Failure> {
        let Some(name) = target.file_name() else {
            let target = target.display();
            return Err(Failure::Usage(format!("{target} names no file")));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(hidden);
        let file = File::options()
            .write(true)
            .create_new(true)
            // It holds all data of the cluster.
            .mode(0o600)
            .open(&path)
            .map_err(|why| cannot_write(&path, why))?;
        Ok(Part { path, file })
    }

    /// Gives the file its name, once it is on the disk.
    fn put_in_place(self, target: &Path, force: bool) -> Result<(), Failure> {
        let cannot = |why: io::Error| cannot_write(target, why);
        self.file.sync_all().map_err(cannot)?;
        if force {
            fs::rename(&self.path, target).map_err(cannot)?;
        } else {
            match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
                // Somebody else was faster.
                Err(Errno::EXIST) => return Err(exists(target)),
                // Not all file systems can look and rename in one step.
                Err(Errno::INVAL | Errno::NOSYS)
                    if fs::symlink_metadata(target).is_err() =>
                {
                    fs::rename(&self.path, target).map_err(cannot)?;
                }
                renamed => renamed.map_err(|why| cannot(why.into()))?,
            }
        }
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = File::open(directory).map_err(cannot)?;
        directory.sync_all().map_err(cannot)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone when it has got its name.
        let _ = fs::remove_file(&self.path);
    }
}

/// The sum of the database, which must be what stands behind it, and that of all.
/// Not left to the scheduler: the last network to trust lies behind it.
#[derive(Debug, Default)]
struct Sums {
    database: Sha256,
    tail: Vec<u8>,
    length: u64,
}

impl Sums {
    fn feed(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.tail.extend_from_slice(piece);
        if let Some(surely_data) = self.tail.len().checked_sub(SUM_LENGTH) {
            self.database.update(&self.tail[..surely_data]);
            self.tail.drain(..surely_data);
        }
    }

    /// Size and SHA-256 of a whole snapshot, or what is wrong with it.
    fn finish(self) -> Result<(u64, String), String> {
        let database = self.length.saturating_sub(SUM_LENGTH as u64);
        if database == 0 || !database.is_multiple_of(SMALLEST_PAGE) {
            return Err(format!("{} bytes are no whole snapshot", self.length));
        }
        let whole = self.database.clone().chain_update(&self.tail);
        if self.tail != self.database.finalize().as_slice() {
            return Err("the snapshot does not have the sum at its end".to_owned());
        }
        Ok((self.length, hex::encode(whole.finalize())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let database = vec![7; 1024];
        let sum = Sha256::digest(&database);
        [database.as_slice(), sum.as_slice()].concat()
    }

    fn judge(snapshot: &[u8], size: usize) -> Result<(u64, String), String> {
        let mut sums = Sums::default();
        for piece in snapshot.chunks(size) {
            sums.feed(piece);
        }
        sums.finish()
    }

    #[test]
    fn only_a_whole_snapshot_is_one() {
        let whole = sample();
        let sha256 = hex::encode(Sha256::digest(&whole));
        for size in [1, 7, 31, 32, 33, 512, 5000] {
            assert_eq!(judge(&whole, size), Ok((1056, sha256.clone())), "{size}");
        }
        for length in 0..whole.len() {
            assert!(judge(&whole[..length], 100).is_err(), "{length}");
        }
        for place in [0, 1023, 1024, 1055] {
            let mut other = whole.clone();
            other[place] ^= 1;
            let expected = "the snapshot does not have the sum at its end";
            assert_eq!(judge(&other, 100), Err(expected.into()), "{place}");
        }
    }
}
