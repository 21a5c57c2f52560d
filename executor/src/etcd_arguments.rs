//! How etcd is called. Flags, not environment: a command line can be read in
//! the process list and compared as a whole.

use etcd_admin::version::EtcdVersion;
use etcd_launch::{ClusterStart, LaunchSpec, Scheme};

/// In the certificate directory: whose signatures members and clients trust.
pub const CA_FILE: &str = "ca.crt";

/// The arguments for one start. `data_dir` is etcd's data directory.
pub fn etcd_arguments(
    spec: &LaunchSpec,
    version: Option<EtcdVersion>,
    data_dir: &str,
) -> Vec<String> {
    let scheme = spec.scheme.as_str();
    // Not on 127.0.0.1 as well: several agents on one machine share that
    // address, and an operator's shell is told the advertised one.
    let url = |host: &str, port: u16| format!("{scheme}://{host}:{port}");
    let (bind, advertise) = (spec.bind_host(), spec.advertise_host.as_str());
    let (client_port, peer_port) = (spec.client_port, spec.peer_port);
    let peers: Vec<String> = spec
        .peers
        .iter()
        .map(|peer| format!("{}={}", peer.name, peer.peer_url))
        .collect();
    let state = match spec.start {
        ClusterStart::New => "new",
        ClusterStart::Existing => "existing",
    };
    let tuning = &spec.tuning;
    let mut arguments = vec![
        format!("--name={}", spec.pod.task_name()),
        format!("--data-dir={data_dir}"),
        format!("--listen-client-urls={}", url(bind, client_port)),
        format!("--advertise-client-urls={}", url(advertise, client_port)),
        format!("--listen-peer-urls={}", url(bind, peer_port)),
        format!(
            "--initial-advertise-peer-urls={}",
            url(advertise, peer_port)
        ),
        format!("--initial-cluster={}", peers.join(",")),
        format!("--initial-cluster-state={state}"),
        format!("--initial-cluster-token={}", spec.identity.token),
        format!("--heartbeat-interval={}", tuning.heartbeat_interval_ms),
        format!("--election-timeout={}", tuning.election_timeout_ms),
        format!("--snapshot-count={}", tuning.snapshot_count),
        format!("--quota-backend-bytes={}", tuning.quota_backend_bytes),
    ];
    if let Some(compaction) = tuning.auto_compaction {
        let (mode, retention) = compaction.mode_and_retention();
        arguments.push(format!("--auto-compaction-mode={mode}"));
        arguments.push(format!("--auto-compaction-retention={retention}"));
    }
    if tuning.enable_v2 {
        arguments.push("--enable-v2=true".to_owned());
    }
    if let Some(version) = version {
        arguments.extend(version.safety_flags());
        arguments.extend(version.json_log_flags());
    }
    if let (Scheme::Https, Some(directory)) = (spec.scheme, &spec.certificate_directory) {
        for (flag, file) in [
            ("cert-file", "server.crt"),
            ("key-file", "server.key"),
            ("trusted-ca-file", CA_FILE),
            ("peer-cert-file", "peer.crt"),
            ("peer-key-file", "peer.key"),
            ("peer-trusted-ca-file", CA_FILE),
        ] {
            arguments.push(format!("--{flag}={directory}/{file}"));
        }
        arguments.push("--peer-client-cert-auth=true".to_owned());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LaunchSpec {
        serde_json::from_str(
            r#"{"format":1,"pod":1,"generation":3,"etcd":{"directory":".","checksums":{}},
            "identity":{"token":"dcos-1","cluster_id":"c1","member_id":"b1"},
            "start":"New","history":{"was_started":false,"superseded":[]},
            "peers":[{"name":"etcd-0-node","peer_url":"http://10.0.0.1:2380"},
            {"name":"etcd-1-node","peer_url":"http://10.0.0.2:2380"}],
            "scheme":"Http","certificate_directory":null,"advertise_host":"10.0.0.2",
            "client_port":2379,"peer_port":2380,"tuning":{"heartbeat_interval_ms":100,
            "election_timeout_ms":1000,"snapshot_count":10000,
            "quota_backend_bytes":2147483648},"stop_grace_ms":30000,"paused":false}"#,
        )
        .unwrap()
    }

    #[test]
    fn whole_command_line() {
        let expected = "--name=etcd-1-node --data-dir=etcd-data \
            --listen-client-urls=http://10.0.0.2:2379 \
            --advertise-client-urls=http://10.0.0.2:2379 \
            --listen-peer-urls=http://10.0.0.2:2380 \
            --initial-advertise-peer-urls=http://10.0.0.2:2380 \
            --initial-cluster=etcd-0-node=http://10.0.0.1:2380,etcd-1-node=http://10.0.0.2:2380 \
            --initial-cluster-state=new --initial-cluster-token=dcos-1 \
            --heartbeat-interval=100 --election-timeout=1000 --snapshot-count=10000 \
            --quota-backend-bytes=2147483648";
        assert_eq!(
            etcd_arguments(&spec(), None, "etcd-data").join(" "),
            expected
        );
    }

    #[test]
    fn a_formed_cluster_is_joined() {
        let spec = LaunchSpec {
            start: ClusterStart::Existing,
            ..spec()
        };
        let arguments = etcd_arguments(&spec, None, "etcd-data");
        assert!(arguments.contains(&"--initial-cluster-state=existing".to_owned()));
    }

    #[test]
    fn a_member_with_a_network_of_its_own_listens_everywhere_in_it() {
        let name = "etcd-1-node.etcd.autoip.dcos.thisdcos.directory";
        let spec = LaunchSpec {
            advertise_host: name.into(),
            listen_host: Some("0.0.0.0".into()),
            ..spec()
        };
        let arguments = etcd_arguments(&spec, None, "etcd-data");
        assert_eq!(
            arguments[2..6],
            [
                "--listen-client-urls=http://0.0.0.0:2379".to_owned(),
                format!("--advertise-client-urls=http://{name}:2379"),
                "--listen-peer-urls=http://0.0.0.0:2380".to_owned(),
                format!("--initial-advertise-peer-urls=http://{name}:2380"),
            ]
        );
    }

    #[test]
    fn the_v2_api_is_served_when_asked_for() {
        let mut spec = spec();
        spec.tuning.enable_v2 = true;
        let arguments = etcd_arguments(&spec, None, "etcd-data");
        assert!(arguments.contains(&"--enable-v2=true".to_owned()));
    }

    #[test]
    fn tls_changes_values_only() {
        let spec = LaunchSpec {
            scheme: Scheme::Https,
            certificate_directory: Some("certificates".into()),
            ..spec()
        };
        let arguments = etcd_arguments(&spec, None, "etcd-data").join(" ");
        assert!(arguments.contains("--listen-peer-urls=https://10.0.0.2:2380"));
        assert!(arguments.contains("--peer-key-file=certificates/peer.key"));
    }
}
