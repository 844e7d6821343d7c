//! What other programs plug into, in their own formats.

use serde_json::{Value, json};
use visa_align::Goal;
use visa_values::Target;

use crate::fixture::{Running, start};

const TEXT: &str = "You should wear a helmet because it keeps your children safe.";

async fn wishing() -> Running {
    start(|o| {
        let target = visa_values::Profile::parse("security=1").expect("a profile");
        o.proxy.goal = Some(Goal::Target(Target::new(target)));
    })
    .await
}

fn numbers(answer: &Value) -> Vec<f64> {
    let list = answer["rewards"].as_array().expect("rewards");
    assert_eq!(answer["rewards"], answer["scores"]);
    list.iter()
        .map(|r| r.as_f64().expect("a finite number"))
        .collect()
}

#[tokio::test]
async fn openrlhf_gets_one_finite_number_a_query_and_none_for_none() {
    let server = wishing().await;
    let post = async |body: Value| server.post("/get_reward", &body).await;
    for empty in [json!({"query": [], "prompts": [], "labels": []}), json!({})] {
        assert_eq!(numbers(&post(empty).await.ok()).len(), 0);
    }
    let query = json!({"query": [format!("Why?{TEXT}</s>")], "prompts": ["Why?"], "labels": [""]});
    let plain = json!({"query": [TEXT], "prompts": [], "labels": []});
    let (with, without) = (
        numbers(&post(query).await.ok())[0],
        numbers(&post(plain).await.ok())[0],
    );
    assert!((0.0..=1.0).contains(&with) && (0.0..=1.0).contains(&without));
    let label = json!({"query": [TEXT, TEXT], "labels": ["security=1", {"security": -1}]});
    let both = numbers(&post(label).await.ok());
    assert!((both[0] - without).abs() < 1e-4);
    assert!(
        (both[0] + both[1] - 1.0).abs() < 1e-4,
        "opposite targets share the reward"
    );
    post(json!({"query": [TEXT], "labels": ["nobody"]}))
        .await
        .fails(404, "no profile");
    post(json!({"query": [TEXT], "labels": [1, 2]}))
        .await
        .fails(400, "labels has 2 entries");
    start(|_| ())
        .await
        .post("/get_reward", &json!({"query": [TEXT]}))
        .await
        .fails(400, "nothing says which");
}

#[tokio::test]
async fn rewards_for_completions_and_for_rewrites() {
    let server = wishing().await;
    let post = async |body: Value| server.post("/reward", &body).await;
    let all = numbers(
        &post(json!({"completions": [TEXT, "", TEXT], "prompts": ["Why?", "Why?", ""]}))
            .await
            .ok(),
    );
    assert_eq!(
        (all.len(), all[1]),
        (3, 0.5),
        "an empty one speaks for nothing and against nothing"
    );
    let rewrites = json!({"completions": [TEXT, ""], "originals": [TEXT, TEXT]});
    let rewrites = numbers(&post(rewrites).await.ok());
    assert!(rewrites[0] > 0.4 && rewrites[1] == 0.0, "{rewrites:?}");
    let factory = json!({"model": "model", "messages": [format!("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n{TEXT}<|im_end|>\n")]});
    let factory = numbers(&post(factory).await.ok());
    let plain = numbers(&post(json!({"completions": [TEXT]})).await.ok());
    assert!((factory[0] - plain[0]).abs() < 1e-4);
    post(json!({})).await.fails(400, "completions");
    let words = json!({"completions": [TEXT], "profile": "p"});
    post(words.clone()).await.fails(404, "no profile");
    let put = server
        .http
        .put(format!("{}/v1/profiles/p", server.base))
        .json(&json!({"persona": "more tradition"}));
    server.send(put).await.ok();
    assert_eq!(numbers(&post(words).await.ok()).len(), 1);
}

#[tokio::test]
async fn litellm_gets_as_many_texts_as_it_sent() {
    let server = start(|o| o.rewrite.acceptance.consistency = 0.0).await;
    let post = async |body: Value| {
        server
            .post("/beta/litellm_basic_guardrail_api", &body)
            .await
    };
    let params = json!({"shift": {"conformity": 0.6, "security": -0.6}});
    let body = |kind: &str, texts: Value| json!({"input_type": kind, "texts": texts, "request_data": {}, "additional_provider_specific_params": params});
    let answer = post(body("response", json!([TEXT, "", TEXT]))).await.ok();
    match answer["action"].as_str() {
        Some("NONE") => assert!(answer["texts"].is_null()),
        Some("GUARDRAIL_INTERVENED") => {
            let texts = answer["texts"].as_array().expect("texts");
            assert_eq!((texts.len(), &texts[1]), (3, &json!("")));
            assert!(texts[0] != TEXT || texts[2] != TEXT);
        }
        other => panic!("{other:?}"),
    }
    let none = json!({"action": "NONE"});
    assert_eq!(
        post(body("request", json!([TEXT]))).await.ok(),
        none,
        "a person's own words pass"
    );
    assert_eq!(post(body("response", json!([]))).await.ok(), none);
    assert_eq!(post(body("response", Value::Null)).await.ok(), none);
    let mut calls = body("response", json!([TEXT]));
    calls["tool_calls"] = json!([{"id": "1"}]);
    assert_eq!(post(calls).await.ok(), none, "tool calls are for programs");
    assert_eq!(
        post(json!({"input_type": "response", "texts": [TEXT]}))
            .await
            .ok(),
        none,
        "nobody wished anything"
    );
}

#[tokio::test]
async fn classification_in_two_dialects() {
    let server = start(|_| ()).await;
    let one = server
        .post("/predict", &json!({"inputs": TEXT, "truncate": true}))
        .await
        .ok();
    let scores: Vec<f64> = one
        .as_array()
        .expect("classes")
        .iter()
        .map(|c| c["score"].as_f64().expect("a number"))
        .collect();
    assert_eq!(scores.len(), 20);
    assert!(scores.is_sorted_by(|a, b| a >= b));
    let list = server
        .post("/predict", &json!({"inputs": [[TEXT], [TEXT, "Why?"]]}))
        .await
        .ok();
    assert_eq!(list[0].as_array().map(Vec::len), Some(20));
    assert_eq!(list[0][0]["label"], one[0]["label"]);
    server
        .post("/predict", &json!({"inputs": 5}))
        .await
        .fails(400, "inputs must be");
    let classes = server
        .post("/classify", &json!({"model": "m", "input": [TEXT, TEXT]}))
        .await
        .ok();
    assert_eq!(classes["data"][1]["index"], 1);
    assert_eq!(classes["data"][0]["label"], one[0]["label"]);
    assert_eq!(classes["data"][0]["num_classes"], 20);
}

#[tokio::test]
async fn agents_find_three_tools() {
    let server = start(|_| ()).await;
    let call = async |method: &str, params: Value| {
        server
            .post(
                "/mcp",
                &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}),
            )
            .await
            .ok()
    };
    let hello = call("initialize", json!({"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}})).await;
    assert_eq!(
        (&hello["id"], &hello["result"]["protocolVersion"]),
        (&json!(7), &json!("2025-03-26"))
    );
    let notified = server
        .post(
            "/mcp",
            &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        )
        .await;
    assert_eq!((notified.status, notified.text.as_str()), (202, ""));
    let tools = call("tools/list", json!({})).await;
    let tools = tools["result"]["tools"].as_array().expect("tools").clone();
    assert_eq!(tools.len(), 3);
    for (name, arguments, member) in [
        ("detect_values", json!({"text": TEXT}), "values"),
        (
            "rewrite_text",
            json!({"text": TEXT, "shift": {"power": 0.5}}),
            "outcome",
        ),
        (
            "score_rewrite",
            json!({"original": TEXT, "candidate": TEXT, "shift": {"power": 0.5}}),
            "total",
        ),
    ] {
        assert!(tools.iter().any(|t| t["name"] == name));
        let answer = call("tools/call", json!({"name": name, "arguments": arguments})).await;
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{result}");
        assert!(!result["structuredContent"][member].is_null(), "{result}");
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().expect("text"))
                .expect("JSON");
        assert_eq!(text, result["structuredContent"]);
    }
    let failed = call(
        "tools/call",
        json!({"name": "detect_values", "arguments": {"text": " "}}),
    )
    .await;
    assert_eq!(failed["result"]["isError"], true);
    assert_eq!(
        call("tools/call", json!({"name": "rm"})).await["error"]["code"],
        -32_602
    );
    assert_eq!(
        call("resources/list", json!({})).await["error"]["code"],
        -32_601
    );
}
