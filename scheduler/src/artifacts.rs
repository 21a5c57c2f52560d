//! The programs that agents fetch: our executor, and etcd with its tools.
//!
//! Mesos' fetcher can carry neither a token nor a checksum, and the URIs stand
//! in `TaskInfo` for everyone who may read the master's state. So each launch
//! gets a path that nobody can guess and that expires, and what arrives is
//! checked on the agent: the executor by the launch command, etcd by the
//! executor, against checksums that were taken here when the scheduler started.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_launch::{EtcdProgram, Sha256};
use futures_util::Stream;
use sha2::Digest;

/// First part of the path under which programs are served.
pub const ARTIFACT_PATH: &str = "/artifacts/";

/// The executor's name in the sandbox.
pub const EXECUTOR_FILE: &str = "etcd-executor";

/// What an etcd directory must hold.
const ETCD_FILES: [&str; 2] = ["etcd", "etcdctl"];

/// What it may hold: etcd has it since 3.5.
const OPTIONAL_ETCD_FILE: &str = "etcdutl";

/// For how long the path of one launch is valid.
///
/// The fetch begins when the agent has the task. That is at once, unless the
/// agent has just lost its master: then the master holds the launch until the
/// agent is back, which it allows ten minutes by default
/// (`--agent_reregister_timeout`). A fetch that has begun may take as long as
/// it likes. A launch that comes later than that fails and is made anew.
pub const PATH_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Large enough to keep a disk busy, small enough to hold in memory for each of
/// a handful of fetches at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where agents get the executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutorSource {
    /// From us: this file.
    File(PathBuf),
    /// From elsewhere.
    Uri {
        /// What the fetcher is given.
        uri: String,
        /// Its checksum.
        sha256: Sha256,
    },
}

/// Where agents get etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdSource {
    /// From us: the programs in this directory.
    Directory(PathBuf),
    /// From elsewhere: a release archive, which Mesos' fetcher unpacks.
    Archive {
        /// What the fetcher is given.
        uri: String,
        /// The archive's checksum.
        sha256: Sha256,
    },
}

/// One thing for Mesos' fetcher to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchUri {
    /// From where.
    pub uri: String,
    /// Its name in the sandbox.
    pub output_file: String,
    /// Whether to set the executable bits.
    pub executable: bool,
    /// Whether to unpack it.
    pub extract: bool,
}

/// A program cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not there, or cannot be read.
    #[error("cannot read {what} {} ({hint})", .path.display())]
    Unreadable {
        /// Which program.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// Which option says where it is.
        hint: &'static str,
    },
    /// It is there, but not a program.
    #[error("{what} {} {why} ({hint})", .path.display())]
    NotAProgram {
        /// Which program.
        what: String,
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
        /// Which option says where it is.
        hint: &'static str,
    },
    /// An archive's URI does not name one.
    #[error(
        "{uri} does not end in the name of an archive; scheduler.etcd_uri needs one such as \
         etcd-v3.5.30-linux-amd64.tar.gz, whose name without endings is the directory inside"
    )]
    NotAnArchive {
        /// The URI.
        uri: String,
    },
}

const EXECUTOR_HINT: &str = "scheduler.executor names it";
const ETCD_HINT: &str = "scheduler.etcd_dir names its directory";

/// The programs, and who may fetch them now.
#[derive(Debug)]
pub struct Artifacts {
    executor: Source,
    executor_sha256: Sha256,
    etcd: Etcd,
    /// By the checksum of their random part, not by that part itself: how long
    /// a look-up takes then tells nothing about valid paths.
    valid_until: Mutex<BTreeMap<[u8; 32], Instant>>,
}

#[derive(Debug)]
enum Source {
    Served(Arc<Program>),
    Elsewhere { uri: String },
}

#[derive(Debug)]
enum Etcd {
    Served(BTreeMap<String, Arc<Program>>),
    Elsewhere {
        uri: String,
        archive: String,
        directory: String,
        sha256: Sha256,
    },
}

/// An open program. It is opened once and served from the open file, so that an
/// upgrade that puts another file under its name does not change what launches
/// get while their checksums are the old ones.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    file: File,
    version: FileVersion,
    sha256: Sha256,
}

/// What changes when somebody writes into the open file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    bytes: u64,
    modified: (i64, i64),
}

impl Artifacts {
    /// Opens the programs and takes their checksums. Reads some 60 MB, so it
    /// takes part of a second; call it before anything waits.
    ///
    /// # Errors
    ///
    /// When a program is missing, unreadable or not executable.
    pub fn open(
        executor: &ExecutorSource,
        etcd: &EtcdSource,
    ) -> Result<Self, ArtifactError> {
        let (executor, executor_sha256) = match executor {
            ExecutorSource::File(path) => {
                let program = Program::open("the executor", path, EXECUTOR_HINT)?;
                let sha256 = program.sha256.clone();
                (Source::Served(Arc::new(program)), sha256)
            }
            ExecutorSource::Uri { uri, sha256 } => {
                (Source::Elsewhere { uri: uri.clone() }, sha256.clone())
            }
        };
        let etcd = match etcd {
            EtcdSource::Directory(directory) => Etcd::Served(open_etcd(directory)?),
            EtcdSource::Archive { uri, sha256 } => {
                let (archive, directory) = archive_names(uri)
                    .ok_or_else(|| ArtifactError::NotAnArchive { uri: uri.clone() })?;
                Etcd::Elsewhere {
                    uri: uri.clone(),
                    archive,
                    directory,
                    sha256: sha256.clone(),
                }
            }
        };
        Ok(Artifacts {
            executor,
            executor_sha256,
            etcd,
            valid_until: Mutex::default(),
        })
    }

    /// What the launch spec says of etcd: where it is in the sandbox, and the
    /// checksums of its programs. An archive's programs have none; the archive
    /// itself is checked, see [`Artifacts::checks_before_launch`].
    pub fn program(&self) -> EtcdProgram {
        match &self.etcd {
            Etcd::Served(programs) => EtcdProgram {
                directory: ".".to_owned(),
                checksums: programs
                    .iter()
                    .map(|(name, program)| (name.clone(), program.sha256.clone()))
                    .collect(),
            },
            Etcd::Elsewhere { directory, .. } => EtcdProgram {
                directory: directory.clone(),
                checksums: BTreeMap::new(),
            },
        }
    }

    /// The executor's checksum.
    pub fn executor_sha256(&self) -> &Sha256 {
        &self.executor_sha256
    }

    /// What the launch command must check before it runs anything: names in the
    /// sandbox, and their checksums.
    pub fn checks_before_launch(&self) -> Vec<(String, Sha256)> {
        let executor = (EXECUTOR_FILE.to_owned(), self.executor_sha256.clone());
        match &self.etcd {
            Etcd::Served(_) => vec![executor],
            Etcd::Elsewhere {
                archive, sha256, ..
            } => vec![executor, (archive.clone(), sha256.clone())],
        }
    }

    /// What one launch fetches, under a new path that is valid for
    /// [`PATH_LIFETIME`] from `now`. `base_url` is the URL under which agents
    /// reach our API, without a path.
    pub fn uris_for_launch(&self, base_url: &str, now: Instant) -> Vec<FetchUri> {
        let base = format!(
            "{}{ARTIFACT_PATH}{}",
            base_url.trim_end_matches('/'),
            self.new_path(now)
        );
        let program = |name: &str, uri: String| FetchUri {
            uri,
            output_file: name.to_owned(),
            executable: true,
            extract: false,
        };
        let mut uris = vec![match &self.executor {
            Source::Served(_) => {
                program(EXECUTOR_FILE, format!("{base}/{EXECUTOR_FILE}"))
            }
            Source::Elsewhere { uri } => program(EXECUTOR_FILE, uri.clone()),
        }];
        match &self.etcd {
            Etcd::Served(programs) => uris.extend(
                programs
                    .keys()
                    .map(|name| program(name, format!("{base}/{name}"))),
            ),
            Etcd::Elsewhere { uri, archive, .. } => uris.push(FetchUri {
                uri: uri.clone(),
                output_file: archive.clone(),
                executable: false,
                extract: true,
            }),
        }
        uris
    }

    /// A new valid path; those that have expired are forgotten.
    fn new_path(&self, now: Instant) -> String {
        // 122 random bits from the system's generator: more than anyone can try
        // in the quarter of an hour for which one is valid.
        let path = uuid::Uuid::new_v4().simple().to_string();
        let mut valid_until = self
            .valid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        valid_until.retain(|_, until| *until > now);
        valid_until.insert(digest(&path), now + PATH_LIFETIME);
        path
    }

    /// The program of a path and a file name, if the path is valid at `now`.
    /// File names are looked up among those that we serve and never become part
    /// of a path on disk.
    pub fn find(&self, path: &str, file: &str, now: Instant) -> Option<Arc<Program>> {
        let valid = self
            .valid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&digest(path))
            .is_some_and(|until| *until > now);
        if !valid {
            return None;
        }
        match (&self.executor, &self.etcd) {
            (Source::Served(program), _) if file == EXECUTOR_FILE => {
                Some(Arc::clone(program))
            }
            (_, Etcd::Served(programs)) => programs.get(file).cloned(),
            _ => None,
        }
    }
}

impl Program {
    fn open(what: &str, path: &Path, hint: &'static str) -> Result<Self, ArtifactError> {
        let unreadable = |source| ArtifactError::Unreadable {
            what: what.to_owned(),
            path: path.to_owned(),
            source,
            hint,
        };
        let no_program = |why| ArtifactError::NotAProgram {
            what: what.to_owned(),
            path: path.to_owned(),
            why,
            hint,
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(no_program("is not a file"));
        }
        if metadata.len() == 0 {
            return Err(no_program("is empty"));
        }
        if metadata.mode() & 0o111 == 0 {
            return Err(no_program("is not executable"));
        }
        let version = FileVersion::of(&metadata);
        let sha256 = checksum(&file).map_err(unreadable)?;
        Ok(Program {
            path: path.to_owned(),
            file,
            version,
            sha256,
        })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.version.bytes
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the open file is still what the checksum was taken of. Somebody
    /// may have copied a new version over it in place.
    pub fn is_unchanged(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|metadata| FileVersion::of(&metadata) == self.version)
    }

    /// Its content, piece by piece.
    pub fn stream(
        self: Arc<Self>,
    ) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
        futures_util::stream::try_unfold(0, move |offset: u64| {
            let program = Arc::clone(&self);
            async move {
                if offset >= program.bytes() {
                    return Ok(None);
                }
                let chunk =
                    tokio::task::spawn_blocking(move || program.read_chunk(offset))
                        .await
                        .map_err(io::Error::other)??;
                let next = offset + chunk.len() as u64;
                Ok(Some((chunk, next)))
            }
        })
    }

    fn read_chunk(&self, offset: u64) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.bytes() - offset).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(CHUNK_BYTES)];
        self.file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    }
}

impl FileVersion {
    fn of(metadata: &std::fs::Metadata) -> Self {
        FileVersion {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

fn open_etcd(directory: &Path) -> Result<BTreeMap<String, Arc<Program>>, ArtifactError> {
    let mut programs = BTreeMap::new();
    for name in ETCD_FILES {
        let program = Program::open(name, &directory.join(name), ETCD_HINT)?;
        programs.insert(name.to_owned(), Arc::new(program));
    }
    let path = directory.join(OPTIONAL_ETCD_FILE);
    if path.exists() {
        let program = Program::open(OPTIONAL_ETCD_FILE, &path, ETCD_HINT)?;
        programs.insert(OPTIONAL_ETCD_FILE.to_owned(), Arc::new(program));
    }
    Ok(programs)
}

/// The archive's file name, and the directory that a release of etcd has
/// inside, which is the name without its endings.
fn archive_names(uri: &str) -> Option<(String, String)> {
    let without_query = uri.split(['?', '#']).next()?;
    let archive = without_query.rsplit('/').next()?;
    let directory = [".tar.gz", ".tgz", ".tar.xz", ".tar", ".zip"]
        .iter()
        .find_map(|ending| archive.strip_suffix(ending))?;
    (!directory.is_empty()).then(|| (archive.to_owned(), directory.to_owned()))
}

fn checksum(file: &File) -> io::Result<Sha256> {
    let mut hash = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut chunk, offset)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        offset += read as u64;
    }
    hex::encode(hash.finalize())
        .parse()
        .map_err(io::Error::other)
}

fn digest(text: &str) -> [u8; 32] {
    sha2::Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
#[path = "artifacts_tests.rs"]
mod tests;
