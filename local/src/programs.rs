//! Makes the Mesos programs: fetches the library, builds our `main()` round it, and
//! keeps both in a cache, so that it is done once for each machine and user.
//!
//! What comes out is one program, `mesos-programs`, that is Apache Mesos 1.11.0's
//! master, agent, `mesos-containerizer` and `mesos-io-switchboard`, depending on how
//! it is called; `native/mesos_programs.cpp` explains how.

mod bounded_command;
mod download;
mod packages;
mod stubs;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cache_lock::{self, CacheLockError};

use bounded_command::BoundedCommand;
pub use packages::missing_packages;

const MESOS_VERSION: &str = "1.11.0";
/// SHA-256 of the library inside the package. All that `libmesos.hpp` knows about
/// memory layouts holds for this file alone.
const LIBRARY_SHA256: &str =
    "84d7ee9af27e912636b139de40257df1ee4f56c201de6bba834278aa1e8fd64c";
const LIBRARY_FILE: &str = "libmesos-py.so";
const PROGRAM_FILE: &str = "mesos-programs";

const SOURCES: [(&str, &str); 2] = [
    ("libmesos.hpp", include_str!("../native/libmesos.hpp")),
    (
        "mesos_programs.cpp",
        include_str!("../native/mesos_programs.cpp"),
    ),
];
/// Part of the cache's key: raise it when the way of building changes.
const RECIPE: &str = "1";

/// Compiling takes about ten seconds on a slow machine.
const COMPILE_LIMIT: Duration = Duration::from_secs(300);

/// Names the directory of the cache, instead of the user's own cache directory.
pub const CACHE_VARIABLE: &str = "ETCD_LOCAL_CACHE";

/// Why the Mesos programs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// Something must be installed first.
    #[error("real Mesos needs these Debian packages: install them by `apt-get install {}`",
        packages.join(" "))]
    MissingPackages {
        /// Their names, in the order in which they were looked for.
        packages: Vec<&'static str>,
    },
    /// A program that we ran failed.
    #[error("could not {doing}: {command}: {why}")]
    Command {
        /// What was being done.
        doing: &'static str,
        /// The command line.
        command: String,
        /// Exit status and the last lines of its output.
        why: String,
    },
    /// The registry gave another file than the one we know.
    #[error(
        "the Mesos library has the sha256 {found}, not {wanted}: remove the cache and \
         look at what the package registry serves"
    )]
    WrongChecksum {
        /// What came.
        found: String,
        /// What should have come.
        wanted: &'static str,
    },
    /// No place for the cache is known.
    #[error("neither {CACHE_VARIABLE}, XDG_CACHE_HOME nor HOME is set: set one of them")]
    NoCacheDirectory,
    /// The cache is another process' to fill.
    #[error(transparent)]
    Locked(#[from] CacheLockError),
    /// A file of the cache or of a launcher directory could not be used.
    #[error("could not {action} {}: {error}", path.display())]
    File {
        /// What was tried: "read", "make".
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The `etcd-local` program, which stands in for `mesos-fetcher`, is not there.
    #[error(
        "there is no etcd-local program in or above {}: build it by \
         `cargo build -p etcd-local`",
        searched.display()
    )]
    NoHelper {
        /// Where the search began.
        searched: PathBuf,
    },
}

impl ProgramsError {
    fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        ProgramsError::File {
            action,
            path: path.to_owned(),
            error: source,
        }
    }
}

/// The built programs.
#[derive(Debug, Clone)]
pub struct MesosPrograms {
    directory: PathBuf,
}

impl MesosPrograms {
    /// The program that is master or agent by its first argument.
    pub fn program(&self) -> PathBuf {
        self.directory.join(PROGRAM_FILE)
    }

    /// Fills a directory for the agent's `--launcher_dir`. It holds links under the
    /// names by which the agent calls its helpers; `mesos-fetcher` is ours, all others
    /// are Mesos. It belongs to one tree of agents and not to the cache, since each
    /// build of this project has its own `helper`.
    pub fn link_launcher_directory(
        &self,
        directory: &Path,
        helper: &HelperProgram,
    ) -> Result<(), ProgramsError> {
        fs::create_dir_all(directory)
            .map_err(|source| ProgramsError::file("make", directory, source))?;
        let program = self.program();
        for name in ["mesos-containerizer", "mesos-io-switchboard"] {
            replace(&directory.join(name), |aside| symlink(&program, aside))?;
        }
        // The agent resolves links before it runs the fetcher, so a symbolic one would
        // be called `etcd-local` and not know what is wanted of it.
        replace(&directory.join("mesos-fetcher"), |aside| {
            fs::hard_link(helper.path(), aside)
                .or_else(|_| fs::copy(helper.path(), aside).map(drop))
        })?;
        Ok(())
    }
}

/// The `etcd-local` program, called by agents as `mesos-fetcher` and by us as the
/// guard of the processes that we start.
#[derive(Debug, Clone)]
pub struct HelperProgram(PathBuf);

impl HelperProgram {
    /// A helper at a known path, which is made absolute.
    pub fn at(path: &Path) -> Result<Self, ProgramsError> {
        let absolute = fs::canonicalize(path)
            .map_err(|source| ProgramsError::file("find", path, source))?;
        Ok(HelperProgram(absolute))
    }

    /// The running program itself if it is `etcd-local`, else the one in its directory
    /// or the directory above: Cargo puts test programs into `deps/` below the others.
    pub fn find() -> Result<Self, ProgramsError> {
        let own = std::env::current_exe()
            .map_err(|source| ProgramsError::file("find", Path::new("self"), source))?;
        own.ancestors()
            .skip(1)
            .take(2)
            .map(|directory| directory.join("etcd-local"))
            .find(|candidate| candidate.is_file())
            .map(HelperProgram)
            .ok_or(ProgramsError::NoHelper { searched: own })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Where the programs are cached: `$ETCD_LOCAL_CACHE`, else `etcd-mesos` in the user's
/// cache directory.
pub fn cache_directory() -> Result<PathBuf, ProgramsError> {
    let from = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    from(CACHE_VARIABLE)
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| cache.join("etcd-mesos")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/etcd-mesos")))
        .ok_or(ProgramsError::NoCacheDirectory)
}

/// Gives the Mesos programs, and fetches and builds them first if the cache has none
/// for the present source. `progress` is told each step that takes time. Safe to be
/// called by many processes at once: one builds, the others wait.
///
/// Blocks, for half a minute in the worst usual case; seconds pass only in the first
/// call on a machine.
pub fn ensure(
    cache: &Path,
    progress: &dyn Fn(&str),
) -> Result<MesosPrograms, ProgramsError> {
    fs::create_dir_all(cache)
        .map_err(|source| ProgramsError::file("make", cache, source))?;
    // Absolute, since links are made to what is in it.
    let cache = &fs::canonicalize(cache)
        .map_err(|source| ProgramsError::file("find", cache, source))?;
    let built = MesosPrograms {
        directory: cache.join(format!("mesos-{MESOS_VERSION}-{}", build_key())),
    };
    // Renamed into place when complete, so a look without the lock is enough.
    if built.program().is_file() {
        return Ok(built);
    }
    let doing = "builds the Mesos programs";
    let _lock = cache_lock::lock(&cache.join("mesos.lock"), doing, progress)?;
    if built.program().is_file() {
        return Ok(built);
    }
    let packages = missing_packages();
    if !packages.is_empty() {
        return Err(ProgramsError::MissingPackages { packages });
    }
    // Whoever died here while building held the lock that we hold now.
    let scratch = fresh_directory(&cache.join("mesos-scratch"))?;
    let result = fetch_and_build(cache, &scratch, &built.directory, progress);
    let _ = fs::remove_dir_all(&scratch);
    result.map(|()| built)
}

fn fetch_and_build(
    cache: &Path,
    scratch: &Path,
    target: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), ProgramsError> {
    let library = cache.join(format!("libmesos-{}.so", &LIBRARY_SHA256[..16]));
    if !library.is_file() {
        progress("fetching Apache Mesos 1.11.0 (27 MB, once)");
        download::download_library(scratch, &library)?;
    }
    progress("building the Mesos programs (once)");
    let build = fresh_directory(&scratch.join("build"))?;
    build_in(&build, &library)?;
    fs::rename(&build, target)
        .map_err(|source| ProgramsError::file("move the build to", target, source))
}

/// Compiles stubs and programs; `build` has the layout of the finished directory.
fn build_in(build: &Path, library: &Path) -> Result<(), ProgramsError> {
    let libraries = fresh_directory(&build.join("lib"))?;
    let linked = libraries.join(LIBRARY_FILE);
    // A hard link costs nothing; a cache that spans file systems needs the copy.
    fs::hard_link(library, &linked)
        .or_else(|_| fs::copy(library, &linked).map(drop))
        .map_err(|source| ProgramsError::file("link", &linked, source))?;

    let sources = fresh_directory(&build.join("source"))?;
    for (name, text) in SOURCES {
        write(&sources.join(name), text)?;
    }
    let run = |command: Command, doing| {
        let log = sources.join("command.log");
        BoundedCommand {
            command,
            doing,
            limit: COMPILE_LIMIT,
            log,
        }
        .run()
    };

    let mut command = Command::new("readelf");
    command.args(["-W", "--dyn-syms"]).arg(&linked);
    let symbols = stubs::undefined_symbols(&run(command, "read the library's symbols")?);
    for stub in &stubs::STUB_LIBRARIES {
        let source = sources.join(format!("{}.c", stub.soname));
        let versions = sources.join(format!("{}.map", stub.soname));
        write(&source, &stub.source(&symbols))?;
        write(&versions, &stub.version_script(&symbols))?;
        let mut command = Command::new("gcc");
        command
            .args(["-w", "-shared", "-fPIC", "-fno-builtin", "-o"])
            .arg(libraries.join(stub.soname))
            .arg(&source)
            .arg(format!("-Wl,-soname,{}", stub.soname))
            .arg(format!("-Wl,--version-script={}", versions.display()));
        run(command, "compile a stub library")?;
    }

    let mut command = Command::new("g++");
    command
        .args(["-std=c++17", "-O1", "-Wall", "-rdynamic", "-o"])
        .arg(build.join(PROGRAM_FILE))
        .arg(sources.join("mesos_programs.cpp"))
        // The library looks for Python's and the stubs' symbols here; those that are
        // never called may stay unresolved, and functions are bound when called.
        .arg("-Wl,--unresolved-symbols=ignore-in-shared-libs")
        .arg("-Wl,-z,lazy")
        // Found next to the program and inherited by the library (RPATH, not RUNPATH).
        .arg("-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib")
        .arg("-L")
        .arg(&libraries)
        .arg("-lmesos-py");
    run(command, "compile the Mesos programs")?;
    check_that_it_loads(&build.join(PROGRAM_FILE), &sources)
}

/// Starts the program without arguments: it must get as far as to its own usage text,
/// which it does only if every shared library was found.
fn check_that_it_loads(program: &Path, sources: &Path) -> Result<(), ProgramsError> {
    let attempt = BoundedCommand {
        command: Command::new(program),
        doing: "start the Mesos programs",
        limit: Duration::from_secs(60),
        log: sources.join("command.log"),
    };
    let (ended, output) = attempt.run_whatever_the_result()?;
    if output.contains("mesos-programs master|agent") {
        Ok(())
    } else {
        Err(ended.into_error(&output))
    }
}

/// Sixteen hexadecimal digits that change with anything that the build depends on.
fn build_key() -> String {
    let mut hasher = Sha256::new();
    for part in [RECIPE, LIBRARY_SHA256]
        .into_iter()
        .chain(SOURCES.map(|(_, text)| text))
    {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())[..16].to_owned()
}

/// Makes a file aside and renames it into place: an agent may be using the old one.
fn replace(
    path: &Path,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), ProgramsError> {
    let aside = path.with_added_extension(std::process::id().to_string());
    // Left over by a process of the same id that died here, if it is there at all.
    let _ = fs::remove_file(&aside);
    make(&aside)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|source| ProgramsError::file("link", path, source))
}

fn fresh_directory(path: &Path) -> Result<PathBuf, ProgramsError> {
    let make = |source| ProgramsError::file("make", path, source);
    if path.exists() {
        fs::remove_dir_all(path).map_err(make)?;
    }
    fs::create_dir_all(path).map_err(make)?;
    Ok(path.to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), ProgramsError> {
    fs::write(path, text).map_err(|source| ProgramsError::file("write", path, source))
}
