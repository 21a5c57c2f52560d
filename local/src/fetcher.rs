//! Our stand-in for `mesos-fetcher`, which the Mesos library does not hold.
//!
//! The agent runs it before it starts a container, with the environment variable
//! `MESOS_FETCHER_INFO` (JSON of Mesos' `FetcherInfo`). Standard output and error are
//! the sandbox's `stdout` and `stderr` files. Like the real one it takes paths, `file`,
//! `http` and `https`, marks executables, extracts archives and gives the files to the
//! task's user. Unlike it, it has no cache and no Hadoop.

mod instructions;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::LocalError;
use crate::mesos::with_causes;
use instructions::{Archive, FetcherInfo, Source, Uri};

/// The name by which agents call this program.
pub const CALLED_AS: &str = "mesos-fetcher";
const VARIABLE: &str = "MESOS_FETCHER_INFO";

/// Does what the agent wants and tells it by the exit status whether all is there.
pub fn run_for_agent() -> ExitCode {
    let result = std::env::var(VARIABLE)
        .map_err(|error| instructions_error(format!("cannot be read ({error})")))
        .and_then(|text| fetch_all(&text));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetcher of etcd-local: {error}");
            ExitCode::FAILURE
        }
    }
}

fn instructions_error(why: String) -> LocalError {
    LocalError::FetcherInstructions { why }
}

fn fetch_all(text: &str) -> Result<(), LocalError> {
    let info = FetcherInfo::parse(text)?;
    let owner = match &info.user {
        Some(user) if rustix::process::geteuid().is_root() => Some(Owner::named(user)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| LocalError::Start {
            name: CALLED_AS.to_owned(),
            error: source,
        })?;
    for uri in &info.uris {
        runtime
            .block_on(fetch(uri, &info))
            .map_err(|why| LocalError::Fetch {
                uri: uri.value.clone(),
                why,
            })?;
    }
    match owner {
        Some(owner) => owner.give_tree(&info.sandbox).map_err(|source| {
            LocalError::file("change the owner of", &info.sandbox, source)
        }),
        None => Ok(()),
    }
}

/// Fetches one URI into the sandbox and does to it what is asked.
async fn fetch(uri: &Uri, info: &FetcherInfo) -> Result<(), String> {
    let source = uri.source()?;
    let target = info.sandbox.join(uri.file_name()?);
    eprintln!(
        "fetcher of etcd-local: {} to {}",
        uri.value,
        target.display()
    );
    let directory = target.parent().unwrap_or(&info.sandbox);
    fs::create_dir_all(directory).map_err(|error| shown(directory, &error))?;
    // Under another name until complete: half a program must never look like one.
    let partial = target.with_added_extension("partial");
    match source {
        Source::File(path) => {
            fs::copy(&path, &partial).map_err(|error| shown(&path, &error))?;
        }
        Source::Http(url) => download(url, &partial, info.stall_timeout).await?,
    }
    if uri.executable {
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))
            .map_err(|error| shown(&partial, &error))?;
    }
    fs::rename(&partial, &target).map_err(|error| shown(&target, &error))?;
    match uri.archive() {
        Some(archive) => extract(archive, &target, &info.sandbox),
        None => Ok(()),
    }
}

/// Downloads to a file. Gives up when nothing comes for as long as `stall` says; there
/// is no other limit, since a slow network is no reason to begin anew.
async fn download(url: &str, target: &Path, stall: Duration) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .connect_timeout(stall)
        .read_timeout(stall)
        .build()
        .map_err(with_causes)?;
    let response = client.get(url).send().await.map_err(with_causes)?;
    if !response.status().is_success() {
        return Err(format!("the server answered {}", response.status()));
    }
    let write = |error: std::io::Error| shown(target, &error);
    let mut file = tokio::fs::File::create(target).await.map_err(write)?;
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        file.write_all(&chunk.map_err(with_causes)?)
            .await
            .map_err(write)?;
    }
    file.flush().await.map_err(write)
}

/// Unpacks by the programs that the real fetcher uses too.
fn extract(archive: Archive, file: &Path, sandbox: &Path) -> Result<(), String> {
    let mut command = match archive {
        Archive::Tar => {
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(sandbox).arg("-xf").arg(file);
            tar
        }
        Archive::Zip => {
            let mut unzip = Command::new("unzip");
            unzip.args(["-o", "-q", "-d"]).arg(sandbox).arg(file);
            unzip
        }
        Archive::Gzip => {
            let mut gzip = Command::new("gzip");
            gzip.args(["-d", "-k", "-f"]).arg(file);
            gzip
        }
    };
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} could not extract it: {status}")),
        Err(error) => Err(format!(
            "{name} could not be started to extract it: {error}"
        )),
    }
}

fn shown(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The user that a task runs as.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn named(user: &str) -> Result<Self, LocalError> {
        let table = fs::read_to_string("/etc/passwd")
            .map_err(|source| LocalError::file("read", "/etc/passwd", source))?;
        Owner::in_table(&table, user).ok_or_else(|| {
            instructions_error(format!(
                "names the user {user}, who is not in /etc/passwd"
            ))
        })
    }

    /// Lines are `name:password:uid:gid:...`. The C library would know users of other
    /// sources too; linked statically, it cannot be asked.
    fn in_table(table: &str, user: &str) -> Option<Self> {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_wanted = fields.next() == Some(user);
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            is_wanted.then_some(Owner { uid, gid })
        })
    }

    /// Gives the sandbox and all in it, but nothing that a link in it leads to: a
    /// persistent volume is linked into the sandbox, and its owner is not ours to set.
    fn give_tree(&self, path: &Path) -> std::io::Result<()> {
        let kind = fs::symlink_metadata(path)?.file_type();
        if kind.is_symlink() {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid))?;
        if kind.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give_tree(&entry?.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\nrootless:x:1000:1001::/:/bin/sh\n";
        let check = |user, expected| assert_eq!(Owner::in_table(table, user), expected);
        check("root", Some(Owner { uid: 0, gid: 0 }));
        check(
            "rootless",
            Some(Owner {
                uid: 1000,
                gid: 1001,
            }),
        );
        check("less", None);
    }

    fn instructions(sandbox: &Path, items: &str) -> String {
        format!(
            r#"{{"sandbox_directory":"{}","items":[{items}]}}"#,
            sandbox.display()
        )
    }

    #[test]
    fn files_are_copied_marked_and_extracted() {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = directory.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        let source = directory.path().join("tool");
        fs::write(&source, "#!/bin/sh\n").unwrap();
        let archive = directory.path().join("tools.tar.gz");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(directory.path())
            .args(["-czf"])
            .arg(&archive)
            .arg("tool")
            .status();
        assert!(tar.unwrap().success());

        let items = format!(
            r#"{{"uri":{{"value":"file://{0}","executable":true,"output_file":"bin/x"}}}},
               {{"uri":{{"value":"{1}"}}}}"#,
            source.display(),
            archive.display(),
        );
        fetch_all(&instructions(&sandbox, &items)).unwrap();
        let mode = fs::metadata(sandbox.join("bin/x"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(
            fs::read_to_string(sandbox.join("tool")).unwrap(),
            "#!/bin/sh\n"
        );
        assert!(sandbox.join("tools.tar.gz").is_file());
    }

    #[test]
    fn failures_name_the_uri_and_leave_no_half_file() {
        let sandbox = tempfile::tempdir().unwrap();
        let check = |item: &str, expected: &str| {
            let error = fetch_all(&instructions(sandbox.path(), item)).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), 0);
        };
        check(
            r#"{"uri":{"value":"/no/such/file"}}"#,
            "could not fetch /no/such/file: /no/such/file: No such file or directory \
             (os error 2)",
        );
        check(
            r#"{"uri":{"value":"hdfs://host/file"}}"#,
            "could not fetch hdfs://host/file: only paths, file://, http:// and https:// \
             can be fetched on one machine",
        );
    }
}
