//! The proxy for OpenAI-compatible clients: requests pass, answers come back in the values wished.
//!
//! A request's body goes on byte for byte, without its `visa` member if it has one. Of an answer only the texts of its
//! choices are ever changed; tool calls and refusals never are. How an answer ended is told in headers where it is
//! known before they leave, and in a `visa` member always.

mod choice;
mod local;
mod stream;
#[cfg(test)]
mod stream_tests;
mod upstream;
mod verdict;
mod whole;
mod wish;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use visa_wire::raw::{RawError, RawObject};

use crate::app::Shared;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::events;
use crate::guard::RequestId;
use crate::options::Mode;

use choice::Kind;
use stream::StreamOptions;
use upstream::{Answer, UpstreamError};
use verdict::{Rewriting, Told, measure};
use wish::Wish;

pub(crate) use upstream::Upstream;
pub(crate) use verdict::query_of;
pub(crate) use wish::{Control, wish};

/// Pieces a slow client may be behind.
const BEHIND: usize = 16;

/// An upstream's answer on its way back.
type Proxied = Answer;

/// A request that was understood.
struct Asked {
    app: Shared,
    kind: Kind,
    wish: Wish,
    request_id: String,
    query: Option<String>,
    judge: Option<Rewriting>,
}

pub(crate) async fn chat(
    State(app): State<Shared>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    proxy(app, Kind::Chat, id, None, headers, body).await
}

pub(crate) async fn text(
    State(app): State<Shared>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    proxy(app, Kind::Text, id, None, headers, body).await
}

pub(crate) async fn chat_to(
    State(app): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path(profile): Path<String>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    proxy(app, Kind::Chat, id, Some(profile), headers, body).await
}

pub(crate) async fn text_to(
    State(app): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path(profile): Path<String>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    proxy(app, Kind::Text, id, Some(profile), headers, body).await
}

async fn proxy(
    app: Shared,
    kind: Kind,
    id: RequestId,
    profile: Option<String>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let mut object = RawObject::parse(&body.0).map_err(unreadable)?;
    let control: Control = match object.remove("visa") {
        None => Control::default(),
        Some(raw) => serde_json::from_str(raw.get())
            .map_err(|e| ApiError::bad(format!("the member visa: {e}")))?,
    };
    let messages = match object.value("messages").map_err(unreadable)? {
        Some(Value::Array(messages)) => messages,
        _ => Vec::new(),
    };
    let most = app.options.limits.messages;
    if messages.len() > most {
        return Err(ApiError::too_large(format!(
            "the chat has {} messages and the limit is {most}",
            messages.len()
        )));
    }
    let user = match object.value("user").map_err(unreadable)? {
        Some(Value::String(user)) => Some(user),
        _ => None,
    };
    let wish = wish(&app, control, &headers, profile.as_deref(), user.as_deref()).await?;
    let streams = object.value("stream").map_err(unreadable)? == Some(Value::Bool(true));
    let query = query_of(&messages);
    let judge = match (wish.mode, wish.goal.clone()) {
        (Mode::Hold, Some(goal)) => {
            // Refused before the upstream has cost anything, or not at all.
            if !app.engine.has_room() {
                return Err(ApiError::busy());
            }
            Some(Rewriting {
                app: app.clone(),
                goal,
                query: query.clone(),
                untouched: structured(&object).map_err(unreadable)?,
            })
        }
        _ => None,
    };
    let asked = Asked {
        kind,
        wish,
        request_id: id.0,
        query,
        judge,
        app,
    };
    // What had no member of ours goes on as it came, blanks and all.
    let bytes = if RawObject::parse(&body.0).is_ok_and(|o| o.get("visa").is_none()) {
        body.0
    } else {
        Bytes::from(object.print())
    };
    let answer = match &asked.app.upstream {
        Upstream::Local => local::answer(&asked.app, kind, &bytes).await?,
        Upstream::Remote(remote) => {
            let answer = remote.post(kind.path(), bytes, &headers).await;
            answer.inspect_err(|e| asked.app.metrics.outcome(e.outcome()))?
        }
    };
    respond(asked, answer, streams).await
}

fn unreadable(error: RawError) -> ApiError {
    ApiError::bad(format!("the body: {error}"))
}

/// Answers whose form the caller fixed are data for programs, not prose.
fn structured(object: &RawObject) -> Result<Option<&'static str>, RawError> {
    let format = object.value("response_format")?;
    let kind = format.as_ref().and_then(|f| f.get("type")?.as_str());
    Ok(kind.filter(|k| *k != "text").map(|_| "structured"))
}

async fn respond(asked: Asked, answer: Answer, streams: bool) -> Result<Response, ApiError> {
    let outcomes = asked.app.clone();
    if !answer.status.is_success() {
        return Ok(whole::refused(&asked, answer).await);
    }
    if asked.wish.mode == Mode::Off {
        outcomes.metrics.outcome("off");
        return Ok(whole::pass(answer, Mode::Off, "off").await);
    }
    let media = answer
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    if media.starts_with("text/html") {
        outcomes.metrics.outcome(UpstreamError::Html.outcome());
        return Err(UpstreamError::Html.into());
    }
    if streams && media.starts_with("text/event-stream") {
        return Ok(stream_answer(asked, answer));
    }
    // Some servers answer whole although a stream was asked for; their clients know.
    let response = whole::answer(&asked, answer).await;
    response.inspect_err(|e| {
        if e.status == StatusCode::BAD_GATEWAY || e.status == StatusCode::GATEWAY_TIMEOUT {
            outcomes.metrics.outcome(e.kind);
        }
    })
}

fn stream_answer(asked: Asked, answer: Answer) -> Response {
    let (send, receive) = mpsc::channel::<Bytes>(BEHIND);
    let mode = asked.wish.mode;
    let back = upstream::passed_back(&answer.headers);
    tokio::spawn(async move {
        let options = StreamOptions {
            kind: asked.kind,
            on_error: asked.wish.on_error,
            keep_alive: asked.app.options.proxy.keep_alive,
            limit: asked.app.upstream.max_answer(),
        };
        let told = Told {
            request_id: asked.request_id.clone(),
            mode,
            outcome: "",
            profile: asked.wish.profile.clone(),
            choices: Vec::new(),
        };
        let done = match &asked.judge {
            Some(judge) => stream::hold(answer.body, &options, judge, told, &send).await,
            None => {
                let (app, query) = (&asked.app, asked.query.as_deref());
                let measured = async |choices: Vec<(usize, choice::Held)>| {
                    let mut reports = Vec::with_capacity(choices.len());
                    for (index, held) in choices {
                        reports.push(measure(app, index, held, query).await);
                    }
                    reports
                };
                stream::audit(answer.body, &options, measured, told, &send).await
            }
        };
        let outcome = done.unwrap_or("client-gone");
        if outcome.starts_with("upstream-") || outcome == "client-gone" {
            asked.app.metrics.outcome(outcome);
        }
        tracing::info!(target: "visa::access", request_id = %asked.request_id, outcome, "stream ended");
    });
    let mut response = events::stream(receive);
    let headers = response.headers_mut();
    for (name, value) in back {
        if name != header::CONTENT_TYPE {
            headers.append(name, value);
        }
    }
    whole::tell(&mut response, mode, "");
    response
}
