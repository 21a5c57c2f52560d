//! The volume: guard, marker, and what is moved aside. Nothing is deleted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use etcd_launch::guard::GUARD_FILE;
use etcd_launch::{FORMAT, Guard, INITIALIZED_MARKER, SupersededIdentity};

/// What etcd makes in its data directory.
const MEMBER_DIRECTORY: &str = "member";

/// Reads the guard. A guard that cannot be understood is an error, not the
/// absence of one.
pub fn read_guard(data: &Path) -> io::Result<Option<Guard>> {
    let text = match fs::read(data.join(GUARD_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let guard: Guard = serde_json::from_slice(&text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if guard.format > FORMAT {
        let why = format!(
            "{GUARD_FILE} has format {}, newer than this executor",
            guard.format
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some(guard))
}

/// Writes the guard so that it is on the disk, whole, when this returns. Does
/// not make the directory: it is a volume, and comes from the agent.
pub fn write_guard(data: &Path, guard: &Guard) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(guard)?;
    let new = data.join(format!("{GUARD_FILE}.new"));
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, data.join(GUARD_FILE))?;
    sync_directory(data)
}

/// Moves the data of a superseded identity, guard included, into a directory
/// of its own beside it.
pub fn set_aside(data: &Path, owner: &SupersededIdentity) -> io::Result<PathBuf> {
    let mut number = 1;
    let aside = loop {
        let name = format!("aside-{}-{}-{number}", owner.cluster_id, owner.member_id);
        match fs::create_dir(data.join(&name)) {
            Ok(()) => break data.join(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    for name in [INITIALIZED_MARKER, MEMBER_DIRECTORY] {
        rename_if_there(&data.join(name), &aside.join(name))?;
    }
    sync_directory(&aside)?;
    sync_directory(data)?;
    // The guard goes last, when the rest has arrived for good: a crash before
    // finds it in its place and does all this again.
    rename_if_there(&data.join(GUARD_FILE), &aside.join(GUARD_FILE))?;
    sync_directory(&aside)?;
    sync_directory(data)?;
    Ok(aside)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Marks the data as ready, for operators and their scripts.
pub fn mark_initialized(data: &Path) -> io::Result<()> {
    File::options()
        .create(true)
        .append(true)
        .open(data.join(INITIALIZED_MARKER))
        .map(drop)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use etcd_launch::{ClusterId, ClusterToken, Identity, MemberId};

    use super::*;

    fn sample() -> Guard {
        Guard {
            format: FORMAT,
            identity: Identity {
                token: ClusterToken("t".into()),
                cluster_id: ClusterId(1),
                member_id: MemberId(2),
            },
            wal_seen: false,
        }
    }

    #[test]
    fn guard_round_trip() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        assert_eq!(read_guard(data).unwrap(), None);
        write_guard(data, &sample()).unwrap();
        assert_eq!(read_guard(data).unwrap(), Some(sample()));
        // A volume that is not there is not made up.
        assert!(write_guard(&data.join("absent"), &sample()).is_err());
    }

    #[test]
    fn an_unreadable_guard_is_not_no_guard() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(GUARD_FILE), "{").unwrap();
        assert!(read_guard(directory.path()).is_err());
        let newer = Guard {
            format: FORMAT + 1,
            ..sample()
        };
        write_guard(directory.path(), &newer).unwrap();
        assert!(read_guard(directory.path()).is_err());
    }

    #[test]
    fn setting_aside_keeps_everything() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let owner = SupersededIdentity {
            cluster_id: ClusterId(1),
            member_id: MemberId(2),
        };
        for round in 1..3 {
            fs::create_dir(data.join("member")).unwrap();
            fs::write(data.join("member/x"), "data").unwrap();
            write_guard(data, &sample()).unwrap();
            let aside = set_aside(data, &owner).unwrap();
            assert_eq!(aside, data.join(format!("aside-1-2-{round}")));
            assert_eq!(fs::read_to_string(aside.join("member/x")).unwrap(), "data");
            assert_eq!(read_guard(&aside).unwrap(), Some(sample()));
            assert_eq!(read_guard(data).unwrap(), None);
        }
    }
}
