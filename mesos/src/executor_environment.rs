//! What an agent tells the executors that it starts, through the environment.

use std::time::Duration;

use thiserror::Error;

use crate::endpoint::{Endpoint, Scheme};
use crate::http::Credential;
use crate::v1::{AgentId, ExecutorId, FrameworkId};

/// A variable of the executor's environment is missing or not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvironmentError {
    /// The agent always sets it: this process was not started by an agent.
    #[error("{name} is not set: this program is to be started by a Mesos agent")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// Its value is not of the expected form.
    #[error("{name}=\"{value}\" is not {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
}

/// An executor's surroundings. Mesos 1.11: src/slave/slave.cpp,
/// `executorEnvironment`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorEnvironment {
    /// The agent's address.
    pub agent: Endpoint,
    /// The executor API's path on the agent, `/slave(1)/api/v1/executor`.
    pub path: String,
    /// The framework that we belong to.
    pub framework_id: FrameworkId,
    /// Who we are.
    pub executor_id: ExecutorId,
    /// The agent that started us.
    pub agent_id: Option<AgentId>,
    /// The working directory, as this process sees it.
    pub sandbox: Option<String>,
    /// Whether the framework checkpoints. Without it the agent kills its
    /// executors when it restarts.
    pub checkpoint: bool,
    /// How long a restarting agent may be away before it gives its executors up.
    /// Zero without checkpointing.
    pub recovery_timeout: Duration,
    /// The longest delay between two attempts to subscribe, if the agent asks
    /// for one.
    pub subscription_backoff_max: Option<Duration>,
    /// How long a SHUTDOWN may take before the agent destroys the container.
    pub shutdown_grace_period: Duration,
    /// Proves to the agent who we are, where the agent demands it.
    pub credential: Option<Credential>,
}

// Mesos: DEFAULT_EXECUTOR_SHUTDOWN_GRACE_PERIOD and RECOVERY_TIMEOUT, for agents
// that leave them out.
const DEFAULT_SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(5);
const DEFAULT_RECOVERY_TIMEOUT: Duration = Duration::from_secs(15 * 60);

impl ExecutorEnvironment {
    /// Reads the variables through `get`, usually `|name| std::env::var(name).ok()`.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let required = |name| get(name).ok_or(EnvironmentError::Missing { name });
        let duration = |name| {
            get(name).map(|value| {
                parse_mesos_duration(&value).ok_or(EnvironmentError::Invalid {
                    name,
                    value,
                    expected: "a duration like 15mins or 2.5secs",
                })
            })
        };
        let encrypted = get("LIBPROCESS_SSL_ENABLED")
            .is_some_and(|value| matches!(value.as_str(), "1" | "true"));
        let scheme = if encrypted {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let (process, agent) = match get("MESOS_SLAVE_PID") {
            Some(pid) => split_pid(&pid, scheme).ok_or(EnvironmentError::Invalid {
                name: "MESOS_SLAVE_PID",
                value: pid,
                expected: "of the form slave(1)@10.0.0.1:5051",
            })?,
            None => {
                let name = "MESOS_AGENT_ENDPOINT";
                let value = required(name)?;
                let endpoint =
                    parse_endpoint(&value, scheme).ok_or(EnvironmentError::Invalid {
                        name,
                        value,
                        expected: "host:port",
                    })?;
                ("slave(1)".to_owned(), endpoint)
            }
        };
        let checkpoint = get("MESOS_CHECKPOINT").is_some_and(|value| value == "1");
        let recovery_timeout = match duration("MESOS_RECOVERY_TIMEOUT") {
            Some(timeout) if checkpoint => timeout?,
            None if checkpoint => DEFAULT_RECOVERY_TIMEOUT,
            _ => Duration::ZERO,
        };
        Ok(Self {
            agent,
            path: format!("/{process}/api/v1/executor"),
            framework_id: FrameworkId {
                value: required("MESOS_FRAMEWORK_ID")?,
            },
            executor_id: ExecutorId {
                value: required("MESOS_EXECUTOR_ID")?,
            },
            agent_id: get("MESOS_SLAVE_ID").map(|value| AgentId { value }),
            // MESOS_DIRECTORY is the path on the host, which differs inside a
            // container that has a file system of its own.
            sandbox: get("MESOS_SANDBOX").or_else(|| get("MESOS_DIRECTORY")),
            checkpoint,
            recovery_timeout,
            subscription_backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX")
                .transpose()?,
            shutdown_grace_period: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD")
                .transpose()?
                .unwrap_or(DEFAULT_SHUTDOWN_GRACE_PERIOD),
            credential: get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN")
                .map(|token| Credential::bearer(&token)),
        })
    }
}

fn parse_endpoint(text: &str, scheme: Scheme) -> Option<Endpoint> {
    let endpoint: Endpoint = text.parse().ok()?;
    Some(Endpoint::new(scheme, endpoint.host(), endpoint.port()))
}

/// Splits a libprocess address, `slave(1)@10.0.0.1:5051`.
fn split_pid(pid: &str, scheme: Scheme) -> Option<(String, Endpoint)> {
    let (process, address) = pid.split_once('@')?;
    if process.is_empty() || process.contains('/') {
        return None;
    }
    Some((process.to_owned(), parse_endpoint(address, scheme)?))
}

/// Reads a duration as Mesos writes it: a number and a unit without a space
/// between (3rdparty/stout/include/stout/duration.hpp).
pub fn parse_mesos_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3_600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |given: &str, expected: Option<Duration>| {
            assert_eq!(parse_mesos_duration(given), expected, "{given}");
        };
        check("15mins", Some(Duration::from_secs(900)));
        check("2secs", Some(Duration::from_secs(2)));
        check("2.5secs", Some(Duration::from_millis(2_500)));
        check("500ms", Some(Duration::from_millis(500)));
        check("1hrs", Some(Duration::from_secs(3_600)));
        check("1.5days", Some(Duration::from_secs(129_600)));
        check("1weeks", Some(Duration::from_secs(604_800)));
        check("0ns", Some(Duration::ZERO));
        check("15", None);
        check("secs", None);
        check("5 secs", None);
        check("5s", None);
        check("-5secs", None);
        check("1.2.3secs", None);
        check("", None);
    }

    fn read(variables: &[(&str, &str)]) -> Result<ExecutorEnvironment, EnvironmentError> {
        ExecutorEnvironment::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// What a Mesos 1.11 agent gave a checkpointed executor.
    const USUAL: [(&str, &str); 12] = [
        ("MESOS_SLAVE_PID", "slave(1)@127.0.0.2:5051"),
        ("MESOS_AGENT_ENDPOINT", "127.0.0.2:5051"),
        ("MESOS_SLAVE_ID", "S0"),
        ("MESOS_FRAMEWORK_ID", "F-0000"),
        ("MESOS_EXECUTOR_ID", "etcd-0"),
        ("MESOS_DIRECTORY", "/var/lib/mesos/run"),
        ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "15mins"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0"),
    ];

    #[test]
    fn the_usual_environment() {
        let environment = read(&USUAL).unwrap();
        assert_eq!(
            environment.agent.url(&environment.path),
            "http://127.0.0.2:5051/slave(1)/api/v1/executor"
        );
        assert_eq!(environment.sandbox.as_deref(), Some("/mnt/mesos/sandbox"));
        assert_eq!(environment.recovery_timeout, Duration::from_secs(900));
        assert_eq!(
            environment.subscription_backoff_max,
            Some(Duration::from_secs(2))
        );
        assert_eq!(environment.shutdown_grace_period, Duration::from_secs(5));
        assert_eq!(environment.credential, None);
        assert!(environment.checkpoint);
    }

    #[test]
    fn unusual_environments() {
        let check = |change: (&str, Option<&str>), expected: &str| {
            let mut variables: Vec<(&str, &str)> = USUAL
                .into_iter()
                .filter(|(name, _)| *name != change.0)
                .collect();
            if let Some(value) = change.1 {
                variables.push((change.0, value));
            }
            let shown = match read(&variables) {
                Ok(environment) => {
                    format!(
                        "{} {:?}",
                        environment.agent.url(&environment.path),
                        environment.recovery_timeout
                    )
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected);
        };
        let url = "http://127.0.0.2:5051/slave(1)/api/v1/executor";
        check(("MESOS_SLAVE_PID", None), &format!("{url} 900s"));
        check(("MESOS_CHECKPOINT", Some("0")), &format!("{url} 0ns"));
        check(("MESOS_RECOVERY_TIMEOUT", None), &format!("{url} 900s"));
        check(
            ("LIBPROCESS_SSL_ENABLED", Some("1")),
            "https://127.0.0.2:5051/slave(1)/api/v1/executor 900s",
        );
        check(
            ("MESOS_EXECUTOR_ID", None),
            "MESOS_EXECUTOR_ID is not set: this program is to be started by a Mesos agent",
        );
        check(
            ("MESOS_RECOVERY_TIMEOUT", Some("soon")),
            "MESOS_RECOVERY_TIMEOUT=\"soon\" is not a duration like 15mins or 2.5secs",
        );
        check(
            ("MESOS_SLAVE_PID", Some("127.0.0.2:5051")),
            "MESOS_SLAVE_PID=\"127.0.0.2:5051\" is not of the form slave(1)@10.0.0.1:5051",
        );
    }
}
