//! What the tests on real Mesos have in common.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_local::cluster::{ClusterOptions, LocalCluster};
use etcd_local::mesos::RegisteredAgent;
use etcd_local::programs::HelperProgram;
use serde_json::{Value, json};

/// Longer than anything here takes on a machine with two busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn helper() -> HelperProgram {
    HelperProgram::at(Path::new(env!("CARGO_BIN_EXE_etcd-local"))).unwrap()
}

pub(crate) async fn cluster(agents: u8) -> LocalCluster {
    let options = ClusterOptions::with_agents(agents);
    LocalCluster::start_with(options, helper()).await.unwrap()
}

pub(crate) fn by_hostname<'a>(
    agents: &'a [RegisteredAgent],
    name: &str,
) -> &'a RegisteredAgent {
    agents.iter().find(|agent| agent.hostname == name).unwrap()
}

/// The operator API of an agent.
pub(crate) struct AgentApi(pub(crate) SocketAddrV4);

impl AgentApi {
    /// Makes one call and gives the whole answer as text.
    pub(crate) async fn call(&self, body: &Value) -> Result<String, String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            .build()
            .unwrap();
        let url = format!("http://{}/api/v1", self.0);
        let response = client
            .post(url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let text = response
            .text()
            .await
            .map_err(|error| format!("{error:?}"))?;
        if status.is_success() {
            Ok(text)
        } else {
            Err(format!("{status} {text}"))
        }
    }

    /// Starts a container that belongs to no framework, by a shell command.
    pub(crate) async fn launch_standalone(&self, id: &str, command: &str, uris: Value) {
        let body = json!({"type": "LAUNCH_CONTAINER", "launch_container": {
            "container_id": {"value": id},
            "command": {"shell": true, "value": command, "uris": uris},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            ],
        }});
        self.call(&body).await.unwrap();
    }

    /// Runs a shell command in a session inside a container, as `dcos task exec` does,
    /// and gives what it wrote to standard output and error.
    pub(crate) async fn exec(
        &self,
        parent: &str,
        command: &str,
        tty: bool,
    ) -> (String, String) {
        let mut session = json!({
            "container_id": {"value": format!("{parent}-{tty}"), "parent": {"value": parent}},
            "command": {"shell": true, "value": command},
        });
        if tty {
            session["container"] = json!({
                "type": "MESOS",
                "tty_info": {"window_size": {"rows": 24, "columns": 80}},
            });
        }
        let answer = self
            .call(&json!({
                "type": "LAUNCH_NESTED_CONTAINER_SESSION",
                "launch_nested_container_session": session,
            }))
            .await
            .unwrap();
        let mut output = (String::new(), String::new());
        for record in records(&answer) {
            let data = &record["data"];
            let text = decode_base64(data["data"].as_str().unwrap_or_default());
            match data["type"].as_str() {
                Some("STDOUT") => output.0.push_str(&text),
                Some("STDERR") => output.1.push_str(&text),
                _ => {}
            }
        }
        output
    }
}

/// RecordIO: each record is its length in decimal, a line feed, and so many bytes.
fn records(mut text: &str) -> Vec<Value> {
    let mut records = Vec::new();
    while let Some((length, rest)) = text.split_once('\n') {
        let (record, after) = rest.split_at(length.parse().unwrap());
        records.push(serde_json::from_str(record).unwrap());
        text = after;
    }
    records
}

fn decode_base64(text: &str) -> String {
    const DIGITS: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == byte).unwrap();
        bits = (bits << 6) | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A server that answers every request with the same bytes, until it is dropped with
/// the test.
pub(crate) fn serve_forever(content: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(content);
        }
    });
    address
}

/// Runs one ignored test of this test program in a process of its own.
pub(crate) fn run_as_other_process(test: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
