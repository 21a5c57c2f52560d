//! The volume: guard, marker, and what is moved aside. What was moved aside is
//! all that is ever deleted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use etcd_launch::guard::GUARD_FILE;
use etcd_launch::{
    ClusterId, FORMAT, Guard, INITIALIZED_MARKER, MemberId, SupersededIdentity,
};

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
    let mut number: u32 = 1;
    let aside = loop {
        let name = aside_name(owner.cluster_id, owner.member_id, number);
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

fn aside_name(cluster_id: ClusterId, member_id: MemberId, number: u32) -> String {
    format!("aside-{cluster_id}-{member_id}-{number}")
}

/// Whether [`set_aside`] would give a directory this very name.
fn is_aside_name(name: &str) -> bool {
    let parse = || {
        let mut parts = name.strip_prefix("aside-")?.split('-');
        let cluster_id = parts.next()?.parse().ok()?;
        let member_id = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        Some(aside_name(cluster_id, member_id, number))
    };
    // Written again and compared: nothing that merely resembles one is taken.
    parse().is_some_and(|again| again == name)
}

/// The directories that [`set_aside`] has made on this volume, in order. A
/// symbolic link is none of them, whatever its name.
pub fn directories_set_aside(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(is_aside_name);
        if is_one && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Deletes one of [`directories_set_aside`]. Links in it are deleted, not
/// followed. What a crash leaves of it is found again.
pub fn delete_set_aside(aside: &Path) -> io::Result<()> {
    fs::remove_dir_all(aside)
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
        let found = directories_set_aside(data).unwrap();
        assert_eq!(
            found,
            ["aside-1-2-1", "aside-1-2-2"].map(|name| data.join(name))
        );
        for aside in found {
            delete_set_aside(&aside).unwrap();
        }
        assert_eq!(fs::read_dir(data).unwrap().count(), 0);
    }

    #[test]
    fn only_our_own_names_are_taken() {
        #[track_caller]
        fn check(name: &str, expected: bool) {
            assert_eq!(is_aside_name(name), expected, "{name}");
        }
        check("aside-c1-b1-1", true);
        check("aside-ffffffffffffffff-0-4294967295", true);
        for other in [
            "member",
            "aside",
            "aside-c1-b1",
            "aside-c1-b1-",
            "aside-c1-b1-1-2",
            "aside-c1-b1-01",
            "aside-c1-b1-+1",
            "aside-C1-b1-1",
            "aside-0c1-b1-1",
            "aside-c1-b1-1 ",
            "aside-c1-xyz-1",
            "my-aside-c1-b1-1",
            "aside-10000000000000000-b1-1",
        ] {
            check(other, false);
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        let data = directory.path();
        let link =
            |at: PathBuf| std::os::unix::fs::symlink(elsewhere.path(), at).unwrap();
        link(data.join("aside-c1-b1-1"));
        fs::write(data.join("aside-c1-b1-2"), "a file").unwrap();
        fs::create_dir_all(data.join("aside-c1-b1-3/member")).unwrap();
        link(data.join("aside-c1-b1-3/member/wal"));
        fs::create_dir(data.join("aside-by-hand")).unwrap();

        let found = directories_set_aside(data).unwrap();
        assert_eq!(found, [data.join("aside-c1-b1-3")]);
        delete_set_aside(&found[0]).unwrap();
        assert!(elsewhere.path().join("kept").exists());
        assert_eq!(fs::read_dir(data).unwrap().count(), 3);

        // A volume may itself be reached by a link: so some containerizers mount it.
        fs::create_dir(data.join("aside-c1-b1-4")).unwrap();
        let mounted = elsewhere.path().join("mounted");
        std::os::unix::fs::symlink(data, &mounted).unwrap();
        let found = directories_set_aside(&mounted).unwrap();
        assert_eq!(found, [mounted.join("aside-c1-b1-4")]);
        assert!(directories_set_aside(&data.join("absent")).is_err());
    }
}
