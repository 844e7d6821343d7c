//! `visa eval`.

use crate::run::visa;

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
