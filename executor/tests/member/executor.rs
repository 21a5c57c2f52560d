//! An executor under test: its reports, its etcd, its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use etcd_launch::{LaunchSpec, Phase, Refusal, Report};
use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::Sandbox;

/// How long anything may take that is not said to be faster. Generous, as the
/// machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running executor. Killed when dropped, and etcd with it.
pub(crate) struct Executor {
    child: Child,
    reports: Receiver<Report>,
    spec: LaunchSpec,
    seen: Vec<Phase>,
    log: PathBuf,
}

impl Executor {
    /// Starts one on this spec.
    pub(crate) fn start(sandbox: &Sandbox, spec: &LaunchSpec) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_etcd-executor"));
        let log = sandbox.path().join("stderr");
        fs::File::create(&log).unwrap();
        Executor::start_with(sandbox, spec, program, &log)
    }

    /// Starts this program, with its standard error going to this file.
    pub(crate) fn start_with(
        sandbox: &Sandbox,
        spec: &LaunchSpec,
        program: &Path,
        log: &Path,
    ) -> Self {
        let file = sandbox.path().join("spec.json");
        fs::write(&file, serde_json::to_vec_pretty(spec).unwrap()).unwrap();
        let stderr = fs::File::options().append(true).open(log).unwrap();
        let mut child = Command::new(program)
            .args(["run-member", "--spec"])
            .arg(&file)
            // etcd would take this for a flag; nothing of it may reach etcd.
            .env("ETCD_NAME", "from-the-environment")
            .current_dir(sandbox.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let report = serde_json::from_str(&line).unwrap();
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        Executor {
            child,
            reports,
            spec: spec.clone(),
            seen: Vec::new(),
            log: log.to_owned(),
        }
    }

    /// Starts one and waits until etcd answers as the member of the spec.
    pub(crate) fn answering(sandbox: &Sandbox, spec: &LaunchSpec) -> Self {
        let mut executor = Executor::start(sandbox, spec);
        executor.wait_until_answering();
        executor
    }

    /// The next report; none if the executor has closed its output.
    fn next(&mut self, what: &str, deadline: Instant) -> Option<Phase> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.reports.recv_timeout(left) {
            Ok(report) => {
                assert_eq!(report.pod, self.spec.pod);
                assert_eq!(report.generation, self.spec.generation);
                self.seen.push(report.phase.clone());
                Some(report.phase)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("not within {PATIENCE:?}: {what}; {}", self.story())
            }
        }
    }

    /// Waits for a report that `wanted` accepts and gives what that returns.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Phase) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        while let Some(phase) = self.next(what, deadline) {
            if let Some(found) = wanted(&phase) {
                return found;
            }
        }
        panic!("the executor has ended before: {what}; {}", self.story())
    }

    /// Waits until etcd answers, and checks as whom.
    pub(crate) fn wait_until_answering(&mut self) {
        let (cluster, member) = self.wait_for("etcd answers", |phase| match phase {
            Phase::Answering {
                cluster_id,
                member_id,
                ..
            } => Some((*cluster_id, *member_id)),
            _ => None,
        });
        assert_eq!(cluster, self.spec.identity.cluster_id, "{}", self.story());
        assert_eq!(member, self.spec.identity.member_id, "{}", self.story());
    }

    /// Waits until the executor has refused and ended by itself, without ever
    /// having had etcd answer.
    #[track_caller]
    pub(crate) fn refusal(mut self) -> Refusal {
        let status = self.wait_until_ended();
        assert!(status.success(), "{status}; {}", self.story());
        let answered = |phase: &Phase| matches!(phase, Phase::Answering { .. });
        assert!(!self.seen.iter().any(answered), "{}", self.story());
        match self.seen.pop() {
            Some(Phase::Refused(refusal)) => refusal,
            last => panic!("last report: {last:?}; {}", self.story()),
        }
    }

    /// Waits for the executor's end and takes in all its reports.
    pub(crate) fn wait_until_ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while self.next("the executor ends", deadline).is_some() {}
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            sleep(LOOK_AGAIN);
        }
        panic!("the executor does not end; {}", self.story())
    }

    /// SIGTERM, as the agent would send it.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// SIGTERM and the wait for a graceful end; gives what was said of etcd's.
    pub(crate) fn stop(mut self) -> String {
        self.stop_in_place()
    }

    /// The same where another one will take its place.
    pub(crate) fn stop_in_place(&mut self) -> String {
        self.terminate();
        let status = self.wait_until_ended();
        assert!(status.success(), "{status}; {}", self.story());
        match self.seen.pop() {
            Some(Phase::Stopped { exit }) => exit,
            last => panic!("last report: {last:?}; {}", self.story()),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The reports so far, as names.
    pub(crate) fn phases(&self) -> Vec<&'static str> {
        self.seen.iter().map(name_of).collect()
    }

    /// Its etcd.
    pub(crate) fn etcd(&self) -> EtcdPid {
        match self.children()[..] {
            [pid] => EtcdPid(pid),
            ref children => panic!("children {children:?}; {}", self.story()),
        }
    }

    /// The processes that it has started and that have not ended.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        fs::read_to_string(path)
            .unwrap()
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect()
    }

    /// What it has written to standard error, etcd's log included.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn story(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(30);
        format!(
            "reports: {:#?}\nlog ends:\n{}",
            self.seen,
            lines[from..].join("\n")
        )
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // It may have ended; that is all right.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that is, or was, an etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EtcdPid(Pid);

impl EtcdPid {
    /// Whether it still is an etcd; the number may by now be another's.
    pub(crate) fn runs(self) -> bool {
        let exe = fs::read_link(format!("/proc/{}/exe", self.0.as_raw_nonzero()));
        exe.is_ok_and(|exe| exe.ends_with("etcd"))
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        assert!(self.runs());
        kill_process(self.0, Signal::KILL).unwrap();
    }

    /// SIGSTOP: alive, and deaf to everything but SIGKILL.
    pub(crate) fn freeze(self) {
        kill_process(self.0, Signal::STOP).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends_within(self, limit: Duration) {
        let started = Instant::now();
        while self.runs() {
            assert!(started.elapsed() < limit, "etcd runs after {limit:?}");
            sleep(LOOK_AGAIN);
        }
    }
}

/// Waits for what no report tells.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        sleep(LOOK_AGAIN);
    }
}

fn name_of(phase: &Phase) -> &'static str {
    match phase {
        Phase::Preparing => "preparing",
        Phase::EtcdStarted => "etcd started",
        Phase::Answering { .. } => "answering",
        Phase::Crashed { .. } => "crashed",
        Phase::Refused(_) => "refused",
        Phase::Paused => "paused",
        Phase::Stopping => "stopping",
        Phase::Stopped { .. } => "stopped",
    }
}
