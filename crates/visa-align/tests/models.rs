//! Journeys with the trained models that lie in the checkout. A part that is not there yet is named and passed over;
//! what is there must behave.

use std::time::Instant;

use visa_align::{
    Cancel, Checker, Detector, EmbeddedBackend, Goal, Loop, Models, OutcomeKind, Part,
    RewriteOptions, RewriteRequest, Text, Translator, Trunk,
};
use visa_score::protected_spans;
use visa_values::{Shift, Value};

/// The models, if all of `parts` are there.
fn models(parts: &[Part]) -> Option<(Models, Trunk)> {
    let models = Models::find(None).unwrap();
    for &part in parts {
        if let Err(error) = models.dir(part) {
            eprintln!("passed over: {error}");
            return None;
        }
    }
    let trunk = Trunk::find(&models).unwrap();
    Some((models, trunk))
}

#[test]
fn the_detector_knows_for_from_against() {
    let Some((models, trunk)) = models(&[Part::Encoder, Part::Detector]) else {
        return;
    };
    let detector = Detector::find(&models, &trunk).unwrap();
    let check = |text: &str, value: Value, positive: bool| {
        let found = detector
            .detect(&[Text::new(text)])
            .unwrap()
            .remove(0)
            .profile
            .get(value);
        assert!((found > 0.0) == positive, "{text:?}: {value} is {found}");
    };
    check(
        "It is important to me to keep the customs of my family.",
        Value::Tradition,
        true,
    );
    check(
        "I do not care at all about the customs of my family.",
        Value::Tradition,
        false,
    );
    check(
        "Everyone should be free to decide for themselves how to live.",
        Value::SelfDirection,
        true,
    );
    check(
        "We must help the people who are close to us.",
        Value::Benevolence,
        true,
    );
}

#[test]
fn the_translator_tells_values_from_commas() {
    let Some((models, trunk)) = models(&[Part::Encoder, Part::Translator]) else {
        return;
    };
    let translator = Translator::find(&models, &trunk).unwrap();
    let shift = translator
        .translate("much more security, a bit less hedonism")
        .unwrap()
        .shift;
    assert!(
        shift.get(Value::Security) > 0.0 && shift.get(Value::Hedonism) < 0.0,
        "{shift:?}"
    );
    let commas = translator.translate("fix the commas").unwrap();
    assert!(
        commas.shift.is_zero() && commas.notice.is_some(),
        "{commas:?}"
    );
}

#[test]
fn the_checker_tells_a_copy_from_a_denial() {
    let Some((models, trunk)) = models(&[Part::Encoder, Part::Nli]) else {
        return;
    };
    let checker = Checker::find(&models, &trunk).unwrap();
    let text = "The library is open on Sunday. You may borrow ten books.";
    let denial = "The library is not open on Sunday. You may borrow ten books.";
    let found = checker
        .consistency(&[(text, text), (text, denial)])
        .unwrap();
    assert_eq!(found[0].mean(), 1.0);
    assert!(found[1].mean() < 0.75, "{:?}", found[1]);
}

#[test]
fn a_paragraph_is_rewritten_in_time_and_keeps_what_must_stay() {
    let start = Instant::now();
    let Some((models, trunk)) = models(&Part::ALL) else {
        return;
    };
    let detector = Detector::find(&models, &trunk).unwrap();
    let checker = Checker::find(&models, &trunk).unwrap();
    let mut backend = EmbeddedBackend::find(&models, &trunk, &detector).unwrap();
    let text = "If you plan a trip to Norway in 2026, book the train early. The ride from Oslo to Bergen takes about 7 hours. \
        You should bring warm clothes and a good map. Ask the people in the villages for advice. \
        Many visitors walk the old paths across the mountains. You can cook your own food in the huts.";
    let mut it = Loop {
        values: &detector,
        checker: &checker,
        translator: None,
        backend: &mut backend,
        options: RewriteOptions::default(),
    };
    let goal = Goal::Shift(Shift::parse("security=+1, hedonism=-0.5").unwrap());
    let request = RewriteRequest {
        text: text.into(),
        query: None,
        goal,
    };
    let outcome = it.rewrite(&request, &Cancel::new(), &mut |_| {}).unwrap();
    let took = start.elapsed().as_secs_f32();
    eprintln!(
        "{took:.1} s: {:?}: {}\n{}",
        outcome.outcome, outcome.reason, outcome.rewritten
    );
    assert!(
        outcome.candidates > 0,
        "the embedded rewriter proposes something for a plain paragraph"
    );
    for span in protected_spans(text) {
        assert!(outcome.rewritten.contains(&text[span.start..span.end]));
    }
    if outcome.outcome == OutcomeKind::Rewritten {
        assert!(outcome.score.guards.is_empty() && outcome.score.value.progress > 0.0);
    } else {
        assert_eq!(outcome.rewritten, text);
    }
    // The bar is ten seconds; a machine that runs other tests at the same time gets three times that.
    assert!(took < 30.0, "{took} s");
}
