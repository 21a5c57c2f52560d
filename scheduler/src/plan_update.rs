//! `etcd-scheduler plan-update`: what other options would change, before anybody is
//! asked to change anything.
//!
//! A start brings programs along with its options, so without a scheduler that runs both
//! are compared with the stored target. One that runs keeps the programs that it serves.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use etcd_api::configurations::{ChangeRefused, TargetChange};
use etcd_config::ChangeClass;
use etcd_config::load::Loaded;
use etcd_planner::programs::Programs;

use crate::artifacts::{ArtifactError, Artifacts};
use crate::etcd_choice::Served;
use crate::start::{self, StartError};
use crate::store::{STORE_FILE, Store, StoreError};
use crate::wanted::{self, Foreseen, NotProposed, Started};

/// A scheduler answers within milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The order of restarts, where nobody can say how the members are.
const ORDER_IN_WORDS: &str = "\
Members that are not well are restarted first, then followers, the leader last; the next \
one when the one before is a healthy voter again.";

/// What a request cannot change.
const KEEPS_PROGRAMS: &str = "\
The scheduler that runs keeps the etcd and the executor that it serves; what a start would \
bring is said without --url, while it does not run.";

/// So much of a checksum tells two programs apart.
const CHECKSUM_DIGITS: usize = 12;

/// Why nothing can be said, or what is said against the change.
#[derive(Debug, thiserror::Error)]
pub enum PlanUpdateError {
    /// There is nothing to compare with.
    #[error(
        "there is no store in {directory} to compare with; name it by scheduler.state_dir, \
         or a running scheduler by --url"
    )]
    NoStore {
        /// Where it was looked for.
        directory: String,
    },
    /// The store cannot be read.
    #[error("{0}; a scheduler that runs can be asked itself, by --url")]
    Store(#[from] StoreError),
    /// The options cannot be sent.
    #[error("cannot read the options {path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The scheduler was not reached, or its answer is none.
    #[error("{url} gives no answer that can be used: {why}")]
    NoAnswer {
        /// Whom was asked.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A start would not come up.
    #[error("a start with these options would end: {0}")]
    Start(#[from] StartError),
    /// The same.
    #[error("a start with these options would end: {0}")]
    Programs(#[from] ArtifactError),
    /// The change would be refused.
    #[error("the change would be refused:\n{0}")]
    Refused(NotProposed),
    /// So says the scheduler.
    #[error("the change would be refused:\n{0}")]
    RefusedThere(String),
}

/// Compares options, and the programs that a start with them would bring, with the store
/// of a scheduler that does not run. Fetches nothing.
///
/// # Errors
///
/// Why nothing can be said, and every reason against the change.
pub async fn from_store(loaded: &Loaded) -> Result<String, PlanUpdateError> {
    let options = &loaded.options;
    let directory = &options.scheduler.state_dir;
    // Opening a store makes one where there is none.
    if !directory.join(STORE_FILE).is_file() {
        let directory = directory.display().to_string();
        return Err(PlanUpdateError::NoStore { directory });
    }
    let store = Store::open(directory)?;
    let (executor, etcd) = start::sources(options)?;
    let programs = Artifacts::foresee(&executor, &etcd)?;
    let served = Served::foreseen(options, programs).await;
    let started = Started::with(loaded, None);
    match wanted::foresee(&store, &started, &served)? {
        Ok(foreseen) => Ok(told(&foreseen)),
        Err(why) => Err(PlanUpdateError::Refused(why)),
    }
}

fn told(foreseen: &Foreseen) -> String {
    let mut lines: Vec<String> =
        foreseen.changes.iter().map(ToString::to_string).collect();
    lines.extend(other_programs(&foreseen.present, &foreseen.wanted));
    if lines.is_empty() {
        lines.push("Nothing would change.".to_owned());
    }
    if !foreseen.members.is_empty() {
        let members = foreseen.members.iter().map(|(pod, runs)| match runs {
            true => pod.to_string(),
            false => format!("{pod} (has no task)"),
        });
        let members: Vec<String> = members.collect();
        lines.push(ORDER_IN_WORDS.to_owned());
        lines.push(format!("Members to be restarted: {}", members.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// Which programs are others.
fn other_programs(present: &Programs, wanted: &Programs) -> Vec<String> {
    let executor = (executor(present), executor(wanted));
    let etcd = (etcd(present), etcd(wanted));
    [("the executor", executor), ("etcd", etcd)]
        .into_iter()
        .filter(|(_, (from, to))| from != to)
        .map(|(what, (from, to))| {
            format!("{what}: {from} => {to} ({})", ChangeClass::RollingRestart)
        })
        .collect()
}

fn executor(programs: &Programs) -> String {
    match &programs.executor {
        Some(executor) => short(executor.sha256.as_str()),
        None => "one that is not on record".to_owned(),
    }
}

fn etcd(programs: &Programs) -> String {
    let sums = programs.checksums.iter();
    let mut parts: Vec<String> = sums
        .map(|(name, sum)| format!("{name} {}", short(sum.as_str())))
        .collect();
    if let Some(archive) = &programs.archive {
        parts.push(format!(
            "{}, {}",
            archive.uri,
            short(archive.sha256.as_str())
        ));
    }
    let version = match programs.version {
        Some(version) => version.to_string(),
        // Nothing is fetched to find out.
        None => "of unknown version".to_owned(),
    };
    format!("{version} ({})", parts.join(", "))
}

fn short(checksum: &str) -> String {
    let digits = checksum.get(..CHECKSUM_DIGITS).unwrap_or(checksum);
    format!("SHA-256 {digits}...")
}

/// Asks a scheduler that runs what a request with the options of a file would change.
///
/// # Errors
///
/// Why nothing can be said, and every reason against the change.
pub async fn from_scheduler(
    url: &str,
    token: Option<&str>,
    options: &Path,
) -> Result<String, PlanUpdateError> {
    let body = std::fs::read(options).map_err(|source| PlanUpdateError::Unreadable {
        path: options.display().to_string(),
        source,
    })?;
    let url = format!(
        "{}/v1/configurations/target?dry_run=true",
        url.trim_end_matches('/')
    );
    let no_answer = |why: String| PlanUpdateError::NoAnswer {
        url: url.clone(),
        why,
    };
    let failed = |error: reqwest::Error| no_answer(error.without_url().to_string());
    let client = reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .build()
        .map_err(failed)?;
    let mut request = client.put(&url).body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let answer = response.text().await.map_err(failed)?;
    if status.is_success() {
        let change: TargetChange = serde_json::from_str(&answer)
            .map_err(|error| no_answer(error.to_string()))?;
        return Ok(told_live(&change));
    }
    match serde_json::from_str::<ChangeRefused>(&answer) {
        Ok(refused) => Err(PlanUpdateError::RefusedThere(refused.message)),
        Err(_) => Err(no_answer(format!("{status}: {}", answer.trim()))),
    }
}

fn told_live(change: &TargetChange) -> String {
    let mut text = String::new();
    for change in &change.changes {
        let (option, from, to) = (&change.option, &change.from, &change.to);
        let _ = writeln!(text, "{option}: {from} => {to} ({})", change.meaning);
    }
    if change.changes.is_empty() {
        text.push_str("Nothing would change.\n");
    }
    if change.restarts_members {
        let order = change.order.join(", ");
        let _ = writeln!(text, "Members in the order of their restarts: {order}");
    }
    for warning in &change.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = writeln!(text, "{KEEPS_PROGRAMS}");
    text
}

#[cfg(test)]
mod tests;
