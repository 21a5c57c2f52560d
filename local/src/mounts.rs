//! Mounts for tests: disks of their own, and directories in which nothing can be made.
//! Only root can do this. They are taken away by [`crate::reaper::unmount_below`].

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::LocalError;

/// What `mount` shows as the device of our disks.
const DEVICE: &str = "etcd-local";

/// Mounts a file system of its own, held in memory, at `directory`, which is made if
/// it is not there.
pub fn mount_disk(directory: &Path, megabytes: u32) -> Result<(), LocalError> {
    fs::create_dir_all(directory)
        .map_err(|source| LocalError::file("make", directory, source))?;
    let options = format!("size={megabytes}m,mode=0755");
    let options = CString::new(options).map_err(|nul| failed(directory, nul.into()))?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    rustix::mount::mount(DEVICE, directory, "tmpfs", flags, options.as_c_str())
        .map_err(|errno| failed(directory, errno.into()))
}

/// Makes everything below `directory` read-only, without a change to what lies there.
pub fn make_read_only(directory: &Path) -> Result<(), LocalError> {
    rustix::mount::mount_bind(directory, directory)
        .and_then(|()| {
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            rustix::mount::mount_remount(directory, flags, c"")
        })
        .map_err(|errno| failed(directory, errno.into()))
}

/// Undoes [`make_read_only`].
pub fn make_writable(directory: &Path) -> Result<(), LocalError> {
    rustix::mount::unmount(directory, UnmountFlags::DETACH)
        .map_err(|errno| LocalError::file("unmount", directory, errno.into()))
}

fn failed(directory: &Path, source: io::Error) -> LocalError {
    LocalError::file("mount (which only root can do)", directory, source)
}
