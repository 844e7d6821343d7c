//! Every way an endpoint fails, against a server of our own on the loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use visa_values::{Profile, Target};
use visa_wire::openai::WireError;

use super::http::{chat_url, retry_after};
use super::*;
use crate::error::AlignError;

/// What the server does with one connection.
#[derive(Clone)]
enum Act {
    /// Sends these bytes and closes.
    Send(String),
    /// Sends these bytes, then holds the connection open and silent.
    Hang(String),
}

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Serves the acts one connection after the other, repeating the last.
fn serve(acts: Vec<Act>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (i, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            log.lock().unwrap().push(read_request(&stream));
            match &acts[i.min(acts.len() - 1)] {
                Act::Send(bytes) => drop(stream.write_all(bytes.as_bytes())),
                Act::Hang(bytes) => {
                    drop(stream.write_all(bytes.as_bytes()));
                    held.push(stream);
                }
            }
        }
    });
    Server { url, requests }
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn http(status: &str, headers: &str, body: &str) -> Act {
    Act::Send(format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    ))
}

fn json(status: &str, body: &str) -> Act {
    http(status, "content-type: application/json\r\n", body)
}

fn answer(text: &str) -> Act {
    json(
        "200 OK",
        &format!(r#"{{"choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}]}}"#),
    )
}

fn options(url: &str) -> EndpointOptions {
    EndpointOptions {
        key: Some(Key::new("sk-secret")),
        timeout: Duration::from_millis(400),
        connect_timeout: Duration::from_millis(400),
        retries: 2,
        backoff: Duration::from_millis(5),
        max_wait: Duration::from_millis(300),
        parallel: 1,
        ..EndpointOptions::new(url, "some-model")
    }
}

fn propose(options: EndpointOptions, n: usize) -> std::result::Result<Vec<String>, EndpointError> {
    let before = Profile::zero();
    let gap = [0.5; 10];
    let target = Target::new(Profile::new(gap).unwrap());
    let proposal = Proposal {
        text: "A text.",
        query: None,
        before: &before,
        target: &target,
        gap,
        best: None,
        round: 0,
        n,
        seed: 1,
    };
    EndpointBackend::new(options)?
        .propose(&proposal)
        .map_err(|e| match e {
            AlignError::Endpoint(e) => e,
            other => panic!("{other}"),
        })
}

fn ask(server: &Server) -> std::result::Result<Vec<String>, EndpointError> {
    propose(options(&server.url), 1)
}

#[track_caller]
fn check_error(acts: Vec<Act>, tries: usize, wanted: impl Fn(&EndpointError) -> bool, words: &str) {
    let server = serve(acts);
    let error = ask(&server).unwrap_err();
    assert!(wanted(&error), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(words), "{message:?} should say {words:?}");
    assert!(!message.contains("sk-secret"), "{message}");
    assert_eq!(server.requests.lock().unwrap().len(), tries, "tries");
}

#[test]
fn an_answer_arrives_and_the_request_is_as_it_should_be() {
    let server = serve(vec![answer("Another text.")]);
    assert_eq!(ask(&server).unwrap(), ["Another text."]);
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(
        request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request
            .to_ascii_lowercase()
            .contains("authorization: bearer sk-secret"),
        "{request}"
    );
    let body: serde_json::Value =
        serde_json::from_str(&request[request.find('{').unwrap()..]).unwrap();
    assert_eq!(body["model"], "some-model");
    assert_eq!(body["messages"][0]["role"], "system");
    assert!(
        body["messages"][1]["content"]
            .as_str()
            .unwrap()
            .contains("A text.")
    );
}

#[test]
fn candidates_come_in_order_and_differ_in_seed() {
    let server = serve(vec![answer("one"), answer("two"), answer("three")]);
    assert_eq!(
        propose(options(&server.url), 3).unwrap(),
        ["one", "two", "three"]
    );
    let requests = server.requests.lock().unwrap();
    assert!(requests[0].contains(r#""seed":1"#) && requests[2].contains(r#""seed":3"#));
}

#[test]
fn parallel_candidates_all_arrive() {
    let server = serve(vec![answer("one")]);
    let parallel = EndpointOptions {
        parallel: 4,
        timeout: Duration::from_secs(5),
        ..options(&server.url)
    };
    assert_eq!(propose(parallel, 6).unwrap(), ["one"; 6]);
}

#[test]
fn nobody_listens() {
    // A port that was just free.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = propose(options(&format!("http://127.0.0.1:{port}")), 1).unwrap_err();
    assert!(
        matches!(error, EndpointError::Refused { attempts: 3, .. }),
        "{error:?}"
    );
}

#[test]
fn a_server_that_hangs_is_left_in_time() {
    let body = r#"{"choices":[{"mess"#;
    for begin in [
        String::new(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{body}"),
    ] {
        let start = Instant::now();
        check_error(
            vec![Act::Hang(begin)],
            1,
            |e| matches!(e, EndpointError::Timeout { .. }),
            "within 0.4 s",
        );
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn a_web_page_is_no_answer() {
    let html = "<!DOCTYPE html><html><body>Welcome</body></html>";
    let problem = |e: &EndpointError| {
        matches!(
            e,
            EndpointError::Answer {
                problem: WireError::Html { .. },
                ..
            }
        )
    };
    check_error(
        vec![http("200 OK", "content-type: text/html\r\n", html)],
        1,
        problem,
        "web page",
    );
    check_error(
        vec![http("404 Not Found", "content-type: text/html\r\n", html)],
        1,
        |e| matches!(e, EndpointError::NotFound { status: 404, .. }),
        "some-model",
    );
}

#[test]
fn empty_answers_are_named() {
    let problem = |wanted: WireError| move |e: &EndpointError| matches!(e, EndpointError::Answer { problem, .. } if *problem == wanted);
    check_error(
        vec![json("200 OK", "")],
        1,
        problem(WireError::EmptyBody),
        "empty",
    );
    check_error(
        vec![json("200 OK", r#"{"choices":[]}"#)],
        1,
        problem(WireError::NoText),
        "no text",
    );
    check_error(vec![answer("")], 1, problem(WireError::NoText), "no text");
}

#[test]
fn a_failing_server_is_asked_again() {
    let server = serve(vec![
        json("500 Oops", "{}"),
        json("503 Busy", "{}"),
        answer("Done."),
    ]);
    assert_eq!(ask(&server).unwrap(), ["Done."]);
    assert_eq!(server.requests.lock().unwrap().len(), 3);
    check_error(
        vec![json(
            "502 Bad Gateway",
            r#"{"error":{"message":"upstream is gone"}}"#,
        )],
        3,
        |e| {
            matches!(
                e,
                EndpointError::Server {
                    status: 502,
                    attempts: 3,
                    ..
                }
            )
        },
        "upstream is gone",
    );
}

#[test]
fn retry_after_is_honoured() {
    let limited = |header: &str| http("429 Slow Down", &format!("retry-after: {header}\r\n"), "");
    let server = serve(vec![limited("0.15"), answer("Done.")]);
    let start = Instant::now();
    assert_eq!(ask(&server).unwrap(), ["Done."]);
    assert!(start.elapsed() >= Duration::from_millis(150));
    check_error(
        vec![limited("3600")],
        1,
        |e| matches!(e, EndpointError::RateLimited { wait: Some(_), .. }),
        "3600 s",
    );
}

#[test]
fn streams_are_read_and_cuts_are_named() {
    let event = |body: &str| format!("data: {body}\n\n");
    let begin = event(r#"{"choices":[{"index":0,"delta":{"content":"Half"}}]}"#);
    let end = event(
        r#"{"choices":[{"index":0,"delta":{"content":" and half."},"finish_reason":"stop"}]}"#,
    ) + &event("[DONE]");
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n";
    let whole = Act::Send(format!("{head}\r\n{begin}{end}"));
    let server = serve(vec![whole.clone()]);
    let streaming = EndpointOptions {
        stream: true,
        ..options(&server.url)
    };
    assert_eq!(propose(streaming, 1).unwrap(), ["Half and half."]);
    assert!(server.requests.lock().unwrap()[0].contains(r#""stream":true"#));

    let cut = |e: &EndpointError| {
        matches!(
            e,
            EndpointError::Answer {
                problem: WireError::CutStream { bytes: 4 },
                ..
            }
        )
    };
    // Closed in the middle, inside an event, and short of its announced length.
    check_error(vec![Act::Send(format!("{head}\r\n{begin}"))], 3, cut, "cut");
    check_error(
        vec![Act::Send(format!(
            "{head}content-length: 9000\r\n\r\n{begin}"
        ))],
        3,
        cut,
        "cut",
    );
    check_error(
        vec![Act::Send(format!("{head}\r\n{begin}data: {{\"choi"))],
        3,
        |e| {
            matches!(
                e,
                EndpointError::Answer {
                    problem: WireError::CutStream { .. } | WireError::Truncated { .. },
                    ..
                }
            )
        },
        "cut",
    );
    // A cut answer is asked for again.
    let server = serve(vec![Act::Send(format!("{head}\r\n{begin}")), whole]);
    assert_eq!(ask(&server).unwrap(), ["Half and half."]);
    check_error(
        vec![Act::Send(format!(
            "{head}\r\n{}",
            event(r#"{"error":{"message":"out of memory"}}"#)
        ))],
        1,
        |e| {
            matches!(
                e,
                EndpointError::Answer {
                    problem: WireError::Api(_),
                    ..
                }
            )
        },
        "out of memory",
    );
}

#[test]
fn truncated_json_is_named() {
    let act = Act::Send(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 500\r\n\r\n{\"choices\":[{".into(),
    );
    check_error(
        vec![act],
        3,
        |e| {
            matches!(
                e,
                EndpointError::Answer {
                    problem: WireError::Truncated { bytes: 13 },
                    ..
                }
            )
        },
        "cut off after 13 bytes",
    );
}

#[test]
fn redirects_are_not_followed() {
    let other = serve(vec![answer("stolen")]);
    let to = http(
        "307 Temporary Redirect",
        &format!("location: {}/chat/completions\r\n", other.url),
        "",
    );
    check_error(
        vec![to],
        1,
        |e| matches!(e, EndpointError::Redirect { status: 307, .. }),
        &other.url,
    );
    assert!(
        other.requests.lock().unwrap().is_empty(),
        "the key must not travel"
    );
}

#[test]
fn refusals_by_status_are_told_apart() {
    check_error(
        vec![json(
            "401 Unauthorized",
            r#"{"error":{"message":"bad key"}}"#,
        )],
        1,
        |e| matches!(e, EndpointError::Unauthorized { status: 401, .. }),
        "VISA_API_KEY",
    );
    check_error(
        vec![json(
            "400 Bad Request",
            r#"{"error":{"message":"The model `some-model` does not exist","code":"x"}}"#,
        )],
        1,
        |e| matches!(e, EndpointError::NotFound { .. }),
        "--endpoint-model",
    );
    check_error(
        vec![json(
            "400 Bad Request",
            r#"{"error":{"message":"max_tokens is too large"}}"#,
        )],
        1,
        |e| matches!(e, EndpointError::Rejected { status: 400, .. }),
        "max_tokens is too large",
    );
}

#[test]
fn answers_that_are_no_rewrite() {
    check_error(
        vec![json(
            "200 OK",
            r#"{"choices":[{"message":{"content":null,"refusal":"I would rather not"}}]}"#,
        )],
        1,
        |e| matches!(e, EndpointError::Declined { .. }),
        "I would rather not",
    );
    check_error(
        vec![json(
            "200 OK",
            r#"{"choices":[{"message":{"content":"Half"},"finish_reason":"length"}]}"#,
        )],
        1,
        |e| matches!(e, EndpointError::LengthLimit),
        "token limit",
    );
    let server = serve(vec![answer(&"long ".repeat(4000))]);
    let small = EndpointOptions {
        max_response: 10_000,
        timeout: Duration::from_secs(5),
        ..options(&server.url)
    };
    assert!(matches!(
        propose(small, 1).unwrap_err(),
        EndpointError::TooLarge { limit: 10_000, .. }
    ));
}

#[test]
fn a_missing_candidate_does_not_hide_the_others() {
    let declined = json("200 OK", r#"{"choices":[{"message":{"refusal":"no"}}]}"#);
    let server = serve(vec![declined, answer("Done.")]);
    assert_eq!(propose(options(&server.url), 2).unwrap(), ["Done."]);
}

#[test]
fn addresses() {
    let check = |base: &str, expected: Option<&str>| {
        assert_eq!(chat_url(base).ok().as_deref(), expected, "{base}")
    };
    check("http://a:1/v1", Some("http://a:1/v1/chat/completions"));
    check("https://a/v1/ ", Some("https://a/v1/chat/completions"));
    check(
        "https://a/v1/chat/completions",
        Some("https://a/v1/chat/completions"),
    );
    for bad in [
        "",
        "a:1/v1",
        "ftp://a",
        "http://",
        "http://key@a/v1",
        "http://a/v1?x=1",
        "http://a b/v1",
    ] {
        check(bad, None);
    }
    let empty = EndpointOptions {
        model: " ".into(),
        ..options("http://a")
    };
    assert!(matches!(
        EndpointBackend::new(empty),
        Err(EndpointError::Option { .. })
    ));
}

#[test]
fn waits_are_parsed() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_700);
    let check = |value: &str, expected: Option<f64>| {
        assert_eq!(
            retry_after(value, now).map(|d| d.as_secs_f64()),
            expected,
            "{value}"
        );
    };
    check("3", Some(3.0));
    check("Sun, 06 Nov 1994 08:49:37 GMT", Some(77.0));
    check("Sun, 06 Nov 1994 08:40:00 GMT", Some(0.0));
    check(
        "Thu, 29 Feb 2024 00:00:00 GMT",
        Some(1_709_164_800.0 - 784_111_700.0),
    );
    for bad in [
        "",
        "soon",
        "-1",
        "NaN",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "1e400",
    ] {
        check(bad, None);
    }
    assert_eq!(retry_after("x", SystemTime::now()), None);
}

#[test]
fn a_key_is_never_shown() {
    let shown = format!("{:?}", options("http://a"));
    assert!(!shown.contains("sk-secret"), "{shown}");
}
