//! Would etcd take these options? Found out beside the running member.
//!
//! The wanted etcd starts with the wanted options on empty data in a directory of its
//! own, as a cluster of one on ports of the loopback that the system picks. It is ended
//! as soon as it serves. Should the container's memory run short meanwhile, it is this
//! etcd that the kernel ends, and not the member's.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_launch::{
    ClusterStart, ClusterToken, Founder, LaunchSpec, TrialProgram, TrialRecipe,
    TrialRequest, TrialVerdict,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::etcd_arguments::etcd_arguments;
use crate::etcd_process;
use crate::log_tail::LogTail;
use crate::program_check;

/// Where trials are made, below the sandbox. There is one at a time.
const TRIAL_DIRECTORY: &str = "trial";

/// etcd says so, in its log, once it has taken all of its options.
const SERVES: &str = "serving client traffic";

/// An etcd that has not ended over its options by then has taken them: that it does not
/// serve yet may be a slow disk.
const REFUSES_WITHIN: Duration = Duration::from_secs(20);

/// Getting another etcd, some 25 MB.
const FETCHED_WITHIN: Duration = Duration::from_secs(120);

/// The kernel's highest readiness to end a process when memory runs short.
const ENDED_FIRST: &str = "1000";

/// Makes the trial and clears it away.
///
/// Must be awaited on the main thread, see [`etcd_process`].
pub async fn try_options(
    request: &TrialRequest,
    spec: &LaunchSpec,
    sandbox: &Path,
) -> TrialVerdict {
    let directory = sandbox.join(TRIAL_DIRECTORY);
    // One that an executor before us could not clear away.
    let _ = std::fs::remove_dir_all(&directory);
    let verdict = match std::fs::create_dir(&directory) {
        Ok(()) => try_in(&directory, &request.recipe, spec, sandbox).await,
        Err(error) => Err(format!("{}: {error}", directory.display())),
    };
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        tracing::warn!(%error, "what was tried cannot be cleared away");
    }
    verdict.unwrap_or_else(|why| TrialVerdict::NotTried { why })
}

async fn try_in(
    directory: &Path,
    recipe: &TrialRecipe,
    spec: &LaunchSpec,
    sandbox: &Path,
) -> Result<TrialVerdict, String> {
    let mut spec = trial_spec(recipe, spec);
    let programs = match &recipe.program {
        Some(program) => {
            let fetched = tokio::time::timeout(FETCHED_WITHIN, fetch(program, directory));
            let late = |_| format!("it was not here within {FETCHED_WITHIN:?}");
            if let Err(why) = fetched.await.map_err(late).and_then(|fetched| fetched) {
                let why = format!("cannot get {}: {why}", program.uri);
                return Ok(TrialVerdict::NotHad { why });
            }
            spec.etcd.directory = program.archived_in.clone().unwrap_or(".".to_owned());
            spec.etcd.checksums.clear();
            directory
        }
        None => sandbox,
    };
    let checked = program_check::check_programs(&spec, programs).await;
    let version = match checked {
        Ok(version) => version,
        Err(refusal) => return Ok(refused(refusal.to_string())),
    };
    if let Err(refusal) = program_check::check_options(&spec, version) {
        return Ok(refused(refusal.to_string()));
    }
    let program = programs.join(&spec.etcd.directory).join("etcd");
    let arguments = etcd_arguments(&spec, version, "data");
    tracing::info!(command = %arguments.join(" "), "trying options");
    let child = etcd_process::command(&program, &arguments, directory).spawn();
    let child = child.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(watch(child).await)
}

fn refused(why: String) -> TrialVerdict {
    TrialVerdict::Refused { why }
}

/// The member's spec with what is tried, as a cluster of its own that nobody can reach.
fn trial_spec(recipe: &TrialRecipe, spec: &LaunchSpec) -> LaunchSpec {
    let host = "127.0.0.1".to_owned();
    let mut spec = LaunchSpec {
        start: ClusterStart::New,
        tuning: recipe.tuning.clone(),
        peers: vec![Founder {
            name: spec.pod.task_name(),
            peer_url: format!("{}://{host}:0", spec.scheme.as_str()),
        }],
        advertise_host: host,
        listen_host: None,
        client_port: 0,
        peer_port: 0,
        ..spec.clone()
    };
    spec.identity.token = ClusterToken("trial".to_owned());
    spec
}

/// Waits until etcd serves or ends, and ends it.
async fn watch(mut child: Child) -> TrialVerdict {
    if let Some(pid) = child.id() {
        // Always allowed towards more; without it the trial is as likely to be ended.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), ENDED_FIRST);
    }
    let mut tail = LogTail::default();
    let serves = match child.stderr.take() {
        Some(log) => tokio::time::timeout(REFUSES_WITHIN, serves(log, &mut tail)).await,
        None => Ok(false),
    };
    let verdict = match serves {
        Ok(true) | Err(_) => TrialVerdict::Taken,
        Ok(false) => {
            let exit = match child.wait().await {
                Ok(status) => etcd_process::describe(status),
                Err(error) => error.to_string(),
            };
            let lines = tail.into_lines();
            let last = lines.last().map_or("", String::as_str);
            refused(format!("etcd {exit}: {last}"))
        }
    };
    // Had it ended already, that is as good.
    let _ = child.kill().await;
    verdict
}

/// Whether etcd came to serve before its log ended.
async fn serves(log: impl AsyncRead + Unpin, tail: &mut LogTail) -> bool {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains(SERVES) {
            return true;
        }
        tail.feed(line.as_bytes());
        tail.feed(b"\n");
    }
    false
}

/// Gets the program into the directory and makes sure that it is the right one.
async fn fetch(program: &TrialProgram, directory: &Path) -> Result<(), String> {
    let fetched = directory.join(match program.archived_in {
        Some(_) => "archive",
        None => "etcd",
    });
    download(&program.uri, &fetched)
        .await
        .map_err(|error| error.to_string())?;
    std::fs::set_permissions(&fetched, Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    program_check::check_program(&fetched, Some(&program.sha256))
        .map_err(|refusal| refusal.to_string())?;
    if program.archived_in.is_some() {
        unpack(&fetched, directory).await?;
    }
    Ok(())
}

async fn download(uri: &str, into: &Path) -> Result<(), DownloadError> {
    let mut response = reqwest::get(uri).await?.error_for_status()?;
    let mut file = tokio::fs::File::create(into).await?;
    while let Some(piece) = response.chunk().await? {
        file.write_all(&piece).await?;
    }
    Ok(file.flush().await?)
}

/// Something could not be had over HTTP.
#[derive(Debug, thiserror::Error)]
enum DownloadError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// As Mesos' fetcher does, with the agent's own program.
async fn unpack(archive: &Path, directory: &Path) -> Result<(), String> {
    let status = Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(directory)
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("tar: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("tar cannot unpack it: {status}"))
    }
}

/// What an executor remembers of trials, so that a request that is repeated since its
/// answer was lost is not made again.
#[derive(Debug)]
pub struct Trials {
    sandbox: PathBuf,
    last: Option<(TrialRequest, TrialVerdict)>,
}

impl Trials {
    /// None made yet.
    pub fn new(sandbox: PathBuf) -> Self {
        Trials {
            sandbox,
            last: None,
        }
    }

    /// What comes of a request, if it can be understood.
    pub async fn answer(
        &mut self,
        request: TrialRequest,
        spec: &LaunchSpec,
    ) -> TrialVerdict {
        match &self.last {
            Some((last, verdict)) if last.id == request.id => verdict.clone(),
            _ => {
                let verdict = try_options(&request, spec, &self.sandbox).await;
                tracing::info!(id = request.id, ?verdict, "options were tried");
                // It may be otherwise the next time.
                let is_final =
                    matches!(verdict, TrialVerdict::Taken | TrialVerdict::Refused { .. });
                if is_final {
                    self.last = Some((request, verdict.clone()));
                }
                verdict
            }
        }
    }
}
