//! Collects options from defaults, an options file, the environment and flags.
//!
//! Later sources win: defaults, then the file, then the environment, then flags.
//! figment merges the layers and remembers where each value came from. It stops
//! at the first error, though, and an operator wants to hear all of them at once;
//! so every value is first judged by the option table, and only what is good
//! reaches figment.

mod errors;
mod given_twice;
pub(crate) mod layers;
mod suggest;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use figment::Figment;
use figment::providers::Serialized;

pub use errors::{LoadError, LoadErrors, Origin};

use crate::{Options, Warning, option_table};
use layers::Given;

/// What the names of environment variables with options begin with. Not `ETCD_`:
/// etcd and etcdctl read those themselves.
pub const ENVIRONMENT_PREFIX: &str = "ETCDFW_";

/// A variable with our prefix that is not an option but names the options file.
pub const OPTIONS_FILE_VARIABLE: &str = "ETCDFW_OPTIONS_FILE";

/// Where options may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The options file, JSON, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables. Those without [`ENVIRONMENT_PREFIX`] are ignored, and
    /// so is [`OPTIONS_FILE_VARIABLE`].
    pub environment: Vec<(String, String)>,
    /// Options given as flags; of two for one option, the later wins.
    pub overrides: Vec<Override>,
}

/// An option given as a flag.
#[derive(Clone, Debug)]
pub struct Override {
    /// The option's dotted name, like `node.count`.
    pub option: String,
    /// The flag as the operator wrote it, for messages: `--count`.
    pub flag: String,
    /// The value. A text is taken for any kind of option, as in the environment.
    pub value: serde_json::Value,
}

/// A configuration that was found good.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The options.
    pub options: Options,
    /// For every option, where its value came from.
    pub provenance: BTreeMap<&'static str, Origin>,
    /// What the operator should know.
    pub warnings: Vec<Warning>,
}

/// The variables of this process that may hold options. What is not Unicode shows as
/// replacement characters, in messages too, instead of ending the process.
#[must_use]
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .collect()
}

/// Collects the options and checks them.
///
/// # Errors
///
/// Everything that is wrong, in one [`LoadErrors`].
pub fn load(sources: &Sources) -> Result<Loaded, LoadErrors> {
    let mut errors = Vec::new();
    let mut given = Vec::new();
    if let Some(path) = &sources.file {
        layers::read_file(path, &mut given, &mut errors);
    }
    layers::read_environment(&sources.environment, &mut given, &mut errors);
    layers::read_overrides(&sources.overrides, &mut given, &mut errors);

    let figment = merge(given);
    let options: Options = match figment.extract() {
        Ok(options) => options,
        Err(error) => {
            errors.push(LoadError::NotMerged(error.to_string()));
            return Err(LoadErrors(errors));
        }
    };
    let provenance: BTreeMap<&'static str, Origin> = option_table()
        .map(|row| (row.name, figment.find_metadata(row.name).into()))
        .collect();

    let refused: BTreeSet<&str> = errors.iter().filter_map(LoadError::option).collect();
    let (problems, warnings) = options.check_except(&refused);
    errors.extend(problems.into_iter().map(|problem| {
        let origins = std::iter::once(problem.option)
            .chain(problem.beside.iter().copied())
            .filter_map(|option| Some((option, provenance.get(option)?.clone())))
            .collect();
        LoadError::Problem { problem, origins }
    }));
    if errors.is_empty() {
        Ok(Loaded {
            options,
            provenance,
            warnings,
        })
    } else {
        Err(LoadErrors(errors))
    }
}

fn merge(given: Vec<Given>) -> Figment {
    let defaults = Figment::from(Serialized::defaults(Options::default()));
    given.into_iter().fold(defaults, Figment::merge)
}

impl Loaded {
    /// Every option with its value and where it came from, one a line, for
    /// `--print-config`. No option holds a secret, so nothing is hidden.
    #[must_use]
    pub fn print_config(&self) -> String {
        /// Values longer than this push their origin to the right.
        const WIDEST_COLUMN: usize = 48;
        let lines: Vec<(String, &Origin)> = option_table()
            .filter_map(|row| {
                let value = (row.value)(&self.options);
                Some((
                    format!("{} = {value}", row.name),
                    self.provenance.get(row.name)?,
                ))
            })
            .collect();
        let longest = lines
            .iter()
            .map(|(setting, _)| setting.chars().count())
            .max();
        let width = longest.unwrap_or(0).min(WIDEST_COLUMN);
        lines
            .iter()
            .fold(String::new(), |mut text, (setting, origin)| {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{setting:width$}  # {origin}");
                text
            })
    }
}
