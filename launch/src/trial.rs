//! Trying options before a running member is touched.
//!
//! A flag that etcd refuses would otherwise be noticed only after a member was stopped
//! for it. So the scheduler asks the executor that runs on the agent already, in a Mesos
//! MESSAGE, to start the wanted etcd with the wanted options beside the member: with
//! empty data in a directory of its own, on ports of the loopback that the system picks.
//!
//! Mesos may lose messages both ways. Asked once more, an executor that knows the answer
//! repeats it.

use serde::{Deserialize, Serialize};

use crate::ids::{PodGeneration, PodIndex, Sha256};
use crate::spec::{LaunchSpec, Tuning};

/// What the scheduler asks of a running executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// See [`crate::FORMAT`].
    pub format: u32,
    /// Names the trial; repeated in the answer.
    pub id: String,
    /// What is wanted.
    pub recipe: TrialRecipe,
}

/// The part of a launch spec that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRecipe {
    /// Where to get etcd; none for the one that the member runs.
    pub program: Option<TrialProgram>,
    /// etcd's tunables.
    pub tuning: Tuning,
}

/// An etcd that is not in the sandbox yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialProgram {
    /// From where it can be had over HTTP.
    pub uri: String,
    /// The checksum of what is there.
    pub sha256: Sha256,
    /// If that is an archive: the directory inside that holds `etcd`.
    pub archived_in: Option<String>,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialAnswer {
    /// See [`crate::FORMAT`].
    pub format: u32,
    /// The request's.
    pub id: String,
    /// Whose executor it is.
    pub pod: PodIndex,
    /// The generation of its launch.
    pub generation: PodGeneration,
    /// What came of it.
    pub verdict: TrialVerdict,
}

/// Whether etcd takes the options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialVerdict {
    /// It started with them.
    Taken,
    /// It ended over them.
    Refused {
        /// etcd's own words.
        why: String,
    },
    /// The etcd to try could not be had.
    NotHad {
        /// Why not.
        why: String,
    },
    /// It could not be found out for another reason.
    NotTried {
        /// Why not.
        why: String,
    },
}

impl TrialAnswer {
    /// The answer to a request about the member of a launch.
    pub fn to(request: &TrialRequest, spec: &LaunchSpec, verdict: TrialVerdict) -> Self {
        TrialAnswer {
            format: crate::FORMAT,
            id: request.id.clone(),
            pod: spec.pod,
            generation: spec.generation,
            verdict,
        }
    }
}
