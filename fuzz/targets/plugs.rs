//! Bodies of guardrails, reward workers, classifiers and tools.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use visa_wire::classify::{ClassifyRequest, PredictRequest, predict_inputs};
use visa_wire::guardrail::GuardrailRequest;
use visa_wire::rewards::{RemoteReward, RewardRequest, answer_of};

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(reward) = read::<RemoteReward>(bytes) {
        let prompts = reward.prompts.unwrap_or_default();
        for (i, query) in reward.query.iter().enumerate() {
            let answer = answer_of(query, prompts.get(i).map(String::as_str));
            assert!(
                answer.len() <= query.len(),
                "an answer is part of its query"
            );
        }
    }
    let _ = read::<RewardRequest>(bytes);
    if let Some(predict) = read::<PredictRequest>(bytes) {
        let _ = predict_inputs(&predict.inputs);
    }
    if let Some(classify) = read::<ClassifyRequest>(bytes) {
        let _ = classify.input.into_list();
    }
    if let Some(guardrail) = read::<GuardrailRequest>(bytes) {
        let _ = guardrail.of_request("user_api_key_user_id");
    }
    if let Err(answer) = visa_wire::mcp::parse(bytes) {
        assert!(answer["error"]["code"].is_i64(), "a refusal has a code");
    }
});
