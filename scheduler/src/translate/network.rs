//! Networks, ports and virtual addresses, as Mesos and DC/OS read them.
//!
//! The shapes are those of the DC/OS SDK, so that whatever reads them there
//! (DNS, load balancer, the user interface) finds what it knows.

use etcd_launch::PodIndex;
use etcd_planner::effect::LaunchOrder;
use etcd_planner::target::{Network, VirtualNetwork};
use mesos_v1::v1;

use crate::stable_uuid;

/// A port's label with this in front has `<name>:<port>` of a virtual address
/// that leads to it. What follows must only be unlike that of other labels.
const VIP: &str = "VIP_";
/// The name of the virtual address, and of the port that it leads to.
const API: &str = "api";
/// A port's label that says whose address it belongs to.
const NETWORK_SCOPE: &str = "network-scope";

/// The container that joins a virtual network; none on the agents' own.
pub(super) fn container(order: &LaunchOrder) -> Option<v1::ContainerInfo> {
    let Some(Network::Virtual(network)) = &order.placement.network else {
        return None;
    };
    let labels = network.labels.iter().map(|(key, value)| v1::Label {
        key: key.clone(),
        value: Some(value.clone()),
    });
    let labels: Vec<v1::Label> = labels.collect();
    Some(v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        network_infos: vec![v1::NetworkInfo {
            name: Some(network.name.clone()),
            labels: (!labels.is_empty()).then_some(v1::Labels { labels }),
            port_mappings: port_mappings(network, order),
            ..Default::default()
        }],
        ..Default::default()
    })
}

fn port_mappings(
    network: &VirtualNetwork,
    order: &LaunchOrder,
) -> Vec<v1::network_info::PortMapping> {
    let ports = [order.spec.client_port, order.spec.peer_port].map(u32::from);
    let mapped = ports.map(|port| v1::network_info::PortMapping {
        host_port: port,
        container_port: port,
        protocol: Some("tcp".to_owned()),
    });
    if network.maps_ports {
        mapped.to_vec()
    } else {
        Vec::new()
    }
}

/// The ports of a task, for DNS and the load balancer.
pub(super) fn discovery(pod: PodIndex, order: &LaunchOrder) -> v1::DiscoveryInfo {
    use v1::discovery_info::Visibility;
    let port = |number: u16, name: &str, visibility: Visibility| v1::Port {
        number: u32::from(number),
        name: Some(name.to_owned()),
        protocol: Some("tcp".to_owned()),
        visibility: Some(visibility.into()),
        ..Default::default()
    };
    let spec = &order.spec;
    let api = v1::Port {
        labels: Some(vip_labels(order)),
        ..port(spec.client_port, API, Visibility::External)
    };
    v1::DiscoveryInfo {
        visibility: Visibility::Cluster.into(),
        name: Some(pod.task_name()),
        ports: Some(v1::Ports {
            ports: vec![api, port(spec.peer_port, "peer", Visibility::Cluster)],
        }),
        ..Default::default()
    }
}

/// Each launch has a label of its own: two of one name are one to some readers.
fn vip_labels(order: &LaunchOrder) -> v1::Labels {
    let unique = stable_uuid::from_names(&["vip", &order.task_id.0]);
    let label = |key: String, value: String| v1::Label {
        key,
        value: Some(value),
    };
    let port = order.spec.client_port;
    let vip = label(format!("{VIP}{unique}"), format!("{API}:{port}"));
    let scope = match &order.placement.network {
        None | Some(Network::Host) => None,
        Some(Network::Virtual(network)) if network.maps_ports => Some("host"),
        Some(Network::Virtual(_)) => Some("container"),
    };
    let scope = scope.map(|scope| label(NETWORK_SCOPE.to_owned(), scope.to_owned()));
    v1::Labels {
        labels: [vip].into_iter().chain(scope).collect(),
    }
}
