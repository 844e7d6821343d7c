//! Three tools for agents, by the Model Context Protocol over streamable HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use visa_align::Text;
use visa_align::record::{DetectOutput, RewriteInput, ScoreInput};
use visa_wire::mcp::{self, Code, Message};

use crate::app::{App, Shared};
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::native;

const INSTRUCTIONS: &str = "Tools about human values in Schwartz's theory: detect_values reads which of ten values a text speaks (-1 rejects to 1 embraces); rewrite_text rewrites a text so that it says the same in other values and answers the original with a reason when it cannot; score_rewrite judges a rewrite made elsewhere.";

pub(crate) async fn mcp(State(app): State<Shared>, body: JsonBytes) -> Response {
    let message = match mcp::parse(&body.0) {
        Ok(message) => message,
        Err(error) => return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response(),
    };
    // Notifications, and answers to questions we never ask, want no answer.
    let (Some(id), Some(method)) = (&message.id, &message.method) else {
        return StatusCode::ACCEPTED.into_response();
    };
    let answer = match method.as_str() {
        "initialize" => mcp::result(
            id,
            mcp::initialized(
                &message.params,
                "visa",
                env!("CARGO_PKG_VERSION"),
                INSTRUCTIONS,
            ),
        ),
        "ping" => mcp::result(id, json!({})),
        "tools/list" => mcp::result(id, json!({"tools": tools()})),
        "tools/call" => call(&app, id, &message).await,
        other => mcp::error(id, Code::Method, &format!("there is no method {other:?}")),
    };
    axum::Json(answer).into_response()
}

fn tools() -> Value {
    let numbers = |about: &str| {
        json!({
            "type": "object",
            "description": about,
            "additionalProperties": {"type": "number"},
        })
    };
    let target =
        numbers("The profile wanted: value names to numbers from -1 to 1, as {\"tradition\": 0.8}");
    let shift = numbers("How far each value should move: value names to numbers from -2 to 2");
    json!([
        {
            "name": "detect_values",
            "title": "Which values a text speaks",
            "description": "Reads which of ten basic human values a text speaks, and how strongly: -1 rejects, 0 is silent, 1 embraces. Also twenty finer categories with probabilities.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "The text"},
                    "context": {"type": "string", "description": "What the text answers or argues about"},
                },
                "required": ["text"],
            },
            "annotations": {"readOnlyHint": true, "idempotentHint": true, "openWorldHint": false},
        },
        {
            "name": "rewrite_text",
            "title": "A text in other values",
            "description": "Rewrites a text so that it says the same in other values, with the proof in numbers. Give one of persona, target, shift. When no rewrite is good enough the original is answered, and the reason.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "The text"},
                    "query": {"type": "string", "description": "What the text answers"},
                    "persona": {"type": "string", "description": "Whose values, in plain words"},
                    "target": target,
                    "shift": shift,
                },
                "required": ["text"],
            },
            "annotations": {"readOnlyHint": true, "openWorldHint": false},
        },
        {
            "name": "score_rewrite",
            "title": "How good a rewrite is",
            "description": "Scores a rewrite: how near its values are to the wish, whether it says the same (entailment both ways), and what a guard found changed (numbers, names, negation, quotations, URLs, code). Give target or shift.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "original": {"type": "string", "description": "The original"},
                    "candidate": {"type": "string", "description": "The rewrite"},
                    "query": {"type": "string", "description": "What the text answers"},
                    "target": target,
                    "shift": shift,
                },
                "required": ["original", "candidate"],
            },
            "annotations": {"readOnlyHint": true, "idempotentHint": true, "openWorldHint": false},
        },
    ])
}

async fn call(app: &App, id: &Value, message: &Message) -> Value {
    let name = message.params.get("name").and_then(Value::as_str);
    let arguments = match message.params.get("arguments") {
        None | Some(Value::Null) => json!({}),
        Some(arguments) => arguments.clone(),
    };
    let outcome = match name {
        Some("detect_values") => detect(app, arguments).await,
        Some("rewrite_text") => rewrite(app, arguments).await,
        Some("score_rewrite") => score(app, arguments).await,
        Some(other) => {
            return mcp::error(id, Code::Params, &format!("there is no tool {other:?}"));
        }
        None => return mcp::error(id, Code::Params, "params name no tool"),
    };
    mcp::result(id, mcp::called(outcome.map_err(|e| e.message)))
}

fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, ApiError> {
    serde_json::from_value(arguments).map_err(|e| ApiError::bad(format!("the arguments: {e}")))
}

fn print<T: serde::Serialize>(value: &T) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(ApiError::internal)
}

async fn detect(app: &App, arguments: Value) -> Result<Value, ApiError> {
    let text: Text = read(arguments)?;
    let mut answers = app.engine.detect(vec![text], false).await?;
    let detection = answers
        .pop()
        .ok_or_else(|| ApiError::internal("the detector gave no answer"))??;
    print(&DetectOutput::new(detection, false))
}

async fn rewrite(app: &App, arguments: Value) -> Result<Value, ApiError> {
    let input: RewriteInput = read(arguments)?;
    let request = native::request(app, &input)?;
    let options = app.options.rewrite.clone();
    let outcome = app.engine.rewrite(request, options, None, false).await?;
    native::count(app, &outcome);
    print(&outcome)
}

async fn score(app: &App, arguments: Value) -> Result<Value, ApiError> {
    let input: ScoreInput = read(arguments)?;
    let mut scores = native::judge(app, &[input]).await?;
    let score = scores
        .pop()
        .ok_or_else(|| ApiError::internal("the models gave no answer"))??;
    print(&score)
}
