//! Resources under our reservations, built so that the same placement always
//! gives the same protobuf: Mesos compares resources by equality, and one that
//! differs from what was reserved is not ours to use.

use etcd_launch::{DATA_DIRECTORY, PodIndex};
use etcd_planner::offer::{Bundle, Megabytes, MilliCpus, PortRange};
use etcd_planner::record::Placement;
use mesos_v1::v1;

use super::{bases, disks};

/// Label that names one placement. The SDK's name for it.
pub const RESOURCE_ID: &str = "resource_id";
/// Label that names the framework that reserved. The SDK's name.
pub const FRAMEWORK_ID: &str = "framework_id";
/// Label that names the service.
pub const SERVICE: &str = "service";
/// Label that names the pod.
pub const POD: &str = "pod";

/// Who reserves.
#[derive(Clone, Debug)]
pub struct Reserver {
    /// The service's name, slashes included.
    pub service: String,
    /// The role of placements that do not name theirs.
    pub role: String,
    /// The principal that reserves; it must be the framework's.
    pub principal: String,
    /// The framework's id.
    pub framework_id: String,
}

impl Reserver {
    /// All resources of a placement before its volume is created.
    pub fn reserved(&self, pod: PodIndex, placement: &Placement) -> Vec<v1::Resource> {
        self.with_volume(pod, placement, &placement.amounts())
    }

    /// What the volume of a placement is made of, and these amounts.
    pub fn with_volume(
        &self,
        pod: PodIndex,
        placement: &Placement,
        amounts: &Bundle,
    ) -> Vec<v1::Resource> {
        if placement.disk.is_some() {
            let mut resources = self.amounts(pod, placement, amounts);
            resources.push(self.disk_of_volume(pod, placement));
            return resources;
        }
        let disk = Megabytes(amounts.disk.0 + placement.volume_size().0);
        let amounts = Bundle {
            disk,
            ..amounts.clone()
        };
        self.amounts(pod, placement, &amounts)
    }

    /// Amounts of resources under the reservation of a placement.
    pub fn amounts(
        &self,
        pod: PodIndex,
        placement: &Placement,
        amounts: &Bundle,
    ) -> Vec<v1::Resource> {
        let mut resources = Vec::new();
        if amounts.cpus.0 > 0 {
            resources.push(self.cpus(pod, placement, amounts.cpus));
        }
        if amounts.mem.0 > 0 {
            resources.push(self.mem(pod, placement, amounts.mem));
        }
        if amounts.disk.0 > 0 {
            resources.push(self.disk(pod, placement, amounts.disk));
        }
        resources.extend(self.ports(pod, placement, &amounts.ports));
        resources
    }

    /// The placement's persistent volume.
    pub fn volume(&self, pod: PodIndex, placement: &Placement) -> v1::Resource {
        let mut volume = self.disk_of_volume(pod, placement);
        let disk = volume.disk.get_or_insert_default();
        disk.persistence = Some(v1::resource::disk_info::Persistence {
            id: placement.volume_id.0.clone(),
            principal: Some(self.principal.clone()),
        });
        disk.volume = Some(v1::Volume {
            container_path: DATA_DIRECTORY.to_owned(),
            mode: v1::volume::Mode::Rw.into(),
            ..Default::default()
        });
        volume
    }

    /// What the volume is made of.
    pub(super) fn disk_of_volume(
        &self,
        pod: PodIndex,
        placement: &Placement,
    ) -> v1::Resource {
        let mut resource = self.disk(pod, placement, placement.volume_size());
        if let Some(disk) = &placement.disk {
            let provider_id = disk.source.provider_id.clone();
            resource.provider_id =
                provider_id.map(|value| v1::ResourceProviderId { value });
            resource.disk = Some(v1::resource::DiskInfo {
                source: Some(disks::message(&disk.source)),
                ..Default::default()
            });
        }
        resource
    }

    /// What the executor uses: its own share, and the volume, so that the
    /// volume is there for as long as the container is.
    pub fn of_executor(&self, pod: PodIndex, placement: &Placement) -> Vec<v1::Resource> {
        let needs = &placement.needs;
        vec![
            self.cpus(pod, placement, needs.executor_cpus),
            self.mem(pod, placement, needs.executor_mem),
            self.disk(pod, placement, needs.executor_disk),
            self.volume(pod, placement),
        ]
    }

    /// What the task uses.
    pub fn of_task(&self, pod: PodIndex, placement: &Placement) -> Vec<v1::Resource> {
        let needs = &placement.needs;
        let mut resources = vec![
            self.cpus(pod, placement, needs.cpus),
            self.mem(pod, placement, needs.mem),
        ];
        resources.extend(self.ports(pod, placement, &placement.amounts().ports));
        resources
    }

    fn cpus(
        &self,
        pod: PodIndex,
        placement: &Placement,
        cpus: MilliCpus,
    ) -> v1::Resource {
        #[expect(clippy::cast_precision_loss, reason = "CPUs are far below 2^52")]
        self.scalar(pod, placement, "cpus", cpus.0 as f64 / 1000.0)
    }

    fn mem(&self, pod: PodIndex, placement: &Placement, mem: Megabytes) -> v1::Resource {
        #[expect(clippy::cast_precision_loss, reason = "megabytes are far below 2^52")]
        self.scalar(pod, placement, "mem", mem.0 as f64)
    }

    fn disk(
        &self,
        pod: PodIndex,
        placement: &Placement,
        disk: Megabytes,
    ) -> v1::Resource {
        #[expect(clippy::cast_precision_loss, reason = "megabytes are far below 2^52")]
        self.scalar(pod, placement, "disk", disk.0 as f64)
    }

    fn scalar(
        &self,
        pod: PodIndex,
        placement: &Placement,
        name: &str,
        value: f64,
    ) -> v1::Resource {
        v1::Resource {
            name: name.to_owned(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value }),
            ..self.reservation(pod, placement)
        }
    }

    fn ports(
        &self,
        pod: PodIndex,
        placement: &Placement,
        ports: &[PortRange],
    ) -> Option<v1::Resource> {
        // Mesos joins neighbouring ranges; ours must look as its own do.
        let mut joined: Vec<v1::value::Range> = Vec::new();
        for range in ports {
            let (begin, end) = (u64::from(range.begin), u64::from(range.end));
            match joined.last_mut() {
                Some(last) if last.end + 1 >= begin => last.end = last.end.max(end),
                _ => joined.push(v1::value::Range { begin, end }),
            }
        }
        (!joined.is_empty()).then(|| v1::Resource {
            name: "ports".to_owned(),
            r#type: v1::value::Type::Ranges.into(),
            ranges: Some(v1::value::Ranges { range: joined }),
            ..self.reservation(pod, placement)
        })
    }

    /// The stack that the placement was found under, and our reservation on top.
    fn reservation(&self, pod: PodIndex, placement: &Placement) -> v1::Resource {
        let label = |key: &str, value: &str| v1::Label {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        };
        let role = placement.role.as_ref().unwrap_or(&self.role);
        let ours = v1::resource::ReservationInfo {
            r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
            role: Some(role.clone()),
            principal: Some(self.principal.clone()),
            labels: Some(v1::Labels {
                labels: vec![
                    label(RESOURCE_ID, &placement.reservation_id.0),
                    label(FRAMEWORK_ID, &self.framework_id),
                    label(SERVICE, &self.service),
                    label(POD, &pod.to_string()),
                ],
            }),
        };
        let below = placement.base.iter().map(bases::message);
        v1::Resource {
            reservations: below.chain([ours]).collect(),
            allocation_info: Some(v1::resource::AllocationInfo {
                role: Some(role.clone()),
            }),
            ..Default::default()
        }
    }
}
