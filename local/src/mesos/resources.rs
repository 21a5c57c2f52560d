//! What an agent offers, as `--resources` wants to have it.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// What the agent of one host offers. Sizes are megabytes (2^20 bytes), as Mesos
/// counts them.
#[derive(Debug, Clone, PartialEq)]
pub struct HostResources {
    /// Processors.
    pub cpus: f64,
    /// Memory.
    pub mem_mb: u32,
    /// The disk of the work directory, which Mesos calls ROOT.
    pub disk_mb: u32,
    /// First and last port of each range.
    pub ports: Vec<(u16, u16)>,
    /// The role that everything is reserved for by the host's operator, as DC/OS
    /// reserves its public agents for `slave_public`.
    pub reserved_for: Option<String>,
    /// Disks beside that of the work directory.
    pub disks: Vec<DiskResource>,
}

/// A disk beside that of the work directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskResource {
    /// How it is shared out.
    pub kind: DiskKind,
    /// Where it is, absolute.
    pub root: PathBuf,
    /// Its size in megabytes (2^20 bytes).
    pub megabytes: u32,
    /// The kind of disk as its operator calls it: "fast".
    pub profile: Option<String>,
}

/// How a disk is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// In pieces.
    Path,
    /// As a whole; Mesos: its root must be a mount point.
    Mount,
}

impl HostResources {
    /// The same as [`super::DEFAULT_RESOURCES`].
    pub fn usual() -> Self {
        HostResources {
            cpus: 4.0,
            mem_mb: 4096,
            disk_mb: 8192,
            ports: vec![(2379, 2380), (31000, 32000)],
            reserved_for: None,
            disks: Vec::new(),
        }
    }

    fn one(&self, name: &str, kind: &str, value: Value) -> Value {
        let mut resource = json!({"name": name, "type": kind.to_uppercase()});
        resource[kind] = value;
        if let Some(role) = &self.reserved_for {
            resource["reservations"] = json!([{"type": "STATIC", "role": role}]);
        }
        resource
    }

    fn scalar(&self, name: &str, value: impl Into<f64>) -> Value {
        self.one(name, "scalar", json!({"value": value.into()}))
    }

    fn port_ranges(&self) -> Value {
        let ranges: Vec<Value> = self
            .ports
            .iter()
            .map(|(first, last)| json!({"begin": first, "end": last}))
            .collect();
        self.one("ports", "ranges", json!({"range": ranges}))
    }

    fn further_disk(&self, disk: &DiskResource) -> Value {
        let (kind, field) = match disk.kind {
            DiskKind::Path => ("PATH", "path"),
            DiskKind::Mount => ("MOUNT", "mount"),
        };
        let mut source = json!({"type": kind});
        source[field] = json!({"root": disk.root});
        if let Some(profile) = &disk.profile {
            source["profile"] = json!(profile);
        }
        let mut resource = self.scalar("disk", disk.megabytes);
        resource["disk"] = json!({"source": source});
        resource
    }
}

/// The JSON that `--resources` takes.
impl fmt::Display for HostResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = vec![
            self.scalar("cpus", self.cpus),
            self.scalar("mem", self.mem_mb),
            self.scalar("disk", self.disk_mb),
            self.port_ranges(),
        ];
        all.extend(self.disks.iter().map(|disk| self.further_disk(disk)));
        Value::Array(all).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edit: fn(&mut HostResources), expected: &Value) {
        let mut resources = HostResources::usual();
        resources.ports = vec![(2379, 2380)];
        edit(&mut resources);
        let text = resources.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *expected);
    }

    #[test]
    fn as_json() {
        let ports = json!({"range": [{"begin": 2379, "end": 2380}]});
        let usual = json!([
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 4096.0}},
            {"name": "disk", "type": "SCALAR", "scalar": {"value": 8192.0}},
            {"name": "ports", "type": "RANGES", "ranges": ports},
        ]);
        check(|_| (), &usual);

        let mut reserved = usual.clone();
        for resource in reserved.as_array_mut().unwrap() {
            resource["reservations"] =
                json!([{"type": "STATIC", "role": "slave_public"}]);
        }
        check(
            |host| host.reserved_for = Some("slave_public".to_owned()),
            &reserved,
        );

        let mut with_disks = usual.clone();
        with_disks.as_array_mut().unwrap().extend([
            json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 700.0},
                "disk": {"source": {"type": "PATH", "path": {"root": "/d/p"}}}}),
            json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 800.0},
                "disk": {"source": {"type": "MOUNT", "mount": {"root": "/d/m"},
                    "profile": "fast"}}}),
        ]);
        check(
            |host| {
                host.disks = vec![
                    DiskResource {
                        kind: DiskKind::Path,
                        root: "/d/p".into(),
                        megabytes: 700,
                        profile: None,
                    },
                    DiskResource {
                        kind: DiskKind::Mount,
                        root: "/d/m".into(),
                        megabytes: 800,
                        profile: Some("fast".to_owned()),
                    },
                ];
            },
            &with_disks,
        );
    }
}
