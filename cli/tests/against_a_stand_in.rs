//! What the program prints and how it ends, for answers of all kinds from a
//! stand-in for the scheduler.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "against_a_stand_in/snapshot_save.rs"]
mod snapshot_save;
mod stand_in;

use std::net::TcpListener;

use stand_in::{Ended, StandIn, response, run, stream};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

const PLAN: &str = r#"{"phases": [{"id": "1", "name": "agents", "steps": [
    {"id": "2", "status": "STATUS", "name": "etcd-0:[node]", "message": ""}],
    "strategy": "parallel", "status": "STATUS"}],
    "errors": [], "strategy": "serial", "status": "STATUS"}"#;

/// Runs the program against one prepared answer. Gives what was asked, too.
fn against(words: &str, answer: &str) -> (Ended, String) {
    let stand_in = StandIn::answering(&[answer]);
    let url = stand_in.url();
    let ended = run(words, &[("ETCDFW_URL", &url), ("ETCDFW_TOKEN", "t0ken")]);
    let asked = stand_in.asked();
    // Addresses differ from run to run.
    let error = ended.error.replace(&url, "URL");
    (Ended { error, ..ended }, asked.concat())
}

#[test]
fn changes_of_options() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let options = directory.join("options-of-an-update.json");
    std::fs::write(&options, r#"{"node": {"count": 5}}"#).unwrap();
    let words = format!(
        "update start --options {} --replace --dry-run --if-match x",
        options.display()
    );
    let taken = r#"{"target_id": "b", "previous_id": "a", "dry_run": true, "changes": [
        {"option": "node.count", "from": 3, "to": 5, "class": "scale", "meaning": "more"}],
        "restarts_members": false, "order": [], "warnings": []}"#;
    let (ended, asked) = against(&words, &response("200 OK", JSON, taken));
    assert_eq!((ended.code, ended.error.as_str()), (0, ""));
    assert_eq!(
        ended.out,
        "option      from  to  what it means\nnode.count  3     5   more\n\n\
         This is what would be; nothing was changed.\n"
    );
    assert!(
        asked.starts_with(
            "PUT /v1/configurations/target?replace=true&dry_run=true HTTP/1.1 | "
        ) && asked.contains(r#"if-match: "x""#)
            && asked.ends_with(r#"{"node": {"count": 5}}"#),
        "{asked}"
    );
    let refused = r#"{"code": "refused", "message": "a\nb", "reasons": [
        {"option": "node.count", "reason": "a"}, {"option": null, "reason": "b"}]}"#;
    let (ended, _) = against(&words, &response("409 Conflict", JSON, refused));
    assert_eq!(
        (ended.code, ended.error.as_str()),
        (
            1,
            "dcos-etcd: error: The service is not updated to the requested \
             configuration:\n- a\n- b\n"
        )
    );
    for (words, error) in [
        (
            "update start",
            "Either --options and/or --package-version must be specified",
        ),
        (
            "update start --options /nowhere/x",
            "cannot read the options /nowhere/x",
        ),
        (
            "update start --package-version 2",
            "--package-version is for services",
        ),
    ] {
        let ended = run(words, &[("ETCDFW_URL", "http://127.0.0.1:1")]);
        assert_eq!(ended.code, 64, "{words}");
        assert!(ended.error.contains(error), "{words}: {}", ended.error);
    }
    let kept = r#"{"target_id": "a", "given": {"node": {"count": 5}}, "options": {}}"#;
    let (ended, _) = against("describe", &response("200 OK", JSON, kept));
    assert_eq!(ended.out, "{\n  \"node\": {\n    \"count\": 5\n  }\n}\n");
}

#[test]
fn answers_are_shown() {
    #[track_caller]
    fn check(words: &str, status: &str, body: &str, asked: &str, out: &str) {
        let (ended, really) = against(words, &response(status, JSON, body));
        assert_eq!(ended.error, "", "{words}");
        assert_eq!((ended.out.as_str(), ended.code), (out, 0), "{words}");
        let authorized = format!("{asked} | authorization: Bearer t0ken");
        assert!(really.starts_with(&authorized), "{words}: {really}");
    }
    check(
        "plan list",
        "200 OK",
        r#"["deploy","recovery"]"#,
        "GET /v1/plans HTTP/1.1",
        "[\n  \"deploy\",\n  \"recovery\"\n]\n",
    );
    let tree = "deploy (serial strategy) (STARTING)\n\
                └─ agents (parallel strategy) (STARTING)\n   \
                └─ etcd-0:[node] (STARTING)\n";
    for status in ["200 OK", "202 Accepted", "417 Expectation Failed"] {
        let body = PLAN.replace("STATUS", "STARTING");
        check(
            "plan show deploy",
            status,
            &body,
            "GET /v1/plans/deploy HTTP/1.1",
            tree,
        );
    }
    check(
        "plan pause deploy agents",
        "200 OK",
        r#"{"message": "Received cmd: interrupt"}"#,
        "POST /v1/plans/deploy/interrupt?phase=agents HTTP/1.1",
        "\"deploy\" plan: phase \"agents\" has been paused.\n",
    );
    check(
        "plan pause deploy --json",
        "200 OK",
        r#"{"message": "Received cmd: interrupt"}"#,
        "POST /v1/plans/deploy/interrupt HTTP/1.1",
        "{\n  \"message\": \"Received cmd: interrupt\"\n}\n",
    );
    check(
        "pod replace etcd-2 --force",
        "200 OK",
        r#"{"pod":"etcd-2","tasks":["etcd-2-node"]}"#,
        "POST /v1/pod/etcd-2/replace?force=true HTTP/1.1",
        "{\n  \"pod\": \"etcd-2\",\n  \"tasks\": [\n    \"etcd-2-node\"\n  ]\n}\n",
    );
    check(
        "endpoints custom",
        "200 OK",
        "not json\n",
        "GET /v1/endpoints/custom HTTP/1.1",
        "not json\n",
    );
    check(
        "pod status etcd-0",
        "200 OK",
        r#"{"name": "etcd-0", "tasks": [{"id": "x", "name": "etcd-0-node"}]}"#,
        "GET /v1/pod/etcd-0/status HTTP/1.1",
        "etcd-0\n└─ etcd-0-node (<UNKNOWN>)\n",
    );
}

#[test]
fn bodies_are_sent_as_the_sdk_sent_them() {
    let answer = response("200 OK", JSON, "{}");
    let (_, asked) = against("plan start backup -p NAME=x", &answer);
    assert_eq!(
        asked,
        "POST /v1/plans/backup/start HTTP/1.1 | authorization: Bearer t0ken \
         | content-type: application/json | {\"NAME\":\"x\"}"
    );
    let (_, asked) = against("debug pod pause etcd-0", &answer);
    assert_eq!(
        asked,
        "POST /v1/pod/etcd-0/pause HTTP/1.1 | authorization: Bearer t0ken"
    );
}

#[test]
fn refusals_end_with_a_sentence_and_a_code() {
    #[track_caller]
    fn check(words: &str, answer: &str, code: i32, error: &str) {
        let (ended, _) = against(words, answer);
        assert_eq!(
            ended.error,
            format!("dcos-etcd: error: {error}\n"),
            "{words}"
        );
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{words}");
    }
    check(
        "plan resume deploy",
        &response(
            "208 Already Reported",
            TEXT,
            "Command has already been reported or completed",
        ),
        1,
        "Cannot execute command. Command has already been issued or the plan has completed",
    );
    check(
        "plan show x",
        &response("404 Not Found", TEXT, "Plan x not found"),
        1,
        "Plan, phase, and/or step does not exist: Plan x not found",
    );
    check(
        "pod restart etcd-9",
        &response("404 Not Found", TEXT, "Pod etcd-9 not found"),
        1,
        "Pod etcd-9 not found",
    );
    check(
        "pod replace etcd-1",
        &response(
            "409 Conflict",
            JSON,
            r#"{"code": "not_now", "message": "1 of 3 voters would be left"}"#,
        ),
        1,
        "1 of 3 voters would be left",
    );
    check(
        "debug pod pause etcd-1",
        &response(
            "501 Not Implemented",
            JSON,
            r#"{"code": "not_implemented", "message": "nothing was changed"}"#,
        ),
        1,
        "nothing was changed",
    );
    check(
        "status",
        &response(
            "401 Unauthorized",
            JSON,
            r#"{"code": "unauthorized", "message": "this token is not known"}"#,
        ),
        77,
        "Got 401 Unauthorized response from URL/v1/status: this token is not known\n\
         - Bad auth token? Give one by --token-file, --token or ETCDFW_TOKEN",
    );
    check(
        "pod restart etcd-0",
        &response(
            "403 Forbidden",
            JSON,
            r#"{"code": "forbidden", "message": "this token may only read"}"#,
        ),
        77,
        "Got 403 Forbidden response from URL/v1/pod/etcd-0/restart: this token may only read",
    );
    check(
        "health",
        &response("502 Bad Gateway", "text/html", "<html>"),
        69,
        "HTTP GET Query for URL/v1/status failed: 502 Bad Gateway",
    );
    check(
        "pod restart etcd-0",
        &response(
            "503 Service Unavailable",
            JSON,
            r#"{"code": "unavailable", "message": "the scheduler is stopping"}"#,
        ),
        69,
        "the scheduler is stopping",
    );
    check(
        "health",
        &response("200 OK", JSON, "{}"),
        76,
        "the answer of URL/v1/status is not understood: missing field `service` at \
         line 1 column 2",
    );
    check(
        "plan list",
        "HTTP/1.1 301 Moved Permanently\r\nlocation: https://else/\r\n\
         content-length: 0\r\n\r\n",
        1,
        "URL/v1/plans is not the API; it points to https://else/",
    );
    let (ended, _) =
        against("plan list", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[");
    let broken = "URL/v1/plans cannot be reached: the answer broke off: ";
    assert!(ended.error.contains(broken), "{}", ended.error);
    assert_eq!((ended.code, ended.out.as_str()), (69, ""));
}

#[test]
fn errors_for_programs() {
    let refusal = r#"{"code": "not_now", "message": "wait"}"#;
    let answer = response("409 Conflict", JSON, refusal);
    let (ended, _) = against("--json pod restart etcd-0", &answer);
    let error: serde_json::Value = serde_json::from_str(&ended.error).unwrap();
    assert_eq!(error["code"], "not_now");
    assert_eq!(error["message"], "wait");
    assert_eq!(error["http_status"], 409);
    assert_eq!(error["exit_code"], 1);
    let ended = run("--json plna", &[]);
    let error: serde_json::Value = serde_json::from_str(&ended.error).unwrap();
    assert_eq!(error["code"], "usage");
    assert_eq!(ended.code, 64);
}

#[test]
fn who_does_not_answer() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", taken.local_addr().unwrap());
    let ended = run("status --timeout 0.2", &[("ETCDFW_URL", &silent)]);
    assert!(
        ended.error.contains("no answer within 0.2 s"),
        "{}",
        ended.error
    );
    assert_eq!(ended.code, 69);
    let words = format!("pod restart etcd-0 --timeout 0.2 --url {silent}");
    let ended = run(&words, &[]);
    assert!(ended.error.contains("may still be done"), "{}", ended.error);
    drop(taken);
    let ended = run("status", &[("ETCDFW_URL", &silent)]);
    assert!(
        ended.error.contains("Connection refused"),
        "{}",
        ended.error
    );
    assert_eq!(ended.code, 69);
}

#[test]
fn wrong_arguments() {
    #[track_caller]
    fn check(words: &str, code: i32, error: &str) {
        let ended = run(words, &[]);
        assert!(
            ended.error.starts_with("dcos-etcd: error: "),
            "{}",
            ended.error
        );
        assert!(ended.error.contains(error), "{words}: {}", ended.error);
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{words}");
    }
    check("", 64, "Usage: dcos-etcd");
    check("plna list", 64, "unrecognized subcommand 'plna'");
    check("plan show", 64, "<PLAN>");
    check("status", 64, "where is the scheduler?");
    check("etcd plna list", 1, "Usage: dcos etcd");
    check("status --url h --token-file /nowhere", 64, "cannot be read");
}

#[test]
fn called_by_dcos() {
    let stand_in = StandIn::answering(&[
        &response("200 OK", JSON, "[]"),
        &response("404 Not Found", "text/html", "<html>"),
    ]);
    let url = stand_in.url();
    let variables = [("DCOS_URL", url.as_str()), ("DCOS_ACS_TOKEN", "jwt")];
    let ended = run("etcd pod list", &variables);
    assert_eq!(
        (ended.out.as_str(), ended.code),
        ("[]\n", 0),
        "{}",
        ended.error
    );
    let ended = run("etcd --name=/dev/etcd pod list", &variables);
    assert!(
        ended.error.contains("a service named \"dev/etcd\""),
        "{}",
        ended.error
    );
    assert_eq!(ended.code, 1);
    assert_eq!(
        stand_in.asked(),
        [
            "GET /service/etcd/v1/pod HTTP/1.1 | authorization: token=jwt",
            "GET /service/dev/etcd/v1/pod HTTP/1.1 | authorization: token=jwt",
        ]
    );
    // Asked by `dcos help` and by `dcos config`, with no cluster at hand.
    for (words, expected) in [
        ("etcd --info", "etcd service"),
        ("etcd --config-schema", "service_name"),
        ("etcd --help", "Usage: dcos etcd"),
        ("etcd --version", env!("CARGO_PKG_VERSION")),
    ] {
        let ended = run(words, &[]);
        assert!(ended.out.contains(expected), "{words}: {}", ended.out);
        assert_eq!((ended.code, ended.error.as_str()), (0, ""), "{words}");
    }
}

#[test]
fn the_token_is_taken_from_a_file_and_shown_nowhere() {
    let directory = std::env::temp_dir();
    let file = directory.join(format!("dcos-etcd-token-{}", std::process::id()));
    std::fs::write(&file, "# two\nread:r bob\nwrite:s3cret alice\n").unwrap();
    let stand_in = StandIn::answering(&[&response("500 Oh", TEXT, "no")]);
    let (url, file_name) = (stand_in.url(), file.to_str().unwrap());
    let ended = run(
        &format!("-v pod list --url {url} --token-file {file_name}"),
        &[],
    );
    std::fs::remove_file(&file).unwrap();
    assert!(
        ended.error.contains("GET http://127.0.0.1:"),
        "{}",
        ended.error
    );
    assert!(!ended.error.contains("s3cret"), "{}", ended.error);
    assert_eq!(
        stand_in.asked(),
        ["GET /v1/pod HTTP/1.1 | authorization: Bearer s3cret"]
    );
}

#[test]
fn a_plan_is_watched_until_it_is_complete() {
    let answer =
        |status: &str, http: &str| response(http, JSON, &PLAN.replace("STATUS", status));
    let stand_in = StandIn::answering(&[
        &answer("STARTING", "202 Accepted"),
        &answer("STARTING", "202 Accepted"),
        // A scheduler that restarts behind a proxy.
        &response("503 Service Unavailable", TEXT, ""),
        &answer("COMPLETE", "200 OK"),
        &answer("COMPLETE", "200 OK"),
    ]);
    let ended = run(&format!("plan watch deploy --url {}", stand_in.url()), &[]);
    assert_eq!((ended.code, ended.error.as_str()), (0, ""));
    let lines: Vec<&str> = ended
        .out
        .lines()
        .map(|line| line.split_once("  ").unwrap().1)
        .collect();
    assert_eq!(
        lines,
        [
            "deploy: STARTING",
            "deploy agents: STARTING",
            "deploy agents etcd-0:[node]: STARTING",
            "deploy: COMPLETE",
            "deploy agents: COMPLETE",
            "deploy agents etcd-0:[node]: COMPLETE",
        ]
    );
    assert_eq!(stand_in.asked().len(), 5);

    let stand_in = StandIn::answering(&[&answer("PENDING", "202 Accepted")]);
    let words = format!("plan watch deploy --for 0.001 --url {}", stand_in.url());
    let ended = run(&words, &[]);
    assert!(
        ended.error.contains("not complete after 0.001 s"),
        "{}",
        ended.error
    );
    assert_eq!(ended.code, 75);

    let wrong = PLAN.replace(r#""errors": []"#, r#""errors": ["bad config"]"#);
    let stand_in =
        StandIn::answering(&[&response("417 Expectation Failed", JSON, &wrong)]);
    let ended = run(&format!("plan watch deploy --url {}", stand_in.url()), &[]);
    assert!(
        ended.out.contains("deploy error: bad config"),
        "{}",
        ended.out
    );
    assert_eq!(ended.code, 1);
}

#[test]
fn followed_events_go_on_behind_the_last_one() {
    let event = |sequence: u32| {
        format!(
            "id: {sequence}\ndata: {{\"sequence\": {sequence}, \"at_ms\": 0, \"pod\": \
             \"etcd-0\", \"what\": {{\"kind\": \"subscription_lost\"}}, \"text\": \
             \"number {sequence}\", \"why\": null, \"asked_by\": null}}\n\n"
        )
    };
    let missed = "event: missed\ndata: {\"after\": 2, \"next\": 9}\n\n";
    let stand_in = StandIn::answering(&[
        // The third one is cut off, and so it was not seen.
        &stream(&format!(
            "{}: alive\n\n{}id: 3\ndata: {{",
            event(1),
            event(2)
        )),
        &response("503 Service Unavailable", TEXT, ""),
        &stream(&format!("{missed}{}", event(9))),
        // Ends the test.
        &response("401 Unauthorized", TEXT, ""),
    ]);
    let words = format!("events --follow --pod etcd-0 --url {}", stand_in.url());
    let ended = run(&words, &[]);
    let at = "1970-01-01T00:00:00.000Z  etcd-0 ";
    let expected = format!(
        "{at}  number 1\n{at}  number 2\n\
         -- missed: events between 2 and 9 are gone --\n{at}  number 9\n"
    );
    assert_eq!(ended.out, expected);
    assert_eq!(ended.code, 77, "{}", ended.error);
    let line = "GET /v1/events?pod=etcd-0&follow=true HTTP/1.1";
    assert_eq!(
        stand_in.asked(),
        [
            line.to_owned(),
            format!("{line} | last-event-id: 2"),
            format!("{line} | last-event-id: 2"),
            format!("{line} | last-event-id: 9"),
        ]
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // More than a pipe holds.
    let names: Vec<String> = (0..20_000).map(|n| format!("\"name-{n}\"")).collect();
    let body = format!("[{}]", names.join(","));
    let stand_in = StandIn::answering(&[&response("200 OK", JSON, &body)]);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_dcos-etcd"))
        .args(["plan", "list", "--url", &stand_in.url()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}
