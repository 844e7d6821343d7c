//! One chat call over HTTP, with its retries. Knows neither values nor prompts.

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ureq::http::Response;
use ureq::{Agent, Body, Timeout};
use visa_wire::openai::{
    ApiProblem, ChatRequest, ChatResponse, SseParser, StreamAssembler, WireError, error_message,
    parse_response,
};

use super::{EndpointError, EndpointOptions, Key};

/// An agent bound to one address.
pub(super) struct Client {
    agent: Agent,
    url: String,
    key: Option<Key>,
    timeout: Duration,
    connect_timeout: Duration,
    retries: u32,
    backoff: Duration,
    max_wait: Duration,
    max_response: usize,
}

/// What one try gave, when it gave no answer.
enum Failure {
    /// Another try may succeed; the server may have named a wait.
    Again(EndpointError, Option<Duration>),
    /// It will not.
    Final(EndpointError),
}

impl Client {
    pub(super) fn new(options: &EndpointOptions) -> Result<Self, EndpointError> {
        let url = chat_url(&options.url)?;
        if options.key.is_some() && url.starts_with("http://") && !is_loopback(&url) {
            tracing::warn!(%url, "the key travels unencrypted; prefer https");
        }
        let config = Agent::config_builder()
            // Each failure has its own words below, so statuses are no errors of the client, and nothing is followed.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(options.connect_timeout))
            .timeout_global(Some(options.timeout))
            .user_agent(concat!("visa/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            url,
            key: options.key.clone(),
            timeout: options.timeout,
            connect_timeout: options.connect_timeout,
            retries: options.retries,
            backoff: options.backoff,
            max_wait: options.max_wait,
            max_response: options.max_response,
        })
    }

    /// Sends a request and answers the text of the first choice.
    pub(super) fn chat(&self, request: &ChatRequest) -> Result<String, EndpointError> {
        let body = request.to_json().map_err(|problem| self.answer(problem))?;
        let mut attempt = 1;
        loop {
            let (error, wait) = match self.once(&body, &request.model, attempt) {
                Ok(response) => return text_of(response),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(error, wait)) => (error, wait),
            };
            let wait =
                wait.unwrap_or_else(|| self.backoff.saturating_mul(1 << (attempt - 1).min(16)));
            if attempt > self.retries
                || (wait > self.max_wait && matches!(error, EndpointError::RateLimited { .. }))
            {
                return Err(error);
            }
            tracing::debug!(%error, attempt, ?wait, "trying again");
            std::thread::sleep(wait.min(self.max_wait));
            attempt += 1;
        }
    }

    fn once(&self, body: &[u8], model: &str, attempt: u32) -> Result<ChatResponse, Failure> {
        let mut post = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {}", key.reveal()));
        }
        let mut response = post.send(body).map_err(|e| self.transport(e, attempt))?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(self.status(status, &mut response, model, attempt));
        }
        let kind = header(&response, "content-type").to_ascii_lowercase();
        if kind.starts_with("text/event-stream") {
            self.stream(&mut response, attempt)
        } else {
            let bytes = self.read(&mut response, attempt)?;
            parse_response(&bytes).map_err(|problem| {
                // A body that ends too early may be whole next time.
                let again = matches!(problem, WireError::Truncated { .. });
                let error = self.answer(problem);
                if again {
                    Failure::Again(error, None)
                } else {
                    Failure::Final(error)
                }
            })
        }
    }

    /// Reads a whole body within the limit.
    fn read(&self, response: &mut Response<Body>, attempt: u32) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.pieces(response, attempt, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn stream(&self, response: &mut Response<Body>, attempt: u32) -> Result<ChatResponse, Failure> {
        let mut parser = Some(SseParser::new());
        let mut answer = StreamAssembler::new();
        let read = self.pieces(response, attempt, |piece| {
            let events = parser.as_mut().map_or(Ok(Vec::new()), |p| p.push(piece));
            let taken = events.and_then(|events| events.iter().try_for_each(|e| answer.push(e)));
            taken.map_err(|problem| Failure::Final(self.answer(problem)))
        });
        let last = parser.take().and_then(SseParser::finish);
        match read {
            // A connection lost before the end of the stream is a cut stream, with what came until then.
            Err(Failure::Again(
                EndpointError::Connection { .. } | EndpointError::Answer { .. },
                _,
            )) if !answer.is_done() => {
                let problem = WireError::CutStream {
                    bytes: answer.bytes(),
                };
                return Err(Failure::Again(self.answer(problem), None));
            }
            Err(failure) if !answer.is_done() => return Err(failure),
            _ => {}
        }
        let finished = match last {
            Some(event) if !answer.is_done() => answer.push(&event),
            _ => Ok(()),
        }
        .and_then(|()| answer.finish());
        finished.map_err(|problem| match problem {
            // A last line that broke off inside its JSON is the cut, not a fault of the format.
            WireError::CutStream { .. } | WireError::Truncated { .. } => {
                Failure::Again(self.answer(problem), None)
            }
            other => Failure::Final(self.answer(other)),
        })
    }

    fn pieces(
        &self,
        response: &mut Response<Body>,
        attempt: u32,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // The limit is kept here rather than by the client's reader, to give it its own name.
        let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = [0u8; 8192];
        let mut total = 0;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let failure = self.transport(ureq::Error::from(e), attempt);
                    return Err(match failure {
                        Failure::Again(EndpointError::Connection { .. }, wait) => {
                            Failure::Again(self.answer(WireError::Truncated { bytes: total }), wait)
                        }
                        other => other,
                    });
                }
            };
            total += count;
            if total > self.max_response {
                return Err(Failure::Final(EndpointError::TooLarge {
                    url: self.url.clone(),
                    limit: self.max_response,
                }));
            }
            take(&buffer[..count])?;
        }
    }

    /// An answer with a status that is no success.
    fn status(
        &self,
        status: u16,
        response: &mut Response<Body>,
        model: &str,
        attempts: u32,
    ) -> Failure {
        let url = self.url.clone();
        if (300..400).contains(&status) {
            let location = header(response, "location").to_string();
            return Failure::Final(EndpointError::Redirect {
                url,
                status,
                location,
            });
        }
        let wait = retry_after(header(response, "retry-after"), SystemTime::now());
        // An unreadable error body is no reason to hide the status.
        let body = self.read(response, attempts).unwrap_or_default();
        let problem = error_message(&body);
        let unknown_model = problem.as_ref().is_some_and(is_unknown_model);
        let said = problem.map_or_else(String::new, |p| {
            let words: String = p.to_string().chars().take(300).collect();
            format!(": {words}")
        });
        match status {
            401 | 403 => Failure::Final(EndpointError::Unauthorized { url, status, said }),
            404 => Failure::Final(EndpointError::NotFound {
                url,
                model: model.to_string(),
                status,
                said,
            }),
            400 | 422 if unknown_model => Failure::Final(EndpointError::NotFound {
                url,
                model: model.to_string(),
                status,
                said,
            }),
            429 => {
                let long = wait.filter(|&w| w > self.max_wait);
                Failure::Again(
                    EndpointError::RateLimited {
                        url,
                        attempts,
                        wait: long,
                        said,
                    },
                    wait,
                )
            }
            408 | 500..=599 => Failure::Again(
                EndpointError::Server {
                    url,
                    status,
                    attempts,
                    said,
                },
                wait,
            ),
            _ => Failure::Final(EndpointError::Rejected { url, status, said }),
        }
    }

    fn transport(&self, error: ureq::Error, attempts: u32) -> Failure {
        let url = self.url.clone();
        match error {
            ureq::Error::Timeout(phase) => {
                let (seconds, phase) = match phase {
                    Timeout::Connect | Timeout::Resolve => (self.connect_timeout, "connecting"),
                    Timeout::RecvBody => (self.timeout, "reading the answer"),
                    _ => (self.timeout, "waiting for the answer"),
                };
                Failure::Final(EndpointError::Timeout {
                    url,
                    seconds: seconds.as_secs_f32(),
                    phase,
                })
            }
            ureq::Error::HostNotFound => Failure::Final(EndpointError::HostNotFound { url }),
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                Failure::Again(EndpointError::Refused { url, attempts }, None)
            }
            ureq::Error::ConnectionFailed => {
                Failure::Again(EndpointError::Refused { url, attempts }, None)
            }
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                let seconds = self.timeout.as_secs_f32();
                Failure::Final(EndpointError::Timeout {
                    url,
                    seconds,
                    phase: "waiting for the answer",
                })
            }
            ureq::Error::BadUri(_) => Failure::Final(EndpointError::Url {
                url,
                problem: "not an address",
            }),
            other => Failure::Again(
                EndpointError::Connection {
                    url,
                    problem: other.to_string(),
                    attempts,
                },
                None,
            ),
        }
    }

    fn answer(&self, problem: WireError) -> EndpointError {
        EndpointError::Answer {
            url: self.url.clone(),
            problem,
        }
    }
}

fn text_of(response: ChatResponse) -> Result<String, EndpointError> {
    // The parser guarantees a choice with text or a refusal.
    let Some(choice) = response
        .choices
        .into_iter()
        .find(|c| !c.content.trim().is_empty() || c.refusal.is_some())
    else {
        return Err(EndpointError::NoRewrite {
            start: String::new(),
        });
    };
    if let Some(words) = choice.refusal.filter(|r| !r.is_empty()) {
        return Err(EndpointError::Declined { words });
    }
    match choice.finish_reason.as_deref() {
        Some("content_filter") => Err(EndpointError::Declined {
            words: "the server's content filter stopped it".into(),
        }),
        Some("length") => Err(EndpointError::LengthLimit),
        _ => Ok(choice.content),
    }
}

fn is_unknown_model(problem: &ApiProblem) -> bool {
    let code = problem.code.as_deref().unwrap_or_default();
    let words = problem.message.to_ascii_lowercase();
    code == "model_not_found"
        || (words.contains("model")
            && ["not found", "does not exist", "not exist", "unknown"]
                .iter()
                .any(|w| words.contains(w)))
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
}

/// The chat address of a base address.
pub(super) fn chat_url(base: &str) -> Result<String, EndpointError> {
    let bad = |problem| {
        Err(EndpointError::Url {
            url: base.to_string(),
            problem,
        })
    };
    let trimmed = base.trim().trim_end_matches('/');
    let lower = trimmed.to_ascii_lowercase();
    let Some(rest) = lower
        .strip_prefix("http://")
        .or_else(|| lower.strip_prefix("https://"))
    else {
        return bad("it does not begin with http:// or https://");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        return bad("it names no host");
    }
    if host.contains('@') {
        return bad("a key in the address would end in logs; set VISA_API_KEY");
    }
    if rest.contains(['?', '#']) || rest.contains(char::is_whitespace) {
        return bad("it has a query, a fragment or a blank");
    }
    if lower.ends_with("/chat/completions") {
        return Ok(trimmed.to_string());
    }
    Ok(format!("{trimmed}/chat/completions"))
}

fn is_loopback(url: &str) -> bool {
    let host = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default();
    host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]")
}

/// The wait that a `Retry-After` header asks for: seconds, or an HTTP date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = http_date(value)?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(at.saturating_sub(now)))
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, the only form still written).
fn http_date(text: &str) -> Option<u64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let month_name = words.next()?;
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months.iter().position(|m| *m == month_name)? as i64 + 1;
    let year: i64 = words
        .next()?
        .parse()
        .ok()
        .filter(|y| (1970..10_000).contains(y))?;
    let mut clock = words
        .next()?
        .split(':')
        .map(|n| n.parse::<i64>().ok().filter(|n| (0..61).contains(n)));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // Days from the civil calendar, March-based so that the leap day ends the year.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}
