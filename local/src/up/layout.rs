//! What lies where under the root directory, and on which addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use etcd_api::status::ServiceStatus;

use super::progress;
use crate::daemon::{DaemonSpec, Lifetime};
use crate::mesos::{AgentConfig, MasterConfig, Timing};
use crate::programs::HelperProgram;

const API_PORT: u16 = 8080;
const MASTER_PORT: u16 = 5050;
const AGENT_PORT: u16 = 5051;

/// The loopback addresses in use: the master and the API on `.1`, agents from
/// `.2`. Tests use ranges of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network([u8; 3]);

impl Default for Network {
    fn default() -> Self {
        Network([127, 0, 0])
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<u8> = text
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect();
        match parts[..] {
            [127, second, third] => Ok(Network([127, second, third])),
            _ => Err(format!("{text:?} is no loopback network such as 127.0.0")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a}.{b}.{c}")
    }
}

impl Network {
    fn host(self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.0;
        Ipv4Addr::new(a, b, c, number)
    }
}

/// Room for a member with default options, and for a second one. Not to be changed
/// lightly: an agent does not come back with other resources than it had.
const AGENT_RESOURCES: &str = "cpus:4;mem:4096;disk:16384;ports:[2379-2380,31000-32000]";

/// In a directory that `up` made; says which addresses it uses. Nothing is
/// removed from a directory without it.
const MARKER: &str = "made-by-etcd-local";

/// The root directory.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    network: Network,
}

impl Layout {
    /// Makes the directory if it is not there. One that holds something else is
    /// refused.
    pub(super) fn make(root: &Path, network: Network) -> Result<Self> {
        fs::create_dir_all(root)
            .with_context(|| format!("cannot make {}", root.display()))?;
        if fs::read_dir(root)?.next().is_none() {
            fs::write(root.join(MARKER), format!("{network}\n"))?;
        }
        let layout = Layout::open(root)?;
        fs::create_dir_all(layout.root.join("log"))?;
        layout.make_token()?;
        Ok(layout)
    }

    /// Opens a directory that `up` has made.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let Ok(network) = fs::read_to_string(root.join(MARKER)) else {
            bail!(
                "{} was not made by etcd-local: name another directory by --root",
                root.display()
            );
        };
        let network = network.trim().parse().map_err(anyhow::Error::msg)?;
        Ok(Layout {
            root: fs::canonicalize(root)?,
            network,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.root.join("token")
    }

    /// Options stay what they were until others are given.
    pub(super) fn keep_options(&self, given: Option<&Path>) -> Result<()> {
        let kept = self.options_file();
        let text = match given {
            Some(given) => fs::read_to_string(given)
                .with_context(|| format!("cannot read {}", given.display()))?,
            None if kept.exists() => return Ok(()),
            None => "{}\n".to_owned(),
        };
        self.write_private(&kept, &text)
    }

    pub(super) fn options_file(&self) -> PathBuf {
        self.root.join("options.json")
    }

    /// What the scheduler was told.
    pub(super) fn settings_file(&self) -> PathBuf {
        self.root.join("settings.json")
    }

    pub(super) fn scheduler_state(&self) -> PathBuf {
        self.root.join("scheduler")
    }

    pub(super) fn scheduler_log(&self) -> PathBuf {
        self.root.join("log/scheduler.log")
    }

    fn make_token(&self) -> Result<()> {
        if self.token_file().exists() {
            return Ok(());
        }
        let mut random = [0_u8; 24];
        fs::File::open("/dev/urandom")
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut random))?;
        let text = format!("write:{}\n", hex::encode(random));
        self.write_private(&self.token_file(), &text)
    }

    /// The token for the API.
    pub(super) fn token(&self) -> Result<String> {
        let text = fs::read_to_string(self.token_file())?;
        Ok(text.trim().trim_start_matches("write:").to_owned())
    }

    /// Where the scheduler's API listens unless the options say otherwise.
    pub(super) fn api_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.network.host(1), API_PORT)
    }

    pub(super) fn master_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.network.host(1), MASTER_PORT)
    }

    /// Shell assignments for scripts.
    pub(super) fn write_env(
        &self,
        api_url: &str,
        status: Option<&ServiceStatus>,
    ) -> Result<()> {
        let endpoints = status.map(progress::endpoints).unwrap_or_default();
        let text = format!(
            "SCHEDULER_URL={api_url}\nSCHEDULER_TOKEN={}\nMESOS_MASTER={}\n\
             ETCDCTL_ENDPOINTS={endpoints}\n",
            self.token()?,
            self.master_address(),
        );
        self.write_private(&self.root.join("env"), &text)
    }

    /// Writes a file that only we may read, whole or not at all.
    pub(super) fn write_private(&self, path: &Path, text: &str) -> Result<()> {
        let aside = path.with_added_extension("new");
        let write = || -> std::io::Result<()> {
            // One that was left over may be open to others.
            let _ = fs::remove_file(&aside);
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&aside, path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Keeps others from starting or stopping things here until it is dropped.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let file = File::create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "another make up or make down is at work in {}: wait until it is done",
                self.root.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    pub(super) fn master_config(&self) -> MasterConfig {
        MasterConfig::new(
            self.master_address(),
            self.root.join("mesos-master"),
            Timing::Calm,
        )
    }

    /// Agents have addresses of their own, from `.2`: each is a host on
    /// which 2379 and 2380 are free.
    pub(super) fn agent_config(&self, number: u8) -> AgentConfig {
        let name = format!("mesos-agent-{number}");
        let ip = self.network.host(number.saturating_add(1));
        let directory = self.agent_directory(number);
        let mut config = AgentConfig::new(
            name,
            SocketAddrV4::new(ip, AGENT_PORT),
            self.master_address().to_string(),
            directory,
            Timing::Calm,
        );
        config.resources = AGENT_RESOURCES.to_owned();
        config
    }

    pub(super) fn agent_directory(&self, number: u8) -> PathBuf {
        self.root.join(format!("mesos-agent-{number}"))
    }

    /// Agents that were ever started here.
    pub(super) fn agent_numbers(&self) -> Result<Vec<u8>> {
        let mut numbers: Vec<u8> = fs::read_dir(&self.root)?
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                name.to_str()?.strip_prefix("mesos-agent-")?.parse().ok()
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn supervisor_spec(&self, helper: &HelperProgram) -> DaemonSpec {
        DaemonSpec {
            name: "supervisor".to_owned(),
            program: helper.path().to_owned(),
            arguments: vec![
                "supervise".into(),
                "--root".into(),
                self.root.clone().into_os_string(),
            ],
            environment: BTreeMap::new(),
            directory: self.root.join("log"),
            lifetime: Lifetime::Detached,
            helper: helper.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_made_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("local");
        assert!(Layout::open(&root).is_err());
        Layout::make(&root, Network::default()).unwrap();
        let token = Layout::make(&root, Network::default())
            .unwrap()
            .token()
            .unwrap();
        assert_eq!(Layout::open(&root).unwrap().token().unwrap(), token);

        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("letter"), "dear").unwrap();
        assert!(Layout::make(&home, Network::default()).is_err());
        assert!(!home.join("log").exists());
    }

    #[test]
    fn one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::make(directory.path(), Network::default()).unwrap();
        let lock = layout.lock().unwrap();
        assert!(layout.lock().is_err());
        drop(lock);
        assert!(layout.lock().is_ok());
    }
}
