//! `plan ...`: thin calls of the scheduler's plan endpoints, with the sentences of
//! the SDK's command line.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use etcd_api::{Message, PlanInfo};

use crate::client::Scheduler;
use crate::plan_tree;

/// What can be done with plans.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// The names of the plans.
    List,
    /// A plan with its phases and steps, and what they wait for.
    #[command(visible_alias = "show")]
    Status {
        /// For example deploy.
        plan: String,
        /// As JSON, as the scheduler answers it.
        #[arg(long)]
        json: bool,
    },
    /// Begin a plan; one that is complete begins anew.
    Start {
        /// For example deploy.
        plan: String,
        /// A parameter for the plan; may be given several times.
        #[arg(short = 'p', long = "params", value_name = "NAME=VALUE")]
        parameters: Vec<String>,
    },
    /// Begin nothing new in a plan, and begin it anew when it is started.
    Stop {
        /// For example deploy.
        plan: String,
    },
    /// Begin nothing new in a plan, a phase or a step, until it is resumed.
    #[command(visible_alias = "interrupt")]
    Pause(Part),
    /// Go on with what was paused, or with the next stage of a canary.
    #[command(visible_alias = "continue")]
    Resume(Part),
    /// Bring up the pods of a plan, a phase or a step anew: running members are
    /// restarted one at a time, and never at the cost of quorum.
    #[command(visible_alias = "restart")]
    ForceRestart(Part),
    /// Wait no more for a plan, a phase or a step. It changes what plans wait for,
    /// and nothing about members.
    #[command(visible_alias = "force")]
    ForceComplete(Part),
}

/// A plan, a phase or a step, each by its name or its id.
#[derive(Debug, Args)]
pub(crate) struct Part {
    /// For example deploy.
    plan: String,
    /// For example agents.
    phase: Option<String>,
    /// For example etcd-0:[node].
    step: Option<String>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        match (&self.phase, &self.step) {
            (None, _) => write!(f, "\"{plan}\" plan"),
            (Some(phase), None) => write!(f, "\"{plan}\" plan: phase \"{phase}\""),
            (Some(phase), Some(step)) => {
                write!(f, "\"{plan}\" plan: step \"{step}\" in phase \"{phase}\"")
            }
        }
    }
}

/// Carries a command out; what is to be printed.
pub(crate) async fn run(
    scheduler: &Scheduler,
    command: &PlanCommand,
) -> anyhow::Result<String> {
    match command {
        PlanCommand::List => indented(&scheduler.get(&["plans"]).await?),
        PlanCommand::Status { plan, json } => {
            let text = scheduler.get(&["plans", plan]).await?;
            if *json {
                return indented(&text);
            }
            let info: PlanInfo =
                serde_json::from_str(&text).context("that is no plan")?;
            Ok(plan_tree::draw(plan, &info))
        }
        PlanCommand::Start { plan, parameters } => {
            let body = serde_json::to_string(&named(parameters)?)?;
            let path = ["plans", plan.as_str(), "start"];
            indented(&scheduler.post(&path, &[], Some(body)).await?)
        }
        PlanCommand::Stop { plan } => {
            let path = ["plans", plan.as_str(), "stop"];
            indented(&scheduler.post(&path, &[], None).await?)
        }
        PlanCommand::Pause(part) => tell(scheduler, "interrupt", part, "paused").await,
        PlanCommand::Resume(part) => tell(scheduler, "continue", part, "resumed").await,
        PlanCommand::ForceRestart(part) => {
            tell(scheduler, "restart", part, "restarted").await
        }
        PlanCommand::ForceComplete(part) => {
            tell(scheduler, "forceComplete", part, "forced to complete").await
        }
    }
}

async fn tell(
    scheduler: &Scheduler,
    word: &str,
    part: &Part,
    done: &str,
) -> anyhow::Result<String> {
    let phase = part.phase.iter().map(|phase| ("phase", phase.as_str()));
    let step = part.step.iter().map(|step| ("step", step.as_str()));
    let query: Vec<(&str, &str)> = phase.chain(step).collect();
    let path = ["plans", part.plan.as_str(), word];
    let text = scheduler.post(&path, &query, None).await?;
    // The SDK's command line asks for more than the status, too.
    match serde_json::from_str::<Message>(&text) {
        Ok(answer) if !answer.message.is_empty() => {
            Ok(format!("{part} has been {done}."))
        }
        _ => bail!("{part} could not be {done}."),
    }
}

/// Parameters by name.
fn named(parameters: &[String]) -> anyhow::Result<BTreeMap<&str, &str>> {
    parameters
        .iter()
        .map(|parameter| {
            parameter
                .split_once('=')
                .filter(|(name, value)| !name.is_empty() && !value.is_empty())
                .context(
                    "Must have one variable name and one variable value per definition",
                )
        })
        .collect()
}

/// JSON with two spaces, whoever wrote it.
fn indented(text: &str) -> anyhow::Result<String> {
    let value: serde_json::Value =
        serde_json::from_str(text).context("the scheduler did not answer with json")?;
    Ok(serde_json::to_string_pretty(&value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_sentences_begin() {
        #[track_caller]
        fn check(phase: Option<&str>, step: Option<&str>, expected: &str) {
            let part = Part {
                plan: "deploy".into(),
                phase: phase.map(Into::into),
                step: step.map(Into::into),
            };
            assert_eq!(part.to_string(), expected);
        }
        check(None, None, r#""deploy" plan"#);
        check(Some("agents"), None, r#""deploy" plan: phase "agents""#);
        check(
            Some("agents"),
            Some("etcd-0:[node]"),
            r#""deploy" plan: step "etcd-0:[node]" in phase "agents""#,
        );
    }

    #[test]
    fn parameters() {
        let given = ["A=1".to_owned(), "B=x=y".to_owned()];
        let expected = BTreeMap::from([("A", "1"), ("B", "x=y")]);
        assert_eq!(named(&given).unwrap(), expected);
        for bad in ["A", "=1", "A="] {
            let error = named(&[bad.to_owned()]).unwrap_err();
            assert!(error.to_string().starts_with("Must have one"), "{bad}");
        }
    }
}
