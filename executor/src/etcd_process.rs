//! One life of the etcd process, from start to end.

use std::io::{self, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::log_tail::LogTail;

/// This very program, even after its file was moved or deleted.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// What is copied of etcd's log at a time; a pipe gives no more than 64 KiB.
const LOG_PIECE: usize = 16 * 1024;

/// A running etcd.
#[derive(Debug)]
pub struct EtcdProcess {
    child: Child,
    log: JoinHandle<LogTail>,
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
        let mut child = command(program, arguments, sandbox).spawn()?;
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
            Ok(Ok(tail)) => tail.into_lines(),
            _ => Vec::new(),
        };
        EtcdEnd {
            exit,
            last_log_lines,
        }
    }

    /// SIGTERM, upon which etcd hands over leadership and ends.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
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

/// etcd as a child that ends with us and is heard on its standard error.
pub(crate) fn command(program: &Path, arguments: &[String], directory: &Path) -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    command
        .arg0("etcd-executor")
        .arg("run-etcd")
        .arg("--parent-pid")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Copies etcd's log to our standard error and remembers its end.
///
/// Goes on whatever happens to our standard error (a full disk, a logger that
/// has died): without a reader etcd would die of its own log.
async fn pass_on(mut log: impl AsyncRead + Unpin) -> LogTail {
    let mut tail = LogTail::default();
    let mut piece = vec![0; LOG_PIECE];
    loop {
        match log.read(&mut piece).await {
            Ok(0) | Err(_) => return tail,
            Ok(length) => {
                let _ = io::stderr().write_all(&piece[..length]);
                tail.feed(&piece[..length]);
            }
        }
    }
}
