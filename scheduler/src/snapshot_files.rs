//! Snapshots on the scheduler's disk, taken before members get another etcd.
//!
//! A file has its name only when it is whole, checked and on the disk. The newest few
//! are kept: a change that is tried again and again must not fill the disk.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use etcd_admin::EtcdError;
use etcd_launch::PodIndex;
use etcd_planner::Timestamp;
use etcd_planner::alarms::megabytes;
use etcd_planner::record::{Cluster, SnapshotTaken, TargetId};
use tokio::io::AsyncWriteExt;
use tracing::{info, warn};

use crate::published::Published;
use crate::reading::Readers;
use crate::snapshots::{self, BEGUN_WITHIN, Begun, ENDED_WITHIN};

/// The directory of the files, in the state directory.
const DIRECTORY: &str = "snapshots";

/// How a file is called until it is whole.
const UNFINISHED: &str = "unfinished";

/// How a whole one ends.
const WHOLE: &str = "db";

/// One to go back to, one from before a first try that came to nothing, and one from
/// before the update before.
const KEPT: usize = 3;

/// So much of the disk stays free beside a snapshot. The scheduler goes on writing on it:
/// copies of the programs of another start are some 60 MB, its store a few; and what
/// clients write while the snapshot is read is in it, too.
pub const STAYS_FREE_BYTES: u64 = 128 << 20;

/// The files.
#[derive(Debug)]
pub struct SnapshotFiles {
    directory: PathBuf,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("{0}")]
    Etcd(#[from] EtcdError),
    #[error("{}: {source}", .path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("it was not begun within {BEGUN_WITHIN:?}")]
    NotBegun,
    #[error("it was not whole within {ENDED_WITHIN:?}")]
    NotEnded,
    #[error(
        "{} has {} MB free, and {} MB are needed: {} MB for a copy of the database, and \
         {} MB that stay free",
        .directory.display(), .free >> 20, megabytes(.database.saturating_add(STAYS_FREE_BYTES)),
        megabytes(*.database), megabytes(STAYS_FREE_BYTES)
    )]
    NoRoom {
        directory: PathBuf,
        /// What snapshots may take, bytes.
        free: u64,
        /// The largest database that members report, bytes.
        database: u64,
    },
}

impl SnapshotFiles {
    /// Those in a state directory. Nothing is made before the first is taken.
    pub fn in_state(state: &Path) -> Self {
        SnapshotFiles {
            directory: state.join(DIRECTORY),
        }
    }

    /// Writes a copy of all data: of the most caught-up follower that gives one.
    ///
    /// # Errors
    ///
    /// Why there is none, for operators.
    pub async fn take(
        &self,
        published: &Published,
        target: &TargetId,
        readers: &Readers,
        now: Timestamp,
    ) -> Result<SnapshotTaken, String> {
        let Cluster::Formed(cluster) = &published.record.cluster else {
            return Err("the cluster has not formed yet".to_owned());
        };
        let mut failures = Vec::new();
        let sources = snapshots::sources(published);
        if !sources.is_empty() {
            let judged = self.judge_room(largest_database(published));
            judged.map_err(|why| why.to_string())?;
        }
        for source in sources {
            let _reading = readers.begin(source.pod);
            let begun = snapshots::begin(&source, cluster.cluster_id);
            let begun = tokio::time::timeout(BEGUN_WITHIN, begun).await;
            let begun = match begun {
                Ok(begun) => begun.map_err(NotTaken::Etcd),
                Err(_) => Err(NotTaken::NotBegun),
            };
            let written = match begun {
                Ok(begun) => self.write(published, source.pod, begun, now).await,
                Err(why) => Err(why),
            };
            match written {
                Ok((path, revision, bytes)) => {
                    let path = path.display().to_string();
                    info!(pod = %source.pod, path, revision, bytes, "a snapshot is whole");
                    return Ok(SnapshotTaken {
                        target: target.clone(),
                        path,
                        revision,
                        bytes,
                        at: crate::clock::now(),
                    });
                }
                Err(why) => failures.push(format!("{}: {why}", source.pod)),
            }
        }
        if failures.is_empty() {
            failures.push("no follower is in good health".to_owned());
        }
        Err(failures.join("; "))
    }

    /// The file, its revision and its size.
    async fn write(
        &self,
        published: &Published,
        pod: PodIndex,
        begun: Begun,
        now: Timestamp,
    ) -> Result<(PathBuf, i64, u64), NotTaken> {
        let revision = begun.revision;
        let name = snapshots::file_name(&published.target.service, pod, revision);
        // By the name, files are in the order of time.
        let path = self.directory.join(format!("{:013}-{name}", now.0));
        let unfinished = path.with_extension(UNFINISHED);
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |source| NotTaken::Disk { path, source }
        };
        self.make_room().map_err(disk(&self.directory))?;
        let written = tokio::time::timeout(ENDED_WITHIN, pour(begun, &unfinished)).await;
        let bytes = match written.unwrap_or(Err(NotTaken::NotEnded)) {
            Ok(bytes) => bytes,
            Err(why) => {
                let _ = fs::remove_file(&unfinished);
                return Err(why);
            }
        };
        fs::rename(&unfinished, &path).map_err(disk(&path))?;
        let synced = File::open(&self.directory).and_then(|it| it.sync_all());
        synced.map_err(disk(&self.directory))?;
        Ok((path, revision, bytes))
    }

    /// Whether there is room for a copy of a database of this size, bytes. Asked before
    /// anything is read or removed: a disk that fills up takes the store with it.
    fn judge_room(&self, database: u64) -> Result<(), NotTaken> {
        let disk = |source| NotTaken::Disk {
            path: self.directory.clone(),
            source,
        };
        self.make_directory().map_err(disk)?;
        let free = free_bytes(&self.directory).map_err(disk)?;
        let in_the_way = self.in_the_way().map_err(disk)?;
        let sizes = in_the_way.iter().filter_map(|path| fs::metadata(path).ok());
        // What a file takes of the disk, which may be less than its length.
        let freed: u64 = sizes.map(|metadata| metadata.blocks() * 512).sum();
        enough_room(&self.directory, free.saturating_add(freed), database)
    }

    /// Makes the directory. A snapshot holds all that the members hold.
    fn make_directory(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
    }

    /// Makes the directory, and removes what is in the way of the next one.
    fn make_room(&self) -> io::Result<()> {
        self.make_directory()?;
        for path in self.in_the_way()? {
            info!(path = %path.display(), "an old snapshot makes room");
            if let Err(error) = fs::remove_file(&path) {
                warn!(path = %path.display(), %error, "an old snapshot cannot be removed");
            }
        }
        Ok(())
    }

    /// What is unfinished and what is old, so that with the next one there are not more
    /// than [`KEPT`].
    fn in_the_way(&self) -> io::Result<Vec<PathBuf>> {
        let (mut unfinished, mut whole) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(UNFINISHED) => unfinished.push(path),
                Some(WHOLE) => whole.push(path),
                _ => {}
            }
        }
        whole.sort_unstable();
        whole.truncate((whole.len() + 1).saturating_sub(KEPT));
        unfinished.extend(whole);
        Ok(unfinished)
    }
}

/// The largest database file that members report, bytes: a snapshot is a copy of one.
fn largest_database(published: &Published) -> u64 {
    let answers = published.probes.values();
    let sizes =
        answers.filter_map(|probe| Some(probe.answer.as_ref().ok()?.db_size_bytes));
    sizes.max().unwrap_or_default()
}

/// What an unprivileged process may still write on the disk of a directory, bytes.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn enough_room(directory: &Path, free: u64, database: u64) -> Result<(), NotTaken> {
    if free >= database.saturating_add(STAYS_FREE_BYTES) {
        return Ok(());
    }
    let directory = directory.to_owned();
    Err(NotTaken::NoRoom {
        directory,
        free,
        database,
    })
}

/// Writes all of a snapshot to a file, and the file to the disk.
async fn pour(mut begun: Begun, path: &Path) -> Result<u64, NotTaken> {
    let disk = |source| NotTaken::Disk {
        path: path.to_owned(),
        source,
    };
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).await.map_err(disk)?;
    let mut bytes = begun.first.len() as u64;
    file.write_all(&begun.first).await.map_err(disk)?;
    // The end comes only when the sum of all that came is right.
    while let Some(piece) = begun.stream.next().await? {
        file.write_all(&piece).await.map_err(disk)?;
        bytes += piece.len() as u64;
    }
    file.flush().await.map_err(disk)?;
    file.sync_all().await.map_err(disk)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn names(files: &SnapshotFiles) -> Vec<String> {
        let entries = fs::read_dir(&files.directory).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_newest_few_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::in_state(state.path());
        files.make_room().unwrap();
        for name in ["4.db", "1.db", "3.db", "2.db", "5.unfinished", "README"] {
            fs::write(files.directory.join(name), name).unwrap();
        }
        files.make_room().unwrap();
        assert_eq!(names(&files), ["3.db", "4.db", "README"]);
        files.make_room().unwrap();
        assert_eq!(names(&files).len(), 3);
    }

    #[test]
    fn a_disk_without_room_is_said_in_numbers() {
        #[track_caller]
        fn check(free_mib: u64, database_mib: u64, expected: &str) {
            let (free, database) = (free_mib << 20, database_mib << 20);
            let judged = enough_room(Path::new("/state/snapshots"), free, database);
            let told =
                judged.map_or_else(|why| why.to_string(), |()| "enough".to_owned());
            assert_eq!(told, expected);
        }
        check(628, 500, "enough");
        check(
            627,
            500,
            "/state/snapshots has 627 MB free, and 628 MB are needed: 500 MB for a copy of \
             the database, and 128 MB that stay free",
        );
        check(128, 0, "enough");
        check(
            0,
            0,
            "/state/snapshots has 0 MB free, and 128 MB are needed: 0 MB for a copy of the \
             database, and 128 MB that stay free",
        );
    }

    #[tokio::test]
    async fn without_room_it_is_not_begun_and_nothing_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::in_state(state.path());
        files.make_room().unwrap();
        let old = ["1.db", "2.db", "3.db", "4.unfinished"];
        for name in old {
            fs::write(files.directory.join(name), name).unwrap();
        }
        let mut model = samples::healthy_model();
        let probe = model.observed.probes.get_mut(&PodIndex(2)).unwrap();
        // More than any disk has.
        probe.answer.as_mut().unwrap().db_size_bytes = 1 << 60;
        let published = samples::published(&model);
        let (target, readers) = (TargetId("t".into()), Readers::default());
        let why = files
            .take(&published, &target, &readers, samples::NOW)
            .await;
        let why = why.unwrap_err();
        let needed = (1_u64 << 40) + 128;
        let expected = format!(
            "MB free, and {needed} MB are needed: {} MB for",
            1_u64 << 40
        );
        assert!(why.contains(&expected), "{why}");
        assert_eq!(names(&files), old);
    }

    #[tokio::test]
    async fn nobody_gives_one() {
        let state = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::in_state(state.path());
        let mut published = samples::published(&samples::healthy_model());
        published.healthy.clear();
        let (target, readers) = (TargetId("t".into()), Readers::default());
        let why = files
            .take(&published, &target, &readers, samples::NOW)
            .await;
        assert_eq!(why.unwrap_err(), "no follower is in good health");
        published.record.cluster = Cluster::Unborn;
        let why = files
            .take(&published, &target, &readers, samples::NOW)
            .await;
        assert_eq!(why.unwrap_err(), "the cluster has not formed yet");
    }
}
