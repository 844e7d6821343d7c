//! `visa rewrite`.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::run::{Run, visa};

const TEXT: &str = "You should wear a helmet on the 12 May ride. Anna said \"bring water\".";

fn quick<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["rewrite", "--candidates", "2", "--rounds", "1"];
    all.extend_from_slice(arguments);
    all
}

/// The answer is one of the three outcomes, whole, with its reason and its proof.
pub(crate) fn check_outcome(object: &Value) {
    let text = |key: &str| object[key].as_str().expect("a text");
    match text("outcome") {
        "rewritten" => {
            assert_ne!(text("rewritten"), text("original"));
            assert_eq!(object["score"]["guards"], json!([]));
        }
        "unchanged" | "kept-original" => assert_eq!(text("rewritten"), text("original")),
        other => panic!("no such outcome: {other}"),
    }
    assert!(!text("reason").is_empty());
    for key in ["before", "target", "after"] {
        assert_eq!(object[key].as_object().expect("ten").len(), 10);
    }
    for key in ["rounds", "candidates"] {
        assert!(object[key].is_u64(), "{object}");
    }
    assert!(object["score"]["total"].is_number());
}

#[test]
fn a_persona_a_target_and_a_shift_all_lead_somewhere() {
    for goal in [
        vec![
            "--persona",
            "a cautious parent who cares about tradition",
            TEXT,
        ],
        vec!["--target", "{\"tradition\": 0.8}", TEXT],
        vec!["--shift", "tradition=+0.8", "power=-0.5", TEXT],
    ] {
        let objects = visa(&quick(&goal), "").objects();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0]["original"], json!(TEXT));
        check_outcome(&objects[0]);
    }
}

#[test]
fn lines_carry_their_own_goals_and_flags_serve_the_others() {
    let input = [
        json!({"id": "a", "text": TEXT, "persona": "someone kind"}),
        json!({"id": "b", "text": TEXT, "query": "What to wear?", "shift": {"security": 1.0}}),
        json!({"id": "c", "text": TEXT}),
    ];
    let input: String = input.iter().map(|o| format!("{o}\n")).collect();
    let objects = visa(&quick(&["--target", "security=0.9"]), &input).objects();
    assert_eq!(
        objects
            .iter()
            .map(|o| o["id"].as_str().expect("an id"))
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    objects.iter().for_each(check_outcome);
    let target = objects[2]["target"]["security"].as_f64().expect("a number");
    assert!((target - 0.9).abs() < 1e-6);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed: &str| {
        visa(
            &quick(&["--persona", "someone kind", "--seed", seed, TEXT]),
            "",
        )
        .stdout
    };
    assert_eq!(run("5"), run("5"));
}

#[test]
fn a_person_sees_both_texts_three_profiles_and_the_reason() {
    let run = visa(
        &quick(&[
            "--persona",
            "someone kind",
            "--format",
            "text",
            "--color",
            "never",
            TEXT,
        ]),
        "",
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for word in ["helmet", "before", "after", "target", "self-direction"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
}

#[test]
fn a_megabyte_of_text_comes_back_whole() {
    let text = "We share what we have, so that nobody goes hungry. ".repeat(20_600);
    assert!(text.len() > 1 << 20);
    let arguments = [
        "rewrite",
        "--rounds",
        "1",
        "--candidates",
        "1",
        "--shift",
        "security=+0.8",
    ];
    let objects = visa(&arguments, &text).objects();
    assert_eq!(
        objects[0]["original"].as_str().map(str::trim_end),
        Some(text.trim_end())
    );
    check_outcome(&objects[0]);
    // Without a space, there is nothing to cut at.
    let word = "a".repeat(1 << 20);
    let objects = visa(&arguments, &word).objects();
    assert_eq!(objects[0]["original"], json!(word));
    check_outcome(&objects[0]);
}

#[test]
fn a_persona_of_ten_thousand_words_is_read_in_parts() {
    let persona = "a careful person who keeps the old ways and shares what they have ".repeat(770);
    assert!(persona.split_whitespace().count() >= 10_000);
    let said = visa(&quick(&["--persona", &persona, TEXT]), "").objects();
    check_outcome(&said[0]);
    let line = json!({"text": TEXT, "persona": persona}).to_string();
    let read = visa(&quick(&[]), line).objects();
    assert_eq!(read[0]["target"], said[0]["target"]);
}

#[test]
fn goals_are_named_once_and_in_range() {
    visa(&["rewrite", TEXT], "").fails(2, &["--persona WORDS, --target FILE|JSON or --shift"]);
    visa(
        &["rewrite", "--persona", "x", "--target", "power=1", TEXT],
        "",
    )
    .fails(2, &["--persona and --target were both given"]);
    visa(&["rewrite", "--persona", " ", TEXT], "").fails(2, &["persona is empty"]);
    visa(&["rewrite", "--target", "{\"joy\": 1}", TEXT], "").fails(2, &["unknown value \"joy\""]);
    visa(&["rewrite", "--shift", "power=9", TEXT], "").fails(2, &["--shift", "between -2 and 2"]);
    visa(
        &["rewrite", "--shift", "security=+0.5", "--rounds", "0", TEXT],
        "",
    )
    .fails(2, &["--rounds is 0"]);
    visa(
        &[
            "rewrite",
            "--shift",
            "security=+0.5",
            "--min-consistency",
            "NaN",
            TEXT,
        ],
        "",
    )
    .fails(2, &["--min-consistency"]);
    let line = json!({"text": TEXT, "persona": "x", "shift": {}}).to_string();
    visa(&["rewrite"], line).fails(1, &["line 1", "more than one of"]);
    let line = json!({"text": TEXT}).to_string();
    visa(&["rewrite"], line).fails(1, &["line 1", "give \"persona\", \"target\" or \"shift\""]);
    visa(&["rewrite", "--persona", "x", ""], "").fails(1, &["the text is empty"]);
}

#[test]
fn a_variable_yields_to_a_flag() {
    let mut command = crate::run::command(&quick(&["--target", "security=0.9", TEXT]));
    command.env("VISA_PERSONA", "someone kind");
    let objects = crate::run::finish(command, b"").objects();
    let target = objects[0]["target"]["security"].as_f64().expect("a number");
    assert!((target - 0.9).abs() < 1e-6);
}

/// Answers every request with `answer` until the test ends; the address to name.
fn server(answer: impl Fn() -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut buffer = [0u8; 4096];
            // The whole request must be read, or closing resets the connection.
            while let Ok(n) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..n]);
                let text = String::from_utf8_lossy(&request);
                let length = text
                    .to_ascii_lowercase()
                    .split("content-length:")
                    .nth(1)
                    .and_then(|t| t.split_whitespace().next()?.parse::<usize>().ok());
                let whole = text
                    .find("\r\n\r\n")
                    .is_some_and(|end| length.is_none_or(|l| request.len() >= end + 4 + l));
                if n == 0 || whole {
                    break;
                }
            }
            let _ = stream.write_all(answer().as_bytes());
        }
    });
    format!("http://{address}/v1")
}

fn http(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn by_endpoint(url: &str, more: &[&str]) -> Run {
    let mut arguments = quick(&[
        "--shift",
        "security=+0.8",
        "--endpoint",
        url,
        "--endpoint-model",
        "m",
        "--endpoint-retries",
        "0",
    ]);
    arguments.extend_from_slice(more);
    arguments.push(TEXT);
    let mut command = crate::run::command(&arguments);
    // A proxy of the machine must not be asked for its own address.
    command
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
    crate::run::finish(command, b"")
}

#[test]
fn an_endpoint_can_propose() {
    let answer = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant",
        "content": "You should wear a helmet on the 12 May ride, because it keeps you safe. Anna said \"bring water\"."}}]});
    let url = server(move || http("application/json", &answer.to_string()));
    let objects = by_endpoint(&url, &[]).objects();
    check_outcome(&objects[0]);
    assert_eq!(objects[0]["candidates"], json!(2));
}

#[test]
fn endpoints_that_fail_are_errors_of_the_input() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .port();
    by_endpoint(&format!("http://127.0.0.1:{port}/v1"), &[]).fails(1, &["refused"]);
    by_endpoint(
        &server(|| http("text/html", "<html><body>Login</body></html>")),
        &[],
    )
    .fails(1, &["cannot be used"]);
    by_endpoint(&server(String::new), &[]).fails(1, &["127.0.0.1"]);
    let hang = server(|| {
        std::thread::sleep(std::time::Duration::from_secs(20));
        String::new()
    });
    by_endpoint(&hang, &["--endpoint-timeout", "0.5"]).fails(1, &["did not answer within"]);
    let cut = || {
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"You sho".to_string()
    };
    by_endpoint(&server(cut), &["--endpoint-stream"]).fails(1, &["127.0.0.1"]);
    by_endpoint("not a url", &[]).fails(2, &["endpoint address"]);
    visa(
        &[
            "rewrite",
            "--persona",
            "x",
            "--endpoint",
            "http://h/v1",
            TEXT,
        ],
        "",
    )
    .fails(2, &["--endpoint-model"]);
}
