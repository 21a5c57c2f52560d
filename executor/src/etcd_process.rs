//! One life of the etcd process, from start to end.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Lines of etcd's log that go into the report of a crash. A panic in etcd has
/// its reason in the first of the last few lines.
const LAST_LINES: usize = 12;

/// Longest part of a line that goes into a report: a dozen lines then stay far
/// below what agents and masters like to carry around.
const LINE_LIMIT: usize = 400;

/// A running etcd.
#[derive(Debug)]
pub struct EtcdProcess {
    child: Child,
    log: JoinHandle<VecDeque<String>>,
}

/// How an etcd ended.
#[derive(Clone, Debug)]
pub struct EtcdEnd {
    /// For example `exited with code 1` or `killed by signal 9`.
    pub exit: String,
    /// The last lines of its log.
    pub last_log_lines: Vec<String>,
}

impl EtcdProcess {
    /// Starts etcd as our child, through `run-etcd`.
    ///
    /// Must be called on the main thread: the signal at the parent's death is
    /// in truth one at the death of the thread that made the child.
    pub fn start(
        program: &Path,
        arguments: &[String],
        sandbox: &Path,
    ) -> io::Result<Self> {
        tracing::info!(command = %arguments.join(" "), "starting etcd");
        let mut child = Command::new(std::env::current_exe()?)
            .arg("run-etcd")
            .arg("--parent-pid")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program)
            .args(arguments)
            .current_dir(sandbox)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child
            .stderr
            .take()
            .ok_or_else(|| io::Error::other("the new process has no standard error"))?;
        Ok(EtcdProcess {
            child,
            log: tokio::spawn(pass_on(stderr)),
        })
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> EtcdEnd {
        let exit = match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("its end could not be learned: {error}"),
        };
        // The log ends with the process, unless a grandchild holds it open.
        let lines = tokio::time::timeout(Duration::from_secs(1), &mut self.log).await;
        let last_log_lines = match lines {
            Ok(Ok(lines)) => lines.into(),
            _ => Vec::new(),
        };
        EtcdEnd {
            exit,
            last_log_lines,
        }
    }

    /// SIGTERM, upon which etcd hands over leadership and ends; SIGKILL if it
    /// takes longer than `grace`.
    pub async fn stop(&mut self, grace: Duration) -> EtcdEnd {
        self.signal(Signal::TERM);
        if let Ok(end) = tokio::time::timeout(grace, self.ended()).await {
            return end;
        }
        tracing::warn!(
            ?grace,
            "etcd does not stop within its grace period; killing it"
        );
        self.signal(Signal::KILL);
        self.ended().await
    }

    fn signal(&self, signal: Signal) {
        // No id means that it has ended and was waited for.
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!(%error, "etcd could not be signalled");
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Copies etcd's log to ours and keeps its last lines.
async fn pass_on(stderr: impl AsyncRead + Unpin) -> VecDeque<String> {
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.chars().take(LINE_LIMIT).collect());
    }
    last
}
