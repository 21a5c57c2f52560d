//! Processes as `/proc` shows them, and signals that never hit a stranger.
//!
//! A process id says little by itself: ids are used again. So a process is known by
//! its id, its start time and the boot of the machine, and a signal is sent through a
//! pidfd: a handle that goes on meaning the process that it was opened for.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One process of one boot of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pid: i32,
    /// Clock ticks from boot to start: field 22 of `/proc/PID/stat`.
    start_ticks: u64,
    /// Changes with every boot; after one, the same id and ticks mean nothing.
    boot_id: String,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The process got it.
    Sent,
    /// There is no such process any more.
    AlreadyGone,
}

impl ProcessIdentity {
    /// Who has this process id now; `None` if nobody, or one that has ended and only
    /// waits for its parent to take note.
    pub fn of(pid: Pid) -> Option<Self> {
        let stat = Stat::read(pid)?;
        if stat.has_ended() {
            return None;
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(ProcessIdentity {
            pid: pid.as_raw_nonzero().get(),
            start_ticks: stat.start_ticks,
            boot_id: boot_id.trim().to_owned(),
        })
    }

    /// The process id.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Whether this very process is running.
    pub fn is_running(&self) -> bool {
        self.pid().and_then(ProcessIdentity::of).as_ref() == Some(self)
    }

    /// Sends a signal to this process and to no other.
    pub fn signal(&self, signal: Signal) -> Result<Delivery, std::io::Error> {
        let Some(pid) = self.pid() else {
            return Ok(Delivery::AlreadyGone);
        };
        signal_if(pid, signal, || self.is_running())
    }

    /// The file that it executes, if we may know; a file that was replaced since then
    /// is shown by the name that it had.
    pub fn executable(&self) -> Option<PathBuf> {
        let link = fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
        Some(without_deleted_mark(&link))
    }
}

/// Sends a signal if `is_still_meant` holds once a handle on the process is open. What
/// is checked then is true of the process behind the handle, or that process is gone
/// and the signal reaches nobody.
pub(crate) fn signal_if(
    pid: Pid,
    signal: Signal,
    is_still_meant: impl FnOnce() -> bool,
) -> Result<Delivery, std::io::Error> {
    use rustix::io::Errno;
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(Delivery::AlreadyGone),
        Err(errno) => return Err(errno.into()),
    };
    if !is_still_meant() {
        return Ok(Delivery::AlreadyGone);
    }
    match pidfd_send_signal(&handle, signal) {
        Ok(()) => Ok(Delivery::Sent),
        Err(Errno::SRCH) => Ok(Delivery::AlreadyGone),
        Err(errno) => Err(errno.into()),
    }
}

/// The fields of `/proc/PID/stat` that we need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    state: char,
    pub(crate) parent: i32,
    /// Device number of the controlling terminal; 0 is none.
    terminal: i32,
    start_ticks: u64,
}

impl Stat {
    pub(crate) fn read(pid: Pid) -> Option<Self> {
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        Stat::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may itself
        // hold blanks and parentheses. After the last one come fields 3 and on.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            terminal: field(7)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }

    /// Whether it is a zombie or on its way out.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether it hangs on a terminal, as what a person has started does.
    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal != 0
    }
}

/// All processes that can be seen now.
pub(crate) fn all() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// The directory a process works in; `None` if it has ended or is not ours to know.
pub(crate) fn working_directory(pid: Pid) -> Option<PathBuf> {
    let link = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).ok()?;
    Some(without_deleted_mark(&link))
}

/// The kernel marks the path of a removed file or directory; the mark is taken off.
fn without_deleted_mark(link: &Path) -> PathBuf {
    match link
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"))
    {
        Some(path) => PathBuf::from(path),
        None => link.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_program_is_called() {
        let rest = "S 7 7 7 34817 0 4194304 1 0 0 0 0 0 0 0 20 0 1 0 66923 3133440";
        for name in ["cat", "a b", ") Z 1 1", "(x)"] {
            let stat = Stat::parse(&format!("4711 ({name}) {rest}")).unwrap();
            let expected = Stat {
                state: 'S',
                parent: 7,
                terminal: 34817,
                start_ticks: 66923,
            };
            assert_eq!(stat, expected, "{name}");
        }
        assert_eq!(Stat::parse("4711 (cat) S 7"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_process_with_another_start_time_is_somebody_else() {
        let me = ProcessIdentity::of(rustix::process::getpid()).unwrap();
        assert!(me.is_running());
        let recycled = ProcessIdentity {
            start_ticks: me.start_ticks + 1,
            ..me.clone()
        };
        assert!(!recycled.is_running());
        assert_eq!(
            recycled.signal(Signal::KILL).unwrap(),
            Delivery::AlreadyGone
        );
        let before_boot = ProcessIdentity {
            boot_id: "another".to_owned(),
            ..me
        };
        assert_eq!(
            before_boot.signal(Signal::KILL).unwrap(),
            Delivery::AlreadyGone
        );
    }

    #[test]
    fn a_removed_directory_keeps_its_name() {
        assert_eq!(
            without_deleted_mark(Path::new("/a/b (deleted)")),
            Path::new("/a/b")
        );
        assert_eq!(without_deleted_mark(Path::new("/a/b")), Path::new("/a/b"));
    }
}
