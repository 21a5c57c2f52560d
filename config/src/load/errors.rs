//! What can be wrong with options that were loaded, and where they came from.

use std::fmt;
use std::path::PathBuf;

use figment::{Metadata, Source};

use crate::{Problem, Value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// The options file.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
    /// A flag, as the operator wrote it.
    Flag(String),
    /// The body of a request.
    Request,
    /// The scheduler's store.
    Stored,
}

const FILE: &str = "options file";
const ENVIRONMENT: &str = "environment variable";
const FLAG: &str = "flag";
const REQUEST: &str = "request";
const STORED: &str = "stored options";

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "{FILE} {}", path.display()),
            Self::Environment(variable) => write!(out, "{ENVIRONMENT} {variable}"),
            Self::Flag(flag) => write!(out, "{FLAG} {flag}"),
            Self::Request => out.write_str(REQUEST),
            Self::Stored => out.write_str(STORED),
        }
    }
}

/// figment carries an origin beside each value in its own words; these two
/// conversions are the way there and back.
impl From<&Origin> for Metadata {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Default => Metadata::named("default"),
            Origin::File(path) => Metadata::from(FILE, path.as_path()),
            Origin::Environment(variable) => {
                Metadata::from(ENVIRONMENT, Source::Custom(variable.clone()))
            }
            Origin::Flag(flag) => Metadata::from(FLAG, Source::Custom(flag.clone())),
            Origin::Request => Metadata::named(REQUEST),
            Origin::Stored => Metadata::named(STORED),
        }
    }
}

impl From<Option<&Metadata>> for Origin {
    fn from(metadata: Option<&Metadata>) -> Self {
        match metadata.map(|metadata| (&*metadata.name, &metadata.source)) {
            Some((FILE, Some(Source::File(path)))) => Self::File(path.clone()),
            Some((ENVIRONMENT, Some(Source::Custom(variable)))) => {
                Self::Environment(variable.clone())
            }
            Some((FLAG, Some(Source::Custom(flag)))) => Self::Flag(flag.clone()),
            Some((REQUEST, _)) => Self::Request,
            Some((STORED, _)) => Self::Stored,
            _ => Self::Default,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// The options file cannot be read.
    #[error("cannot read the options file {}: {reason}", path.display())]
    UnreadableFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The options file is not JSON.
    #[error("{place}:{line}:{column}: not JSON: {reason}")]
    BrokenJson {
        /// The file, or what else it was.
        place: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The options file, or a section of it, does not hold options.
    #[error(
        "{section} is {value} ({origin}); it must be an object of options, like \
         {{\"node\": {{\"count\": 3}}}}"
    )]
    NotASection {
        /// The section, or `the whole file`.
        section: String,
        /// What is there instead.
        value: String,
        /// Where.
        origin: Origin,
    },
    /// An option stands twice in the options file.
    #[error("{option} is given twice ({origin}); keep one of them")]
    GivenTwice {
        /// The option or section.
        option: String,
        /// Where.
        origin: Origin,
    },
    /// No option has this name.
    #[error("there is no option {option} ({origin}){}", did_you_mean(suggestion))]
    Unknown {
        /// The name as it was given.
        option: String,
        /// Where.
        origin: Origin,
        /// The option that was probably meant.
        suggestion: Option<String>,
    },
    /// The option does not take this value.
    #[error("{option} = {value} is refused ({origin}); allowed: {allowed}")]
    Refused {
        /// The option.
        option: &'static str,
        /// The value as it was given.
        value: String,
        /// Where it was given.
        origin: Origin,
        /// What the option takes.
        allowed: String,
    },
    /// The options are good by themselves and not together.
    #[error("{}", describe_problem(problem, origins))]
    Problem {
        /// What is wrong.
        problem: Problem,
        /// Where the values of the options came from.
        origins: Vec<(&'static str, Origin)>,
    },
    /// Good values could not be put together. A fault of this program.
    #[error("the options cannot be put together: {0}; please report this")]
    NotMerged(String),
}

impl LoadError {
    /// The option whose value was refused.
    pub(super) fn option(&self) -> Option<&str> {
        match self {
            Self::Refused { option, .. } => Some(option),
            _ => None,
        }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map_or(String::new(), |name| format!("; did you mean {name}?"))
}

fn describe_problem(problem: &Problem, origins: &[(&'static str, Origin)]) -> String {
    let Problem {
        option,
        value,
        message,
        ..
    } = problem;
    let origin_of = |name: &str| {
        let found = origins.iter().find(|(option, _)| *option == name);
        found.map_or(&Origin::Default, |(_, origin)| origin)
    };
    let (verdict, own_origin) = match value {
        Value::Unset => (format!("{option} is missing"), None),
        value => (
            format!("{option} = {value} is refused"),
            Some(origin_of(option).to_string()),
        ),
    };
    let beside = problem
        .beside
        .iter()
        .map(|name| format!("{name}: {}", origin_of(name)));
    let origins: Vec<String> = own_origin.into_iter().chain(beside).collect();
    format!("{verdict} ({}); {message}", origins.join("; "))
}

/// Everything that is wrong, one a line.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for error in &self.0 {
            write!(out, "{separator}{error}")?;
            separator = "\n";
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}
