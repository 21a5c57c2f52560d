//! Every route's shape, against samples in the reference's form, and who gets
//! in. The router is asked directly; sockets come in at the end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use etcd_config::GivenOptions;
use etcd_launch::PodIndex;
use etcd_planner::observed::{MesosLink, Probe, TaskState};
use etcd_planner::record::{AbandonedPlacement, Cluster, EndKind, LaunchEnd};
use etcd_planner::waiting::OfferRefusal;
use etcd_planner::{Model, Timestamp, WaitingReason};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::artifacts::{EtcdSource, ExecutorSource};
use crate::commands::{Actor, Command, CommandRefusal};
use crate::samples;

mod changing;
mod configurations;
mod debug;
mod events;
mod openapi;
mod pages;
mod plan_commands;
mod plans;
mod pods;
mod snapshot;

const READ: &str = "Bearer read-read-read-read";
const WRITE: &str = "Bearer write-write-write";

/// A service behind the router, and the ends that the loop would hold.
struct Service {
    state: ApiState,
    commands: mpsc::Receiver<Order>,
    _published: watch::Sender<Arc<Published>>,
    _directory: TempDir,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Service {
    fn showing(published: Published) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["etcd-executor", "etcd", "etcdctl"] {
            write_program(&directory, name);
        }
        let tokens = directory.path().join("tokens");
        std::fs::write(
            &tokens,
            "read:read-read-read-read\nwrite-write-write alice\n",
        )
        .unwrap();
        let artifacts = Artifacts::open(
            &ExecutorSource::File(directory.path().join("etcd-executor")),
            &EtcdSource::Directory(directory.path().to_owned()),
            &directory.path().join("state"),
        )
        .unwrap();
        let (sender, receiver) = watch::channel(Arc::new(published));
        let (commands, received) = mpsc::channel(1);
        Service {
            state: ApiState {
                published: receiver,
                commands,
                events: Arc::new(EventLog::starting("0.1.0", samples::NOW)),
                offer_history: Arc::default(),
                metrics: Arc::new(Metrics::new(Default::default())),
                store: Arc::new(Store::open(&directory.path().join("state")).unwrap()),
                artifacts: Arc::new(artifacts),
                access: Arc::new(Access::from_file(&tokens).unwrap()),
                facts: Arc::new(ServiceFacts::default()),
                snapshots: Arc::default(),
                readers: Default::default(),
                started: Arc::new(Started {
                    options: samples::options(),
                    given: GivenOptions::default(),
                    marathon_app: None,
                }),
            },
            commands: received,
            _published: sender,
            _directory: directory,
        }
    }

    fn of(model: &Model) -> Self {
        Service::showing(samples::published(model))
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        self.ask_with(method, path, token, Body::empty()).await
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = router(self.state.clone())
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Some(READ)).await
    }
}

fn write_program(directory: &TempDir, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.path().join(name);
    std::fs::write(&path, format!("this is {name}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn healthy() -> Service {
    Service::of(&samples::healthy_model())
}

/// Two members run, and no agent is good enough for the third.
fn deploying() -> Service {
    let mut model = samples::healthy_model();
    let third = PodIndex(2);
    model.record.pods.remove(&third);
    model.observed.tasks.remove(&third);
    model.observed.probes.remove(&third);
    let Cluster::Formed(incarnation) = model.record.cluster.clone() else {
        panic!("the sample is formed")
    };
    model.record.cluster = Cluster::Forming(incarnation);
    let reason = WaitingReason::NoSuitableOffer {
        refusals: BTreeMap::from([(
            OfferRefusal::Constraint {
                rule: "hostname UNIQUE".into(),
            },
            2,
        )]),
    };
    let waiting = BTreeMap::from([(third, reason)]);
    Service::showing(Published::of(&model, waiting, None, samples::NOW))
}

/// All were complete, and etcd-1 has failed.
fn recovering() -> Model {
    let mut model = samples::healthy_model();
    let pod = PodIndex(1);
    let launch = model.record.pods.get_mut(&pod).unwrap().launch.as_mut();
    launch.unwrap().end = Some(LaunchEnd {
        at: samples::NOW,
        kind: EndKind::Failed,
        why: "TASK_FAILED: out of memory".into(),
    });
    model.observed.tasks.remove(&pod);
    model.observed.probes.remove(&pod);
    model
}

#[tokio::test]
async fn who_gets_in() {
    let service = healthy();
    for (method, path, token, status) in [
        ("GET", "/v1/status", None, 401),
        ("GET", "/v1/status", Some("Bearer wrong-wrong-wrong"), 401),
        ("GET", "/v1/status", Some(READ), 200),
        ("GET", "/v1/status", Some(WRITE), 200),
        ("GET", "/v1/status", Some("token=write-write-write"), 200),
        ("GET", "/nowhere", None, 401),
        ("GET", "/nowhere", Some(READ), 404),
        ("POST", "/v1/pod/etcd-0/restart", None, 401),
        ("POST", "/v1/pod/etcd-0/restart", Some(READ), 403),
        ("POST", "/v1/plans/deploy/stop", Some(READ), 403),
        ("POST", "/v1/status", Some(WRITE), 405),
        ("GET", "/v1/pod/etcd-0/restart", Some(WRITE), 405),
        ("GET", "/v1/metrics/prometheus", None, 401),
        ("GET", "/v1/livez", None, 200),
        ("GET", "/artifacts/x/etcd", None, 404),
        ("GET", "/artifacts/../v1/status", None, 404),
        ("GET", "//v1/livez", None, 401),
    ] {
        let answer = service.ask(method, path, token).await;
        assert_eq!(answer.status, status, "{method} {path} {token:?}");
        if status == 401 {
            let challenge = answer.header(header::WWW_AUTHENTICATE);
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        }
        if matches!(status, 401 | 403 | 404 | 405) {
            let problem: etcd_api::Problem = serde_json::from_str(&answer.body).unwrap();
            assert!(!problem.message.contains("wrong-wrong"), "{path}");
        }
    }
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let answer = healthy()
        .ask_with(
            "POST",
            "/v1/plans/deploy/start",
            Some(WRITE),
            vec![b' '; BODY_LIMIT_BYTES + 1].into(),
        )
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn fetching_programs() {
    let service = healthy();
    let now = std::time::Instant::now();
    let artifacts = &service.state.artifacts;
    let fetch = artifacts
        .fetch(artifacts.served(), "http://x", now)
        .unwrap();
    for uri in fetch.uris {
        let path = uri.uri.strip_prefix("http://x").unwrap();
        let answer = service.ask("GET", path, None).await;
        let expected = format!("this is {}", uri.output_file);
        assert_eq!((answer.status, &answer.body), (200, &expected));
        assert_eq!(
            answer.header(header::CONTENT_LENGTH),
            expected.len().to_string()
        );
        let head = service.ask("HEAD", path, None).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let base = path.rsplit_once('/').unwrap().0;
        for bad in ["tokens", "..%2Ftokens", "%2e%2e/tokens", "etcdutl", ""] {
            let answer = service.ask("GET", &format!("{base}/{bad}"), None).await;
            assert_eq!(answer.status, 404, "{bad}");
        }
    }
}

/// Over a socket: that it listens, answers, and ends when told to although a
/// client still holds its connection.
#[tokio::test]
async fn serving_and_stopping() {
    let service = healthy();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, service.state.clone(), async {
        stopped.await.unwrap();
    }));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /v1/livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 1024];
    let length = client.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK"));
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), serving)
        .await
        .expect("it ends within its drain time")
        .unwrap()
        .unwrap();
}
