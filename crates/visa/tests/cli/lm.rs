//! `visa lm`.

use serde_json::json;

use crate::run::visa;

#[test]
fn generation_continues_and_repeats_by_seed() {
    let run = |seed: &str| {
        visa(
            &[
                "lm",
                "generate",
                "We share",
                "--max-tokens",
                "8",
                "--seed",
                seed,
            ],
            "",
        )
        .objects()
    };
    let first = run("1");
    let ids = first[0]["ids"].as_array().expect("ids");
    assert!((1..=8).contains(&ids.len()));
    assert!(first[0]["text"].is_string());
    assert_eq!(first, run("1"));
}

#[test]
fn scores_are_natural_logarithms_of_every_token_but_the_first() {
    let generated = visa(&["lm", "generate", "We share", "--max-tokens", "6"], "").objects();
    let mut ids = vec![json!(5), json!(9)];
    ids.extend(generated[0]["ids"].as_array().expect("ids").iter().cloned());
    let input = format!(
        "{}\n{}\n",
        json!({"ids": ids}),
        json!({"prompt": "We share", "completion": " what we have"})
    );
    let objects = visa(&["lm", "score"], input).objects();
    let logprobs = objects[0]["logprobs"].as_array().expect("logprobs");
    assert_eq!(objects[0]["ids"], json!(ids));
    assert_eq!(logprobs.len(), ids.len());
    assert!(logprobs[0].is_null());
    let numbers: Vec<f64> = logprobs[1..]
        .iter()
        .map(|l| l.as_f64().expect("a number"))
        .collect();
    assert!(numbers.iter().all(|l| *l < 0.0));
    let total = objects[0]["total"].as_f64().expect("a total");
    assert!((total - numbers.iter().sum::<f64>()).abs() < 1e-4);
    // With a completion the total is the completion's.
    let start = objects[1]["completion_start"]
        .as_u64()
        .expect("where it starts") as usize;
    let rest: f64 = objects[1]["logprobs"].as_array().expect("logprobs")[start..]
        .iter()
        .map(|l| l.as_f64().expect("a number"))
        .sum();
    assert!((objects[1]["total"].as_f64().expect("a total") - rest).abs() < 1e-4);
}

#[test]
fn wrong_ids_and_options_are_named() {
    visa(&["lm", "score"], "{\"ids\": [999999]}").fails(1, &["line 1", "999999"]);
    visa(&["lm", "score"], "{\"ids\": []}").fails(1, &["line 1", "empty"]);
    visa(&["lm", "score"], "{\"ids\": [-1]}").fails(1, &["line 1", "-1"]);
    visa(&["lm", "score"], "{\"ids\": [1], \"prompt\": \"x\"}").fails(1, &["give one of them"]);
    visa(&["lm", "generate"], "{}").fails(1, &["neither \"prompt\" nor \"ids\""]);
    visa(&["lm", "generate", "x", "--temperature", "NaN"], "").fails(2, &["temperature"]);
    visa(&["lm", "generate", "x", "--top-p", "1.5"], "").fails(2, &["top_p"]);
    visa(&["lm", "generate", "x", "--chat"], "").fails(3, &["tokenizer_config.json"]);
}
