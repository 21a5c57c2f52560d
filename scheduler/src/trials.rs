//! Options that executors try beside their members: what they are sent.

use etcd_launch::{FORMAT, TrialProgram, TrialRecipe, TrialRequest, Tuning};
use etcd_planner::programs::Programs;

use crate::effects::{FileSource, NoCall};

/// The program that runs a member, and the one that is tried.
const ETCD: &str = "etcd";

/// A request in the form in which it travels. `programs` hold the etcd to try, unless it
/// is the one that runs.
///
/// # Errors
///
/// When that etcd is not to be had any more.
pub fn request(
    id: &str,
    programs: Option<&Programs>,
    tuning: &Tuning,
    source: &FileSource,
) -> Result<Vec<u8>, NoCall> {
    let program = programs.map(|programs| where_to_get(programs, source));
    let request = TrialRequest {
        format: FORMAT,
        id: id.to_owned(),
        recipe: TrialRecipe {
            program: program.transpose()?.flatten(),
            tuning: tuning.clone(),
        },
    };
    Ok(serde_json::to_vec(&request)?)
}

fn where_to_get(
    programs: &Programs,
    source: &FileSource,
) -> Result<Option<TrialProgram>, NoCall> {
    if let Some(archive) = &programs.archive {
        return Ok(Some(TrialProgram {
            uri: archive.uri.clone(),
            sha256: archive.sha256.clone(),
            archived_in: Some(programs.directory.clone()),
        }));
    }
    let fetch = source.fetch(programs).map_err(|why| NoCall::NotAtHand {
        programs: Box::new(programs.clone()),
        why,
    })?;
    let file = fetch.uris.into_iter().find(|file| file.output_file == ETCD);
    let sha256 = programs.checksums.get(ETCD);
    Ok(file.zip(sha256).map(|(file, sha256)| TrialProgram {
        uri: file.uri,
        sha256: sha256.clone(),
        archived_in: None,
    }))
}
