//! `visa detect`.

use serde_json::{Value, json};

use crate::run::{command, finish, visa};

const NAMES: [&str; 10] = visa_values::NAMES;

fn check_output(object: &Value) {
    let values = object["values"].as_object().expect("ten values");
    assert_eq!(values.keys().map(String::as_str).collect::<Vec<_>>(), NAMES);
    assert!(
        values
            .values()
            .all(|v| v.as_f64().is_some_and(|v| (-1.0..=1.0).contains(&v))),
        "{values:?}"
    );
    let categories = object["categories"].as_object().expect("twenty categories");
    assert_eq!(categories.len(), 20);
    assert!(categories.contains_key("Self-direction: thought"));
    assert!(
        categories
            .values()
            .all(|v| v.as_f64().is_some_and(|v| (0.0..=1.0).contains(&v)))
    );
}

#[test]
fn a_batch_comes_back_in_order_with_its_ids() {
    let input: String = (0..700)
        .map(|n| match n % 3 {
            0 => json!({"id": n, "text": format!("Text {n} about safety.")}),
            1 => json!({"id": format!("n{n}"), "text": "We share what we have.", "context": "Should we share?"}),
            _ => json!({"text": "Short."}),
        })
        .map(|o| format!("{o}\n"))
        .collect();
    let objects = visa(&["detect"], input).objects();
    assert_eq!(objects.len(), 700);
    for (n, object) in objects.iter().enumerate() {
        let id = match n % 3 {
            0 => json!(n),
            1 => json!(format!("n{n}")),
            _ => json!(n + 1),
        };
        assert_eq!(object["id"], id);
        assert!(object.get("spans").is_none());
        check_output(object);
    }
    assert_eq!(
        objects[0]
            .as_object()
            .expect("an object")
            .keys()
            .next()
            .map(String::as_str),
        Some("id")
    );
}

#[test]
fn a_text_is_an_argument_a_pipe_or_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("text.txt");
    std::fs::write(&file, "\u{feff}We share what we have.\r\n").expect("written");
    let from_argument = visa(&["detect", "We share what we have."], "").objects();
    let from_pipe = visa(&["detect"], "We share what we have.\n").objects();
    let from_file = visa(&["detect", "--input", file.to_str().expect("UTF-8")], "").objects();
    check_output(&from_argument[0]);
    assert_eq!(from_argument, from_pipe);
    assert_eq!(from_argument, from_file);
}

#[test]
fn spans_point_into_the_text() {
    let text =
        "Naïve people share what they have, because it keeps children safe; nobody goes hungry.";
    let objects = visa(&["detect", "--spans", text], "").objects();
    let spans = objects[0]["spans"]
        .as_array()
        .expect("spans were asked for");
    for span in spans {
        let (start, end) = (
            span["start"].as_u64().expect("a byte"),
            span["end"].as_u64().expect("a byte"),
        );
        assert!(
            text.get(start as usize..end as usize)
                .is_some_and(|s| !s.trim().is_empty()),
            "{span}"
        );
        assert!(NAMES.contains(&span["value"].as_str().expect("a name")));
    }
}

#[test]
fn a_person_sees_the_text_and_ten_bars() {
    let run = visa(
        &[
            "detect",
            "--format",
            "text",
            "--color",
            "never",
            "We share what we have.",
        ],
        "",
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for name in NAMES {
        assert!(
            run.stdout
                .lines()
                .any(|l| l.trim_start().starts_with(name) && l.contains('│')),
            "{}",
            run.stdout
        );
    }
    assert!(run.stdout.contains("share") && run.stdout.contains("categories"));
    assert!(!run.stdout.contains('\u{1b}'));
    let mut ascii = command(&["detect", "--format", "text", "We share what we have."]);
    ascii.env("LC_ALL", "C");
    let run = finish(ascii, b"");
    assert!(run.stdout.is_ascii(), "{}", run.stdout);
}

#[test]
fn a_megabyte_of_text_is_read_whole() {
    let text = "We share what we have, so that nobody goes hungry. ".repeat(20_600);
    assert!(text.len() > 1 << 20);
    let objects = visa(&["detect"], text).objects();
    check_output(&objects[0]);
}

#[test]
fn empty_texts_are_errors_with_their_place() {
    visa(&["detect", "  "], "").fails(1, &["the text", "is empty; give at least one word"]);
    visa(&["detect"], "").fails(1, &["standard input", "empty"]);
    visa(&["detect"], "{\"text\": \"x\"}\n{\"text\": \"\"}\n").fails(1, &["line 2", "empty"]);
}
