//! `status` and `member list`: the service as tables.

use etcd_api::ServiceStatus;
use etcd_api::status::{ClusterState, MesosState, PodStatus, Role};

use crate::output::{Paint, Tone, one_line};
use crate::table::{self, Cell};
use crate::tree;
use crate::utc;

/// The whole service on one page.
pub(crate) fn status(status: &ServiceStatus, paint: Paint) -> String {
    let mut text = format!(
        "{} (scheduler {})\n{}\n{}\n\n{}\n{}",
        status.service,
        status.version,
        mesos(status, paint),
        cluster(status, paint),
        pods(status, paint),
        plans(status, paint),
    );
    let warnings: Vec<String> =
        status.warnings.iter().map(|line| one_line(line)).collect();
    text.push_str(&tree::listed("Waiting", &waiting(status)));
    text.push_str(&tree::listed("Failed launches", &failures(status)));
    text.push_str(&tree::listed("Down", &down(status)));
    text.push_str(&tree::listed("Warnings", &warnings));
    if let Some(snapshot) = &status.update_snapshot {
        text.push_str(&format!(
            "\nBefore the last change of etcd, a snapshot of revision {} was written to {} \
             ({})\n",
            snapshot.revision,
            one_line(&snapshot.path),
            utc::text(snapshot.taken_at_ms)
        ));
    }
    text
}

fn mesos(status: &ServiceStatus, paint: Paint) -> String {
    let mesos = &status.mesos;
    match mesos.state {
        MesosState::Connected => {
            let framework = status.framework_id.as_deref().unwrap_or("none yet");
            let since = mesos
                .since_ms
                .map_or_else(String::new, |since| format!(" since {}", utc::text(since)));
            let connected = paint.tone(Tone::Good, "connected");
            format!("Mesos: {connected}{since}, framework {framework}")
        }
        MesosState::Disconnected => {
            let why = mesos.why.as_deref().unwrap_or("no subscription yet");
            let disconnected = paint.tone(Tone::Bad, "not connected");
            format!("Mesos: {disconnected}: {}", one_line(why))
        }
    }
}

fn cluster(status: &ServiceStatus, paint: Paint) -> String {
    let cluster = &status.cluster;
    let state = match cluster.state {
        ClusterState::Unborn => paint.tone(Tone::Busy, "unborn"),
        ClusterState::Forming => paint.tone(Tone::Busy, "forming"),
        ClusterState::Abandoning => paint.tone(Tone::Bad, "its birth is given up"),
        ClusterState::Formed => paint.tone(Tone::Good, "formed"),
    };
    let mut line = format!("cluster: {state}");
    if let Some(id) = &cluster.cluster_id {
        line.push_str(&format!(", id {id}"));
    }
    match &status.leader {
        Some(leader) => {
            let pod = leader.pod.as_deref().unwrap_or("none of our pods");
            line.push_str(&format!(", leader {pod} ({})", leader.member_id));
        }
        None => line.push_str(", no leader"),
    }
    if let Some(why) = &cluster.why {
        line.push_str(&format!(": {}", one_line(why)));
    }
    line
}

fn pods(status: &ServiceStatus, paint: Paint) -> String {
    let heads = ["POD", "ROLE", "HEALTHY", "HOST", "TASK", "ETCD", "DATABASE"];
    let rows: Vec<_> = status
        .pods
        .iter()
        .map(|pod| {
            let size = pod.db_size_bytes.map(bytes);
            [
                Cell::plain(pod.name.clone()),
                Cell::plain(role(pod)),
                healthy(pod),
                Cell::maybe(pod.host.as_deref()),
                Cell::maybe(pod.task_state.as_deref()),
                Cell::maybe(pod.etcd_version.as_deref()),
                Cell::maybe(size.as_deref()),
            ]
        })
        .collect();
    table::drawn(heads, &rows, paint)
}

/// The members: what etcdctl's table shows, with the pods that they are.
pub(crate) fn members(status: &ServiceStatus, paint: Paint) -> String {
    let heads = [
        "MEMBER",
        "POD",
        "ROLE",
        "HEALTHY",
        "CLIENT URL",
        "HOST",
        "ETCD",
    ];
    let rows: Vec<_> = status
        .pods
        .iter()
        .filter(|pod| pod.member_id.is_some())
        .map(|pod| {
            [
                Cell::maybe(pod.member_id.as_deref()),
                Cell::plain(pod.name.clone()),
                Cell::plain(role(pod)),
                healthy(pod),
                Cell::maybe(pod.client_url.as_deref()),
                Cell::maybe(pod.host.as_deref()),
                Cell::maybe(pod.etcd_version.as_deref()),
            ]
        })
        .collect();
    table::drawn(heads, &rows, paint)
}

/// The members, for programs.
pub(crate) fn member_list(status: &ServiceStatus) -> serde_json::Value {
    let members = status.pods.iter().filter_map(|pod| {
        let member_id = pod.member_id.as_ref()?;
        Some(serde_json::json!({
            "member_id": member_id,
            "pod": pod.name,
            "role": pod.role,
            "healthy": pod.healthy,
            "leader": pod.leader,
            "client_url": pod.client_url,
            "host": pod.host,
            "etcd_version": pod.etcd_version,
        }))
    });
    members.collect()
}

fn plans(status: &ServiceStatus, paint: Paint) -> String {
    let rows: Vec<_> = status
        .plans
        .iter()
        .map(|plan| {
            let tone = match plan.status.as_str() {
                "COMPLETE" => Tone::Good,
                "ERROR" => Tone::Bad,
                _ => Tone::Busy,
            };
            [
                Cell::plain(plan.name.clone()),
                Cell::toned(tone, &plan.status),
                Cell::plain(format!("{} of {}", plan.complete_steps, plan.total_steps)),
            ]
        })
        .collect();
    table::drawn(["PLAN", "STATUS", "STEPS"], &rows, paint)
}

fn waiting(status: &ServiceStatus) -> Vec<String> {
    let whole = status.waiting.iter().map(|waiting| one_line(&waiting.text));
    let pods = status.pods.iter().filter_map(|pod| {
        let waiting = pod.waiting.as_ref()?;
        Some(format!("{}: {}", pod.name, one_line(&waiting.text)))
    });
    whole.chain(pods).collect()
}

fn failures(status: &ServiceStatus) -> Vec<String> {
    let failed = status.pods.iter().filter(|pod| pod.failures.in_a_row > 0);
    failed
        .map(|pod| {
            let last = pod.failures.last.as_deref().unwrap_or("no reason given");
            let count = pod.failures.in_a_row;
            let next = pod.failures.retry_at_ms.map_or_else(String::new, |at| {
                format!("; next launch not before {}", utc::text(at))
            });
            format!(
                "{}: {count} in a row, last: {}{next}",
                pod.name,
                one_line(last)
            )
        })
        .collect()
}

fn down(status: &ServiceStatus) -> Vec<String> {
    let down = status.pods.iter().filter_map(|pod| {
        let since = pod.down_since_ms?;
        let then = pod.replaced_from_ms.map_or_else(String::new, |at| {
            format!("; replaced from {} on if it stays down", utc::text(at))
        });
        Some(format!("{}: since {}{then}", pod.name, utc::text(since)))
    });
    down.collect()
}

fn role(pod: &PodStatus) -> &'static str {
    match pod.role {
        _ if pod.leader => "leader",
        Role::Absent => "absent",
        Role::Founder => "founder",
        Role::Adding => "adding",
        Role::Learner => "learner",
        Role::Voter => "voter",
        Role::Lost => "lost",
    }
}

fn healthy(pod: &PodStatus) -> Cell {
    if pod.healthy {
        Cell::toned(Tone::Good, "yes")
    } else {
        Cell::toned(Tone::Bad, "no")
    }
}

/// Whole units, as `etcdctl` shows them.
fn bytes(count: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    units.iter().find(|(_, size)| count >= *size).map_or_else(
        || format!("{count} B"),
        |(unit, size)| format!("{} {unit}", count / size),
    )
}

#[cfg(test)]
mod tests {
    use etcd_api::status::Waiting;

    use super::*;
    use crate::samples;

    #[test]
    fn a_page() {
        let mut service = samples::status();
        service.pods[2].healthy = false;
        service.pods[2].failures.in_a_row = 2;
        service.pods[2].failures.last = Some("exit\ncode 1".to_owned());
        service.pods[2].failures.retry_at_ms = Some(1_700_000_009_000);
        service.pods[2].down_since_ms = Some(1_700_000_000_000);
        service.pods[2].replaced_from_ms = Some(1_700_000_060_000);
        service.pods[2].waiting = Some(Waiting {
            code: "back_off".to_owned(),
            text: "launches failed".to_owned(),
        });
        service.warnings.push("alarm NOSPACE".to_owned());
        assert_eq!(
            status(&service, Paint::Plain),
            "\
etcd (scheduler 0.1.0)
Mesos: connected since 2023-11-14T21:56:40.000Z, framework f-1
cluster: formed, id c0, leader etcd-1 (a1)

POD     ROLE    HEALTHY  HOST     TASK          ETCD    DATABASE
etcd-0  voter   yes      agent-0  TASK_RUNNING  3.5.30  20 kB
etcd-1  leader  yes      agent-1  TASK_RUNNING  3.5.30  20 kB
etcd-2  voter   no       agent-2  TASK_RUNNING  3.5.30  20 kB

PLAN      STATUS    STEPS
deploy    COMPLETE  3 of 3
recovery  COMPLETE  0 of 0

Waiting:
- etcd-2: launches failed

Failed launches:
- etcd-2: 2 in a row, last: exit code 1; next launch not before 2023-11-14T22:13:29.000Z

Down:
- etcd-2: since 2023-11-14T22:13:20.000Z; replaced from 2023-11-14T22:14:20.000Z on if it stays down

Warnings:
- alarm NOSPACE
"
        );
    }

    #[test]
    fn a_table_of_members() {
        let mut service = samples::status();
        service.pods[0].member_id = None;
        assert_eq!(
            members(&service, Paint::Plain),
            "\
MEMBER  POD     ROLE    HEALTHY  CLIENT URL            HOST     ETCD
a1      etcd-1  leader  yes      http://10.0.0.2:2379  agent-1  3.5.30
a2      etcd-2  voter   yes      http://10.0.0.3:2379  agent-2  3.5.30
"
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(24_576), "24 kB");
        assert_eq!(bytes(2_500_000_000), "2 GB");
    }
}
