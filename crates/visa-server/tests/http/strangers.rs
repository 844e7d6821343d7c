//! Who is let in, and what nobody may do.

use std::time::Duration;

use serde_json::json;
use visa_align::Models;
use visa_server::{Keys, Server, ServerError, ServerOptions, new_key};

use crate::fixture::{models, start};

const TEXT: &str = "We share what we have, so that nobody goes hungry.";

#[tokio::test]
async fn a_key_opens_every_route_and_nothing_but_its_like_does() {
    let (key, digest) = new_key();
    let keys = Keys::parse(&[format!("a:{digest}")]).expect("a digest");
    let server = start(|options| options.keys = keys).await;
    let paths: Vec<(reqwest::Method, String)> = {
        let document = server
            .send(
                server
                    .http
                    .get(format!("{}/openapi.json", server.base))
                    .bearer_auth(&key),
            )
            .await
            .ok();
        let paths = document["paths"].as_object().expect("paths").clone();
        paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().expect("methods").keys().map(move |m| {
                    let method = m.to_uppercase().parse().expect("a method");
                    (method, path.replace(['{', '}'], ""))
                })
            })
            .collect()
    };
    assert!(paths.len() > 15);
    for (method, path) in &paths {
        let ask = |key: Option<&str>| {
            let mut request = server
                .http
                .request(method.clone(), format!("{}{path}", server.base));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            server.send(
                request
                    .header("content-type", "application/json")
                    .body("{}"),
            )
        };
        let open = path == "/health" || path == "/ready";
        for wrong in [None, Some(""), Some("visa-wrong"), Some(digest.as_str())] {
            assert_eq!(ask(wrong).await.status != 401, open, "{path} {wrong:?}");
        }
        assert_ne!(ask(Some(&key)).await.status, 401, "{path}");
    }
    let other = server
        .send(
            server
                .http
                .get(format!("{}/v1/profiles", server.base))
                .header("x-api-key", &key),
        )
        .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn it_refuses_to_listen_publicly_without_a_key() {
    let models = Models::at(models()).expect("the tiny models");
    let options = |open| ServerOptions {
        host: std::net::Ipv4Addr::UNSPECIFIED.into(),
        port: 0,
        open,
        ..ServerOptions::default()
    };
    let error = Server::bind(options(false), &models)
        .await
        .err()
        .expect("refused");
    assert!(matches!(error, ServerError::Open { .. }), "{error}");
    assert!(error.to_string().contains("--new-key"));
}

#[tokio::test]
async fn pages_of_other_sites_get_nothing() {
    let server = start(|_| ()).await;
    let post = || {
        server
            .http
            .post(format!("{}/v1/detect", server.base))
            .json(&json!({"text": TEXT}))
    };
    let check = async |request: reqwest::RequestBuilder, status: u16| {
        let answer = server.send(request).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(
            answer
                .headers
                .keys()
                .all(|k| !k.as_str().starts_with("access-control"))
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
    };
    check(post(), 200).await;
    check(post().header("origin", &server.base), 200).await;
    check(post().header("origin", "http://evil.example"), 403).await;
    check(post().header("origin", "null"), 403).await;
    // A name of theirs that points here.
    check(post().header("host", "evil.example"), 403).await;
    // What a form can send without asking.
    let form = server.http.post(format!("{}/v1/detect", server.base));
    let form = form.header("content-type", "text/plain").body("{}");
    check(form, 415).await;
    let preflight = server
        .http
        .request(
            reqwest::Method::OPTIONS,
            format!("{}/v1/detect", server.base),
        )
        .header("origin", "http://evil.example");
    check(preflight, 403).await;
}

#[tokio::test]
async fn limits_are_named() {
    let server = start(|options| {
        options.limits.body = 4000;
        options.limits.depth = 8;
        options.limits.records = 3;
        options.limits.messages = 2;
        options.limits.receive = Duration::from_millis(300);
    })
    .await;
    server
        .post("/v1/detect", &json!({"text": "x".repeat(5000)}))
        .await
        .fails(413, "4000 bytes");
    server
        .post("/v1/detect", &json!([{}, {}, {}, {}]))
        .await
        .fails(413, "4 records");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let request = server.http.post(format!("{}/v1/detect", server.base));
    let request = request
        .header("content-type", "application/json")
        .body(deep);
    server.send(request).await.fails(400, "nests 100 deep");
    let many = json!({"messages": [{}, {}, {}]});
    server
        .post("/v1/chat/completions", &many)
        .await
        .fails(413, "3 messages");
    let head = "POST /v1/detect HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    let slow = server
        .raw(
            format!("{head}content-length: 50\r\n\r\n{{\"te").as_bytes(),
            Duration::from_secs(5),
        )
        .await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    let endless = server.raw(head.as_bytes(), Duration::from_secs(5)).await;
    assert!(
        !endless.contains("200"),
        "a head that never ends is not waited for: {endless}"
    );
    let huge = format!("{head}x: {}\r\n\r\n", "y".repeat(1_000_000));
    let huge = server.raw(huge.as_bytes(), Duration::from_secs(5)).await;
    assert!(huge.starts_with("HTTP/1.1 431"), "{huge}");
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /v1/detect\r\n\r\n",
    ] {
        let answer = server.raw(garbage.as_bytes(), Duration::from_secs(5)).await;
        assert!(
            !answer.contains(" 200 ") && !answer.contains(" 500 "),
            "{garbage:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_stop_finishes_what_was_accepted() {
    let mut server = start(|options| options.rewrite.rounds = 3).await;
    let body = json!({"text": TEXT, "shift": {"power": 1.0, "benevolence": -1.0}});
    let request = server
        .http
        .post(format!("{}/v1/rewrite", server.base))
        .json(&body)
        .send();
    let running = tokio::spawn(request);
    // Until it is being answered.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if server
            .get("/metrics")
            .await
            .text
            .contains("visa_batch_items_count{stage=\"rewrite\"} 1")
        {
            break;
        }
    }
    server.stop();
    let answer = running.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.expect("whole").contains("\"outcome\""));
    let ended = &mut server.ended;
    tokio::time::timeout(Duration::from_secs(5), ended)
        .await
        .expect("it ends")
        .expect("no panic");
    assert!(
        tokio::net::TcpStream::connect(server.address)
            .await
            .is_err()
    );
}
