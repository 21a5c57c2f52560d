//! One open program, as it is served.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcd_launch::Sha256;
use futures_util::Stream;

use super::ArtifactError;
use super::kept::{CHUNK_BYTES, KeptPrograms, checksum};

/// An open copy of a program. It is opened once and served from the open file, so
/// that whatever happens in its directory does not change what launches get.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    file: File,
    version: FileVersion,
}

/// What changes when somebody writes into the open file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    bytes: u64,
    modified: (i64, i64),
}

impl Program {
    /// Keeps a copy of what somebody has put in place, and opens it.
    pub(super) fn keep(
        what: &str,
        source: &Path,
        hint: &'static str,
        kept: &KeptPrograms,
    ) -> Result<(Self, Sha256), ArtifactError> {
        let (file, sha256) = open_source(what, source, hint)?;
        let not_kept = |error| ArtifactError::NotKept {
            what: what.to_owned(),
            path: kept.path(&sha256),
            source: error,
        };
        let copy = kept.keep(&file, &sha256).map_err(not_kept)?;
        let program = Program::of(copy, kept.path(&sha256)).map_err(not_kept)?;
        Ok((program, sha256))
    }

    /// The checksum of what somebody has put in place.
    pub(super) fn checksum(
        what: &str,
        source: &Path,
        hint: &'static str,
    ) -> Result<Sha256, ArtifactError> {
        open_source(what, source, hint).map(|(_, sha256)| sha256)
    }

    /// Opens the copy with this checksum.
    pub(super) fn kept(kept: &KeptPrograms, sha256: &Sha256) -> io::Result<Self> {
        Program::of(kept.open(sha256)?, kept.path(sha256))
    }

    fn of(file: File, path: PathBuf) -> io::Result<Self> {
        let version = FileVersion::of(&file.metadata()?);
        Ok(Program {
            path,
            file,
            version,
        })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.version.bytes
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the open file is still what the checksum was taken of. Somebody
    /// may have written into the copy.
    pub fn is_unchanged(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|metadata| FileVersion::of(&metadata) == self.version)
    }

    /// Its content, piece by piece.
    pub fn stream(
        self: Arc<Self>,
    ) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
        futures_util::stream::try_unfold(0, move |offset: u64| {
            let program = Arc::clone(&self);
            async move {
                if offset >= program.bytes() {
                    return Ok(None);
                }
                let chunk =
                    tokio::task::spawn_blocking(move || program.read_chunk(offset))
                        .await
                        .map_err(io::Error::other)??;
                let next = offset + chunk.len() as u64;
                Ok(Some((chunk, next)))
            }
        })
    }

    pub(super) fn read_chunk(&self, offset: u64) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.bytes() - offset).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(CHUNK_BYTES)];
        self.file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    }
}

/// Opens what somebody has put in place, if it is a program, and takes its checksum.
fn open_source(
    what: &str,
    source: &Path,
    hint: &'static str,
) -> Result<(File, Sha256), ArtifactError> {
    let unreadable = |error| ArtifactError::Unreadable {
        what: what.to_owned(),
        path: source.to_owned(),
        source: error,
        hint,
    };
    let no_program = |why| ArtifactError::NotAProgram {
        what: what.to_owned(),
        path: source.to_owned(),
        why,
        hint,
    };
    let file = File::open(source).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(no_program("is not a file"));
    }
    if metadata.len() == 0 {
        return Err(no_program("is empty"));
    }
    if metadata.mode() & 0o111 == 0 {
        return Err(no_program("is not executable"));
    }
    let sha256 = checksum(&file).map_err(unreadable)?;
    Ok((file, sha256))
}

impl FileVersion {
    fn of(metadata: &std::fs::Metadata) -> Self {
        FileVersion {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}
