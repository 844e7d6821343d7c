//! Answers that come whole.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::value::RawValue;
use visa_wire::openai::{WireError, parse_response};
use visa_wire::raw::{RawError, RawObject, raw_list};

use super::choice::{Kind, WholeChoice};
use super::upstream::{UpstreamError, passed_back};
use super::verdict::{Judge, Report, Told, Verdict, measure, outcome, total};
use super::{Asked, Proxied};
use crate::error::ApiError;
use crate::options::{Mode, OnError};

impl From<RawError> for UpstreamError {
    fn from(error: RawError) -> Self {
        UpstreamError::Shape(error.to_string())
    }
}

/// A body as an object with choices.
fn open(bytes: &[u8], kind: Kind) -> Result<(RawObject, Vec<WholeChoice>), UpstreamError> {
    let body = RawObject::parse(bytes).map_err(|error| match parse_response(bytes) {
        Err(WireError::Html { .. }) => UpstreamError::Html,
        Err(WireError::Truncated { .. } | WireError::EmptyBody) => UpstreamError::Cut,
        _ => error.into(),
    })?;
    if let Some(error) = body.value("error")?.filter(|e| !e.is_null()) {
        let words = error.get("message").and_then(|m| m.as_str());
        let words = words.map_or_else(|| error.to_string(), str::to_string);
        return Err(UpstreamError::Reports(words.chars().take(300).collect()));
    }
    let list = body
        .get("choices")
        .ok_or_else(|| UpstreamError::Shape("there are no choices".into()))?;
    let choices: Vec<Box<RawValue>> = raw_list(list)?;
    let choices = choices
        .iter()
        .enumerate()
        .map(|(place, raw)| WholeChoice::parse(raw, place, kind));
    let choices = choices.collect::<Result<_, _>>()?;
    Ok((body, choices))
}

/// An answer in hold or audit mode.
pub(super) async fn answer(asked: &Asked, proxied: Proxied) -> Result<Response, ApiError> {
    let bytes = proxied.body.all(asked.app.upstream.max_answer()).await?;
    let (mut body, mut choices) = open(&bytes, asked.kind)?;
    let (reports, changed) = match &asked.judge {
        Some(judge) if asked.wish.mode == Mode::Hold => {
            let held = choices.iter().map(|c| Ok((c.index, c.held()?)));
            let held: Vec<_> = held
                .collect::<Result<_, RawError>>()
                .map_err(UpstreamError::from)?;
            let verdicts = held
                .into_iter()
                .map(|(index, held)| judge.judge(index, held));
            put(&mut choices, join_all(verdicts).await, asked.wish.on_error)?
        }
        _ => {
            let mut reports = Vec::new();
            for choice in &choices {
                let held = choice.held().map_err(UpstreamError::from)?;
                let report = measure(&asked.app, choice.index, held, asked.query.as_deref());
                reports.push(report.await);
            }
            (reports, false)
        }
    };
    let told = Told {
        request_id: asked.request_id.clone(),
        mode: asked.wish.mode,
        outcome: outcome(&reports),
        profile: asked.wish.profile.clone(),
        choices: reports,
    };
    if changed {
        let raw: Vec<Box<RawValue>> = choices
            .into_iter()
            .map(WholeChoice::into_raw)
            .collect::<Result<_, _>>()
            .map_err(ApiError::internal)?;
        body.set("choices", &raw).map_err(ApiError::internal)?;
    }
    body.set("visa", &told).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::from(body.print()));
    *response.status_mut() = proxied.status;
    let headers = response.headers_mut();
    headers.extend(
        passed_back(&proxied.headers)
            .into_iter()
            .map(|(n, v)| (Some(n), v)),
    );
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    tell(&mut response, asked.wish.mode, told.outcome);
    if let Some(total) = total(&told.choices)
        && let Ok(value) = HeaderValue::from_str(&format!("{total:.4}"))
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-visa-score"), value);
    }
    Ok(response)
}

fn put(
    choices: &mut [WholeChoice],
    verdicts: Vec<Verdict>,
    on_error: OnError,
) -> Result<(Vec<Report>, bool), ApiError> {
    let mut changed = false;
    let mut reports = Vec::with_capacity(verdicts.len());
    for (choice, verdict) in choices.iter_mut().zip(verdicts) {
        if verdict.failed() && on_error == OnError::Error {
            return Err(failed(&verdict.report.reason));
        }
        if let Some(texts) = &verdict.texts {
            choice.put(texts).map_err(UpstreamError::from)?;
            changed = true;
        }
        reports.push(verdict.report);
    }
    Ok((reports, changed))
}

/// The error of a request that wants one when rewriting fails.
pub(super) fn failed(reason: &str) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::BAD_GATEWAY,
        "rewrite-failed",
        format!("the answer could not be judged: {reason}"),
    )
}

/// An answer that passes as it came: `off`, and whatever is no success.
pub(super) async fn pass(proxied: Proxied, mode: Mode, outcome: &'static str) -> Response {
    let Proxied {
        status,
        headers,
        mut body,
    } = proxied;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Bytes, UpstreamError>>(8);
    tokio::spawn(async move {
        loop {
            let piece = tokio::select! {
                piece = body.next() => piece,
                () = send.closed() => return,
            };
            let (piece, last) = match piece {
                Ok(Some(piece)) => (Ok(piece), false),
                Ok(None) => return,
                // The client must see that the body broke, so the connection breaks.
                Err(error) => (Err(error), true),
            };
            if send.send(piece).await.is_err() || last {
                return;
            }
        }
    });
    let stream = futures_util::stream::unfold(receive, async |mut receive| {
        receive.recv().await.map(|piece| (piece, receive))
    });
    let mut response = Response::new(Body::from_stream(stream));
    *response.status_mut() = status;
    let back = passed_back(&headers).into_iter().map(|(n, v)| (Some(n), v));
    response.headers_mut().extend(back);
    tell(&mut response, mode, outcome);
    response
}

/// An answer with a status that is no success: its JSON passes, a web page does not.
pub(super) async fn refused(asked: &Asked, proxied: Proxied) -> Response {
    let status = proxied.status;
    let kind = proxied
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    asked.app.metrics.outcome("upstream-error");
    if kind.starts_with("application/json") {
        return pass(proxied, asked.wish.mode, "upstream-error").await;
    }
    let error = if kind.starts_with("text/html") {
        UpstreamError::Html
    } else {
        UpstreamError::Reports(format!("status {}", status.as_u16()))
    };
    let retry = proxied.headers.get(header::RETRY_AFTER).cloned();
    let mut error = ApiError::from(error);
    error.status = status;
    let mut response = error.into_response();
    if let Some(retry) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, retry);
    }
    tell(&mut response, asked.wish.mode, "upstream-error");
    response
}

/// Mode and outcome as headers.
pub(super) fn tell(response: &mut Response, mode: Mode, outcome: &'static str) {
    let mode = match mode {
        Mode::Hold => "hold",
        Mode::Audit => "audit",
        Mode::Off => "off",
    };
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("x-visa-mode"),
        HeaderValue::from_static(mode),
    );
    if !outcome.is_empty() {
        headers.insert(
            HeaderName::from_static("x-visa-outcome"),
            HeaderValue::from_static(outcome),
        );
    }
}
