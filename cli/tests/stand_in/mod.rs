//! A stand-in for the scheduler: answers what a test prepared, one connection
//! after the other, and remembers what was asked. It shows how the program takes
//! answers that a real scheduler gives seldom; what the real one gives is shown by
//! the tests on real Mesos.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// For everything together; a test takes well under a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks for a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The stand-in.
pub(crate) struct StandIn {
    address: SocketAddr,
    asked: JoinHandle<Vec<String>>,
}

impl StandIn {
    /// Answers as many requests as there are answers, each with the whole text of
    /// an HTTP response, and closes each connection then.
    pub(crate) fn answering(answers: &[impl AsRef<[u8]>]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let answers: Vec<Vec<u8>> = answers
            .iter()
            .map(|answer| answer.as_ref().to_owned())
            .collect();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let Some(connection) = next_connection(&listener) else {
                    break;
                };
                asked.push(serve(connection, &answer));
            }
            asked
        });
        StandIn { address, asked }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked: of each request the first line and the headers that matter,
    /// and the body.
    pub(crate) fn asked(self) -> Vec<String> {
        self.asked.join().unwrap()
    }
}

/// None when nobody comes any more.
fn next_connection(listener: &TcpListener) -> Option<TcpStream> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Ok((connection, _)) = listener.accept() {
            connection.set_nonblocking(false).unwrap();
            connection.set_read_timeout(Some(PATIENCE)).unwrap();
            return Some(connection);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    None
}

fn serve(mut connection: TcpStream, answer: &[u8]) -> String {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut shown = String::new();
    let mut length = 0;
    for (place, line) in reader.by_ref().lines().enumerate() {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        let matters = ["authorization", "last-event-id", "content-type", "if-match"];
        if place == 0 {
            shown = line;
        } else if matters.iter().any(|name| lower.starts_with(name)) {
            shown.push_str(" | ");
            shown.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if length > 0 {
        shown.push_str(" | ");
        shown.push_str(&String::from_utf8(body).unwrap());
    }
    // A reader that went away is part of some tests.
    let _ = connection.write_all(answer);
    shown
}

/// An HTTP response.
pub(crate) fn response(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// A response whose body ends with the connection.
pub(crate) fn stream(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// How the program ended.
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// The standard output.
    pub(crate) out: String,
    /// The error output.
    pub(crate) error: String,
}

/// Runs the program with these words and variables, and nothing else of the
/// environment that it could take for its own.
pub(crate) fn run(words: &str, variables: &[(&str, &str)]) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_dcos-etcd"))
        .args(words.split_whitespace())
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Ended {
        code: status.code().expect("an exit code"),
        out: String::from_utf8(stdout).unwrap(),
        error: String::from_utf8(stderr).unwrap(),
    }
}
