//! `etcd-local guard`: becomes another program after setting up what only a process
//! can set up for itself.
//!
//! A session of its own, so that Ctrl-C at the terminal does not reach the program;
//! and, for tests, the wish to die with the process that started it. Rust's way to do
//! such things between fork and exec is unsafe; a program that does them and then
//! executes the real one is not, and it keeps the process id.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};

/// Sets up and executes `command`; comes back only with an error.
///
/// With `die_with` the program gets SIGKILL when the *thread* that started it ends.
/// `die_with` is the parent's process id: if that is no longer our parent, it died
/// before the wish could be made, and nothing is executed.
pub fn become_guarded(
    die_with: Option<i32>,
    command: &[OsString],
) -> io::Result<Infallible> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no program given",
        ));
    };
    // Fails only in a process that leads a session already, which is as good.
    let _ = setsid();
    if let Some(parent) = die_with {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Pid::from_raw(parent) {
            return Err(io::Error::other("the process to die with is gone"));
        }
    }
    Err(Command::new(program).args(arguments).exec())
}
