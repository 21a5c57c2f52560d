//! Protobuf to the planner's types and back. The only place that knows both.

pub mod agents;
mod bases;
mod disks;
mod network;
pub mod offers;
pub mod operations;
pub mod reservations;
pub mod statuses;
pub mod tasks;

#[cfg(test)]
mod goldens;
#[cfg(test)]
pub(crate) mod resources;
