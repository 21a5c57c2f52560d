//! `PUT /v1/configurations/target`, with a loop that does what the event loop does
//! with it.

use std::sync::Mutex;

use etcd_planner::Event;
use etcd_planner::programs::Programs;
use etcd_planner::record::TargetId;

use super::*;
use crate::store::StoredTarget;
use crate::target::target;

const TARGET: &str = "/v1/configurations/target";

/// A service whose target was made from options, and its loop.
struct Changing {
    state: ApiState,
    model: Arc<Mutex<Model>>,
    _service_directory: TempDir,
}

fn first_target(program: Programs) -> StoredTarget {
    let options = samples::options();
    StoredTarget {
        target: target(&options, program),
        options: serde_json::to_value(&options).unwrap(),
        given: Some(json!({})),
    }
}

impl Changing {
    fn new() -> Self {
        Changing::started_by(None)
    }

    fn started_by(marathon_app: Option<&str>) -> Self {
        let mut model = samples::healthy_model();
        let Service {
            mut state,
            mut commands,
            _published: sender,
            _directory,
        } = Service::of(&model);
        let wanted = first_target(state.artifacts.served().clone());
        state.store.put_target(&wanted.id(), &wanted).unwrap();
        model.target_id = wanted.id();
        model.target = wanted.target;
        state.started = Arc::new(Started {
            options: samples::options(),
            given: GivenOptions::default(),
            marathon_app: marathon_app.map(str::to_owned),
        });
        sender.send_replace(Arc::new(samples::published(&model)));
        let model = Arc::new(Mutex::new(model));
        let owned = Arc::clone(&model);
        tokio::spawn(async move {
            while let Some(order) = commands.recv().await {
                let answer = judge(&mut owned.lock().unwrap(), order.command);
                sender.send_replace(Arc::new(samples::published(&owned.lock().unwrap())));
                order.reply.send(answer).unwrap();
            }
        });
        Changing {
            state,
            model,
            _service_directory: _directory,
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        if_match: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::AUTHORIZATION, WRITE);
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let response = router(self.state.clone())
            .oneshot(request.body(Body::from(body)).unwrap())
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

    async fn put(&self, query: &str, if_match: Option<&str>, body: &Value) -> Answer {
        let path = format!("{TARGET}{query}");
        self.send("PUT", &path, if_match, body.to_string().into_bytes())
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, Vec::new()).await
    }

    fn members(&self) -> u16 {
        self.model.lock().unwrap().target.members
    }
}

/// As the event loop does.
fn judge(model: &mut Model, command: Command) -> Result<(), CommandRefusal> {
    let Command::ChangeTarget { from, id, target } = command else {
        panic!("not asked for here: {command}");
    };
    if from != model.target_id {
        return Err(CommandRefusal::OtherTarget(model.target_id.clone()));
    }
    model.apply(Event::TargetChanged { id, target }, samples::NOW);
    Ok(())
}

fn count(members: u64) -> Value {
    json!({"node": {"count": members}})
}

#[tokio::test]
async fn a_change_and_what_is_told_of_it() {
    let service = Changing::new();
    let tag = service.get(TARGET).await.header(header::ETAG).to_owned();
    let tried = service.put("?dry_run=true", None, &count(5)).await;
    assert_eq!((tried.status, service.members()), (200, 3));
    assert_eq!(tried.header(header::ETAG), tag);
    let mut body = count(5);
    body["node"]["mem"] = json!(2048);
    let done = service.put("", Some(&tag), &body).await;
    assert_eq!((done.status, service.members()), (200, 5), "{}", done.body);
    let told = done.json();
    assert_eq!(
        format!("\"{}\"", told["previous_id"].as_str().unwrap()),
        tag
    );
    assert_eq!(
        done.header(header::ETAG),
        format!("\"{}\"", told["target_id"].as_str().unwrap())
    );
    assert_eq!(
        told["changes"],
        json!([
            {"option": "node.count", "from": 3, "to": 5, "class": "scale",
             "meaning": "members are added or removed, one at a time"},
            {"option": "node.mem", "from": 1024, "to": 2048, "class": "resize",
             "meaning": "members are restarted in place, one at a time, where their agents have room \
             for it"},
        ])
    );
    // The leader is the last.
    assert_eq!(told["restarts_members"], json!(true));
    let order = told["order"].as_array().unwrap();
    assert_eq!(order.len(), 3);
    let leader = samples::published(&service.model.lock().unwrap())
        .leader
        .unwrap();
    let last = order[2].as_str().unwrap();
    let last: PodIndex = last.parse().unwrap();
    let model = service.model.lock().unwrap().clone();
    let member = model.record.pods[&last]
        .membership
        .enrolled()
        .unwrap()
        .member_id;
    assert_eq!(member, leader);

    let options = service.get("/v1/configurations/target/options").await;
    assert_eq!(
        options.json()["given"],
        json!({"node": {"count": 5, "mem": 2048}})
    );
    assert_eq!(options.json()["options"]["node"]["mem"], json!(2048));
    assert_eq!(options.header(header::ETAG), done.header(header::ETAG));
    let old = tag.trim_matches('"');
    let diff = service
        .get(&format!("/v1/configurations/{old}/diff/target"))
        .await
        .json();
    assert_eq!(diff["changes"], told["changes"]);
    assert_eq!(diff["restarts_members"], json!(true));

    // Nothing to do is done.
    let again = service.put("", None, &body).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["changes"], json!([]));
    assert_eq!(again.json()["target_id"], told["target_id"]);
    // In place of what was given.
    let replaced = service
        .put("?replace=true", None, &json!({"node": {"count": 5}}))
        .await;
    assert_eq!(replaced.json()["changes"][0]["option"], json!("node.mem"));
}

#[tokio::test]
async fn changes_that_are_not_taken() {
    let service = Changing::new();
    let before = service.model.lock().unwrap().target_id.clone();
    for (body, status, code, words) in [
        ("{", 400, "not_understood", "request:1:1: not JSON"),
        ("", 400, "not_understood", "not JSON"),
        ("\u{0}\u{1}", 400, "not_understood", "not JSON"),
        ("7", 400, "not_understood", "the whole file is 7"),
        (
            r#"{"node": {"count": "5"}}"#,
            400,
            "not_understood",
            "without quotes",
        ),
        (
            r#"{"node": {"size": 5}}"#,
            400,
            "not_understood",
            "no option node.size",
        ),
        (
            r#"{"node": {"cpus": 1, "cpus": 2}}"#,
            400,
            "not_understood",
            "node.cpus is given twice",
        ),
        (
            r#"{"etcd": {"election_timeout": 60}}"#,
            400,
            "refused",
            "Field: 'etcd.election_timeout'; Value: '60'",
        ),
        (
            r#"{"node": {"count": 1}}"#,
            409,
            "refused",
            "Field: 'node.count'; Transition: '3' => '1'",
        ),
        (
            r#"{"scheduler": {"listen": "127.0.0.1:1"}}"#,
            409,
            "refused",
            "restart the scheduler with scheduler.listen",
        ),
    ] {
        let answer = service
            .send("PUT", TARGET, None, body.as_bytes().to_vec())
            .await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        let refused: etcd_api::configurations::ChangeRefused =
            serde_json::from_str(&answer.body).unwrap();
        assert_eq!(refused.code, code, "{body}");
        assert!(refused.message.contains(words), "{body}: {refused:?}");
        assert!(!refused.reasons.is_empty(), "{body}");
    }
    let many = r#"{"service": {"name": "x"}, "node": {"count": 1}}"#;
    let answer = service.send("PUT", TARGET, None, many.into()).await;
    let options: Vec<Value> = answer.json()["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["option"].clone())
        .collect();
    assert_eq!(options, ["service.name", "node.count"]);
    for (bytes, status) in [(1024 * 1024, 400), (1024 * 1024 + 1, 413)] {
        let answer = service.send("PUT", TARGET, None, vec![b' '; bytes]).await;
        assert_eq!(answer.status, status, "{bytes}");
    }
    for tag in ["\"another\"", "", "W/\"x\"", "\"a\", \"b\""] {
        let answer = service.put("", Some(tag), &count(5)).await;
        assert_eq!(answer.status, 412, "{tag}");
    }
    assert_eq!(service.model.lock().unwrap().target_id, before);
    let star = service.put("", Some("*"), &count(5)).await;
    assert_eq!((star.status, service.members()), (200, 5));
}

/// Of changes that were made looking at the same target, one is taken.
#[tokio::test]
async fn one_of_many_at_once_is_taken() {
    let service = Arc::new(Changing::new());
    let tag = service.get(TARGET).await.header(header::ETAG).to_owned();
    let asked = [5, 7, 9, 5, 7, 9].map(|members| {
        let (service, tag) = (Arc::clone(&service), tag.clone());
        tokio::spawn(async move {
            let answer = service.put("", Some(&tag), &count(members)).await;
            (answer.status, members)
        })
    });
    let mut taken = Vec::new();
    for asked in asked {
        match asked.await.unwrap() {
            (200, members) => taken.push(members),
            // One command fits into this service's queue.
            (status, _) => assert!([412, 503].contains(&status), "{status}"),
        }
    }
    // Two that ask for the same are one target.
    taken.dedup();
    assert_eq!(taken, [u64::from(service.members())]);
}

#[tokio::test]
async fn under_marathon_dcos_keeps_the_options() {
    let service = Changing::started_by(Some("/team/etcd"));
    let answer = service.put("", None, &count(5)).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["code"], json!("managed_elsewhere"));
    assert!(
        answer.body.contains("as /team/etcd, so DC/OS keeps"),
        "{}",
        answer.body
    );
    let tried = service.put("?dry_run", None, &count(5)).await;
    assert_eq!((tried.status, service.members()), (200, 3));
}

#[tokio::test]
async fn diffs_of_what_is_not_there() {
    let service = Changing::new();
    let none = "00000000-0000-0000-0000-000000000000";
    for (path, status) in [
        ("target/diff/target".to_owned(), 200),
        (format!("{none}/diff/target"), 404),
        (format!("target/diff/{none}"), 404),
        ("7/diff/target".to_owned(), 400),
    ] {
        let answer = service.get(&format!("/v1/configurations/{path}")).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    let other = StoredTarget {
        options: json!({"node": {"of": "another release"}}),
        ..first_target(service.state.artifacts.served().clone())
    };
    let id: TargetId = other.id();
    service.state.store.put_target(&id, &other).unwrap();
    let path = format!("/v1/configurations/target/diff/{}", id.0);
    let answer = service.get(&path).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["code"], json!("other_release"));
}

#[tokio::test]
async fn readers_change_nothing() {
    let service = healthy();
    for (token, status) in [(None, 401), (Some(READ), 403)] {
        let answer = service.ask("PUT", TARGET, token).await;
        assert_eq!(answer.status, status);
    }
}
