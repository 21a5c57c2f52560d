//! The one-machine mode: real Apache Mesos on loopback.
//!
//! * [`programs`] fetches and builds Mesos' master, agent and their helpers.
//! * [`setup`] finds or fetches etcd, and installs what the machine lacks.
//! * [`mesos`] starts and stops them, [`daemon`] is one such process, [`guard`] what
//!   each of them is before it becomes itself.
//! * [`fetcher`] stands in for `mesos-fetcher`.
//! * [`mounts`] makes disks for tests.
//! * [`addresses`] leases loopback ranges, [`reaper`] ends what agents leave behind.
//! * [`cluster`] puts all this together for tests.
//!
//! No emulated Mesos anywhere: what runs is Apache Mesos 1.11.0's own code, started
//! by a `main()` of ours. Isolation is posix: limits of CPU, memory and disk are not
//! enforced.

pub mod addresses;
mod cache_lock;
pub mod cluster;
pub mod daemon;
mod error;
pub mod fetcher;
pub mod guard;
pub mod mesos;
pub mod mounts;
pub mod processes;
pub mod programs;
pub mod reaper;
pub mod setup;
pub mod up;
pub mod waiting;

pub use error::LocalError;
pub use rustix::process::Signal;
