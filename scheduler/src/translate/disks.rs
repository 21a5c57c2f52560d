//! Disks beside the ROOT disk, word for word in both directions.

use etcd_planner::offer::{DiskKind, DiskSource};
use mesos_v1::v1;
use mesos_v1::v1::resource::disk_info::Source;
use mesos_v1::v1::resource::disk_info::source::{Mount, Path, Type};

use super::bases;

/// Where a disk resource comes from; none for the ROOT disk, for what is no
/// disk, for devices without a file system, and for what could not be said back
/// word for word, for then Mesos would refuse it.
pub(super) fn source(resource: &v1::Resource) -> Option<DiskSource> {
    let source = resource.disk.as_ref()?.source.as_ref()?;
    let known = parts(resource, source)?;
    (message(&known) == *source).then_some(known)
}

fn parts(resource: &v1::Resource, source: &Source) -> Option<DiskSource> {
    let (kind, root) = match source.r#type() {
        Type::Path => {
            let root = source.path.as_ref().and_then(|path| path.root.clone());
            (DiskKind::Path, root)
        }
        Type::Mount => {
            let root = source.mount.as_ref().and_then(|mount| mount.root.clone());
            (DiskKind::Mount, root)
        }
        Type::Unknown | Type::Block | Type::Raw => return None,
    };
    let metadata = source.metadata.iter().flat_map(|labels| &labels.labels);
    Some(DiskSource {
        kind,
        root,
        id: source.id.clone(),
        profile: source.profile.clone(),
        vendor: source.vendor.clone(),
        provider_id: resource.provider_id.as_ref().map(|id| id.value.clone()),
        metadata: metadata
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect(),
    })
}

/// The same as Mesos has it, without the provider, which stands beside it in
/// the resource.
pub(super) fn message(source: &DiskSource) -> Source {
    let root = source.root.clone();
    let (kind, path, mount) = match source.kind {
        DiskKind::Path => (Type::Path, Some(Path { root }), None),
        DiskKind::Mount => (Type::Mount, None, Some(Mount { root })),
    };
    Source {
        r#type: kind.into(),
        path,
        mount,
        id: source.id.clone(),
        metadata: bases::labels(&source.metadata),
        profile: source.profile.clone(),
        vendor: source.vendor.clone(),
    }
}
