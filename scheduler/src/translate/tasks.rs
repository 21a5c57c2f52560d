//! A launch order as Mesos wants it.

use etcd_planner::effect::LaunchOrder;
use mesos_v1::v1;

use super::network;
use super::reservations::Reserver;
use crate::artifacts::{EXECUTOR_FILE, Fetch, FetchUri};

/// What every launch of this scheduler has in common.
#[derive(Clone, Debug)]
pub struct LaunchFrame {
    /// Who reserves and launches.
    pub reserver: Reserver,
    /// What follows a task's name in its DNS name.
    pub framework_host: String,
    /// What follows an endpoint's name in the name of its virtual address.
    pub framework_vip_host: String,
}

/// The TaskInfo of a launch, or why the spec cannot be written.
pub fn task_info(
    frame: &LaunchFrame,
    order: &LaunchOrder,
    fetch: &Fetch,
) -> Result<v1::TaskInfo, serde_json::Error> {
    let pod = order.spec.pod;
    let placement = &order.placement;
    Ok(v1::TaskInfo {
        name: pod.task_name(),
        task_id: v1::TaskId {
            value: order.task_id.0.clone(),
        },
        agent_id: v1::AgentId {
            value: placement.agent_id.0.clone(),
        },
        resources: frame.reserver.of_task(pod, placement),
        executor: Some(executor_info(frame, order, fetch)),
        data: Some(serde_json::to_vec(&order.spec)?.into()),
        discovery: Some(network::discovery(pod, order)),
        ..Default::default()
    })
}

fn executor_info(
    frame: &LaunchFrame,
    order: &LaunchOrder,
    fetch: &Fetch,
) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Custom.into()),
        executor_id: v1::ExecutorId {
            value: order.executor_id.0.clone(),
        },
        framework_id: Some(v1::FrameworkId {
            value: frame.reserver.framework_id.clone(),
        }),
        name: Some("etcd".to_owned()),
        command: Some(command(frame, order, fetch)),
        container: network::container(order),
        resources: frame.reserver.of_executor(order.spec.pod, &order.placement),
        // The executor stops etcd gracefully within this time.
        shutdown_grace_period: Some(v1::DurationInfo {
            nanoseconds: i64::try_from(order.spec.stop_grace_ms.saturating_add(5_000))
                .unwrap_or(i64::MAX / 1_000_000)
                .saturating_mul(1_000_000),
        }),
        ..Default::default()
    }
}

/// The shell is Mesos' own way to start anything; it only checks that what was
/// fetched is what we meant, and then becomes the executor.
fn command(frame: &LaunchFrame, order: &LaunchOrder, fetch: &Fetch) -> v1::CommandInfo {
    let checks: String = fetch
        .checks
        .iter()
        .map(|(file, checksum)| {
            format!(
                "if [ \"$(sha256sum < '{file}' | cut -c 1-64)\" != {checksum} ]; then \
                 echo 'the fetched {file} has another checksum than the scheduler gave' >&2; \
                 exit 70; fi; "
            )
        })
        .collect();
    v1::CommandInfo {
        uris: fetch.uris.iter().map(fetcher_uri).collect(),
        environment: Some(environment(frame, order)),
        shell: Some(true),
        value: Some(format!("{checks}exec ./{EXECUTOR_FILE}")),
        // To whom the data on the volume belongs; the framework's where it is not
        // known.
        user: order.placement.user.clone(),
        ..Default::default()
    }
}

fn fetcher_uri(file: &FetchUri) -> v1::command_info::Uri {
    v1::command_info::Uri {
        value: file.uri.clone(),
        executable: Some(file.executable),
        extract: Some(file.extract),
        cache: Some(false),
        output_file: Some(file.output_file.clone()),
    }
}

/// The names that tasks of the SDK find in their environment, and what an
/// operator's shell in the container needs to use etcdctl at once.
fn environment(frame: &LaunchFrame, order: &LaunchOrder) -> v1::Environment {
    let spec = &order.spec;
    let endpoint = format!(
        "{}://{}:{}",
        spec.scheme.as_str(),
        spec.advertise_host,
        spec.client_port
    );
    let variables = [
        // The sandbox first; its absolute path is not known before the launch.
        (
            "PATH",
            ".:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ),
        ("ETCDCTL_API", "3".to_owned()),
        ("ETCDCTL_ENDPOINTS", endpoint),
        ("POD_INSTANCE_INDEX", spec.pod.0.to_string()),
        ("TASK_NAME", spec.pod.task_name()),
        ("FRAMEWORK_NAME", frame.reserver.service.clone()),
        ("FRAMEWORK_HOST", frame.framework_host.clone()),
        ("FRAMEWORK_VIP_HOST", frame.framework_vip_host.clone()),
        ("PORT_CLIENT", spec.client_port.to_string()),
        ("PORT_PEER", spec.peer_port.to_string()),
    ];
    let domain = order.placement.domain.iter();
    let domain = domain.flat_map(|domain| {
        [
            ("REGION", domain.region.clone()),
            ("ZONE", domain.zone.clone()),
        ]
    });
    v1::Environment {
        variables: variables
            .into_iter()
            .chain(domain)
            .map(|(name, value)| v1::environment::Variable {
                name: name.to_owned(),
                r#type: Some(v1::environment::variable::Type::Value.into()),
                value: Some(value),
                ..Default::default()
            })
            .collect(),
    }
}
