//! Fetches pymesos from Python's package registry into the cache: a Mesos library that
//! shares no code with ours, for frameworks of strangers in tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::SetupError;
use super::commands::run;
use super::fresh_directory;
use crate::cache_lock;

/// What is installed, and in what order. All versions are named, so that a test does
/// not change by itself; raise the directory's number with them.
const HTTP_PARSER: &str = "http-parser==0.9.0";
const OTHERS: [&str; 4] = [
    "six==1.17.0",
    "addict==2.4.0",
    "kazoo==2.11.0",
    "pymesos==0.3.15",
];
const DIRECTORY: &str = "pymesos-0.3.15-1";
/// Made last: without it, somebody died while installing.
const COMPLETE: &str = "complete";

/// A virtual environment is made in seconds; minutes mean that something is stuck.
const ENVIRONMENT_LIMIT: Duration = Duration::from_secs(180);
/// Some 300 kB.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// Gives a Python that has pymesos, and installs it first if `cache` has none. Safe to
/// be called by many processes at once: one installs, the others wait.
///
/// Blocks, some ten seconds the first time.
///
/// # Errors
///
/// [`SetupError::Command`] when the registry cannot be reached or there is no
/// `python3` with `venv`, [`SetupError::File`], [`SetupError::Locked`].
pub fn ensure(cache: &Path, progress: &dyn Fn(&str)) -> Result<PathBuf, SetupError> {
    fs::create_dir_all(cache)
        .map_err(|source| SetupError::file("make", cache, source))?;
    let cache = &fs::canonicalize(cache)
        .map_err(|source| SetupError::file("find", cache, source))?;
    // In its place from the beginning: an environment holds its own path.
    let environment = cache.join(DIRECTORY);
    let python = environment.join("bin/python");
    let complete = environment.join(COMPLETE);
    if complete.is_file() {
        return Ok(python);
    }
    let _lock =
        cache_lock::lock(&cache.join("pymesos.lock"), "fetches pymesos", progress)?;
    if complete.is_file() {
        return Ok(python);
    }
    progress("fetching pymesos (once)");
    install(&environment)?;
    fs::write(&complete, "")
        .map_err(|source| SetupError::file("write", &complete, source))?;
    Ok(python)
}

fn install(environment: &Path) -> Result<(), SetupError> {
    fresh_directory(environment)?;
    let log = environment.join("install.log");
    let mut command = Command::new("python3");
    command.args(["-m", "venv"]).arg(environment);
    run(
        command,
        "make a Python environment",
        ENVIRONMENT_LIMIT,
        &log,
    )?;

    let pip = || {
        let mut command = Command::new(environment.join("bin/pip"));
        command.args(["install", "--no-deps", "--disable-pip-version-check"]);
        command
    };
    // Its C part has not compiled since Python 3.11. The package holds the same in
    // Python and takes that where the C part is not there: with a compiler that does
    // nothing, it is not.
    let mut command = pip();
    command.env("CC", "true").arg(HTTP_PARSER);
    run(
        command,
        "install the parser of pymesos",
        INSTALL_LIMIT,
        &log,
    )?;
    let mut command = pip();
    command.args(OTHERS);
    run(command, "install pymesos", INSTALL_LIMIT, &log)?;
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-c", "import pymesos"]);
    run(command, "load pymesos", ENVIRONMENT_LIMIT, &log).map(drop)
}
