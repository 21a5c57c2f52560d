//! The shell round the planner: everything that touches clocks, files, networks
//! and processes. See `main.rs` for how the parts are put together.

pub mod agents;
pub mod artifacts;
pub mod clock;
pub mod command_line;
pub mod commands;
pub mod effects;
pub mod etcd_choice;
pub mod event_loop;
pub mod events;
pub mod executor_messages;
pub mod failpoint;
pub mod framework;
pub mod hashing;
pub mod http;
pub mod logging;
pub mod maintenance;
pub mod metrics;
pub mod offer_history;
pub mod plan_update;
pub mod probing;
pub mod published;
pub mod reading;
#[cfg(test)]
mod samples;
pub mod snapshot_files;
pub mod snapshots;
pub mod stable_uuid;
pub mod start;
pub mod store;
pub mod target;
pub mod translate;
pub mod trials;
pub mod wanted;
