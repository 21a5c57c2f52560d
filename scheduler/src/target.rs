//! From options to the planner's target.

use etcd_config::{DiskType, Options};
use etcd_launch::{AutoCompaction, Scheme, Tuning};
use etcd_planner::Target;
use etcd_planner::offer::{Megabytes, MilliCpus};
use etcd_planner::programs::Programs;
use etcd_planner::target::{DefragmentWhen, DiskWish, Needs, Network, VirtualNetwork};

/// What the options ask for, with the programs that are to run.
pub fn target(options: &Options, program: Programs) -> Target {
    let (node, etcd, scheduler) = (&options.node, &options.etcd, &options.scheduler);
    Target {
        service: options.service.name.as_str().to_owned(),
        members: u16::try_from(node.count.get()).unwrap_or(u16::MAX),
        placement: node.placement_constraint.clone(),
        region: options.service.region.clone(),
        disk: disk(options),
        offer_collection_ms: scheduler.offer_collection.0,
        network: network(options),
        user: options.service.user.clone(),
        needs: Needs {
            cpus: MilliCpus(node.cpus.0),
            mem: Megabytes(node.mem.0),
            volume: Megabytes(node.disk.0),
            executor_cpus: MilliCpus(scheduler.executor_cpus.0),
            executor_mem: Megabytes(scheduler.executor_mem.0),
            executor_disk: Megabytes(scheduler.executor_disk.0),
            client_port: etcd.client_port.get(),
            peer_port: etcd.peer_port.get(),
        },
        token_prefix: etcd.initial_cluster_token.clone(),
        tuning: Tuning {
            heartbeat_interval_ms: etcd.heartbeat_interval.0,
            election_timeout_ms: etcd.election_timeout.0,
            snapshot_count: etcd.snapshot_count,
            quota_backend_bytes: etcd.quota.bytes(),
            auto_compaction: auto_compaction(options),
            enable_v2: etcd.enable_v2,
        },
        program,
        scheme: Scheme::Http,
        stop_grace_ms: etcd.kill_grace_seconds.0.saturating_mul(1000),
        deploy_strategy: options.service.deploy_strategy,
        update_strategy: options.service.update_strategy,
        replace_after_ms: match options.service.replace_after.0 {
            0 => None,
            seconds => Some(seconds.saturating_mul(1000)),
        },
        allow_scale_in: options.service.allow_scale_in,
        update_timeout_ms: options.service.update_timeout.0.saturating_mul(1000),
        update_rollback: options.service.update_rollback,
        move_on_resize: options.service.move_on_resize,
        defragment: defragment(options),
    }
}

fn auto_compaction(options: &Options) -> Option<AutoCompaction> {
    let etcd = &options.etcd;
    let (seconds, revisions) = (
        etcd.auto_compaction_period.0,
        etcd.auto_compaction_revisions,
    );
    match (seconds, revisions) {
        (0, 0) => None,
        (0, revisions) => Some(AutoCompaction::Revisions(revisions)),
        (seconds, _) => Some(AutoCompaction::Seconds(seconds)),
    }
}

fn defragment(options: &Options) -> Option<DefragmentWhen> {
    let etcd = &options.etcd;
    let every = etcd.defragment_every.0;
    (every > 0).then(|| DefragmentWhen {
        every_ms: every.saturating_mul(1000),
        free_percent: etcd.defragment_free_percent,
        from_bytes: etcd.defragment_from.bytes(),
    })
}

fn disk(options: &Options) -> DiskWish {
    match options.node.disk_type {
        DiskType::Root => DiskWish::Root,
        DiskType::Path => DiskWish::Path,
        DiskType::Mount => DiskWish::Mount {
            profiles: options.node.disk_profiles.clone(),
        },
    }
}

fn network(options: &Options) -> Network {
    let service = &options.service;
    if !service.virtual_network_enabled {
        return Network::Host;
    }
    Network::Virtual(VirtualNetwork {
        name: service.virtual_network_name.clone(),
        labels: service.virtual_network_plugin_labels.pairs().to_vec(),
        maps_ports: service.virtual_network_maps_ports(),
        dns_domain: dns_domain(options),
    })
}

/// What follows a task's name in its DNS name.
pub fn dns_domain(options: &Options) -> String {
    let service = &options.service;
    // DC/OS: a dot of the service's name is no dot of its DNS names.
    let name = service.name.without_slashes().replace('.', "-");
    format!("{name}.{}", service.virtual_network_domain)
}

#[cfg(test)]
mod tests {
    use etcd_launch::PodIndex;

    use super::*;

    fn target_of(change: impl FnOnce(&mut Options)) -> Target {
        let mut options = Options::default();
        change(&mut options);
        target(&options, crate::samples::target().program)
    }

    #[test]
    fn disks() {
        let check = |disk_type: DiskType, profiles: &[&str], expected: &str| {
            let target = target_of(|options| {
                options.node.disk_type = disk_type;
                options.node.disk_profiles =
                    profiles.iter().map(|profile| (*profile).into()).collect();
            });
            assert_eq!(target.disk.to_string(), expected);
        };
        check(DiskType::Root, &[], "ROOT");
        check(DiskType::Path, &[], "PATH");
        check(DiskType::Mount, &[], "MOUNT");
        check(DiskType::Mount, &["a", "b"], "MOUNT with profile a or b");
    }

    #[test]
    fn networks() {
        let check = |name: Option<&str>, reserves_ports: bool, expected: &str| {
            let target = target_of(|options| {
                let service = &mut options.service;
                service.name = "/team.a/etcd".parse().unwrap();
                service.virtual_network_enabled = name.is_some();
                service.virtual_network_name = name.unwrap_or("dcos").into();
            });
            assert_eq!(target.reserves_ports(), reserves_ports);
            assert_eq!(target.address_of(PodIndex(1), "10.0.0.2"), expected);
        };
        let name = "etcd-1-node.team-aetcd.autoip.dcos.thisdcos.directory";
        check(None, true, "10.0.0.2");
        check(Some("dcos"), false, name);
        check(Some("mesos-bridge"), true, name);
    }

    #[test]
    fn names_are_those_of_the_options() {
        let mut options = Options::default();
        options.service.name = "/team.a/etcd".parse().unwrap();
        let name = format!("etcd-0-node.{}", dns_domain(&options));
        assert_eq!(name, options.member_dns_name(0));
    }
}
