//! Are programs and ports as the launch spec says?

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use etcd_admin::version::EtcdVersion;
use etcd_launch::{LaunchSpec, Refusal, Sha256};
use sha2::Digest;

/// Ports of a predecessor are free within milliseconds after its death; what
/// is taken for longer belongs to somebody else.
const PORTS_FREE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Asking a program for its version runs it; one that hangs is no etcd.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// Checks that all programs are there, executable and the right ones, and asks
/// etcd for its version.
pub async fn check_programs(
    spec: &LaunchSpec,
    sandbox: &Path,
) -> Result<Option<EtcdVersion>, Refusal> {
    let directory = sandbox.join(&spec.etcd.directory);
    for (name, expected) in &spec.etcd.checksums {
        check_program(&directory.join(name), Some(expected))?;
    }
    let etcd = directory.join("etcd");
    check_program(&etcd, None)?;
    let output = tokio::process::Command::new(&etcd)
        .arg("--version")
        .env_clear()
        .kill_on_drop(true)
        .output();
    let refusal = |why: String| Refusal::ProgramNotExecutable {
        path: etcd.display().to_string(),
        why,
    };
    match tokio::time::timeout(VERSION_LIMIT, output).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            // A version that we do not understand gets no special flags.
            Ok(EtcdVersion::from_program_output(&text).ok())
        }
        // A program that lacks a library, say, tells so here.
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next().unwrap_or_default();
            let status = output.status;
            Err(refusal(format!("asked for its version: {status}, {line}")))
        }
        Ok(Err(error)) => Err(refusal(error.to_string())),
        Err(_) => Err(refusal("it does not tell its version".to_owned())),
    }
}

/// Checks that this etcd knows what it is asked for. It would end at once over
/// a flag that it does not know, and say less.
pub fn check_options(
    spec: &LaunchSpec,
    version: Option<EtcdVersion>,
) -> Result<(), Refusal> {
    match version {
        Some(version) if spec.tuning.enable_v2 && !version.accepts_enable_v2() => {
            Err(Refusal::NotSupported {
                option: "etcd.enable_v2".to_owned(),
                why: format!("etcd {version} has no v2 API; 3.5 was the last that had"),
            })
        }
        _ => Ok(()),
    }
}

/// Checks one program: that it can be executed and, where a checksum is given, that it
/// is the right one.
pub(crate) fn check_program(
    path: &Path,
    expected: Option<&Sha256>,
) -> Result<(), Refusal> {
    let shown = path.display().to_string();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Refusal::ProgramMissing { path: shown });
        }
        Err(error) => {
            return Err(Refusal::ProgramNotExecutable {
                path: shown,
                why: error.to_string(),
            });
        }
    };
    let executable = file.metadata().is_ok_and(|metadata| {
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
    });
    if !executable {
        let why = "it has no permission to be executed".to_owned();
        return Err(Refusal::ProgramNotExecutable { path: shown, why });
    }
    let Some(expected) = expected else {
        return Ok(());
    };
    let found = checksum(&mut file).map_err(|error| Refusal::ProgramNotExecutable {
        path: shown.clone(),
        why: error.to_string(),
    })?;
    match found.parse::<Sha256>() {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => Err(Refusal::WrongChecksum {
            path: shown,
            expected: expected.clone(),
            found,
        }),
        Err(error) => Err(Refusal::ProgramNotExecutable {
            path: shown,
            why: error.to_string(),
        }),
    }
}

fn checksum(file: &mut File) -> io::Result<String> {
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Waits until both ports are free.
pub async fn wait_for_ports(spec: &LaunchSpec) -> Result<(), Refusal> {
    let started = tokio::time::Instant::now();
    for port in [spec.client_port, spec.peer_port] {
        while let Err(error) = TcpListener::bind((spec.bind_host(), port)) {
            if started.elapsed() >= PORTS_FREE_WITHIN {
                let address = format!("{}:{port}", spec.bind_host());
                return Err(refusal_of_bind(address, &error));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}

fn refusal_of_bind(address: String, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::AddrInUse => Refusal::PortTaken { address },
        _ => Refusal::AddressUnusable {
            address,
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(enable_v2: bool, version: &str, expected: &str) {
        let spec = serde_json::json!({
            "format": 1, "pod": 1, "generation": 3,
            "etcd": {"directory": ".", "checksums": {}},
            "identity": {"token": "t", "cluster_id": "c1", "member_id": "b1"},
            "start": "New", "history": {"was_started": false, "superseded": []},
            "peers": [], "scheme": "Http", "certificate_directory": null,
            "advertise_host": "10.0.0.2", "client_port": 2379, "peer_port": 2380,
            "tuning": {"heartbeat_interval_ms": 100, "election_timeout_ms": 1000,
                "snapshot_count": 10000, "quota_backend_bytes": 1, "enable_v2": enable_v2},
            "stop_grace_ms": 30000, "paused": false,
        });
        let spec: LaunchSpec = serde_json::from_value(spec).unwrap();
        let refusal = check_options(&spec, version.parse().ok()).err();
        let found = refusal.map_or("fine".to_owned(), |refusal| refusal.to_string());
        assert_eq!(found, expected, "{enable_v2} {version}");
    }

    #[test]
    fn the_v2_api_is_asked_for_only_where_it_is() {
        check(true, "3.4.23", "fine");
        check(true, "3.5.30", "fine");
        check(
            true,
            "3.6.1",
            "etcd.enable_v2 cannot be had: etcd 3.6.1 has no v2 API; 3.5 was the last \
             that had",
        );
        check(false, "3.6.1", "fine");
        check(true, "something else", "fine");
    }
}
