//! LiteLLM's generic guardrail: texts of a request or an answer in, the same number of texts out, in their order.
//!
//! Format as of LiteLLM's `generic_guardrail_api` (beta). Members we do not use are ignored, since it adds its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which way the texts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the model.
    Request,
    /// From it.
    Response,
}

/// The body of `POST /beta/litellm_basic_guardrail_api`.
#[derive(Clone, Debug, Deserialize)]
pub struct GuardrailRequest {
    /// Which way.
    pub input_type: Direction,
    /// The texts; null and missing mean none.
    #[serde(default)]
    pub texts: Option<Vec<String>>,
    /// Tool calls of an answer; their presence makes it one that is not prose.
    #[serde(default)]
    pub tool_calls: Option<Value>,
    /// Who asks, with members such as `user_api_key_user_id`.
    #[serde(default)]
    pub request_data: Option<Value>,
    /// The conversation, where LiteLLM has one.
    #[serde(default)]
    pub structured_messages: Option<Vec<Value>>,
    /// What the operator configured for us.
    #[serde(default)]
    pub additional_provider_specific_params: Option<Value>,
}

impl GuardrailRequest {
    /// A text member of `request_data`.
    pub fn of_request(&self, name: &str) -> Option<&str> {
        self.request_data.as_ref()?.get(name)?.as_str()
    }
}

/// What is done about the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Nothing: they pass.
    #[serde(rename = "NONE")]
    None,
    /// They may not pass.
    #[serde(rename = "BLOCKED")]
    Blocked,
    /// Those in the answer stand in their place.
    #[serde(rename = "GUARDRAIL_INTERVENED")]
    Intervened,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardrailResponse {
    /// What is done.
    pub action: Action,
    /// Why they may not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_reason: Option<String>,
    /// As many texts as came, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_litellm_sends_is_read() {
        let request: GuardrailRequest = serde_json::from_str(
            r#"{"input_type":"response","litellm_call_id":"c","structured_messages":null,"images":null,"tools":null,
                "texts":["a","b"],"request_data":{"user_api_key_user_id":"u"},"request_headers":{"host":"x"},
                "additional_provider_specific_params":{"profile":"care"},"tool_calls":null,"model":"m"}"#,
        )
        .expect("read");
        assert_eq!(request.input_type, Direction::Response);
        assert_eq!(request.texts.as_deref().map(<[_]>::len), Some(2));
        assert_eq!(request.of_request("user_api_key_user_id"), Some("u"));
        let answer = GuardrailResponse {
            action: Action::Intervened,
            blocked_reason: None,
            texts: Some(vec!["c".into(), "b".into()]),
        };
        assert_eq!(
            serde_json::to_string(&answer).expect("printed"),
            r#"{"action":"GUARDRAIL_INTERVENED","texts":["c","b"]}"#
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_json::from_slice::<GuardrailRequest>(&bytes);
        }
    }
}
