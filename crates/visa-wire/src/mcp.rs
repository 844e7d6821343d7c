//! The Model Context Protocol, as much of it as a server of tools needs: JSON-RPC 2.0 in, one answer out.
//!
//! Revisions up to 2025-11-25 over streamable HTTP, without sessions: each request is answered by itself.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Revisions that are spoken, newest first.
pub const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// A request or a notification.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// Missing in a notification, which wants no answer.
    #[serde(default)]
    pub id: Option<Value>,
    /// What is asked; missing in an answer to a question of ours, which we do not ask.
    #[serde(default)]
    pub method: Option<String>,
    /// With what.
    #[serde(default)]
    pub params: Value,
}

/// JSON-RPC's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No JSON.
    Parse,
    /// No request.
    Request,
    /// No such method.
    Method,
    /// Parameters of another shape.
    Params,
}

impl Code {
    fn number(self) -> i32 {
        match self {
            Code::Parse => -32_700,
            Code::Request => -32_600,
            Code::Method => -32_601,
            Code::Params => -32_602,
        }
    }
}

/// Reads one message. Lists (batches) are of older revisions and refused.
///
/// # Errors
/// The error to answer with.
pub fn parse(bytes: &[u8]) -> Result<Message, Value> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|e| error(&Value::Null, Code::Parse, &e.to_string()))?;
    let id = value.get("id").cloned().unwrap_or(Value::Null);
    let message: Message = serde_json::from_value(value)
        .map_err(|e| error(&id, Code::Request, &format!("not a JSON-RPC request: {e}")))?;
    if message.jsonrpc != "2.0" {
        return Err(error(&id, Code::Request, "jsonrpc must be \"2.0\""));
    }
    Ok(message)
}

/// An answer.
pub fn result(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// An answer that is an error of the protocol.
pub fn error(id: &Value, code: Code, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code.number(), "message": message}})
}

/// The answer to `initialize`: the caller's revision if it is spoken, else the newest.
pub fn initialized(params: &Value, name: &str, version: &str, instructions: &str) -> Value {
    let asked = params.get("protocolVersion").and_then(Value::as_str);
    let revision = REVISIONS
        .into_iter()
        .find(|r| Some(*r) == asked)
        .unwrap_or(REVISIONS[0]);
    json!({
        "protocolVersion": revision,
        "capabilities": {"tools": {"listChanged": false}},
        "serverInfo": {"name": name, "version": version},
        "instructions": instructions,
    })
}

/// What a tool answers: its object, and the same as text for models that read text. A tool that fails says so in its
/// answer, since the model should read why.
pub fn called<T: Serialize>(outcome: Result<T, String>) -> Value {
    match outcome.and_then(|value| serde_json::to_value(value).map_err(|e| e.to_string())) {
        Ok(value) => json!({
            "content": [{"type": "text", "text": value.to_string()}],
            "structuredContent": value,
            "isError": false,
        }),
        Err(why) => json!({"content": [{"type": "text", "text": why}], "isError": true}),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read_and_wrong_ones_answered() {
        let check = |body: &str, expected: Result<Option<&str>, i64>| {
            let found = parse(body.as_bytes())
                .map(|m| m.method)
                .map_err(|e| e["error"]["code"].as_i64().unwrap_or(0));
            assert_eq!(found, expected.map(|m| m.map(str::to_string)), "{body}");
        };
        check(
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            Ok(Some("ping")),
        );
        check(
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            Ok(Some("notifications/initialized")),
        );
        check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Ok(None));
        check("{", Err(-32_700));
        check("[]", Err(-32_600));
        check(r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, Err(-32_600));
        check(r#"{"id":1,"method":"x"}"#, Err(-32_600));
    }

    #[test]
    fn a_known_revision_is_kept() {
        let check = |asked: Value, expected: &str| {
            let answer = initialized(&json!({"protocolVersion": asked}), "n", "v", "i");
            assert_eq!(answer["protocolVersion"], expected);
        };
        check(json!("2025-03-26"), "2025-03-26");
        check(json!("1999-01-01"), REVISIONS[0]);
        check(Value::Null, REVISIONS[0]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
