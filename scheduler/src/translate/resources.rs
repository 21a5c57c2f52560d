//! Resources for tests, as Mesos would tell them.

use mesos_v1::v1;
use mesos_v1::v1::resource::disk_info::Source;
use mesos_v1::v1::resource::disk_info::source::{Mount, Path, Type};
use mesos_v1::v1::resource::{DiskInfo, ReservationInfo, reservation_info};

pub(crate) fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}

pub(crate) fn ports(ranges: &[(u64, u64)]) -> v1::Resource {
    let ranges = ranges.iter().copied();
    v1::Resource {
        name: "ports".to_owned(),
        r#type: v1::value::Type::Ranges.into(),
        ranges: Some(v1::value::Ranges {
            range: ranges
                .map(|(begin, end)| v1::value::Range { begin, end })
                .collect(),
        }),
        ..Default::default()
    }
}

pub(crate) fn labels(labels: &[(&str, &str)]) -> v1::Labels {
    let labels = labels.iter().map(|(key, value)| v1::Label {
        key: (*key).to_owned(),
        value: Some((*value).to_owned()),
    });
    v1::Labels {
        labels: labels.collect(),
    }
}

pub(crate) fn domain(region: &str, zone: &str) -> v1::DomainInfo {
    use v1::domain_info::FaultDomain;
    use v1::domain_info::fault_domain::{RegionInfo, ZoneInfo};
    v1::DomainInfo {
        fault_domain: Some(FaultDomain {
            region: RegionInfo {
                name: region.to_owned(),
            },
            zone: ZoneInfo {
                name: zone.to_owned(),
            },
        }),
    }
}

pub(crate) fn text_attribute(name: &str, value: &str) -> v1::Attribute {
    v1::Attribute {
        name: name.to_owned(),
        r#type: v1::value::Type::Text.into(),
        text: Some(v1::value::Text {
            value: value.to_owned(),
        }),
        ..Default::default()
    }
}

/// What can be said of a resource beside its amount.
pub(crate) trait Made {
    fn reserved(self, role: &str, is_static: bool, labels: &[(&str, &str)]) -> Self;
    fn on(self, kind: Type, root: Option<&str>) -> Self;
    fn volume(self, id: &str) -> Self;
    fn allocated_to(self, role: &str) -> Self;
}

impl Made for v1::Resource {
    fn reserved(mut self, role: &str, is_static: bool, pairs: &[(&str, &str)]) -> Self {
        let kind = if is_static {
            reservation_info::Type::Static
        } else {
            reservation_info::Type::Dynamic
        };
        self.reservations.push(ReservationInfo {
            r#type: Some(kind.into()),
            role: Some(role.to_owned()),
            principal: (!is_static).then(|| "somebody".to_owned()),
            labels: (!pairs.is_empty()).then(|| labels(pairs)),
        });
        self
    }

    fn on(mut self, kind: Type, root: Option<&str>) -> Self {
        let root = root.map(str::to_owned);
        let source = Source {
            r#type: kind.into(),
            path: (kind == Type::Path).then(|| Path { root: root.clone() }),
            mount: (kind == Type::Mount).then_some(Mount { root }),
            ..Default::default()
        };
        self.disk = Some(DiskInfo {
            source: Some(source),
            ..Default::default()
        });
        self
    }

    fn volume(mut self, id: &str) -> Self {
        let disk = self.disk.get_or_insert_default();
        disk.persistence = Some(v1::resource::disk_info::Persistence {
            id: id.to_owned(),
            principal: None,
        });
        self
    }

    fn allocated_to(mut self, role: &str) -> Self {
        self.allocation_info = Some(v1::resource::AllocationInfo {
            role: Some(role.to_owned()),
        });
        self
    }
}
