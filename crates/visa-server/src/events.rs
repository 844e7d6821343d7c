//! A rewrite as server-sent events: each round as it happens, the outcome at the end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use visa_align::RewriteOptions;
use visa_align::record::{RewriteInput, WithId};

use crate::app::Shared;
use crate::body::Records;
use crate::error::ApiError;
use crate::native;

/// Pieces a slow client may be behind.
const BEHIND: usize = 16;

/// One event as text. Neither name nor JSON holds a line break.
pub(crate) fn event<T: Serialize>(name: &str, data: &T) -> Bytes {
    let data =
        serde_json::to_string(data).unwrap_or_else(|e| json!({"error": e.to_string()}).to_string());
    if name.is_empty() {
        Bytes::from(format!("data: {data}\n\n"))
    } else {
        Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
    }
}

/// An answer that is an event stream, fed through a channel. When the client leaves, the sender learns it.
pub(crate) fn stream(from: mpsc::Receiver<Bytes>) -> Response {
    let mut response = Response::new(Body::from_stream(Feed(from)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // Proxies in between must not wait for more.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Feed(mpsc::Receiver<Bytes>);

impl Stream for Feed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

/// Answers each record in order; its events carry its id.
pub(crate) fn rewrite(
    app: Shared,
    records: Records<RewriteInput>,
    options: RewriteOptions,
) -> Response {
    let (send, receive) = mpsc::channel(BEHIND);
    tokio::spawn(async move {
        let all = run(&app, records, &options, &send);
        tokio::select! {
            () = all => {}
            () = send.closed() => {}
        }
    });
    stream(receive)
}

async fn run(
    app: &Shared,
    records: Records<RewriteInput>,
    options: &RewriteOptions,
    send: &mpsc::Sender<Bytes>,
) {
    let mut accepted = false;
    for (id, record) in records.rows {
        let request = record.and_then(|input| native::request(app, &input));
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                fail(send, &id, &error).await;
                continue;
            }
        };
        let (tell, mut told) = mpsc::unbounded_channel();
        let rewriting = app
            .engine
            .rewrite(request, options.clone(), Some(tell), accepted);
        accepted = true;
        let listening = async {
            while let Some(event) = told.recv().await {
                let piece = self::event(
                    event.name(),
                    &WithId {
                        id: &id,
                        result: &event,
                    },
                );
                if send.send(piece).await.is_err() {
                    return;
                }
            }
        };
        let limit = app.options.limits.answer;
        let both = async { tokio::join!(rewriting, listening).0 };
        let outcome = match tokio::time::timeout(limit, both).await {
            Ok(outcome) => outcome.map_err(ApiError::from),
            Err(_) => Err(crate::engine::EngineError::Timeout(limit.as_secs()).into()),
        };
        match outcome {
            Ok(outcome) => {
                native::count(app, &outcome);
                let piece = event(
                    "outcome",
                    &WithId {
                        id: &id,
                        result: &outcome,
                    },
                );
                // A client that left is noticed by the caller's select.
                let _ = send.send(piece).await;
            }
            Err(error) => fail(send, &id, &error).await,
        }
    }
    let _ = send.send(event("done", &json!({}))).await;
}

async fn fail(send: &mpsc::Sender<Bytes>, id: &Value, error: &ApiError) {
    let mut body = error.body();
    body["id"] = id.clone();
    let _ = send.send(event("error", &body)).await;
}
