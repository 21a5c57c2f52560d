//! The OpenAPI document and the router say the same.

use std::collections::BTreeSet;

use etcd_api::routes::{Method, ROUTES, Who};

use super::*;

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let described: BTreeSet<(Method, String)> = ROUTES
        .iter()
        .map(|route| (route.method, route.path.to_owned()))
        .collect();
    let routes = routes();
    let known: BTreeSet<(Method, String)> = routes.known().iter().cloned().collect();
    assert_eq!(known.len(), routes.known().len(), "a route is there twice");
    let undescribed: Vec<_> = known.difference(&described).collect();
    assert!(
        undescribed.is_empty(),
        "not in etcd_api::routes: {undescribed:?}"
    );
    let without_route: Vec<_> = described.difference(&known).collect();
    assert!(without_route.is_empty(), "no such route: {without_route:?}");
}

/// The table says whom a route answers; the access check must agree.
#[tokio::test]
async fn whom_routes_answer() {
    let service = healthy();
    for route in ROUTES {
        let method = route.method.as_str().to_uppercase();
        let path = route.path.replace(['{', '}'], "");
        let nobody = service.ask(&method, &path, None).await;
        assert_eq!(nobody.status == 401, route.who != Who::Anyone, "{path}");
        if route.who == Who::Writers {
            let reader = service.ask(&method, &path, Some(READ)).await;
            assert_eq!(reader.status, 403, "{path}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let answer = healthy().get("/v1/openapi.json").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    let document = answer.json();
    assert_eq!(document, etcd_api::openapi::document());
    let restart = &document["paths"]["/v1/pod/{pod}/restart"]["post"];
    assert_eq!(restart["operationId"], "post_v1_pod_pod_restart");
    assert_eq!(
        restart["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/PodCommandResult"
    );
}
