//! Becoming etcd, in such a way that etcd dies with its executor.
//!
//! etcd must not run unwatched: nobody would restart it, stop it or know that
//! it holds its volume. So it is not started directly. The executor starts
//! itself again as `run-etcd`, which asks the kernel for SIGKILL at its
//! parent's death, makes sure that the parent has not died before that, and
//! then becomes etcd. The request survives `exec`, as etcd is not setuid.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Becomes etcd; returns only if that failed, with the reason.
pub fn become_etcd(parent: i32, program: &OsString, arguments: &[OsString]) -> String {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!(
            "the kernel does not send a signal at the executor's death: {error}"
        );
    }
    // The executor may have died between starting us and the line above.
    if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
        return "the executor has died".to_owned();
    }
    let mut command = Command::new(program);
    command.args(arguments);
    // etcd reads ETCD_* variables as flags, and refuses some next to flags.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
    let error = command.exec();
    format!("{} cannot be executed: {error}", program.to_string_lossy())
}
