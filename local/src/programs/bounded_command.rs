//! Programs of others, run with a time limit and with their output kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ProgramsError;

const LINES_SHOWN: usize = 15;
const POLL: Duration = Duration::from_millis(20);

/// What is to be run, and how long it may take.
pub(super) struct BoundedCommand {
    pub(super) command: Command,
    /// What is being done, for messages: "download the Mesos library".
    pub(super) doing: &'static str,
    pub(super) limit: Duration,
    /// Where standard output and error go.
    pub(super) log: PathBuf,
}

impl BoundedCommand {
    /// Runs the command to its end and gives its output; a failure holds the last
    /// lines of it.
    pub(super) fn run(self) -> Result<String, ProgramsError> {
        let (succeeded, output) = self.run_whatever_the_result()?;
        if succeeded.is_success() {
            return Ok(output);
        }
        Err(succeeded.into_error(&output))
    }

    /// Runs the command and gives its output, whatever its exit status is.
    pub(super) fn run_whatever_the_result(
        mut self,
    ) -> Result<(Ended, String), ProgramsError> {
        let io = |source| ProgramsError::file("write", &self.log, source);
        let out = File::create(&self.log).map_err(io)?;
        let err = out.try_clone().map_err(io)?;
        self.command.stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child =
            self.command
                .spawn()
                .map_err(|source| ProgramsError::Command {
                    doing: self.doing,
                    command: shown(&self.command),
                    why: format!("it could not be started: {source}"),
                })?;
        let deadline = Instant::now() + self.limit;
        let why = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break None,
                Ok(Some(status)) => break Some(status.to_string()),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                Ok(None) => {
                    // Killing fails only if it has just ended; then wait() tells.
                    let _ = child.kill();
                    let _ = child.wait();
                    break Some(format!("not done within {} s", self.limit.as_secs()));
                }
                Err(source) => break Some(source.to_string()),
            }
        };
        let output = String::from_utf8_lossy(&fs::read(&self.log).map_err(io)?).into();
        Ok((
            Ended {
                doing: self.doing,
                command: shown(&self.command),
                why,
            },
            output,
        ))
    }
}

/// How a command ended.
pub(super) struct Ended {
    doing: &'static str,
    command: String,
    /// `None` after success.
    why: Option<String>,
}

impl Ended {
    pub(super) fn is_success(&self) -> bool {
        self.why.is_none()
    }

    /// The failure as an error, with the last lines of what the command said.
    pub(super) fn into_error(self, output: &str) -> ProgramsError {
        let lines: Vec<&str> = output.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        let why = self.why.unwrap_or_else(|| "it left no result".to_owned());
        ProgramsError::Command {
            doing: self.doing,
            command: self.command,
            why: format!("{why}\n{last}"),
        }
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).display().to_string();
    let arguments = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
