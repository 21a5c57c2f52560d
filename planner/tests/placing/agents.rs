//! Agents as a line of text, the offers that they make, and what is decided.

use std::collections::BTreeMap;

use etcd_config::PlacementConstraints;
use etcd_launch::{ClusterId, MemberId, Scheme, Tuning};
use etcd_planner::offer::{
    AgentFacts, AgentId, Attributes, Bundle, Disk, DiskKind, DiskSource, Domain,
    FrameworkId, Hostname, Megabytes, MilliCpus, Offer, OfferId, PortRange,
};
use etcd_planner::record::TargetId;
use etcd_planner::target::{DiskWish, Needs, Network};
use etcd_planner::{Decision, Event, Model, Record, Target, Timestamp, Turn, plan};

/// The moment at which offers come.
pub(crate) const T0: Timestamp = Timestamp(1_000_000);

/// Three members of 1.1 cpus, 1056 MB of memory and 5376 MB of disk.
pub(crate) fn target(constraints: &str) -> Target {
    Target {
        service: "etcd".into(),
        members: 3,
        placement: constraints.parse::<PlacementConstraints>().unwrap(),
        region: None,
        needs: Needs {
            cpus: MilliCpus(1000),
            mem: Megabytes(1024),
            volume: Megabytes(5120),
            executor_cpus: MilliCpus(100),
            executor_mem: Megabytes(32),
            executor_disk: Megabytes(256),
            client_port: 2379,
            peer_port: 2380,
        },
        disk: DiskWish::Root,
        offer_collection_ms: 0,
        network: Network::Host,
        user: "root".into(),
        token_prefix: "dcos".into(),
        tuning: Tuning {
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            snapshot_count: 10_000,
            quota_backend_bytes: 2 << 30,
            auto_compaction: None,
            enable_v2: false,
        },
        program: etcd_planner::programs::Programs {
            directory: ".".into(),
            checksums: BTreeMap::new(),
            archive: None,
            executor: None,
            version: None,
        },
        scheme: Scheme::Http,
        stop_grace_ms: 30_000,
        deploy_strategy: etcd_config::DeployStrategy::Parallel,
        update_strategy: etcd_config::DeployStrategy::Serial,
        replace_after_ms: None,
        allow_scale_in: false,
        update_timeout_ms: 600_000,
        update_rollback: true,
        move_on_resize: false,
        defragment: None,
    }
}

/// One offer from a line like `a zone=z1 region=north rack=r1 cpus=0.5`. What
/// is not named is plentiful; `disk:mount=9000` is a further disk, `away` a
/// planned maintenance, `noport` an agent whose port 2379 is taken.
pub(crate) fn offer(line: &str) -> Offer {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let mut offer = Offer {
        id: OfferId(format!("offer-of-{name}")),
        agent_id: AgentId(name.into()),
        hostname: Hostname(name.into()),
        address: name.into(),
        attributes: Attributes::new(),
        domain: None,
        role: "etcd-role".into(),
        unavailable_from: None,
        free: Bundle {
            cpus: MilliCpus(4000),
            mem: Megabytes(8192),
            disk: Megabytes(20_000),
            ports: vec![PortRange {
                begin: 2379,
                end: 2380,
            }],
        },
        base: Vec::new(),
        disks: Vec::new(),
        reserved: BTreeMap::new(),
        received: T0,
    };
    let (mut region, mut zone) = (None, None);
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "host" => offer.hostname = Hostname(value.into()),
            "region" => region = Some(value.to_owned()),
            "zone" => zone = Some(value.to_owned()),
            "cpus" => offer.free.cpus = MilliCpus(value.parse().unwrap()),
            "mem" => offer.free.mem = Megabytes(value.parse().unwrap()),
            "disk" => offer.free.disk = Megabytes(value.parse().unwrap()),
            "disk:path" => offer.disks.push(disk(DiskKind::Path, value)),
            "disk:mount" => offer.disks.push(disk(DiskKind::Mount, value)),
            "noport" => offer.free.ports[0].begin = 2380,
            "away" => offer.unavailable_from = Some(T0),
            attribute => {
                let values = offer.attributes.entry(attribute.into()).or_default();
                values.insert(value.to_owned());
            }
        }
    }
    if region.is_some() || zone.is_some() {
        offer.domain = Some(Domain {
            region: region.unwrap_or_else(|| "north".into()),
            zone: zone.unwrap_or_else(|| "z0".into()),
        });
    }
    offer
}

/// `9000`, or `9000@profile`.
fn disk(kind: DiskKind, text: &str) -> Disk {
    let (size, profile) = match text.split_once('@') {
        Some((size, profile)) => (size, Some(profile.to_owned())),
        None => (text, None),
    };
    Disk {
        source: DiskSource {
            kind,
            root: Some(format!("/disks/{size}")),
            id: None,
            profile,
            vendor: None,
            provider_id: None,
            metadata: Vec::new(),
        },
        size: Megabytes(size.parse().unwrap()),
    }
}

/// What the master says of the agent that made an offer.
pub(crate) fn facts(offer: &Offer) -> AgentFacts {
    AgentFacts {
        id: offer.agent_id.clone(),
        hostname: offer.hostname.clone(),
        attributes: offer.attributes.clone(),
        domain: offer.domain.clone(),
        tells_of_operations: true,
    }
}

/// A scheduler that has just subscribed at masters in the region `north`.
pub(crate) fn subscribed(target: Target) -> Model {
    let id = TargetId("t".into());
    let mut model = Model::new(id.clone(), target, Record::new(id));
    let subscribed = Event::Subscribed {
        epoch: 1,
        framework_id: FrameworkId("f".into()),
        master_region: Some("north".into()),
    };
    model.apply(subscribed, T0);
    model
}

pub(crate) fn decide(model: &Model, now: Timestamp) -> Decision {
    let turn = Turn {
        now,
        entropy: 7,
        identify_founders: |_, founders| {
            let ids = (1..).map(MemberId).take(founders.len()).collect();
            Ok((ClusterId(1), ids))
        },
    };
    plan(model, &turn)
}

/// Where pods are placed, and why others are not: `0@a 1@b 2: no offer ...`.
pub(crate) fn places(decision: &Decision) -> String {
    let mut words = Vec::new();
    for (index, pod) in &decision.record.pods {
        match &pod.placement {
            Some(placement) => words.push(format!("{}@{}", index.0, placement.agent_id)),
            None => words.push(format!("{}: {}", index.0, decision.waiting[index])),
        }
    }
    words.join(" ")
}
