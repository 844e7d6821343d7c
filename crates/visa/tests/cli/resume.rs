//! Trainings that are interrupted and go on: the same bytes as those that were not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::training::{grpo, lines, lm, pairs, prepare, sft, train, translator, trunk};
use crate::{data, fixture};

/// Trains once without and once with an interruption, which must end with 130 and a checkpoint and change neither
/// `files` nor what was measured. `log` is the metrics file that says that training is under way.
#[track_caller]
fn check_resumption(kind: &str, dir: &Path, recipe: &str, log: &str, files: &[&str]) {
    let whole = train(kind, dir, recipe, "whole").objects();
    let log_of = |out: &str| -> PathBuf { dir.join(out).join(log) };
    let mut child = prepare(kind, dir, recipe, "parts")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let started = std::time::Instant::now();
    while std::fs::metadata(log_of("parts")).map_or(0, |m| m.len()) == 0 {
        assert!(started.elapsed().as_secs() < 60, "no step in a minute");
        let ended = child.try_wait().expect("asked");
        assert!(
            ended.is_none(),
            "the run ended before it wrote metrics: {ended:?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let output = child.wait_with_output().expect("the binary ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        output.stdout.is_empty(),
        "an unfinished run reports nothing"
    );
    assert!(said.contains("run the same command to go on"), "{said}");
    let checkpoints = log_of("parts").with_file_name("checkpoints");
    assert!(
        std::fs::read_dir(checkpoints)
            .expect("checkpoints")
            .next()
            .is_some()
    );

    let parts = train(kind, dir, recipe, "parts").objects();
    assert_eq!(parts[0]["metrics"], whole[0]["metrics"]);
    assert_eq!(
        lines(&log_of("parts"), "eval"),
        lines(&log_of("whole"), "eval")
    );
    for name in files {
        let read = |out: &str| std::fs::read(dir.join(out).join(name)).expect("a file");
        assert!(read("parts") == read("whole"), "{name} differs");
    }
    // A run that learns nothing would pass all this.
    let all = lines(&log_of("whole"), "train");
    let [first, last] = [all.first(), all.last()].map(|line| line.expect("a line"));
    // The loss of reinforcement does not fall; the policy leaves its reference.
    let learned = |line: &Value| match kind {
        "grpo" => -line["kl"].as_f64().expect("a number"),
        _ => line["loss"].as_f64().expect("a number"),
    };
    assert!(learned(last) < learned(first), "{all:?}");
}

#[test]
fn an_interrupted_encoder_task_ends_with_the_same_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = [
        "model/adapter_model.safetensors",
        "model/head.safetensors",
        "model/head.json",
    ];
    check_resumption(
        "translator",
        dir.path(),
        &translator(&trunk(), 1200),
        "fold-0/metrics.jsonl",
        &files,
    );
}

#[test]
fn an_interrupted_language_model_ends_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    data::text(dir.path());
    let recipe = lm(&fixture::models().join("rewriter"), 300, 5);
    check_resumption(
        "lm",
        dir.path(),
        &recipe,
        "metrics.jsonl",
        &["model/model.safetensors"],
    );
}

#[test]
fn an_interrupted_rewriter_ends_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    data::rewriter(dir.path());
    let pairs = pairs(dir.path());
    let rewriter = fixture::models().join("rewriter");
    let files = ["model/model.safetensors"];
    let recipe = sft(&rewriter, &pairs, 120, 5);
    check_resumption("sft", dir.path(), &recipe, "metrics.jsonl", &files);
}

#[test]
fn interrupted_reinforcement_ends_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    data::rewriter(dir.path());
    let pairs = pairs(dir.path());
    let recipe = grpo(&fixture::models().join("rewriter"), &pairs, 200);
    let files = ["model/model.safetensors"];
    check_resumption("grpo", dir.path(), &recipe, "metrics.jsonl", &files);
}
