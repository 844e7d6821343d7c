//! The OpenAI chat-completions format: requests out, whole responses and event streams in.
//!
//! Only what a rewriting client needs: text messages, sampling options, choices, errors. Tools, images and audio are
//! not modelled; unknown fields are ignored, since servers add their own.

mod response;
mod sse;
mod stream;

use serde::{Deserialize, Serialize};

pub use response::{ApiProblem, ChatResponse, Choice, Usage, error_message, parse_response};
pub use sse::{Event, MAX_EVENT, SseParser};
pub use stream::StreamAssembler;

/// Who speaks a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person, or the application in their place.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// The body of `POST …/chat/completions`. Options that are `None` are left to the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatRequest {
    /// The model's name at the server.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Sampling temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus of the distribution to sample from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Most tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How many answers; many servers ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Seed, where the server honours one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the answer comes as an event stream.
    pub stream: bool,
}

impl ChatRequest {
    /// A request with the server's defaults, answered whole.
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            model: model.into(),
            messages,
            temperature: None,
            top_p: None,
            max_tokens: None,
            n: None,
            seed: None,
            stream: false,
        }
    }

    /// The JSON body.
    ///
    /// # Errors
    /// [`WireError::NotFinite`] when a sampling option is NaN or infinite, which JSON cannot say.
    pub fn to_json(&self) -> Result<Vec<u8>, WireError> {
        for (field, value) in [("temperature", self.temperature), ("top_p", self.top_p)] {
            if value.is_some_and(|v| !v.is_finite()) {
                return Err(WireError::NotFinite { field });
            }
        }
        // Strings, integers and finite numbers cannot fail to serialise; the error is kept for the type's sake.
        serde_json::to_vec(self).map_err(|e| WireError::NotJson {
            problem: e.to_string(),
            start: String::new(),
        })
    }
}

/// Ways in which a server's bytes are not an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Nothing came.
    #[error("the body is empty")]
    EmptyBody,
    /// A web page came in place of JSON.
    #[error(
        "the body is a web page, not JSON (it begins {start:?}); is this the address of an API?"
    )]
    Html {
        /// Its beginning.
        start: String,
    },
    /// The JSON ends too early.
    #[error("the body is cut off after {bytes} bytes")]
    Truncated {
        /// How many bytes came.
        bytes: usize,
    },
    /// The bytes are no JSON.
    #[error("the body is not valid JSON ({problem}; it begins {start:?})")]
    NotJson {
        /// What the parser said.
        problem: String,
        /// The beginning.
        start: String,
    },
    /// JSON of another shape.
    #[error("the body is no chat completion: {problem}")]
    Shape {
        /// What is missing or of the wrong type.
        problem: String,
    },
    /// The server reports an error in the body.
    #[error("the server reports: {0}")]
    Api(ApiProblem),
    /// There is no choice, or no text in any choice.
    #[error("the answer holds no text")]
    NoText,
    /// The stream ended before it said that it was done.
    #[error("the stream was cut after {bytes} bytes of answer")]
    CutStream {
        /// Bytes of answer text so far.
        bytes: usize,
    },
    /// One event of a stream is longer than [`MAX_EVENT`].
    #[error("one event of the stream exceeds {limit} bytes")]
    EventTooLong {
        /// The limit.
        limit: usize,
    },
    /// A number that JSON cannot say.
    #[error("{field} is not a finite number")]
    NotFinite {
        /// The field.
        field: &'static str,
    },
}

/// The beginning of some bytes, for a message: at most 60 characters, control characters as blanks.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(240)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(60)
        .collect::<String>()
        .trim()
        .to_string()
}

#[cfg(test)]
mod tests;
