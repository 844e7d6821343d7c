//! `visa train`: a run from an empty folder, its resumption, and its errors.

use std::path::Path;

use serde_json::Value;

use crate::run::{Run, command, finish, visa};

const TOKENIZER: &str = r#"
vocab = 320
megabytes = 0.01
[[source]]
name = "plain"
path = "plain.txt.zst"
weight = 1.0
"#;

fn lm(tokenizer: &Path, steps: u64) -> String {
    format!(
        r#"
seed = 3
tokenizer = "{}"
batch = 2
valid_sequences = 2
[model]
hidden = 16
layers = 1
heads = 2
kv_heads = 1
feed_forward = 32
context = 32
[trainer]
steps = {steps}
checkpoint_every = 2
eval_every = 2
log_every = 1
[[source]]
name = "plain"
path = "plain.txt.zst"
weight = 1.0
"#,
        tokenizer.display()
    )
}

fn train(kind: &str, dir: &Path, recipe: &str, out: &str) -> Run {
    let file = dir.join(format!("{out}.toml"));
    std::fs::write(&file, recipe).expect("written");
    let mut command = command(&["train", kind, "--quiet", "--recipe"]);
    command
        .arg(&file)
        .arg("--data")
        .arg(dir)
        .arg("--out")
        .arg(dir.join(out));
    finish(command, b"")
}

#[test]
fn from_plain_text_to_a_decoder_that_speaks() {
    let dir = tempfile::tempdir().expect("a folder");
    let sentences = [
        "We lock the door at night because it keeps the children safe.",
        "They share what they have so that nobody goes hungry.",
        "Out of respect for the old ways they keep the fire burning.",
    ];
    let text: String = (0..400)
        .map(|n| format!("{} {}\n\n", sentences[n % 3], sentences[(n + 1) % 3]))
        .collect();
    let packed = zstd::encode_all(text.as_bytes(), 1).expect("packed");
    std::fs::write(dir.path().join("plain.txt.zst"), packed).expect("written");

    train("tokenizer", dir.path(), TOKENIZER, "tokenizer").objects();
    let recipe = lm(&dir.path().join("tokenizer"), 4);
    let object = &train("lm", dir.path(), &recipe, "lm").objects()[0];
    assert!(
        object["metrics"].as_object().is_some_and(|m| !m.is_empty()),
        "{object}"
    );
    let metrics =
        std::fs::read_to_string(dir.path().join("lm/metrics.jsonl")).expect("a metrics file");
    assert!(
        metrics
            .lines()
            .all(|l| serde_json::from_str::<Value>(l).is_ok())
    );

    // The same command has nothing left to do; with more steps it goes on.
    train("lm", dir.path(), &recipe, "lm").objects();
    train(
        "lm",
        dir.path(),
        &lm(&dir.path().join("tokenizer"), 6),
        "lm",
    )
    .objects();

    let model = dir.path().join("lm/model");
    let spoken = visa(
        &[
            "lm",
            "generate",
            "We lock",
            "--max-tokens",
            "4",
            "--model",
            model.to_str().expect("UTF-8"),
        ],
        "",
    );
    assert!(spoken.objects()[0]["text"].is_string());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_a_checkpoint_and_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "We share what we have so that nobody goes hungry.\n\n".repeat(400);
    std::fs::write(
        dir.path().join("plain.txt.zst"),
        zstd::encode_all(text.as_bytes(), 1).expect("packed"),
    )
    .expect("written");
    train("tokenizer", dir.path(), TOKENIZER, "tokenizer").objects();
    let endless = lm(&dir.path().join("tokenizer"), 1_000_000)
        .replace("eval_every = 2", "eval_every = 1000000");
    let file = dir.path().join("lm.toml");
    std::fs::write(
        &file,
        endless.replace("checkpoint_every = 2", "checkpoint_every = 1000000"),
    )
    .expect("written");
    let out = dir.path().join("lm");
    let mut command = command(&["train", "lm", "--quiet", "--recipe"]);
    command
        .arg(&file)
        .arg("--data")
        .arg(dir.path())
        .arg("--out")
        .arg(&out);
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let started = std::time::Instant::now();
    while std::fs::metadata(out.join("metrics.jsonl")).map_or(0, |m| m.len()) == 0 {
        assert!(started.elapsed().as_secs() < 60, "no step in a minute");
        assert!(
            child.try_wait().expect("asked").is_none(),
            "the run ended by itself"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let output = child.wait_with_output().expect("the binary ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("run the same command to go on"), "{said}");
    assert!(
        std::fs::read_dir(out.join("checkpoints"))
            .expect("checkpoints")
            .next()
            .is_some()
    );
}

#[test]
fn wrong_recipes_and_folders_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    train("detector", dir.path(), "sed = 3", "a").fails(2, &["a.toml", "sed"]);
    train("lm", dir.path(), "seed = \"x\"", "b").fails(2, &["b.toml", "seed"]);
    visa(&["train", "nli"], "").fails(2, &["--recipe"]);
    visa(&["train", "nli", "--recipe", "nowhere.toml"], "").fails(1, &["nowhere.toml"]);
    visa(
        &[
            "train",
            "nli",
            "--recipe",
            "r.toml",
            "--data",
            "/nowhere/data",
        ],
        "",
    )
    .fails(2, &["/nowhere/data", "VISA_DATA"]);
    visa(&["train", "nli", "--recipe", "r.toml", "--seed", "3"], "")
        .fails(2, &["the seed stands in the recipe"]);
}
