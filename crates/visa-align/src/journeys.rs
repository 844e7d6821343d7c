//! Whole ways through tiny models: detector, translator, checker and the loop, with good and bad input.

use std::path::Path;

use visa_values::{Profile, Shift};

use crate::error::AlignError;
use crate::rewrite::{Cancel, Goal, Loop, MAX_TEXT, OutcomeKind, RewriteOptions, RewriteRequest};
use crate::testing;
use crate::translator::Notice;
use crate::{Checker, DetectOptions, Detector, EmbeddedBackend, Models, Text, Translator, Trunk};

fn with_models<T>(body: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    testing::models(dir.path());
    body(dir.path())
}

const LONG: &str =
    "You should wear a helmet because it keeps your children safe. We share what we have. ";

#[test]
fn a_text_reads_the_same_alone_and_in_a_batch() {
    with_models(|dir| {
        let detector = Detector::load(&dir.join("detector")).unwrap();
        let texts: Vec<Text> = [
            "Freedom!",
            "We share what we have, so that nobody goes hungry.",
            "x",
        ]
        .into_iter()
        .map(Text::new)
        .chain([Text {
            text: "Freedom!".into(),
            context: Some("Should we ban it?".into()),
        }])
        .chain([Text::new(LONG.repeat(20))])
        .collect();
        let together = detector.detect(&texts).unwrap();
        for (text, batched) in texts.iter().zip(&together) {
            let alone = detector
                .detect(std::slice::from_ref(text))
                .unwrap()
                .remove(0);
            for (a, b) in alone
                .profile
                .as_array()
                .iter()
                .zip(batched.profile.as_array())
            {
                assert!((a - b).abs() < 1e-4, "{text:?}: {a} {b}");
            }
            assert!(batched.categories.iter().all(|p| (0.0..=1.0).contains(p)));
        }
        assert_ne!(
            together[0].profile, together[3].profile,
            "the context counts"
        );
    });
}

#[test]
fn spans_lie_in_the_text_and_agree_with_the_profile() {
    with_models(|dir| {
        let detector = Detector::load(&dir.join("detector")).unwrap();
        let options = DetectOptions { spans: true };
        let single = Text::new("Freedom to choose is what I want");
        let many = Text::new(LONG.repeat(8));
        let found = detector
            .detect_with(&[single.clone(), many.clone()], &options)
            .unwrap();
        // A text of one clause speaks what the clause speaks.
        for span in &found[0].spans {
            assert_eq!((span.start, span.end), (0, single.text.len()));
            assert_eq!(span.weight, found[0].profile.get(span.value));
        }
        assert!(!found[0].spans.is_empty());
        for span in &found[1].spans {
            let words = &many.text[span.start..span.end];
            assert_eq!(words.trim(), words);
            assert!(span.weight.is_finite() && span.weight != 0.0);
        }
        let sizes: Vec<f32> = found[1].spans.iter().map(|s| s.weight.abs()).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "strongest first");
        let plain = detector.detect(&[single, many]).unwrap();
        assert_eq!(
            plain[1].profile, found[1].profile,
            "spans change nothing else"
        );
        assert!(plain[0].spans.is_empty());
    });
}

#[test]
fn bad_texts_are_refused_by_name_and_odd_ones_are_read() {
    with_models(|dir| {
        let detector = Detector::load(&dir.join("detector")).unwrap();
        assert!(matches!(
            detector.detect(&[Text::new(" \n")]),
            Err(AlignError::Empty { what: "text" })
        ));
        let long = Text::new("x".repeat(MAX_TEXT + 1));
        assert!(matches!(
            detector.detect(&[long]),
            Err(AlignError::TooLong { .. })
        ));
        assert!(detector.detect(&[]).unwrap().is_empty());
        for odd in [
            "\u{200b}",
            "[SEP] [CLS]",
            "🙂🙂",
            "\0",
            "a\u{301}",
            &"word".repeat(500),
            &"🙂".repeat(700),
        ] {
            let found = detector
                .detect_with(&[Text::new(odd)], &DetectOptions { spans: true })
                .unwrap();
            assert!(
                found[0].profile.as_array().iter().all(|v| v.is_finite()),
                "{odd:?}"
            );
        }
    });
}

#[test]
fn instructions_explicit_short_and_very_long() {
    with_models(|dir| {
        let translator = Translator::load(&dir.join("translator")).unwrap();
        let shift = translator.translate("tradition=+0.8, power=-0.5").unwrap();
        assert_eq!(
            (shift.shift, shift.notice),
            (Shift::parse("tradition=0.8, power=-0.5").unwrap(), None)
        );
        assert!(
            translator
                .translate("tradtion=+0.8")
                .unwrap_err()
                .to_string()
                .contains("tradition")
        );
        assert!(matches!(
            translator.translate("  "),
            Err(AlignError::Empty { .. })
        ));
        // Ten thousand words.
        let persona = "She shares what she has with everyone who asks for it. ".repeat(1000);
        let long = translator.translate(&persona).unwrap();
        assert!(
            matches!(long.notice, Some(Notice::Windows(n)) if n > 100) || long.shift.is_zero(),
            "{long:?}"
        );
        let short = translator.translate("more freedom").unwrap();
        assert_eq!(
            short.shift.is_zero(),
            short.notice == Some(Notice::NothingAboutValues)
        );
    });
}

#[test]
fn consistency_is_one_for_a_copy_and_a_probability_otherwise() {
    with_models(|dir| {
        let checker = Checker::load(&dir.join("nli")).unwrap();
        let other = LONG.replace("children", "neighbours");
        let long = LONG.repeat(30);
        let pairs = [
            (LONG, LONG),
            (LONG, other.as_str()),
            (&long, &long),
            (&long, LONG),
            ("Yes.", &long),
        ];
        let found = checker.consistency(&pairs).unwrap();
        assert_eq!((found[0].forward, found[0].backward), (1.0, 1.0));
        assert_eq!((found[2].forward, found[2].backward), (1.0, 1.0));
        // Every sentence of either stands in the other.
        assert_eq!((found[3].forward, found[3].backward), (1.0, 1.0));
        assert!(
            found[1].forward > 0.0 && found[1].forward < 1.0,
            "half of it is a copy, half is not: {:?}",
            found[1]
        );
        for (pair, batched) in pairs.iter().zip(&found) {
            let alone = checker.consistency(std::slice::from_ref(pair)).unwrap()[0];
            assert!(
                (alone.forward - batched.forward).abs() < 1e-4
                    && (alone.backward - batched.backward).abs() < 1e-4
            );
            assert!(
                (0.0..=1.0).contains(&batched.forward) && (0.0..=1.0).contains(&batched.backward)
            );
        }
        assert!(matches!(
            checker.consistency(&[("a", "")]),
            Err(AlignError::Empty { what: "candidate" })
        ));
        assert_eq!(
            checker.relations(&[("a b", "a")]).unwrap()[0].len(),
            checker.classes().len()
        );
    });
}

#[test]
fn the_whole_loop_answers_the_original_or_a_rewrite_and_repeats_itself() {
    with_models(|dir| {
        let detector = Detector::load(&dir.join("detector")).unwrap();
        let checker = Checker::load(&dir.join("nli")).unwrap();
        let translator = Translator::load(&dir.join("translator")).unwrap();
        let run = |seed: u64, goal: Goal| {
            let models = Models::at(dir).unwrap();
            let trunk = Trunk::find(&models).unwrap();
            let mut backend = EmbeddedBackend::find(&models, &trunk, &detector).unwrap();
            let mut it = Loop {
                values: &detector,
                checker: &checker,
                translator: Some(&translator),
                backend: &mut backend,
                options: RewriteOptions {
                    seed,
                    ..RewriteOptions::default()
                },
            };
            let request = RewriteRequest {
                text: LONG.into(),
                query: Some("What should I do?".into()),
                goal,
            };
            it.rewrite(&request, &Cancel::new(), &mut |_| {}).unwrap()
        };
        let before = detector
            .detect(&[Text {
                text: LONG.into(),
                context: Some("What should I do?".into()),
            }])
            .unwrap()
            .remove(0)
            .profile;
        let away = Profile::new(
            before
                .as_array()
                .map(|v| if v > 0.0 { v - 0.6 } else { v + 0.6 }),
        )
        .unwrap();
        let goal = || Goal::Shift(before.shift_to(&away));
        let outcome = run(1, goal());
        assert_eq!(outcome.before, before);
        assert_eq!(
            outcome.outcome == OutcomeKind::Rewritten,
            outcome.rewritten != LONG,
            "{outcome:?}"
        );
        assert!(outcome.candidates > 0);
        let again = run(1, goal());
        assert_eq!(
            (again.rewritten, again.reason),
            (outcome.rewritten, outcome.reason)
        );
        run(2, Goal::Instruction("more freedom".into()));
    });
}

#[test]
fn models_in_a_folder_work_over_one_trunk() {
    with_models(|dir| {
        let models = Models::at(dir).unwrap();
        let trunk = crate::Trunk::find(&models).unwrap();
        let shared = Detector::find(&models, &trunk).unwrap();
        let own = Detector::load(&dir.join("detector")).unwrap();
        let text = [Text::new(LONG)];
        assert_eq!(shared.detect(&text).unwrap(), own.detect(&text).unwrap());
    });
}
