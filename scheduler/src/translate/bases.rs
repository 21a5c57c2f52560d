//! Reservations beneath ours, word for word in both directions.

use etcd_planner::offer::BaseReservation;
use mesos_v1::v1;
use mesos_v1::v1::resource::ReservationInfo;
use mesos_v1::v1::resource::reservation_info::Type;

/// A stack of reservations, the outermost first as in Mesos; none if it could
/// not be said back word for word, for then Mesos would refuse it.
pub(super) fn of(reservations: &[ReservationInfo]) -> Option<Vec<BaseReservation>> {
    let bases: Vec<BaseReservation> = reservations.iter().map(base).collect();
    let said_back = bases.iter().map(message);
    said_back.eq(reservations.iter().cloned()).then_some(bases)
}

fn base(reservation: &ReservationInfo) -> BaseReservation {
    let labels = reservation.labels.iter().flat_map(|labels| &labels.labels);
    BaseReservation {
        is_static: reservation.r#type() == Type::Static,
        role: reservation.role.clone().unwrap_or_default(),
        principal: reservation.principal.clone(),
        labels: labels
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect(),
    }
}

/// The same as Mesos has it.
pub(super) fn message(base: &BaseReservation) -> ReservationInfo {
    let kind = if base.is_static {
        Type::Static
    } else {
        Type::Dynamic
    };
    ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(base.role.clone()),
        principal: base.principal.clone(),
        labels: labels(&base.labels),
    }
}

/// Labels, or none at all: to Mesos an empty list is something else.
pub(super) fn labels(labels: &[(String, Option<String>)]) -> Option<v1::Labels> {
    let labels: Vec<v1::Label> = labels
        .iter()
        .map(|(key, value)| v1::Label {
            key: key.clone(),
            value: value.clone(),
        })
        .collect();
    (!labels.is_empty()).then_some(v1::Labels { labels })
}
