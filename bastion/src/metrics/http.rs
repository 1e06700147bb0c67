//! `/metrics`, `/healthz` and `/readyz` on a loopback address, for the machine's own agents.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the three pages say; the server's side of it.
pub(crate) trait Health: Send + Sync + 'static {
    /// The metrics.
    fn metrics(&self) -> impl Future<Output = String> + Send;
    /// Why no new session can begin: nothing where one can.
    fn obstacles(&self) -> impl Future<Output = Vec<&'static str>> + Send;
}

/// Answers until `stop`. What is being answered then is given up: no page is worth waiting for.
pub(crate) async fn serve<H: Health>(
    listener: TcpListener,
    health: Arc<H>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/metrics", get(metrics::<H>))
        .route(
            "/healthz",
            get(async || answer(StatusCode::OK, &json!({ "alive": true }))),
        )
        .route("/readyz", get(ready::<H>))
        .with_state(health);
    tokio::select! {
        served = axum::serve(listener, pages).into_future() => served,
        () = stop.cancelled() => Ok(()),
    }
}

async fn metrics<H: Health>(State(health): State<Arc<H>>) -> Response {
    let text = health.metrics().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn ready<H: Health>(State(health): State<Arc<H>>) -> Response {
    let obstacles = health.obstacles().await;
    let status = if obstacles.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(
        status,
        &json!({ "ready": obstacles.is_empty(), "obstacles": obstacles }),
    )
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let head = [(header::CONTENT_TYPE, "application/json")];
    (status, head, format!("{body}\n")).into_response()
}
