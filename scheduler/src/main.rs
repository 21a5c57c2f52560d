//! `etcd-scheduler`: a Mesos framework that runs one etcd cluster.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use etcd_scheduler::command_line::{CommandLine, PlanUpdate, Task};
use etcd_scheduler::start::{EXIT_OPTIONS, EXIT_SYSTEM, StartError};
use etcd_scheduler::wanted::{self, Started};
use etcd_scheduler::{failpoint, logging, plan_update, start};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    if command_line.list_failpoints {
        let names: Vec<String> = failpoint::names().collect();
        // Whoever reads only the first lines closes the pipe early.
        let _ = writeln!(std::io::stdout(), "{}", names.join("\n"));
        return ExitCode::SUCCESS;
    }
    if let Some(Task::PlanUpdate(arguments)) = &command_line.task {
        return plan_update(&command_line, arguments);
    }
    let loaded = match command_line.load() {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_OPTIONS);
        }
    };
    if command_line.print_config {
        print!("{}", loaded.print_config());
        return ExitCode::SUCCESS;
    }
    let options = &loaded.options;
    if let Err(error) =
        logging::start(options.service.log_level, options.scheduler.log_format)
    {
        eprintln!("{error}");
        return ExitCode::from(EXIT_SYSTEM);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) =
        failpoint::switch_on(std::env::var(failpoint::VARIABLE).ok().as_deref())
    {
        eprintln!("{error}");
        return ExitCode::from(EXIT_OPTIONS);
    }
    // One TLS provider for the whole process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let app = std::env::var(wanted::MARATHON_APP_VARIABLE).ok();
    match run(Started::with(&loaded, app.filter(|app| !app.is_empty()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// What other options would change, on the output; what is against it, on the error
/// output.
fn plan_update(command_line: &CommandLine, arguments: &PlanUpdate) -> ExitCode {
    match what_would_change(command_line, arguments) {
        Ok(text) => {
            // Whoever reads only the first lines closes the pipe early.
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_OPTIONS)
        }
    }
}

fn what_would_change(
    command_line: &CommandLine,
    arguments: &PlanUpdate,
) -> Result<String, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let Some(url) = &arguments.url else {
        let loaded = command_line.load()?;
        return Ok(runtime.block_on(plan_update::from_store(&loaded))?);
    };
    let Some(options) = &command_line.options else {
        return Err("with --url, --options must name the file to send".into());
    };
    let token = arguments.api_token_file.as_ref();
    let token = token.map(std::fs::read_to_string).transpose()?;
    // One TLS provider for the whole process; a second call would only say so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let token = token.as_deref().map(str::trim);
    Ok(runtime.block_on(plan_update::from_scheduler(url, token, options))?)
}

fn run(started: Started) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| StartError::Listen {
            address: started.options.scheduler.listen,
            source,
        })?;
    runtime.block_on(async {
        let (stop, shutdown) = watch::channel(false);
        tokio::spawn(async move {
            if let (Ok(mut terminate), Ok(mut interrupt)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("asked to stop; members go on running");
                stop.send_replace(true);
            }
        });
        start::run(started, shutdown).await
    })
}

/// An error and all that is below it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
