//! What the scheduler and the executor say to each other.
//!
//! Two programs of possibly different releases meet here: an executor outlives
//! many schedulers, and a new scheduler adopts what an old one launched. So
//! everything in this crate is plain data with a format number, and nothing in
//! it decides anything.
//!
//! * [`LaunchSpec`] travels in `TaskInfo.data`: what to run, and as whom.
//! * [`Report`] travels in `TaskStatus.data`: how far that came.
//! * [`TrialRequest`] and [`TrialAnswer`] travel as messages: would etcd take this?
//! * [`RoomReport`] travels as a message: how much room has the disk?
//! * [`Guard`] lies on the volume beside the data: whose data this is.
//! * [`ids`] names what both talk about.

pub mod guard;
pub mod ids;
pub mod report;
pub mod room;
pub mod spec;
pub mod trial;

pub use guard::Guard;
pub use ids::{ClusterId, ClusterToken, MemberId, PodGeneration, PodIndex, Sha256};
pub use report::{Phase, Refusal, Report};
pub use room::{ExecutorMessage, RoomReport};
pub use spec::{
    AutoCompaction, ClusterStart, DataHistory, EtcdProgram, Founder, Identity,
    LaunchSpec, LogPosition, Scheme, SupersededIdentity, Tuning,
};
pub use trial::{TrialAnswer, TrialProgram, TrialRecipe, TrialRequest, TrialVerdict};

/// The newest format of [`LaunchSpec`], [`Report`] and [`Guard`] that this
/// release writes. A reader refuses a higher number instead of guessing at it.
pub const FORMAT: u32 = 1;

/// Where the persistent volume appears in the sandbox, and etcd's data
/// directory. Operators and the original package know it by this name.
pub const DATA_DIRECTORY: &str = "etcd-data";

/// The marker in the data directory that says that the data is ready to be
/// used. The original package's manual recovery creates it by hand.
pub const INITIALIZED_MARKER: &str = "initialized";
