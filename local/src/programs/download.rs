//! Gets the Mesos library out of a package registry.
//!
//! The package is a binary archive without a `setup.py`, so pip refuses to build it,
//! but only after it has downloaded and unpacked it; `--no-clean` keeps what it
//! unpacked. The version is not one of PEP 440, which pip takes only before 24.1:
//! hence a pip of our own in a private virtual environment.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::bounded_command::BoundedCommand;
use super::{LIBRARY_SHA256, ProgramsError};

const PACKAGE: &str = "mesos.scheduler===1.11.0.linux-x86_64";
const FILE_IN_PACKAGE: &str = "_scheduler.so";
const PIP: &str = "pip<24.1";

/// A virtual environment is made in seconds; minutes mean that something is stuck.
const ENVIRONMENT_LIMIT: Duration = Duration::from_secs(180);
/// 27 MB; at 50 KB/s still within the limit.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);
/// The archive has the whole path of an installation, some ten directories deep.
const SEARCH_DEPTH: usize = 20;

/// Downloads the library to `target`, which appears whole or not at all.
/// `scratch` must exist, and may be thrown away afterwards.
pub(super) fn download_library(
    scratch: &Path,
    target: &Path,
) -> Result<(), ProgramsError> {
    let environment = scratch.join("venv");
    let mut command = Command::new("python3");
    command.args(["-m", "venv"]).arg(&environment);
    run(
        scratch,
        command,
        "make a Python environment",
        ENVIRONMENT_LIMIT,
    )?;

    let pip = environment.join("bin/pip");
    let mut command = Command::new(&pip);
    command.args(["install", "--quiet", PIP]);
    run(
        scratch,
        command,
        "install a pip that takes the package",
        ENVIRONMENT_LIMIT,
    )?;

    let unpacked = scratch.join("unpacked");
    fs::create_dir_all(&unpacked)
        .map_err(|source| ProgramsError::file("make", &unpacked, source))?;
    let mut command = Command::new(&pip);
    command
        .args([
            "download",
            "--no-clean",
            "--no-deps",
            "--no-binary",
            ":all:",
            PACKAGE,
        ])
        .current_dir(&unpacked)
        .env("TMPDIR", &unpacked);
    let (ended, output) = bounded(
        scratch,
        command,
        "download the Mesos library",
        DOWNLOAD_LIMIT,
    )
    .run_whatever_the_result()?;
    let Some(library) = find_file(&unpacked, FILE_IN_PACKAGE, SEARCH_DEPTH) else {
        return Err(ended.into_error(&output));
    };
    let found = sha256_of(&library)?;
    if found != LIBRARY_SHA256 {
        return Err(ProgramsError::WrongChecksum {
            found,
            wanted: LIBRARY_SHA256,
        });
    }
    fs::rename(&library, target)
        .map_err(|source| ProgramsError::file("move the library to", target, source))
}

fn run(
    scratch: &Path,
    command: Command,
    doing: &'static str,
    limit: Duration,
) -> Result<String, ProgramsError> {
    bounded(scratch, command, doing, limit).run()
}

fn bounded(
    scratch: &Path,
    command: Command,
    doing: &'static str,
    limit: Duration,
) -> BoundedCommand {
    BoundedCommand {
        command,
        doing,
        limit,
        log: scratch.join("command.log"),
    }
}

fn find_file(directory: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let mut below = Vec::new();
    for entry in fs::read_dir(directory).ok()?.flatten() {
        if entry.file_name() == name {
            return Some(entry.path());
        }
        // Not through symbolic links: they could lead round in circles.
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(entry.path());
        }
    }
    below
        .iter()
        .find_map(|directory| find_file(directory, name, depth - 1))
}

fn sha256_of(path: &Path) -> Result<String, ProgramsError> {
    let read = |source| ProgramsError::file("read", path, source);
    let mut file = File::open(path).map_err(read)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(read)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
