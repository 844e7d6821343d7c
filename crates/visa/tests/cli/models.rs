//! Models that are missing, damaged or do not fit: exit 3, with the file and the remedy.

use std::fs;

use crate::fixture;
use crate::run::{command, finish};

#[track_caller]
fn check(damage: impl Fn(&std::path::Path), arguments: &[&str], parts: &[&str]) {
    let dir = fixture::copy();
    damage(dir.path());
    let mut command = command(arguments);
    command.env("VISA_MODEL", dir.path());
    finish(command, b"").fails(3, parts);
}

fn truncate(file: std::path::PathBuf, to: impl Fn(usize) -> usize) {
    let bytes = fs::read(&file).expect("read");
    fs::write(&file, &bytes[..to(bytes.len())]).expect("written");
}

const DETECT: [&str; 2] = ["detect", "Some text."];

#[test]
fn missing_models_name_where_was_looked() {
    check(
        |d| fs::remove_dir_all(d.join("detector")).expect("removed"),
        &DETECT,
        &["detector", "not found", "looked"],
    );
    check(
        |d| fs::remove_file(d.join("encoder/model.safetensors")).expect("removed"),
        &DETECT,
        &["encoder/model.safetensors"],
    );
    check(
        |d| fs::remove_dir_all(d.join("rewriter")).expect("removed"),
        &["rewrite", "--shift", "power=1", "Some text."],
        &["rewriter", "not found"],
    );
    check(
        |d| fs::remove_dir_all(d.join("translator")).expect("removed"),
        &["rewrite", "--persona", "someone kind", "Some text."],
        &["translator", "not found"],
    );
    let run = finish(command(&["detect", "--model", "/nowhere/at/all", "x"]), b"");
    run.fails(3, &["/nowhere/at/all"]);
}

#[test]
fn truncated_weights_are_told_from_whole_ones() {
    let weights = "encoder/model.safetensors";
    check(
        |d| truncate(d.join(weights), |n| n - 10),
        &DETECT,
        &[weights, "truncated", "fetch the model again"],
    );
    check(
        |d| truncate(d.join(weights), |_| 5),
        &DETECT,
        &[weights, "truncated"],
    );
    check(
        |d| truncate(d.join(weights), |_| 0),
        &DETECT,
        &[weights, "empty"],
    );
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    check(
        |d| fs::write(d.join(weights), lfs).expect("written"),
        &DETECT,
        &[weights, "LFS pointer"],
    );
    check(
        |d| fs::write(d.join("detector/head.json"), "{").expect("written"),
        &DETECT,
        &["head.json"],
    );
    check(
        |d| fs::write(d.join("encoder/config.json"), "no json").expect("written"),
        &DETECT,
        &["config.json"],
    );
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    // The real encoder's tokenizer knows 30,522 tokens, the tiny model's embedding has a few hundred rows.
    let real = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/encoder/tokenizer.json"
    );
    for (part, arguments) in [
        ("encoder", &DETECT[..]),
        ("rewriter", &["lm", "generate", "x"][..]),
    ] {
        check(
            |d| assert!(fs::copy(real, d.join(part).join("tokenizer.json")).is_ok()),
            arguments,
            &["tokenizer.json"],
        );
        check(
            |d| fs::write(d.join(part).join("tokenizer.json"), "{\"model\": 1}").expect("written"),
            arguments,
            &["tokenizer.json"],
        );
    }
}

#[test]
fn a_lost_model_is_found_by_the_doctor() {
    let dir = fixture::copy();
    fs::remove_dir_all(dir.path().join("nli")).expect("removed");
    truncate(dir.path().join("rewriter/model.safetensors"), |n| n / 2);
    let mut command = command(&["doctor", "--format", "json"]);
    command.env("VISA_MODEL", dir.path());
    let run = finish(command, b"");
    run.fails(3, &["models are not complete"]);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("one document");
    let problem = |name: &str| {
        let models = report["models"].as_array().expect("models");
        models
            .iter()
            .find(|m| m["name"] == name)
            .expect("all are listed")["problem"]
            .clone()
    };
    assert!(problem("encoder").is_null() && problem("detector").is_null());
    assert!(
        problem("nli")
            .as_str()
            .expect("missing")
            .contains("not found")
    );
    assert!(
        problem("rewriter")
            .as_str()
            .expect("damaged")
            .contains("truncated")
    );
}
