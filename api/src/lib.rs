//! The shapes of the scheduler's HTTP API: what it answers, for those who ask.
//!
//! Two kinds live here. The paths of the DC/OS SDK (`/v1/plans`, `/v1/pod`,
//! `/v1/endpoints`, `/v1/state`, `/v1/health`, `/v1/configurations`,
//! `/v1/debug`) keep the SDK's field names and oddities, because the `dcos`
//! CLI, Cosmos and years of scripts read them. [`status`] and [`events`] are
//! our own and have none to keep.
//!
//! [`routes`] is the one table of all routes, and [`openapi`] the document that
//! is made from it and from the types.
//!
//! Everything can be written and read: the scheduler writes, the CLI, the
//! one-machine mode and the tests read. Readers ignore fields that they do not
//! know, so a newer scheduler may add some.

pub mod configurations;
pub mod debug;
pub mod endpoints;
pub mod events;
pub mod health;
pub mod message;
pub mod openapi;
pub mod plans;
pub mod pods;
pub mod routes;
pub mod snapshot;
pub mod status;

pub use configurations::ServiceSpec;
pub use endpoints::Endpoint;
pub use events::{Event, EventList, What};
pub use health::Health;
pub use message::{Message, Problem};
pub use plans::{PhaseInfo, PlanInfo, StepInfo};
pub use pods::{
    PodCommandResult, PodInstance, PodTask, PodType, ServicePods, TaskRecord,
};
pub use status::ServiceStatus;
