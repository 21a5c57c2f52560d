//! Packages from a Debian suite that the machine does not use, without the machine
//! noticing: apt with lists, cache and state of its own. Proxies, passwords and
//! trusted keys are the machine's; its hooks are left out, for they change things.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::SetupError;
use super::apt_sources::{DebianArchive, SignedBy};
use super::commands::run;

/// The index of one suite is some 10 MB; a slow line gets ten minutes.
const UPDATE_LIMIT: Duration = Duration::from_secs(600);
/// The two packages are some 20 MB together.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);
/// Unpacking and asking apt for its settings touch nothing but the disk.
const LOCAL_LIMIT: Duration = Duration::from_secs(60);

/// Downloads `packages` of `suite` into `directory` (new and empty) and unpacks them.
/// Gives the directory that stands for `/`.
pub(super) fn unpack_packages(
    archive: &DebianArchive,
    suite: &str,
    packages: &[&str],
    directory: &Path,
) -> Result<PathBuf, SetupError> {
    let apt = PrivateApt::make(archive, suite, directory)?;
    apt.update()?;
    apt.check_origin(&archive.uri)?;
    let downloads = directory.join("downloads");
    make_directory(&downloads)?;
    let mut command = apt.command();
    command
        .arg("download")
        .args(packages.iter().map(|name| format!("{name}/{suite}")))
        .current_dir(&downloads);
    run(
        command,
        "download etcd's packages",
        DOWNLOAD_LIMIT,
        &apt.log(),
    )?;
    unpack_all(&downloads, &directory.join("root"), &apt.log())
}

/// As [`unpack_packages`], but through the machine's own apt and its lists as they
/// are: for machines that reach their archive only by ways that we do not know.
pub(super) fn unpack_packages_as_the_machine_does(
    packages: &[&str],
    directory: &Path,
) -> Result<PathBuf, SetupError> {
    let downloads = directory.join("downloads");
    make_directory(&downloads)?;
    let log = directory.join("command.log");
    let mut command = Command::new("apt-get");
    command
        .arg("download")
        .args(packages)
        .current_dir(&downloads);
    run(command, "download etcd's packages", DOWNLOAD_LIMIT, &log)?;
    unpack_all(&downloads, &directory.join("root"), &log)
}

fn unpack_all(downloads: &Path, root: &Path, log: &Path) -> Result<PathBuf, SetupError> {
    let read = |source| SetupError::file("read", downloads, source);
    for entry in fs::read_dir(downloads).map_err(read)? {
        let mut command = Command::new("dpkg-deb");
        command
            .arg("--extract")
            .arg(entry.map_err(read)?.path())
            .arg(root);
        run(command, "unpack a package of etcd", LOCAL_LIMIT, log)?;
    }
    Ok(root.to_owned())
}

struct PrivateApt {
    directory: PathBuf,
}

impl PrivateApt {
    fn make(
        archive: &DebianArchive,
        suite: &str,
        directory: &Path,
    ) -> Result<Self, SetupError> {
        for name in [
            "empty",
            "state/lists/partial",
            "cache/archives/partial",
            "log",
        ] {
            make_directory(&directory.join(name))?;
        }
        let apt = PrivateApt {
            directory: directory.to_owned(),
        };
        let options = match &archive.signed_by {
            SignedBy::AnyTrusted => String::new(),
            SignedBy::Keys(keys) => format!("[signed-by={keys}] "),
            SignedBy::InlineKey(key) => {
                let path = apt.write("archive-key.asc", key)?;
                format!("[signed-by={}] ", path.display())
            }
        };
        apt.write(
            "sources.list",
            &format!("deb {options}{} {suite} main\n", archive.uri),
        )?;
        // Nothing is installed here, as far as this apt knows.
        apt.write("status", "")?;
        let settings = acquire_settings(&apt.log())?;
        apt.write("apt.conf", &apt.configuration(&settings))?;
        Ok(apt)
    }

    fn configuration(&self, acquire_settings: &str) -> String {
        let d = self.directory.display();
        format!(
            "{acquire_settings}\
             Acquire::Languages \"none\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"{d}/empty\";\n\
             Dir::Etc::sourcelist \"{d}/sources.list\";\n\
             Dir::Etc::sourceparts \"{d}/empty\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"{d}/empty\";\n\
             Dir::State \"{d}/state\";\n\
             Dir::State::status \"{d}/status\";\n\
             Dir::Cache \"{d}/cache\";\n\
             Dir::Log \"{d}/log\";\n\
             APT::Sandbox::User \"root\";\n"
        )
    }

    fn update(&self) -> Result<(), SetupError> {
        let mut command = self.command();
        command.args([
            // A mirror that stands still signs an index that is past its date. The
            // worst it can bring is an older etcd, and the version is shown.
            "-o",
            "Acquire::Check-Valid-Until=false",
            // Without it an unreachable archive would be a warning and no failure.
            "-o",
            "APT::Update::Error-Mode=any",
            "update",
        ]);
        run(
            command,
            "fetch the index of a Debian suite",
            UPDATE_LIMIT,
            &self.log(),
        )?;
        Ok(())
    }

    /// Vendors have suites called `bookworm` too. The index is signed, so its word
    /// counts.
    fn check_origin(&self, uri: &str) -> Result<(), SetupError> {
        let lists = self.directory.join("state/lists");
        let read = |source| SetupError::file("read", &lists, source);
        let mut origin = String::new();
        for entry in fs::read_dir(&lists).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.to_string_lossy().ends_with("Release") {
                let index = fs::read_to_string(&path)
                    .map_err(|source| SetupError::file("read", &path, source))?;
                origin = origin_in(&index).to_owned();
            }
        }
        match origin.as_str() {
            "Debian" => Ok(()),
            _ => Err(SetupError::NotDebian {
                uri: uri.to_owned(),
                origin,
            }),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.directory.join("apt.conf"));
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join("command.log")
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, SetupError> {
        let path = self.directory.join(name);
        fs::write(&path, text)
            .map_err(|source| SetupError::file("write", &path, source))?;
        Ok(path)
    }
}

fn origin_in(index: &str) -> &str {
    let origin = index.lines().find_map(|line| line.strip_prefix("Origin:"));
    origin.unwrap_or_default().trim()
}

/// How the machine fetches: proxies, retries, time limits. What it fetches beside the
/// package index (icons, translations) does not matter here.
fn acquire_settings(log: &Path) -> Result<String, SetupError> {
    let mut command = Command::new("apt-config");
    command.args(["dump", "Acquire"]);
    let dump = run(command, "read apt's settings", LOCAL_LIMIT, log)?;
    Ok(wanted_settings(&dump))
}

fn wanted_settings(dump: &str) -> String {
    const LEFT_OUT: [&str; 3] = [
        "Acquire::IndexTargets",
        "Acquire::Changelogs",
        "Acquire::Languages",
    ];
    dump.lines()
        .filter(|line| line.starts_with("Acquire::"))
        .filter(|line| !LEFT_OUT.iter().any(|name| line.starts_with(name)))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn make_directory(path: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(path).map_err(|source| SetupError::file("make", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_ways_of_fetching_are_kept() {
        let dump = "Acquire \"\";\nAcquire::http::Proxy \"http://proxy:3128\";\n\
                    Acquire::IndexTargets::deb::DEP-11::MetaKey \"x\";\n\
                    Acquire::Languages:: \"en\";\nAcquire::Retries \"3\";\n";
        assert_eq!(
            wanted_settings(dump),
            "Acquire::http::Proxy \"http://proxy:3128\";\nAcquire::Retries \"3\";\n"
        );
    }

    #[test]
    fn an_index_says_whose_it_is() {
        let index = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\n\
                     Label: Debian\nSuite: unstable\n";
        assert_eq!(origin_in(index), "Debian");
        assert_eq!(origin_in("Label: x\n"), "");
    }
}
