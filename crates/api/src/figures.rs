//! The operator's own listener: `/metrics`, `/healthz`, `/readyz`, and nothing else.
//!
//! It goes on answering while the node stops, so that whoever watches sees that it is not ready.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::middleware;
use axum::routing::get;
use comity_app::App;
use comity_app::metrics::MEDIA_TYPE;

use crate::{input, platform, problem};

/// The table.
pub fn figures(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(platform::health))
        .route("/readyz", get(platform::ready))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(middleware::from_fn(input::one_normal_form))
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], app.figures())
}
