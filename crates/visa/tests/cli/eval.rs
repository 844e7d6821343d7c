//! `visa eval`.

use std::path::Path;

use crate::fixture;
use crate::run::{Run, visa};

#[test]
fn a_suite_reports_figures_with_their_sample_size() {
    let objects = visa(&["eval", "speed", "--limit", "8", "--quiet"], "").objects();
    assert_eq!(objects[0]["suite"], "speed");
    let figures = objects[0]["figures"].as_array().expect("figures");
    assert!(
        !figures.is_empty()
            && figures
                .iter()
                .all(|f| f["value"].is_number() && f["n"].is_u64()),
        "{figures:?}"
    );
    let text = visa(
        &[
            "eval", "speed", "--limit", "8", "--quiet", "--format", "text",
        ],
        "",
    )
    .stdout;
    assert!(text.contains("| measure | value |"), "{text}");
}

#[test]
fn unknown_suites_and_missing_data_are_named() {
    visa(&["eval", "everything"], "").fails(2, &["everything", "detector"]);
    visa(&["eval", "nli", "--quiet"], "").fails(2, &["nli", "--data DIR"]);
}

/// The comparison's folder after a run with the tiny models.
fn compared(out: &Path, more: &[&str]) -> Run {
    let mut arguments = vec![
        "eval",
        "rewriter",
        "--limit",
        "4",
        "--quiet",
        "--out",
        out.to_str().expect("UTF-8"),
    ];
    arguments.extend(more);
    visa(&arguments, "")
}

#[test]
fn systems_are_compared_under_both_readers_and_the_report_is_left() {
    let dir = tempfile::tempdir().expect("a folder");
    let rewriter = fixture::models().join("rewriter");
    let folder = format!("mine={}", rewriter.display());
    let systems = [
        "--system",
        "copy",
        "--system",
        "lexicon",
        "--system",
        &folder,
        "--system",
        "best-of-2",
    ];
    let lm = rewriter.to_str().expect("UTF-8");
    let report = compared(dir.path(), &[&systems[..], &["--lm", lm]].concat())
        .objects()
        .remove(0);
    assert_eq!(
        (&report["suite"], &report["items"]),
        (&"rewriter".into(), &4.into())
    );
    let names: Vec<_> = report["systems"]
        .as_array()
        .expect("systems")
        .iter()
        .map(|s| s["name"].as_str())
        .collect();
    assert_eq!(names, ["copy", "lexicon", "mine", "best-of-2"].map(Some));
    let value = |system: usize, reader: usize, name: &str| {
        let figures = &report["systems"][system]["readers"][reader]["figures"];
        let figures = figures.as_array().expect("figures").iter();
        figures
            .clone()
            .find(|f| f["name"] == name)
            .unwrap_or_else(|| panic!("{name}"))["value"]
            .as_f64()
            .expect("a number")
    };
    // A copy keeps everything and moves nothing, whoever reads it; the template changes every text.
    for reader in [0, 1] {
        assert_eq!(
            (
                value(0, reader, "consistency"),
                value(0, reader, "movement cosine")
            ),
            (1.0, 0.0)
        );
        assert_eq!(value(0, reader, "progress"), 0.0);
    }
    let surface = |system: usize| {
        report["systems"][system]["surface"]
            .as_array()
            .expect("figures")
            .clone()
    };
    let of = |system: usize, name: &str| {
        surface(system)
            .iter()
            .find(|f| f["name"] == name)
            .map(|f| f["value"].as_f64().expect("a number"))
    };
    assert_eq!(
        (of(0, "unchanged"), of(1, "unchanged")),
        (Some(1.0), Some(0.0))
    );
    assert_eq!(of(0, "length ratio"), Some(1.0));
    assert!(of(1, "perplexity").expect("a model was named") > 1.0);
    assert_eq!(report["agreement"].as_array().map(Vec::len), Some(10));
    for name in [
        "report.md",
        "report.json",
        "report.html",
        "rewrites/copy.jsonl",
        "rewrites/best-of-2.jsonl",
    ] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn an_interrupted_comparison_goes_on_and_ends_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().expect("a folder");
    let systems = ["--system", "lexicon", "--system", "policy"];
    let whole = compared(dir.path(), &systems).objects();
    let path = dir.path().join("rewrites/policy.jsonl");
    let stored = std::fs::read_to_string(&path).expect("stored");
    // As a killed run leaves it: some rewrites, and the beginning of another.
    let lines: Vec<&str> = stored.lines().collect();
    std::fs::write(
        &path,
        format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..10]),
    )
    .expect("cut");
    assert_eq!(compared(dir.path(), &systems).objects(), whole);
    assert_eq!(std::fs::read_to_string(&path).expect("stored"), stored);
    // What is stored is not made again: another text in the file is another text in the report.
    let other = stored.replacen(
        lines[1],
        &lines[1].replace("\"text\":\"", "\"text\":\"Well. "),
        1,
    );
    std::fs::write(&path, &other).expect("changed");
    assert_ne!(compared(dir.path(), &systems).objects(), whole);
}

#[test]
fn wrong_systems_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let check = |systems: &[&str], parts: &[&str]| {
        compared(dir.path(), systems).fails(2, parts);
    };
    check(&["--system", "x=nowhere"], &["nowhere", "best-of-N"]);
    check(
        &["--system", "copy", "--system", "copy"],
        &["copy", "NAME=KIND"],
    );
    check(&["--system", "endpoint:rules"], &["--endpoint URL"]);
    visa(&["eval", "speed", "--system", "copy"], "").fails(2, &["visa eval rewriter"]);
}
