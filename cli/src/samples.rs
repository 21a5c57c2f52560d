//! A service with three healthy members, for tests.

use etcd_api::ServiceStatus;

/// Three healthy members on three agents.
pub(crate) fn status() -> ServiceStatus {
    let pod = |number: u32| {
        serde_json::json!({
            "name": format!("etcd-{number}"),
            "host": format!("agent-{number}"),
            "address": format!("10.0.0.{}", number + 1),
            "client_url": format!("http://10.0.0.{}:2379", number + 1),
            "task_id": format!("etcd-{number}-node__1"),
            "task_state": "TASK_RUNNING",
            "executor": "serving",
            "member_id": format!("a{number}"),
            "role": "voter",
            "healthy": true,
            "leader": number == 1,
            "probed_at_ms": 1_700_000_000_000_u64,
            "etcd_version": "3.5.30",
            "db_size_bytes": 20480,
            "raft_term": 2,
            "raft_index": 9,
            "alarms": [],
            "probe_error": null,
            "waiting": null,
            "failures": {"in_a_row": 0, "last": null, "retry_at_ms": null},
            "down_since_ms": null,
            "replaced_from_ms": null,
        })
    };
    let whole = serde_json::json!({
        "service": "etcd",
        "version": "0.1.0",
        "at_ms": 1_700_000_000_000_u64,
        "framework_id": "f-1",
        "mesos": {"state": "connected", "since_ms": 1_699_999_000_000_u64, "why": null,
                  "offers_suppressed": true},
        "cluster": {"state": "formed", "cluster_id": "c0",
                    "since_ms": 1_699_999_500_000_u64, "why": null},
        "leader": {"member_id": "a1", "pod": "etcd-1"},
        "pods": [pod(0), pod(1), pod(2)],
        "plans": [
            {"name": "deploy", "status": "COMPLETE", "complete_steps": 3, "total_steps": 3},
            {"name": "recovery", "status": "COMPLETE", "complete_steps": 0, "total_steps": 0},
        ],
        "waiting": null,
        "warnings": [],
    });
    serde_json::from_value(whole).unwrap()
}
