//! `visa translate`.

use serde_json::json;

use crate::run::visa;

#[test]
fn explicit_shifts_are_exact_and_clipped_from_a_profile() {
    let run = visa(
        &[
            "translate",
            "tradition=+0.8, power=-0.5",
            "--from",
            "{\"tradition\": 0.6, \"power\": 0.1}",
        ],
        "",
    );
    let object = &run.objects()[0];
    assert_eq!(object["shift"]["tradition"], json!(0.8));
    assert_eq!(object["shift"]["power"], json!(-0.5));
    assert_eq!(object["shift"]["hedonism"], json!(0.0));
    assert_eq!(object["target"]["tradition"], json!(1.0));
    assert_eq!(object["target"]["power"], json!(-0.4));
}

#[test]
fn instructions_go_through_the_model_line_by_line() {
    let input = "{\"id\": \"a\", \"instruction\": \"much more security\"}\n\
                 {\"id\": \"b\", \"instruction\": \"security=+1\", \"from\": {\"security\": -0.5}}\n";
    let objects = visa(&["translate"], input).objects();
    assert_eq!(objects[0]["id"], json!("a"));
    assert_eq!(objects[0]["shift"].as_object().expect("ten").len(), 10);
    assert_eq!(objects[1]["target"]["security"], json!(0.5));
}

#[test]
fn ten_thousand_words_are_read_in_parts() {
    let persona = "a careful person who keeps the old ways and shares what they have ".repeat(770);
    assert!(persona.split_whitespace().count() >= 10_000);
    let objects = visa(&["translate"], persona).objects();
    assert_eq!(objects[0]["target"].as_object().expect("ten").len(), 10);
}

#[test]
fn wrong_names_and_numbers_say_what_is_wrong() {
    visa(&["translate", "tradtion=+0.8"], "").fails(1, &["did you mean \"tradition\"?"]);
    visa(&["translate", "tradition=+3"], "").fails(1, &["between -2 and 2"]);
    visa(&["translate", "tradition=NaN"], "").fails(1, &["not a finite number"]);
    visa(&["translate", "more fun", "--from", "{\"power\": 7}"], "")
        .fails(2, &["--from", "between -1 and 1"]);
    visa(&["translate", "more fun", "--from", "nowhere.json"], "")
        .fails(2, &["--from nowhere.json", "neither a file"]);
    visa(
        &["translate"],
        "{\"instruction\": \"x\", \"from\": {\"joy\": 1}}",
    )
    .fails(1, &["line 1", "unknown value \"joy\""]);
}
