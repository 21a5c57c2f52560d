//! What the tests on real Mesos have in common.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_local::cluster::{ClusterOptions, LocalCluster};
use etcd_local::mesos::RegisteredAgent;
use etcd_local::programs::HelperProgram;
use etcd_local::waiting::{Look, wait_until};
use serde_json::{Value, json};

/// Longer than anything here takes on a machine with two busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn helper() -> HelperProgram {
    HelperProgram::at(Path::new(env!("CARGO_BIN_EXE_etcd-local"))).unwrap()
}

pub(crate) async fn cluster(agents: u8) -> LocalCluster {
    start(ClusterOptions::with_agents(agents)).await
}

pub(crate) async fn start(options: ClusterOptions) -> LocalCluster {
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

    /// The id of the container on the agent, as soon as there is one.
    pub(crate) async fn only_container(&self) -> String {
        let found = wait_until("the agent has a container", LIMIT, || async {
            Ok(match self.containers().await.pop() {
                Some(id) => Look::Reached(id),
                None => Look::NotYet("it has none".to_owned()),
            })
        });
        found.await.unwrap()
    }

    async fn containers(&self) -> Vec<String> {
        let answer = self.call(&json!({"type": "GET_CONTAINERS"})).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let list = answer["get_containers"]["containers"].as_array();
        let ids = list
            .into_iter()
            .flatten()
            .map(|c| &c["container_id"]["value"]);
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
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
        let mut rest = answer.as_bytes();
        while let Some((record, after)) = first_record(rest) {
            rest = after;
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
/// Gives the first one and what follows it, or nothing while it is incomplete.
pub(crate) fn first_record(text: &[u8]) -> Option<(Value, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(&text[..end]).unwrap().parse().unwrap();
    let (record, rest) = text[end + 1..].split_at_checked(length)?;
    Some((serde_json::from_slice(record).unwrap(), rest))
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

/// How many mounts there are in a directory and below.
pub(crate) fn mounts_below(root: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|point| Path::new(point).starts_with(root))
        .count()
}
