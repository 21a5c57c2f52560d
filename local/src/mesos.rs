//! Masters and agents of Apache Mesos as processes on this machine.

mod agent;
mod master;
mod operator;
mod resources;

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

pub use agent::{Agent, AgentConfig, DEFAULT_RESOURCES};
pub use master::{Master, MasterConfig, Registry};
pub(crate) use operator::with_causes;
pub use operator::{AgentId, RegisteredAgent};
pub use resources::{DiskKind, DiskResource, HostResources};

use crate::LocalError;
use crate::daemon::Lifetime;
use crate::programs::{HelperProgram, MesosPrograms};

/// How soon Mesos notices that something is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// For tests: a lost agent is noticed after about 2.5 s, offers come at once.
    Quick,
    /// For `make up`: near what production has, except that an agent notices a
    /// restarted master after 15 s and not, as by default, 75 s: without ZooKeeper
    /// the only sign of it is that pings stay away.
    Calm,
}

/// A fault domain, in which offers and agents say where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultDomain {
    /// "us-west"
    pub region: String,
    /// "us-west-1a"
    pub zone: String,
}

impl FaultDomain {
    fn flag(&self) -> String {
        let domain = serde_json::json!({"fault_domain": {
            "region": {"name": self.region},
            "zone": {"name": self.zone},
        }});
        format!("--domain={domain}")
    }
}

/// What every start of a master or agent needs.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The Mesos programs.
    pub programs: MesosPrograms,
    /// Our own program.
    pub helper: HelperProgram,
    /// Whether what is started dies with this process.
    pub lifetime: Lifetime,
}

fn listen_flags(address: SocketAddrV4, hostname: &str) -> [String; 3] {
    [
        format!("--ip={}", address.ip()),
        format!("--hostname={hostname}"),
        format!("--port={}", address.port()),
    ]
}

fn path_flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// Our flags with those of others, which win over ours of the same name: Mesos refuses a
/// flag that is given twice.
fn with_extra_flags(mut flags: Vec<String>, extra: &[String]) -> Vec<String> {
    fn name(flag: &str) -> &str {
        let bare = flag.trim_start_matches("--");
        let bare = bare.strip_prefix("no-").unwrap_or(bare);
        bare.split('=').next().unwrap_or(bare)
    }
    for flag in extra {
        flags.retain(|ours| name(ours) != name(flag));
        flags.push(flag.clone());
    }
    flags
}

/// Mesos makes links from sandboxes to volumes that are relative to the work
/// directory as it was given, so a relative one leads nowhere.
fn absolute(directory: &Path) -> Result<PathBuf, LocalError> {
    if directory.is_absolute() {
        Ok(directory.to_owned())
    } else {
        Err(LocalError::NotAbsolute {
            path: directory.to_owned(),
        })
    }
}
