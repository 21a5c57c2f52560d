//! Why a command failed: sentences for people, codes for programs.

use std::io;

use serde_json::json;

/// The exit codes of one kind of failure each, after `sysexits.h` where it has one.
pub(crate) mod exit {
    /// The scheduler refused, or is not well. The SDK's CLI has this for everything.
    pub(crate) const REFUSED: u8 = 1;
    /// The arguments are wrong.
    pub(crate) const USAGE: u8 = 64;
    /// The scheduler was not reached, or did not answer in time.
    pub(crate) const NOT_REACHED: u8 = 69;
    /// The output, or a file, could not be written.
    pub(crate) const OUTPUT: u8 = 74;
    /// What was waited for did not come in time.
    pub(crate) const GAVE_UP: u8 = 75;
    /// The answer is none that this program knows.
    pub(crate) const NOT_UNDERSTOOD: u8 = 76;
    /// The token is missing, wrong, or may only read.
    pub(crate) const NOT_PERMITTED: u8 = 77;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments, or what they name, are wrong.
    #[error("{0}")]
    Usage(String),
    /// Nothing says where the API is.
    #[error(
        "where is the scheduler? Give its API by --url or ETCDFW_URL, for example \
         http://10.0.0.1:8080; on DC/OS set DCOS_URL and DCOS_ACS_TOKEN"
    )]
    NoAddress,
    /// No connection, or no answer in time.
    #[error("{url} cannot be reached: {why}")]
    NotReached {
        /// What was asked for.
        url: String,
        /// What the system says.
        why: String,
    },
    /// An answer that is none of success.
    #[error("{}", .0.text)]
    Refused(Refusal),
    /// An answer that cannot be read.
    #[error("the answer of {url} is not understood: {why}")]
    NotUnderstood {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was waited for did not come.
    #[error("{0}")]
    GaveUp(String),
    /// All was said on the output; only the exit code is left to say it.
    #[error("not healthy")]
    NotHealthy,
    /// A plan has errors.
    #[error("the plan {0} has errors")]
    PlanHasErrors(String),
    /// A file cannot be written.
    #[error("{file} cannot be written: {why}")]
    File {
        /// The file.
        file: String,
        /// What the system says.
        why: io::Error,
    },
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// An answer that is none of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The fixed word for programs, if the scheduler gave one.
    pub(crate) code: Option<String>,
    /// For people.
    pub(crate) text: String,
}

impl Refusal {
    /// Whether the scheduler has not dealt with it: it is starting, stopping or
    /// busy, or somebody in between answered in its place.
    pub(crate) fn is_no_answer(&self) -> bool {
        matches!(self.status, 502..=504) || (self.status == 500 && self.code.is_none())
    }
}

impl Failure {
    /// The code that the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::NoAddress => exit::USAGE,
            Failure::NotReached { .. } => exit::NOT_REACHED,
            Failure::Refused(refusal) if refusal.is_no_answer() => exit::NOT_REACHED,
            Failure::Refused(refusal) if matches!(refusal.status, 401 | 403) => {
                exit::NOT_PERMITTED
            }
            Failure::Refused(_) | Failure::NotHealthy | Failure::PlanHasErrors(_) => {
                exit::REFUSED
            }
            Failure::NotUnderstood { .. } => exit::NOT_UNDERSTOOD,
            Failure::GaveUp(_) => exit::GAVE_UP,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::File { .. } | Failure::Output(_) => exit::OUTPUT,
        }
    }

    /// Whether the error output has nothing to add: it was said already, or the
    /// reader went away, as `head` does.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Failure::NotHealthy => true,
            Failure::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// Whether asking again may help: the scheduler is away, starting or busy.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Failure::NotReached { .. } => true,
            Failure::Refused(refusal) => refusal.is_no_answer(),
            _ => false,
        }
    }

    /// The word for programs.
    fn code(&self) -> &str {
        match self {
            Failure::Usage(_) | Failure::NoAddress => "usage",
            Failure::NotReached { .. } => "not_reached",
            Failure::Refused(refusal) => refusal.code.as_deref().unwrap_or("refused"),
            Failure::NotUnderstood { .. } => "not_understood",
            Failure::GaveUp(_) => "gave_up",
            Failure::NotHealthy => "not_healthy",
            Failure::PlanHasErrors(_) => "plan_has_errors",
            Failure::File { .. } => "file",
            Failure::Output(_) => "output",
        }
    }

    /// The whole for programs.
    pub(crate) fn to_json(&self) -> String {
        let status = match self {
            Failure::Refused(refusal) => Some(refusal.status),
            _ => None,
        };
        json!({
            "code": self.code(),
            "message": self.to_string(),
            "http_status": status,
            "exit_code": self.exit_code(),
        })
        .to_string()
    }
}
