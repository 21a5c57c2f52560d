//! The few calls of the operator API by which we see that a master is ready.

use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::LocalError;

/// Everything asked here is answered at once, or the master is too busy to count.
const CALL_LIMIT: Duration = Duration::from_secs(5);
const SHOWN_BYTES: usize = 300;

/// The id that a master has given to an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct AgentId(String);

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An agent as its master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredAgent {
    /// Stays the same over restarts of agent and master.
    pub id: AgentId,
    /// As given by `--hostname`.
    pub hostname: String,
    /// False as soon as the master sees that the connection is broken.
    pub active: bool,
}

/// A client of one master's operator API, over JSON.
#[derive(Debug, Clone)]
pub(super) struct OperatorApi {
    client: reqwest::Client,
    url: String,
}

/// What a master says about itself.
pub(super) enum MasterState {
    Leading,
    /// The reason, as text.
    NotReady(String),
}

impl OperatorApi {
    pub(super) fn new(master: SocketAddrV4) -> Result<Self, LocalError> {
        let url = format!("http://{master}/api/v1");
        let client = reqwest::Client::builder()
            .timeout(CALL_LIMIT)
            .no_proxy()
            // A master that does not lead redirects to the one that does.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unexpected(&url, error))?;
        Ok(OperatorApi { client, url })
    }

    /// Whether the master leads and has read its registry: before that, schedulers and
    /// operators get 503.
    pub(super) async fn state(&self) -> MasterState {
        match self.call("GET_MASTER").await {
            Ok((200, _)) => MasterState::Leading,
            Ok((status, body)) => MasterState::NotReady(format!("{status} {body}")),
            Err(reason) => MasterState::NotReady(reason),
        }
    }

    pub(super) async fn agents(&self) -> Result<Vec<RegisteredAgent>, LocalError> {
        let answer = self.call("GET_AGENTS").await;
        let (status, body) = answer.map_err(|why| unexpected(&self.url, why))?;
        if status != 200 {
            return Err(unexpected(&self.url, format!("{status} {body}")));
        }
        let reply: AgentsReply = serde_json::from_str(&body)
            .map_err(|error| unexpected(&self.url, format!("{error}: {body}")))?;
        Ok(reply
            .get_agents
            .agents
            .into_iter()
            .map(Into::into)
            .collect())
    }

    async fn call(&self, kind: &str) -> Result<(u16, String), String> {
        let response = self
            .client
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .body(json!({ "type": kind }).to_string())
            .send()
            .await
            .map_err(with_causes)?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.map_err(with_causes)?))
    }
}

fn unexpected(url: &str, what: impl fmt::Display) -> LocalError {
    let what = what.to_string().chars().take(SHOWN_BYTES).collect();
    LocalError::Answer {
        url: url.to_owned(),
        what,
    }
}

/// An HTTP client's error with what is behind it: "error sending request" says little.
pub(crate) fn with_causes(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[derive(Deserialize)]
struct AgentsReply {
    get_agents: AgentList,
}

#[derive(Deserialize)]
struct AgentList {
    // JSON of protobuf leaves empty lists out.
    #[serde(default)]
    agents: Vec<AgentEntry>,
}

#[derive(Deserialize)]
struct AgentEntry {
    agent_info: AgentInfo,
    active: bool,
}

#[derive(Deserialize)]
struct AgentInfo {
    id: AgentIdEntry,
    hostname: String,
}

#[derive(Deserialize)]
struct AgentIdEntry {
    value: AgentId,
}

impl From<AgentEntry> for RegisteredAgent {
    fn from(entry: AgentEntry) -> Self {
        RegisteredAgent {
            id: entry.agent_info.id.value,
            hostname: entry.agent_info.hostname,
            active: entry.active,
        }
    }
}
