//! Data folders of a few rows in the layout of the public sets that training reads.

use std::fmt::Write;
use std::path::Path;

use visa_values::{Category, NAMES};

/// Arguments in each split of `touche23`.
pub(crate) const ARGUMENTS: usize = 24;
/// Statements of each trait.
pub(crate) const STATEMENTS: usize = 4;
/// Pairs in each split of the entailment set.
pub(crate) const PAIRS: usize = 18;

/// Running text in `text/wikipedia.txt.zst` and `text/modern.txt.zst`: a paragraph a line, two sentences each.
pub(crate) fn text(dir: &Path) {
    const NAMES: [&str; 4] = ["Anna", "Peter", "Maria", "John"];
    let text: String = (0..400)
        .map(|i| {
            format!(
                "{} opened the old shop in {} because it was near the station. \
                 They sold {} large apples a day, and the children liked them.\n\n",
                NAMES[i % 4],
                1900 + i,
                i + 3
            )
        })
        .collect();
    let packed = zstd::encode_all(text.as_bytes(), 1).expect("packed");
    for name in ["wikipedia", "modern"] {
        write(dir, &format!("text/{name}.txt.zst"), &packed);
    }
}

/// What the detector learns from and is measured on.
pub(crate) fn detector(dir: &Path) {
    text(dir);
    arguments(dir);
    let mut phrases = serde_json::Map::new();
    for category in Category::ALL {
        let name = category.name();
        phrases.insert(
            name.into(),
            serde_json::json!({"Be so": [format!("speaking of {name}"), "and living so"]}),
        );
    }
    let phrases = serde_json::Value::Object(phrases).to_string();
    write(dir, "touche23/value-categories.json", phrases);
    for name in traits() {
        let lines: String = (0..STATEMENTS)
            .map(|i| {
                let (word, answer) = [("", "Yes"), ("do not ", "No")][i % 2];
                let line = serde_json::json!({
                    "statement": format!("I {word}live by {name}, case {i}"),
                    "label_confidence": 0.9,
                    "answer_matching_behavior": format!(" {answer}"),
                });
                format!("{line}\n")
            })
            .collect();
        write(dir, &format!("persona-statements/{name}.jsonl"), lines);
    }
    let mut items = "questionnaire,item,value,agreement\n".to_owned();
    for name in NAMES {
        writeln!(
            items,
            "PVQ40,\"It is important to them, {name} above all.\",{name},1"
        )
        .unwrap();
        writeln!(
            items,
            "NFCC1993,I like order and {name}.,Preference for Order and Structure,-1"
        )
        .unwrap();
    }
    write(dir, "valuebench/value_orientation.csv", items);
    write(
        dir,
        "valuebench/extracted_data/value_definition.csv",
        "questionnaire,value,definition\nSVS,POWER,social status\\, prestige,\n",
    );
}

/// What the rewriter's pairs are made of, beside [`text`].
pub(crate) fn rewriter(dir: &Path) {
    text(dir);
    arguments(dir);
    write(
        dir,
        "kpa/arguments_train.csv",
        "arg_id,argument,topic,stance\narg_0,it keeps the streets clean,We should ban plastic bags,1\n",
    );
    for (name, text) in [
        (
            "perspectrum_with_answers",
            r#"[{"cId":1,"text":"Schools should open later","perspectives":[{"pids":[7],"stance_label_3":"SUPPORT"}]}]"#,
        ),
        (
            "perspective_pool",
            r#"[{"pId":7,"text":"children need their sleep"}]"#,
        ),
        ("dataset_split", r#"{"1":"train"}"#),
    ] {
        write(dir, &format!("perspectrum/{name}_v1.0.json"), text);
    }
    edits(dir);
}

/// Whole texts that people rewrote.
fn edits(dir: &Path) {
    let reviews = "counterfactually-augmented-data/sentiment/combined/paired/train_paired.tsv";
    let rows = "Sentiment\tText\tbatch_id\nNegative\tA dull film.\t4\nPositive\tA fine film.\t4\n";
    write(dir, reviews, rows);
    let rude = "toxic\tneutral1\tneutral2\tneutral3\nshut up now\tplease be quiet\t\t\n";
    write(dir, "paradetox/paradetox.tsv", rude);
    let split = "It is old and it stands .\tIt is old . <::::> It stands .\n";
    write(dir, "wiki-split/tune.tsv", split);
    for name in ["ADV-ELE", "ADV-INT", "ELE-INT"] {
        let block = "It was erected.\nIt was built.\n*******\n";
        write(
            dir,
            &format!("onestopenglish/Sentence-Aligned/{name}.txt"),
            block,
        );
    }
}

/// What the consistency checker learns from and is measured on.
pub(crate) fn nli(dir: &Path) {
    text(dir);
    for (offset, split) in ["train", "dev", "test"].into_iter().enumerate() {
        let mut rows = "sentence1\tsentence2\tgold_label\n".to_owned();
        for i in 0..PAIRS {
            let n = 100 * offset + i;
            let (said, label) = [
                ("Some people walk", "entailment"),
                ("They are late", "neutral"),
                ("Nobody walks", "contradiction"),
            ][i % 3];
            writeln!(
                rows,
                "Two people walk down street {n}.\t{said} on street {n}.\t{label}"
            )
            .unwrap();
        }
        let name = format!("counterfactually-augmented-data/NLI/all_combined/{split}.tsv");
        write(dir, &name, rows);
    }
    let splits: String = (0..40)
        .map(|i| {
            format!(
                "The bridge of {i} arches was built by the king and it crosses the river .\t\
                 The bridge of {i} arches was built by the king . <::::> It crosses the river .\n"
            )
        })
        .collect();
    write(dir, "wiki-split/tune.tsv", splits);
}

/// Every trait that the committed table names, whatever training does with it.
fn traits() -> Vec<String> {
    let table = include_str!("../../../visa-train/src/encoder/data/traits.toml");
    let table: toml::Table = table.parse().expect("a table of tables");
    let groups = table.values().filter_map(toml::Value::as_table);
    groups.flat_map(|group| group.keys().cloned()).collect()
}

fn arguments(dir: &Path) {
    for split in ["training", "validation", "validation-zhihu"] {
        let mut rows = "Argument ID\tConclusion\tStance\tPremise\n".to_owned();
        let names: Vec<&str> = Category::ALL.iter().map(|c| c.name()).collect();
        let mut labels = format!("Argument ID\t{}\n", names.join("\t"));
        for i in 0..ARGUMENTS {
            let stance = ["in favor of", "against"][i % 2];
            let premise = ["it keeps families safe", "people can decide for themselves"][i % 2];
            writeln!(
                rows,
                "A{i}\tWe should close road {i}\t{stance}\t{premise} in {split} {i}"
            )
            .unwrap();
            let flags: Vec<&str> = (0..20)
                .map(|c| ["0", "1"][usize::from((i + c) % 4 == 0)])
                .collect();
            writeln!(labels, "A{i}\t{}", flags.join("\t")).unwrap();
        }
        write(dir, &format!("touche23/arguments-{split}.tsv"), rows);
        write(dir, &format!("touche23/labels-{split}.tsv"), labels);
    }
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("created");
    std::fs::write(path, bytes).expect("written");
}
