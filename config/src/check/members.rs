//! How many members, and where.

use super::Findings;
use crate::placement::{Field, Rule};
use crate::{DiskType, PlacementConstraints};

impl Findings<'_> {
    pub(super) fn members(&mut self) {
        let node = &self.options.node;
        if node.count.get() == 1 {
            self.warn(
                "node.count",
                "one member: the cluster stops whenever that member does, and its disk is \
                 the only copy of the data"
                    .to_owned(),
            );
        } else if node.placement_constraint.constraints().is_empty() {
            self.warn(
                "node.placement_constraint",
                "members may share a host, and the loss of that host may then cost the \
                 quorum"
                    .to_owned(),
            );
        }
    }

    /// An agent that reboots is away for less than a minute or two: replacing its
    /// member at once would cost more than waiting.
    pub(super) fn replacing(&mut self) {
        const SHORTEST_SECONDS: u64 = 60;
        let after = self.options.service.replace_after;
        if (1..SHORTEST_SECONDS).contains(&after.0) {
            self.refuse(
                "service.replace_after",
                &[],
                format!(
                    "allowed: 0 for never, or at least {SHORTEST_SECONDS} seconds, so \
                     that no reboot costs a member its place"
                ),
            );
        }
    }

    /// Wishes that no set of agents can meet, and wishes that meet nothing.
    pub(super) fn placement(&mut self) {
        let (service, node) = (&self.options.service, &self.options.node);
        if !node.disk_profiles.is_empty() && node.disk_type != DiskType::Mount {
            self.refuse(
                "node.disk_profiles",
                &["node.disk_type"],
                format!(
                    "allowed: no profiles while node.disk_type is {}; only whole disks \
                     (MOUNT) have them",
                    node.disk_type
                ),
            );
        }
        if service.region.is_some() && node.placement_constraint.names_region() {
            self.refuse(
                "service.region",
                &["node.placement_constraint"],
                "allowed: a region here or a constraint on @region, not both".to_owned(),
            );
        }
        if node.count.get() > 1
            && self.takes_agent_ports()
            && let Some(one_host) = demands_one_host(&node.placement_constraint)
        {
            self.refuse(
                "node.placement_constraint",
                &["node.count"],
                format!(
                    "allowed: a constraint that leaves {} hosts; {one_host} puts all \
                     members on one, and there only one can have ports {} and {}",
                    node.count.get(),
                    self.options.etcd.client_port,
                    self.options.etcd.peer_port
                ),
            );
        }
    }

    /// Whether members use ports of their agents, so that each needs an agent of
    /// its own.
    fn takes_agent_ports(&self) -> bool {
        let service = &self.options.service;
        !service.virtual_network_enabled || service.virtual_network_maps_ports()
    }
}

/// The constraint that leaves one host for all members, as it is written.
fn demands_one_host(constraints: &PlacementConstraints) -> Option<String> {
    let on_one_host = |rule: &Rule| matches!(rule, Rule::Cluster(_) | Rule::Is(_));
    constraints
        .constraints()
        .iter()
        .find(|constraint| {
            constraint.field == Field::Hostname && on_one_host(&constraint.rule)
        })
        .map(|constraint| {
            PlacementConstraints::from_iter([constraint.clone()]).to_string()
        })
}
