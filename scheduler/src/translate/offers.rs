//! Offers as the planner sees them.

use std::collections::BTreeMap;

use etcd_planner::Timestamp;
use etcd_planner::offer::{
    AgentId, Bundle, FrameworkId, Hostname, Megabytes, MilliCpus, Offer, OfferId,
    PortRange, ReservationId, ReservedBundle, VolumeId,
};
use mesos_v1::v1;

use super::reservations::{FRAMEWORK_ID, POD, RESOURCE_ID, SERVICE};

/// Translates an offer. What we cannot use (revocable, shared or provider
/// resources, disks other than ROOT, reservations of others) is left out, so
/// the planner never counts it.
pub fn offer(offer: &v1::Offer, service: &str, received: Timestamp) -> Offer {
    let mut free = Bundle::default();
    let mut reserved: BTreeMap<ReservationId, ReservedBundle> = BTreeMap::new();
    for resource in &offer.resources {
        if resource.revocable.is_some()
            || resource.shared.is_some()
            || resource.provider_id.is_some()
        {
            continue;
        }
        match resource.reservations.last() {
            None => add(&mut free, resource),
            Some(reservation) => {
                let Some((id, empty)) = our_reservation(reservation, service) else {
                    continue;
                };
                let bundle = reserved.entry(id).or_insert(empty);
                match persistent_volume(resource) {
                    Some((volume, size)) => {
                        bundle.volumes.insert(volume, size);
                    }
                    None => add(&mut bundle.resources, resource),
                }
            }
        }
    }
    Offer {
        id: OfferId(offer.id.value.clone()),
        agent_id: AgentId(offer.agent_id.value.clone()),
        hostname: Hostname(offer.hostname.clone()),
        address: address(offer),
        attributes: BTreeMap::new(),
        domain: None,
        role: offer
            .allocation_info
            .as_ref()
            .and_then(|allocation| allocation.role.clone())
            .unwrap_or_default(),
        unavailable_from: None,
        base: Vec::new(),
        disks: Vec::new(),
        free,
        reserved,
        received,
    }
}

/// The agent's IP address; names may not resolve yet when peers need them.
fn address(offer: &v1::Offer) -> String {
    offer
        .url
        .as_ref()
        .and_then(|url| url.address.ip.clone())
        .unwrap_or_else(|| offer.hostname.clone())
}

fn our_reservation(
    reservation: &v1::resource::ReservationInfo,
    service: &str,
) -> Option<(ReservationId, ReservedBundle)> {
    let labels = &reservation.labels.as_ref()?.labels;
    let label = |key: &str| {
        labels
            .iter()
            .find(|label| label.key == key)
            .and_then(|label| label.value.clone())
    };
    if label(SERVICE)? != service {
        return None;
    }
    let bundle = ReservedBundle {
        pod: label(POD).and_then(|pod| pod.parse().ok()),
        framework_id: label(FRAMEWORK_ID).map(FrameworkId),
        resources: Bundle::default(),
        volumes: BTreeMap::new(),
    };
    Some((ReservationId(label(RESOURCE_ID)?), bundle))
}

fn persistent_volume(resource: &v1::Resource) -> Option<(VolumeId, Megabytes)> {
    let persistence = resource.disk.as_ref()?.persistence.as_ref()?;
    Some((VolumeId(persistence.id.clone()), megabytes(resource)))
}

fn add(bundle: &mut Bundle, resource: &v1::Resource) {
    match resource.name.as_str() {
        "cpus" => bundle.cpus.0 += milli_cpus(resource).0,
        "mem" => bundle.mem.0 += megabytes(resource).0,
        "disk" if resource.disk.is_none() => bundle.disk.0 += megabytes(resource).0,
        "ports" => {
            let ranges = resource.ranges.iter().flat_map(|ranges| &ranges.range);
            bundle.ports.extend(ranges.filter_map(|range| {
                let begin = u16::try_from(range.begin).ok()?;
                let end = u16::try_from(range.end.min(u64::from(u16::MAX))).ok()?;
                Some(PortRange { begin, end })
            }));
            bundle.ports.sort();
        }
        _ => {}
    }
}

fn scalar(resource: &v1::Resource) -> f64 {
    resource
        .scalar
        .as_ref()
        .map_or(0.0, |scalar| scalar.value.max(0.0))
}

/// Mesos keeps three digits; a float that is a hair below a thousandth must
/// not lose it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and far below 2^63"
)]
fn milli_cpus(resource: &v1::Resource) -> MilliCpus {
    MilliCpus((scalar(resource) * 1000.0).round() as u64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and far below 2^63"
)]
fn megabytes(resource: &v1::Resource) -> Megabytes {
    Megabytes((scalar(resource) + 0.000_5).floor() as u64)
}
