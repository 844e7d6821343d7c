//! Ways in which an endpoint fails, each named.

use std::time::Duration;

use visa_wire::openai::WireError;

/// A failure of the rewriting endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address is none.
    #[error(
        "endpoint address {url:?}: {problem}; expected something like http://localhost:8000/v1"
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An option makes no sense.
    #[error("endpoint options: {problem}")]
    Option {
        /// What is wrong and what is possible.
        problem: &'static str,
    },
    /// Nobody listens there.
    #[error("{url} refused the connection {attempts} times; is the server running there?")]
    Refused {
        /// The address.
        url: String,
        /// Tries made.
        attempts: u32,
    },
    /// The host's name means nothing.
    #[error("the host of {url} was not found; check the address and the network")]
    HostNotFound {
        /// The address.
        url: String,
    },
    /// No (whole) answer in time.
    #[error(
        "{url} did not answer within {seconds:.1} s ({phase}); the server hangs or is overloaded, or raise the timeout"
    )]
    Timeout {
        /// The address.
        url: String,
        /// The limit that ran out.
        seconds: f32,
        /// While doing what.
        phase: &'static str,
    },
    /// The connection broke, or the secure connection could not be made.
    #[error("the connection to {url} failed: {problem} ({attempts} tries)")]
    Connection {
        /// The address.
        url: String,
        /// What the client said.
        problem: String,
        /// Tries made.
        attempts: u32,
    },
    /// The server points elsewhere. Redirects are not followed: they would carry text and key to a place nobody named.
    #[error(
        "{url} redirects ({status}) to {location:?}, which is not followed; if that is right, pass it as the address"
    )]
    Redirect {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// The key is missing or wrong.
    #[error("{url} does not accept the key ({status}{said}); set VISA_API_KEY or OPENAI_API_KEY")]
    Unauthorized {
        /// The address.
        url: String,
        /// 401 or 403.
        status: u16,
        /// `: ` and the server's words, or nothing.
        said: String,
    },
    /// The server knows no such model, or has no such path.
    #[error(
        "{url} knows no model {model:?} or no such path ({status}{said}); check --endpoint-model and the address"
    )]
    NotFound {
        /// The address.
        url: String,
        /// The model asked for.
        model: String,
        /// The status.
        status: u16,
        /// `: ` and the server's words, or nothing.
        said: String,
    },
    /// Too many requests, even after waiting.
    #[error("{url} asks for fewer requests (429{said}) after {attempts} tries{}; wait, or lower the number of candidates", wait_words(*.wait))]
    RateLimited {
        /// The address.
        url: String,
        /// Tries made.
        attempts: u32,
        /// The wait that the server asked for, where it exceeds what we wait.
        wait: Option<Duration>,
        /// `: ` and the server's words, or nothing.
        said: String,
    },
    /// The server failed, even after waiting.
    #[error("{url} failed with status {status}{said} after {attempts} tries")]
    Server {
        /// The address.
        url: String,
        /// 408 or 5xx.
        status: u16,
        /// Tries made.
        attempts: u32,
        /// `: ` and the server's words, or nothing.
        said: String,
    },
    /// The server does not like the request.
    #[error("{url} rejects the request with status {status}{said}")]
    Rejected {
        /// The address.
        url: String,
        /// Any other status that is no success.
        status: u16,
        /// `: ` and the server's words, or nothing.
        said: String,
    },
    /// The bytes are no answer: empty, a web page, cut off, of another shape.
    #[error("the answer of {url} cannot be used: {problem}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: WireError,
    },
    /// The answer is too long.
    #[error("the answer of {url} exceeds {limit} bytes and was given up")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The model declined.
    #[error("the model declined: {words}")]
    Declined {
        /// In its words, or the server's filter.
        words: String,
    },
    /// The answer ran into the token limit.
    #[error("the answer was cut off at the token limit; raise the limit or shorten the text")]
    LengthLimit,
    /// The answer holds reasoning but no rewrite.
    #[error("the answer holds no rewrite between its tags (it begins {start:?})")]
    NoRewrite {
        /// The beginning of the answer.
        start: String,
    },
}

impl EndpointError {
    /// Whether the same request would fail again whoever sends it, so that other candidates need not be asked for.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Declined { .. }
                | Self::LengthLimit
                | Self::NoRewrite { .. }
                | Self::TooLarge { .. }
        )
    }
}

fn wait_words(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |w| {
        format!("; it asks to wait {} s", w.as_secs())
    })
}
