//! The v2 API: the two lines of the original package's quick start, by `curl`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use etcd_tests::Service;
use serde_json::{Value, json};

/// Gives what the member says, as JSON.
fn curl(url: &str, arguments: &[&str]) -> Value {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--noproxy",
            "*",
        ])
        .args(["--location", url])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {errors}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn the_quick_start_works_with_v2_enabled() {
    let mut service = Service::on_agents(3).await.unwrap();
    service.set_option("etcd", "enable_v2", json!(true));
    service.start_scheduler(None).unwrap();
    let status = service.wait_until_healthy().await.unwrap();
    let key = |pod: usize| {
        let url = status.pods[pod].client_url.clone().unwrap();
        format!("{url}/v2/keys/hello")
    };
    let put = curl(&key(0), &["-XPUT", "-d", "value=world"]);
    assert_eq!(put["action"], "set");
    // A quorum read, since the other member may be a moment behind.
    let got = curl(&format!("{}?quorum=true", key(1)), &[]);
    assert_eq!(got["action"], "get");
    assert_eq!(got["node"]["key"], "/hello");
    assert_eq!(got["node"]["value"], "world");
}
