//! How one host of a test cluster differs from the usual one.

use std::path::{Path, PathBuf};

use crate::LocalError;
use crate::mesos::{AgentConfig, DiskKind, DiskResource, FaultDomain, HostResources};
use crate::mounts;

/// One host: as it is made, four cpus, 4 GB of memory and 8 GB of disk, no attributes
/// and no domain.
#[derive(Debug, Clone)]
pub struct Host {
    attributes: Vec<(String, String)>,
    domain: Option<FaultDomain>,
    resources: HostResources,
    disks: Vec<Disk>,
    flags: Vec<String>,
}

/// A disk beside that of the agent's work directory. The directory of a PATH disk is
/// made; a MOUNT disk is a file system in memory, for which the test must be root.
#[derive(Debug, Clone)]
pub struct Disk {
    kind: DiskKind,
    name: String,
    megabytes: u32,
    profile: Option<String>,
}

impl Disk {
    /// A disk that is shared out in pieces.
    pub fn path(name: impl Into<String>, megabytes: u32) -> Self {
        Disk::new(DiskKind::Path, name.into(), megabytes)
    }

    /// A disk that is given away as a whole.
    pub fn mount(name: impl Into<String>, megabytes: u32) -> Self {
        Disk::new(DiskKind::Mount, name.into(), megabytes)
    }

    fn new(kind: DiskKind, name: String, megabytes: u32) -> Self {
        Disk {
            kind,
            name,
            megabytes,
            profile: None,
        }
    }

    /// The same, of a kind that operators call so.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }
}

impl Default for Host {
    fn default() -> Self {
        Host {
            attributes: Vec::new(),
            domain: None,
            resources: HostResources::usual(),
            disks: Vec::new(),
            flags: Vec::new(),
        }
    }
}

impl Host {
    /// The usual host.
    pub fn new() -> Self {
        Host::default()
    }

    /// With an attribute: `("rack", "r1")`.
    #[must_use]
    pub fn attribute(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// In a fault domain. The master needs one too, see
    /// [`super::ClusterOptions::region`].
    #[must_use]
    pub fn zone(mut self, region: impl Into<String>, zone: impl Into<String>) -> Self {
        self.domain = Some(FaultDomain {
            region: region.into(),
            zone: zone.into(),
        });
        self
    }

    /// With so many processors.
    #[must_use]
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.resources.cpus = cpus;
        self
    }

    /// With so many megabytes of memory.
    #[must_use]
    pub fn mem(mut self, megabytes: u32) -> Self {
        self.resources.mem_mb = megabytes;
        self
    }

    /// With so many megabytes on the disk of the work directory.
    #[must_use]
    pub fn root_disk(mut self, megabytes: u32) -> Self {
        self.resources.disk_mb = megabytes;
        self
    }

    /// With these port ranges instead of etcd's two ports and 31000 to 32000.
    #[must_use]
    pub fn ports(mut self, ranges: impl Into<Vec<(u16, u16)>>) -> Self {
        self.resources.ports = ranges.into();
        self
    }

    /// With everything reserved for a role by the host's operator.
    #[must_use]
    pub fn reserved_for(mut self, role: impl Into<String>) -> Self {
        self.resources.reserved_for = Some(role.into());
        self
    }

    /// With one more disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// With a further flag of the agent, `--name=value`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Where a disk of this name is on the host with this directory.
    pub fn disk_root(directory: &Path, name: &str) -> PathBuf {
        directory.join("disks").join(name)
    }

    /// Gives an agent what this host has.
    pub(super) fn describe_to(&self, config: &mut AgentConfig) {
        let mut resources = self.resources.clone();
        resources
            .disks
            .extend(self.disks.iter().map(|disk| DiskResource {
                kind: disk.kind,
                root: Host::disk_root(&config.directory, &disk.name),
                megabytes: disk.megabytes,
                profile: disk.profile.clone(),
            }));
        config.resources = resources.to_string();
        config.attributes.extend(self.attributes.iter().cloned());
        config.domain.clone_from(&self.domain);
        config.extra_flags.extend(self.flags.iter().cloned());
    }

    /// Makes its disks below `directory`.
    pub(super) fn make_disks(&self, directory: &Path) -> Result<(), LocalError> {
        for disk in &self.disks {
            let root = Host::disk_root(directory, &disk.name);
            match disk.kind {
                DiskKind::Path => std::fs::create_dir_all(&root)
                    .map_err(|source| LocalError::file("make", &root, source))?,
                DiskKind::Mount => mounts::mount_disk(&root, disk.megabytes)?,
            }
        }
        Ok(())
    }
}
