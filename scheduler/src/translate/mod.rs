//! Protobuf to the planner's types and back. The only place that knows both.

pub mod offers;
pub mod reservations;
pub mod statuses;
pub mod tasks;
