use super::*;
use std::collections::BTreeSet;

fn texts() -> Vec<String> {
    [
        "The old house stood near the river, and it was very large. When it rains, the children stay at home. Anna bought a dog in 1912.",
        "All of the students passed the exam. He always walks to work because the bus is slow. She did not answer the letter.",
        "The minister met Clara in Paris. The council opened a new school, which was built of stone. They will visit three museums. Many people were happy.",
        "The doctor helped the farmer after the storm. It is a cold winter and nobody has enough wood. We are often late.",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn made() -> Vec<NliExample> {
    let splits = [(
        "He was born in Rome and died in Milan.".to_owned(),
        "He was born in Rome. He died in Milan.".to_owned(),
    )];
    nli(3, 900, texts(), splits)
}

/// Applies one rule (by its place in the list) and compares text and labels.
#[track_caller]
fn check(kind: &str, sentence: &str, expected: Option<(&str, NliLabel, NliLabel)>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut found = BTreeSet::new();
    for _ in 0..60 {
        for rule in &RULES {
            if let Some(edit) = rule.call(sentence, &mut rng)
                && edit.kind == kind
            {
                found.insert((edit.text, edit.forward, edit.backward));
            }
        }
    }
    match expected {
        None => assert!(found.is_empty(), "{sentence}: {found:?}"),
        Some((text, forward, backward)) => {
            assert!(
                found.contains(&(text.to_owned(), forward, backward)),
                "{sentence}: {found:?}"
            );
        }
    }
}

#[test]
fn rules_edit_and_label() {
    use NliLabel::{Contradiction as C, Entailment as E, Neutral as N};
    check(
        "hypernym",
        "Anna bought a dog.",
        Some(("Anna bought an animal.", E, N)),
    );
    check("hypernym", "Anna did not buy a dog.", None);
    check(
        "antonym",
        "The house was old.",
        Some(("The house was new.", C, C)),
    );
    check(
        "weakened",
        "All of the students passed.",
        Some(("Some of the students passed.", E, N)),
    );
    check(
        "negation",
        "She was at home.",
        Some(("She was not at home.", C, C)),
    );
    check(
        "negation",
        "She was not at home.",
        Some(("She was at home.", C, C)),
    );
    check(
        "clause-order",
        "When it rains, the children stay in.",
        Some(("The children stay in when it rains.", E, E)),
    );
    check(
        "dropped-adjective",
        "He sold the old house.",
        Some(("He sold the house.", E, N)),
    );
    check("dropped-adjective", "He never sold the old house.", None);
    check(
        "contraction",
        "She did not answer.",
        Some(("She didn't answer.", E, E)),
    );
    check(
        "dropped-clause",
        "He always walks to work because the bus is slow.",
        Some(("He always walks to work.", E, N)),
    );
    check(
        "dropped-clause",
        "He did not walk to work because the bus is slow.",
        None,
    );
    check(
        "synonym",
        "We bought a large car.",
        Some(("We purchased a large car.", E, E)),
    );
}

#[test]
fn numbers_and_names_contradict() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for rule in &RULES {
        for sentence in ["She was born in 1912 in Paris."] {
            if let Some(edit) = rule.call(sentence, &mut rng)
                && matches!(edit.kind, "number" | "name")
            {
                assert_eq!(
                    (edit.forward, edit.backward),
                    (NliLabel::Contradiction, NliLabel::Contradiction)
                );
                assert_ne!(edit.text, sentence);
            }
        }
    }
}

#[test]
fn balanced_deterministic_and_without_repeats() {
    let found = made();
    assert_eq!(found, made());
    let counts = [
        NliLabel::Entailment,
        NliLabel::Neutral,
        NliLabel::Contradiction,
    ]
    .map(|l| found.iter().filter(|e| e.label == l).count());
    assert!(
        counts.iter().all(|n| *n == counts[0] && *n > 50),
        "{counts:?}"
    );
    let distinct: HashSet<(&str, &str)> = found
        .iter()
        .map(|e| (e.premise.as_str(), e.hypothesis.as_str()))
        .collect();
    assert_eq!(distinct.len(), found.len());
    let kinds: BTreeSet<&str> = found.iter().map(|e| e.kind).collect();
    for kind in [
        "split",
        "copy",
        "synonym",
        "clause-order",
        "invented-clause",
        "dropped-sentence",
        "unrelated",
        "negation",
        "number",
        "name",
        "antonym",
        "role",
        "passive",
        "weakened",
        "invented-sentence",
    ] {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
    assert!(
        found
            .iter()
            .filter(|e| e.kind == "copy")
            .all(|e| e.premise == e.hypothesis && e.label == NliLabel::Entailment)
    );
}

#[test]
fn nothing_in_gives_composed_pairs_only() {
    let found = nli(1, 90, Vec::<String>::new(), Vec::new());
    assert!(!found.is_empty() && found.iter().all(|e| e.premise.ends_with('.')));
}

/// `VISA_TEXT=… cargo test --release -p visa-train -- --ignored --nocapture sample_nli`
#[test]
#[ignore = "prints samples to be read"]
#[allow(clippy::print_stdout)]
fn sample_nli() {
    let texts = std::env::var("VISA_TEXT")
        .ok()
        .and_then(|path| std::fs::read_to_string(path).ok())
        .map_or_else(texts, |t| t.lines().map(str::to_owned).collect());
    for e in nli(8, 20_000, texts, Vec::new()).iter().take(200) {
        println!(
            "{:?} {}\n   {}\n   {}",
            e.label, e.kind, e.premise, e.hypothesis
        );
    }
}
