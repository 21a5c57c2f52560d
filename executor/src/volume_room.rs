//! How much room the volume's file system has, told to the scheduler every so often.

use std::io;
use std::path::{Path, PathBuf};

use etcd_launch::room::TOLD_EVERY;
use etcd_launch::{DATA_DIRECTORY, ExecutorMessage, FORMAT, LaunchSpec, RoomReport};
use mesos_v1::ExecutorHandle;
use tracing::{debug, warn};

/// Tells it for ever, as far as anybody listens.
pub async fn tell(handle: ExecutorHandle, spec: Option<&LaunchSpec>, sandbox: &Path) {
    let Some(spec) = spec else {
        return std::future::pending().await;
    };
    let volume = sandbox.join(DATA_DIRECTORY);
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    // After a disk that hung, nobody needs what was not said meanwhile.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let volume_free_bytes = match free_bytes(volume.clone()).await {
            Ok(bytes) => bytes,
            Err(error) => {
                warn!(%error, "the file system of the volume does not tell its room");
                continue;
            }
        };
        let message = ExecutorMessage::Room(RoomReport {
            format: FORMAT,
            pod: spec.pod,
            generation: spec.generation,
            volume_free_bytes,
        });
        // Plain data with string keys: turning it into JSON cannot fail.
        let text = serde_json::to_vec(&message).unwrap_or_default();
        if let Err(error) = handle.message(text).await {
            debug!(%error, "nobody was told of the volume's room; the next one follows");
        }
    }
}

/// What etcd may still write, bytes. Not on this thread, which must not hang with a disk.
async fn free_bytes(volume: PathBuf) -> io::Result<u64> {
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&volume));
    let disk = asked.await.map_err(io::Error::other)??;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_system_tells() {
        let volume = tempfile::tempdir().unwrap();
        let free = free_bytes(volume.path().to_owned()).await.unwrap();
        let blocks = rustix::fs::statvfs(volume.path()).unwrap();
        assert!(free <= blocks.f_blocks * blocks.f_frsize);
        let gone = volume.path().join("gone");
        assert!(free_bytes(gone).await.is_err());
    }
}
