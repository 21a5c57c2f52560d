//! Who this service is to Mesos: its roles, its claims, its framework.

use std::collections::BTreeSet;

use etcd_config::{Options, ServiceOptions};
use etcd_planner::Record;
use etcd_planner::offer::FrameworkId;
use etcd_planner::record::Placement;
use etcd_planner::target::Network;
use mesos_v1::v1;
use mesos_v1::v1::framework_info::capability::Type as Capability;

use crate::target::dns_domain;
use crate::translate::offers::Claims;
use crate::translate::reservations::Reserver;
use crate::translate::tasks::LaunchFrame;

/// What we know how to live with. More would be a promise that nobody keeps.
const CAPABILITIES: [Capability; 4] = [
    Capability::MultiRole,
    Capability::PartitionAware,
    Capability::ReservationRefinement,
    // Without it, masters that say where they are offer nothing of agents in
    // other regions, even where the operator asks for those.
    Capability::RegionAware,
];

/// The role that new places are reserved for. Where an administrator has
/// reserved the resources, Mesos takes only a role below theirs on top, and the
/// SDK's is the service's own.
pub fn role_of_new_places(service: &ServiceOptions) -> String {
    match &service.pre_reserved_role {
        Some(pre_reserved) => format!("{pre_reserved}/{}", service.role()),
        None => service.role(),
    }
}

/// What of the offered resources is for this service.
pub fn claims(service: &ServiceOptions) -> Claims {
    Claims {
        service: service.name.as_str().to_owned(),
        role: role_of_new_places(service),
        pre_reserved_role: service.pre_reserved_role.clone(),
    }
}

/// The roles to subscribe with. A place that was reserved under other options is
/// offered to no other role than its own, and it may hold data.
pub fn roles(service: &ServiceOptions, record: &Record) -> Vec<String> {
    let used = places(record).filter_map(|placement| placement.role.clone());
    let roles: BTreeSet<String> = [service.role(), role_of_new_places(service)]
        .into_iter()
        .chain(used)
        .collect();
    roles.into_iter().collect()
}

/// Gives every place of the record its role. Records of earlier releases do not
/// name it, since there was only one.
pub fn name_roles(record: &mut Record, service: &ServiceOptions) {
    for placement in places_mut(record) {
        placement.role.get_or_insert_with(|| service.role());
    }
}

/// Gives the framework and every place of the record their user, and places their
/// network. Records of earlier releases do not name them, since nobody could change
/// them: they are those of the options that have held so far.
pub fn name_users(record: &mut Record, so_far: &ServiceOptions, network: &Network) {
    let user = &so_far.user;
    record.framework_user.get_or_insert_with(|| user.clone());
    for placement in places_mut(record) {
        placement.user.get_or_insert_with(|| user.clone());
        placement.network.get_or_insert_with(|| network.clone());
    }
}

fn places_mut(record: &mut Record) -> impl Iterator<Item = &mut Placement> {
    let abandoned = record.abandoned.iter_mut();
    let abandoned = abandoned.map(|place| &mut place.placement);
    let of_pods = record.pods.values_mut();
    of_pods
        .filter_map(|pod| pod.placement.as_mut())
        .chain(abandoned)
}

fn places(record: &Record) -> impl Iterator<Item = &Placement> {
    let abandoned = record.abandoned.iter().map(|place| &place.placement);
    let of_pods = record.pods.values();
    of_pods
        .filter_map(|pod| pod.placement.as_ref())
        .chain(abandoned)
}

/// The framework as it subscribes.
pub fn framework_info(options: &Options, record: &Record) -> v1::FrameworkInfo {
    let service = &options.service;
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
    let failover_timeout = options.scheduler.framework_failover_timeout.0 as f64;
    v1::FrameworkInfo {
        id: record.framework_id.as_ref().map(|id| v1::FrameworkId {
            value: id.0.clone(),
        }),
        name: service.name.as_str().to_owned(),
        // Mesos refuses a framework that comes back with another one.
        user: record
            .framework_user
            .clone()
            .unwrap_or_else(|| service.user.clone()),
        principal: Some(service.principal()),
        roles: roles(service, record),
        checkpoint: Some(true),
        failover_timeout: Some(failover_timeout),
        capabilities: CAPABILITIES
            .map(|capability| v1::framework_info::Capability {
                r#type: Some(capability.into()),
            })
            .to_vec(),
        ..Default::default()
    }
}

/// What all launches have in common. The framework's id is not
/// known before the first subscription.
pub fn launch_frame(
    options: &Options,
    framework_id: Option<&FrameworkId>,
) -> LaunchFrame {
    let service = &options.service;
    let vip = options.vip_dns_name();
    LaunchFrame {
        reserver: Reserver {
            service: service.name.as_str().to_owned(),
            role: service.role(),
            principal: service.principal(),
            framework_id: framework_id.map(|id| id.0.clone()).unwrap_or_default(),
        },
        framework_host: dns_domain(options),
        // `api.` stands before it.
        framework_vip_host: vip
            .split_once('.')
            .map(|(_, host)| host.to_owned())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use etcd_planner::offer::AgentId;

    use super::*;
    use crate::samples;

    fn options(role: Option<&str>, pre_reserved: Option<&str>) -> ServiceOptions {
        ServiceOptions {
            role: role.map(str::to_owned),
            pre_reserved_role: pre_reserved.map(str::to_owned),
            ..ServiceOptions::default()
        }
    }

    #[test]
    fn roles_by_options() {
        let cases = [
            (None, None, "etcd-role"),
            (Some("team"), None, "team"),
            (
                None,
                Some("slave_public"),
                "etcd-role slave_public/etcd-role",
            ),
            (Some("team/db"), Some("ssd"), "ssd/team/db team/db"),
        ];
        for (role, pre_reserved, expected) in cases {
            let record = Record::new(etcd_planner::record::TargetId("t".into()));
            let roles = roles(&options(role, pre_reserved), &record);
            assert_eq!(roles.join(" "), expected, "{role:?} {pre_reserved:?}");
        }
    }

    #[test]
    fn roles_of_old_places_are_kept() {
        let mut record = samples::formed_record();
        let mut pods = record.pods.values_mut();
        let mut place = |role: &str| {
            let placement = pods.next().unwrap().placement.as_mut().unwrap();
            placement.role = Some(role.to_owned());
            placement.agent_id = AgentId("elsewhere".into());
        };
        place("before");
        place("etcd-role");
        let found = roles(&options(None, Some("dedicated")), &record);
        assert_eq!(found.join(" "), "before dedicated/etcd-role etcd-role");
    }

    #[test]
    fn says_what_it_can() {
        let options = Options::default();
        let record = samples::formed_record();
        let info = framework_info(&options, &record);
        let capabilities: Vec<&str> = info
            .capabilities
            .iter()
            .map(|capability| capability.r#type().as_str_name())
            .collect();
        assert_eq!(
            capabilities.join(" "),
            "MULTI_ROLE PARTITION_AWARE RESERVATION_REFINEMENT REGION_AWARE"
        );
        assert_eq!(info.id.unwrap().value, samples::FRAMEWORK_ID);
    }
}
