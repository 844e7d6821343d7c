use super::*;
use crate::generate::frame::fill;
use visa_values::NAMES;

fn value(name: &str) -> usize {
    NAMES
        .iter()
        .position(|n| *n == name)
        .expect("a known value")
}

/// Fills `frame` with phrases of one polarity and compares the sign of that value's shift.
#[track_caller]
fn check(frame: &str, name: &str, embraced: bool, expected: f32) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let lexicon = &VALUES[value(name)][usize::from(!embraced)];
    let person = Person::new("she", "she");
    let mut tried = 0;
    for _ in 0..50 {
        if let Some((text, shift)) = fill(frame, &[Term::new(lexicon)], &person, &mut rng) {
            assert_eq!(shift[value(name)].signum(), expected, "{text}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no phrase of {name} fits {frame:?}");
}

#[test]
fn direction_follows_frame_and_polarity() {
    check("{deg} more {n} | deg", "security", true, 1.0);
    check("{deg} less {n} | -deg", "security", true, -1.0);
    check("{deg} less {n} | -deg", "benevolence", false, 1.0);
    check("not {a} | -0.6", "benevolence", false, 1.0);
    check("anything but {a} | -0.9", "security", false, 1.0);
    check("{S} no longer {s} | -0.6", "power", true, -1.0);
    check("don't make it less {a} | 0.3", "tradition", true, 1.0);
}

#[test]
fn every_frame_takes_some_phrase() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let f = &*FRAMES;
    let person = Person::new("she", "she");
    let single = [
        &f.noun,
        &f.adjective,
        &f.verbal,
        &f.person_noun,
        &f.person_adjective,
        &f.person_verb,
        &f.change,
        &f.negation,
    ];
    let pairs = [&f.contrast, &f.change_pair];
    let single = single.into_iter().flatten().map(|frame| (frame, 1));
    for (frame, n) in single.chain(pairs.into_iter().flatten().map(|frame| (frame, 2))) {
        let filled = (0..400).find_map(|_| {
            let terms: Vec<Term<'_>> = draw(n, &mut rng).into_iter().map(Term::new).collect();
            fill(frame, &terms, &person, &mut rng)
        });
        let (text, _) = filled.unwrap_or_else(|| panic!("nothing fits {frame:?}"));
        assert!(!text.contains(['{', '}', '|', '_']), "{text}");
    }
}

#[test]
fn deterministic_distinct_finite_and_balanced() {
    let found = instructions(11, 20_000);
    assert_eq!(found.len(), 20_000);
    assert_eq!(found[..500], instructions(11, 20_000)[..500]);
    assert_ne!(found[..50], instructions(12, 50)[..]);
    let distinct: HashSet<String> = found.iter().map(|e| e.text.to_lowercase()).collect();
    assert_eq!(distinct.len(), found.len());
    assert!(
        found
            .iter()
            .all(|e| e.shift.iter().all(|s| s.is_finite() && s.abs() <= 1.0))
    );
    assert!(
        found
            .iter()
            .all(|e| !e.text.is_empty() && !e.text.contains(['{', '}', '_']))
    );
    let zero = found.iter().filter(|e| e.shift == [0.0; 10]).count() as f64 / found.len() as f64;
    assert!((0.12..0.18).contains(&zero), "{zero}");
    for (value, name) in NAMES.iter().enumerate() {
        let up = found.iter().filter(|e| e.shift[value] > 0.0).count();
        let down = found.iter().filter(|e| e.shift[value] < 0.0).count();
        assert!(up > 600 && down > 600, "{name}: {up} up, {down} down");
    }
}

#[test]
fn zero_family_shifts_nothing() {
    assert!(
        instructions(5, 5_000)
            .iter()
            .filter(|e| e.kind == InstructionKind::Zero)
            .all(|e| e.shift == [0.0; 10])
    );
}

#[test]
fn enough_phrasings_for_every_value_and_polarity() {
    for (value, polarities) in VALUES.iter().enumerate() {
        for lexicon in polarities {
            let n = lexicon.nouns.len()
                + lexicon.adjectives.len()
                + lexicon.verbs.len()
                + lexicon.personas.len();
            assert!(n >= 60, "{} has {n} phrasings", NAMES[value]);
        }
    }
}

/// `cargo test --release -p visa-train -- --ignored --nocapture sample_instructions`
#[test]
#[ignore = "prints samples to be read"]
#[allow(clippy::print_stdout)]
fn sample_instructions() {
    for e in instructions(99, 200) {
        let spoken: Vec<String> = (0..10)
            .filter(|i| e.shift[*i] != 0.0)
            .map(|i| format!("{}{:+.2}", NAMES[i], e.shift[i]))
            .collect();
        println!("{:?}\t{}\t[{}]", e.kind, e.text, spoken.join(" "));
    }
}
