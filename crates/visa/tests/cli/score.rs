//! `visa score`.

use serde_json::json;

use crate::run::visa;

#[test]
fn a_pair_gets_a_score_object() {
    let input = "{\"id\": 1, \"original\": \"It opens at 8.\", \"candidate\": \"It opens at 8, because it keeps us safe.\", \"shift\": {\"security\": 0.8}}\n\
                 {\"id\": 2, \"original\": \"It opens at 8.\", \"candidate\": \"It opens at 9.\", \"target\": {\"security\": 0.8}}\n";
    let objects = visa(&["score"], input).objects();
    for object in &objects {
        let total = object["total"].as_f64().expect("a total");
        assert!((0.0..=1.0).contains(&total));
        for part in ["cosine", "l2", "progress", "movement"] {
            assert!(object["value"][part].is_number(), "{object}");
        }
        for part in ["forward", "backward", "mean"] {
            assert!(object["consistency"][part].is_number(), "{object}");
        }
    }
    assert_eq!(objects[0]["guards"], json!([]));
    assert_eq!(objects[1]["guards"][0]["kind"], json!("number"));
    assert_eq!(objects[1]["total"], json!(0.0));
}

#[test]
fn one_pair_by_flags_as_a_person_sees_it() {
    let arguments = [
        "score",
        "--original",
        "It opens at 8.",
        "--candidate",
        "It opens at 9.",
        "--shift",
        "security=+0.8",
        "--format",
        "text",
        "--color",
        "never",
    ];
    let run = visa(&arguments, "");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for word in [
        "meaning", "values", "guards", "total", "refused", "security", "target",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
}

#[test]
fn a_pair_of_megabytes_is_judged_whole() {
    let original = "We share what we have, so that nobody goes hungry. ".repeat(20_600);
    assert!(original.len() > 1 << 20);
    let candidate = format!("{original}We met 9 people.");
    let pair = json!({"original": original, "candidate": candidate, "shift": {"security": 0.8}});
    let objects = visa(&["score"], pair.to_string()).objects();
    assert!(objects[0]["consistency"]["mean"].is_number());
    // What stands at the very end counts.
    assert_eq!(objects[0]["guards"][0]["kind"], json!("number"));
}

#[test]
fn what_is_missing_is_named() {
    visa(&["score", "--original", "x", "--candidate", "y"], "").fails(2, &["--target or --shift"]);
    visa(&["score", "--original", "x"], "").fails(2, &["--candidate"]);
    visa(&["score"], "A plain text.").fails(1, &["JSON Lines"]);
    visa(&["score"], "{\"original\": \"x\", \"candidate\": \"y\"}")
        .fails(1, &["line 1", "give \"target\" or \"shift\""]);
    let both = "{\"original\": \"x\", \"candidate\": \"y\", \"shift\": {}, \"target\": {}}";
    visa(&["score"], both).fails(1, &["line 1", "both given"]);
    let range = "{\"original\": \"x\", \"candidate\": \"y\", \"shift\": {\"power\": 1e9}}";
    visa(&["score"], range).fails(1, &["line 1", "power", "between -2 and 2"]);
}
