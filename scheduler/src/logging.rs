//! Log lines: to standard error, as text for people or JSON for machines.

use std::io::IsTerminal;

use etcd_config::{LogFormat, LogLevel};
use tracing_subscriber::EnvFilter;

/// Libraries whose every request would drown what we have to say. At `TRACE`
/// even they are heard.
const QUIET_LIBRARIES: [&str; 6] =
    ["hyper", "hyper_util", "reqwest", "h2", "tower", "rustls"];

/// Logging was started before, by somebody else.
#[derive(Debug, thiserror::Error)]
#[error("logging is already set up in this process")]
pub struct AlreadyLogging;

/// Starts logging for the whole process.
///
/// # Errors
///
/// When it was started before.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), AlreadyLogging> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| AlreadyLogging)
}

fn filter(level: LogLevel) -> EnvFilter {
    let word = level.tracing_filter();
    let mut directives = word.to_owned();
    if matches!(level, LogLevel::Info | LogLevel::Debug) {
        for library in QUIET_LIBRARIES {
            directives.push_str(&format!(",{library}=warn"));
        }
    }
    EnvFilter::new(directives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        #[track_caller]
        fn check(level: LogLevel, expected: &str) {
            let text = filter(level).to_string();
            assert!(text.contains(expected), "{level:?}: {text}");
        }
        check(LogLevel::Off, "off");
        check(LogLevel::Fatal, "error");
        check(LogLevel::Info, "hyper=warn");
        check(LogLevel::All, "trace");
    }
}
