//! The attempts of `attacks/injections.jsonl`: a text is data, wherever it stands.

use std::time::Duration;

use serde_json::{Value, json};
use visa_align::EndpointOptions;

use crate::fixture::{Act, before, start, upstream};

fn attempts() -> Vec<(String, String)> {
    let file = include_str!("../../../../attacks/injections.jsonl");
    let attempts: Vec<_> = file
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let text = |name: &str| line[name].as_str().expect("a text").to_string();
            (text("id"), text("text"))
        })
        .collect();
    assert!(attempts.len() >= 30);
    attempts
}

fn answer(content: &str) -> Act {
    let body = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]});
    Act::Say(200, "application/json", body.to_string())
}

#[tokio::test]
async fn a_text_reaches_a_model_only_between_tags_that_are_not_in_it() {
    let mut model = upstream(answer("Nothing of use.")).await;
    let mut options = EndpointOptions::new(&model.url, "m");
    options.retries = 0;
    options.timeout = Duration::from_secs(5);
    let server = start(|o| {
        o.engine.endpoint = Some(options);
        o.rewrite.rounds = 1;
        o.rewrite.candidates = 1;
        o.rewrite.acceptance.consistency = 1.0;
        // So that every text asks for something.
        o.rewrite.near = 0.0;
    })
    .await;
    for (id, text) in attempts() {
        for query in [None, Some(text.as_str())] {
            let mut body = json!({"text": text, "target": {"tradition": 1.0, "power": -1.0}});
            if let Some(query) = query {
                body["query"] = query.into();
            }
            let outcome = server.post("/v1/rewrite", &body).await.ok();
            assert_eq!(
                outcome["rewritten"], text,
                "{id}: what is no rewrite is not accepted"
            );
            let seen = model.seen.recv().await.expect("a request");
            let (_, sent) = seen.split_once("\r\n\r\n").expect("a body");
            let sent: Value = serde_json::from_str(sent).expect("JSON");
            let messages = sent["messages"].as_array().expect("messages");
            assert_eq!(messages.len(), 2, "{id}: no message was added");
            let (system, user) = (&messages[0]["content"], &messages[1]["content"]);
            let (system, user) = (system.as_str().expect("text"), user.as_str().expect("text"));
            assert_eq!(
                (&messages[0]["role"], &messages[1]["role"]),
                (&json!("system"), &json!("user"))
            );
            let tag = system
                .split_once("<text-")
                .and_then(|(_, rest)| rest.get(..8))
                .expect("a tag");
            assert!(!text.contains(tag), "{id}: the tag is in the text");
            let between = format!("<text-{tag}>\n{text}\n</text-{tag}>");
            assert_eq!(user.matches(&between).count(), 1, "{id}: {user}");
            assert_eq!(user.matches(&format!("</text-{tag}>")).count(), 1, "{id}");
            let rest = user
                .replace(&between, "")
                .replace(&format!("<context-{tag}>\n{text}\n</context-{tag}>"), "");
            assert!(
                !rest.contains(text.trim()) && !system.contains(text.trim()),
                "{id}: {rest}"
            );
        }
    }
}

#[tokio::test]
async fn a_text_breaks_out_of_no_format() {
    for (id, text) in attempts() {
        let behind = upstream(answer(&text)).await;
        let options = before(&behind);
        let server = start(|o| {
            o.upstream = Some(options);
            o.rewrite.rounds = 1;
            o.rewrite.candidates = 2;
        })
        .await;
        let body = json!({"user": text, "messages": [{"role": "user", "content": text}], "visa": {"shift": {"security": 0.5}}});
        let whole = server.post("/v1/chat/completions", &body).await.ok();
        let told = whole["visa"]["outcome"].as_str().expect("an outcome");
        let content = &whole["choices"][0]["message"]["content"];
        assert!(
            told == "rewritten" || *content == text,
            "{id}: {told} {content}"
        );
        let request = server
            .http
            .post(format!("{}/v1/rewrite", server.base))
            .header("accept", "text/event-stream");
        let events = server
            .send(request.json(&json!({"id": text, "text": text, "shift": {"security": 0.5}})))
            .await;
        let names: Vec<&str> = events
            .text
            .lines()
            .filter_map(|l| l.strip_prefix("event: "))
            .collect();
        assert_eq!(
            names
                .iter()
                .filter(|n| **n == "outcome" || **n == "error")
                .count(),
            1,
            "{id}: {names:?}"
        );
        assert_eq!(names.last(), Some(&"done"), "{id}");
        for data in events.events() {
            let data: Value = serde_json::from_str(&data).expect("JSON");
            assert!(data == json!({}) || data["id"] == text, "{id}: {data}");
        }
        for name in [
            "x-visa-profile",
            "x-visa-persona",
            "x-visa-target",
            "x-visa-mode",
            "x-request-id",
        ] {
            let Ok(value) = reqwest::header::HeaderValue::from_bytes(text.as_bytes()) else {
                continue;
            };
            let request = server
                .http
                .post(format!("{}/v1/chat/completions", server.base))
                .json(&json!({"messages": []}));
            let answer = server.send(request.header(name, value)).await;
            assert!(
                [200, 400, 404].contains(&answer.status),
                "{id} in {name}: {}",
                answer.text
            );
            assert!(
                answer.headers.get("set-cookie").is_none()
                    && !answer.header("x-request-id").contains('<')
            );
        }
        let mut stored = 0;
        let named = server.http.put(format!("{}/v1/profiles/x", server.base));
        let named = named.json(&json!({"persona": text, "about": text, "users": [text]}));
        let answer = server.send(named).await;
        if text.len() > 256 {
            // Longer than an id may be: refused whole.
            assert_eq!(answer.status, 413, "{id}: {}", answer.text);
        } else {
            assert_eq!(answer.ok()["persona"], text);
            stored = 1;
        }
        assert_eq!(
            server.get("/v1/profiles").await.ok()["profiles"]
                .as_array()
                .map(Vec::len),
            Some(stored),
            "{id}"
        );
        let metrics = server.get("/metrics").await.text;
        assert!(!metrics.contains("PWNED"), "{id}");
    }
}
