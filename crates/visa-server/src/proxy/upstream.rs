//! The server behind the proxy: one configured address, no redirects, every way of failing with its name.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::app::App;
use crate::error::{ApiError, ServerError};
use crate::options::UpstreamOptions;

/// How an upstream fails. Each is an outcome with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    #[error("the upstream gave nothing for {0} s")]
    Timeout(u64),
    #[error("the upstream's connection broke: {0}")]
    Reset(String),
    #[error("the upstream's answer ended before it was complete")]
    Cut,
    #[error("the upstream answered with a web page, not an API")]
    Html,
    #[error("the upstream's answer is not what its API promises: {0}")]
    Shape(String),
    #[error("the upstream's answer has more than the {0} bytes that are held")]
    TooLarge(usize),
    #[error("the upstream sends us elsewhere (status {0}), and redirects are not followed")]
    Redirect(u16),
    #[error("the upstream reports: {0}")]
    Reports(String),
}

impl UpstreamError {
    /// The outcome's name.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "upstream-unreachable",
            Self::Timeout(_) => "upstream-timeout",
            Self::Reset(_) => "upstream-reset",
            Self::Cut => "upstream-cut",
            Self::Html => "upstream-html",
            Self::Shape(_) => "upstream-shape",
            Self::TooLarge(_) => "upstream-too-large",
            Self::Redirect(_) => "upstream-redirect",
            Self::Reports(_) => "upstream-error",
        }
    }
}

impl From<UpstreamError> for ApiError {
    fn from(error: UpstreamError) -> Self {
        let status = match error {
            UpstreamError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        ApiError::new(status, error.outcome(), error)
    }
}

/// Where chats go.
pub(crate) enum Upstream {
    /// To the model here.
    Local,
    /// To a server.
    Remote(Remote),
}

pub(crate) struct Remote {
    client: reqwest::Client,
    base: String,
    options: UpstreamOptions,
    /// Whether the caller's key is meant for the upstream.
    forward_key: bool,
}

/// The head of an answer, and its body to come.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Pieces,
}

impl Upstream {
    pub(crate) fn new(
        options: Option<&UpstreamOptions>,
        forward_key: bool,
    ) -> Result<Self, ServerError> {
        let Some(options) = options else {
            return Ok(Upstream::Local);
        };
        let wrong =
            |problem: &str| ServerError::Option(format!("--upstream {}: {problem}", options.url));
        let url = reqwest::Url::parse(&options.url).map_err(|e| {
            wrong(&format!(
                "{e}; give an address such as http://localhost:8000/v1"
            ))
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(
                "it does not begin with http:// or https:// and a host",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "a key in the address would end in logs; set VISA_UPSTREAM_KEY",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(30));
        // A proxy of the environment has no way to our own machine.
        let client = match url.host_str() {
            Some("localhost" | "127.0.0.1" | "[::1]") => client.no_proxy(),
            _ => client,
        };
        Ok(Upstream::Remote(Remote {
            client: client.build().map_err(|e| wrong(&e.to_string()))?,
            base: options.url.trim_end_matches('/').to_string(),
            options: options.clone(),
            forward_key,
        }))
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Upstream::Local)
    }

    /// Most bytes of an answer that is held.
    pub(crate) fn max_answer(&self) -> usize {
        match self {
            Upstream::Local => 4 << 20,
            Upstream::Remote(remote) => remote.options.max_answer,
        }
    }

    /// The upstream's models; none for the local one.
    pub(crate) async fn models(&self, app: &App) -> Result<Vec<Value>, UpstreamError> {
        let Upstream::Remote(remote) = self else {
            return Ok(Vec::new());
        };
        let request = remote.client.get(format!("{}/models", remote.base));
        let answer = remote
            .send(request, &HeaderMap::new(), Duration::from_secs(5))
            .await?;
        if !answer.status.is_success() {
            return Err(UpstreamError::Reports(format!("status {}", answer.status)));
        }
        let bytes = answer.body.all(app.upstream.max_answer()).await?;
        let list: Value =
            serde_json::from_slice(&bytes).map_err(|e| UpstreamError::Shape(e.to_string()))?;
        match list.get("data").and_then(Value::as_array) {
            Some(data) => Ok(data.clone()),
            None => Err(UpstreamError::Shape(
                "the list of models has no data".into(),
            )),
        }
    }
}

impl Remote {
    /// Posts a body to a path below the base address; the path is ours, never the caller's.
    pub(crate) async fn post(
        &self,
        path: &'static str,
        body: Bytes,
        headers: &HeaderMap,
    ) -> Result<Answer, UpstreamError> {
        let request = self
            .client
            .post(format!("{}/{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        self.send(request, headers, self.options.timeout).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        headers: &HeaderMap,
        total: Duration,
    ) -> Result<Answer, UpstreamError> {
        let deadline = Instant::now() + total;
        let idle = self.options.idle_timeout;
        let mut request = request.headers(passed_on(headers));
        match &self.options.key {
            Some(key) => request = request.bearer_auth(key.reveal()),
            None if self.forward_key => {
                if let Some(own) = headers.get(header::AUTHORIZATION) {
                    request = request.header(header::AUTHORIZATION, own);
                }
            }
            None => {}
        }
        let until = deadline.min(Instant::now() + idle);
        let response = tokio::time::timeout_at(until, request.send())
            .await
            .map_err(|_| UpstreamError::Timeout(idle.min(total).as_secs()))?
            .map_err(|e| self.named(&e))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(UpstreamError::Redirect(status.as_u16()));
        }
        Ok(Answer {
            status,
            headers: response.headers().clone(),
            body: Pieces {
                from: Source::Remote(Box::new(response)),
                idle,
                deadline: Some(deadline),
            },
        })
    }

    fn named(&self, error: &reqwest::Error) -> UpstreamError {
        if error.is_timeout() {
            return UpstreamError::Timeout(self.options.connect_timeout.as_secs());
        }
        // The address is the operator's affair and stays out of answers; the cause below it is what helps.
        let cause = innermost(error);
        if error.is_connect() {
            UpstreamError::Unreachable(cause)
        } else {
            UpstreamError::Reset(cause)
        }
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Headers of the caller that the upstream may see. Everything else stays here: cookies, our own key, addresses.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let known = |name: &HeaderName| {
        let name = name.as_str();
        matches!(
            name,
            "accept" | "user-agent" | "traceparent" | "tracestate" | "x-title"
        ) || name.starts_with("openai-")
            || name.starts_with("x-stainless-")
    };
    headers
        .iter()
        .filter(|(name, _)| known(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Headers of the upstream that the caller may see.
pub(crate) fn passed_back(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let text = name.as_str();
            if text == "x-request-id" {
                return Some((
                    HeaderName::from_static("x-upstream-request-id"),
                    value.clone(),
                ));
            }
            let known = matches!(text, "content-type" | "retry-after")
                || text.starts_with("openai-")
                || text.starts_with("x-ratelimit-");
            known.then(|| (name.clone(), value.clone()))
        })
        .collect()
}

/// A body that comes in pieces, within time limits.
pub(crate) struct Pieces {
    from: Source,
    idle: Duration,
    deadline: Option<Instant>,
}

enum Source {
    Remote(Box<reqwest::Response>),
    Ready(Option<Bytes>),
    #[cfg_attr(not(test), expect(dead_code, reason = "streams of tests"))]
    Channel(mpsc::Receiver<Result<Bytes, UpstreamError>>),
}

impl Pieces {
    /// A body that is there already.
    pub(crate) fn ready(bytes: Bytes) -> Self {
        Self {
            from: Source::Ready(Some(bytes)),
            idle: Duration::MAX,
            deadline: None,
        }
    }

    /// A body fed by a test.
    #[cfg(test)]
    pub(crate) fn channel(
        from: mpsc::Receiver<Result<Bytes, UpstreamError>>,
        idle: Duration,
    ) -> Self {
        Self {
            from: Source::Channel(from),
            idle,
            deadline: None,
        }
    }

    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let response = match &mut self.from {
            Source::Ready(bytes) => return Ok(bytes.take()),
            Source::Channel(from) => {
                return match tokio::time::timeout(self.idle, from.recv()).await {
                    Ok(piece) => piece.transpose(),
                    Err(_) => Err(UpstreamError::Timeout(self.idle.as_secs())),
                };
            }
            Source::Remote(response) => response,
        };
        let idle = Instant::now() + self.idle;
        let until = self.deadline.map_or(idle, |d| d.min(idle));
        match tokio::time::timeout_at(until, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(UpstreamError::Reset(innermost(&error))),
            Err(_) => Err(UpstreamError::Timeout(self.idle.as_secs())),
        }
    }

    /// All of it, up to a limit.
    pub(crate) async fn all(mut self, limit: usize) -> Result<Bytes, UpstreamError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if all.len() + piece.len() > limit {
                return Err(UpstreamError::TooLarge(limit));
            }
            all.extend_from_slice(&piece);
        }
        Ok(Bytes::from(all))
    }
}
