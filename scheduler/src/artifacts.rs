//! The programs that agents fetch: our executor, and etcd with its tools.
//!
//! Mesos' fetcher can carry neither a token nor a checksum, and the URIs stand
//! in `TaskInfo` for everyone who may read the master's state. So each launch
//! gets a path that nobody can guess and that expires, and what arrives is
//! checked on the agent: the executor by the launch command, etcd by the
//! executor, against the checksums of the recipe that the member is launched with.
//!
//! What is served are copies ([`kept`]): a recipe of an earlier start can be launched
//! for as long as somebody needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_launch::Sha256;
use etcd_planner::programs::{Archive, ExecutorProgram, Programs};
use sha2::Digest;

mod kept;
mod program;

pub use kept::KeptPrograms;
pub use program::Program;

/// First part of the path under which programs are served.
pub const ARTIFACT_PATH: &str = "/artifacts/";

/// The executor's name in the sandbox.
pub const EXECUTOR_FILE: &str = "etcd-executor";

/// What an etcd directory must hold; the first is what members run.
pub const ETCD_FILES: [&str; 2] = ["etcd", "etcdctl"];

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

/// What an agent fetches for one launch, and how it knows that it is the right thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    /// What Mesos' fetcher is given.
    pub uris: Vec<FetchUri>,
    /// What has to be checked before anything of it runs: names in the sandbox, and
    /// their checksums. etcd's programs are not among them where they come one by
    /// one: the executor checks those itself, by its launch spec.
    pub checks: Vec<(String, Sha256)>,
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
    /// A copy of it cannot be made.
    #[error("cannot keep a copy of {what} as {} (scheduler.state_dir)", .path.display())]
    NotKept {
        /// Which program.
        what: String,
        /// Where the copy was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of the copies cannot be made.
    #[error("cannot keep copies of programs in {} (scheduler.state_dir)", .path.display())]
    NoDirectory {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive's URI does not name one.
    #[error(
        "{uri} does not end in the name of an archive; etcd.uri needs one such as \
         etcd-v3.5.30-linux-amd64.tar.gz, whose name without endings is the directory inside"
    )]
    NotAnArchive {
        /// The URI.
        uri: String,
    },
}

/// A recipe's programs cannot be fetched by anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAtHand {
    /// The scheduler has no copy.
    #[error(
        "there is no copy of {what} (SHA-256 {sha256}) in {directory}: {why}; start the \
         scheduler with the {option} that has it"
    )]
    NoCopy {
        /// Which program.
        what: String,
        /// Its checksum.
        sha256: Sha256,
        /// Where copies are.
        directory: String,
        /// What the system said.
        why: String,
        /// Which option names where it could come from.
        option: &'static str,
    },
    /// Nobody knows from where it came: a record of an earlier release.
    #[error(
        "it is not recorded from where {directory} was fetched; start the scheduler with \
         the etcd.uri of that release"
    )]
    NoArchive {
        /// The archive's directory.
        directory: String,
    },
}

const EXECUTOR_HINT: &str = "scheduler.executor names it";
const ETCD_HINT: &str = "scheduler.etcd_dir names its directory";

/// The programs, and who may fetch them now.
#[derive(Debug)]
pub struct Artifacts {
    /// What this start serves.
    served: Programs,
    kept: KeptPrograms,
    /// Open copies.
    open: Mutex<BTreeMap<Sha256, Arc<Program>>>,
    /// By the checksum of their random part, not by that part itself: how long
    /// a look-up takes then tells nothing about valid paths.
    paths: Mutex<BTreeMap<[u8; 32], LaunchPath>>,
}

/// What may be fetched under one path.
#[derive(Debug)]
struct LaunchPath {
    until: Instant,
    files: BTreeMap<String, Arc<Program>>,
}

impl Artifacts {
    /// Opens the programs, takes their checksums and copies what is new into the
    /// state directory. Reads some 60 MB twice, so it takes part of a second; call
    /// it before anything waits.
    ///
    /// # Errors
    ///
    /// When a program is missing, unreadable or not executable, and when it cannot be
    /// copied.
    pub fn open(
        executor: &ExecutorSource,
        etcd: &EtcdSource,
        state: &Path,
    ) -> Result<Self, ArtifactError> {
        let kept = KeptPrograms::in_state(state).map_err(|source| {
            let path = state.to_owned();
            ArtifactError::NoDirectory { path, source }
        })?;
        let mut open = BTreeMap::new();
        let mut keep = |what: &str, path: &Path, hint| {
            let (program, sha256) = Program::keep(what, path, hint, &kept)?;
            open.insert(sha256.clone(), Arc::new(program));
            Ok::<Sha256, ArtifactError>(sha256)
        };
        let served = programs_of(executor, etcd, &mut keep)?;
        Ok(Artifacts {
            served,
            kept,
            open: Mutex::new(open),
            paths: Mutex::default(),
        })
    }

    /// The programs that a start would serve. Nothing is copied, and nothing fetched:
    /// of what agents get from elsewhere it is known what the options say.
    ///
    /// # Errors
    ///
    /// When a program is missing, unreadable or not executable.
    pub fn foresee(
        executor: &ExecutorSource,
        etcd: &EtcdSource,
    ) -> Result<Programs, ArtifactError> {
        programs_of(executor, etcd, &mut Program::checksum)
    }

    /// The programs that this start serves.
    pub fn served(&self) -> &Programs {
        &self.served
    }

    /// The copy of the etcd that this start serves, unless it comes from elsewhere.
    pub fn served_etcd(&self) -> Option<PathBuf> {
        let sha256 = self.served.checksums.get(ETCD_FILES[0])?;
        Some(self.kept.path(sha256))
    }

    /// What an agent fetches for a member with these programs, under a new path that
    /// is valid for [`PATH_LIFETIME`] from `now`. `base_url` is the URL under which
    /// agents reach our API, without a path.
    ///
    /// # Errors
    ///
    /// When a program of theirs is not to be had any more. Nothing else is given in
    /// its place.
    pub fn fetch(
        &self,
        programs: &Programs,
        base_url: &str,
        now: Instant,
    ) -> Result<Fetch, NotAtHand> {
        let files = self.files(programs)?;
        let executor = self.executor_of(programs);
        let base = format!(
            "{}{ARTIFACT_PATH}{}",
            base_url.trim_end_matches('/'),
            self.new_path(files, now)
        );
        let mut fetch = Fetch::default();
        if let Some(ExecutorProgram { sha256, uri }) = executor {
            let uri = uri.unwrap_or_else(|| format!("{base}/{EXECUTOR_FILE}"));
            fetch.uris.push(fetch_program(EXECUTOR_FILE, uri));
            fetch.checks.push((EXECUTOR_FILE.to_owned(), sha256));
        }
        let etcd = programs.checksums.keys();
        let uris = etcd.map(|name| fetch_program(name, format!("{base}/{name}")));
        fetch.uris.extend(uris);
        if let Some(Archive { uri, sha256 }) = &programs.archive
            && let Some((archive, _)) = archive_names(uri)
        {
            fetch.uris.push(FetchUri {
                uri: uri.clone(),
                output_file: archive.clone(),
                executable: false,
                extract: true,
            });
            fetch.checks.push((archive, sha256.clone()));
        }
        Ok(fetch)
    }

    /// Why agents cannot fetch these programs, if they cannot.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn look_for(&self, programs: &Programs) -> Result<(), NotAtHand> {
        self.files(programs).map(drop)
    }

    /// Records of earlier releases do not tell which executor it was.
    fn executor_of(&self, programs: &Programs) -> Option<ExecutorProgram> {
        let known = programs.executor.as_ref();
        known.or(self.served.executor.as_ref()).cloned()
    }

    /// What we have to serve for these programs, by its name in the sandbox.
    fn files(
        &self,
        programs: &Programs,
    ) -> Result<BTreeMap<String, Arc<Program>>, NotAtHand> {
        let comes_from_nowhere =
            programs.checksums.is_empty() && programs.archive.is_none();
        if comes_from_nowhere {
            let directory = programs.directory.clone();
            return Err(NotAtHand::NoArchive { directory });
        }
        let mut files = BTreeMap::new();
        let executor = self.executor_of(programs).filter(|it| it.uri.is_none());
        if let Some(executor) = executor {
            let program =
                self.program(EXECUTOR_FILE, &executor.sha256, "scheduler.executor")?;
            files.insert(EXECUTOR_FILE.to_owned(), program);
        }
        for (name, sha256) in &programs.checksums {
            let program = self.program(name, sha256, "scheduler.etcd_dir")?;
            files.insert(name.clone(), program);
        }
        Ok(files)
    }

    fn program(
        &self,
        what: &str,
        sha256: &Sha256,
        option: &'static str,
    ) -> Result<Arc<Program>, NotAtHand> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = open.get(sha256) {
            return Ok(Arc::clone(program));
        }
        let program = Program::kept(&self.kept, sha256).map_err(|error| {
            let directory = self.kept.path(sha256);
            let directory = directory.parent().unwrap_or(&directory);
            NotAtHand::NoCopy {
                what: what.to_owned(),
                sha256: sha256.clone(),
                directory: directory.display().to_string(),
                why: error.to_string(),
                option,
            }
        })?;
        let program = Arc::new(program);
        open.insert(sha256.clone(), Arc::clone(&program));
        Ok(program)
    }

    /// Removes all copies but those of programs that are needed, and of those that
    /// this start serves.
    pub fn forget_all_but<'p>(&'p self, needed: impl Iterator<Item = &'p Programs>) {
        let needed: BTreeSet<Sha256> = needed
            .chain([&self.served])
            .flat_map(Programs::served)
            .cloned()
            .collect();
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|sha256, _| needed.contains(sha256));
        match self.kept.remove_all_but(&needed) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                tracing::info!(?removed, "copies of programs that nobody needs are gone");
            }
            // The next one to be removed takes them along.
            Err(error) => {
                tracing::warn!(%error, "copies of programs cannot be removed");
            }
        }
    }

    /// A new valid path; those that have expired are forgotten.
    fn new_path(&self, files: BTreeMap<String, Arc<Program>>, now: Instant) -> String {
        // 122 random bits from the system's generator: more than anyone can try
        // in the quarter of an hour for which one is valid.
        let path = uuid::Uuid::new_v4().simple().to_string();
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.retain(|_, path| path.until > now);
        let until = now + PATH_LIFETIME;
        paths.insert(digest(&path), LaunchPath { until, files });
        path
    }

    /// The program of a path and a file name, if the path is valid at `now`.
    /// File names are looked up among those that we serve and never become part
    /// of a path on disk.
    pub fn find(&self, path: &str, file: &str, now: Instant) -> Option<Arc<Program>> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let path = paths.get(&digest(path)).filter(|path| path.until > now)?;
        path.files.get(file).cloned()
    }
}

/// What these sources hold, with the checksums that `take` gives for the name of a
/// program, its path, and the option that names that.
fn programs_of(
    executor: &ExecutorSource,
    etcd: &EtcdSource,
    take: &mut impl FnMut(&str, &Path, &'static str) -> Result<Sha256, ArtifactError>,
) -> Result<Programs, ArtifactError> {
    let executor = match executor {
        ExecutorSource::File(path) => ExecutorProgram {
            sha256: take("the executor", path, EXECUTOR_HINT)?,
            uri: None,
        },
        ExecutorSource::Uri { uri, sha256 } => ExecutorProgram {
            sha256: sha256.clone(),
            uri: Some(uri.clone()),
        },
    };
    let mut programs = match etcd {
        EtcdSource::Directory(directory) => {
            let mut checksums = BTreeMap::new();
            let optional = directory.join(OPTIONAL_ETCD_FILE);
            let optional = optional.exists().then_some(OPTIONAL_ETCD_FILE);
            for name in ETCD_FILES.into_iter().chain(optional) {
                let sha256 = take(name, &directory.join(name), ETCD_HINT)?;
                checksums.insert(name.to_owned(), sha256);
            }
            programs_in(".".to_owned(), checksums, None)
        }
        EtcdSource::Archive { uri, sha256 } => {
            let (_, directory) = archive_names(uri)
                .ok_or_else(|| ArtifactError::NotAnArchive { uri: uri.clone() })?;
            let archive = Archive {
                uri: uri.clone(),
                sha256: sha256.clone(),
            };
            programs_in(directory, BTreeMap::new(), Some(archive))
        }
    };
    programs.executor = Some(executor);
    Ok(programs)
}

fn programs_in(
    directory: String,
    checksums: BTreeMap<String, Sha256>,
    archive: Option<Archive>,
) -> Programs {
    Programs {
        directory,
        checksums,
        archive,
        executor: None,
        version: None,
    }
}

fn fetch_program(name: &str, uri: String) -> FetchUri {
    FetchUri {
        uri,
        output_file: name.to_owned(),
        executable: true,
        extract: false,
    }
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

fn digest(text: &str) -> [u8; 32] {
    sha2::Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests;
