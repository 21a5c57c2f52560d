//! What an executor reports about its member.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, MemberId, PodGeneration, PodIndex, Sha256};
use crate::spec::LogPosition;

/// How far a launch has come. Travels as JSON in `TaskStatus.data`, so that
/// Mesos stores it and repeats it until the scheduler has acknowledged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// See [`crate::FORMAT`].
    pub format: u32,
    /// The pod of the launch spec.
    pub pod: PodIndex,
    /// The generation of the launch spec.
    pub generation: PodGeneration,
    /// What is the case.
    pub phase: Phase,
}

/// The phases of a launch, in the order in which they normally come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Checking the program and the data directory. Mesos state STARTING.
    Preparing,
    /// The guard file is on disk and etcd is being started; it does not answer
    /// yet. From now on an empty volume means a lost member, so on a fresh
    /// volume the executor waits for the agent's acknowledgement of this status
    /// before it starts etcd. Mesos state STARTING.
    EtcdStarted,
    /// etcd answers on its client port, with the identity that was asked for.
    /// Says nothing about quorum. Mesos state RUNNING.
    Answering {
        /// What etcd says it is.
        cluster_id: ClusterId,
        /// What etcd says it is.
        member_id: MemberId,
        /// For example `3.5.30`.
        version: String,
    },
    /// etcd ended by itself; the executor starts it again in place.
    /// Mesos state RUNNING (the container lives and holds its resources).
    Crashed {
        /// How it ended, for example `killed by signal 9`.
        exit: String,
        /// The last lines of etcd's log, oldest first.
        last_log_lines: Vec<String>,
        /// Ends in a row without a minute of service between them.
        crashes: u32,
        /// When it is started again, milliseconds from the report.
        restart_in_ms: u64,
    },
    /// The executor will not start etcd, and the launch is over.
    /// Mesos state FAILED.
    Refused(Refusal),
    /// The pod is paused: no etcd runs, the container stays. Mesos RUNNING.
    Paused,
    /// Stopping was asked for; etcd got SIGTERM. Mesos state KILLING.
    Stopping,
    /// etcd has ended as asked. Mesos state KILLED.
    Stopped {
        /// How it ended.
        exit: String,
    },
}

/// Why an executor does not start etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The member's data is not on the volume. Starting would make etcd forget
    /// what it acknowledged: the member is lost and has to be replaced.
    DataMissing {
        /// What was looked for and not found.
        what: String,
    },
    /// The volume holds an older copy of the member's data. Started with it, the
    /// member would deny what it has acknowledged, and etcd may accept that in
    /// silence.
    DataBehind {
        /// Where the log on the volume ends.
        ends_at: LogPosition,
        /// Where the member had come.
        reached: LogPosition,
    },
    /// etcd cannot go on with the data on the volume.
    DataDamaged {
        /// etcd's own words, or ours where we saw it first.
        what: String,
    },
    /// The volume holds data of somebody else.
    ForeignData {
        /// Whose data it seems to be.
        found: String,
    },
    /// A program is not there.
    ProgramMissing {
        /// Its path in the sandbox.
        path: String,
    },
    /// A program is there but cannot be executed.
    ProgramNotExecutable {
        /// Its path in the sandbox.
        path: String,
        /// What the system said.
        why: String,
    },
    /// A program is not the one that was asked for.
    WrongChecksum {
        /// Its path in the sandbox.
        path: String,
        /// The checksum in the launch spec.
        expected: Sha256,
        /// The checksum of the file.
        found: Sha256,
    },
    /// This etcd cannot do what an option asks for.
    NotSupported {
        /// The option, as the operator knows it.
        option: String,
        /// What is the matter.
        why: String,
    },
    /// Somebody else listens on a port of ours.
    PortTaken {
        /// Address and port.
        address: String,
    },
    /// Nobody can listen at our address on this host.
    AddressUnusable {
        /// Address and port.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The launch spec cannot be understood.
    SpecUnreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The volume cannot be read or written.
    VolumeUnusable {
        /// What the system said.
        why: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::DataMissing { what } => {
                write!(f, "the member's data is missing on its volume ({what})")
            }
            Refusal::DataBehind { ends_at, reached } => write!(
                f,
                "the data is older than what this member had: its log ends at \
                 {ends_at}, the member had reached {reached}; reset or replace it"
            ),
            Refusal::DataDamaged { what } => {
                write!(
                    f,
                    "the data is damaged: {what}; reset or replace the member"
                )
            }
            Refusal::ForeignData { found } => {
                write!(f, "the volume holds other data: {found}")
            }
            Refusal::ProgramMissing { path } => write!(f, "{path} is missing"),
            Refusal::ProgramNotExecutable { path, why } => {
                write!(f, "{path} cannot be executed: {why}")
            }
            Refusal::WrongChecksum {
                path,
                expected,
                found,
            } => {
                write!(f, "{path} has SHA-256 {found}, expected {expected}")
            }
            Refusal::NotSupported { option, why } => {
                write!(f, "{option} cannot be had: {why}")
            }
            Refusal::PortTaken { address } => {
                write!(f, "{address} is taken by another process")
            }
            Refusal::AddressUnusable { address, why } => {
                write!(f, "cannot listen at {address} on this host: {why}")
            }
            Refusal::SpecUnreadable { why } => {
                write!(f, "the launch spec cannot be read: {why}")
            }
            Refusal::VolumeUnusable { why } => {
                write!(f, "the volume cannot be used: {why}")
            }
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Preparing => f.write_str("preparing"),
            Phase::EtcdStarted => f.write_str("etcd started, does not answer yet"),
            Phase::Answering { version, .. } => write!(f, "etcd {version} answers"),
            Phase::Crashed {
                exit,
                crashes,
                restart_in_ms,
                ..
            } => write!(
                f,
                "etcd ended ({exit}), crash {crashes} in a row, starts again in {:.1} s",
                std::time::Duration::from_millis(*restart_in_ms).as_secs_f64()
            ),
            Phase::Refused(refusal) => write!(f, "not started: {refusal}"),
            Phase::Paused => f.write_str("paused"),
            Phase::Stopping => f.write_str("stopping"),
            Phase::Stopped { exit } => write!(f, "stopped ({exit})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for phase in [
            Phase::Preparing,
            Phase::Answering {
                cluster_id: ClusterId(1),
                member_id: MemberId(2),
                version: "3.5.30".into(),
            },
            Phase::Refused(Refusal::PortTaken {
                address: "127.0.0.2:2379".into(),
            }),
            Phase::Refused(Refusal::DataBehind {
                ends_at: LogPosition { term: 2, index: 84 },
                reached: LogPosition {
                    term: 0,
                    index: 107,
                },
            }),
        ] {
            let report = Report {
                format: crate::FORMAT,
                pod: PodIndex(0),
                generation: PodGeneration(1),
                phase,
            };
            let json = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        }
    }
}
