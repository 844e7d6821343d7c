//! Boundary tests of the chat format; each parser also meets arbitrary bytes.

use proptest::prelude::*;

use super::*;

fn check_body(body: &str, expected: Result<&[&str], WireError>) {
    let found = parse_response(body.as_bytes())
        .map(|r| r.choices.into_iter().map(|c| c.content).collect::<Vec<_>>());
    let expected = expected.map(|texts| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>());
    assert_eq!(found, expected, "body {body:?}");
}

#[test]
fn whole_answers() {
    check_body(
        r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"extra":{}}}"#,
        Ok(&["Hello"]),
    );
    check_body(
        r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}},{"message":{"content":"c"}}]}"#,
        Ok(&["ab", "c"]),
    );
    check_body("  \n", Err(WireError::EmptyBody));
    check_body(r#"{"choices":[]}"#, Err(WireError::NoText));
    check_body(
        r#"{"choices":[{"message":{"content":null}}]}"#,
        Err(WireError::NoText),
    );
    check_body(
        r#"{"choices":[{"message":{"con"#,
        Err(WireError::Truncated { bytes: 28 }),
    );
    check_body(
        r#"{"error":{"message":"no such model","code":"model_not_found","type":"invalid"}}"#,
        Err(WireError::Api(ApiProblem {
            message: "no such model".into(),
            code: Some("model_not_found".into()),
        })),
    );
    check_body(
        r#"{"error":"loading"}"#,
        Err(WireError::Api(ApiProblem {
            message: "loading".into(),
            code: None,
        })),
    );
    check_body(
        r#"{"object":"list"}"#,
        Err(WireError::Shape {
            problem: "there is no field choices".into(),
        }),
    );
}

#[test]
fn web_pages_are_named() {
    for page in ["<!DOCTYPE html><html>", "\n<html lang=en>", "<HEAD>"] {
        assert!(
            matches!(parse_response(page.as_bytes()), Err(WireError::Html { .. })),
            "{page}"
        );
        assert_eq!(error_message(page.as_bytes()), None);
    }
    assert_eq!(
        error_message(b"upstream connect error")
            .map(|p| p.message)
            .as_deref(),
        Some("upstream connect error")
    );
    assert_eq!(
        error_message(br#"{"detail":"Not Found"}"#)
            .map(|p| p.message)
            .as_deref(),
        Some("Not Found")
    );
}

#[test]
fn a_request_says_only_what_is_set() {
    let mut request = ChatRequest::new("m", vec![Message::new(Role::User, "hi \"there\"")]);
    assert_eq!(
        String::from_utf8(request.to_json().unwrap()).unwrap(),
        r#"{"model":"m","messages":[{"role":"user","content":"hi \"there\""}],"stream":false}"#
    );
    request.temperature = Some(f32::NAN);
    assert_eq!(
        request.to_json(),
        Err(WireError::NotFinite {
            field: "temperature"
        })
    );
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut parser = SseParser::new();
    let mut found: Vec<Event> = pieces
        .iter()
        .flat_map(|p| parser.push(p).unwrap())
        .collect();
    found.extend(parser.finish());
    found
}

fn data(texts: &[&str]) -> Vec<Event> {
    texts
        .iter()
        .map(|t| Event {
            name: String::new(),
            data: t.to_string(),
        })
        .collect()
}

#[test]
fn event_streams_of_every_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let text = [
            "\u{feff}: hello",
            "data: a",
            "data:b",
            "",
            "id: 3",
            "data:  c",
            "",
            "",
        ]
        .join(end);
        assert_eq!(
            events(&[text.as_bytes()]),
            data(&["a\nb", " c"]),
            "line end {end:?}"
        );
    }
    // A final event without its blank line is handed over at the end.
    assert_eq!(
        events(&[b"data: x\n\ndata: [DONE]"]),
        data(&["x", "[DONE]"])
    );
    // A blank line alone is no event; an event name without data neither.
    assert_eq!(events(&[b"\n\nevent: ping\n\n"]), vec![]);
}

#[test]
fn an_endless_event_is_refused() {
    let mut parser = SseParser::new();
    let piece = vec![b'x'; 1 << 16];
    let outcome = (0..32).try_for_each(|_| parser.push(&piece).map(drop));
    assert_eq!(outcome, Err(WireError::EventTooLong { limit: MAX_EVENT }));
    // Many short data lines of one event count together.
    let mut parser = SseParser::new();
    let lines = b"data: 0123456789012345678901234567890123456789\n".repeat(1000);
    let outcome = (0..64).try_for_each(|_| parser.push(&lines).map(drop));
    assert_eq!(outcome, Err(WireError::EventTooLong { limit: MAX_EVENT }));
}

fn check_stream(stream: &str, expected: Result<&[&str], WireError>) {
    let mut assembler = StreamAssembler::new();
    let found = events(&[stream.as_bytes()])
        .iter()
        .try_for_each(|e| assembler.push(e))
        .and_then(|()| assembler.finish())
        .map(|r| r.choices.into_iter().map(|c| c.content).collect::<Vec<_>>());
    let expected = expected.map(|texts| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>());
    assert_eq!(found, expected, "stream {stream:?}");
}

#[test]
fn streams_are_put_together() {
    let role = r#"data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}]}"#;
    let hel = r#"data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}"#;
    let lo = r#"data: {"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#;
    let stop = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#;
    let second = r#"data: {"choices":[{"index":1,"delta":{"content":"two"}}]}"#;
    check_stream(
        &[role, hel, lo, stop, usage, "data: [DONE]"].join("\n\n"),
        Ok(&["Hello"]),
    );
    // A server that omits [DONE] but says why it stopped is complete.
    check_stream(&[role, hel, lo, stop].join("\n\n"), Ok(&["Hello"]));
    check_stream(
        &[hel, second, "data: [DONE]"].join("\n\n"),
        Ok(&["Hel", "two"]),
    );
    check_stream(
        &[role, hel].join("\n\n"),
        Err(WireError::CutStream { bytes: 3 }),
    );
    check_stream(
        &[hel, second, stop].join("\n\n"),
        Err(WireError::CutStream { bytes: 6 }),
    );
    check_stream("", Err(WireError::CutStream { bytes: 0 }));
    check_stream(&[role, "data: [DONE]"].join("\n\n"), Err(WireError::NoText));
    check_stream(
        r#"data: {"error":{"message":"overloaded","type":"server_error"}}"#,
        Err(WireError::Api(ApiProblem {
            message: "overloaded".into(),
            code: Some("server_error".into()),
        })),
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_response(&bytes);
        let _ = error_message(&bytes);
        let mut parser = SseParser::new();
        let mut assembler = StreamAssembler::new();
        for event in parser.push(&bytes).unwrap() {
            let _ = assembler.push(&event);
        }
        let _ = assembler.finish();
    }

    /// Arbitrary *JSON* reaches the shape checks that arbitrary bytes seldom reach.
    #[test]
    fn arbitrary_shapes_never_panic(
        field in prop::sample::select(vec!["null", "1", "-1", "\"x\"", "[]", "[null]", "{}", "[{}]", "99999999999999999999", "[[\"a\"]]"]),
        inner in prop::sample::select(vec!["message", "delta", "index", "content", "finish_reason", "error"]),
    ) {
        for body in [
            format!("{{\"choices\":[{{\"message\":{{}},\"delta\":{{}},\"{inner}\":{field}}}]}}"),
            format!("{{\"choices\":[{{\"message\":{{\"{inner}\":{field}}},\"delta\":{{\"{inner}\":{field}}}}}],\"usage\":{field}}}"),
            format!("{{\"choices\":{field},\"error\":{field},\"model\":{field}}}"),
        ] {
            let _ = parse_response(body.as_bytes());
            let mut assembler = StreamAssembler::new();
            let _ = assembler.push(&Event { name: String::new(), data: body });
            let _ = assembler.finish();
        }
    }

    /// However the network cuts a stream, the events are the same.
    #[test]
    fn pieces_do_not_matter(cuts in prop::collection::vec(0usize..70, 0..6)) {
        let stream = "data: één\r\n\r\nevent: x\rdata: b\r\rdata: c\ndata: d\n\n: end\n".as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        prop_assert_eq!(events(&pieces), events(&[stream]));
    }
}
