//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use etcd_config::load::{self, LoadErrors, Loaded, Override, Sources};
use serde_json::Value;

/// Runs etcd clusters on Apache Mesos.
///
/// Options come from built-in defaults, the options file, environment
/// variables such as ETCDFW_NODE__COUNT, and flags; what comes later wins.
#[derive(Debug, Parser)]
#[command(name = "etcd-scheduler", version)]
pub struct CommandLine {
    /// A JSON file with options, as given to `dcos package install --options`.
    #[arg(long, global = true, value_name = "FILE", env = load::OPTIONS_FILE_VARIABLE)]
    pub options: Option<PathBuf>,
    /// Mesos masters, separated by commas: sets scheduler.masters.
    #[arg(long, value_name = "HOST:PORT,...")]
    pub masters: Option<String>,
    /// Where the HTTP API listens: sets scheduler.listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where the record is kept: sets scheduler.state_dir.
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<String>,
    /// Tokens of the HTTP API: sets scheduler.token_file.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// The executor to serve to agents: sets scheduler.executor.
    #[arg(long, value_name = "FILE")]
    pub executor: Option<String>,
    /// The directory with etcd and etcdctl to serve: sets scheduler.etcd_dir.
    #[arg(long, value_name = "DIRECTORY")]
    pub etcd_dir: Option<String>,
    /// Sets any other option, for example `--set node.count=5`.
    #[arg(long, value_name = "OPTION=VALUE")]
    pub set: Vec<String>,
    /// Prints every option with its value and where that came from, and ends.
    #[arg(long)]
    pub print_config: bool,
    /// Prints the names of all failpoints, and ends.
    #[arg(long)]
    pub list_failpoints: bool,
    /// Something else than to run.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What there is to do beside running.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Says what other options would change, and changes nothing.
    PlanUpdate(PlanUpdate),
}

/// `plan-update`: by itself, what a start of this program with the options would change,
/// compared with the store of a scheduler that does not run.
#[derive(Debug, Args)]
pub struct PlanUpdate {
    /// The API of a scheduler that runs: what sending the file to it would change.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A file with a token for that API and nothing else.
    #[arg(long, value_name = "FILE")]
    pub api_token_file: Option<PathBuf>,
}

impl CommandLine {
    /// Loads the options from all sources, with all errors at once.
    pub fn load(&self) -> Result<Loaded, LoadErrors> {
        load::load(&Sources {
            file: self.options.clone(),
            environment: load::process_environment(),
            overrides: self.overrides(),
        })
    }

    fn overrides(&self) -> Vec<Override> {
        let named = [
            ("scheduler.masters", "--masters", &self.masters),
            ("scheduler.listen", "--listen", &self.listen),
            ("scheduler.state_dir", "--state-dir", &self.state_dir),
            ("scheduler.token_file", "--token-file", &self.token_file),
            ("scheduler.executor", "--executor", &self.executor),
            ("scheduler.etcd_dir", "--etcd-dir", &self.etcd_dir),
        ];
        let named = named.into_iter().filter_map(|(option, flag, value)| {
            Some(Override {
                option: option.to_owned(),
                flag: flag.to_owned(),
                value: Value::String(value.clone()?),
            })
        });
        let set = self.set.iter().map(|text| {
            let (option, value) = text.split_once('=').unwrap_or((text, ""));
            Override {
                option: option.to_owned(),
                flag: format!("--set {option}"),
                // Numbers and switches as JSON knows them; all else is text.
                value: serde_json::from_str(value)
                    .ok()
                    .filter(|value: &Value| value.is_number() || value.is_boolean())
                    .unwrap_or_else(|| Value::String(value.to_owned())),
            }
        });
        named.chain(set).collect()
    }
}
