//! `/metrics`, `/healthz` and `/readyz` on a loopback address, for the machine's own agents.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the three pages say; the server's side of it.
pub(crate) trait Health: Send + Sync + 'static {
    /// The metrics.
    fn metrics(&self) -> impl Future<Output = String> + Send;
    /// Why no new session can begin: nothing where one can.
    fn obstacles(&self) -> impl Future<Output = Vec<&'static str>> + Send;
}

/// Answers until `stop`. What is being answered then is given up: no page is worth waiting for.
///
/// Whoever can reach a loopback address is not trusted with more than this: so many connections at
/// a time, each for so long, whatever comes in; the next ones wait in the listener's queue.
pub(crate) async fn serve<H: Health>(
    listener: TcpListener,
    health: Arc<H>,
    stop: CancellationToken,
) {
    serve_within(CONNECTIONS, LIFE, listener, health, stop).await;
}

async fn serve_within<H: Health>(
    connections: usize,
    life: Duration,
    listener: TcpListener,
    health: Arc<H>,
    stop: CancellationToken,
) {
    let pages = Router::new()
        .route("/metrics", get(metrics::<H>))
        .route(
            "/healthz",
            get(async || answer(StatusCode::OK, &json!({ "alive": true }))),
        )
        .route("/readyz", get(ready::<H>))
        .with_state(health);
    let places = Arc::new(Semaphore::new(connections));
    let answering = TaskTracker::new();
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, or the client was gone at once: either passes.
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let pages = TowerToHyperService::new(pages.clone());
            let until = stop.clone();
            answering.spawn(async move {
                let _place = place;
                let answers = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), pages);
                let answers = tokio::time::timeout(life, answers);
                // A client that breaks off or speaks no HTTP is nobody's trouble but its own.
                let _over = until.run_until_cancelled(answers).await;
            });
        }
    };
    stop.run_until_cancelled(accept).await;
    answering.close();
    answering.wait().await;
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

/// Connections at a time.
const CONNECTIONS: usize = 16;
/// How long one connection is kept, in use or not: many times what a scraper needs.
const LIFE: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Well;

    impl Health for Well {
        async fn metrics(&self) -> String {
            "bastion_sessions_active 0\n".into()
        }

        async fn obstacles(&self) -> Vec<&'static str> {
            Vec::new()
        }
    }

    async fn page(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Connections that say nothing take all places, and give them back when their time is over.
    #[tokio::test]
    async fn silent_connections_do_not_keep_a_scraper_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let life = Duration::from_secs(2);
        let server = TaskTracker::new();
        server.spawn(serve_within(
            3,
            life,
            listener,
            Arc::new(Well),
            stop.clone(),
        ));
        server.close();
        assert!(page(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = page(address, "/metrics").await;
        assert!(
            answer.ends_with("\r\n\r\nbastion_sessions_active 0\n"),
            "{answer}"
        );
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it was closed");
        }
        stop.cancel();
        server.wait().await;
    }
}
