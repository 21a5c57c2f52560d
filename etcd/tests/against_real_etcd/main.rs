//! This crate against real etcd servers on loopback.
//!
//! One program, so that it is linked once. Which etcd it runs is said in
//! [`servers`]; run it with each version that the product supports.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

mod birth;
mod calls;
mod downgrade;
mod log_ends;
mod lost_quorum;
mod maintenance;
mod refusals;
mod servers;
mod tls;
