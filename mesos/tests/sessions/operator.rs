use mesos_v1::master::{Call, Response, call, response};
use mesos_v1::v1::{AgentId, VersionInfo};
use mesos_v1::{Access, AgentClient, OperatorClient, agent};
use prost::Message;

use crate::stand_in::{StandIn, within};

fn client(masters: &str) -> OperatorClient {
    OperatorClient::new(masters.parse().unwrap(), &Access::default()).unwrap()
}

fn version(version: &str) -> Vec<u8> {
    let version_info = VersionInfo {
        version: version.to_owned(),
        ..Default::default()
    };
    let response = Response {
        r#type: Some(response::Type::GetVersion.into()),
        get_version: Some(response::GetVersion { version_info }),
        ..Default::default()
    };
    response.encode_to_vec()
}

#[tokio::test]
async fn the_leader_is_found_past_a_recovering_master_and_a_redirect() {
    let mut masters = Vec::new();
    for _ in 0..3 {
        masters.push(StandIn::start().await);
    }
    let leader = masters[2].address;
    let client = client(&format!("{},{}", masters[0].address, masters[1].address));
    let asked = tokio::spawn(async move { client.get_version().await });
    masters[0]
        .request()
        .await
        .answer(503, "", b"No leader elected")
        .await;
    masters[1].request().await.redirect(leader).await;
    let request = masters[2].request().await;
    assert_eq!(request.path, "/api/v1");
    assert_eq!(request.decode::<Call>().r#type(), call::Type::GetVersion);
    request.answer(200, "", &version("1.11.0")).await;
    assert_eq!(
        within("the answer", asked).await.unwrap().unwrap().version,
        "1.11.0"
    );
}

/// Shows what comes of GET_VERSION when the master answers like this.
async fn check(status: u16, headers: &str, body: &[u8], expected: &str) {
    let mut master = StandIn::start().await;
    let address = master.address;
    let client = client(&address.to_string());
    let asked = tokio::spawn(async move { client.get_version().await });
    master.request().await.answer(status, headers, body).await;
    let error = within("the answer", asked)
        .await
        .unwrap()
        .unwrap_err()
        .to_string();
    assert_eq!(error.replace(&address.to_string(), "MASTER"), expected);
}

#[tokio::test]
async fn answers_that_bring_nothing_say_why() {
    check(
        401,
        "",
        b"Incorrect credentials",
        "MASTER refused GET_VERSION with status 401: Incorrect credentials",
    )
    .await;
    check(
        503,
        "",
        b"",
        "no answer to GET_VERSION: MASTER: (no explanation)",
    )
    .await;
    check(
        307,
        "Location: /elsewhere\r\n",
        b"",
        "no answer to GET_VERSION: MASTER: the redirect to \"/elsewhere\" cannot be \
         followed: it names no host",
    )
    .await;
    check(
        200,
        "",
        b"",
        "MASTER gave an answer to GET_VERSION that cannot be read: it does not hold what \
         was asked for",
    )
    .await;
}

#[tokio::test]
async fn acts_need_no_body_in_the_answer() {
    let mut master = StandIn::start().await;
    let client = client(&master.address.to_string());
    let asked = tokio::spawn(async move {
        let agent_id = AgentId {
            value: "S1".to_owned(),
        };
        let grace = std::time::Duration::from_millis(1_500);
        client.drain_agent(agent_id, Some(grace), false).await
    });
    let request = master.request().await;
    let drain = request.decode::<Call>().drain_agent.unwrap();
    // Rounded up: Mesos reads whole seconds only.
    assert_eq!(
        drain
            .max_grace_period
            .map(|period| (period.seconds, period.nanos)),
        Some((2, 0))
    );
    request.answer(200, "", b"").await;
    within("the answer", asked).await.unwrap().unwrap();
}

#[tokio::test]
async fn agents_are_asked_for_containers() {
    let mut agent = StandIn::start().await;
    let endpoint = agent.address.to_string().parse().unwrap();
    let client = AgentClient::new(endpoint, &Access::default()).unwrap();
    let asked = tokio::spawn(async move { client.get_containers(true).await });
    let request = agent.request().await;
    let call: agent::Call = request.decode();
    assert_eq!(call.get_containers.unwrap().show_nested, Some(true));
    let response = agent::Response {
        get_containers: Some(agent::response::GetContainers::default()),
        ..Default::default()
    };
    request.answer(200, "", &response.encode_to_vec()).await;
    let containers = within("the answer", asked)
        .await
        .unwrap()
        .unwrap()
        .containers;
    assert_eq!(containers, []);
}
