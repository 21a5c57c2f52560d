//! The operator API of masters and agents.

use std::time::Duration;

use prost::Message;
use reqwest::header::LOCATION;
use thiserror::Error;

use crate::endpoint::{Endpoint, Masters};
use crate::http::{
    Access, CALL_TIMEOUT, ClientSetupError, HttpClient, error_body, explain, header,
};
use crate::v1::{AgentId, FrameworkId};
use crate::{agent, master};

/// The path of the operator API on masters and agents.
const OPERATOR_PATH: &str = "/api/v1";

/// A follower knows the leader directly; more hops than this are a loop.
const MAX_REDIRECTS: usize = 5;

/// Why an operator call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperatorError {
    /// The server answered with an error.
    #[error("{server} refused {call} with status {status}: {body}")]
    Refused {
        /// Who answered.
        server: String,
        /// What was asked.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        body: String,
    },
    /// No server answered. Whether the call took effect is unknown.
    #[error("no answer to {call}: {reasons}")]
    Unreachable {
        /// What was asked.
        call: &'static str,
        /// One reason for each server that was tried.
        reasons: String,
    },
    /// The answer is not what the call's type promises.
    #[error("{server} gave an answer to {call} that cannot be read: {why}")]
    BadAnswer {
        /// Who answered.
        server: String,
        /// What was asked.
        call: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Asks the leading master.
#[derive(Debug, Clone)]
pub struct OperatorClient {
    masters: Masters,
    http: HttpClient,
}

impl OperatorClient {
    /// A client that finds the leader anew for each call.
    pub fn new(masters: Masters, access: &Access) -> Result<Self, ClientSetupError> {
        let http = HttpClient::for_calls(masters.scheme(), access, CALL_TIMEOUT)?;
        Ok(Self { masters, http })
    }

    /// Any call. The answer is `None` for calls that only act (202 or an empty
    /// 200).
    pub async fn call(
        &self,
        call: &master::Call,
    ) -> Result<Option<master::Response>, OperatorError> {
        let name = call.r#type().as_str_name();
        let answer = post(&self.http, self.masters.endpoints(), name, call).await?;
        answer.decode()
    }

    async fn get<T>(
        &self,
        kind: master::call::Type,
        pick: impl FnOnce(master::Response) -> Option<T>,
    ) -> Result<T, OperatorError> {
        let call = master::Call {
            r#type: Some(kind.into()),
            ..Default::default()
        };
        let response = self.call(&call).await?;
        response
            .and_then(pick)
            .ok_or_else(|| OperatorError::BadAnswer {
                server: self.masters.to_string(),
                call: kind.as_str_name(),
                why: "it does not hold what was asked for".to_owned(),
            })
    }

    async fn act(&self, call: master::Call) -> Result<(), OperatorError> {
        self.call(&call).await.map(|_| ())
    }

    /// Whether the leading master calls itself healthy.
    pub async fn get_health(&self) -> Result<bool, OperatorError> {
        let pick = |response: master::Response| Some(response.get_health?.healthy);
        self.get(master::call::Type::GetHealth, pick).await
    }

    /// The Mesos version that the leading master runs.
    pub async fn get_version(&self) -> Result<crate::v1::VersionInfo, OperatorError> {
        let pick = |response: master::Response| Some(response.get_version?.version_info);
        self.get(master::call::Type::GetVersion, pick).await
    }

    /// Who leads, and since when.
    pub async fn get_master(&self) -> Result<master::response::GetMaster, OperatorError> {
        self.get(master::call::Type::GetMaster, |response| {
            response.get_master
        })
        .await
    }

    /// Everything at once. Megabytes on a large cluster.
    pub async fn get_state(&self) -> Result<master::response::GetState, OperatorError> {
        self.get(master::call::Type::GetState, |response| response.get_state)
            .await
    }

    /// All agents with their resources.
    pub async fn get_agents(&self) -> Result<master::response::GetAgents, OperatorError> {
        self.get(master::call::Type::GetAgents, |response| {
            response.get_agents
        })
        .await
    }

    /// All frameworks, completed ones included.
    pub async fn get_frameworks(
        &self,
    ) -> Result<master::response::GetFrameworks, OperatorError> {
        self.get(master::call::Type::GetFrameworks, |response| {
            response.get_frameworks
        })
        .await
    }

    /// All executors.
    pub async fn get_executors(
        &self,
    ) -> Result<master::response::GetExecutors, OperatorError> {
        self.get(master::call::Type::GetExecutors, |response| {
            response.get_executors
        })
        .await
    }

    /// All tasks, completed ones (as far as the master remembers them) included.
    pub async fn get_tasks(&self) -> Result<master::response::GetTasks, OperatorError> {
        self.get(master::call::Type::GetTasks, |response| response.get_tasks)
            .await
    }

    /// Offer operations that are pending or not yet acknowledged. Since Mesos 1.6.
    pub async fn get_operations(
        &self,
    ) -> Result<master::response::GetOperations, OperatorError> {
        self.get(master::call::Type::GetOperations, |response| {
            response.get_operations
        })
        .await
    }

    /// Roles, with the frameworks and the resources that they have.
    pub async fn get_roles(&self) -> Result<master::response::GetRoles, OperatorError> {
        self.get(master::call::Type::GetRoles, |response| response.get_roles)
            .await
    }

    /// The maintenance schedule.
    pub async fn get_maintenance_schedule(
        &self,
    ) -> Result<crate::maintenance::Schedule, OperatorError> {
        let pick = |response: master::Response| {
            Some(response.get_maintenance_schedule?.schedule)
        };
        self.get(master::call::Type::GetMaintenanceSchedule, pick)
            .await
    }

    /// What the scheduled machines are doing.
    pub async fn get_maintenance_status(
        &self,
    ) -> Result<crate::maintenance::ClusterStatus, OperatorError> {
        let pick =
            |response: master::Response| Some(response.get_maintenance_status?.status);
        self.get(master::call::Type::GetMaintenanceStatus, pick)
            .await
    }

    /// Replaces the maintenance schedule.
    pub async fn update_maintenance_schedule(
        &self,
        schedule: crate::maintenance::Schedule,
    ) -> Result<(), OperatorError> {
        self.act(master::Call {
            r#type: Some(master::call::Type::UpdateMaintenanceSchedule.into()),
            update_maintenance_schedule: Some(master::call::UpdateMaintenanceSchedule {
                schedule,
            }),
            ..Default::default()
        })
        .await
    }

    /// Ends a framework and all its tasks, for good.
    pub async fn teardown(&self, framework_id: FrameworkId) -> Result<(), OperatorError> {
        self.act(master::Call {
            r#type: Some(master::call::Type::Teardown.into()),
            teardown: Some(master::call::Teardown { framework_id }),
            ..Default::default()
        })
        .await
    }

    /// Declares that an agent will never come back. Its tasks become
    /// TASK_GONE_BY_OPERATOR, and it is refused if it returns. Cannot be undone.
    pub async fn mark_agent_gone(&self, agent_id: AgentId) -> Result<(), OperatorError> {
        self.act(master::Call {
            r#type: Some(master::call::Type::MarkAgentGone.into()),
            mark_agent_gone: Some(master::call::MarkAgentGone { agent_id }),
            ..Default::default()
        })
        .await
    }

    /// Kills an agent's tasks, giving each at most `max_grace_period`, and keeps
    /// new ones away until [`Self::reactivate_agent`]. Since Mesos 1.9.
    pub async fn drain_agent(
        &self,
        agent_id: AgentId,
        max_grace_period: Option<Duration>,
        mark_gone: bool,
    ) -> Result<(), OperatorError> {
        // Mesos reads the seconds only; half a second shall not become none.
        let max_grace_period = max_grace_period.map(|period| prost_types::Duration {
            seconds: i64::try_from(period.as_nanos().div_ceil(1_000_000_000))
                .unwrap_or(i64::MAX),
            nanos: 0,
        });
        let drain_agent = master::call::DrainAgent {
            agent_id,
            max_grace_period,
            mark_gone: Some(mark_gone),
        };
        self.act(master::Call {
            r#type: Some(master::call::Type::DrainAgent.into()),
            drain_agent: Some(drain_agent),
            ..Default::default()
        })
        .await
    }

    /// Stops offers of an agent; its tasks run on. Since Mesos 1.9.
    pub async fn deactivate_agent(&self, agent_id: AgentId) -> Result<(), OperatorError> {
        self.act(master::Call {
            r#type: Some(master::call::Type::DeactivateAgent.into()),
            deactivate_agent: Some(master::call::DeactivateAgent { agent_id }),
            ..Default::default()
        })
        .await
    }

    /// Undoes draining and deactivation. Since Mesos 1.9.
    pub async fn reactivate_agent(&self, agent_id: AgentId) -> Result<(), OperatorError> {
        self.act(master::Call {
            r#type: Some(master::call::Type::ReactivateAgent.into()),
            reactivate_agent: Some(master::call::ReactivateAgent { agent_id }),
            ..Default::default()
        })
        .await
    }
}

/// Asks one agent.
#[derive(Debug, Clone)]
pub struct AgentClient {
    agent: Endpoint,
    http: HttpClient,
}

impl AgentClient {
    /// A client for this agent.
    pub fn new(agent: Endpoint, access: &Access) -> Result<Self, ClientSetupError> {
        let http = HttpClient::for_calls(agent.scheme(), access, CALL_TIMEOUT)?;
        Ok(Self { agent, http })
    }

    /// Any call.
    pub async fn call(
        &self,
        call: &agent::Call,
    ) -> Result<Option<agent::Response>, OperatorError> {
        let name = call.r#type().as_str_name();
        post(&self.http, std::slice::from_ref(&self.agent), name, call)
            .await?
            .decode()
    }

    async fn get<T>(
        &self,
        call: agent::Call,
        pick: impl FnOnce(agent::Response) -> Option<T>,
    ) -> Result<T, OperatorError> {
        let response = self.call(&call).await?;
        response
            .and_then(pick)
            .ok_or_else(|| OperatorError::BadAnswer {
                server: self.agent.to_string(),
                call: call.r#type().as_str_name(),
                why: "it does not hold what was asked for".to_owned(),
            })
    }

    /// Whether the agent calls itself healthy.
    pub async fn get_health(&self) -> Result<bool, OperatorError> {
        let pick = |response: agent::Response| Some(response.get_health?.healthy);
        self.get(agent_call(agent::call::Type::GetHealth), pick)
            .await
    }

    /// The Mesos version that the agent runs.
    pub async fn get_version(&self) -> Result<crate::v1::VersionInfo, OperatorError> {
        let pick = |response: agent::Response| Some(response.get_version?.version_info);
        self.get(agent_call(agent::call::Type::GetVersion), pick)
            .await
    }

    /// The agent itself. Since Mesos 1.3.
    pub async fn get_agent(&self) -> Result<agent::response::GetAgent, OperatorError> {
        self.get(agent_call(agent::call::Type::GetAgent), |response| {
            response.get_agent
        })
        .await
    }

    /// Tasks, executors and frameworks at once.
    pub async fn get_state(&self) -> Result<agent::response::GetState, OperatorError> {
        self.get(agent_call(agent::call::Type::GetState), |response| {
            response.get_state
        })
        .await
    }

    /// The containers of executors; with `nested` those within them, too.
    pub async fn get_containers(
        &self,
        nested: bool,
    ) -> Result<agent::response::GetContainers, OperatorError> {
        let get_containers = agent::call::GetContainers {
            show_nested: Some(nested),
            show_standalone: Some(false),
        };
        let call = agent::Call {
            get_containers: Some(get_containers),
            ..agent_call(agent::call::Type::GetContainers)
        };
        self.get(call, |response| response.get_containers).await
    }

    /// The executors, ended ones included.
    pub async fn get_executors(
        &self,
    ) -> Result<agent::response::GetExecutors, OperatorError> {
        let call = agent_call(agent::call::Type::GetExecutors);
        self.get(call, |response| response.get_executors).await
    }

    /// The tasks, by how far they got.
    pub async fn get_tasks(&self) -> Result<agent::response::GetTasks, OperatorError> {
        self.get(agent_call(agent::call::Type::GetTasks), |response| {
            response.get_tasks
        })
        .await
    }
}

fn agent_call(kind: agent::call::Type) -> agent::Call {
    agent::Call {
        r#type: Some(kind.into()),
        ..Default::default()
    }
}

/// A body, and who sent it in answer to what.
struct Answer {
    server: Endpoint,
    call: &'static str,
    body: bytes::Bytes,
}

impl Answer {
    fn decode<T: Message + Default>(self) -> Result<Option<T>, OperatorError> {
        if self.body.is_empty() {
            return Ok(None);
        }
        T::decode(self.body)
            .map(Some)
            .map_err(|error| OperatorError::BadAnswer {
                server: self.server.to_string(),
                call: self.call,
                why: error.to_string(),
            })
    }
}

/// Asks the servers in turn until one of them, or the one that it redirects to,
/// answers. A 503 (no leader yet, still recovering) makes us ask the next one.
async fn post(
    http: &HttpClient,
    servers: &[Endpoint],
    call: &'static str,
    message: &impl Message,
) -> Result<Answer, OperatorError> {
    let mut reasons = Vec::new();
    for listed in servers {
        let mut server = listed.clone();
        let mut redirects = 0;
        let reason = loop {
            let response =
                match http.post(&server.url(OPERATOR_PATH), message).send().await {
                    Ok(response) => response,
                    Err(error) => break explain(&error),
                };
            match response.status().as_u16() {
                200..=299 => match response.bytes().await {
                    Ok(body) => return Ok(Answer { server, call, body }),
                    Err(error) => break explain(&error),
                },
                307 if redirects < MAX_REDIRECTS => {
                    let location =
                        header(&response, LOCATION.as_str()).unwrap_or_default();
                    match server.redirected(&location) {
                        Ok(leader) => server = leader,
                        Err(error) => break error.to_string(),
                    }
                    redirects += 1;
                }
                307 => break format!("redirected more than {MAX_REDIRECTS} times"),
                503 => break error_body(response).await,
                status => {
                    let (server, body) = (server.to_string(), error_body(response).await);
                    return Err(OperatorError::Refused {
                        server,
                        call,
                        status,
                        body,
                    });
                }
            }
        };
        reasons.push(format!("{server}: {reason}"));
    }
    Err(OperatorError::Unreachable {
        call,
        reasons: reasons.join("; "),
    })
}
