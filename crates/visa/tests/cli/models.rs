//! Models that are missing, damaged or do not fit: exit 3, with the file and the remedy.

use std::fs;
use std::path::Path;

use visa_align::Part;

use crate::run::{command, finish};
use crate::{data, fixture, training};

#[track_caller]
fn check(damage: impl Fn(&Path), arguments: &[&str], parts: &[&str]) {
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

/// Every command that loads models, and those that it loads.
const COMMANDS: [(&[&str], &[Part]); 7] = [
    (&DETECT, &[Part::Encoder, Part::Detector]),
    (
        &["translate", "more fun"],
        &[Part::Encoder, Part::Translator],
    ),
    (
        &[
            "score",
            "--original",
            "x",
            "--candidate",
            "y",
            "--shift",
            "power=1",
        ],
        &[Part::Encoder, Part::Detector, Part::Nli],
    ),
    (
        &["rewrite", "--persona", "someone kind", "Some text."],
        &Part::ALL,
    ),
    (&["lm", "generate", "x"], &[Part::Rewriter]),
    (&["lm", "score", "x"], &[Part::Rewriter]),
    (
        &["eval", "speed", "--limit", "4", "--quiet"],
        &[Part::Encoder, Part::Detector],
    ),
];

#[test]
fn every_command_tells_every_truncated_file() {
    for part in Part::ALL {
        for entry in fs::read_dir(fixture::models().join(part.folder())).expect("a folder") {
            let file = entry.expect("a file").file_name();
            let name = format!("{}/{}", part.folder(), file.to_str().expect("UTF-8"));
            for (arguments, _) in COMMANDS.iter().filter(|(_, parts)| parts.contains(&part)) {
                check(
                    |d| truncate(d.join(&name), |n| n - 10),
                    arguments,
                    &[&name, "fetch the model again"],
                );
            }
        }
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let misfit = tempfile::tempdir().expect("a folder");
    let words: String = (0..2000).map(|n| format!("word{n} ")).collect();
    let specials = visa_align::format::specials();
    let names = ["[PAD]", "[CLS]", "[SEP]"].into_iter();
    let names: Vec<&str> = names.chain(specials.iter().map(String::as_str)).collect();
    visa_nn::Tokenizer::train_bpe([words].iter(), 1000, &names)
        .and_then(|tokenizer| tokenizer.save(misfit.path()))
        .expect("a tokenizer of more tokens than the models have rows");
    let put = |dir: &Path| {
        let from = misfit.path().join("tokenizer.json");
        assert!(fs::copy(from, dir.join("tokenizer.json")).is_ok());
    };
    for part in [Part::Encoder, Part::Rewriter] {
        let place = format!("{}/tokenizer.json", part.folder());
        let parts = [
            &place,
            "embedding rows",
            "use the tokenizer.json that was saved with the model",
        ];
        for (arguments, _) in COMMANDS.iter().filter(|(_, parts)| parts.contains(&part)) {
            check(|d| put(&d.join(part.folder())), arguments, &parts);
        }
        check_training(part, put, &parts);
    }
    // The trunk's tokenizer knows no marks of the rewriter.
    check(
        |d| {
            let from = d.join("encoder/tokenizer.json");
            assert!(fs::copy(from, d.join("rewriter/tokenizer.json")).is_ok());
        },
        &["rewrite", "--shift", "power=1", "Some text."],
        &["rewriter/tokenizer.json", "<|begin|>", "is missing"],
    );
}

#[test]
fn training_tells_every_truncated_file() {
    for part in [Part::Encoder, Part::Rewriter] {
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            check_training(
                part,
                |d| truncate(d.join(name), |n| n - 10),
                &[name, "again"],
            );
        }
    }
}

/// Training over a part that `damage` has made unfit ends with 3, before a model is written.
#[track_caller]
fn check_training(part: Part, damage: impl Fn(&Path), parts: &[&str]) {
    let (models, run) = (fixture::copy(), tempfile::tempdir().expect("a folder"));
    let folder = models.path().join(part.folder());
    damage(&folder);
    data::rewriter(run.path());
    let (kind, recipe) = match part {
        Part::Encoder => ("translator", training::translator(&folder, 40)),
        _ => (
            "sft",
            training::sft(&folder, &run.path().join("pairs.jsonl"), 2, 1),
        ),
    };
    training::train(kind, run.path(), &recipe, "run").fails(3, parts);
    assert!(!run.path().join("run/model").exists());
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
