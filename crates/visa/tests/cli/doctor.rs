//! `visa doctor` and `visa completions`.

use serde_json::{Value, json};

use crate::run::{command, finish, visa};

#[test]
fn a_sound_machine_is_reported_sound() {
    let run = visa(&["doctor", "--format", "json"], "");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).expect("one document");
    assert_eq!(report["ok"], json!(true));
    assert_eq!(report["models"].as_array().expect("models").len(), 6);
    assert!(report["system"]["cores"].as_u64().is_some_and(|c| c > 0));
    let text = visa(&["doctor", "--format", "text", "--color", "never"], "").stdout;
    for word in [
        "visa 0.",
        "processor",
        "kernels",
        "detector",
        "rewriter",
        "advice",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn settings_are_shown_with_their_origin_and_typos_are_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("visa.toml");
    std::fs::write(&file, "threads = 1\nseed = 5\n").expect("written");
    let mut command = command(&["doctor", "--format", "json", "--color", "never", "--config"]);
    command
        .arg(&file)
        .env("VISA_SEED", "6")
        .env("VISA_THREDS", "2")
        .env("VISA_API_KEY", "secret-key");
    let run = finish(command, b"");
    let report: Value = serde_json::from_str(&run.stdout).expect("one document");
    let origin = |name: &str| {
        let all = report["settings"].as_array().expect("settings");
        let found = all
            .iter()
            .find(|s| s["name"] == name)
            .expect("all are listed");
        (found["value"].clone(), found["origin"].clone())
    };
    assert_eq!(origin("threads"), (json!("1"), json!("file")));
    assert_eq!(origin("seed"), (json!("6"), json!("variable")));
    assert_eq!(origin("color"), (json!("never"), json!("flag")));
    assert_eq!(origin("device"), (json!("cpu"), json!("default")));
    assert!(
        report["advice"]
            .to_string()
            .contains("did you mean \\\"VISA_THREADS\\\""),
        "{}",
        report["advice"]
    );
    assert_eq!(report["endpoint"]["key_variable"], json!("VISA_API_KEY"));
    assert!(!run.stdout.contains("secret-key"), "a key is never shown");
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = visa(&["completions", shell], "");
        assert_eq!(run.code, Some(0));
        assert!(
            run.stdout.contains("rewrite") && run.stdout.contains("visa"),
            "{shell}"
        );
    }
}
