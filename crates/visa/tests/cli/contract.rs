//! What all commands promise: forms, order, errors, exit codes, interrupts, pipes, settings.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::run::{command, finish, visa};

const GOOD: &str = "{\"id\": \"a\", \"text\": \"We share.\"}\n";

#[test]
fn a_bad_line_stops_the_run_after_what_was_good() {
    for (line, part) in [
        ("{\"text\": \"cut of", "cut off"),
        ("[1]", "one JSON object a line"),
        ("{\"txt\": \"x\"}", "missing field `text`"),
        ("{\"text\": 5}", "expected a string"),
        ("{\"text\": \"\"}", "empty"),
        ("nonsense", "not valid JSON"),
    ] {
        let run = visa(&["detect"], format!("{GOOD}\n{line}\n{GOOD}"));
        run.fails(1, &["line 3", part]);
        assert_eq!(run.lines().len(), 1, "{line}");
    }
}

#[test]
fn a_skipped_line_leaves_its_error_in_its_place() {
    let mut input = GOOD.as_bytes().to_vec();
    input.extend_from_slice(b"{\"id\": 7, \"text\": \"\"}\n{\"text\": \"br\xffken\"}\n{\"id\": \"z\", \"text\": \"Last.\"}\r\n");
    let run = visa(&["detect", "--on-error", "skip"], &input);
    run.fails(1, &["line 2", "line 3", "0xff", "2 of 4 records failed"]);
    let lines = run.lines();
    assert_eq!(
        lines.iter().map(|l| l["id"].clone()).collect::<Vec<_>>(),
        [json!("a"), json!(7), json!(3), json!("z")]
    );
    assert!(
        lines[1]["error"]
            .as_str()
            .expect("an error")
            .contains("empty")
    );
    assert!(
        lines[2]["error"]
            .as_str()
            .expect("an error")
            .contains("UTF-8")
    );
    assert!(lines[3].get("error").is_none());
}

#[test]
fn invalid_utf8_names_its_line() {
    visa(&["detect"], b"One line.\nTw\xe9 lines.\n").fails(1, &["standard input, line 2", "UTF-8"]);
}

#[test]
fn json_is_one_document() {
    let run = visa(&["detect", "--format", "json", "We share."], "");
    assert!(
        serde_json::from_str::<Value>(&run.stdout)
            .expect("one document")
            .is_object()
    );
    let run = visa(&["detect", "--format", "json"], GOOD.repeat(3));
    assert_eq!(
        serde_json::from_str::<Value>(&run.stdout)
            .expect("one document")
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    // An array that ends early is closed all the same.
    let run = visa(&["detect", "--format", "json"], format!("{GOOD}{{"));
    run.fails(1, &["line 2"]);
    assert_eq!(
        serde_json::from_str::<Value>(&run.stdout)
            .expect("one document")
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let run = visa(
        &["detect", "--input-format", "jsonl", "--format", "json"],
        "\n",
    );
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "[]\n"));
}

#[test]
fn files_go_in_and_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_string();
    std::fs::write(path("in.jsonl"), GOOD).expect("written");
    let run = visa(
        &[
            "detect",
            "--input",
            &path("in.jsonl"),
            "--output",
            &path("out.jsonl"),
        ],
        "",
    );
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), ""),
        "{}",
        run.stderr
    );
    let out = std::fs::read_to_string(path("out.jsonl")).expect("written");
    assert_eq!(out, visa(&["detect"], GOOD).stdout);
    let same = visa(
        &["detect", "-i", &path("in.jsonl"), "-o", &path("in.jsonl")],
        "",
    );
    same.fails(2, &["which would be lost"]);
    assert_eq!(
        std::fs::read_to_string(path("in.jsonl")).expect("still there"),
        GOOD
    );
    visa(&["detect", "--input", &path("none.jsonl")], "")
        .fails(1, &["none.jsonl", "cannot be read"]);
    visa(&["detect", "--input", &path("in.jsonl"), "A text."], "").fails(2, &["give one of them"]);
    visa(&["detect", "--output", &path("no/such/out"), "A text."], "")
        .fails(2, &["cannot be written"]);
    visa(
        &["detect", "--input", dir.path().to_str().expect("UTF-8")],
        "",
    )
    .fails(1, &["is a folder"]);
}

#[test]
fn exit_codes_of_usage() {
    assert_eq!(
        visa(&["--version"], "").stdout,
        format!("visa {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(visa(&["rewrite", "--help"], "").code, Some(0));
    visa::<&str>(&[], "").fails(2, &["Usage"]);
    visa(&["detekt"], "").fails(2, &["detect"]);
    visa(&["detect", "--formt", "json"], "").fails(2, &["--format"]);
    visa(&["detect", "--device", "gpu", "x"], "").fails(2, &["expected cpu, cuda or cuda:N"]);
    visa(&["detect", "--device", "cuda", "x"], "").fails(3, &["--device cpu"]);
    visa(&["detect", "--threads=-1", "x"], "").fails(2, &["--threads"]);
    let mut wrong = command(&["detect", "x"]);
    wrong.env("VISA_ISA", "avx9");
    finish(wrong, b"").fails(2, &["VISA_ISA"]);
}

#[test]
fn a_settings_file_serves_every_command() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("visa.toml");
    std::fs::write(
        &file,
        "threads = 1\n[detect]\nformat = \"json\"\non-error = \"skip\"\n",
    )
    .expect("written");
    let file = file.to_str().expect("UTF-8");
    let run = visa(&["detect", "--config", file], format!("{GOOD}nonsense\n"));
    run.fails(1, &["skipped"]);
    assert!(run.stdout.starts_with("[\n"));
    let run = visa(&["detect", "--config", file, "--format", "jsonl"], GOOD);
    assert_eq!(run.objects().len(), 1);
    std::fs::write(file, "threds = 1\n").expect("written");
    visa(&["detect", "--config", file, "x"], "").fails(2, &[file, "did you mean \"threads\"?"]);
    visa(&["detect", "--config", "/nowhere.toml", "x"], "").fails(2, &["/nowhere.toml"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_success() {
    let mut child = command(&["detect"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        for _ in 0..20_000 {
            if stdin.write_all(GOOD.as_bytes()).is_err() {
                return;
            }
        }
    });
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    drop(stdout);
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("the writer ends");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn lines_are_answered_while_the_input_is_open() {
    let mut child = command(&["detect"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for _ in 0..3 {
        stdin.write_all(GOOD.as_bytes()).expect("written");
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("an answer before the end of the input");
        assert_eq!(
            serde_json::from_str::<Value>(&line).expect("whole")["id"],
            json!("a")
        );
    }
    drop(stdin);
    assert_eq!(child.wait().expect("the binary ends").code(), Some(0));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_130_and_whole_lines() {
    let mut child = command(&["detect"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(GOOD.as_bytes()).expect("written");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("an answer");
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the output ends");
    assert_eq!(child.wait().expect("the binary ends").code(), Some(130));
    assert!(line.ends_with('\n') && (rest.is_empty() || rest.ends_with('\n')));
    drop(stdin);
}
