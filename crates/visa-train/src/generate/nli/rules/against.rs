//! Rules whose result cannot be true of the same event.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::super::edit::Edit;
use super::super::words::{WORDS, find_word, replace_word, swap};
use crate::generate::phrases::pick;

pub(super) fn negate(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    if sentence.contains('?') {
        return None;
    }
    let text = swap(sentence, &WORDS.against, rng)?;
    let doubled = [
        "not not",
        "no no",
        "not never",
        "never not",
        "not no ",
        "not been not",
    ]
    .iter()
    .any(|bad| text.contains(bad));
    (!doubled).then(|| Edit::against("negation", text))
}

pub(super) fn antonym(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    Some(Edit::against(
        "antonym",
        swap(sentence, &WORDS.antonyms, rng)?,
    ))
}

pub(super) fn number(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    const NAMES: [&str; 14] = [
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "twenty", "fifty", "hundred",
    ];
    // A figure of digits, away from letters, such as the year in "in 1912".
    let digits = sentence
        .match_indices(|c: char| c.is_ascii_digit())
        .map(|(at, _)| at)
        .find(|at| *at == 0 || !sentence.as_bytes()[at - 1].is_ascii_alphanumeric());
    if let Some(at) = digits {
        let length = sentence[at..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let old: u64 = sentence[at..at + length].parse().ok()?;
        let new = match rng.random_range(0..4) {
            0 => old + rng.random_range(1..10),
            1 => old.saturating_sub(rng.random_range(1..10)),
            2 => old + 10 * rng.random_range(1..5),
            _ => old * 2 + 1,
        };
        return (new != old).then(|| {
            Edit::against(
                "number",
                format!("{}{new}{}", &sentence[..at], &sentence[at + length..]),
            )
        });
    }
    let word = NAMES.iter().find(|n| find_word(sentence, n).is_some())?;
    let other = NAMES
        .iter()
        .filter(|n| n != &word)
        .copied()
        .collect::<Vec<_>>();
    Some(Edit::against(
        "number",
        replace_word(sentence, word, pick::<&str, _>(&other, rng))?,
    ))
}

/// Another name inside the sentence; the first word is left, for it may be no name.
pub(super) fn name(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    const NO_NAMES: [&str; 20] = [
        "I", "The", "He", "She", "It", "They", "We", "A", "An", "In", "God", "Monday", "Sunday",
        "English", "Mr", "Mrs", "Dr", "St", "Lord", "Sir",
    ];
    let words: Vec<&str> = sentence.split(' ').collect();
    let found: Vec<&str> = words
        .windows(2)
        .filter(|pair| !pair[0].ends_with([':', '.', '?', '!', '"', '“']))
        .map(|pair| pair[1])
        .map(|w| w.trim_end_matches(|c: char| !c.is_alphabetic()))
        .filter(|w| {
            w.len() > 2
                && w.chars().next().is_some_and(char::is_uppercase)
                && w.chars().skip(1).all(|c| c.is_lowercase())
                && !NO_NAMES.contains(w)
        })
        .collect();
    let old = found.choose(rng)?;
    let new = pick(&WORDS.names, rng);
    if new == *old {
        return None;
    }
    // Every mention changes, or the text would speak of two.
    let changed: Vec<String> = words
        .iter()
        .map(|w| match w.strip_prefix(old) {
            Some(rest) if !rest.starts_with(char::is_alphabetic) => format!("{new}{rest}"),
            _ => (*w).to_owned(),
        })
        .collect();
    Some(Edit::against("name", changed.join(" ")))
}
