//! The Mesos v1 HTTP API for Rust: its messages, and sessions that keep a
//! scheduler subscribed with the leading master and an executor with its agent.
//!
//! | for | use |
//! |---|---|
//! | a framework's scheduler | [`SchedulerSession`], [`SchedulerHandle`], [`calls`] |
//! | a custom executor | [`ExecutorEnvironment`], [`ExecutorSession`], [`ExecutorHandle`] |
//! | operators: state, draining, teardown | [`OperatorClient`], [`AgentClient`] |
//! | the messages | [`v1`], [`scheduler`], [`executor`], [`master`], [`agent`] |
//! | another runtime or HTTP client | [`subscription`], [`executor_subscription`], [`recordio`] |
//!
//! Everything is protobuf over HTTP/1.1. The protocol files are those of Mesos
//! 1.11; `Resource` is complete, because masters compare resources for equality.
//! Fields that these files leave out are dropped when a message is decoded.
//! Neither does decoding check that a required field was there: a missing one has
//! its type's default.
//!
//! A scheduler that declines all offers:
//!
//! ```no_run
//! use mesos_v1::scheduler::Call;
//! use mesos_v1::{SchedulerSession, SessionConfig, SessionEvent, v1};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let framework = v1::FrameworkInfo {
//!     user: "nobody".into(),
//!     name: "declines everything".into(),
//!     ..Default::default()
//! };
//! let config = SessionConfig::new("10.0.0.1:5050,10.0.0.2:5050".parse()?, framework);
//! let (handle, mut events) = SchedulerSession::start(config)?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         SessionEvent::Event { epoch, event } => {
//!             if let Some(offers) = event.offers {
//!                 let ids = offers.offers.into_iter().map(|offer| offer.id);
//!                 handle.call(epoch, Call::decline(ids, 60.0)).await?;
//!             }
//!         }
//!         SessionEvent::Failed { error } => return Err(error.into()),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod generated {
    #![expect(
        missing_docs,
        unreachable_pub,
        reason = "generated from the protocol files, which say what is worth saying"
    )]
    include!(concat!(env!("OUT_DIR"), "/mesos.rs"));
}

mod backoff;
pub mod calls;
mod endpoint;
mod executor_environment;
mod executor_session;
pub mod executor_subscription;
mod http;
mod operator;
pub mod recordio;
mod scheduler_session;
pub mod subscription;

pub use generated::mesos::v1;
pub use v1::{agent, allocator, executor, maintenance, master, scheduler};

pub use endpoint::{AddressError, Endpoint, Masters, Scheme};
pub use executor_environment::{
    EnvironmentError, ExecutorEnvironment, parse_mesos_duration,
};
pub use executor_session::{ExecutorHandle, ExecutorSession, SessionOver};
pub use executor_subscription::ExecutorEvent;
pub use http::{Access, CALL_TIMEOUT, ClientSetupError, Credential};
pub use operator::{AgentClient, OperatorClient, OperatorError};
pub use scheduler_session::{
    CallError, SchedulerHandle, SchedulerSession, SessionConfig,
};
pub use subscription::{Epoch, SessionEvent, SubscriptionError, SubscriptionTiming};
