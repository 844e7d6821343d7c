//! Rewrites by a language model behind an OpenAI-compatible endpoint.
//!
//! This backend asks, waits, retries within bounds and cleans the answer; whether the answer is a good rewrite is
//! judged by the loop, as for every backend. The text to rewrite is data: it stands between random tags, and the model
//! is told to follow nothing inside them.

mod error;
mod http;
mod prompt;
#[cfg(test)]
mod tests;

use std::time::Duration;

use visa_wire::openai::ChatRequest;

use crate::backend::{Backend, Proposal};
use crate::error::Result;

pub use error::EndpointError;
pub use prompt::Prompt;

use http::Client;

/// Variables that may hold the key, the first that is set counts.
pub const KEY_VARIABLES: [&str; 2] = ["VISA_API_KEY", "OPENAI_API_KEY"];

/// The bearer key of an endpoint; its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// A key in plain text.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key in [`KEY_VARIABLES`], if one is set and not empty.
    pub fn from_env() -> Option<Self> {
        KEY_VARIABLES
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .map(|key| key.trim().to_string())
            .find(|key| !key.is_empty())
            .map(Self)
    }

    /// The key itself, for the header it is sent in.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How an endpoint is asked.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// Base address, such as `http://localhost:8000/v1`; `/chat/completions` is appended unless it is there.
    pub url: String,
    /// The model's name at the endpoint.
    pub model: String,
    /// Bearer key, if the endpoint wants one.
    pub key: Option<Key>,
    /// How the model is prompted.
    pub prompt: Prompt,
    /// Sampling temperature.
    pub temperature: f32,
    /// Most tokens of an answer; `None` allows four times the text, and at least 512.
    pub max_tokens: Option<u32>,
    /// Whether answers are asked for as event streams.
    pub stream: bool,
    /// Requests in flight at once.
    pub parallel: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// Tries after the first one, on 408, 429, 5xx, lost connections and cut answers.
    pub retries: u32,
    /// Wait before the first retry; doubles with each, unless the server names a time.
    pub backoff: Duration,
    /// Longest wait before a retry; a server that asks for more is not retried.
    pub max_wait: Duration,
    /// Most bytes of an answer.
    pub max_response: usize,
}

impl EndpointOptions {
    /// Defaults for `model` at `url`, key from the environment.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            key: Key::from_env(),
            prompt: Prompt::Rules,
            temperature: 0.8,
            max_tokens: None,
            stream: false,
            parallel: 4,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(180),
            retries: 3,
            backoff: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
            max_response: 4 << 20,
        }
    }
}

/// The backend.
pub struct EndpointBackend {
    options: EndpointOptions,
    client: Client,
}

impl EndpointBackend {
    /// A backend; nothing is sent yet.
    ///
    /// # Errors
    /// [`EndpointError::Url`] when the address is none, [`EndpointError::Option`] when an option makes no sense.
    pub fn new(options: EndpointOptions) -> std::result::Result<Self, EndpointError> {
        if options.model.trim().is_empty() {
            return Err(EndpointError::Option {
                problem: "the model's name is empty; pass --endpoint-model NAME",
            });
        }
        if !(0.0..=2.0).contains(&options.temperature) {
            return Err(EndpointError::Option {
                problem: "the temperature must be between 0 and 2",
            });
        }
        if options.parallel == 0 || options.timeout.is_zero() {
            return Err(EndpointError::Option {
                problem: "parallel requests and the timeout must be above zero",
            });
        }
        let client = Client::new(&options)?;
        Ok(Self { options, client })
    }

    /// One candidate: ask, then take the rewrite out of the answer.
    fn candidate(
        &self,
        proposal: &Proposal<'_>,
        index: usize,
    ) -> std::result::Result<String, EndpointError> {
        let seed = proposal.seed.wrapping_add(index as u64);
        let tag = prompt::tag(proposal.text, proposal.best, seed);
        let messages = prompt::messages(self.options.prompt, proposal, &tag);
        let mut request = ChatRequest::new(&self.options.model, messages);
        request.temperature = Some(self.options.temperature);
        // Servers keep seeds in 32 or 64 signed bits; 31 bits fit all of them.
        request.seed = Some(seed & 0x7fff_ffff);
        request.max_tokens = Some(
            self.options
                .max_tokens
                .unwrap_or_else(|| answer_tokens(proposal.text, self.options.prompt)),
        );
        request.stream = self.options.stream;
        let answer = self.client.chat(&request)?;
        prompt::rewrite_of(self.options.prompt, &answer, &tag)
    }
}

/// Room for an answer: a token is at least a byte or so of text in the worst scripts and about four in English.
fn answer_tokens(text: &str, prompt: Prompt) -> u32 {
    let think = if prompt == Prompt::Think { 2048 } else { 0 };
    u32::try_from(text.len())
        .unwrap_or(u32::MAX)
        .clamp(512, 32_768)
        + think
}

impl Backend for EndpointBackend {
    /// `n` requests, at most `parallel` at once. Candidates of requests that failed are missing (and logged); when all
    /// failed, the first error is the answer.
    fn propose(&mut self, proposal: &Proposal<'_>) -> Result<Vec<String>> {
        let mut candidates = Vec::new();
        let mut first_error = None;
        let indices: Vec<usize> = (0..proposal.n).collect();
        for wave in indices.chunks(self.options.parallel) {
            let this = &*self;
            let answers: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = wave
                    .iter()
                    .map(|&i| scope.spawn(move || this.candidate(proposal, i)))
                    .collect();
                threads
                    .into_iter()
                    .map(|t| {
                        t.join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect()
            });
            for answer in answers {
                match answer {
                    Ok(text) => candidates.push(text),
                    Err(error) => {
                        tracing::warn!(%error, "a candidate is missing");
                        // Another try of the same request cannot succeed: do not spend the other calls.
                        if error.is_final() && candidates.is_empty() {
                            return Err(error.into());
                        }
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        match first_error {
            Some(error) if candidates.is_empty() => Err(error.into()),
            _ => Ok(candidates),
        }
    }

    fn name(&self) -> String {
        format!(
            "{} at {} ({})",
            self.options.model, self.options.url, self.options.prompt
        )
    }
}
