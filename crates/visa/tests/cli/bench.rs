//! `visa bench`.

use serde_json::Value;

use crate::run::visa;

/// Names of the contract; other programs read them.
const NAMES: [&str; 9] = [
    "train_tokens_per_s",
    "train_peak_mb",
    "grpo_step_s",
    "rollout_tokens_per_s",
    "decode1_bf16_tokens_per_s",
    "decode1_int8_tokens_per_s",
    "prefill_tokens_per_s",
    "encoder24_texts_per_s",
    "encoder128_texts_per_s",
];

fn bench(arguments: &[&str]) -> Vec<Value> {
    let start = [
        "bench", "--json", "--size", "tiny", "--rounds", "2", "--quiet",
    ];
    visa(&[&start, arguments].concat(), "").objects()
}

#[track_caller]
fn check(row: &Value) {
    let number = |name: &str| row[name].as_f64();
    assert!(row["name"].is_string() && row["unit"].is_string(), "{row}");
    let (low, value, high) = (number("low"), number("value"), number("high"));
    assert!(low > Some(0.0) && low <= value && value <= high, "{row}");
    assert!(
        row.get("share_of_peak").is_none() || number("share_of_peak") > Some(0.0),
        "{row}"
    );
}

#[test]
fn every_figure_of_the_contract_is_an_object() {
    let only = NAMES.join(",");
    let rows = bench(&["--only", &only]);
    rows.iter().for_each(check);
    for name in NAMES {
        // The memory of a process is told by Linux alone.
        let rows: Vec<&Value> = rows.iter().filter(|r| r["name"] == name).collect();
        assert_eq!(rows.len(), 1, "{name}");
        if name.ends_with("tokens_per_s") {
            assert_eq!(rows[0]["unit"], "tokens/s");
            assert!(rows[0]["share_of_peak"].is_number(), "{name}");
        }
    }
}

#[test]
fn groups_have_a_row_each() {
    for (group, parts) in [
        (
            "peaks",
            &[
                "peak_matmul_f32_gflops",
                "peak_matmul_bf16_gflops",
                "peak_memory_gb_per_s",
            ][..],
        ),
        (
            "kernels",
            &[
                "kernel_linear_grad_weight_",
                "kernel_attention_causal_backward_",
                "kernel_adamw_",
            ],
        ),
        (
            "growth",
            &["growth_context16_", "growth_threads1_", "growth_parameters"],
        ),
    ] {
        let rows = bench(&["--only", group]);
        rows.iter().for_each(check);
        for part in parts {
            let found = rows
                .iter()
                .any(|r| r["name"].as_str().is_some_and(|n| n.starts_with(part)));
            assert!(found, "{group} lacks {part}");
        }
    }
}

#[test]
fn names_are_checked_and_people_get_a_table() {
    visa(&["bench", "--only", "prefill_tokens_per_s,speed"], "")
        .fails(2, &["\"speed\"", "train_tokens_per_s", "kernels", "growth"]);
    visa(&["bench", "--rounds", "0"], "").fails(2, &["rounds"]);
    let run = visa(
        &[
            "bench",
            "--only",
            "prefill_tokens_per_s",
            "--size",
            "tiny",
            "--format",
            "text",
            "--quiet",
        ],
        "",
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout.contains("median") && run.stdout.contains("prefill_tokens_per_s"),
        "{}",
        run.stdout
    );
}
