//! `visa train`: each model from an empty folder to an answer, and errors.

use std::path::Path;

use serde_json::Value;
use visa_align::Part;
use visa_train::encoder::signed::TRAITS;

use crate::rewrite::check_outcome;
use crate::run::{Run, command, finish, visa};
use crate::training::{
    PAIRS, TOKENIZER, detector, grpo, lines, lm, nli, pairs, prefs, sft, train, translator, trunk,
};
use crate::{data, fixture};

/// What every training line of a metrics file holds.
const TRAIN: [&str; 7] = [
    "loss",
    "lr",
    "grad_norm",
    "items_per_s",
    "forward_s",
    "backward_s",
    "update_s",
];

/// Every line has its step and each of the names with a number; JSON has none that is not finite.
#[track_caller]
fn check_metrics(file: &Path, kind: &str, names: &[&str]) {
    let lines = lines(file, kind);
    assert!(!lines.is_empty(), "no line of kind {kind}");
    for line in lines {
        assert!(line["step"].as_u64().is_some_and(|step| step > 0), "{line}");
        for name in names {
            assert!(line[name].is_number(), "{name}: {line}");
        }
    }
}

/// The numbers that a training answered on standard output.
#[track_caller]
fn report(run: &Run, names: &[&str]) -> Value {
    let report = run.objects()[0]["metrics"].clone();
    for name in names {
        assert!(report[name].is_number(), "{name}: {report}");
    }
    report
}

/// What the trained model in the place of `part` answers, and what the random one did.
fn answers(part: Part, trained: &Path, arguments: &[&str], input: &str) -> [Value; 2] {
    let models = fixture::with(part, trained);
    let mut own = command(arguments);
    own.env("VISA_MODEL", models.path());
    let mut objects = finish(own, input.as_bytes()).objects();
    [
        objects.remove(0),
        visa(arguments, input).objects().remove(0),
    ]
}

#[test]
fn from_plain_text_to_a_rewriter() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    data::rewriter(dir);

    train("tokenizer", dir, TOKENIZER, "tokenizer").objects();
    train("tokenizer", dir, TOKENIZER, "again").objects();
    let read = |name: &str| std::fs::read(dir.join(name)).expect("a file");
    assert!(read("tokenizer/tokenizer.json") == read("again/tokenizer.json"));

    let recipe = lm(&dir.join("tokenizer"), 4, 1);
    report(&train("lm", dir, &recipe, "lm"), &["valid_plain"]);
    check_metrics(&dir.join("lm/metrics.jsonl"), "train", &TRAIN);
    check_metrics(&dir.join("lm/metrics.jsonl"), "eval", &["valid_plain"]);
    // The same command has nothing left to do; with more steps it goes on.
    train("lm", dir, &recipe, "lm").objects();
    assert_eq!(lines(&dir.join("lm/metrics.jsonl"), "train").len(), 4);
    train("lm", dir, &lm(&dir.join("tokenizer"), 6, 1), "lm").objects();
    assert_eq!(lines(&dir.join("lm/metrics.jsonl"), "train").len(), 6);
    let model = dir.join("lm/model");
    let arguments = [
        "lm",
        "generate",
        "They sold",
        "--max-tokens",
        "4",
        "--model",
    ];
    let spoken = visa(
        &[&arguments[..], &[model.to_str().expect("UTF-8")]].concat(),
        "",
    );
    assert!(spoken.objects()[0]["text"].is_string());

    let names = [
        "valid_mined",
        "control_mined",
        "valid_generated",
        "control_generated",
        "sampled_known",
    ];
    let pairs = pairs(dir);
    report(
        &train("sft", dir, &sft(&model, &pairs, 4, 1), "sft"),
        &names,
    );
    check_metrics(&dir.join("sft/metrics.jsonl"), "train", &TRAIN);
    check_metrics(&dir.join("sft/metrics.jsonl"), "eval", &names);
    let text = "They opened the old shop in 1907.";
    let arguments = ["rewrite", "--rounds", "1", "--shift", "security=+0.8", text];
    let [rewritten, _] = answers(Part::Rewriter, &dir.join("sft/model"), &arguments, "");
    assert_eq!(rewritten["original"], text);
    check_outcome(&rewritten);
}

#[test]
fn from_a_rewriter_to_one_that_learned_from_its_judges() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    data::rewriter(dir);
    std::fs::create_dir(dir.join("written")).expect("a folder");
    let written = "P\nS The shop is open on Sunday.\n++se , so that people are safe\n--tr , whatever the old custom says\n";
    std::fs::write(dir.join("written/shops.txt"), written).expect("written");
    let recipe = format!("written = [{:?}]\n{PAIRS}", dir.join("written"));
    std::fs::write(dir.join("pairs.toml"), recipe).expect("written");
    let file = dir.join("judged/pairs.jsonl");
    let mut judged = command(&["data", "pairs", "--quiet", "--recipe"]);
    judged
        .arg(dir.join("pairs.toml"))
        .arg("--data")
        .arg(dir)
        .arg("--out")
        .arg(&file);
    let made = finish(judged, b"").objects();
    let text = std::fs::read_to_string(&file).expect("a file of pairs");
    assert_eq!(made[0]["pairs"]["pairs"], text.lines().count() as f64);
    for kind in [
        "mined",
        "argument",
        "kept",
        "contrast",
        "written",
        "split",
        "simplified",
    ] {
        assert!(
            made[0]["pairs"][kind].as_f64().is_some_and(|n| n > 0.0),
            "{kind}: {}",
            made[0]
        );
    }
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    for field in [
        "kind",
        "topic",
        "split",
        "source",
        "target",
        "shift",
        "consistency",
        "before",
    ] {
        assert!(!first[field].is_null(), "{field}: {first}");
    }

    let rewriter = fixture::models().join("rewriter");
    let names = ["completions/usable", "completions/logprob"];
    report(
        &train("grpo", dir, &grpo(&rewriter, &file, 3), "grpo"),
        &names,
    );
    let metrics = dir.join("grpo/metrics.jsonl");
    let own = [
        "reward",
        "reward_std",
        "kl",
        "entropy",
        "completions/mean_length",
        "rollout_s",
    ];
    check_metrics(
        &metrics,
        "train",
        &[&own[..], &["loss", "lr", "grad_norm"]].concat(),
    );
    for (name, loss) in [
        ("dpo", "loss = \"dpo\"\nbeta = 0.1"),
        ("simpo", "loss = \"simpo\"\nbeta = 2.0\ngamma = 1.0"),
    ] {
        report(
            &train("prefs", dir, &prefs(&rewriter, &file, loss, 2), name),
            &names[..1],
        );
        let metrics = dir.join(name).join("metrics.jsonl");
        check_metrics(
            &metrics,
            "train",
            &[&TRAIN[..], &["rewards/margins"]].concat(),
        );
    }
    let text = "They opened the old shop in 1907.";
    let arguments = ["rewrite", "--rounds", "1", "--shift", "security=+0.8", text];
    for name in ["grpo", "dpo", "simpo"] {
        let model = dir.join(name).join("model");
        let [rewritten, _] = answers(Part::Rewriter, &model, &arguments, "");
        check_outcome(&rewritten);
    }
}

#[test]
fn from_labelled_arguments_to_a_detector_that_reads() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    data::detector(dir);
    let run = train("detector", dir, &detector(), "run");
    let report = report(
        &run,
        &[
            "outside/task_f1",
            "validation/context/task_f1",
            "validation/alone/mean_f1",
            "validation/baseline_all/task_f1",
            "validation-zhihu/context/task_f1",
            "traits/sign",
            "pvq40/strongest",
        ],
    );
    assert_eq!(report["validation/n"], data::ARGUMENTS as f64);
    assert_eq!(report["pvq40/n"], 10.0);
    let held_out: usize = TRAITS.hold_out.values().map(Vec::len).sum();
    assert_eq!(report["traits/n"], (held_out * data::STATEMENTS) as f64);
    for fold in ["fold-0", "fold-1"] {
        let metrics = dir.join("run").join(fold).join("metrics.jsonl");
        check_metrics(
            &metrics,
            "train",
            &[&TRAIN[..], &["presence", "sign"]].concat(),
        );
        check_metrics(
            &metrics,
            "eval",
            &["held_f1", "held_mean_f1", "held_alone_f1", "held_sign"],
        );
    }
    let text = "We lock the door because it keeps the children safe.";
    let [trained, random] = answers(
        Part::Detector,
        &dir.join("run/model"),
        &["detect", text],
        "",
    );
    assert_eq!(trained["values"].as_object().expect("ten").len(), 10);
    assert_eq!(trained["categories"].as_object().expect("twenty").len(), 20);
    assert_ne!(trained["values"], random["values"]);
}

#[test]
fn from_no_data_to_a_translator_that_understands() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let run = train("translator", dir, &translator(&trunk(), 200), "run");
    let report = report(&run, &[]);
    let sizes = report.as_object().expect("kinds of instructions").iter();
    let held: f64 = sizes
        .filter(|(name, _)| name.ends_with("/n"))
        .filter_map(|(_, n)| n.as_f64())
        .sum();
    assert_eq!(held, 40.0, "{report}");
    let metrics = dir.join("run/fold-0/metrics.jsonl");
    check_metrics(
        &metrics,
        "train",
        &[&TRAIN[..], &["direction", "strength"]].concat(),
    );
    check_metrics(&metrics, "eval", &["held_direction", "held_error"]);
    let arguments = ["translate", "much more security, a bit less hedonism"];
    let [trained, _] = answers(Part::Translator, &dir.join("run/model"), &arguments, "");
    let shift = trained["shift"].as_object().expect("ten");
    assert_eq!(shift.len(), 10);
    assert!(shift.values().all(Value::is_number), "{trained}");
}

#[test]
fn from_pairs_to_a_checker_that_judges() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    data::nli(dir);
    let run = train("nli", dir, &nli(), "run");
    let report = report(&run, &["test/accuracy"]);
    assert_eq!(report["test/n"], data::PAIRS as f64);
    assert_eq!(report["test/baseline_commonest"], 1.0 / 3.0);
    let generated = |name: &String| name.starts_with("generated/") && name.ends_with("/n");
    assert!(
        report.as_object().expect("numbers").keys().any(generated),
        "{report}"
    );
    let metrics = dir.join("run/fold-0/metrics.jsonl");
    check_metrics(&metrics, "train", &[&TRAIN[..], &["relation"]].concat());
    check_metrics(&metrics, "eval", &["dev", "held_generated"]);
    let pair = r#"{"original": "It opens at 8.", "candidate": "It opens at 8, which is safe.", "shift": {"security": 1}}"#;
    let [trained, random] = answers(Part::Nli, &dir.join("run/model"), &["score"], pair);
    assert!(trained["consistency"]["mean"].is_number(), "{trained}");
    assert_ne!(trained["consistency"], random["consistency"]);
}

#[test]
fn missing_data_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let check = |kind: &str, recipe: &str, file: &str| {
        let run = train(kind, dir.path(), recipe, kind);
        run.fails(1, &[file, "check that the path exists"]);
        assert!(!dir.path().join(kind).join("model").exists());
    };
    let rewriter = fixture::models().join("rewriter");
    check("tokenizer", TOKENIZER, "text/wikipedia.txt.zst");
    check("lm", &lm(&rewriter, 4, 1), "text/wikipedia.txt.zst");
    let pairs = dir.path().join("pairs.jsonl");
    check("sft", &sft(&rewriter, &pairs, 4, 1), "pairs.jsonl");
    check("grpo", &grpo(&rewriter, &pairs, 4), "pairs.jsonl");
    check("detector", &detector(), "touche23/arguments-training.tsv");
    check("nli", &nli(), "all_combined/train.tsv");
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
