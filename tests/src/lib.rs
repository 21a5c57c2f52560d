//! What the end-to-end tests stand on: the real scheduler on a real Mesos
//! cluster, seen through the public API as an operator sees it.
//!
//! Needs the programs of the workspace (`cargo build --workspace`) and etcd
//! (`make setup`); `make test` sees to both. A missing part is a failure, never
//! a skipped test.

pub mod command_line;
pub mod etcd;
pub mod programs;
pub mod scheduler;
pub mod service;
pub mod stranger;
pub mod under_clients;
pub mod witness;

pub use scheduler::Scheduler;
pub use service::Service;
pub use under_clients::UnderClients;
