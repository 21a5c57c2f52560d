//! Programs of the machine, run with a time limit; their output goes to a file, so
//! that a full pipe stops nobody and a failure can be shown with its last lines.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::SetupError;

/// Enough for apt's reason, which stands at the end.
const LINES_SHOWN: usize = 8;
/// Most commands here take seconds; their end may be noticed this late.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Runs `command` to its end and gives its output (both kinds, as they came).
pub(super) fn run(
    mut command: Command,
    doing: &'static str,
    limit: Duration,
    log: &Path,
) -> Result<String, SetupError> {
    let written = |source| SetupError::file("write", log, source);
    // On a fresh machine nothing has been cached yet, not even a log.
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory)
            .map_err(|source| SetupError::file("make", directory, source))?;
    }
    let out = File::create(log).map_err(written)?;
    let err = out.try_clone().map_err(written)?;
    // In English, since we look for words in it.
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    let ended = spawn_and_wait(&mut command, limit);
    let output = fs::read(log).map_err(|source| SetupError::file("read", log, source))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    ended.map(|()| output.clone()).map_err(|why| {
        let lines: Vec<&str> = output.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        let command = shown(&command);
        SetupError::Command {
            doing,
            command,
            why: format!("{why}\n{last}"),
        }
    })
}

fn spawn_and_wait(command: &mut Command, limit: Duration) -> Result<(), String> {
    let mut child = command
        .spawn()
        .map_err(|source| format!("it could not be started: {source}"))?;
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(BETWEEN_LOOKS),
            Ok(None) => {
                // Killing fails only if it has just ended; then wait() tells.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not done within {} s", limit.as_secs()));
            }
            Err(source) => return Err(source.to_string()),
        }
    }
}

/// A command as somebody would type it.
pub(super) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on a machine where nothing was ever fetched.
    #[test]
    fn the_directory_of_the_log_is_made() {
        let fresh = tempfile::tempdir().unwrap();
        let log = fresh.path().join("cache/etcd-mesos/apt-install.log");
        let limit = Duration::from_secs(20);
        let mut command = Command::new("echo");
        command.arg("installed");
        assert_eq!(run(command, "try", limit, &log).unwrap(), "installed\n");
    }
}
