//! What the scheduler is told. Options are checked here, with the scheduler's own
//! checks, before anything is started.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use etcd_config::load::{self, OPTIONS_FILE_VARIABLE, Override, Sources};
use etcd_config::{Options, Warning};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layout::Layout;
use crate::programs::HelperProgram;

/// Raise it when the meaning of a field changes; files of other formats are ignored,
/// and the scheduler is then started again.
const FORMAT: u32 = 1;

/// What a scheduler was, or is to be, started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    format: u32,
    /// The scheduler's program, and when that was built.
    pub(super) program: PathBuf,
    program_modified_ms: u128,
    pub(super) arguments: Vec<String>,
    /// The variables that hold options.
    pub(super) environment: BTreeMap<String, String>,
    /// What the options file said, so that a change is noticed.
    options: Value,
    /// Where the API answers to this machine.
    pub(super) api: SocketAddr,
    /// The ports of a member.
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
    /// How long a member may take to stop.
    pub(super) kill_grace: Duration,
}

impl Settings {
    /// Puts together what the scheduler is to be told, from the options file given or
    /// else the one kept from the last time, and checks it.
    pub(super) fn check(
        layout: &Layout,
        given: Option<&Path>,
        etcd_dir: &Path,
        helper: &HelperProgram,
    ) -> Result<(Self, Vec<Warning>)> {
        let kept = layout.options_file();
        let file = given
            .map(Path::to_owned)
            .or_else(|| kept.is_file().then(|| kept.clone()));
        let environment: BTreeMap<String, String> = load::process_environment()
            .into_iter()
            .filter(|(name, _)| name != OPTIONS_FILE_VARIABLE)
            .collect();
        let options = options_of(file.as_deref());
        let overrides = overrides(layout, etcd_dir, helper, &options, &environment)?;
        let loaded = load::load(&Sources {
            file,
            environment: environment.clone().into_iter().collect(),
            overrides: overrides.clone(),
        })
        .map_err(|errors| anyhow!("{errors}"))?;

        let program = helper.path().with_file_name("etcd-scheduler");
        let settings = Settings {
            format: FORMAT,
            program_modified_ms: modified_ms(&program)?,
            program,
            arguments: arguments(&kept, &overrides),
            environment,
            options,
            api: reachable(&loaded.options)?,
            client_port: loaded.options.etcd.client_port.0,
            peer_port: loaded.options.etcd.peer_port.0,
            kill_grace: Duration::from_secs(loaded.options.etcd.kill_grace_seconds.0),
        };
        Ok((settings, loaded.warnings))
    }

    /// What the scheduler was started with the last time; `None` if that was never, or
    /// by another release.
    pub(super) fn stored(layout: &Layout) -> Option<Self> {
        let text = fs::read(layout.settings_file()).ok()?;
        let settings: Settings = serde_json::from_slice(&text).ok()?;
        (settings.format == FORMAT).then_some(settings)
    }

    /// Remembers them.
    pub(super) fn store(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        layout.write_private(&layout.settings_file(), &text)
    }

    /// The URL of the API.
    pub(super) fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }
}

/// The file as it is; what is wrong with it is said by the one who loads it.
fn options_of(file: Option<&Path>) -> Value {
    file.and_then(|file| fs::read(file).ok())
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
}

/// What one machine decides itself. Where programs come from is left to the options if
/// they say it.
fn overrides(
    layout: &Layout,
    etcd_dir: &Path,
    helper: &HelperProgram,
    options: &Value,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Override>> {
    let given = |option: &str| {
        let pointer = format!("/{}", option.replace('.', "/"));
        let variable = format!(
            "{}{}",
            load::ENVIRONMENT_PREFIX,
            option.replace('.', "__").to_uppercase()
        );
        options.pointer(&pointer).is_some() || environment.contains_key(&variable)
    };
    let path = |path: &Path| path.display().to_string();
    let mut all = vec![
        (
            "scheduler.masters",
            "--masters",
            layout.master_address().to_string(),
        ),
        (
            "scheduler.state_dir",
            "--state-dir",
            path(&layout.scheduler_state()),
        ),
        (
            "scheduler.token_file",
            "--token-file",
            path(&layout.token_file()),
        ),
    ];
    if !given("scheduler.listen") {
        all.push((
            "scheduler.listen",
            "--listen",
            layout.api_address().to_string(),
        ));
    }
    if !given("scheduler.executor") && !given("scheduler.executor_uri") {
        let executor = helper.path().with_file_name("etcd-executor");
        all.push(("scheduler.executor", "--executor", path(&executor)));
    }
    if !given("scheduler.etcd_dir") && !given("etcd.uri") {
        all.push(("scheduler.etcd_dir", "--etcd-dir", path(etcd_dir)));
    }
    if !rustix::process::geteuid().is_root() {
        // An agent that is not root cannot become another user.
        all.push(("service.user", "--set", present_user()?));
    }
    Ok(all
        .into_iter()
        .map(|(option, flag, value)| Override {
            option: option.to_owned(),
            flag: flag.to_owned(),
            value: Value::String(value),
        })
        .collect())
}

fn arguments(options_file: &Path, overrides: &[Override]) -> Vec<String> {
    let mut arguments = vec!["--options".to_owned(), options_file.display().to_string()];
    for Override {
        option,
        flag,
        value,
    } in overrides
    {
        let value = value.as_str().unwrap_or_default();
        arguments.push(flag.clone());
        arguments.push(match flag.as_str() {
            "--set" => format!("{option}={value}"),
            _ => value.to_owned(),
        });
    }
    arguments
}

/// Whoever listens everywhere is reached on loopback.
fn reachable(options: &Options) -> Result<SocketAddr> {
    let mut address = options.scheduler.listen;
    if address.port() == 0 {
        bail!("option scheduler.listen: name a port; whoever asks must know it");
    }
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(address)
}

/// The name of the user that we are.
fn present_user() -> Result<String> {
    let id = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .map(|fields| fields[0].to_owned())
        .or_else(|| std::env::var("USER").ok())
        .with_context(|| {
            format!("user {id} has no name: set USER, under which etcd is to run")
        })
}

fn modified_ms(program: &Path) -> Result<u128> {
    let modified = fs::metadata(program)
        .and_then(|file| file.modified())
        .with_context(|| format!("no {}: run make build", program.display()))?;
    Ok(modified
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::layout::Network;

    fn check(options: &str, expected: Result<&[&str], &str>) {
        let directory = tempfile::tempdir().unwrap();
        let layout =
            Layout::make(&directory.path().join("local"), Network::default()).unwrap();
        for program in ["etcd-local", "etcd-scheduler"] {
            fs::write(directory.path().join(program), "").unwrap();
        }
        let helper = HelperProgram::at(&directory.path().join("etcd-local")).unwrap();
        let file = directory.path().join("options.json");
        fs::write(&file, options).unwrap();
        let checked = Settings::check(&layout, Some(&file), Path::new("/etcd"), &helper);
        match (checked, expected) {
            (Ok((settings, _)), Ok(expected)) => {
                settings.store(&layout).unwrap();
                assert_eq!(Settings::stored(&layout).as_ref(), Some(&settings));
                let line = settings.arguments.join(" ");
                for part in expected {
                    let (wanted, part) = match part.strip_prefix('!') {
                        Some(part) => (false, part),
                        None => (true, *part),
                    };
                    let shown = format!("{line} {}", settings.api_url());
                    assert_eq!(shown.contains(part), wanted, "{part} in {shown}");
                }
            }
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_machine_says_where_things_are_unless_the_options_do() {
        check(
            "{}",
            Ok(&[
                "--masters 127.0.0.1:5050",
                "--etcd-dir /etcd",
                "http://127.0.0.1:8080",
            ]),
        );
        check(
            r#"{"scheduler": {"etcd_dir": "/mine", "listen": "0.0.0.0:8090",
                 "advertise_url": "http://127.0.0.1:8090"}}"#,
            Ok(&["!--etcd-dir", "http://127.0.0.1:8090"]),
        );
        check(r#"{"node": {"count": 2}}"#, Err("node.count"));
        check(
            r#"{"scheduler": {"listen": "127.0.0.1:0"}}"#,
            Err("name a port"),
        );
        check("{", Err("options.json"));
    }
}
