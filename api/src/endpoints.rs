//! `/v1/endpoints`: where clients reach the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/endpoints/api`. Answered with 404 until the cluster has formed, so
/// that nobody writes to a cluster whose birth may still be given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// `host:port` of every voter, in the order of the pods.
    pub address: Vec<String>,
    /// The same by the names that DC/OS' DNS gives to tasks.
    pub dns: Vec<String>,
    /// One name for all of them, by DC/OS' layer-4 load balancer.
    pub vip: String,
}
