//! Ends what a killed agent leaves running.
//!
//! Mesos executors outlive their agent on purpose, so nobody ends them when agents are
//! gone for good. They are found by their working directory: a Mesos sandbox lies in
//! the agent's work directory, and an etcd started by an executor works there too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, getpid};

use crate::LocalError;
use crate::processes::{self, Delivery, Stat, signal_if};

/// A killed process is gone in milliseconds; one that writes to a slow disk later.
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
/// `/` and `/home` are never the root of a cluster.
const LEAST_COMPONENTS: usize = 3;

/// Kills every process that works in `root` or below and waits until all are gone.
/// Returns how many there were.
///
/// Spared are this process, its ancestors, and whatever hangs on a terminal: a shell
/// in which somebody looks at the sandboxes is no stray. (A terminal that Mesos gave
/// to a container is closed by the end of its I/O switchboard, which is killed.)
pub fn reap(root: &Path) -> Result<usize, LocalError> {
    let Some(root) = checked_root(root)? else {
        return Ok(0);
    };
    let spared = this_process_and_ancestors();
    let mut killed = BTreeSet::new();
    let deadline = Instant::now() + LIMIT;
    // Again until none is found: a process may start another while it is killed.
    loop {
        let found = strays(&root, &spared);
        if found.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() > deadline {
            let pids = found.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
            return Err(LocalError::NotReaped {
                root,
                waited: LIMIT,
                pids,
            });
        }
        for pid in found {
            let is_still_there = || works_below(pid, &root);
            // One that we may not signal is reported when the time is over.
            if let Ok(Delivery::Sent) = signal_if(pid, Signal::KILL, is_still_there) {
                killed.insert(pid.as_raw_nonzero());
            }
        }
        thread::sleep(POLL);
    }
}

/// Ends every process that works in `root` or below, then takes away the mounts there.
pub fn clear(root: &Path) -> Result<(), LocalError> {
    reap(root)?;
    unmount_below(root)?;
    Ok(())
}

/// Takes away every mount below `root`, the innermost first. Returns how many.
pub fn unmount_below(root: &Path) -> Result<usize, LocalError> {
    let Some(root) = checked_root(root)? else {
        return Ok(0);
    };
    let table = fs::read_to_string("/proc/self/mounts")
        .map_err(|source| LocalError::file("read", "/proc/self/mounts", source))?;
    let mounts = mount_points_below(&table, &root);
    for mount in &mounts {
        unmount(mount, UnmountFlags::DETACH)
            .map_err(|errno| LocalError::file("unmount", mount, errno.into()))?;
    }
    Ok(mounts.len())
}

/// The root as `/proc` shows it; `None` if there is no such directory.
fn checked_root(root: &Path) -> Result<Option<PathBuf>, LocalError> {
    if !root.is_absolute() {
        return Err(LocalError::NotAbsolute {
            path: root.to_owned(),
        });
    }
    let root = match fs::canonicalize(root) {
        Ok(root) => root,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LocalError::file("find", root, source)),
    };
    if root.components().count() < LEAST_COMPONENTS {
        return Err(LocalError::RootTooWide { path: root });
    }
    Ok(Some(root))
}

fn strays(root: &Path, spared: &BTreeSet<i32>) -> Vec<Pid> {
    processes::all()
        .into_iter()
        .filter(|pid| !spared.contains(&pid.as_raw_nonzero().get()))
        .filter(|pid| works_below(*pid, root))
        .filter(|pid| {
            Stat::read(*pid).is_some_and(|s| !s.has_ended() && !s.has_terminal())
        })
        .collect()
}

fn works_below(pid: Pid, root: &Path) -> bool {
    processes::working_directory(pid).is_some_and(|directory| directory.starts_with(root))
}

fn this_process_and_ancestors() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut next = Some(getpid());
    while let Some(pid) = next {
        // The parent of process 1 is 0, which is no process.
        if !found.insert(pid.as_raw_nonzero().get()) {
            break;
        }
        next = Stat::read(pid).and_then(|stat| Pid::from_raw(stat.parent));
    }
    found
}

/// Mount points below `root` in the order in which they can be unmounted: a later line
/// may be mounted on top of an earlier one.
fn mount_points_below(table: &str, root: &Path) -> Vec<PathBuf> {
    table
        .lines()
        .rev()
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|point| PathBuf::from(unescape_octal(point)))
        .filter(|point| point.starts_with(root))
        .collect()
}

/// The kernel writes blanks and backslashes in mount tables as `\040`.
fn unescape_octal(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_come_off_innermost_first_and_only_below_the_root() {
        let table = "\
/dev/sda1 / ext4 rw 0 0
tmpfs /run/cluster/disk tmpfs rw 0 0
tmpfs /run/cluster-2 tmpfs rw 0 0
tmpfs /run/cluster/disk/a\\040b tmpfs rw 0 0
";
        let found = mount_points_below(table, Path::new("/run/cluster"));
        assert_eq!(
            found,
            [
                Path::new("/run/cluster/disk/a b"),
                Path::new("/run/cluster/disk")
            ]
        );
    }

    #[test]
    fn wide_and_relative_roots_are_refused() {
        for root in ["/", "/tmp", "/tmp/..", "relative/dir"] {
            assert!(reap(Path::new(root)).is_err(), "{root}");
        }
        assert_eq!(reap(Path::new("/tmp/there/is/no/such/cluster")).unwrap(), 0);
    }
}
