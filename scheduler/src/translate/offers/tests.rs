use std::fmt::Write;

use etcd_launch::PodIndex;
use etcd_planner::record::Placement;
use etcd_planner::target::{Network, VirtualNetwork};

use super::*;
use crate::samples;
use crate::translate::reservations::Reserver;
use crate::translate::resources::{self, Made};

const NOW: Timestamp = Timestamp(5);

fn claims(pre_reserved_role: Option<&str>) -> Claims {
    Claims {
        service: "etcd".into(),
        role: match pre_reserved_role {
            Some(role) => format!("{role}/etcd-role"),
            None => "etcd-role".into(),
        },
        pre_reserved_role: pre_reserved_role.map(str::to_owned),
    }
}

fn message(role: &str, resources: Vec<v1::Resource>) -> v1::Offer {
    v1::Offer {
        id: v1::OfferId { value: "o1".into() },
        agent_id: v1::AgentId { value: "a1".into() },
        hostname: "host-1".into(),
        allocation_info: Some(v1::resource::AllocationInfo {
            role: Some(role.into()),
        }),
        resources: resources
            .into_iter()
            .map(|resource| resource.allocated_to(role))
            .collect(),
        ..Default::default()
    }
}

/// What the planner is told of resources, in one line.
fn told(offer: &Offer) -> String {
    let mut text = bundle(&offer.free);
    for base in &offer.base {
        write!(text, " under {}", base.role).unwrap();
    }
    for disk in &offer.disks {
        let root = disk.source.root.as_deref().unwrap_or("-");
        write!(text, "; {:?} {root} {}", disk.source.kind, disk.size).unwrap();
    }
    for (id, reserved) in &offer.reserved {
        let pod = reserved.pod.map(|pod| pod.to_string()).unwrap_or_default();
        write!(text, "; {id} of {pod}: {}", bundle(&reserved.resources)).unwrap();
        for (volume, size) in &reserved.volumes {
            write!(text, " and {volume} of {size}").unwrap();
        }
    }
    text
}

fn bundle(bundle: &Bundle) -> String {
    let ports: Vec<String> = bundle
        .ports
        .iter()
        .map(|range| format!("{}-{}", range.begin, range.end))
        .collect();
    format!(
        "{} cpus {} mem {} disk {}",
        bundle.cpus,
        bundle.mem.0,
        bundle.disk.0,
        ports.join(",")
    )
    .trim_end()
    .to_owned()
}

#[test]
fn what_is_free() {
    let cpus = || resources::scalar("cpus", 2.0);
    let mem = || resources::scalar("mem", 4096.0);
    let disk = || resources::scalar("disk", 10_000.0);
    let check = |made: Vec<v1::Resource>, expected: &str| {
        let offer = offer(&message("etcd-role", made), &claims(None), NOW);
        assert_eq!(told(&offer), expected);
    };
    check(
        vec![cpus(), mem(), disk(), resources::ports(&[(31000, 32000)])],
        "2 cpus 4096 mem 10000 disk 31000-32000",
    );
    // Mesos may tell one kind in several resources; hairs below are no loss.
    check(
        vec![
            resources::scalar("cpus", 0.1),
            resources::scalar("cpus", 0.2),
            resources::scalar("mem", 511.999_999),
            resources::ports(&[(2380, 2380), (2379, 2379)]),
        ],
        "0.3 cpus 512 mem 0 disk 2379-2379,2380-2380",
    );
    // Nobody else's, nothing that may be taken back, nothing that is shared.
    check(
        vec![
            cpus(),
            cpus().reserved("etcd-role", false, &[]),
            cpus().reserved("other", false, &[]),
            v1::Resource {
                revocable: Some(v1::resource::RevocableInfo {}),
                ..cpus()
            },
            v1::Resource {
                shared: Some(v1::resource::SharedInfo {}),
                ..disk()
            },
            disk().volume("theirs"),
        ],
        "2 cpus 0 mem 0 disk",
    );
    check(vec![resources::scalar("gpus", 1.0)], "0 cpus 0 mem 0 disk");
}

#[test]
fn further_disks() {
    use v1::resource::disk_info::source::Type;
    let check = |made: Vec<v1::Resource>, expected: &str| {
        let offer = offer(&message("etcd-role", made), &claims(None), NOW);
        let expected = format!("0 cpus 0 mem 0 disk{expected}");
        assert_eq!(told(&offer), expected);
    };
    let disk = |size: f64| resources::scalar("disk", size);
    check(
        vec![
            disk(5000.0).on(Type::Path, Some("/data")),
            disk(9000.0).on(Type::Mount, Some("/mnt/1")),
        ],
        "; Path /data 5000 MB; Mount /mnt/1 9000 MB",
    );
    // A shared disk may be cut where we like, a whole one must be named exactly.
    check(
        vec![
            disk(5000.5).on(Type::Path, Some("/data")),
            disk(9000.5).on(Type::Mount, Some("/mnt/1")),
        ],
        "; Path /data 5000 MB",
    );
    // Devices without a file system.
    check(vec![disk(9000.0).on(Type::Raw, None)], "");
    check(vec![disk(9000.0).on(Type::Block, None)], "");
    // Kinds that Mesos may learn one day.
    let mut unknown = disk(9000.0).on(Type::Path, Some("/data"));
    let source = unknown.disk.as_mut().unwrap().source.as_mut().unwrap();
    source.r#type = 77;
    check(vec![unknown], "");
    // What could not be said back: both a path and a mount.
    let mut odd = disk(9000.0).on(Type::Path, Some("/data"));
    let source = odd.disk.as_mut().unwrap().source.as_mut().unwrap();
    source.mount = Some(v1::resource::disk_info::source::Mount { root: None });
    check(vec![odd], "");
    // Already somebody's volume.
    check(
        vec![
            disk(9000.0)
                .on(Type::Mount, Some("/mnt/1"))
                .volume("theirs"),
        ],
        "",
    );
    let mut from_provider = disk(2048.0).on(Type::Mount, None);
    from_provider.provider_id = Some(v1::ResourceProviderId { value: "p1".into() });
    check(vec![from_provider], "; Mount - 2048 MB");
    // A provider of something else.
    let mut cpus = resources::scalar("cpus", 2.0);
    cpus.provider_id = Some(v1::ResourceProviderId { value: "p1".into() });
    check(vec![cpus], "");
}

#[test]
fn pre_reserved() {
    let operators = &[("made-by", "the operator")];
    let cpus = |count: f64| resources::scalar("cpus", count);
    let mem = |size: f64| resources::scalar("mem", size);
    let made = || {
        vec![
            cpus(8.0),
            cpus(4.0).reserved("dedicated", true, &[]),
            mem(4096.0).reserved("dedicated", true, &[]),
            cpus(2.0).reserved("dedicated", false, operators),
            mem(2048.0).reserved("dedicated", false, operators),
            // Another framework lives in the same role.
            cpus(1.0).reserved("dedicated", false, &[(RESOURCE_ID, "1")]),
            cpus(1.0).reserved("dedicated", false, &[("marathon_framework_id", "1")]),
            // And one in a role below it.
            cpus(1.0).reserved("dedicated", true, &[]).reserved(
                "dedicated/other",
                false,
                &[],
            ),
        ]
    };
    let check = |role: &str, claims: &Claims, expected: &str| {
        let offer = offer(&message(role, made()), claims, NOW);
        assert_eq!(told(&offer), expected, "offered to {role}");
    };
    // Of two stacks the one with more; they are never mixed.
    check(
        "dedicated/etcd-role",
        &claims(Some("dedicated")),
        "4 cpus 4096 mem 0 disk under dedicated",
    );
    // The service's other role is for places from before.
    check(
        "etcd-role",
        &claims(Some("dedicated")),
        "0 cpus 0 mem 0 disk",
    );
    check("etcd-role", &claims(None), "8 cpus 0 mem 0 disk");
}

fn reserver() -> Reserver {
    Reserver {
        service: "etcd".into(),
        role: "etcd-role".into(),
        principal: "etcd-principal".into(),
        framework_id: samples::FRAMEWORK_ID.into(),
    }
}

fn placement_in(offer: &Offer, network: Network) -> Placement {
    let mut record = samples::formed_record();
    let pod = record.pods.remove(&PodIndex(0)).unwrap();
    Placement {
        role: Some(offer.role.clone()),
        base: offer.base.clone(),
        disk: offer.disks.first().cloned(),
        network: Some(network),
        ..pod.placement.unwrap()
    }
}

/// What is offered, then reserved and offered again: each step must be made of
/// the very resources that the step before it showed.
#[test]
fn there_and_back() {
    use v1::resource::disk_info::source::Type;
    let root = || resources::scalar("disk", 20_000.0);
    let mut from_provider = resources::scalar("disk", 8192.0).on(Type::Mount, None);
    from_provider.provider_id = Some(v1::ResourceProviderId { value: "p1".into() });
    let source = from_provider
        .disk
        .as_mut()
        .unwrap()
        .source
        .as_mut()
        .unwrap();
    source.id = Some("volume-7".into());
    source.profile = Some("fast".into());
    source.vendor = Some("acme".into());
    source.metadata = Some(resources::labels(&[("k", "v")]));
    let whole = || resources::scalar("disk", 8192.0).on(Type::Mount, Some("/mnt/1"));
    let part = || resources::scalar("disk", 8192.0).on(Type::Path, Some("/data"));
    let without_ports = Network::Virtual(VirtualNetwork {
        name: "dcos".into(),
        labels: Vec::new(),
        maps_ports: false,
        dns_domain: "etcd.example".into(),
    });
    let labels = &[("made-by", "the operator")];
    check_there_and_back(None, vec![root()], &Network::Host);
    check_there_and_back(None, vec![root()], &without_ports);
    check_there_and_back(None, vec![root(), whole()], &Network::Host);
    check_there_and_back(None, vec![root(), part()], &Network::Host);
    check_there_and_back(None, vec![root(), from_provider], &Network::Host);
    check_there_and_back(
        Some("dedicated"),
        vec![
            root().reserved("dedicated", true, &[]),
            whole().reserved("dedicated", true, &[]),
        ],
        &Network::Host,
    );
    check_there_and_back(
        Some("team/db"),
        vec![
            root()
                .reserved("team", false, labels)
                .reserved("team/db", false, labels),
        ],
        &Network::Host,
    );
}

fn check_there_and_back(
    pre_reserved_role: Option<&str>,
    disks: Vec<v1::Resource>,
    network: &Network,
) {
    let claims = claims(pre_reserved_role);
    let stack = disks[0].reservations.clone();
    let under_stack = |resource: v1::Resource| v1::Resource {
        reservations: stack.clone(),
        ..resource
    };
    let mut offered = disks;
    offered.extend([
        under_stack(resources::scalar("cpus", 4.0)),
        under_stack(resources::scalar("mem", 8192.0)),
        under_stack(resources::ports(&[(1024, 32000)])),
    ]);
    let before = message(&claims.role, offered);
    let placement = placement_in(&offer(&before, &claims, NOW), network.clone());
    let reserver = reserver();
    let reserved = reserver.reserved(PodIndex(0), &placement);

    // Without our reservation each is a part of something that was offered.
    for resource in &reserved {
        let mut below = resource.clone();
        below.reservations.pop();
        let whole = before.resources.iter().find(|offered| {
            v1::Resource {
                scalar: None,
                ranges: None,
                ..below.clone()
            } == v1::Resource {
                scalar: None,
                ranges: None,
                ..(*offered).clone()
            }
        });
        assert!(whole.is_some(), "not offered: {below:#?}");
    }
    // The volume is made of a disk that was just reserved.
    let volume = reserver.volume(PodIndex(0), &placement);
    let mut disk = volume.clone();
    if let Some(info) = &mut disk.disk {
        info.persistence = None;
        info.volume = None;
    }
    disk.disk = disk.disk.filter(|info| info.source.is_some());
    let made_of = reserved.iter().find(|resource| {
        v1::Resource {
            scalar: None,
            ..(*resource).clone()
        } == v1::Resource {
            scalar: None,
            ..disk.clone()
        }
    });
    assert!(made_of.is_some(), "not reserved: {disk:#?}");
    // Executor and task together use what was reserved, and it is ours when it
    // is offered again.
    let mut used = reserver.of_executor(PodIndex(0), &placement);
    used.extend(reserver.of_task(PodIndex(0), &placement));
    let again = offer(&message(&claims.role, used), &claims, NOW);
    let ports = if network.takes_ports() {
        " 2379-2380"
    } else {
        ""
    };
    let size = placement.volume_size();
    assert_eq!(
        told(&again),
        format!(
            "0 cpus 0 mem 0 disk; reservation-0 of etcd-0: 1.1 cpus 1056 mem 256 disk{ports} \
             and volume-0 of {size}"
        )
    );
    assert_eq!(again.free, Bundle::default());
}

#[test]
fn ours_and_not_ours() {
    let labels: &[(&str, &str)] = &[
        (RESOURCE_ID, "r1"),
        (FRAMEWORK_ID, "f1"),
        (SERVICE, "etcd"),
        (POD, "etcd-1"),
    ];
    let volume = |role: &str, labels: &[(&str, &str)]| {
        resources::scalar("disk", 100.0)
            .reserved(role, false, labels)
            .volume("v1")
    };
    let check = |offered_to: &str, resource: v1::Resource, expected: &str| {
        let offer = offer(&message(offered_to, vec![resource]), &claims(None), NOW);
        let expected = format!("0 cpus 0 mem 0 disk{expected}");
        assert_eq!(told(&offer), expected);
    };
    let shown = "; r1 of etcd-1: 0 cpus 0 mem 0 disk and v1 of 100 MB";
    check("etcd-role", volume("etcd-role", labels), shown);
    // A role that the service had before.
    check("former", volume("former", labels), shown);
    // Offered to a role below the one that it is reserved for.
    check("team/etcd", volume("team", labels), "");
    // Another service, and somebody without a name.
    let other = [labels[0], (SERVICE, "/team/etcd")];
    check("etcd-role", volume("etcd-role", &other), "");
    check("etcd-role", volume("etcd-role", &labels[..2]), "");
    check("etcd-role", volume("etcd-role", &[]), "");
    // A volume is told even where the disk below it has become strange.
    let mut strange = volume("etcd-role", labels);
    strange.disk.as_mut().unwrap().source = Some(v1::resource::disk_info::Source {
        r#type: 77,
        ..Default::default()
    });
    check("etcd-role", strange, shown);
}

#[test]
fn the_agent() {
    let mut message = message("etcd-role", Vec::new());
    message.domain = Some(resources::domain("north", "n2"));
    message.unavailability = Some(v1::Unavailability {
        start: v1::TimeInfo {
            nanoseconds: 1_763_700_000_123_456_789,
        },
        duration: None,
    });
    message.attributes = vec![resources::text_attribute("rack", "r1")];
    let offer = offer(&message, &claims(None), NOW);
    assert_eq!(offer.unavailable_from, Some(Timestamp(1_763_700_000_123)));
    let domain = offer.domain.unwrap();
    assert_eq!(
        (domain.region.as_str(), domain.zone.as_str()),
        ("north", "n2")
    );
    assert!(offer.attributes["rack"].contains("r1"));
    assert_eq!(offer.role, "etcd-role");
    // Without a URL in the offer, the host's name has to do.
    assert_eq!(offer.address, "host-1");
}
