//! `visa profile`: made, kept as TOML, shown, compared, averaged, and used by another command.

use serde_json::{Value, json};

use crate::run::{Run, visa};

/// Runs `visa profile` in words.
fn profile(arguments: &[&str], stdin: &str) -> Run {
    let all: Vec<&str> = std::iter::once("profile")
        .chain(arguments.iter().copied())
        .collect();
    visa(&all, stdin)
}

fn only(run: &Run) -> Value {
    let mut objects = run.objects();
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

#[test]
fn a_profile_is_made_kept_compared_averaged_and_used() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_string();
    let (ines, words, team) = (path("ines.toml"), path("words.toml"), path("team.toml"));

    // From a person's own texts, with how sure it is.
    let texts = r#"{"id": "ines", "texts": ["We share what we have.", "Keep the fire burning.", {"text": "Freedom!", "context": "What matters?"}]}"#;
    let made = only(&profile(
        &["texts", "--save", &ines, "--name", "ines"],
        texts,
    ));
    assert_eq!(made["id"], json!("ines"));
    assert_eq!((&made["texts"], &made["name"]), (&json!(3), &json!("ines")));
    for part in ["target", "uncertainty"] {
        assert_eq!(made[part].as_object().expect(part).len(), 10);
    }
    assert!(made["needed"].as_u64().expect("a number") >= 2);
    let file = std::fs::read_to_string(&ines).expect("saved");
    assert!(
        file.starts_with("name = \"ines\"\nabout = \"the mean of 3 texts\"\n"),
        "{file}"
    );

    // From words, which the translator reads; explicit ones need no model and are exact.
    let made = only(&profile(
        &["words", "tradition=+0.8, power=-0.5", "--save", &words],
        "",
    ));
    assert_eq!(made["target"]["tradition"], json!(0.8));
    let made = only(&profile(&["words", "a careful parent"], ""));
    assert_eq!(made["about"], json!("a careful parent"));

    // Looked at: the store's members as JSON, bars as text.
    let shown = only(&profile(&["show", &ines], ""));
    assert_eq!(
        (&shown["texts"], &shown["name"]),
        (&json!(3), &json!("ines"))
    );
    assert_eq!(shown.get("needed"), None, "only the making knows that");
    let text = profile(&["show", &words, "--format", "text"], "");
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    assert!(
        text.stdout.contains("tradition") && text.stdout.contains("+0.80"),
        "{}",
        text.stdout
    );

    let compared = only(&profile(
        &["compare", &words, "tradition=-0.8, power=0.5"],
        "",
    ));
    assert_eq!(compared["cosine"], json!(-1.0));
    assert_eq!(compared["difference"]["tradition"], json!(-1.6));
    assert_eq!(compared.get("clear"), None, "neither knows its uncertainty");
    let compared = only(&profile(&["compare", &ines, &ines], ""));
    assert_eq!(
        (&compared["distance"], &compared["clear"]),
        (&json!(0.0), &json!([]))
    );

    let made = only(&profile(
        &[
            "average",
            &words,
            "tradition=0.4",
            "--weights",
            "3,1",
            "--save",
            &team,
        ],
        "",
    ));
    let tradition = made["target"]["tradition"].as_f64().expect("a number");
    assert!((tradition - 0.7).abs() < 1e-6, "{tradition}");

    // Used: the file is a target like any other.
    let aimed = only(&visa(&["translate", "power=+0.1", "--from", &team], ""));
    assert_eq!(aimed["target"]["tradition"], json!(0.7));
}

#[test]
fn texts_come_as_files_and_paragraphs() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.to_str().expect("UTF-8").to_string()
    };
    let letter = write("letter.txt", "Dear team,\n\nwe share what we have.\n");
    let posts = write(
        "posts.jsonl",
        "{\"text\": \"One.\"}\n\n{\"text\": \"Two.\", \"context\": \"Why?\"}\n",
    );
    let made = only(&profile(&["texts", &letter, &posts], ""));
    assert_eq!(made["texts"], json!(3));
    let made = only(&profile(
        &["texts"],
        "First one,\nof two lines.\n\n\nSecond one.\n",
    ));
    assert_eq!(made["texts"], json!(2));
    // One text alone knows nothing of its uncertainty, and says so.
    let made = only(&profile(&["texts", &letter], ""));
    assert_eq!((made.get("uncertainty"), made.get("needed")), (None, None));
    assert!(made["notice"].as_str().expect("words").contains("One text"));

    let broken = write("broken.jsonl", "{\"text\": \"One.\"}\n{\"txt\": 1}\n");
    profile(&["texts", &broken], "").fails(1, &["broken.jsonl", "line 2", "missing field `text`"]);
    profile(&["texts", "nowhere.txt"], "").fails(1, &["nowhere.txt"]);
    profile(&["texts"], "{\"texts\": []}").fails(1, &["line 1", "list of texts is empty"]);
    profile(&["texts"], "{\"texts\": [\"a\", \" \"]}").fails(1, &["line 1", "text 2 is empty"]);
    profile(&["texts", "--precision", "0", &letter], "").fails(2, &["--precision"]);
}

#[test]
fn the_questionnaire_is_answered_by_flag_file_and_line() {
    let list = profile(&["ask", "--list"], "");
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    assert_eq!(
        list.stdout
            .lines()
            .filter(|l| l.starts_with(|c: char| " 12".contains(c)) && l.contains("  "))
            .count(),
        20,
        "{}",
        list.stdout
    );

    let same = vec!["4"; 20].join(",");
    let made = only(&profile(&["ask", "--answers", &same], ""));
    assert_eq!(made["target"]["power"], json!(0.0));
    assert!(made["notice"].as_str().expect("words").contains("the same"));

    let answers: Vec<u8> = (0..20)
        .map(|i| if i == 4 || i == 12 { 6 } else { 1 })
        .collect();
    let by_line = only(&profile(
        &["ask"],
        &format!("{}\n", json!({"id": 7, "answers": answers})),
    ));
    let words: Vec<String> = answers.iter().map(u8::to_string).collect();
    let by_words = only(&profile(&["ask"], &words.join(" ")));
    assert_eq!(by_line["target"], by_words["target"]);
    assert_eq!(
        (&by_line["id"], &by_line["target"]["tradition"]),
        (&json!(7), &json!(1.0))
    );

    profile(&["ask", "--answers", "1,2"], "").fails(1, &["2 numbers", "twenty numbers"]);
    profile(&["ask"], "1 2 x").fails(1, &["\"x\" is no answer"]);
    profile(&["ask"], "{\"answers\": [1]}\n{\"answers\": [2]}").fails(1, &["line 1", "1 numbers"]);
    let skipped = profile(&["ask", "--on-error", "skip"], "{\"answers\": [1]}\n");
    skipped.fails(1, &["skipped"]);
    assert!(
        skipped.lines()[0]["error"]
            .as_str()
            .expect("words")
            .contains("1 numbers")
    );
}

#[test]
fn wrong_usage_says_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("p.toml");
    let file = path.to_str().expect("UTF-8");
    profile(&["set", "tradtion=+0.8"], "").fails(2, &["did you mean \"tradition\""]);
    profile(&["set", "tradition=+1.8"], "").fails(2, &["between -1 and 1"]);
    profile(&["set", "power=1", "--name", "../x"], "").fails(2, &["--name", "letters"]);
    profile(&["set", "power=1", "--save", file, "--name", "me"], "").objects();
    assert!(path.is_file());
    let two = "{\"persona\": \"power=1\"}\n{\"persona\": \"power=0.5\"}\n";
    profile(&["words", "--save", file], two).fails(1, &["--save", "keeps one profile"]);
    profile(&["show", "nowhere.toml"], "").fails(1, &["nowhere.toml", "neither a file"]);
    std::fs::write(&path, "persona = \"someone\"\n").expect("written");
    profile(&["compare", file, "power=1"], "").fails(1, &["p.toml", "--persona"]);
    std::fs::write(&path, "[target]\npwer = 1\n").expect("written");
    profile(&["show", file], "").fails(1, &["p.toml", "did you mean \"power\""]);
    profile(&["average", "power=1", "power=0", "--weights", "1"], "")
        .fails(2, &["weights", "one number a profile"]);
}
