//! What every request passes before a handler sees it, and every answer on its way out.
//!
//! In order: a request id; the names under which the server may be called; keys; room. Answers get headers that keep
//! browsers from doing more with them than is meant. What was asked and how it ended is counted and logged without the
//! texts.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use rand::RngCore;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::{App, Shared};
use crate::error::{ApiError, Named};
use crate::keys::hex;

/// The id of a request, the caller's or our own.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// The header that carries it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Routes that need no key: whether the server lives is no secret, and the page's files are public.
pub(crate) fn is_open(route: Option<&str>) -> bool {
    matches!(route, Some("/health" | "/ready" | "/")) || route.is_none()
}

pub(crate) async fn guard(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    // The pattern, not the path: few labels, and nothing a caller chose in the log.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|m| m.as_str().to_string());
    let mut key = None;
    let passed = check(&app, &request, route.as_deref(), &mut key);
    let (mut response, permit) = match passed {
        Ok(permit) => (answer(&app, request, next, route.as_deref()).await, permit),
        Err(error) => {
            app.metrics.rejected(error.kind);
            (error.into_response(), None)
        }
    };
    let kind = response.extensions().get::<Named>().map(|n| n.0);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    harden(headers, route.is_none() || route.as_deref() == Some("/"));
    let account = Account {
        app,
        started,
        method: method.as_str().to_string(),
        route: route.unwrap_or_else(|| "other".into()),
        status: response.status().as_u16(),
        id,
        key,
        kind,
        _permit: permit,
    };
    account.app.metrics.active.inc();
    response.map(|inner| Body::new(Counted { inner, account }))
}

fn check(
    app: &App,
    request: &Request,
    route: Option<&str>,
    key: &mut Option<String>,
) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    let headers = request.headers();
    check_names(app, headers)?;
    if !app.options.keys.is_empty() && !is_open(route) {
        let presented = presented_key(headers);
        *key = presented
            .and_then(|k| app.options.keys.name(k))
            .map(str::to_string);
        if key.is_none() {
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "a key is needed; send it as authorization: Bearer KEY, or x-api-key: KEY",
            ));
        }
    }
    // Who watches the server must see it when it is full.
    if matches!(route, Some("/health" | "/ready" | "/metrics")) {
        return Ok(None);
    }
    let permit = app.room.clone().try_acquire_owned();
    permit.map(Some).map_err(|_| ApiError::busy())
}

async fn answer(app: &App, request: Request, next: Next, route: Option<&str>) -> Response {
    // The proxy has its own limits, those of the upstream.
    if route.is_some_and(|r| r.ends_with("/completions")) {
        return next.run(request).await;
    }
    match tokio::time::timeout(app.options.limits.answer, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            crate::engine::EngineError::Timeout(app.options.limits.answer.as_secs()).into_api()
        }
    }
}

impl crate::engine::EngineError {
    fn into_api(self) -> Response {
        ApiError::from(self).into_response()
    }
}

/// The caller's id if it is short and plain, else a random one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    match given {
        Some(id)
            if (1..=128).contains(&id.len())
                && id
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) =>
        {
            id.to_string()
        }
        _ => {
            let mut bytes = [0u8; 12];
            rand::rng().fill_bytes(&mut bytes);
            hex(&bytes)
        }
    }
}

pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    bearer
        .or_else(|| headers.get("x-api-key").and_then(|v| v.to_str().ok()))
        .map(str::trim)
}

/// Turns away browsers that another site sent here. A page can point its own name at this address (DNS rebinding), so a
/// server without keys answers to addresses, localhost, and the names it was given; and it answers no other origin.
fn check_names(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let forbidden = |message: &str| Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
    if app.options.keys.is_empty() && !is_known(host, &app.options.names) {
        return forbidden(
            "this server is not called by that name; use its address, or start it with --name NAME",
        );
    }
    if headers.contains_key(header::ORIGIN) {
        let origin = text(header::ORIGIN).unwrap_or_default();
        let same = origin
            .split_once("://")
            .is_some_and(|(_, rest)| rest == host);
        if !same {
            return forbidden("pages of other sites may not ask this server");
        }
    }
    Ok(())
}

fn is_known(host: &str, names: &[String]) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok()
        || names.iter().any(|n| n.eq_ignore_ascii_case(bare))
}

/// Headers of every answer. Pages may load their own files only.
fn harden(headers: &mut HeaderMap, page: bool) {
    let policy = if page {
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    let always = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// What is told about a request when its answer has ended, however it ended.
struct Account {
    app: Shared,
    started: Instant,
    method: String,
    route: String,
    status: u16,
    id: String,
    key: Option<String>,
    kind: Option<&'static str>,
    /// Room is given back when the last byte has left.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Account {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.app.metrics.active.dec();
        self.app.metrics.answered(&self.route, self.status, seconds);
        tracing::info!(
            target: "visa::access",
            method = %self.method,
            route = %self.route,
            status = self.status,
            ms = (seconds * 1e4).round() / 10.0,
            request_id = %self.id,
            key = self.key.as_deref(),
            error = self.kind,
            "answered"
        );
    }
}

/// A body that gives its account when it ends or is dropped.
struct Counted {
    inner: Body,
    #[expect(dead_code, reason = "dropped with the body, which is its use")]
    account: Account,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_its_address_or_a_name_it_was_given() {
        let names = vec!["visa.example".to_string()];
        let check =
            |host: &str, expected: bool| assert_eq!(is_known(host, &names), expected, "{host}");
        check("127.0.0.1:8400", true);
        check("[::1]:8400", true);
        check("localhost", true);
        check("VISA.example:80", true);
        check("evil.example", false);
        check("127.0.0.1.evil.example", false);
        check("", false);
        check("localhost.evil.example:8400", false);
    }

    #[test]
    fn an_id_is_taken_when_it_is_plain() {
        let check = |given: &str, taken: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).expect("a header"));
            assert_eq!(request_id(&headers) == given, taken, "{given}");
        };
        check("req-1.a:b_c", true);
        check("", false);
        check("a b", false);
        check("<script>", false);
        check(&"x".repeat(129), false);
    }
}
