//! What the machine must have installed, by Debian package, and installing it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::SetupError;
use super::commands::{run, shown};
use crate::programs;

/// Some 200 MB at most, over a slow line, and unpacking it on a slow disk.
const INSTALL_LIMIT: Duration = Duration::from_secs(1200);
const UPDATE_LIMIT: Duration = Duration::from_secs(600);
/// How long apt waits, in seconds, while another apt or dpkg is at work.
const DPKG_LOCK_OPTION: &str = "DPkg::Lock::Timeout=300";

/// A package that is missing, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingPackage {
    /// Its name in Debian.
    pub name: &'static str,
    /// What it is for: "to compile ...".
    pub purpose: &'static str,
}

/// The packages that are missing on this machine; empty when it is ready.
pub fn missing_packages() -> Vec<MissingPackage> {
    let mut names = programs::missing_packages();
    names.extend(missing_for_protobuf());
    names
        .into_iter()
        .map(|name| MissingPackage {
            name,
            purpose: purpose_of(name),
        })
        .collect()
}

/// The build of etcd's client calls protoc, which must find the messages that come
/// with it: in Debian they are a package of their own. A protoc that `PROTOC` names is
/// somebody's choice and is left alone.
fn missing_for_protobuf() -> Vec<&'static str> {
    if std::env::var_os("PROTOC").is_some_and(|named| Path::new(&named).is_file()) {
        return Vec::new();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let protoc = std::env::split_paths(&path)
        .map(|directory| directory.join("protoc"))
        .find(|program| program.is_file());
    let Some(protoc) = protoc else {
        return vec!["protobuf-compiler", "libprotobuf-dev"];
    };
    match has_standard_messages(&protoc) {
        true => Vec::new(),
        false => vec!["libprotobuf-dev"],
    }
}

/// Looks where protoc looks: beside itself, and in `include` of its prefix.
fn has_standard_messages(protoc: &Path) -> bool {
    const ONE_OF_THEM: &str = "google/protobuf/struct.proto";
    let program = fs::canonicalize(protoc).unwrap_or_else(|_| protoc.to_owned());
    program.ancestors().skip(1).take(2).any(|directory| {
        directory.join(ONE_OF_THEM).is_file()
            || directory.join("include").join(ONE_OF_THEM).is_file()
    })
}

fn purpose_of(package: &str) -> &'static str {
    match package {
        "g++" => "to compile main() of Apache Mesos",
        "gcc" => "to compile stand-ins for old libraries that Apache Mesos asks for",
        "binutils" => "to read which symbols Apache Mesos asks for",
        "python3-venv" => "to fetch Apache Mesos from its package registry",
        "libsvn1" | "libsasl2-2" | "libapr1" => "a library that Apache Mesos runs with",
        "protobuf-compiler" | "libprotobuf-dev" => "to compile the client for etcd",
        _ => "needed by Apache Mesos",
    }
}

/// Installs what is missing, telling `progress` each package and why. Blocks; does
/// nothing, quickly, when nothing is missing.
///
/// # Errors
///
/// [`SetupError::NeedsRoot`] with the exact command when we may not,
/// [`SetupError::Command`] with apt's last words, [`SetupError::StillMissing`].
pub fn ensure(scratch: &Path, progress: &dyn Fn(&str)) -> Result<(), SetupError> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&'static str> = missing.iter().map(|package| package.name).collect();
    for MissingPackage { name, purpose } in &missing {
        progress(&format!("missing: {name} ({purpose})"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(SetupError::NeedsRoot {
            command: command_for_others(&names),
        });
    }
    progress(&format!("installing by apt-get: {}", names.join(" ")));
    install(&names, scratch, progress)?;
    let still_missing: Vec<&'static str> = missing_packages()
        .iter()
        .map(|package| package.name)
        .collect();
    match still_missing.is_empty() {
        true => Ok(()),
        false => Err(SetupError::StillMissing {
            packages: still_missing,
        }),
    }
}

fn install(
    names: &[&str],
    scratch: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), SetupError> {
    let log = scratch.join("apt-install.log");
    let doing = "install what is missing";
    let first = run(install_command(names), doing, INSTALL_LIMIT, &log);
    let Err(error) = first else { return Ok(()) };
    // Bare images come without package lists, old ones name files that are gone.
    progress(&format!(
        "apt-get did not succeed ({error}); updating its lists"
    ));
    let mut update = Command::new("apt-get");
    update.args(["-o", DPKG_LOCK_OPTION, "update"]);
    run(update, "update apt's package lists", UPDATE_LIMIT, &log)?;
    run(install_command(names), doing, INSTALL_LIMIT, &log).map(drop)
}

fn install_command(names: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-o",
            DPKG_LOCK_OPTION,
            "install",
            "-y",
            "--no-install-recommends",
        ])
        .args(names);
    command
}

fn command_for_others(names: &[&str]) -> String {
    let mut command = Command::new("sudo");
    command
        .args(["apt-get", "install", "-y", "--no-install-recommends"])
        .args(names);
    shown(&command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_the_exact_command() {
        assert_eq!(
            command_for_others(&["g++", "libsvn1"]),
            "sudo apt-get install -y --no-install-recommends g++ libsvn1"
        );
    }

    #[test]
    fn messages_are_looked_for_where_protoc_does() {
        let prefix = tempfile::tempdir().unwrap();
        let programs = prefix.path().join("bin");
        let messages = prefix.path().join("include/google/protobuf");
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&messages).unwrap();
        let protoc = programs.join("protoc");
        fs::write(&protoc, "").unwrap();
        assert!(!has_standard_messages(&protoc));
        fs::write(messages.join("struct.proto"), "").unwrap();
        assert!(has_standard_messages(&protoc));
    }

    #[test]
    fn every_package_has_a_purpose() {
        for package in missing_packages() {
            assert_ne!(
                package.purpose, "needed by Apache Mesos",
                "{}",
                package.name
            );
        }
    }
}
