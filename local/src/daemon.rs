//! One long-running program that we have started: its process, log and pid file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::LocalError;
use crate::processes::{Delivery, ProcessIdentity};
use crate::programs::HelperProgram;
use crate::waiting::{Look, wait_until};

/// After SIGKILL only the kernel stands between a process and its end.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
const LINES_SHOWN: usize = 20;
/// The end of a log that is read to show its last lines.
const LOG_TAIL_BYTES: usize = 16 * 1024;

/// How long a started program lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It dies with this process, however this process ends. For tests.
    WithParent,
    /// It goes on after this process has ended; its pid file tells the next one.
    Detached,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct DaemonSpec {
    /// Its name in messages and file names: "mesos-agent-2".
    pub name: String,
    /// The program, by absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables besides PATH, HOME, LANG and TMPDIR, which alone are passed on.
    pub environment: BTreeMap<OsString, OsString>,
    /// The absolute directory that it works in, and where log and pid file are.
    pub directory: PathBuf,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Our own program, which sets up the process (see [`crate::guard`]).
    pub helper: HelperProgram,
}

/// A program that is running, has ended, or was never started.
#[derive(Debug)]
pub struct Daemon {
    spec: DaemonSpec,
    process: Option<RunningProcess>,
}

#[derive(Debug)]
struct RunningProcess {
    identity: ProcessIdentity,
    /// `None` if another process started it; then init reaps it.
    child: Option<Child>,
}

/// The contents of a pid file.
#[derive(Debug, Serialize, Deserialize)]
struct PidFile {
    format: u32,
    process: ProcessIdentity,
}

const PID_FILE_FORMAT: u32 = 1;

impl DaemonSpec {
    fn pid_file(&self) -> PathBuf {
        self.directory.join(format!("{}.pid", self.name))
    }

    fn log(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.name))
    }
}

impl Daemon {
    /// Starts the program.
    pub fn start(spec: DaemonSpec) -> Result<Self, LocalError> {
        let mut daemon = Daemon {
            spec,
            process: None,
        };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Takes over the program that another process has started detached, if its pid
    /// file tells of one that is still running.
    pub fn adopt(spec: DaemonSpec) -> Self {
        let process = read_pid_file(&spec)
            .filter(|identity| identity.is_running() && executes(identity, &spec))
            .map(|identity| RunningProcess {
                identity,
                child: None,
            });
        Daemon { spec, process }
    }

    /// Starts the program if it is not running.
    pub fn start_again(&mut self) -> Result<(), LocalError> {
        if self.is_running() {
            return Ok(());
        }
        let spec = &self.spec;
        if !spec.directory.is_absolute() {
            return Err(LocalError::NotAbsolute {
                path: spec.directory.clone(),
            });
        }
        fs::create_dir_all(&spec.directory)
            .map_err(|source| LocalError::file("make", &spec.directory, source))?;
        let command = guarded_command(spec)?;
        let start = |source| LocalError::Start {
            name: spec.name.clone(),
            error: source,
        };
        let mut child = spawn_from_lasting_thread(command).map_err(start)?;
        // Not yet waited for, so the id is still its own even if it has ended.
        let Some(identity) = ProcessIdentity::of(Pid::from_child(&child)) else {
            let _ = child.wait();
            return Err(self.ended());
        };
        if spec.lifetime == Lifetime::Detached {
            write_pid_file(spec, &identity)?;
        }
        self.process = Some(RunningProcess {
            identity,
            child: Some(child),
        });
        Ok(())
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The directory that it works in.
    pub fn directory(&self) -> &Path {
        &self.spec.directory
    }

    /// Where its standard output and error go.
    pub fn log_path(&self) -> PathBuf {
        self.spec.log()
    }

    /// Its process id, while it runs.
    pub fn pid(&mut self) -> Option<Pid> {
        if !self.is_running() {
            return None;
        }
        self.process
            .as_ref()
            .and_then(|process| process.identity.pid())
    }

    /// Whether it runs now.
    pub fn is_running(&mut self) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        let running = match &mut process.child {
            // Also takes note of the end, so that no zombie stays.
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => process.identity.is_running(),
        };
        if !running {
            self.process = None;
        }
        running
    }

    /// Sends a signal. After SIGKILL the process is gone when this returns.
    pub fn kill(&mut self, signal: Signal) -> Result<Delivery, LocalError> {
        if !self.is_running() {
            return Ok(Delivery::AlreadyGone);
        }
        let Some(process) = &self.process else {
            return Ok(Delivery::AlreadyGone);
        };
        let delivery = process.identity.signal(signal).map_err(|source| {
            let pid = process
                .identity
                .pid()
                .map_or(0, |pid| pid.as_raw_nonzero().get());
            LocalError::Signal {
                name: self.spec.name.clone(),
                pid,
                error: source,
            }
        })?;
        if signal == Signal::KILL {
            let deadline = Instant::now() + KILL_LIMIT;
            while self.is_running() {
                if Instant::now() > deadline {
                    return Err(LocalError::TimedOut {
                        condition: format!("{} is gone after SIGKILL", self.spec.name),
                        waited: KILL_LIMIT,
                        last_seen: "it is still there".to_owned(),
                    });
                }
                thread::sleep(POLL);
            }
        }
        Ok(delivery)
    }

    /// Ends it: SIGTERM, and SIGKILL when it is still there after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), LocalError> {
        self.kill(Signal::TERM)?;
        let deadline = Instant::now() + grace;
        while self.is_running() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        self.kill(Signal::KILL)?;
        if self.spec.lifetime == Lifetime::Detached {
            let pid_file = self.spec.pid_file();
            match fs::remove_file(&pid_file) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LocalError::file("remove", pid_file, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn wait_until_ended(&mut self, limit: Duration) -> Result<(), LocalError> {
        let condition = format!("{} has ended", self.spec.name);
        wait_until(&condition, limit, || {
            let running = self.is_running();
            async move {
                Ok(if running {
                    Look::NotYet("it runs".to_owned())
                } else {
                    Look::Reached(())
                })
            }
        })
        .await
    }

    /// The error for a program that should be running and is not, with the end of its
    /// log, where it says why.
    pub fn ended(&self) -> LocalError {
        LocalError::Ended {
            name: self.spec.name.clone(),
            log: self.spec.log(),
            last_lines: last_lines(&self.spec.log()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.spec.lifetime == Lifetime::WithParent {
            // There is nobody left to tell; the process dies with us in any case.
            let _ = self.kill(Signal::KILL);
        }
    }
}

/// The whole command: our helper, which becomes the program.
fn guarded_command(spec: &DaemonSpec) -> Result<Command, LocalError> {
    let log = spec.log();
    let open = |source| LocalError::file("open", &log, source);
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(open)?;
    let err = out.try_clone().map_err(open)?;
    let mut command = Command::new(spec.helper.path());
    command.arg("guard");
    if spec.lifetime == Lifetime::WithParent {
        command.args(["--die-with", &std::process::id().to_string()]);
    }
    command.arg("--").arg(&spec.program).args(&spec.arguments);
    // Nothing from the caller may reach Mesos by chance: every MESOS_* variable is a
    // flag to it, and every LIBPROCESS_* one changes where it listens.
    command.env_clear();
    for name in ["PATH", "HOME", "LANG", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(&spec.environment);
    command.current_dir(&spec.directory);
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(command)
}

struct SpawnJob {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

/// Starts a process from a thread that lasts as long as this process. A process that
/// wants to die with its parent dies with the *thread* that started it, and threads of
/// tests and of async runtimes come and go.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<io::Result<Mutex<Sender<SpawnJob>>>> = LazyLock::new(|| {
        let (jobs, incoming) = channel::<SpawnJob>();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for SpawnJob {
                    mut command,
                    answer,
                } in incoming
                {
                    // The asker waits; if it is gone, the child is dropped and runs on.
                    let _ = answer.send(command.spawn());
                }
            })?;
        Ok(Mutex::new(jobs))
    });
    let jobs = SPAWNER
        .as_ref()
        .map_err(|error| io::Error::from(error.kind()))?;
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (answer, child) = sync_channel(1);
    jobs.lock()
        .map_err(|_| gone())?
        .send(SpawnJob { command, answer })
        .map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// Whether the process is the one we think of: the program, or the helper that is
/// about to become it.
fn executes(identity: &ProcessIdentity, spec: &DaemonSpec) -> bool {
    identity.executable().is_some_and(|found| {
        let program = fs::canonicalize(&spec.program).ok();
        program.as_deref() == Some(&found)
            || spec.program == found
            || spec.helper.path() == found
    })
}

fn read_pid_file(spec: &DaemonSpec) -> Option<ProcessIdentity> {
    let text = fs::read_to_string(spec.pid_file()).ok()?;
    let file: PidFile = serde_json::from_str(&text).ok()?;
    (file.format == PID_FILE_FORMAT).then_some(file.process)
}

fn write_pid_file(
    spec: &DaemonSpec,
    identity: &ProcessIdentity,
) -> Result<(), LocalError> {
    let path = spec.pid_file();
    let file = PidFile {
        format: PID_FILE_FORMAT,
        process: identity.clone(),
    };
    let write = |source| LocalError::file("write", &path, source);
    let text = serde_json::to_string(&file).map_err(|e| write(io::Error::from(e)))?;
    // Whole or not at all: half a pid file would lose a running process.
    let aside = path.with_extension("pid.new");
    fs::write(&aside, text).map_err(write)?;
    fs::rename(&aside, &path).map_err(write)
}

fn last_lines(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}
