//! The proxy before an upstream that behaves, and before those that do not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use visa_server::{Mode, OnError};

use crate::fixture::{Act, Answer, Running, Upstream, before, start, upstream};

const TEXT: &str = "You should wear a helmet because it keeps your children safe.";

fn whole(message: Value) -> String {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "service_tier": "x",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9, "details": {"x": 1}}})
    .to_string()
}

fn chunk(choices: Value) -> String {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
    format!("data: {chunk}\n\n")
}

fn stream() -> String {
    [
        chunk(json!([{"index": 0, "delta": {"role": "assistant"}}])),
        chunk(json!([{"index": 0, "delta": {"content": "You should wear a helmet "}}])),
        chunk(json!([{"index": 0, "delta": {"content": "because it keeps your children safe."}}])),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])),
        "data: [DONE]\n\n".to_string(),
    ]
    .concat()
}

async fn behind(act: Act) -> (Running, Upstream) {
    let upstream = upstream(act).await;
    let options = before(&upstream);
    (start(|o| o.upstream = Some(options)).await, upstream)
}

async fn chat(server: &Running, body: Value) -> Answer {
    let mut all = json!({"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Why?"}]});
    for (name, value) in body.as_object().expect("an object") {
        all[name] = value.clone();
    }
    server.post("/v1/chat/completions", &all).await
}

#[tokio::test]
async fn a_body_goes_on_byte_for_byte() {
    let (server, mut upstream) = behind(Act::Say(
        200,
        "application/json",
        whole(json!({"content": TEXT})),
    ))
    .await;
    let body = "{ \"model\":\"m\", \"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\"}],\"seed\":123456789012345678901234567890,\"x_new\":{\"a\":1.50} }";
    let post = |body: String| {
        let request = server
            .http
            .post(format!("{}/v1/chat/completions", server.base));
        server.send(
            request
                .header("content-type", "application/json")
                .header("cookie", "secret=1")
                .header("x-visa-mode", "off")
                .header("openai-organization", "org")
                .bearer_auth("theirs")
                .body(body),
        )
    };
    let answer = post(body.into()).await;
    assert_eq!(
        answer.text,
        whole(json!({"content": TEXT})),
        "off changes nothing"
    );
    let seen = upstream.seen.recv().await.expect("a request");
    assert!(
        seen.starts_with("POST /v1/chat/completions HTTP/1.1"),
        "{seen}"
    );
    assert!(seen.ends_with(body), "{seen}");
    let head = seen.to_ascii_lowercase();
    assert!(
        head.contains("authorization: bearer theirs") && head.contains("openai-organization: org")
    );
    assert!(!head.contains("cookie") && !head.contains("x-visa"));
    let ours = body.replace("\"model\"", "\"visa\": {\"mode\": \"audit\"}, \"model\"");
    post(ours).await;
    let seen = upstream.seen.recv().await.expect("a request");
    assert!(
        seen.contains("123456789012345678901234567890") && !seen.contains("visa"),
        "{seen}"
    );
    let twice = body.replace("\"model\":\"m\"", "\"model\":\"m\",\"model\":\"n\"");
    post(twice).await.fails(400, "occurs twice");
}

#[tokio::test]
async fn hold_answers_wholly_one_or_the_other_with_the_proof() {
    let (server, _upstream) = behind(Act::Say(
        200,
        "application/json",
        whole(json!({"role": "assistant", "content": TEXT, "x": 1})),
    ))
    .await;
    let visa = json!({"shift": {"conformity": 0.6, "security": -0.6}});
    let answer = chat(&server, json!({"visa": visa})).await;
    let body = answer.ok();
    let told = &body["visa"];
    let text = body["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text");
    assert_eq!(told["outcome"] != "rewritten", text == TEXT, "{told}");
    assert!(told["choices"][0]["texts"][0]["score"]["consistency"]["mean"].is_number());
    assert_eq!(body["service_tier"], "x");
    assert_eq!(body["usage"]["details"]["x"], 1);
    assert_eq!(answer.header("x-visa-outcome"), told["outcome"]);
    assert_eq!(answer.header("x-request-id"), told["request_id"]);
    assert!(answer.header("x-visa-score").parse::<f32>().is_ok());
    let streamed = chat(&server, json!({"visa": {"mode": "hold"}})).await;
    streamed.fails(400, "mode hold needs to know");
    let measured = chat(&server, json!({})).await.ok();
    assert_eq!(
        measured["visa"]["outcome"], "measured",
        "nobody wished anything"
    );
    assert!(measured["visa"]["choices"][0]["values"].is_object());
    let id = server
        .http
        .post(format!("{}/v1/chat/completions", server.base))
        .header("x-request-id", "mine-1")
        .json(&json!({"messages": []}));
    assert_eq!(server.send(id).await.header("x-request-id"), "mine-1");
}

#[tokio::test]
async fn what_is_no_prose_is_never_rewritten() {
    let check = async |message: Value, extra: Value, why: &str| {
        let body = whole(message.clone());
        let (server, _upstream) = behind(Act::Say(200, "application/json", body)).await;
        let mut asked = json!({"visa": {"shift": {"power": 1.0}}});
        if let Some(extra) = extra.as_object() {
            for (name, value) in extra {
                asked[name] = value.clone();
            }
        }
        let answer = chat(&server, asked).await.ok();
        assert_eq!(answer["choices"][0]["message"], message);
        assert_eq!(answer["visa"]["choices"][0]["outcome"], "untouched");
        assert_eq!(answer["visa"]["choices"][0]["reason"], why);
    };
    check(
        json!({"content": TEXT, "tool_calls": [{"id": "1"}]}),
        json!({}),
        "tool-call",
    )
    .await;
    check(
        json!({"content": null, "refusal": "No."}),
        json!({}),
        "refusal",
    )
    .await;
    let format = json!({"response_format": {"type": "json_object"}});
    check(json!({"content": "{\"a\": 1}"}), format, "structured").await;
}

#[tokio::test]
async fn the_target_comes_from_body_header_route_profile_user_or_configuration() {
    let (server, _upstream) = behind(Act::Say(
        200,
        "application/json",
        whole(json!({"content": TEXT})),
    ))
    .await;
    let put = |name: &str, body: Value| {
        server.send(
            server
                .http
                .put(format!("{}/v1/profiles/{name}", server.base))
                .json(&body),
        )
    };
    put(
        "care",
        json!({"target": {"benevolence": 0.75}, "users": ["ada"]}),
    )
    .await
    .ok();
    put(
        "bold",
        json!({"target": {"stimulation": 0.5}, "teams": ["climbers"]}),
    )
    .await
    .ok();
    let check = async |path: &str,
                       headers: &[(&'static str, &str)],
                       body: Value,
                       expected: &str,
                       profile: Value| {
        let mut all = json!({"messages": [{"role": "user", "content": "Why?"}]});
        for (name, value) in body.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let mut request = server
            .http
            .post(format!("{}{path}", server.base))
            .json(&all);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = server.send(request).await.ok();
        let told = &answer["visa"];
        let target = &told["choices"][0]["texts"][0]["target"];
        let strongest = target.as_object().and_then(|t| {
            t.iter()
                .find(|(_, v)| v.as_f64().is_some_and(|v| v != 0.0))
                .map(|(n, _)| n.clone())
        });
        assert_eq!(strongest.as_deref().unwrap_or("none"), expected, "{told}");
        assert_eq!(told["profile"], profile);
    };
    let route = "/p/care/v1/chat/completions";
    let plain = "/v1/chat/completions";
    let power = json!({"visa": {"target": {"power": 1.0}}});
    check(route, &[], json!({}), "benevolence", json!("care")).await;
    check(
        route,
        &[("x-visa-target", "hedonism=0.5")],
        json!({}),
        "hedonism",
        Value::Null,
    )
    .await;
    check(
        route,
        &[("x-visa-target", "hedonism=0.5")],
        power,
        "power",
        Value::Null,
    )
    .await;
    check(
        plain,
        &[("x-visa-profile", "bold")],
        json!({}),
        "stimulation",
        json!("bold"),
    )
    .await;
    check(
        plain,
        &[],
        json!({"user": "ada"}),
        "benevolence",
        json!("care"),
    )
    .await;
    check(
        plain,
        &[("x-visa-team", "climbers")],
        json!({}),
        "stimulation",
        json!("bold"),
    )
    .await;
    check(
        plain,
        &[("x-visa-team", "climbers"), ("x-visa-user", "ada")],
        json!({}),
        "benevolence",
        json!("care"),
    )
    .await;
    check(plain, &[], json!({"user": "stranger"}), "none", Value::Null).await;
    chat(&server, json!({"visa": {"profile": "nobody"}}))
        .await
        .fails(404, "no profile");
    chat(
        &server,
        json!({"visa": {"profile": "care", "persona": "x"}}),
    )
    .await
    .fails(400, "both given");
    chat(
        &server,
        json!({"visa": {"upstream": "http://evil.example"}}),
    )
    .await
    .fails(400, "unknown field");
    server
        .post("/p/..%2f/v1/chat/completions", &json!({"messages": []}))
        .await
        .fails(404, "no profile");
}

#[tokio::test]
async fn streams_are_held_or_audited() {
    let (server, _upstream) = behind(Act::Say(200, "text/event-stream", stream())).await;
    let read = |answer: &Answer| {
        let mut text = String::new();
        let mut told = Value::Null;
        let events = answer.events();
        assert_eq!(
            events.last().map(String::as_str),
            Some("[DONE]"),
            "{events:?}"
        );
        for data in &events[..events.len() - 1] {
            let data: Value = serde_json::from_str(data).expect("JSON");
            text.push_str(
                data["choices"][0]["delta"]["content"]
                    .as_str()
                    .unwrap_or_default(),
            );
            if !data["visa"].is_null() {
                told = data["visa"].clone();
            }
        }
        (text, told)
    };
    let audit = chat(&server, json!({"stream": true, "visa": {"mode": "audit"}})).await;
    let (text, told) = read(&audit);
    assert_eq!(
        (text.as_str(), &told["outcome"]),
        (TEXT, &json!("measured"))
    );
    let hold = chat(
        &server,
        json!({"stream": true, "visa": {"shift": {"conformity": 0.6, "security": -0.6}}}),
    )
    .await;
    assert_eq!(hold.header("x-visa-mode"), "hold");
    let (text, told) = read(&hold);
    assert_eq!(told["outcome"] != "rewritten", text == TEXT, "{told}");
    let off = chat(&server, json!({"stream": true, "visa": {"mode": "off"}})).await;
    assert_eq!(off.text, stream());
}

#[tokio::test]
async fn whoever_waits_in_hold_mode_hears_comments() {
    let mut pieces: Vec<(u64, String)> = stream()
        .split_inclusive("\n\n")
        .map(|e| (150, e.to_string()))
        .collect();
    pieces[0].0 = 0;
    let (server, _upstream) = behind(Act::Slowly(pieces)).await;
    let answer = chat(
        &server,
        json!({"stream": true, "visa": {"shift": {"power": 0.5}}}),
    )
    .await;
    let comments = answer
        .text
        .lines()
        .filter(|l| l.starts_with(": visa"))
        .count();
    assert!(comments >= 3, "{}", answer.text);
    let first = answer.text.find("data: ").expect("data");
    assert!(
        answer.text[..first]
            .lines()
            .all(|l| l.is_empty() || l.starts_with(':'))
    );
}

#[tokio::test]
async fn every_way_an_upstream_fails_has_a_name() {
    let half: String = stream().chars().take(250).collect();
    let whole = whole(json!({"content": TEXT}));
    let cases: Vec<(&str, Act, bool, u16, &str)> = vec![
        ("says nothing", Act::Silence, false, 504, "upstream-timeout"),
        (
            "hangs in a body",
            Act::Hang(whole[..40].into()),
            false,
            504,
            "upstream-timeout",
        ),
        ("resets", Act::Reset, false, 502, "upstream-reset"),
        (
            "breaks in a body",
            Act::Break(whole[..40].into()),
            false,
            502,
            "upstream-reset",
        ),
        (
            "ends in the middle",
            Act::Say(200, "application/json", whole[..40].into()),
            false,
            502,
            "upstream-cut",
        ),
        (
            "is empty",
            Act::Say(200, "application/json", String::new()),
            false,
            502,
            "upstream-cut",
        ),
        (
            "says HTML",
            Act::Say(200, "text/html", "<html>".into()),
            false,
            502,
            "upstream-html",
        ),
        (
            "says HTML as JSON",
            Act::Say(200, "application/json", "<!doctype html>".into()),
            false,
            502,
            "upstream-html",
        ),
        (
            "says something else",
            Act::Say(200, "application/json", "{\"a\":1}".into()),
            false,
            502,
            "upstream-shape",
        ),
        (
            "reports",
            Act::Say(
                200,
                "application/json",
                "{\"error\":{\"message\":\"sad\"}}".into(),
            ),
            false,
            502,
            "upstream-error",
        ),
        (
            "500",
            Act::Say(
                500,
                "application/json",
                "{\"error\":{\"message\":\"sad\",\"type\":\"upstream-own\"}}".into(),
            ),
            false,
            500,
            "upstream-own",
        ),
        (
            "500 in HTML",
            Act::Say(500, "text/html", "<html>sad".into()),
            false,
            500,
            "upstream-html",
        ),
        ("429", Act::Header(429, "retry-after", "7"), false, 429, ""),
        (
            "redirects",
            Act::Header(302, "location", "http://127.0.0.1:1/"),
            false,
            502,
            "upstream-redirect",
        ),
        (
            "half a stream",
            Act::Say(200, "text/event-stream", half.clone()),
            true,
            200,
            "upstream-cut",
        ),
        (
            "half a stream, then a break",
            Act::Break(half.clone()),
            true,
            200,
            "upstream-reset",
        ),
        (
            "half a stream, then nothing",
            Act::Hang(half),
            true,
            200,
            "upstream-timeout",
        ),
    ];
    for (what, act, streams, status, kind) in cases {
        for mode in ["hold", "audit"] {
            let (server, _upstream) = behind(act.clone()).await;
            let started = Instant::now();
            let body = json!({"stream": streams, "visa": {"mode": mode, "shift": {"power": 0.5}}});
            let answer = chat(&server, body).await;
            assert!(started.elapsed() < Duration::from_secs(5), "{what}");
            assert_eq!(answer.status, status, "{what} {mode}: {}", answer.text);
            let said = if streams {
                let last = answer.events().pop().expect("an event");
                assert!(
                    mode == "audit" || !answer.text.contains("helmet"),
                    "{what}: {}",
                    answer.text
                );
                serde_json::from_str(&last).expect("JSON")
            } else {
                answer.json()
            };
            assert_eq!(
                said["error"]["type"].as_str().unwrap_or_default(),
                kind,
                "{what} {mode}: {said}"
            );
            if status == 429 {
                assert_eq!(answer.header("retry-after"), "7");
            }
        }
    }
    let server =
        start(|o| o.upstream = Some(visa_server::UpstreamOptions::new("http://127.0.0.1:9/v1")))
            .await;
    chat(&server, json!({}))
        .await
        .fails(502, "cannot be reached");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_upstream_call() {
    for streams in [false, true] {
        let upstream = upstream(Act::Hang(stream().chars().take(100).collect())).await;
        let options = visa_server::UpstreamOptions::new(&upstream.url);
        let server = start(|o| o.upstream = Some(options)).await;
        let mut left = upstream.left;
        let body = json!({"messages": [], "stream": streams, "visa": {"shift": {"power": 0.5}}});
        let request = server
            .http
            .post(format!("{}/v1/chat/completions", server.base))
            .json(&body);
        let request = request.timeout(Duration::from_millis(300)).send();
        let outcome = async { request.await?.text().await };
        assert!(outcome.await.is_err());
        tokio::time::timeout(Duration::from_secs(5), left.recv())
            .await
            .expect("the call was cancelled");
    }
}

#[tokio::test]
async fn a_rewriting_that_fails_is_the_original_or_an_error_as_wished() {
    let upstream = upstream(Act::Say(
        200,
        "application/json",
        whole(json!({"content": TEXT})),
    ))
    .await;
    let options = before(&upstream);
    let server = start(|o| {
        o.upstream = Some(options);
        o.proxy.verdict_timeout = Duration::ZERO;
        o.proxy.mode = Mode::Hold;
        o.proxy.on_error = OnError::Original;
    })
    .await;
    let visa = json!({"shift": {"power": 1.0}});
    let kept = chat(&server, json!({"visa": visa})).await;
    let body = kept.ok();
    assert_eq!(body["choices"][0]["message"]["content"], TEXT);
    assert_eq!(
        (&body["visa"]["outcome"], kept.header("x-visa-outcome")),
        (&json!("failed"), "failed")
    );
    let visa = json!({"shift": {"power": 1.0}, "on_error": "error"});
    let refused = chat(&server, json!({"visa": visa})).await;
    refused.fails(502, "could not be judged");
    assert!(!refused.text.contains("helmet"));
}

#[tokio::test]
async fn several_answers_and_several_parts_stay_in_their_places() {
    let parts = json!([{"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": "data:x"}}]);
    let body = json!({"id": "c", "choices": [
        {"index": 0, "message": {"content": parts}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": null, "tool_calls": [{"id": "t"}]}, "finish_reason": "tool_calls"},
        {"index": 2, "message": {"content": TEXT}, "finish_reason": "length", "logprobs": null}]});
    let (server, _upstream) = behind(Act::Say(200, "application/json", body.to_string())).await;
    let answer = chat(
        &server,
        json!({"n": 3, "visa": {"shift": {"conformity": 0.6, "security": -0.6}}}),
    )
    .await
    .ok();
    let choices = answer["choices"].as_array().expect("a list");
    assert_eq!(choices.len(), 3);
    assert_eq!(choices[0]["message"]["content"][1], parts[1]);
    assert_eq!(choices[1], body["choices"][1]);
    assert_eq!(choices[2]["finish_reason"], "length");
    assert_eq!(answer["visa"]["choices"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn without_an_upstream_a_local_model_answers() {
    let server = start(|o| o.proxy.mode = Mode::Audit).await;
    let answer = chat(&server, json!({"max_tokens": 8, "n": 2})).await.ok();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(2));
    let usage = &answer["usage"];
    assert_eq!(
        usage["total_tokens"],
        usage["prompt_tokens"].as_u64().unwrap_or(0)
            + usage["completion_tokens"].as_u64().unwrap_or(0)
    );
    let text = server
        .post(
            "/v1/completions",
            &json!({"prompt": "We share", "max_tokens": 8}),
        )
        .await
        .ok();
    assert_eq!(text["object"], "text_completion");
    assert!(text["choices"][0]["text"].is_string() && text["visa"]["mode"] == "audit");
    let streamed = chat(
        &server,
        json!({"max_tokens": 8, "stream": true, "stream_options": {"include_usage": true}}),
    )
    .await;
    let events = streamed.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert!(streamed.text.contains("\"usage\"") && streamed.text.contains("\"visa\""));
    chat(&server, json!({"n": 100}))
        .await
        .fails(400, "n is 100");
    chat(&server, json!({"messages": [{"role": "user"}]}))
        .await
        .fails(400, "messages must be");
}
