//! `dcos-etcd`: the `dcos etcd` subcommand, usable by itself.
//!
//! From words typed to an [`action`], to a [`request`] of the scheduler's API, to
//! text: trees, tables, sentences and exit codes as operators of the DC/OS SDK's
//! services know them.

mod action;
mod address;
mod arguments;
mod called_as;
mod client;
mod event_stream;
mod events;
mod failure;
mod health;
mod json_layout;
mod output;
mod overview;
mod refusal;
mod request;
#[cfg(test)]
mod samples;
mod snapshot;
mod table;
mod tree;
mod update;
mod utc;
mod version;
mod watch;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use etcd_api::configurations::{ConfigurationDiff, ConfigurationOptions};

use crate::action::{Action, Show};
use crate::arguments::CommandLine;
use crate::called_as::Call;
use crate::client::{Answer, Client};
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::request::Request;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // One TLS provider for the process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let call = Call::new(std::env::args_os());
    let output =
        Output::standard(variable("NO_COLOR").as_deref(), variable("TERM").as_deref());
    if let Some(description) = call.self_description() {
        return ended(&call, false, output.print(description));
    }
    let command_line = match understand(&call) {
        Ok(command_line) => command_line,
        Err(error) => return not_understood(&call, &error, &output),
    };
    let json = command_line.common.json;
    let done = carry_out(command_line, &call, &output).await;
    ended(&call, json, done)
}

/// A variable of the environment; one that is empty counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn understand(call: &Call) -> Result<CommandLine, clap::Error> {
    let matches = CommandLine::command()
        .no_binary_name(true)
        .bin_name(call.typed())
        .try_get_matches_from(&call.arguments)?;
    CommandLine::from_arg_matches(&matches)
}

/// Help that was asked for is an answer; everything else is an error.
fn not_understood(call: &Call, error: &clap::Error, output: &Output) -> ExitCode {
    let text = error.to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return ended(call, false, output.print(&text));
    }
    let json = call.arguments.iter().any(|argument| argument == "--json");
    let text = text.trim_end().trim_start_matches("error: ").to_owned();
    ended(call, json, Err(Failure::Usage(text)))
}

/// Says how it ended. The SDK's CLI knows one exit code for all errors, and what
/// calls it through `dcos` may know no other.
fn ended(call: &Call, json: bool, done: Result<(), Failure>) -> ExitCode {
    let Err(failure) = done else {
        return ExitCode::SUCCESS;
    };
    if !failure.is_silent() {
        if json {
            eprintln!("{}", failure.to_json());
        } else {
            eprintln!("dcos-etcd: error: {failure}");
        }
    }
    match failure.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if call.module.is_some() => exit::REFUSED.into(),
        code => code.into(),
    }
}

async fn carry_out(
    command_line: CommandLine,
    call: &Call,
    output: &Output,
) -> Result<(), Failure> {
    let common = command_line.common;
    let json = common.json;
    let client = || {
        let address = address::find(&common, call, &variable)?;
        Client::new(address, common.timeout, common.verbose)
    };
    match action::of(command_line.command) {
        Action::Ask(request, show) => {
            let answer = client()?.ask(&request).await?;
            output.print(&shown(&answer, &show, output, json)?)
        }
        Action::Health => {
            let report = health::judge(&client()?.read(&status_request()).await?);
            let text = if json {
                pretty(&report)?
            } else {
                health::drawn(&report, output.paint)
            };
            output.print(&text)?;
            if report.healthy {
                Ok(())
            } else {
                Err(Failure::NotHealthy)
            }
        }
        Action::Status => {
            let answer = client()?.ask(&status_request()).await?;
            if json {
                return output.print(&laid_out(&answer));
            }
            output.print(&overview::status(&answer.parse()?, output.paint))
        }
        Action::Members => {
            let status = client()?.read(&status_request()).await?;
            let text = if json {
                pretty(&overview::member_list(&status))?
            } else {
                overview::members(&status, output.paint)
            };
            output.print(&text)
        }
        Action::Update(arguments) => {
            let request = update::request(&arguments)?;
            let answer = client()?.ask(&request).await?;
            if json {
                return output.print(&laid_out(&answer));
            }
            let told = update::told(&answer.parse()?, &call.typed(), output.paint);
            output.print(&told)
        }
        Action::Describe { all } => {
            let options: ConfigurationOptions =
                client()?.read(&options_request()).await?;
            let shown = options.given.filter(|_| !all).unwrap_or(options.options);
            output.print(&pretty(&shown)?)
        }
        Action::Events(arguments) if arguments.follow => {
            events::follow(&client()?, &arguments, output, json).await
        }
        Action::Events(arguments) => {
            events::list(&client()?, &arguments, output, json).await
        }
        Action::SaveSnapshot(arguments) => {
            snapshot::save(client, &arguments, output, json).await
        }
        Action::Watch(arguments) => {
            watch::plan(&client()?, &arguments, output, json).await
        }
        Action::Version => version::show(client(), output, json).await,
    }
}

/// The page that most of our own commands are made from.
pub(crate) fn status_request() -> Request {
    Request::get(&["v1", "status"])
}

fn options_request() -> Request {
    Request::get(&["v1", "configurations", "target", "options"])
}

pub(crate) fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    // Our own values have text as keys, and nothing else can fail.
    serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))
}

/// JSON with two spaces; anything else as it came.
fn laid_out(answer: &Answer) -> String {
    json_layout::indented(&answer.body).unwrap_or_else(|| answer.body.clone())
}

fn shown(
    answer: &Answer,
    show: &Show,
    output: &Output,
    json: bool,
) -> Result<String, Failure> {
    let paint = output.paint;
    Ok(match show {
        _ if json => laid_out(answer),
        Show::Raw => laid_out(answer),
        Show::Plan(name) => tree::plan(name, &answer.parse()?, paint),
        Show::Pods => tree::pods(&answer.parse()?, paint),
        Show::Pod => tree::pod(&answer.parse()?, paint),
        Show::Diff => {
            let diff: ConfigurationDiff = answer.parse()?;
            if diff.changes.is_empty() {
                "The two do not differ.".to_owned()
            } else {
                update::changes(&diff.changes, paint)
            }
        }
        Show::Sentence { subject, done } => {
            let told: etcd_api::Message = answer.parse()?;
            if told.message.is_empty() {
                return Err(Failure::NotUnderstood {
                    url: answer.url.clone(),
                    why: format!("{subject} could not be {done}"),
                });
            }
            format!("{subject} has been {done}.")
        }
    })
}
