//! One member with a real etcd and without Mesos: `etcd-executor run-member`
//! takes a launch spec from a file and reports in lines on standard output.
//!
//! | subject | file |
//! |---|---|
//! | start, stop, crash, death of the executor | `life.rs` |
//! | whose data may be started | `data.rs` |
//! | when data that was set aside goes | `set_aside.rs` |
//! | paused, and what an operator did meanwhile | `paused.rs` |
//! | older and damaged data | `data_signs.rs` |
//! | programs, ports and specs that cannot be used | `refusals.rs` |
//! | options that are tried beside the member | `trial.rs` |
//! | an executor in a sandbox of its own | `sandbox.rs`, `executor.rs` |
//! | which etcd | `etcd_program.rs` |

#![expect(
    clippy::unwrap_used,
    reason = "in a test's own machinery a panic is the report"
)]

mod data;
mod data_signs;
mod etcd_program;
mod executor;
mod life;
mod paused;
mod refusals;
mod sandbox;
mod set_aside;
mod trial;
