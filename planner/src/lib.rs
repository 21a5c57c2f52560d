//! Every decision about the cluster, pure.
//!
//! One value, the [`Model`], holds what is wanted, recorded, observed and in
//! flight. An [`Event`] changes it ([`Model::apply`]); [`plan`] looks at it and
//! answers with a [`Decision`]: the record to store first, the effects to issue
//! then, and for whatever does not go on, the reason. Nothing here reads a
//! clock, draws a random number, touches a file or logs; the shell in
//! `scheduler` does, and so does the simulated world in this crate's tests.
//!
//! Where to look:
//!
//! | question | file |
//! |---|---|
//! | in which order are things looked at? | `plan.rs` |
//! | when is a member relaunched, and when is it lost? | `recovery.rs` |
//! | how is a cluster born, and how is a birth given up? | `birth.rs` |
//! | how does a formed cluster change its members? | `membership.rs` |
//! | how is a member exchanged for a new one? | `replacing.rs` |
//! | how do a rolling restart and an update go through the members? | `rolling.rs` |
//! | when is a database defragmented, and one that is full given room? | `maintenance.rs` |
//! | what has to be before a member gets another etcd? | `another_etcd.rs` |
//! | how does a member get other resources in place? | `resizing.rs` |
//! | how does a member leave that is not wanted any more? | `decommissioning.rs` |
//! | how is a member paused? | `pausing.rs` |
//! | what is done about alarms, and about data that differs? | `alarms.rs`, `corruption.rs` |
//! | may this voter stop now? | `quorum.rs` |
//! | what is said when quorum is lost? | `quorum_loss.rs` |
//! | how far had a member come? | `reached.rs` |
//! | which programs does a member run, and which etcd may follow which? | `programs.rs`, `versions.rs` |
//! | which agent gets which pod? | `placing.rs`, by the rules of `constraints.rs` |
//! | when is a place given back? | `leaving.rs` |
//! | is a pod's place still there? | `own_places.rs` |
//! | what is done with offers? | `offers.rs` |
//! | what do operators see as plans? | `plans.rs` |
//! | what have they told plans, and what holds a pod back? | `overrides.rs`, `plan_commands.rs`, `holding.rs` |

#![forbid(unsafe_code)]

pub mod alarms;
mod another_etcd;
mod birth;
mod constraints;
mod corruption;
pub mod decision;
mod decommissioning;
mod downgrading;
mod draft;
pub mod effect;
pub mod event;
mod explain;
mod holding;
mod launching;
mod leaving;
pub mod maintenance;
mod membership;
pub mod model;
pub mod observed;
pub mod offer;
mod offers;
pub mod overrides;
mod own_places;
pub mod pausing;
mod placing;
mod plan;
pub mod plan_commands;
pub mod plans;
pub mod programs;
pub mod quorum;
mod quorum_loss;
mod reached;
mod reconciling;
pub mod record;
mod recovery;
pub mod replacing;
mod resizing;
mod restarting;
mod rolling;
pub mod target;
pub mod time;
pub mod trying;
pub mod versions;
pub mod waiting;

pub use decision::Decision;
pub use effect::{Effect, EffectId, Outcome};
pub use event::Event;
pub use model::Model;
pub use plan::plan;
pub use record::Record;
pub use target::Target;
pub use time::{Timestamp, Turn};
pub use waiting::WaitingReason;
