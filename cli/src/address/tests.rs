//! From arguments and environment to an address.

use clap::Parser;

use super::*;
use crate::arguments::CommandLine;

fn found(typed: &str, variables: &str) -> Result<Address, Failure> {
    let words = typed.split_whitespace().map(std::ffi::OsString::from);
    let call = Call::new(words);
    let program = std::iter::once(std::ffi::OsString::from("dcos-etcd"));
    let common = CommandLine::try_parse_from(program.chain(call.arguments.clone()))
        .unwrap()
        .common;
    let environment = |name: &str| {
        let mut pairs = variables.split_whitespace();
        pairs.find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    find(&common, &call, &environment)
}

#[test]
fn the_api_is_found() {
    #[track_caller]
    fn check(typed: &str, variables: &str, expected: &str) {
        let said = match found(typed, variables) {
            Ok(address) => {
                let token = address.authorization.map_or_else(
                    || "no token".to_owned(),
                    |Secret(authorization)| authorization,
                );
                format!("{} {token}", address.base)
            }
            Err(failure) => failure.to_string(),
        };
        assert_eq!(said, expected, "{typed} | {variables}");
    }
    check(
        "dcos-etcd health --url http://h:8080",
        "",
        "http://h:8080/ no token",
    );
    check(
        "dcos-etcd health --url h:8080",
        "",
        "http://h:8080/ no token",
    );
    check(
        "dcos-etcd health --url https://h/a?b#c",
        "",
        "https://h/a no token",
    );
    check(
        "dcos-etcd --url h health --token t",
        "ETCDFW_URL=http://x ETCDFW_TOKEN=y",
        "http://h/ Bearer t",
    );
    check(
        "dcos-etcd health",
        "ETCDFW_URL=h ETCDFW_TOKEN=t",
        "http://h/ Bearer t",
    );
    check(
        "dcos-etcd health",
        "SCHEDULER_URL=http://h:1 SCHEDULER_TOKEN=t DCOS_URL=http://d",
        "http://h:1/ Bearer t",
    );
    check(
        "dcos-etcd health",
        "SCHEDULER_URL=s ETCDFW_URL=e SCHEDULER_TOKEN=t ETCDFW_TOKEN=u",
        "http://e/ Bearer u",
    );
    check(
        "dcos-etcd health",
        "DCOS_URL=http://d/ DCOS_ACS_TOKEN=t",
        "http://d/service/etcd token=t",
    );
    check(
        "dcos-etcd health --name=/a/etcd",
        "DCOS_URL=http://d",
        "http://d/service/a/etcd no token",
    );
    check(
        "dcos-etcd etcd health",
        "DCOS_URL=http://d SCHEDULER_URL=s SCHEDULER_TOKEN=t",
        "http://d/service/etcd no token",
    );
    check(
        "dcos-etcd etcd health",
        "DCOS_URL=http://d DCOS_ETCD_SERVICE_NAME=etcd-dev",
        "http://d/service/etcd-dev no token",
    );
    check(
        "dcos-etcd etcd --name etcd2 health",
        "DCOS_URL=http://d DCOS_ETCD_SERVICE_NAME=etcd-dev",
        "http://d/service/etcd2 no token",
    );
    check(
        "dcos-etcd etcd health",
        "SCHEDULER_URL=s",
        "http://s/ no token",
    );
    check(
        "dcos-etcd health --name a/../b",
        "DCOS_URL=http://d",
        "\"a/../b\" is no service name",
    );
    check(
        "dcos-etcd health --url ftp://h",
        "",
        "\"ftp://h\" is no address of an API: it must begin with http:// or https://",
    );
    check(
        "dcos-etcd health --url http://me:secret@h",
        "",
        "an address must hold no password; give a token by --token-file",
    );
    check(
        "dcos-etcd health",
        "ETCDFW_TOKEN=t",
        "where is the scheduler? Give its API by --url or ETCDFW_URL, for example \
         http://10.0.0.1:8080; on DC/OS set DCOS_URL and DCOS_ACS_TOKEN",
    );
    check(
        "dcos-etcd health --url h --token-file /nowhere/token",
        "",
        "the token file /nowhere/token cannot be read: No such file or directory \
         (os error 2)",
    );
}

#[test]
fn whose_certificates_are_believed() {
    #[track_caller]
    fn check(variables: &str, expected: Trust) {
        let variables = format!("DCOS_URL=https://d {variables}");
        assert_eq!(
            found("dcos-etcd health", &variables).unwrap().trust,
            expected
        );
    }
    check("", Trust::System);
    check("DCOS_TLS_CA_PATH=/ca.pem", Trust::File("/ca.pem".into()));
    check(
        "DCOS_TLS_INSECURE=1 DCOS_TLS_CA_PATH=/ca.pem",
        Trust::Anything,
    );
    check("DCOS_TLS_INSECURE=0", Trust::System);
}

#[test]
fn token_files() {
    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(best_token(text), expected, "{text:?}");
    }
    check("abc\n", Some("abc"));
    check("# who\n\nread:r bob\nwrite:w alice\n", Some("w"));
    check("read:r bob\n", Some("r"));
    check("read:r\nbare\n", Some("bare"));
    check("# nothing\n", None);
    check("", None);
}

#[test]
fn a_token_is_never_printed() {
    let address = found("dcos-etcd health --url h --token s3cret", "").unwrap();
    assert!(!format!("{address:?}").contains("s3cret"));
}
