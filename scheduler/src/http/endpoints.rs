//! `/v1/endpoints`: where clients reach the cluster.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use etcd_api::Endpoint;
use etcd_planner::record::{Cluster, Membership};

use super::{ApiState, ServiceFacts, answer};
use crate::published::Published;

/// The one endpoint, and the name of its VIP.
const API: &str = "api";

pub(super) async fn list(State(state): State<ApiState>) -> Response {
    let names: &[&str] = if has_formed(&state.published()) {
        &[API]
    } else {
        &[]
    };
    answer::ok(&names)
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path(name): Path<String>,
) -> Response {
    let published = state.published();
    if name != API {
        let text = format!("Endpoint {name} not found; there is one: {API}");
        return answer::text(StatusCode::NOT_FOUND, text);
    }
    if !has_formed(&published) {
        // Until then the birth may still be given up, and whatever was written
        // would go with it.
        return answer::text(
            StatusCode::NOT_FOUND,
            "the cluster has not formed yet; /v1/plans/deploy says what it waits for",
        );
    }
    answer::ok(&endpoint(&published, &state.facts))
}

fn has_formed(published: &Published) -> bool {
    matches!(published.record.cluster, Cluster::Formed(_))
}

/// Every voter, whether it answers just now or not: clients try one after the
/// other, and a list that changed with each restart would be useless in files.
fn endpoint(published: &Published, facts: &ServiceFacts) -> Endpoint {
    // DC/OS' DNS knows services without their slashes.
    let service = published.target.service.replace('/', "");
    let mut endpoint = Endpoint {
        address: Vec::new(),
        dns: Vec::new(),
        vip: format!(
            "{API}.{service}.{}:{}",
            facts.vip_domain, published.target.needs.client_port
        ),
    };
    for (index, pod) in &published.record.pods {
        let votes = matches!(
            pod.membership,
            Membership::Founder(_) | Membership::Voter(_)
        );
        if let (true, Some(placement)) = (votes, &pod.placement) {
            let port = placement.needs.client_port;
            endpoint
                .address
                .push(format!("{}:{port}", placement.address));
            endpoint.dns.push(format!(
                "{}.{service}.{}:{port}",
                index.task_name(),
                facts.task_domain
            ));
        }
    }
    endpoint
}
