//! Sentences said otherwise with the same numbers, names and negations: a guard must be silent on each.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Case, Random, case};

/// Values in digits and in words.
const SPELLED: &[(&str, &str)] = &[
    ("2", "two"),
    ("3", "three"),
    ("4", "four"),
    ("5", "five"),
    ("6", "six"),
    ("7", "seven"),
    ("8", "eight"),
    ("9", "nine"),
    ("10", "ten"),
    ("11", "eleven"),
    ("12", "twelve"),
    ("13", "thirteen"),
    ("14", "fourteen"),
    ("15", "fifteen"),
    ("20", "twenty"),
    ("24", "twenty-four"),
    ("30", "thirty"),
    ("40", "forty"),
    ("60", "sixty"),
    ("85", "eighty-five"),
    ("90", "ninety"),
    ("100", "one hundred"),
    ("120", "a hundred and twenty"),
    ("200", "two hundred"),
    ("350", "three hundred and fifty"),
    ("1,500", "fifteen hundred"),
    ("3,000", "three thousand"),
];

/// Words and others that say nearly the same.
const SYNONYMS: &[(&str, &str)] = &[
    ("big", "large"),
    ("begin", "start"),
    ("began", "started"),
    ("help", "assist"),
    ("helps", "assists"),
    ("buy", "purchase"),
    ("bought", "purchased"),
    ("show", "demonstrate"),
    ("shows", "demonstrates"),
    ("also", "in addition"),
    ("but", "yet"),
    ("many", "numerous"),
    ("said", "stated"),
    ("says", "states"),
    ("because", "since"),
    ("about", "roughly"),
    ("near", "close to"),
    ("located", "situated"),
    ("children", "kids"),
    ("people", "persons"),
    ("important", "significant"),
    ("house", "home"),
    ("used", "employed"),
    ("several", "a number of"),
    ("whole", "entire"),
    ("although", "even though"),
    ("often", "frequently"),
    ("killed", "slain"),
    ("built", "constructed"),
    ("wrote", "authored"),
    ("made", "produced"),
    ("get", "obtain"),
    ("should", "ought to"),
    ("need", "require"),
    ("bad", "harmful"),
    ("good", "beneficial"),
    ("think", "believe"),
];

/// A full form and its contraction.
const CONTRACTIONS: &[(&str, &str)] = &[
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("is not", "isn't"),
    ("are not", "aren't"),
    ("was not", "wasn't"),
    ("were not", "weren't"),
    ("will not", "won't"),
    ("would not", "wouldn't"),
    ("should not", "shouldn't"),
    ("could not", "couldn't"),
    ("cannot", "can't"),
    ("has not", "hasn't"),
    ("have not", "haven't"),
    ("had not", "hadn't"),
    ("it is", "it's"),
    ("they are", "they're"),
    ("we are", "we're"),
    ("is n't", "is not"),
    ("did n't", "did not"),
    ("do n't", "do not"),
    ("does n't", "does not"),
    ("can not", "cannot"),
    ("dont", "don't"),
    ("doesnt", "doesn't"),
];

/// Clauses a rewrite may add, some with negations of their own.
const CLAUSES: &[&str] = &[
    "because it keeps people safe",
    "so that nobody is left without help",
    "out of respect for those who came before",
    "in order to be fair to everyone",
    "and no one should have to suffer for it",
    "because we owe it to the next generation",
    "which is what a free person would never give up",
    "since not every success can be measured",
    "for the sake of the family",
    "and that is a matter of honour",
    "so that others may decide for themselves",
    "without which nothing lasting is built",
];

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are constants")
}

static PERCENT: LazyLock<Regex> = LazyLock::new(|| regex(r"(\d) ?% ?"));
static PER_CENT: LazyLock<Regex> = LazyLock::new(|| regex(r"(\d) (?:percent|per cent)\b"));
static GROUPED: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(\d{1,3}),(\d{3})\b"));
static UNGROUPED: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(\d{2})(\d{3})\b"));
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"\b(\d{1,2}) (January|February|March|April|May|June|July|August|September|October|November|December)(?: (\d{4}))?\b",
    )
});
static ORDINAL: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(3rd|4th|5th|6th|7th|8th|9th|10th|12th|20th)\b"));
static STATES: LazyLock<Regex> = LazyLock::new(|| regex(r"\bU\.S\.|\bUS\b"));
/// Two clauses with an "and" or "but" between, each with a subject of its own.
static CLAUSE: LazyLock<Regex> =
    LazyLock::new(|| regex(r" ?, (?:and|but) (he|she|it|they|we|the|there|this) "));
static BECAUSE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(\p{Lu}\P{Lu}+?),? (because|since|although|when|while) ([^,.]+)( ?\.)$")
});

/// True paraphrases of each sentence, one for every way that applies.
pub fn paraphrases(sentences: &[&str], seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    // The words of a quotation are not to be touched, so sentences with one are left out.
    let open = |text: &str| !text.contains(['"', '\u{201c}', '`']) && !text.contains("''");
    for (i, text) in sentences.iter().enumerate().filter(|(_, text)| open(text)) {
        let mut random = Random::new(seed, i);
        let mut add = |candidate: String, what| {
            if candidate != **text {
                cases.push(case(text, candidate, what));
            }
        };
        add(first_of(text, CONTRACTIONS, &mut random), "contraction");
        add(
            turned(first_of(text, SYNONYMS, &mut random), text, &mut random),
            "synonym",
        );
        add(first_of(text, SPELLED, &mut random), "number format");
        add(
            PERCENT
                .replace_all(text, "$1 percent ")
                .trim_end()
                .replace("percent .", "percent.")
                .replace("percent ,", "percent,"),
            "percent",
        );
        add(PER_CENT.replace_all(text, "$1%").into_owned(), "percent");
        add(GROUPED.replace(text, "$1$2").into_owned(), "thousands");
        add(UNGROUPED.replace(text, "$1,$2").into_owned(), "thousands");
        add(
            DATE.replace(text, |c: &Captures<'_>| american(c))
                .into_owned(),
            "date",
        );
        add(
            ORDINAL
                .replace(text, |c: &Captures<'_>| ordinal(&c[1]))
                .into_owned(),
            "ordinal",
        );
        add(
            STATES
                .replace(
                    text,
                    |c: &Captures<'_>| if &c[0] == "US" { "U.S." } else { "US" },
                )
                .into_owned(),
            "acronym",
        );
        add(split(text), "split");
        add(
            BECAUSE
                .replace(text, |c: &Captures<'_>| reordered(c))
                .into_owned(),
            "clause order",
        );
    }
    cases
}

/// Each sentence with a clause added at its end: more is said, nothing is changed.
pub fn added_clauses(sentences: &[&str], seed: u64) -> Vec<Case> {
    sentences
        .iter()
        .enumerate()
        .filter_map(|(i, text)| {
            let stem = text.trim_end().strip_suffix('.')?.trim_end();
            let clause = Random::new(seed, i).pick(CLAUSES).copied()?;
            Some(case(text, format!("{stem}, {clause}."), "added clause"))
        })
        .collect()
}

/// Replaces one side of a pair by the other, for a random pair that occurs.
fn first_of(text: &str, pairs: &[(&str, &str)], random: &mut Random) -> String {
    let start = random.below(pairs.len());
    for i in 0..pairs.len() {
        let (a, b) = pairs[(start + i) % pairs.len()];
        for (old, new) in [(a, b), (b, a)] {
            if let Some(at) = word_at(text, old) {
                return super::replaced(text, at..at + old.len(), new);
            }
        }
    }
    text.to_owned()
}

/// Sometimes a second synonym, so that paraphrases are not all one word away.
fn turned(once: String, text: &str, random: &mut Random) -> String {
    if once != text && random.below(2) == 0 {
        let twice = first_of(&once, SYNONYMS, random);
        if twice != text {
            return twice;
        }
    }
    once
}

/// Where `word` stands by itself, with no digit, letter or decimal point beside it.
fn word_at(text: &str, word: &str) -> Option<usize> {
    text.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + word.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let glue = |c: char| {
            c.is_alphanumeric() || matches!(c, '-' | '\'' | '’' | '/' | ':' | '$' | '£' | '€')
        };
        // "thirty - two", "twenty 8": a piece of a longer number.
        let piece = text[..at].trim_end().ends_with(['-', '–'])
            || text[at + word.len()..].trim_start().starts_with(['-', '–'])
            || text[..at].trim_end().ends_with("ty");
        !piece
            && before.is_none_or(|c| !glue(c) && !matches!(c, '.' | ','))
            && next.is_none_or(|c| !glue(c) && c != '%')
            && !(matches!(next, Some('.' | ',')) && second.is_some_and(|c| c.is_ascii_digit()))
    })
}

fn american(c: &Captures<'_>) -> String {
    match c.get(3) {
        Some(year) => format!("{} {}, {}", &c[2], &c[1], year.as_str()),
        None => format!("{} {}", &c[2], &c[1]),
    }
}

fn ordinal(digits: &str) -> &'static str {
    match digits {
        "3rd" => "third",
        "4th" => "fourth",
        "5th" => "fifth",
        "6th" => "sixth",
        "7th" => "seventh",
        "8th" => "eighth",
        "9th" => "ninth",
        "10th" => "tenth",
        "12th" => "twelfth",
        _ => "twentieth",
    }
}

/// "A, and b." → "A. B."
fn split(text: &str) -> String {
    CLAUSE
        .replace(text, |c: &Captures<'_>| {
            let mut subject = c[1].to_owned();
            subject[..1].make_ascii_uppercase();
            format!(". {subject} ")
        })
        .into_owned()
}

/// "A because b." → "Because b, a."
fn reordered(c: &Captures<'_>) -> String {
    let mut conjunction = c[2].to_owned();
    conjunction[..1].make_ascii_uppercase();
    // The first word keeps its capital, since nobody knows here whether it is a name.
    format!("{conjunction} {}, {}{}", c[3].trim_end(), &c[1], &c[4])
}
