//! Leases of loopback addresses, so that clusters on one machine do not meet.
//!
//! All of 127.0.0.0/8 is this machine. A lease is one range 127.N.0.0/24 of it, held
//! by a lock on a file: it ends with the process, however that ends. `make up` keeps
//! 127.0.0.0/24, which is never leased.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::LocalError;
use crate::reaper;

/// Below are ranges that people and other programs like to use.
const FIRST_RANGE: u8 = 10;
const LAST_RANGE: u8 = 249;

/// What a cluster listens on: Mesos' master and agents, etcd's clients and peers.
const PORTS_PROBED: [u16; 4] = [5050, 5051, 2379, 2380];
/// A probe of a few hosts shows a cluster that holds no lease.
const HOSTS_PROBED: u8 = 4;

/// The loopback range 127.N.0.0/24, ours until it is dropped.
#[derive(Debug)]
pub struct Lease {
    range: u8,
    lock: File,
}

impl Lease {
    /// Takes a free range, with locks in the usual place: a directory for all users in
    /// the system's directory for temporary files.
    pub fn take() -> Result<Self, LocalError> {
        Lease::take_from(&std::env::temp_dir().join("etcd-local-leases"))
    }

    /// Takes a free range with locks in a directory, which is made if need be.
    ///
    /// If the last holder died without cleaning up, what still works below the
    /// directory that it had recorded is killed first, and what is mounted there is
    /// taken away.
    pub fn take_from(locks: &Path) -> Result<Self, LocalError> {
        fs::create_dir_all(locks)
            .map_err(|source| LocalError::file("make", locks, source))?;
        // For all users, each with files of their own. Whoever made it has done this;
        // for others it fails and need not be done.
        let _ = fs::set_permissions(locks, fs::Permissions::from_mode(0o1777));
        for range in FIRST_RANGE..=LAST_RANGE {
            let Some(mut lease) = Lease::try_range(locks, range)? else {
                continue;
            };
            lease.clear_up_after_last_holder()?;
            if is_free(range) {
                return Ok(lease);
            }
        }
        Err(LocalError::NoFreeRange {
            first: FIRST_RANGE,
            last: LAST_RANGE,
            locks: locks.to_owned(),
        })
    }

    fn try_range(locks: &Path, range: u8) -> Result<Option<Self>, LocalError> {
        let path = locks.join(format!("127.{range}"));
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o666)
            .open(&path);
        let lock = match opened {
            Ok(lock) => lock,
            // Another user's: theirs then, whether it is locked or not.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(source) => return Err(LocalError::file("open", path, source)),
        };
        // Root can open all files; but what is recorded in another user's must not
        // tell root what to kill.
        let file = lock
            .metadata()
            .map_err(|e| LocalError::file("read", &path, e))?;
        if file.uid() != rustix::process::geteuid().as_raw() {
            return Ok(None);
        }
        match lock.try_lock() {
            Ok(()) => Ok(Some(Lease { range, lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => {
                Err(LocalError::file("lock", path, source))
            }
        }
    }

    /// Address number `host` of the range.
    pub fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.range, 0, host)
    }

    /// A port on address number `host`.
    pub fn address(&self, host: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip(host), port)
    }

    /// Remembers where the processes work that will use this range. Should we die
    /// without ending them, the next holder of the range does it.
    pub fn record_root(&mut self, root: &Path) -> Result<(), LocalError> {
        let write = |source| LocalError::file("write", "the lock of a lease", source);
        self.lock.set_len(0).map_err(write)?;
        self.lock.rewind().map_err(write)?;
        self.lock
            .write_all(root.as_os_str().as_encoded_bytes())
            .map_err(write)
    }

    /// Says that nothing is left to be cleaned up.
    pub fn forget_root(&mut self) -> Result<(), LocalError> {
        self.record_root(Path::new(""))
    }

    fn clear_up_after_last_holder(&mut self) -> Result<(), LocalError> {
        let mut recorded = String::new();
        self.lock
            .read_to_string(&mut recorded)
            .map_err(|source| LocalError::file("read", "the lock of a lease", source))?;
        if recorded.is_empty() {
            return Ok(());
        }
        reaper::clear(&PathBuf::from(recorded))?;
        self.forget_root()
    }
}

fn is_free(range: u8) -> bool {
    (1..=HOSTS_PROBED).all(|host| {
        PORTS_PROBED.iter().all(|port| {
            TcpListener::bind((Ipv4Addr::new(127, range, 0, host), *port)).is_ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_range_is_ours_until_the_lease_is_dropped() {
        let locks = tempfile::tempdir().unwrap();
        let lease = Lease::take_from(locks.path()).unwrap();
        let range = lease.range;
        assert!(Lease::try_range(locks.path(), range).unwrap().is_none());
        assert_ne!(Lease::take_from(locks.path()).unwrap().range, range);
        drop(lease);
        // A child that another test has just forked shares the lock until it runs its
        // own program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Lease::try_range(locks.path(), range).unwrap().is_none() {
            assert!(Instant::now() < deadline, "127.{range} is not free again");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_range_where_somebody_listens_is_passed_over() {
        let locks = tempfile::tempdir().unwrap();
        let lease = Lease::take_from(locks.path()).unwrap();
        let range = lease.range;
        let _listener = TcpListener::bind(lease.address(2, 2380)).unwrap();
        drop(lease);
        assert_ne!(Lease::take_from(locks.path()).unwrap().range, range);
    }

    #[test]
    fn addresses_are_inside_the_range() {
        let locks = tempfile::tempdir().unwrap();
        let lease = Lease::take_from(locks.path()).unwrap();
        let expected = format!("127.{}.0.3:5051", lease.range);
        assert_eq!(lease.address(3, 5051).to_string(), expected);
    }
}
