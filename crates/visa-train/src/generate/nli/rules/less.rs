//! Rules that leave something out, so that entailment goes one way (or back, where something is made stronger).

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::edit::Edit;
use super::super::words::{WORDS, find_word, has_any, replace_word, turns};
use crate::generate::inflect::article;
use crate::generate::noise::capitalise;

const REASONS: [&str; 14] = [
    ", because ",
    " because ",
    ", which ",
    " in order to ",
    ", so that ",
    " so that ",
    " out of ",
    " for the sake of ",
    ", since ",
    ", while ",
    ", although ",
    ", and ",
    ", but ",
    " while ",
];

/// The clause that gives a reason or an addition at the end of the sentence, with its connective.
pub(in super::super) fn reason(sentence: &str) -> Option<String> {
    let body = sentence.strip_suffix('.')?;
    let (at, mark) = REASONS
        .iter()
        .filter_map(|mark| body.rfind(mark).map(|at| (at, mark)))
        .min()?;
    let clause = &body[at..];
    // "and" may join two nouns; only a clause with a verb can go.
    let verb = has_any(
        clause,
        &[
            "is", "are", "was", "were", "has", "had", "have", "will", "would", "can", "could",
            "did", "does", "made", "took", "became", "went", "came", "to",
        ],
    );
    let enough =
        body[..at].split_whitespace().count() >= 4 && clause.split_whitespace().count() >= 4;
    (enough && verb && !(mark.contains("which") && clause[1..].contains(',')))
        .then(|| clause.to_owned())
}

pub(super) fn drop_clause(sentence: &str, _: &mut ChaCha8Rng) -> Option<Edit> {
    let clause = reason(sentence)?;
    let kept = &sentence[..sentence.len() - clause.len() - 1];
    // "did not leave because he was ill" may mean that he left.
    (!turns(kept)).then(|| Edit::less("dropped-clause", format!("{kept}.")))
}

/// One of two joined main clauses: each follows from both.
pub(super) fn conjunct(sentence: &str, _: &mut ChaCha8Rng) -> Option<Edit> {
    let body = sentence.strip_suffix('.')?;
    let at = [", and ", ", but "]
        .iter()
        .find_map(|mark| body.find(mark).map(|at| at + mark.len()))?;
    let second = &body[at..];
    let subject = second.split(' ').next()?;
    let own_subject = [
        "he", "she", "it", "they", "we", "i", "the", "his", "her", "their", "this", "there",
    ]
    .contains(&subject.to_lowercase().as_str());
    (own_subject && second.split(' ').count() >= 4 && !turns(sentence))
        .then(|| Edit::less("second-conjunct", format!("{}.", capitalise(second))))
}

pub(super) fn drop_adjective(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    if turns(sentence) {
        return None;
    }
    let start = rng.random_range(0..WORDS.adjectives.len());
    let (a, b) = WORDS.adjectives.split_at(start);
    b.iter().chain(a).find_map(|adjective| {
        let at = find_word(sentence, adjective)?;
        // Only inside "the old house", where a noun follows and the noun phrase stands without it.
        let before = sentence[..at].to_lowercase();
        let determiner = [
            "the ", "a ", "an ", "his ", "her ", "their ", "its ", "my ", "our ",
        ]
        .iter()
        .find(|d| {
            before.ends_with(**d)
                && (before.len() == d.len()
                    || before.as_bytes()[before.len() - d.len() - 1] == b' ')
        })?;
        let rest = sentence[at + adjective.len()..].strip_prefix(' ')?;
        let next = rest
            .split(|c: char| !c.is_alphabetic())
            .next()
            .filter(|w| w.len() > 2)?;
        if matches!(
            next,
            "and"
                | "but"
                | "one"
                | "ones"
                | "are"
                | "was"
                | "were"
                | "have"
                | "had"
                | "for"
                | "who"
        ) {
            return None;
        }
        let head = &sentence[..at - determiner.len()];
        let first = if matches!(*determiner, "a " | "an ") {
            article(next).to_owned()
        } else {
            determiner.trim().to_owned()
        };
        let first = if head.is_empty() {
            capitalise(&first)
        } else {
            first
        };
        Some(Edit::less(
            "dropped-adjective",
            format!("{head}{first} {rest}"),
        ))
    })
}

pub(super) fn hypernym(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    if turns(sentence) {
        return None;
    }
    let list = &WORDS.hypernyms;
    let start = rng.random_range(0..list.len());
    list[start..]
        .iter()
        .chain(&list[..start])
        .find_map(|(word, broader)| {
            let at = find_word(sentence, word)?;
            // "a dog" becomes "an animal"; "the dog house" and "table tennis" do not.
            let before = sentence[..at].to_lowercase();
            let alone = !sentence[at + word.len()..].starts_with(" ")
                || [
                    "is", "was", "and", "in", "on", "at", "has", "had", "to", "for", "with",
                    "from", "of", "who", "that",
                ]
                .contains(
                    &sentence[at + word.len()..]
                        .trim_start()
                        .split([' ', '.', ','])
                        .next()
                        .unwrap_or_default(),
                );
            (alone
                && (before.ends_with(" a ")
                    || before.ends_with(" an ")
                    || before == "a "
                    || before == "an "))
                .then_some(())?;
            Some(Edit::less(
                "hypernym",
                replace_word(sentence, word, broader)?,
            ))
        })
}

/// "all" → "some" one way, "some" → "all" the other.
pub(super) fn weaken(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    const NEGATIVE: [&str; 9] = [
        "not", "never", "no", "nobody", "without", "if", "cannot", "unless", "nothing",
    ];
    if has_any(sentence, &NEGATIVE) || sentence.contains("n't") || sentence.contains('?') {
        return None;
    }
    let list = &WORDS.weaker;
    let start = rng.random_range(0..list.len());
    let forward = rng.random_bool(0.6);
    list[start..]
        .iter()
        .chain(&list[..start])
        .find_map(|(strong, weak)| {
            if forward {
                replace_word(sentence, strong, weak).map(|text| Edit::less("weakened", text))
            } else {
                replace_word(sentence, weak, strong).map(|text| Edit::more("strengthened", text))
            }
        })
}
