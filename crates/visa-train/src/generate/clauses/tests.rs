use super::*;

/// Every wording a head can take, in both tenses.
fn expansions(pattern: &str) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..60)
        .map(|i| expand(pattern, i % 2 == 0, &mut rng))
        .collect()
}

#[test]
fn every_clause_obeys_the_ban_list() {
    for (value, polarities) in HEADS.iter().enumerate() {
        for head in polarities.iter().flatten() {
            for clause in expansions(&head.pattern) {
                let name = NAMES[value];
                assert!(
                    clause.starts_with(", ")
                        || clause.starts_with(|c: char| c.is_ascii_lowercase()),
                    "{name}: {clause}"
                );
                assert!(
                    clause
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || " ,-".contains(c)),
                    "{name}: {clause}"
                );
                assert!(
                    !clause.contains("  ") && !clause.ends_with([',', ' ']),
                    "{name}: {clause}"
                );
                let words = clause.split_whitespace().filter(|w| *w != ",").count();
                assert!(
                    (2..=20).contains(&words),
                    "{name}: {words} words in {clause}"
                );
            }
        }
    }
}

#[test]
fn every_value_has_heads_for_both_polarities_strengths_and_kinds() {
    for (value, polarities) in HEADS.iter().enumerate() {
        for heads in polarities {
            assert!(
                heads.len() >= 25,
                "{} has {} heads",
                NAMES[value],
                heads.len()
            );
            for kind in [StemKind::Order, StemKind::Acting, StemKind::Thing] {
                for strong in [false, true] {
                    let n = heads
                        .iter()
                        .filter(|h| h.strong == strong && fits(h.fits, kind))
                        .count();
                    assert!(
                        n >= 3,
                        "{}: {n} heads, strong {strong}, {kind:?}",
                        NAMES[value]
                    );
                }
            }
        }
    }
}

#[test]
fn deterministic_distinct_and_within_bounds() {
    let stems = [
        (
            "It rained.".to_owned(),
            "She sold her car last autumn.".to_owned(),
        ),
        (String::new(), "Really?".to_owned()),
    ];
    let clauses = Clauses::new(4).with_stems(stems.clone());
    assert_eq!(clauses.stem_count(), Clauses::new(4).stem_count() + 1);
    let found = clauses.generate(3_000);
    assert_eq!(found.len(), 3_000);
    assert_eq!(found, clauses.generate(3_000));
    assert_ne!(found, Clauses::new(5).with_stems(stems).generate(3_000));
    for e in &found {
        assert!(
            e.clause.is_empty() || e.clause.starts_with(", ") || e.clause.starts_with(' '),
            "{e:?}"
        );
        assert_eq!(e.clause.is_empty(), e.shift == [0.0; 10], "{e:?}");
        assert!(
            e.shift
                .iter()
                .all(|s| [0.0, MILD, STRONG].contains(&s.abs())),
            "{e:?}"
        );
        assert!(e.clause.split_whitespace().count() <= 20, "{e:?}");
    }
}

#[track_caller]
fn check(pattern: &str, past: bool, expected: &str) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    assert_eq!(expand(pattern, past, &mut rng), expected);
}

#[test]
fn tense_follows_the_stem() {
    check(
        ", so that nobody <has/had> to {wait}",
        false,
        ", so that nobody has to wait",
    );
    check(
        ", so that nobody <has/had> to {wait}",
        true,
        ", so that nobody had to wait",
    );
    check("{as it <is/was>}", true, "as it was");
}

/// `cargo test --release -p visa-train -- --ignored --nocapture sample_clauses`
#[test]
#[ignore = "prints samples to be read"]
#[allow(clippy::print_stdout)]
fn sample_clauses() {
    for e in Clauses::new(77).generate(200) {
        let spoken: Vec<String> = (0..10)
            .filter(|i| e.shift[*i] != 0.0)
            .map(|i| format!("{}{:+.1}", NAMES[i], e.shift[i]))
            .collect();
        println!(
            "{}{}{} [{}]",
            e.stem,
            e.clause,
            e.terminator,
            spoken.join(" ")
        );
    }
}

#[test]
fn contrasts_have_one_opening_and_opposite_values() {
    let pairs = Clauses::new(3).contrasts(300);
    assert_eq!(pairs.len(), 300);
    for [minus, plus] in &pairs {
        assert_eq!((&minus.context, &minus.stem), (&plus.context, &plus.stem));
        assert_ne!(minus.clause, plus.clause);
        let moved = |shift: &[f32; 10]| shift.iter().filter(|d| **d != 0.0).count();
        assert_eq!((moved(&minus.shift), moved(&plus.shift)), (1, 1));
        assert!(minus.shift.iter().all(|d| *d <= 0.0));
        assert_eq!(minus.shift.map(|d| -d), plus.shift.map(|d| d));
    }
}
