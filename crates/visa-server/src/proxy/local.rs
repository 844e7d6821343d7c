//! Chats answered by the model here, in the shapes an upstream would answer in, so that all behind is the same.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use rand::RngCore;
use serde::Deserialize;
use serde_json::{Value, json};
use visa_nn::Message;
use visa_nn::sample::SampleOptions;

use super::choice::Kind;
use super::upstream::{Answer, Pieces};
use crate::app::{App, now};
use crate::engine::{Continued, Prompt, PromptKind};
use crate::error::ApiError;
use crate::keys::hex;

/// Most answers to one request.
const ANSWERS: usize = 8;
/// Most tokens of an answer, whatever is asked for.
const TOKENS: usize = 2048;

/// What the local model understands of a request; the rest is left alone, as servers do.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(default)]
    messages: Vec<Value>,
    #[serde(default)]
    prompt: Value,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    max_completion_tokens: Option<usize>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    stop: Value,
    #[serde(default)]
    stream_options: Value,
}

/// Answers a body of either API.
pub(super) async fn answer(app: &App, kind: Kind, body: &[u8]) -> Result<Answer, ApiError> {
    let request: Request =
        serde_json::from_slice(body).map_err(|e| ApiError::bad(format!("the body: {e}")))?;
    let n = request.n.unwrap_or(1);
    if !(1..=ANSWERS).contains(&n) {
        return Err(ApiError::bad(format!("n is {n}; give 1 to {ANSWERS}")));
    }
    let of = match kind {
        Kind::Chat => PromptKind::Chat(messages(&request.messages)?),
        Kind::Text => PromptKind::Text(match &request.prompt {
            Value::String(text) => text.clone(),
            Value::Array(list) if list.len() == 1 && list[0].is_string() => {
                list[0].as_str().unwrap_or_default().to_string()
            }
            _ => return Err(ApiError::bad("prompt must be one text")),
        }),
    };
    let defaults = SampleOptions::default();
    let stop = match &request.stop {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list
            .iter()
            .filter_map(|s| s.as_str().map(str::to_string))
            .collect(),
        _ => Vec::new(),
    };
    let asked = request.max_completion_tokens.or(request.max_tokens);
    let options = SampleOptions {
        temperature: request.temperature.unwrap_or(defaults.temperature),
        top_p: request.top_p.unwrap_or(defaults.top_p),
        seed: request
            .seed
            .map_or(app.options.rewrite.seed, i64::cast_unsigned),
        max_tokens: asked.unwrap_or(defaults.max_tokens).clamp(1, TOKENS),
        stop,
        ..defaults
    };
    options.check().map_err(ApiError::bad)?;
    let prompts = (0..n as u64).map(|i| Prompt {
        of: of.clone(),
        options: SampleOptions {
            seed: options.seed.wrapping_add(i),
            ..options.clone()
        },
    });
    let Some(answers) = app.engine.generate(prompts.collect()).await else {
        return Err(ApiError::internal("there is no local model"));
    };
    let answers: Vec<Continued> = answers?.into_iter().collect::<Result<_, _>>()?;
    let frame = Frame::new(app, kind, &answers);
    let mut headers = HeaderMap::new();
    let (media, body) = if request.stream == Some(true) {
        let usage = request.stream_options["include_usage"] == Value::Bool(true);
        ("text/event-stream", frame.stream(&answers, usage))
    } else {
        ("application/json", frame.whole(&answers))
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(Answer {
        status: StatusCode::OK,
        headers,
        body: Pieces::ready(Bytes::from(body)),
    })
}

fn messages(list: &[Value]) -> Result<Vec<Message>, ApiError> {
    let messages = list.iter().map(|message| {
        let role = message.get("role")?.as_str()?;
        let content = match message.get("content")? {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts
                .iter()
                .filter_map(|p| p.get("text")?.as_str())
                .collect(),
            _ => return None,
        };
        Some(Message::new(role, content))
    });
    match messages.collect::<Option<Vec<_>>>() {
        Some(messages) if !messages.is_empty() => Ok(messages),
        _ => Err(ApiError::bad(
            "messages must be a list of at least one {\"role\", \"content\"}, with text in it",
        )),
    }
}

/// What all chunks of an answer share.
struct Frame {
    id: String,
    created: u64,
    model: String,
    kind: Kind,
    usage: Value,
}

impl Frame {
    fn new(app: &App, kind: Kind, answers: &[Continued]) -> Self {
        let mut bytes = [0u8; 12];
        rand::rng().fill_bytes(&mut bytes);
        let prompt = answers.first().map_or(0, |a| a.prompt_tokens);
        let completion: usize = answers.iter().map(|a| a.completion_tokens).sum();
        Self {
            id: format!("visa-{}", hex(&bytes)),
            created: now(),
            model: app.engine.local_name().unwrap_or("local").to_string(),
            kind,
            usage: json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}),
        }
    }

    fn object(&self, chunk: bool, choices: Value) -> Value {
        let object = match (self.kind, chunk) {
            (Kind::Chat, false) => "chat.completion",
            (Kind::Chat, true) => "chat.completion.chunk",
            (Kind::Text, _) => "text_completion",
        };
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices})
    }

    fn whole(&self, answers: &[Continued]) -> String {
        let choices: Value = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| {
                let reason = reason(answer);
                match self.kind {
                    Kind::Chat => json!({"index": index, "message": {"role": "assistant", "content": answer.text, "refusal": null}, "logprobs": null, "finish_reason": reason}),
                    Kind::Text => json!({"index": index, "text": answer.text, "logprobs": null, "finish_reason": reason}),
                }
            })
            .collect();
        let mut body = self.object(false, choices);
        body["usage"] = self.usage.clone();
        body.to_string()
    }

    fn stream(&self, answers: &[Continued], usage: bool) -> String {
        let mut out = String::new();
        let mut say = |choices: Value| {
            out.push_str(&format!("data: {}\n\n", self.object(true, choices)));
        };
        for (index, answer) in answers.iter().enumerate() {
            let reason = reason(answer);
            match self.kind {
                Kind::Chat => {
                    say(
                        json!([{"index": index, "delta": {"role": "assistant", "content": answer.text}, "finish_reason": null}]),
                    );
                    say(json!([{"index": index, "delta": {}, "finish_reason": reason}]));
                }
                Kind::Text => {
                    say(json!([{"index": index, "text": answer.text, "finish_reason": reason}]));
                }
            }
        }
        if usage {
            let mut chunk = self.object(true, json!([]));
            chunk["usage"] = self.usage.clone();
            out.push_str(&format!("data: {chunk}\n\n"));
        }
        out.push_str("data: [DONE]\n\n");
        out
    }
}

fn reason(answer: &Continued) -> &'static str {
    if answer.ended { "stop" } else { "length" }
}
