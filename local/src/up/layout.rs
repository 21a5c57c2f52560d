//! What lies where under the root directory, and on which addresses.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use etcd_api::status::ServiceStatus;

use crate::daemon::{DaemonSpec, Lifetime};
use crate::mesos::{AgentConfig, MasterConfig, Timing};
use crate::programs::HelperProgram;
use crate::setup::etcd::EtcdBinaries;

/// The scheduler's API.
pub(super) const API_HOST: &str = "127.0.0.1";
/// The scheduler's API.
pub(super) const API_PORT: u16 = 8080;
const MASTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5050);
const AGENT_PORT: u16 = 5051;

/// Room for a member with default options, and for a second one.
const AGENT_RESOURCES: &str = "cpus:4;mem:4096;disk:16384;ports:[2379-2380,31000-32000]";

/// In a directory that `up` made. Nothing is removed from any other.
const MARKER: &str = "made-by-etcd-local";

/// The root directory.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directory if it is not there. One that holds something else is
    /// refused.
    pub(super) fn make(root: &Path) -> Result<Self> {
        let is_new = !root.exists() || fs::read_dir(root)?.next().is_none();
        fs::create_dir_all(root.join("log"))?;
        if is_new {
            fs::write(
                root.join(MARKER),
                "make down CLEAN=1 removes this directory\n",
            )?;
        }
        let layout = Layout::open(root)?;
        layout.make_token()?;
        Ok(layout)
    }

    /// Opens a directory that `up` has made.
    pub(super) fn open(root: &Path) -> Result<Self> {
        if !root.join(MARKER).is_file() {
            bail!("{} was not made by etcd-local", root.display());
        }
        Ok(Layout {
            root: fs::canonicalize(root)?,
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
        format!("http://{API_HOST}:{API_PORT}")
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
            "SCHEDULER_URL={}\nSCHEDULER_TOKEN={}\nMESOS_MASTER={MASTER}\n\
             ETCDCTL_ENDPOINTS={}\n",
            self.api_url(),
            self.token()?,
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
        MasterConfig::new(MASTER, self.root.join("mesos-master"), Timing::Calm)
    }

    /// Agents have addresses of their own, from 127.0.0.2: each is a host on
    /// which 2379 and 2380 are free.
    pub(super) fn agent_config(&self, number: u8) -> AgentConfig {
        let name = format!("mesos-agent-{number}");
        let ip = Ipv4Addr::new(127, 0, 0, number.saturating_add(1));
        let directory = self.root.join(&name);
        let mut config = AgentConfig::new(
            name,
            SocketAddrV4::new(ip, AGENT_PORT),
            MASTER.to_string(),
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
            ("--masters", MASTER.to_string()),
            ("--listen", format!("{API_HOST}:{API_PORT}")),
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
