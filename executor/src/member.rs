//! The member's whole life in this container: start, watch, start again, stop.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_admin::data_dir::{self, DataDir};
use etcd_admin::member::{CallLimits, MemberClient, MemberStatus, TlsFiles};
use etcd_admin::version::EtcdVersion;
use etcd_launch::{
    ClusterId, DATA_DIRECTORY, FORMAT, Guard, LaunchSpec, LogPosition, MemberId, Phase,
    Refusal, Scheme,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::aside_removal;
use crate::backoff;
use crate::data_gate::{self, Gate};
use crate::data_signs::{self, DataSign};
use crate::etcd_arguments::{CA_FILE, etcd_arguments};
use crate::etcd_process::{EtcdEnd, EtcdProcess};
use crate::program_check;
use crate::reporter::Reporter;
use crate::volume;

/// Between two looks at a starting etcd: for its log, and for an answer.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The same when it has been starting for longer than [`USUAL_START`]: it waits
/// for its peers then, which may take days.
const LOOK_AGAIN_LATER: Duration = Duration::from_secs(1);

/// etcd answers within a second where its peers are up.
const USUAL_START: Duration = Duration::from_secs(10);

/// Each question to a starting etcd.
const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(1),
    local: Duration::from_secs(2),
    quorum: Duration::from_secs(2),
    hash: Duration::from_secs(2),
};

/// Every identity in the way is set aside once; more rounds than there are
/// superseded identities would mean that moving does not help.
const GATE_ROUNDS: usize = 16;

/// Starts in a row that may end in words of etcd's about damaged data. Once may be
/// a disk that fails for a moment; then it is for an operator to decide.
const DAMAGED_STARTS: u32 = 3;

/// How the last report says that a stop came before etcd was there to stop.
const NOT_STARTED: &str = "etcd was not started";

/// Somebody wants the member stopped, and how long etcd may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopAsked {
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// Runs the member until it was stopped or refused; the last report says
/// which.
pub async fn run(
    spec: &LaunchSpec,
    sandbox: &Path,
    reporter: &impl Reporter,
    stop: watch::Receiver<Option<StopAsked>>,
) {
    reporter.report(Phase::Preparing);
    let mut member = Member {
        spec,
        sandbox,
        data: sandbox.join(DATA_DIRECTORY),
        reporter,
        stop,
        version: None,
        crashes: 0,
        damaged_starts: 0,
        reached: spec.history.reached,
    };
    let last = match member.live().await {
        Ok(exit) => Phase::Stopped { exit },
        Err(refusal) => Phase::Refused(refusal),
    };
    reporter.report(last);
}

struct Member<'a, R> {
    spec: &'a LaunchSpec,
    sandbox: &'a Path,
    data: PathBuf,
    reporter: &'a R,
    stop: watch::Receiver<Option<StopAsked>>,
    version: Option<EtcdVersion>,
    crashes: u32,
    /// Ends in a row at which etcd spoke of damaged data.
    damaged_starts: u32,
    /// How far the member is known to have come: by the scheduler, and by what
    /// we have seen on the volume ourselves.
    reached: Option<LogPosition>,
}

/// How one life of etcd came to its end.
enum LifeEnd {
    Crashed { end: EtcdEnd, served: Duration },
    Stopped { end: EtcdEnd },
}

impl<R: Reporter> Member<'_, R> {
    /// Lives until a stop was asked for; `Err` if etcd must not run.
    async fn live(&mut self) -> Result<String, Refusal> {
        if self.spec.paused {
            self.reporter.report(Phase::Paused);
            self.stop_asked().await;
            return Ok("etcd was paused".to_owned());
        }
        let sandbox = self.sandbox;
        let programs = program_check::check_programs(self.spec, sandbox);
        let Some(version) = self.unless_stopped(programs).await else {
            return Ok(NOT_STARTED.to_owned());
        };
        self.version = version?;
        program_check::check_options(self.spec, self.version)?;
        loop {
            let ports = program_check::wait_for_ports(self.spec);
            let Some(free) = self.unless_stopped(ports).await else {
                return Ok(NOT_STARTED.to_owned());
            };
            free?;
            if !self.pass_gate().await? {
                return Ok(NOT_STARTED.to_owned());
            }
            match self.one_life().await? {
                LifeEnd::Stopped { end } => return Ok(end.exit),
                LifeEnd::Crashed { end, served } => {
                    self.judge_data(&end, served)?;
                    if self.wait_after_crash(end, served).await {
                        return Ok("etcd was not running".to_owned());
                    }
                }
            }
        }
    }

    /// Refuses to go on with data that etcd itself has called unfit.
    fn judge_data(&mut self, end: &EtcdEnd, served: Duration) -> Result<(), Refusal> {
        let at = |index| LogPosition { term: 0, index };
        match data_signs::read(&end.last_log_lines) {
            // Not even once more: the next leader might not notice.
            Some(DataSign::Behind { acknowledged, last }) => Err(Refusal::DataBehind {
                ends_at: at(last),
                reached: at(acknowledged),
            }),
            Some(DataSign::Damaged { words }) => {
                self.damaged_starts = if served >= backoff::STEADY_AFTER {
                    1
                } else {
                    self.damaged_starts + 1
                };
                if self.damaged_starts < DAMAGED_STARTS {
                    return Ok(());
                }
                let times = self.damaged_starts;
                Err(Refusal::DataDamaged {
                    what: format!("etcd ended {times} times in a row with: {words}"),
                })
            }
            None => {
                self.damaged_starts = 0;
                Ok(())
            }
        }
    }

    /// Reports a crash and waits before the next start; true if a stop was
    /// asked for meanwhile.
    async fn wait_after_crash(&mut self, end: EtcdEnd, served: Duration) -> bool {
        self.crashes = if served >= backoff::STEADY_AFTER {
            1
        } else {
            self.crashes + 1
        };
        let pause = backoff::pause(self.crashes);
        self.reporter.report(Phase::Crashed {
            exit: end.exit,
            last_log_lines: end.last_log_lines,
            crashes: self.crashes,
            restart_in_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            _ = self.stop_asked() => true,
        }
    }

    /// Makes the data directory fit for a start, or refuses. False if a stop
    /// was asked for first.
    async fn pass_gate(&mut self) -> Result<bool, Refusal> {
        let unusable = |error: &dyn std::fmt::Display| Refusal::VolumeUnusable {
            why: error.to_string(),
        };
        for _ in 0..GATE_ROUNDS {
            let guard =
                volume::read_guard(&self.data).map_err(|error| unusable(&error))?;
            let found =
                data_dir::inspect(&self.data).map_err(|error| unusable(&error))?;
            let (identity, history) = (&self.spec.identity, &self.spec.history);
            match data_gate::decide(identity, history, guard.as_ref(), &found) {
                Gate::Refuse(refusal) => return Err(refusal),
                Gate::SetAside(owner) => {
                    let aside = volume::set_aside(&self.data, &owner)
                        .map_err(|error| unusable(&error))?;
                    tracing::warn!(aside = %aside.display(), "data of an old member is set aside");
                }
                Gate::Resume => {
                    let Some(age) = self.unless_stopped(self.check_age()).await else {
                        return Ok(false);
                    };
                    self.reached = Some(age?);
                    self.write_guard(true)?;
                    self.reporter.report(Phase::EtcdStarted);
                    return Ok(true);
                }
                Gate::StartFresh => {
                    self.write_guard(false)?;
                    self.reporter.report(Phase::EtcdStarted);
                    // Should this volume be lost from now on, that must show.
                    // So the report is with the agent before etcd can promise
                    // anything to anybody.
                    let settled = self.unless_stopped(self.reporter.settled());
                    return Ok(settled.await.is_some());
                }
            }
        }
        Err(unusable(&"old data comes back after it was set aside"))
    }

    /// Whether the log on the volume is all that the member had; how far it had
    /// come, then, by all that we know.
    async fn check_age(&self) -> Result<LogPosition, Refusal> {
        let data = self.data.clone();
        // Some 64 MiB are read: not here, where a wish to stop would wait for it.
        let read = tokio::task::spawn_blocking(move || etcd_admin::log_end(&data));
        let unusable = |why: String| Refusal::VolumeUnusable { why };
        let end = read
            .await
            .map_err(|error| unusable(error.to_string()))?
            .map_err(|error| unusable(error.to_string()))?;
        if let Some(damage) = &end.damage {
            let (file, problem) = (damage.file.display(), &damage.problem);
            tracing::warn!(%file, problem, "etcd's log cannot be read to its end");
        }
        data_gate::check_age(self.reached, &end)?;
        let proven = data_gate::proven_by(&end);
        Ok(self.reached.unwrap_or_default().or_later(proven))
    }

    fn write_guard(&self, wal_seen: bool) -> Result<(), Refusal> {
        let guard = Guard {
            format: FORMAT,
            identity: self.spec.identity.clone(),
            wal_seen,
        };
        volume::write_guard(&self.data, &guard).map_err(|error| Refusal::VolumeUnusable {
            why: error.to_string(),
        })
    }

    async fn one_life(&mut self) -> Result<LifeEnd, Refusal> {
        let program = self.sandbox.join(&self.spec.etcd.directory).join("etcd");
        let arguments = etcd_arguments(self.spec, self.version, DATA_DIRECTORY);
        let mut etcd =
            EtcdProcess::start(&program, &arguments, self.sandbox).map_err(|error| {
                Refusal::ProgramNotExecutable {
                    path: program.display().to_string(),
                    why: error.to_string(),
                }
            })?;
        let first_answer = tokio::select! {
            // Boxed: what it needs would lie in every future round it.
            answer = Box::pin(self.first_answer()) => answer,
            end = etcd.ended() => {
                return Ok(LifeEnd::Crashed { end, served: Duration::ZERO });
            }
            asked = self.stop_asked() => return Ok(self.stop(&mut etcd, asked).await),
        };
        let checked = first_answer.and_then(|(client, answer)| {
            self.check_identity(answer).map(|answer| (client, answer))
        });
        let (client, first_answer) = match checked {
            Ok(answer) => answer,
            Err(refusal) => {
                tracing::error!(%refusal, "etcd must not go on; stopping it");
                self.end_etcd(&mut etcd, self.default_grace()).await;
                return Err(refusal);
            }
        };
        if let Err(error) = volume::mark_initialized(&self.data) {
            tracing::warn!(%error, "the data directory could not be marked as initialized");
        }
        self.reporter.report(Phase::Answering {
            cluster_id: ClusterId(first_answer.cluster_id),
            member_id: MemberId(first_answer.member_id),
            version: first_answer.version,
        });
        let answering_since = Instant::now();
        let tidy_up = async {
            aside_removal::once_it_votes(&self.data, &client).await;
            std::future::pending::<Infallible>().await
        };
        Ok(tokio::select! {
            never = tidy_up => match never {},
            end = etcd.ended() => LifeEnd::Crashed { end, served: answering_since.elapsed() },
            asked = self.stop_asked() => self.stop(&mut etcd, asked).await,
        })
    }

    async fn stop(&self, etcd: &mut EtcdProcess, asked: StopAsked) -> LifeEnd {
        self.reporter.report(Phase::Stopping);
        LifeEnd::Stopped {
            end: self.end_etcd(etcd, asked.grace).await,
        }
    }

    /// SIGTERM, and SIGKILL after the grace period; a later wish can shorten
    /// it, as when the agent shuts down an executor whose task is being killed.
    async fn end_etcd(&self, etcd: &mut EtcdProcess, grace: Duration) -> EtcdEnd {
        let mut wishes = self.stop.clone();
        let mut deadline = Instant::now() + grace;
        etcd.terminate();
        loop {
            let shortened = async {
                // Nobody who could wish is left: the deadline stays.
                if wishes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                *wishes.borrow_and_update()
            };
            tokio::select! {
                end = etcd.ended() => return end,
                () = tokio::time::sleep_until(deadline) => break,
                asked = shortened => if let Some(asked) = asked {
                    deadline = deadline.min(Instant::now() + asked.grace);
                },
            }
        }
        tracing::warn!("etcd does not stop within its grace period; killing it");
        etcd.kill();
        etcd.ended().await
    }

    fn default_grace(&self) -> Duration {
        Duration::from_millis(self.spec.stop_grace_ms)
    }

    /// Waits until etcd answers clients, which it does once it has been part of
    /// a quorum. That may take for ever, and is no reason to end it.
    async fn first_answer(&self) -> Result<(MemberClient, MemberStatus), Refusal> {
        let url = format!(
            "{}://{}:{}",
            self.spec.scheme.as_str(),
            self.spec.local_host(),
            self.spec.client_port
        );
        let tls = self.tls_files();
        let started = Instant::now();
        let mut wal_seen = false;
        loop {
            if !wal_seen
                && matches!(data_dir::inspect(&self.data), Ok(DataDir::Wal { .. }))
            {
                self.write_guard(true)?;
                wal_seen = true;
            }
            if wal_seen
                && let Ok(client) =
                    MemberClient::connect_with(&url, tls.as_ref(), LIMITS).await
                && let Ok(status) = client.status().await
            {
                return Ok((client, status));
            }
            tokio::time::sleep(if started.elapsed() < USUAL_START {
                LOOK_AGAIN
            } else {
                LOOK_AGAIN_LATER
            })
            .await;
        }
    }

    /// What proves to us that it is our etcd that answers.
    fn tls_files(&self) -> Option<TlsFiles> {
        let directory = self.spec.certificate_directory.as_ref()?;
        (self.spec.scheme == Scheme::Https).then(|| TlsFiles {
            ca: self.sandbox.join(directory).join(CA_FILE),
            identity: None,
        })
    }

    fn check_identity(&self, answer: MemberStatus) -> Result<MemberStatus, Refusal> {
        let identity = &self.spec.identity;
        if answer.cluster_id == identity.cluster_id.0
            && answer.member_id == identity.member_id.0
        {
            return Ok(answer);
        }
        Err(Refusal::ForeignData {
            found: format!(
                "etcd answers as member {:x} of cluster {:x}",
                answer.member_id, answer.cluster_id
            ),
        })
    }

    /// Does something; none if a stop was asked for first.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            _ = self.stop_asked() => None,
        }
    }

    /// Waits until a stop is asked for.
    async fn stop_asked(&self) -> StopAsked {
        let mut stop = self.stop.clone();
        match stop.wait_for(Option::is_some).await.map(|asked| *asked) {
            Ok(Some(asked)) => asked,
            // Whoever could ask is gone, and with it the reason to run on.
            _ => StopAsked {
                grace: self.default_grace(),
            },
        }
    }
}
