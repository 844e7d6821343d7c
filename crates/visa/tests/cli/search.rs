//! `visa search`.

use std::path::PathBuf;

use crate::run::visa;

/// A file of lines in a folder of its own.
fn file(lines: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("feedback.jsonl");
    std::fs::write(&path, lines).expect("written");
    (dir, path)
}

const CHOICES: &str = r#"{"chosen": {"security": 0.9}, "other": {"security": -0.6}}
{"chosen": {"security": 0.7, "power": -0.4}, "other": {"power": 0.5}}

{"chosen": "We keep the door locked.", "other": {"stimulation": 0.8}}
"#;

#[test]
fn choices_become_a_profile_that_rewrite_takes() {
    // Profiles alone: what a random model reads in a text is anything.
    let (dir, path) = file(&CHOICES.replace("\"We keep the door locked.\"", "{\"security\": 0.6}"));
    let saved = dir.path().join("found.toml");
    let (path, saved) = (
        path.to_str().expect("UTF-8"),
        saved.to_str().expect("UTF-8"),
    );
    let found = visa(
        &[
            "search",
            "--choices",
            path,
            "--save",
            saved,
            "--name",
            "ines",
            "--quiet",
        ],
        "",
    )
    .objects()
    .remove(0);
    assert_eq!(
        (&found["choices"], &found["name"]),
        (&3.into(), &"ines".into())
    );
    let number = |of: &str, value: &str| found[of][value].as_f64().expect("a number");
    // What the text of the third choice says is up to a random model, but it is one of three.
    let security = number("target", "security");
    assert!(
        security > 0.2 && security > number("target", "power") + 0.2,
        "{found}"
    );
    assert!(number("uncertainty", "security") < number("uncertainty", "hedonism"));
    assert!(found["sure"].as_f64().expect("a number") > 0.2);
    assert!(found["question"]["tells"].as_f64().expect("a number") > 0.0);
    let shown = visa(&["profile", "show", saved, "--format", "text"], "");
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let rewritten = visa(
        &[
            "rewrite",
            "--target",
            saved,
            "--rounds",
            "1",
            "The shop opens at nine.",
        ],
        "",
    );
    assert_eq!(rewritten.code, Some(0), "{}", rewritten.stderr);
}

#[test]
fn a_text_gives_a_front_that_holds_the_original_s_consistency() {
    let (_dir, path) = file(CHOICES);
    let text = "You should lock the door at night. The bus leaves at nine.";
    let found = visa(
        &[
            "search",
            "--choices",
            path.to_str().expect("UTF-8"),
            "--candidates",
            "2",
            "--quiet",
            text,
        ],
        "",
    )
    .objects()
    .remove(0);
    let front = found["front"].as_array().expect("a front");
    let number = |point: &serde_json::Value, name: &str| point[name].as_f64().expect("a number");
    assert!(!front.is_empty());
    for pair in front.windows(2) {
        assert!(number(&pair[0], "preference") > number(&pair[1], "preference"));
        assert!(number(&pair[0], "consistency") < number(&pair[1], "consistency"));
    }
    assert!(
        front
            .iter()
            .any(|point| number(point, "consistency") == 1.0)
    );
}

#[test]
fn ratings_and_answers_are_feedback_too() {
    let (_dir, path) = file(
        "{\"text\": {\"power\": 0.9}, \"rating\": 1}\n{\"text\": {\"power\": -0.9}, \"rating\": 5}\n",
    );
    let found = visa(
        &[
            "search",
            "--rated",
            path.to_str().expect("UTF-8"),
            "--quiet",
        ],
        "",
    )
    .objects()
    .remove(0);
    assert!(found["target"]["power"].as_f64().expect("a number") < -0.1);
    let run = visa(&["search", "--questions", "3", "--quiet"], "1\n2\n1\n");
    assert_eq!(run.objects()[0]["choices"], 3);
    assert!(run.stderr.contains("3/3") && run.stderr.contains("Which is more like"));
}

#[test]
fn wrong_feedback_is_named() {
    visa(&["search", "--quiet"], "").fails(2, &["--choices FILE"]);
    let check = |lines: &str, flag: &str, parts: &[&str]| {
        let (_dir, path) = file(lines);
        visa(
            &["search", flag, path.to_str().expect("UTF-8"), "--quiet"],
            "",
        )
        .fails(1, parts);
    };
    check("", "--choices", &["empty"]);
    check("{\"chosen\": \"a\"}\n", "--choices", &["line 1", "other"]);
    check(
        "\n{\"chosen\": {\"pover\": 1}, \"other\": \"b\"}\n",
        "--choices",
        &["line 2"],
    );
    check(
        "{\"text\": \"a\", \"rating\": 1}\n",
        "--rated",
        &["unlike ratings"],
    );
    let (_dir, path) = file("one text\n");
    let pool = path.to_str().expect("UTF-8");
    visa(
        &["search", "--questions", "1", "--pool", pool, "--quiet"],
        "",
    )
    .fails(1, &["two texts"]);
}
