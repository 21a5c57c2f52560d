//! Why an offer was not taken for a pod.

use std::collections::BTreeMap;
use std::fmt;

use etcd_launch::PodIndex;

use crate::offer::{AgentId, Megabytes, MilliCpus};

/// Several of them in one line.
pub(super) fn write_all(
    f: &mut fmt::Formatter<'_>,
    refusals: &BTreeMap<OfferRefusal, usize>,
) -> fmt::Result {
    for (place, (refusal, agents)) in refusals.iter().enumerate() {
        let separator = if place == 0 { "" } else { "; " };
        let plural = if *agents == 1 { "agent" } else { "agents" };
        write!(f, "{separator}{refusal} ({agents} {plural} refused)")?;
    }
    Ok(())
}

/// Why an offer was not good enough for a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferRefusal {
    /// The agent is in another region.
    Region {
        /// The wanted one; none for that of the masters.
        wanted: Option<String>,
    },
    /// A placement constraint forbids it.
    Constraint {
        /// The constraint, as the operator knows it.
        rule: String,
    },
    /// Only a member that leaves once its successor has joined is in the way.
    HeldByLeaving {
        /// The constraint, as the operator knows it.
        rule: String,
        /// The member that leaves.
        by: PodIndex,
    },
    /// A place could not be had there lately.
    Avoided,
    /// It has just been taken for another pod.
    Taken,
    /// Not enough CPUs.
    Cpus {
        /// Wanted.
        wanted: MilliCpus,
    },
    /// Not enough memory.
    Mem {
        /// Wanted.
        wanted: Megabytes,
    },
    /// Not enough disk.
    Disk {
        /// Wanted.
        wanted: Megabytes,
    },
    /// A fixed port is not offered.
    Port {
        /// Which.
        port: u16,
    },
    /// No disk of the wanted kind is large enough.
    NoSuchDisk {
        /// The kind.
        kind: String,
        /// Wanted size.
        wanted: Megabytes,
    },
}

impl fmt::Display for OfferRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfferRefusal::Region {
                wanted: Some(region),
            } => write!(f, "not in region {region}"),
            OfferRefusal::Region { wanted: None } => {
                f.write_str("not in the masters' region")
            }
            OfferRefusal::Constraint { rule } => f.write_str(rule),
            OfferRefusal::HeldByLeaving { rule, by } => {
                write!(f, "{rule}, for as long as {by} is there")
            }
            OfferRefusal::Taken => f.write_str("just taken for another pod"),
            OfferRefusal::Avoided => f.write_str("a place could not be had there lately"),
            OfferRefusal::Cpus { wanted } => write!(f, "fewer than {wanted} cpus"),
            OfferRefusal::Mem { wanted } => write!(f, "less than {wanted} of memory"),
            OfferRefusal::Disk { wanted } => write!(f, "less than {wanted} of disk"),
            OfferRefusal::Port { port } => write!(f, "port {port} not offered"),
            OfferRefusal::NoSuchDisk { kind, wanted } => {
                write!(f, "no {kind} disk of {wanted}")
            }
        }
    }
}

/// Refusals of one pod by agent, counted.
pub(crate) fn count(
    by_agent: &BTreeMap<AgentId, OfferRefusal>,
) -> BTreeMap<OfferRefusal, usize> {
    let mut counts = BTreeMap::new();
    for refusal in by_agent.values() {
        *counts.entry(refusal.clone()).or_insert(0) += 1;
    }
    counts
}
