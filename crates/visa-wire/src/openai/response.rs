//! Whole (not streamed) answers.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{WireError, beginning};

/// A chat completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatResponse {
    /// The model that answered, as the server names it.
    pub model: Option<String>,
    /// The answers, by index.
    pub choices: Vec<Choice>,
    /// Tokens spent, where the server says.
    pub usage: Option<Usage>,
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Its place among the answers.
    pub index: usize,
    /// The text; reasoning that the server keeps apart is not in it.
    pub content: String,
    /// Why it ended: `stop`, `length`, `content_filter`, …
    pub finish_reason: Option<String>,
    /// The model declined, in these words.
    pub refusal: Option<String>,
}

/// Tokens spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// An error object of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiProblem {
    /// In words.
    pub message: String,
    /// Its `code` or, failing that, its `type`.
    pub code: Option<String>,
}

impl fmt::Display for ApiProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Parses a whole answer.
///
/// # Errors
/// Every way of [`WireError`] that concerns a body; never panics, whatever the bytes.
pub fn parse_response(body: &[u8]) -> Result<ChatResponse, WireError> {
    let value = parse_json(body)?;
    if let Some(problem) = problem_of(&value) {
        return Err(WireError::Api(problem));
    }
    let shape = |problem: &str| WireError::Shape {
        problem: problem.to_string(),
    };
    let choices = value
        .get("choices")
        .ok_or_else(|| shape("there is no field choices"))?
        .as_array()
        .ok_or_else(|| shape("choices is not a list"))?;
    let choices: Vec<Choice> = choices
        .iter()
        .enumerate()
        .map(|(place, choice)| parse_choice(place, choice))
        .collect::<Result<_, _>>()?;
    if choices
        .iter()
        .all(|c| c.content.trim().is_empty() && c.refusal.is_none())
    {
        return Err(WireError::NoText);
    }
    Ok(ChatResponse {
        model: text_of(value.get("model")),
        choices,
        usage: value.get("usage").and_then(|u| Usage::deserialize(u).ok()),
    })
}

/// The error message inside a body, if it has one: for answers with an error status. Falls back to the body's
/// beginning in words, so that a proxy's plain-text error is not lost.
pub fn error_message(body: &[u8]) -> Option<ApiProblem> {
    match parse_json(body) {
        Ok(value) => problem_of(&value).or_else(|| {
            let message = text_of(value.get("message")).or_else(|| text_of(value.get("detail")))?;
            Some(ApiProblem {
                message,
                code: None,
            })
        }),
        Err(WireError::Html { .. } | WireError::EmptyBody) => None,
        Err(_) => Some(beginning(body))
            .filter(|s| !s.is_empty())
            .map(|message| ApiProblem {
                message,
                code: None,
            }),
    }
}

fn parse_choice(place: usize, choice: &Value) -> Result<Choice, WireError> {
    let message = choice.get("message").ok_or_else(|| WireError::Shape {
        problem: format!("choice {place} has no message"),
    })?;
    Ok(Choice {
        index: index_of(choice).unwrap_or(place),
        content: content_of(message.get("content")),
        finish_reason: text_of(choice.get("finish_reason")),
        refusal: text_of(message.get("refusal")),
    })
}

pub(super) fn parse_json(body: &[u8]) -> Result<Value, WireError> {
    let trimmed = body.trim_ascii();
    if trimmed.is_empty() {
        return Err(WireError::EmptyBody);
    }
    if looks_like_html(trimmed) {
        return Err(WireError::Html {
            start: beginning(trimmed),
        });
    }
    serde_json::from_slice(trimmed).map_err(|e| {
        if e.is_eof() {
            WireError::Truncated { bytes: body.len() }
        } else {
            WireError::NotJson {
                problem: e.to_string(),
                start: beginning(trimmed),
            }
        }
    })
}

fn looks_like_html(body: &[u8]) -> bool {
    let start: Vec<u8> = body.iter().take(15).map(u8::to_ascii_lowercase).collect();
    [
        &b"<!doctype"[..],
        b"<html",
        b"<head",
        b"<body",
        b"<?xml",
        b"<!--",
    ]
    .iter()
    .any(|mark| start.starts_with(mark))
}

/// The error object of a body: `{"error": {"message", "type", "code"}}`, or `{"error": "words"}` as some servers say.
pub(super) fn problem_of(value: &Value) -> Option<ApiProblem> {
    let error = value.get("error").filter(|e| !e.is_null())?;
    if let Some(message) = error.as_str() {
        return Some(ApiProblem {
            message: message.to_string(),
            code: None,
        });
    }
    let code = match error.get("code") {
        Some(Value::Number(n)) => Some(n.to_string()),
        code => text_of(code).or_else(|| text_of(error.get("type"))),
    };
    let message =
        text_of(error.get("message")).unwrap_or_else(|| beginning(error.to_string().as_bytes()));
    Some(ApiProblem { message, code })
}

/// A message's content: a string, or a list of parts of which the text parts count.
pub(super) fn content_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|p| p.as_str().or_else(|| p.get("text")?.as_str()))
            .collect(),
        _ => String::new(),
    }
}

pub(super) fn text_of(value: Option<&Value>) -> Option<String> {
    value?.as_str().map(str::to_string)
}

/// The index a server gives; absurd ones count as none, since they size a list.
pub(super) fn index_of(choice: &Value) -> Option<usize> {
    choice
        .get("index")?
        .as_u64()
        .and_then(|i| usize::try_from(i).ok())
        .filter(|&i| i < 1024)
}
