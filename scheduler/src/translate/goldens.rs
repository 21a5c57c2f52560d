//! Messages as text, for tests: what Mesos is asked for, written down where a
//! reader and a reviewer see it.

use std::fmt::Debug;
use std::path::Path;

use etcd_launch::PodIndex;
use etcd_planner::Timestamp;
use etcd_planner::effect::{LaunchOrder, Operation};
use etcd_planner::offer::{
    BaseReservation, Bundle, Disk, DiskKind, DiskSource, Domain, ExecutorId, Megabytes,
    MilliCpus, PortRange, TaskId,
};
use etcd_planner::record::Placement;
use etcd_planner::target::{Network, VirtualNetwork};
use mesos_v1::v1;

use super::operations::{self, Feedback};
use super::reservations::Reserver;
use super::tasks::{self, LaunchFrame};
use crate::artifacts::{Fetch, FetchUri};
use crate::samples;

/// Set in order to write the texts anew instead of comparing with them.
const WRITE: &str = "ETCD_WRITE_GOLDENS";

/// The message without what is absent, two blanks for each level.
fn render(message: &impl Debug) -> String {
    let mut text = String::new();
    let mut levels = Vec::new();
    let mut name = String::new();
    for line in format!("{message:#?}").lines().map(str::trim) {
        if [": None,", ": [],", ": {},"]
            .iter()
            .any(|none| line.ends_with(none))
        {
            continue;
        }
        if let Some(of) = line.strip_suffix("Some(") {
            name.push_str(of);
            levels.push(false);
            continue;
        }
        let closes = line.starts_with(['}', ']', ')']);
        if closes && levels.pop() == Some(false) {
            continue;
        }
        let depth = levels.iter().filter(|shown| **shown).count();
        let shown = line.trim_end_matches(',').trim_start_matches("r#");
        text.push_str(&"  ".repeat(depth));
        text.push_str(&std::mem::take(&mut name).replace("r#", ""));
        text.push_str(shown);
        text.push('\n');
        if line.ends_with(['{', '[', '(']) {
            levels.push(true);
        }
    }
    text
}

fn check(name: &str, message: &impl Debug) {
    let found = render(message);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/translate/goldens")
        .join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, expected,
        "{name} differs; if the new text is right, run the test with {WRITE}=1"
    );
}

fn frame() -> LaunchFrame {
    LaunchFrame {
        reserver: Reserver {
            service: "etcd".into(),
            role: "etcd-role".into(),
            principal: "etcd-principal".into(),
            framework_id: samples::FRAMEWORK_ID.into(),
        },
        framework_host: "etcd.autoip.dcos.thisdcos.directory".into(),
        framework_vip_host: "etcd.l4lb.thisdcos.directory".into(),
    }
}

fn virtual_network(name: &str, maps_ports: bool, labels: &[(&str, &str)]) -> Network {
    let labels = labels.iter();
    Network::Virtual(VirtualNetwork {
        name: name.into(),
        labels: labels
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        maps_ports,
        dns_domain: "etcd.autoip.dcos.thisdcos.directory".into(),
    })
}

fn placement() -> Placement {
    let mut record = samples::formed_record();
    let pod = record.pods.remove(&PodIndex(0)).unwrap();
    Placement {
        role: Some("etcd-role".into()),
        ..pod.placement.unwrap()
    }
}

fn task(network: Network, advertise_host: &str) -> v1::TaskInfo {
    let target = samples::target();
    let order = LaunchOrder {
        task_id: TaskId("etcd__etcd-0-node__1".into()),
        executor_id: ExecutorId("etcd__etcd__1".into()),
        placement: Placement {
            user: Some("nobody".into()),
            network: Some(network),
            domain: Some(Domain {
                region: "north".into(),
                zone: "n1".into(),
            }),
            ..placement()
        },
        spec: samples::launch_spec(&target, advertise_host),
        programs: target.program.clone(),
    };
    let fetch = Fetch {
        uris: vec![FetchUri {
            uri: "http://10.0.0.9:8080/v1/artifacts/etcd-executor".into(),
            output_file: "etcd-executor".into(),
            executable: true,
            extract: false,
        }],
        checks: Vec::new(),
    };
    let mut task = tasks::task_info(&frame(), &order, &fetch).unwrap();
    // The launch spec has tests of its own.
    assert!(task.data.take().is_some());
    task
}

#[test]
fn launch_on_the_agents_network() {
    check("launch_host.txt", &task(Network::Host, "10.0.0.2"));
}

#[test]
fn launch_on_a_virtual_network() {
    let network = virtual_network("dcos", false, &[("k0", "v0"), ("k1", "v1")]);
    let host = "etcd-0-node.etcd.autoip.dcos.thisdcos.directory";
    check("launch_virtual.txt", &task(network, host));
}

#[test]
fn launch_on_a_bridge() {
    let network = virtual_network("mesos-bridge", true, &[]);
    let host = "etcd-0-node.etcd.autoip.dcos.thisdcos.directory";
    check("launch_bridge.txt", &task(network, host));
}

fn messages(placement: &Placement, feedback: Feedback) -> Vec<v1::offer::Operation> {
    let reserver = &frame().reserver;
    let pod = PodIndex(0);
    let mut messages = Vec::new();
    for operation in [
        Operation::Reserve(placement.clone()),
        Operation::CreateVolume(placement.clone()),
    ] {
        messages.extend(match operation {
            Operation::Reserve(place) => {
                operations::reserve(reserver, pod, &place, feedback)
            }
            Operation::CreateVolume(place) => {
                operations::create(reserver, pod, &place, feedback)
            }
            _ => Vec::new(),
        });
    }
    messages.extend(operations::release(
        reserver,
        pod,
        placement,
        (true, &placement.amounts()),
        feedback,
    ));
    messages
}

#[test]
fn a_place_on_the_root_disk() {
    let messages = messages(&placement(), Feedback::Untold);
    check("place_root.txt", &messages);
}

#[test]
fn a_place_on_a_pre_reserved_whole_disk() {
    let place = Placement {
        role: Some("dedicated/etcd-role".into()),
        base: vec![BaseReservation {
            is_static: true,
            role: "dedicated".into(),
            principal: None,
            labels: Vec::new(),
        }],
        disk: Some(Disk {
            source: mounted("/mnt/1"),
            size: Megabytes(8192),
        }),
        ..placement()
    };
    check("place_mount.txt", &messages(&place, Feedback::Told));
}

/// What more is reserved has the very labels of the rest, so that Mesos takes both for
/// one; what is over goes back as it is.
#[test]
fn a_place_that_is_resized() {
    let reserver = &frame().reserver;
    let (pod, placement) = (PodIndex(0), placement());
    let port = |port: u16| PortRange {
        begin: port,
        end: port,
    };
    let more = Bundle {
        cpus: MilliCpus(500),
        mem: Megabytes(512),
        disk: Megabytes(0),
        ports: vec![port(4001), port(4002)],
    };
    let less = Bundle {
        disk: Megabytes(128),
        ports: vec![port(2379)],
        ..Bundle::default()
    };
    let asked = Timestamp(7);
    let mut messages = operations::reserve_more(
        reserver,
        pod,
        (&placement, &more),
        &placement.grow_operation(asked),
        Feedback::Told,
    );
    messages.extend(operations::unreserve_surplus(
        reserver,
        pod,
        (&placement, &less),
        &placement.shrink_operation(asked),
        Feedback::Untold,
    ));
    check("place_resized.txt", &messages);
}

#[test]
fn a_place_on_a_disk_of_a_provider() {
    let source = DiskSource {
        root: None,
        id: Some("volume-7".into()),
        profile: Some("fast".into()),
        provider_id: Some("provider-1".into()),
        ..mounted("")
    };
    let place = Placement {
        disk: Some(Disk {
            source,
            size: Megabytes(8192),
        }),
        ..placement()
    };
    let messages = messages(&place, Feedback::Told);
    let names: Vec<String> = messages
        .iter()
        .map(|message| {
            let id = message.id.as_ref().unwrap();
            format!("{} {}", message.r#type().as_str_name(), id.value)
        })
        .collect();
    assert_eq!(
        names,
        [
            "RESERVE reserve__reservation-0",
            "RESERVE reserve__reservation-0__of_provider",
            "CREATE create__volume-0__of_provider",
            "DESTROY destroy__volume-0__of_provider",
            "UNRESERVE unreserve__reservation-0",
            "UNRESERVE unreserve__reservation-0__of_provider",
        ]
    );
}

fn mounted(root: &str) -> DiskSource {
    DiskSource {
        kind: DiskKind::Mount,
        root: Some(root.to_owned()),
        id: None,
        profile: None,
        vendor: None,
        provider_id: None,
        metadata: Vec::new(),
    }
}
