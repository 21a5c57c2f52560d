//! A router that knows its routes, so that a test can compare them with what
//! the OpenAPI document says.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};

use etcd_api::routes::Method;

use super::ApiState;

/// Routes, while they are being put together.
pub(super) struct Routes {
    router: Router<ApiState>,
    known: Vec<(Method, String)>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Routes {
            router: Router::new(),
            known: Vec::new(),
        }
    }

    /// Answers GET, and HEAD with it.
    pub(super) fn get<H, T>(mut self, path: &str, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.known.push((Method::Get, path.to_owned()));
        self.router = self.router.route(path, get(handler));
        self
    }

    /// Answers POST.
    pub(super) fn post<H, T>(mut self, path: &str, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.known.push((Method::Post, path.to_owned()));
        self.router = self.router.route(path, post(handler));
        self
    }

    /// Answers PUT.
    pub(super) fn put(mut self, path: &str, method: MethodRouter<ApiState>) -> Self {
        self.known.push((Method::Put, path.to_owned()));
        self.router = self.router.route(path, method);
        self
    }

    /// These and those.
    pub(super) fn merge(mut self, others: Routes) -> Self {
        self.known.extend(others.known);
        self.router = self.router.merge(others.router);
        self
    }

    /// Every method and path.
    #[cfg(test)]
    pub(super) fn known(&self) -> &[(Method, String)] {
        &self.known
    }

    pub(super) fn into_router(self) -> Router<ApiState> {
        self.router
    }
}
