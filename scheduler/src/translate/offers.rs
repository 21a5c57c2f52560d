//! Offers as the planner sees them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use etcd_planner::Timestamp;
use etcd_planner::offer::{
    AgentId, BaseReservation, Bundle, Disk, DiskKind, FrameworkId, Hostname, Megabytes,
    MilliCpus, Offer, OfferId, PortRange, ReservationId, ReservedBundle, VolumeId,
};
use mesos_v1::v1;
use mesos_v1::v1::resource::ReservationInfo;

use super::reservations::{FRAMEWORK_ID, POD, RESOURCE_ID, SERVICE};
use super::{agents, bases, disks};

/// Which of the resources that Mesos offers are for this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The service's name, slashes included: what our own labels say.
    pub service: String,
    /// The role that new places are reserved for. Offers to another role of
    /// ours show the places that are reserved for that one, and nothing free.
    pub role: String,
    /// New places are made only of what is reserved for this role; if none,
    /// only of what nobody has reserved.
    pub pre_reserved_role: Option<String>,
}

/// Translates an offer. What we cannot use (revocable or shared resources,
/// devices without a file system, what others have reserved) is left out, so
/// the planner never counts it.
pub fn offer(offer: &v1::Offer, claims: &Claims, received: Timestamp) -> Offer {
    let role = offer
        .allocation_info
        .as_ref()
        .and_then(|allocation| allocation.role.clone())
        .unwrap_or_default();
    let mut pools: BTreeMap<Vec<BaseReservation>, Pool> = BTreeMap::new();
    let mut reserved: BTreeMap<ReservationId, ReservedBundle> = BTreeMap::new();
    for resource in &offer.resources {
        if let Some((id, empty)) = our_reservation(resource, &claims.service, &role) {
            add_ours(reserved.entry(id).or_insert(empty), resource);
        } else if role == claims.role
            && claims.are_on(resource)
            && let Some(base) = bases::of(&resource.reservations)
        {
            pools.entry(base).or_default().add(resource);
        }
    }
    let (base, pool) = largest(pools);
    Offer {
        id: OfferId(offer.id.value.clone()),
        agent_id: AgentId(offer.agent_id.value.clone()),
        hostname: Hostname(offer.hostname.clone()),
        address: address(offer),
        attributes: agents::attributes(&offer.attributes),
        domain: agents::domain(offer.domain.as_ref()),
        role,
        unavailable_from: offer.unavailability.as_ref().map(begin),
        free: pool.free,
        base,
        disks: pool.disks,
        reserved,
        received,
    }
}

impl Claims {
    /// Whether a resource that is not ours yet may become ours.
    fn are_on(&self, resource: &v1::Resource) -> bool {
        // A volume is somebody's data, whoever reserved the disk below it.
        if !is_usable(resource) || persistent_volume(resource).is_some() {
            return false;
        }
        match (&self.pre_reserved_role, resource.reservations.last()) {
            (None, None) => true,
            (Some(role), Some(last)) => {
                last.role.as_deref() == Some(role) && !belongs_to_a_framework(last)
            }
            _ => false,
        }
    }
}

/// Whether a framework made the reservation for itself: it may share the role
/// with us. Operators' reservations carry no such labels. SDK services label
/// with `resource_id` and `framework_id`, Marathon with
/// `marathon_framework_id`.
fn belongs_to_a_framework(reservation: &ReservationInfo) -> bool {
    let labels = reservation.labels.iter().flat_map(|labels| &labels.labels);
    labels
        .into_iter()
        .any(|label| label.key == RESOURCE_ID || label.key.ends_with(FRAMEWORK_ID))
}

/// Resources under one and the same stack of reservations.
#[derive(Default)]
struct Pool {
    free: Bundle,
    disks: Vec<Disk>,
}

impl Pool {
    fn add(&mut self, resource: &v1::Resource) {
        let Some(source) = disks::source(resource) else {
            return add(&mut self.free, resource);
        };
        let size = megabytes(resource);
        // A whole disk is taken by its exact size or not at all, and we count
        // in whole megabytes.
        if source.kind == DiskKind::Path || scalar(resource).fract() == 0.0 {
            self.disks.push(Disk { source, size });
        }
    }
}

/// One place is reserved upon one stack, so that its reservations can be undone
/// together: of several, the one with the most to give.
fn largest(pools: BTreeMap<Vec<BaseReservation>, Pool>) -> (Vec<BaseReservation>, Pool) {
    let amount = |pool: &Pool| {
        let free = &pool.free;
        (free.mem, free.cpus, free.disk, pool.disks.len())
    };
    pools
        .into_iter()
        // Of equal ones the first: the same offer gives the same answer.
        .min_by_key(|(_, pool)| Reverse(amount(pool)))
        .unwrap_or_default()
}

fn is_usable(resource: &v1::Resource) -> bool {
    // Devices, and whatever else than disks a provider may have, are unknown
    // to us.
    let is_unknown = (has_source(resource) || resource.provider_id.is_some())
        && disks::source(resource).is_none();
    resource.revocable.is_none() && resource.shared.is_none() && !is_unknown
}

fn has_source(resource: &v1::Resource) -> bool {
    let disk = resource.disk.as_ref();
    disk.is_some_and(|disk| disk.source.is_some())
}

/// The agent's IP address; names may not resolve yet when peers need them.
fn address(offer: &v1::Offer) -> String {
    offer
        .url
        .as_ref()
        .and_then(|url| url.address.ip.clone())
        .unwrap_or_else(|| offer.hostname.clone())
}

/// When a planned absence begins.
fn begin(unavailability: &v1::Unavailability) -> Timestamp {
    let milliseconds = unavailability.start.nanoseconds / 1_000_000;
    Timestamp(u64::try_from(milliseconds).unwrap_or(0))
}

/// A volume that is there is told whatever it lies on: to miss one would cost a
/// member.
fn add_ours(bundle: &mut ReservedBundle, resource: &v1::Resource) {
    match persistent_volume(resource) {
        Some((volume, size)) => {
            bundle.volumes.insert(volume, size);
        }
        None if has_source(resource) || resource.revocable.is_some() => {}
        None => add(&mut bundle.resources, resource),
    }
}

/// Whose it is by the labels of the reservation on top, whatever lies below.
///
/// What is reserved for `team` is offered to `team/etcd`, too. There it is not
/// ours: a call must name the role that a resource was offered to, and ours
/// name the one that it is reserved for.
fn our_reservation(
    resource: &v1::Resource,
    service: &str,
    offered_to: &str,
) -> Option<(ReservationId, ReservedBundle)> {
    let reservation = resource.reservations.last()?;
    if reservation.role.as_deref() != Some(offered_to) {
        return None;
    }
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

#[cfg(test)]
mod tests;
