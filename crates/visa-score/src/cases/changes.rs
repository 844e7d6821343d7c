//! Sentences in which one number, name or negation was changed: a guard must catch each.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{Case, Random, case, replaced};

const WORDS: &[&str] = &[
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
];

/// Names of people and places to put in the place of others.
const NAMES: &[&str] = &[
    "Halvorsen",
    "Nairobi",
    "Beatrix",
    "Osaka",
    "Whitcombe",
    "Lucinda",
    "Montevideo",
    "Kowalczyk",
    "Tasmania",
    "Ferdinand",
    "Reykjavik",
    "Okonkwo",
    "Valencia",
    "Penelope",
    "Zagreb",
    "Thornbury",
    "Ibrahim",
    "Cordoba",
    "Leopold",
    "Winnipeg",
    "Annika",
    "Ljubljana",
    "Delacroix",
    "Honolulu",
    "Gustavo",
    "Brisbane",
    "Yamamoto",
    "Estonia",
    "Rosalind",
    "Marrakesh",
    "Fitzgerald",
    "Bolivia",
    "Katarina",
    "Aberdeen",
    "Mbeki",
    "Salzburg",
    "Cornelius",
    "Jakarta",
    "Villanueva",
    "Odessa",
];

/// Capitals that are no names: pronouns, months, days, titles.
const NOT_NAMES: &[&str] = &[
    "The",
    "This",
    "That",
    "These",
    "Those",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
    "Prof",
    "Sir",
    "And",
    "But",
    "For",
    "His",
    "Her",
    "Their",
    "Its",
    "They",
    "She",
    "When",
    "While",
    "After",
    "Before",
    "There",
    "From",
    "With",
    "Also",
    "However",
];

static DIGITS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b\d{1,3}(?:,\d{3})+\b|\b\d+(?:\.\d+)?\b"));
static WRITTEN: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"\b(?:{})\b", WORDS.join("|"))));
/// A capital inside a sentence: a lower-case word or comma stands before it; or two at its beginning.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[a-z,] (\p{Lu}\p{Ll}{2,})\b|^(\p{Lu}\p{Ll}{2,}) \p{Lu}\p{Ll}{2,}\b"));
static DROPPED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?i)\b(?:not|never|no|cannot|without)\b|(?:n't|n’t)\b"));
static AUXILIARY: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\b(?:is|are|was|were|will|would|can|could|should|may|might|must) ([a-z]{3,})\b")
});
static WITH: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:with|always|often|usually)\b"));
static IDIOM: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)\b(?:(?:not|n't) (?:only|just|merely|simply|solely|least|to mention)|(?:is|are|was|were|will|would|can|could|should|may|might|must) (?:only|just|merely|simply|solely)|no (?:doubt|matter|wonder)|or not|no ?\. ?\d|why not)",
    )
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are constants")
}

/// One changed number a sentence that has one: another value of the same shape.
pub fn changed_numbers(sentences: &[&str], seed: u64) -> Vec<Case> {
    each(sentences, seed, |text, random| {
        let digits: Vec<Range<usize>> = DIGITS
            .find_iter(text)
            .map(|m| m.range())
            .filter(|r| stands_alone(text, r))
            .collect();
        let words: Vec<Range<usize>> = WRITTEN.find_iter(text).map(|m| m.range()).collect();
        let all: Vec<Range<usize>> = digits.into_iter().chain(words).collect();
        let range = random.pick(&all)?.clone();
        let old = &text[range.clone()];
        // A value the sentence has already would be a permutation, which no rule can tell from a reordering.
        let new = (0..50)
            .map(|_| other_number(old, random))
            .find(|new| !mentions(text, new))?;
        Some(case(text, replaced(text, range, &new), "number"))
    })
}

/// One changed name a sentence that has one inside: another name in its place.
pub fn changed_names(sentences: &[&str], seed: u64) -> Vec<Case> {
    each(sentences, seed, |text, random| {
        let names: Vec<Range<usize>> = NAME
            .captures_iter(text)
            .filter_map(|c| c.get(1).or_else(|| c.get(2)))
            .filter(|m| !NOT_NAMES.contains(&m.as_str()))
            .map(|m| m.range())
            .collect();
        let range = random.pick(&names)?.clone();
        let new = (0..20)
            .filter_map(|_| random.pick(NAMES))
            .find(|n| !text.contains(**n))?;
        Some(case(text, replaced(text, range, new), "name"))
    })
}

/// One changed negation a sentence: dropped where there is one (`not`, `n't`, `never`, `no`, `cannot`, `without`), else put
/// in after an auxiliary or in place of `with` or `always`.
pub fn changed_negations(sentences: &[&str], seed: u64) -> Vec<Case> {
    each(sentences, seed, |text, random| {
        if IDIOM.is_match(text) {
            return None;
        }
        let negations: Vec<Range<usize>> = DROPPED.find_iter(text).map(|m| m.range()).collect();
        if let Some(range) = random.pick(&negations) {
            return Some(dropped(text, range.clone()));
        }
        let places: Vec<Range<usize>> = AUXILIARY
            .captures_iter(text)
            .filter_map(|c| c.get(1))
            .map(|m| m.range())
            .collect();
        if let Some(range) = random.pick(&places) {
            let (at, negation) = (range.start, ["not ", "never "][random.below(2)]);
            return Some(case(text, replaced(text, at..at, negation), "inserted not"));
        }
        let range = WITH.find(text)?.range();
        let new = if &text[range.clone()] == "with" {
            "without"
        } else {
            "never"
        };
        Some(case(text, replaced(text, range, new), "turned"))
    })
}

/// The sentence without the negation at `range`.
fn dropped(text: &str, range: Range<usize>) -> Case {
    let old = text[range.clone()].to_lowercase();
    match old.as_str() {
        "cannot" => case(text, replaced(text, range, "can"), "dropped not"),
        "without" => case(text, replaced(text, range, "with"), "dropped without"),
        // "won't" and "can't" keep an auxiliary.
        "n't" | "n’t" if text[..range.start].ends_with("wo") => case(
            text,
            replaced(text, range.start - 2..range.end, "will"),
            "dropped not",
        ),
        "n't" | "n’t" if text[..range.start].ends_with("ca") => case(
            text,
            replaced(text, range.start..range.end, "n"),
            "dropped not",
        ),
        _ => {
            let suffix = matches!(old.as_str(), "n't" | "n’t");
            let spaced = !suffix && text[range.end..].starts_with(' ');
            let end = range.end + usize::from(spaced);
            case(text, replaced(text, range.start..end, ""), "dropped not")
        }
    }
}

/// Applies `make` to each sentence with its own random stream.
fn each(
    sentences: &[&str],
    seed: u64,
    make: impl Fn(&str, &mut Random) -> Option<Case>,
) -> Vec<Case> {
    sentences
        .iter()
        .enumerate()
        .filter_map(|(i, text)| make(text, &mut Random::new(seed, i)))
        .filter(|c| c.candidate != c.original)
        .collect()
}

/// Not a piece of a code, a version or a date in digits.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].chars().next_back();
    let after = text[range.end..].chars().next();
    before.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '$' | '£' | '€'))
        && after.is_none_or(|c| c.is_whitespace() || matches!(c, ')' | '%' | ',' | '.' | ';'))
}

/// Another number of the same shape.
fn other_number(old: &str, random: &mut Random) -> String {
    if old.chars().all(char::is_alphabetic) {
        return random.pick(WORDS).copied().unwrap_or("two").to_owned();
    }
    let places: Vec<usize> = old
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
        .map(|(i, _)| i)
        .collect();
    let place = places[random.below(places.len())];
    let digit = char::from(b'1' + random.below(9) as u8);
    replaced(old, place..place + 1, &digit.to_string())
}

/// Whether the sentence has this number already, in digits or words.
fn mentions(text: &str, new: &str) -> bool {
    let spelled = WORDS
        .iter()
        .position(|w| *w == new)
        .map(|i| if i < 19 { i + 2 } else { 10 * (i - 16) });
    let is_same = |found: &str| {
        let plain = |s: &str| s.replace(',', "").parse::<f64>().ok();
        let value = spelled.map(|n| n as f64).or_else(|| plain(new));
        let theirs = WORDS
            .iter()
            .position(|w| *w == found)
            .map(|i| if i < 19 { i + 2 } else { 10 * (i - 16) } as f64)
            .or_else(|| plain(found));
        value.is_some() && value == theirs
    };
    DIGITS
        .find_iter(text)
        .chain(WRITTEN.find_iter(text))
        .any(|m| is_same(m.as_str()))
}
