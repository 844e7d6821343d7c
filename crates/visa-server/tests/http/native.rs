//! The native API.

use serde_json::{Value, json};

use crate::fixture::start;

const TEXT: &str = "You should wear a helmet because it keeps your children safe.";

#[tokio::test]
async fn one_object_or_a_list_in_order_with_errors_in_their_place() {
    let server = start(|_| ()).await;
    let one = server.post("/v1/detect", &json!({"text": TEXT})).await.ok();
    assert_eq!(one["id"], 1);
    assert_eq!(one["values"].as_object().map(|v| v.len()), Some(10));
    assert_eq!(one["categories"].as_object().map(|v| v.len()), Some(20));
    assert!(one["spans"].is_null());
    let list = server
        .post(
            "/v1/detect",
            &json!([{"id": "a", "text": TEXT}, {"text": " "}, {"txt": 1}, 5, {"id": {"x": 1}, "text": TEXT, "context": "why"}]),
        )
        .await
        .ok();
    let ids: Vec<Value> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| r["id"].clone())
        .collect();
    assert_eq!(
        ids,
        [json!("a"), json!(2), json!(3), json!(4), json!({"x": 1})]
    );
    let near = |a: &Value, b: &Value| {
        let power = |v: &Value| v["values"]["power"].as_f64().expect("a number");
        (power(a) - power(b)).abs() < 1e-4
    };
    assert!(near(&list[0], &one), "the batch changes rounding alone");
    assert!(list[1]["error"].to_string().contains("text is empty"));
    assert!(
        list[2]["error"]
            .to_string()
            .contains("missing field `text`")
    );
    assert!(list[3]["error"].to_string().contains("one JSON object"));
    assert!(list[4]["values"].is_object());
    assert_eq!(server.post("/v1/detect", &json!([])).await.ok(), json!([]));
    let spans = server
        .post("/v1/detect?spans=true", &json!({"text": TEXT}))
        .await
        .ok();
    assert!(spans["spans"].is_array());
    server
        .post("/v1/detect", &json!({"text": ""}))
        .await
        .fails(400, "text is empty");
    server
        .post("/v1/detect?spam=1", &json!({"text": TEXT}))
        .await
        .fails(400, "spam");
}

#[tokio::test]
async fn people_are_estimated_from_their_texts() {
    let server = start(|o| o.limits.records = 4).await;
    let ines = json!({"texts": [TEXT, {"text": "Freedom!", "context": "Why?"}, "Keep the fire."]});
    let made = server.post("/v1/estimate", &ines).await.ok();
    assert_eq!((&made["texts"], &made["id"]), (&json!(3), &json!(1)));
    assert!(made["needed"].as_u64().expect("a number") >= 2);
    assert_eq!(made["uncertainty"].as_object().map(|u| u.len()), Some(10));
    // A text alone has the values that it is read with.
    let one =
        json!([{"id": "a", "texts": [TEXT]}, {"texts": [" "]}, {"texts": [TEXT, "Freedom!"]}]);
    let list = server.post("/v1/estimate", &one).await.ok();
    let read = server.post("/v1/detect", &json!({"text": TEXT})).await.ok();
    let power = |v: &Value| v["power"].as_f64().expect("a number");
    assert!((power(&list[0]["target"]) - power(&read["values"])).abs() < 1e-4);
    assert!(list[0]["uncertainty"].is_null() && list[0]["id"] == "a");
    assert!(list[1]["error"].to_string().contains("text 1 is empty"));
    assert_eq!(list[2]["texts"], 2);
    let many = json!({"texts": [TEXT, TEXT, TEXT, TEXT, TEXT]});
    server
        .post("/v1/estimate", &many)
        .await
        .fails(413, "5 texts and the limit is 4");
    server
        .post("/v1/estimate", &json!({"texts": []}))
        .await
        .fails(400, "list of texts is empty");
}

#[tokio::test]
async fn translate_and_score_answer_as_the_command_line() {
    let server = start(|_| ()).await;
    let answer = server
        .post(
            "/v1/translate",
            &json!({"instruction": "tradition=+0.8, power=-0.5", "from": {"tradition": 0.5}}),
        )
        .await
        .ok();
    assert_eq!(answer["shift"]["power"], -0.5);
    assert_eq!(answer["target"]["tradition"], 1.0);
    server
        .post("/v1/translate", &json!({"instruction": "tradtion=1"}))
        .await
        .fails(400, "did you mean");
    let pair = json!({"original": TEXT, "candidate": TEXT, "target": {"power": 1.0}});
    let score = server.post("/v1/score", &pair).await.ok();
    assert_eq!(score["consistency"]["mean"], 1.0, "a copy says the same");
    assert_eq!(score["value"]["progress"], 0.0);
    server
        .post("/v1/score", &json!({"original": TEXT, "candidate": TEXT}))
        .await
        .fails(400, "nothing says where");
    let list = json!([{"original": TEXT, "candidate": " ", "shift": {}}, pair]);
    let list = server.post("/v1/score", &list).await.ok();
    assert!(list[0]["error"].to_string().contains("candidate is empty"));
    assert_eq!(list[1]["consistency"]["mean"], 1.0);
}

#[tokio::test]
async fn a_rewrite_answers_whole_or_round_by_round() {
    let server = start(|options| options.rewrite.rounds = 2).await;
    let body = json!({"id": "r", "text": TEXT, "shift": {"conformity": 0.6, "security": -0.6}});
    let whole = server.post("/v1/rewrite?candidates=2", &body).await.ok();
    assert_eq!(whole["id"], "r");
    assert_eq!(whole["original"], TEXT);
    let outcome = whole["outcome"].as_str().expect("a name");
    let original = whole["rewritten"] == whole["original"];
    assert_eq!(
        outcome != "rewritten",
        original,
        "wholly the one or the other"
    );
    let again = server.post("/v1/rewrite?candidates=2", &body).await.ok();
    assert_eq!(
        again["rewritten"], whole["rewritten"],
        "the same seed, the same bytes"
    );
    let request = server
        .http
        .post(format!("{}/v1/rewrite", server.base))
        .header("accept", "text/event-stream")
        .json(&json!([body, {"text": ""}]));
    let stream = server.send(request).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let names: Vec<&str> = stream
        .text
        .lines()
        .filter_map(|l| l.strip_prefix("event: "))
        .collect();
    assert_eq!(names[..2], ["aimed", "asking"], "{names:?}");
    assert_eq!(
        names[names.len() - 3..],
        ["outcome", "error", "done"],
        "{names:?}"
    );
    for data in stream.events() {
        let data: Value = serde_json::from_str(&data).expect("JSON");
        assert!(data == json!({}) || !data["id"].is_null(), "{data}");
    }
    server
        .post("/v1/rewrite", &json!({"text": TEXT}))
        .await
        .fails(400, "nothing says where");
    server
        .post("/v1/rewrite?rounds=99", &body)
        .await
        .fails(400, "rounds is 99");
    let persona = json!({"text": TEXT, "persona": "more tradition"});
    assert!(server.post("/v1/rewrite", &persona).await.ok()["target"].is_object());
}

#[tokio::test]
async fn profiles_are_kept_and_deleted() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("p.sqlite");
    let server = start(|options| options.profiles = Some(path.clone())).await;
    let put = |name: &str, body: Value| {
        server.send(
            server
                .http
                .put(format!("{}/v1/profiles/{name}", server.base))
                .json(&body),
        )
    };
    let care = json!({"target": {"benevolence": 0.8}, "users": ["ada"], "about": "by hand"});
    assert_eq!(put("care", care).await.ok()["name"], "care");
    put("..%2Fetc", json!({"persona": "x"}))
        .await
        .fails(400, "no profile name");
    put("a", json!({"persona": "x", "url": "http://x"}))
        .await
        .fails(400, "unknown field");
    put("a", json!({"name": "b", "persona": "x"}))
        .await
        .fails(400, "the path names");
    let all = server.get("/v1/profiles").await.ok();
    assert_eq!(all["profiles"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        server.get("/v1/profiles/care").await.ok()["users"],
        json!(["ada"])
    );
    let delete = || {
        server.send(
            server
                .http
                .delete(format!("{}/v1/profiles/care", server.base)),
        )
    };
    assert_eq!(delete().await.status, 204);
    delete().await.fails(404, "no profile");
    server
        .get("/v1/profiles/care")
        .await
        .fails(404, "no profile");
}

#[tokio::test]
async fn it_tells_its_state() {
    let server = start(|_| ()).await;
    assert_eq!(server.get("/health").await.ok()["status"], "ok");
    assert_eq!(server.get("/ready").await.ok()["status"], "ready");
    server.post("/v1/detect", &json!({"text": TEXT})).await.ok();
    let metrics = server.get("/metrics").await.text;
    for part in [
        "visa_requests_total{route=\"/v1/detect\",status=\"200\"} 1",
        "visa_batch_items_count{stage=\"detect\"} 1",
        "visa_queue_length{stage=\"rewrite\"} 0",
    ] {
        assert!(metrics.contains(part), "{part} is not in {metrics}");
    }
    assert!(!metrics.contains("helmet"));
    let models = server.get("/v1/models").await.ok();
    let ids: Vec<&str> = models["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|m| m["id"].as_str())
        .collect();
    assert!(
        ids.contains(&"visa-detector") && ids.contains(&"rewriter"),
        "{ids:?}"
    );
    let page = server.get("/").await;
    assert!(
        page.text.contains("<title>VISA") && page.header("content-type").starts_with("text/html")
    );
    server.get("/nothing/here").await.fails(404, "nothing here");
    server
        .get("/../../Cargo.toml")
        .await
        .fails(404, "nothing here");
    server.get("/v1/detect").await.fails(405, "another method");
}
