//! `visa serve` as an operator runs it; what it answers is tested where the server is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::run::{command, visa};

struct Running {
    child: Child,
    address: String,
}

fn start(arguments: &[&str]) -> Running {
    let all: Vec<&str> = ["serve", "--port", "0", "--log-format", "json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let mut child = command(&all)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let address = loop {
        let line = lines.next().expect("it says where").expect("text");
        if let Some((_, address)) = line.split_once("listening on http://") {
            break address.to_string();
        }
    };
    // Whoever logs must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Running { child, address }
}

impl Running {
    fn post(&self, path: &str, body: &str, key: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nx-api-key: {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Asks it to stop, and answers the exit code.
    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

#[test]
fn it_answers_and_ends_when_asked() {
    let dir = tempfile::tempdir().expect("a folder");
    let profiles = dir.path().join("p.sqlite");
    let running = start(&[
        "--profiles",
        profiles.to_str().expect("a UTF-8 path"),
        "--persona",
        "more tradition",
        "--rounds",
        "1",
    ]);
    let answer = running.post("/v1/detect", r#"{"text": "We share what we have."}"#, "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"self-direction\""), "{answer}");
    let rewrite = running.post("/v1/rewrite", r#"{"text": "We share what we have."}"#, "");
    assert!(
        rewrite.contains("\"outcome\""),
        "the persona is the default: {rewrite}"
    );
    assert_eq!(running.stop(), Some(0));
    assert!(profiles.exists());
}

#[test]
fn a_fresh_key_opens_it() {
    let printed = visa(&["serve", "--new-key"], "").stdout;
    let word = |name: &str| {
        let line = printed.lines().find(|l| l.starts_with(name));
        let line = line.expect("the line is there");
        line.split_whitespace().nth(1).expect("a word").to_string()
    };
    let (key, digest) = (word("key"), word("digest"));
    assert!(!digest.contains(&key));
    let dir = tempfile::tempdir().expect("a folder");
    let profiles = dir.path().join("p.sqlite");
    let running = start(&[
        "--key-sha256",
        &digest,
        "--profiles",
        profiles.to_str().expect("a UTF-8 path"),
    ]);
    let body = r#"{"text": "We share what we have."}"#;
    assert!(
        running
            .post("/v1/detect", body, &key)
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        running
            .post("/v1/detect", body, "visa-other")
            .starts_with("HTTP/1.1 401")
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn wrong_settings_are_wrong_usage() {
    let check = |arguments: &[&str], part: &str| {
        let all: Vec<&str> = std::iter::once("serve")
            .chain(arguments.iter().copied())
            .collect();
        let run = visa(&all, "");
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(part), "{} lacks {part:?}", run.stderr);
    };
    check(&["--host", "0.0.0.0", "--port", "0"], "--new-key");
    check(&["--key-sha256", "visa-secret-key"], "is no key digest");
    check(&["--upstream", "ftp://x"], "http://");
    check(&["--upstream", "http://u:p@x/v1"], "VISA_UPSTREAM_KEY");
    check(&["--mode", "loud"], "hold");
    check(&["--grace=-1"], "--grace");
    check(
        &["--persona", "a", "--target", "power=1"],
        "give one of them",
    );
}
