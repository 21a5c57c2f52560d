//! What lies where under the root directory, and on which addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use etcd_api::status::ServiceStatus;

use crate::daemon::{DaemonSpec, Lifetime};
use crate::mesos::{AgentConfig, MasterConfig, Timing};
use crate::programs::HelperProgram;
use crate::setup::etcd::EtcdBinaries;

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

/// Room for a member with default options, and for a second one.
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
        let is_new = !root.exists() || fs::read_dir(root)?.next().is_none();
        fs::create_dir_all(root.join("log"))?;
        if is_new {
            fs::write(root.join(MARKER), format!("{network}\n"))?;
        }
        let layout = Layout::open(root)?;
        layout.make_token()?;
        Ok(layout)
    }

    /// Opens a directory that `up` has made.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let Ok(network) = fs::read_to_string(root.join(MARKER)) else {
            bail!("{} was not made by etcd-local", root.display());
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

    fn token_file(&self) -> PathBuf {
        self.root.join("token")
    }

    /// Options stay what they were until others are given.
    pub(super) fn keep_options(&self, given: Option<&Path>) -> Result<()> {
        if let Some(given) = given {
            fs::copy(given, self.options_file())
                .with_context(|| format!("cannot read {}", given.display()))?;
        } else if !self.options_file().exists() {
            fs::write(self.options_file(), "{}\n")?;
        }
        Ok(())
    }

    pub(super) fn options_file(&self) -> PathBuf {
        self.root.join("options.json")
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
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.token_file())?;
        writeln!(file, "write:{}", hex::encode(random))?;
        Ok(())
    }

    /// The token for the API.
    pub(super) fn token(&self) -> Result<String> {
        let text = fs::read_to_string(self.token_file())?;
        Ok(text.trim().trim_start_matches("write:").to_owned())
    }

    pub(super) fn api_url(&self) -> String {
        format!("http://{}", self.api_address())
    }

    pub(super) fn api_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.network.host(1), API_PORT)
    }

    fn master_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.network.host(1), MASTER_PORT)
    }

    /// Shell assignments for scripts.
    pub(super) fn write_env(&self, status: Option<&ServiceStatus>) -> Result<()> {
        let endpoints: Vec<String> = status
            .map(|status| {
                status
                    .pods
                    .iter()
                    .filter_map(|pod| pod.client_url.clone())
                    .collect()
            })
            .unwrap_or_default();
        let text = format!(
            "SCHEDULER_URL={}\nSCHEDULER_TOKEN={}\nMESOS_MASTER={}\n\
             ETCDCTL_ENDPOINTS={}\n",
            self.api_url(),
            self.token()?,
            self.master_address(),
            endpoints.join(",")
        );
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.root.join("env"))?;
        file.write_all(text.as_bytes())?;
        Ok(())
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
        let directory = self.root.join(&name);
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

    pub(super) fn supervisor_spec(
        &self,
        helper: &HelperProgram,
        etcd: Option<&EtcdBinaries>,
    ) -> DaemonSpec {
        let etcd_dir = etcd.map_or(PathBuf::new(), |etcd| etcd.dir.clone());
        let arguments = vec![
            "supervise".into(),
            "--root".into(),
            self.root.clone().into_os_string(),
            "--etcd-dir".into(),
            etcd_dir.into_os_string(),
        ];
        DaemonSpec {
            name: "supervisor".to_owned(),
            program: helper.path().to_owned(),
            arguments,
            environment: BTreeMap::new(),
            directory: self.root.join("log"),
            lifetime: Lifetime::Detached,
            helper: helper.clone(),
        }
    }

    /// The scheduler's arguments.
    pub(super) fn scheduler_arguments(&self, etcd_dir: &Path) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let mut arguments: Vec<String> = [
            ("--options", path(self.options_file())),
            ("--masters", self.master_address().to_string()),
            ("--listen", self.api_address().to_string()),
            ("--state-dir", path(self.root.join("scheduler"))),
            ("--token-file", path(self.token_file())),
            ("--etcd-dir", etcd_dir.display().to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        let is_root = rustix::process::geteuid().is_root();
        if let (false, Ok(user)) = (is_root, std::env::var("USER")) {
            // An agent that is not root cannot become another user.
            arguments.extend(["--set".to_owned(), format!("service.user={user}")]);
        }
        arguments
    }
}
