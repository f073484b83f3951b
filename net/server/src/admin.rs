//! The admin port: metrics, health and state, over plain HTTP on the control thread.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::config::ServeError;
use crate::control::{Control, Refused};
use crate::metrics;

/// Takes the admin port. Must be called before the cores start, so that a taken port is told at
/// once; it is served by [`serve`].
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, ServeError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| ServeError::Bind { address, source })
}

/// Serves the admin port for as long as the control thread runs.
pub(crate) async fn serve(listener: TcpListener, control: Arc<Control>) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(control);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin port is not served any more");
    }
}

/// The process lives and its control thread answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Every core answers, and every partition is open and takes writes.
async fn readyz(State(control): State<Arc<Control>>) -> Response {
    let counts = match control.count().await {
        Ok(counts) => counts,
        Err(refused) => return unavailable(&refused),
    };
    let failed = control.known(|known| known.failed.len());
    let fenced: u64 = counts
        .iter()
        .map(|counts| counts.shard.fenced_partitions)
        .sum();
    if failed == 0 && fenced == 0 {
        return "ready\n".into_response();
    }
    let text = format!("{failed} partitions are not open, {fenced} take no writes; see /status\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn status(State(control): State<Arc<Control>>) -> Response {
    let status = match control.status().await {
        Ok(status) => status,
        Err(refused) => return unavailable(&refused),
    };
    match serde_json::to_vec(&status) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn show_metrics(State(control): State<Arc<Control>>) -> Response {
    match control.count().await {
        Ok(counts) => {
            let (failed, moves) = control.known(|known| (known.failed.len(), known.moves));
            let uptime = control.info.started.elapsed();
            match metrics::encode(&counts, failed as u64, moves, uptime) {
                Ok(text) => {
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    ([(header::CONTENT_TYPE, kind)], text).into_response()
                }
                Err(error) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
                }
            }
        }
        Err(refused) => unavailable(&refused),
    }
}

fn unavailable((status, message): &Refused) -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{status}: {message}\n"),
    )
        .into_response()
}
