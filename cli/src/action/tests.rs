//! What each line typed asks for.

use clap::Parser;

use super::*;
use crate::arguments::CommandLine;

fn action(typed: &str) -> Action {
    let words = std::iter::once("dcos-etcd").chain(typed.split_whitespace());
    of(CommandLine::try_parse_from(words).unwrap().command)
}

#[test]
fn every_verb_asks_what_the_sdk_asked() {
    #[track_caller]
    fn check(typed: &str, expected: &str) {
        match action(typed) {
            Action::Ask(request, _) => {
                assert_eq!(request.to_string(), expected, "{typed}");
            }
            other => panic!("{typed}: {other:?}"),
        }
    }
    check("plan list", "GET /v1/plans");
    check("plans list", "GET /v1/plans");
    check("plan status deploy", "GET /v1/plans/deploy");
    check("plan show deploy --json", "GET /v1/plans/deploy");
    check("plan start deploy", "POST /v1/plans/deploy/start {}");
    check(
        "plan start backup -p NAME=x -p A=b=c",
        r#"POST /v1/plans/backup/start {"A":"b=c","NAME":"x"}"#,
    );
    check("plan stop deploy", "POST /v1/plans/deploy/stop");
    check("plan pause deploy", "POST /v1/plans/deploy/interrupt");
    check(
        "plan interrupt deploy agents",
        "POST /v1/plans/deploy/interrupt?phase=agents",
    );
    check("plan resume deploy", "POST /v1/plans/deploy/continue");
    check(
        "plan continue deploy agents",
        "POST /v1/plans/deploy/continue?phase=agents",
    );
    check("defragment", "POST /v1/plans/maintenance/start {}");
    check(
        "defragment etcd-1",
        r#"POST /v1/plans/maintenance/start {"POD":"etcd-1"}"#,
    );
    check(
        "defragment --free-space --keep-revisions 5",
        r#"POST /v1/plans/maintenance/start {"FREE_SPACE":"true","KEEP_REVISIONS":"5"}"#,
    );
    check("plan force-restart deploy", "POST /v1/plans/deploy/restart");
    check(
        "plan restart deploy agents etcd-0:[node]",
        "POST /v1/plans/deploy/restart?phase=agents&step=etcd-0:[node]",
    );
    check(
        "plan force-complete deploy agents etcd-0:[node]",
        "POST /v1/plans/deploy/forceComplete?phase=agents&step=etcd-0:[node]",
    );
    check("plan force deploy", "POST /v1/plans/deploy/forceComplete");

    check("update status", "GET /v1/plans/update");
    check("update pause", "POST /v1/plans/update/interrupt");
    check(
        "update resume agents",
        "POST /v1/plans/update/continue?phase=agents",
    );
    check(
        "update force-complete agents etcd-0:[node]",
        "POST /v1/plans/update/forceComplete?phase=agents&step=etcd-0:[node]",
    );
    check("update force-restart", "POST /v1/plans/update/restart");
    check("config diff x", "GET /v1/configurations/x/diff/target");
    check("debug config diff x y", "GET /v1/configurations/x/diff/y");

    check("pod list", "GET /v1/pod");
    check("pods status", "GET /v1/pod/status");
    check("pod status etcd-0", "GET /v1/pod/etcd-0/status");
    check("pod info etcd-0", "GET /v1/pod/etcd-0/info");
    check("pod restart etcd-0", "POST /v1/pod/etcd-0/restart");
    check("pod replace etcd-2", "POST /v1/pod/etcd-2/replace");
    check(
        "pod replace etcd-2 --force",
        "POST /v1/pod/etcd-2/replace?force=true",
    );
    check("pod reset etcd-2", "POST /v1/pod/etcd-2/reset");
    check("debug pod pause etcd-2", "POST /v1/pod/etcd-2/pause");
    check(
        "debug pods resume etcd-2 -t etcd-2-node -t x",
        r#"POST /v1/pod/etcd-2/resume ["etcd-2-node","x"]"#,
    );

    check("endpoints", "GET /v1/endpoints");
    check("endpoint api", "GET /v1/endpoints/api");
    check("config list", "GET /v1/configurations");
    check("config show 1-2", "GET /v1/configurations/1-2");
    check("debug config target", "GET /v1/configurations/target");
    check("debug config target_id", "GET /v1/configurations/targetId");
    check("config target-id", "GET /v1/configurations/targetId");
    check("debug state framework_id", "GET /v1/state/frameworkId");
    check("debug state properties", "GET /v1/state/properties");
    check("debug state property a/b", "GET /v1/state/properties/a/b");
    check("debug state refresh_cache", "PUT /v1/state/refresh");
    check("debug offers", "GET /v2/debug/offers");
    check("debug plans", "GET /v1/debug/plans");
    check("debug reservations", "GET /v1/debug/reservations");
    check("debug task_statuses", "GET /v1/debug/taskStatuses");
}

#[test]
fn plan_commands_have_the_sdks_sentences() {
    #[track_caller]
    fn check(typed: &str, expected: &str) {
        match action(typed) {
            Action::Ask(_, Show::Sentence { subject, done }) => {
                assert_eq!(format!("{subject} has been {done}."), expected);
            }
            other => panic!("{typed}: {other:?}"),
        }
    }
    check("plan pause deploy", r#""deploy" plan has been paused."#);
    check(
        "plan resume deploy agents",
        r#""deploy" plan: phase "agents" has been resumed."#,
    );
    check(
        "plan force-restart deploy agents etcd-0:[node]",
        r#""deploy" plan: step "etcd-0:[node]" in phase "agents" has been restarted."#,
    );
    check(
        "plan force-complete deploy agents etcd-0:[node]",
        r#""deploy" plan: step "etcd-0:[node]" in phase "agents" has been forced to complete."#,
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    #[track_caller]
    fn check(typed: &[&str], expected: &str) {
        let words = std::iter::once("dcos-etcd").chain(typed.iter().copied());
        let error = CommandLine::try_parse_from(words).unwrap_err().to_string();
        assert!(error.contains(expected), "{typed:?}: {error}");
    }
    check(&["plna", "list"], "unrecognized subcommand 'plna'");
    check(&["plan", "show"], "<PLAN>");
    check(&["plan", "show", ".."], "that is no name");
    check(&["pod", "info", ""], "cannot be empty");
    check(
        &["plan", "start", "x", "-p", "NAME"],
        "Must have one variable name and one variable value per definition",
    );
    check(
        &["plan", "start", "x", "-p", "A="],
        "Must have one variable name",
    );
    check(&["health", "--timeout", "0"], "more than 0");
    check(&["health", "--timeout", "nan"], "more than 0");
    check(&["plan", "watch", "x", "--for", "1e9"], "at most a day");
    check(
        &["status", "--token", "a", "--token-file", "b"],
        "cannot be used",
    );
    check(&["events", "--since", "x"], "invalid digit");
}

#[test]
fn the_grammar_is_sound() {
    use clap::CommandFactory;
    CommandLine::command().debug_assert();
}
