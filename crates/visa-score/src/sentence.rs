//! Sentences and windows of sentences, as byte ranges.
//!
//! Sentences are contiguous and cover the text: each range takes the white space that follows it, and leading white
//! space belongs to the first, so that the slices joined are the text again. The rules know abbreviations, initials,
//! decimals, quotations, bullets, headings and blank lines; they do not know languages without spaces beyond their full
//! stops.

use std::collections::HashMap;
use std::ops::Range;

use crate::token::{self, Kind, Token, normal};

/// Abbreviations after which a sentence goes on whatever follows.
const TITLES: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "gen", "col", "sgt", "capt", "lt", "cmdr", "maj", "rev",
    "hon", "gov", "sen", "rep", "pres", "vs", "cf", "viz", "al", "fig", "figs", "eq", "no", "nos",
    "vol", "vols", "pp", "ch", "sec", "ed", "eds", "approx", "ca", "mt", "ft", "messrs", "mme",
    "mlle",
];

/// Abbreviations that may also end a sentence.
const OTHERS: &[&str] = &[
    "jr", "sr", "inc", "ltd", "co", "corp", "bros", "etc", "jan", "feb", "mar", "apr", "jun",
    "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue", "wed", "thu", "fri", "sat",
    "dept", "univ", "assn", "ave", "blvd", "rd", "est", "min", "max", "eg", "ie", "ph", "phd",
];

/// Words that begin sentences and hardly ever follow an abbreviation inside one.
const STARTERS: &[&str] = &[
    "the", "a", "an", "he", "she", "it", "they", "we", "i", "you", "this", "that", "these",
    "those", "there", "in", "on", "at", "but", "and", "however", "his", "her", "their", "its",
    "our", "my", "if", "when", "while", "after", "before", "as", "for", "since", "because",
    "although", "so", "then", "no", "not", "by", "from", "with", "some", "many", "most", "all",
    "what", "who", "why", "how", "where", "do", "does", "is", "are", "was", "were",
];

/// Sentences of `text` as contiguous byte ranges that cover it; none for an empty text. Linear time.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let tokens = token::tokens(text);
    ranges(text, &tokens)
}

/// As [`sentences`], from tokens already made.
pub(crate) fn ranges(text: &str, tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for i in 1..tokens.len() {
        if begins(text, tokens, i) {
            found.push(start..tokens[i].start);
            start = tokens[i].start;
        }
    }
    if start < text.len() {
        found.push(start..text.len());
    }
    found
}

/// Whether a sentence begins with token `i` ≥ 1.
fn begins(text: &str, tokens: &[Token<'_>], i: usize) -> bool {
    let here = &tokens[i];
    let gap = &text[tokens[i - 1].end()..here.start];
    if gap.matches('\n').count() >= 2 {
        return true;
    }
    if here.line && (starts_item(tokens, i) || ends_heading(tokens, i)) {
        return true;
    }
    // Back over quotation marks and brackets that close, to the sign that may end the sentence.
    let mut last = i - 1;
    // Few, so that a text of brackets alone stays linear.
    while last > 0 && i - last <= 4 && closes(&tokens[last]) {
        last -= 1;
    }
    if matches!(tokens[last].text, "。" | "！" | "？") {
        return !closes(here);
    }
    if !matches!(tokens[last].text, "." | "!" | "?" | "…") && !dotted(&tokens[last]) {
        return false;
    }
    if !here.spaced || closes_after(text, tokens, i) {
        return false;
    }
    let next = first_word(tokens, i);
    let lower = next.is_some_and(|t| t.text.chars().next().is_some_and(char::is_lowercase));
    if lower {
        // "Why?" he asked. The same with "…" and unknown abbreviations. A lower-case name (iPod) costs a missed split.
        return false;
    }
    match tokens[last].text {
        "." => !abbreviates(tokens, last, next),
        "!" | "?" | "…" => true,
        word => {
            let starter = next.is_some_and(|t| STARTERS.contains(&normal(t.text).as_str()));
            starter && word.ends_with('.') && !matches!(normal(word).as_str(), "eg" | "ie")
        }
    }
}

/// Whether the stop at `at` belongs to an abbreviation, an initial or a list number.
fn abbreviates(tokens: &[Token<'_>], at: usize, next: Option<&Token<'_>>) -> bool {
    let Some(before) = at
        .checked_sub(1)
        .map(|b| &tokens[b])
        .filter(|_| !tokens[at].spaced)
    else {
        return false;
    };
    let starter = next.is_some_and(|t| STARTERS.contains(&normal(t.text).as_str()));
    if before.kind == Kind::Number {
        return before.line && before.suffix().is_empty();
    }
    let word = normal(before.text);
    if word.chars().count() == 1 && before.is_capitalised() {
        // "J. Smith", "Plan B. The"; "I." ends a sentence.
        return word != "i" && !starter;
    }
    if word == "no" {
        return next.is_some_and(|t| t.kind == Kind::Number);
    }
    if TITLES.contains(&word.as_str()) {
        return true;
    }
    let number = next.is_some_and(|t| t.kind == Kind::Number);
    OTHERS.contains(&word.as_str())
        && !starter
        && (number
            || matches!(
                word.as_str(),
                "jr" | "sr" | "inc" | "ltd" | "co" | "corp" | "eg" | "ie"
            ))
}

fn dotted(token: &Token<'_>) -> bool {
    token.is_word() && token.text.ends_with('.')
}

fn closes(token: &Token<'_>) -> bool {
    matches!(
        token.text,
        "\"" | "'" | "''" | "\u{201d}" | "\u{2019}" | "»" | ")" | "]"
    )
}

/// Whether token `i` closes a quotation although white space stands before it, as tokenised text has it (`. ''`).
fn closes_after(text: &str, tokens: &[Token<'_>], i: usize) -> bool {
    let here = &tokens[i];
    if matches!(here.text, ")" | "]" | "\u{201d}" | "»") {
        return true;
    }
    matches!(here.text, "''" | "\"" | "'")
        && (here.end() == text.len() || text[here.end()..].starts_with(char::is_whitespace))
        && tokens[..i]
            .iter()
            .rev()
            .take(200)
            .filter(|t| t.text == here.text)
            .count()
            % 2
            == 1
}

/// The first word or number from `i` on, over opening signs.
fn first_word<'t, 'a>(tokens: &'t [Token<'a>], i: usize) -> Option<&'t Token<'a>> {
    tokens[i..].iter().take(4).find(|t| t.kind != Kind::Sign)
}

/// Whether a bullet, a numbered item or a heading mark begins a line at `i`.
fn starts_item(tokens: &[Token<'_>], i: usize) -> bool {
    let spaced = |k: usize| tokens.get(k).is_some_and(|t| t.spaced && !t.line);
    match tokens[i].text {
        "-" | "*" | "•" | "–" | "·" | "+" => spaced(i + 1),
        "#" | ">" | "|" | "`" => true,
        _ => {
            tokens[i].kind == Kind::Number
                && tokens[i].numeral <= 3
                && tokens.get(i + 1).is_some_and(|t| t.is(".") || t.is(")"))
                && spaced(i + 2)
        }
    }
}

/// Whether the line before `i` is one that no sentence runs on from: a heading mark began it, or it is an item.
fn ends_heading(tokens: &[Token<'_>], i: usize) -> bool {
    // Only short lines: the look back is bounded, so the whole stays linear.
    let from = tokens[..i].iter().rev().take(40).position(|t| t.line);
    from.is_some_and(|back| {
        let first = i - 1 - back;
        tokens[first].is("#") || tokens[i - 1].is(":")
    })
}

/// Groups of whole sentences of at most `max_words` words (at least 1), as contiguous ranges that cover the text; a
/// sentence that is longer by itself is cut between words.
pub fn windows(text: &str, max_words: usize) -> Vec<Range<usize>> {
    let max = max_words.max(1);
    let tokens = token::tokens(text);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut words_in_last = 0;
    let mut next = 0;
    for sentence in ranges(text, &tokens) {
        let from = next;
        while next < tokens.len() && tokens[next].start < sentence.end {
            next += 1;
        }
        let words = tokens[from..next]
            .iter()
            .filter(|t| t.kind != Kind::Sign)
            .count();
        match found.last_mut() {
            Some(last) if words_in_last + words <= max => {
                last.end = sentence.end;
                words_in_last += words;
            }
            _ => words_in_last = cut(&tokens[from..next], sentence, max, &mut found),
        }
    }
    found
}

/// Pushes a sentence in pieces of at most `max` words; says how many words the last piece has.
fn cut(
    tokens: &[Token<'_>],
    sentence: Range<usize>,
    max: usize,
    found: &mut Vec<Range<usize>>,
) -> usize {
    let (mut start, mut words) = (sentence.start, 0);
    for token in tokens.iter().filter(|t| t.kind != Kind::Sign) {
        if words == max {
            found.push(start..token.start);
            (start, words) = (token.start, 0);
        }
        words += 1;
    }
    found.push(start..sentence.end);
    words
}

/// One entailment question: does `premise` (a range of one text) say `hypothesis` (a range of the other)?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Byte range in the text that should say it.
    pub premise: Range<usize>,
    /// Byte range in the text that is asked about.
    pub hypothesis: Range<usize>,
}

/// The entailment questions that together ask whether `premise` says all of `hypothesis`, each side at most `max_words`
/// words: every window of the hypothesis, against the window of the premise that shares most of its rarer words (of
/// equals, the one at the same place in the text). Ask both ways by calling it twice. Two short texts give one question.
pub fn questions(premise: &str, hypothesis: &str, max_words: usize) -> Vec<Question> {
    let places = windows(premise, max_words);
    if places.is_empty() {
        return Vec::new();
    }
    // A word found in more windows than this says nothing about the place; the bound keeps the search linear.
    const COMMON: usize = 32;
    let mut index: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, range) in places.iter().enumerate() {
        for token in token::tokens(&premise[range.clone()]) {
            let windows = index.entry(normal(token.text)).or_default();
            if windows.last() != Some(&place) && windows.len() <= COMMON {
                windows.push(place);
            }
        }
    }
    let asked = windows(hypothesis, max_words);
    let count = asked.len();
    asked
        .into_iter()
        .enumerate()
        .map(|(i, range)| {
            let same_place = i * places.len() / count;
            let mut votes: HashMap<usize, f32> = HashMap::new();
            for token in token::tokens(&hypothesis[range.clone()]) {
                if let Some(found) = index.get(&normal(token.text)).filter(|f| f.len() <= COMMON) {
                    for &place in found {
                        *votes.entry(place).or_default() += 1.0 / found.len() as f32;
                    }
                }
            }
            let best = votes
                .into_iter()
                .fold((same_place, 0.0), |(bp, bv), (p, v)| {
                    let nearer = p.abs_diff(same_place) < bp.abs_diff(same_place);
                    // Ties are broken by place and then by order, never by the order of the hash map.
                    if v > bv
                        || v == bv
                            && (nearer
                                || p < bp && p.abs_diff(same_place) == bp.abs_diff(same_place))
                    {
                        (p, v)
                    } else {
                        (bp, bv)
                    }
                });
            Question {
                premise: places[best.0].clone(),
                hypothesis: range,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = sentences(text)
            .into_iter()
            .map(|r| text[r].trim())
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn plain_sentences() {
        check("", &[]);
        check("One.", &["One."]);
        check("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]);
        check(
            "It cost 3.5 dollars. Then 4.",
            &["It cost 3.5 dollars.", "Then 4."],
        );
        check("Wait... what? Yes.", &["Wait... what?", "Yes."]);
        check("He left… She stayed.", &["He left…", "She stayed."]);
        check("He came . She left .", &["He came .", "She left ."]);
        check("それは本です。これも。", &["それは本です。", "これも。"]);
    }

    #[test]
    fn abbreviations() {
        check(
            "Dr. Smith met Mrs. Jones. They spoke.",
            &["Dr. Smith met Mrs. Jones.", "They spoke."],
        );
        check(
            "J. R. R. Tolkien wrote it. It sold.",
            &["J. R. R. Tolkien wrote it.", "It sold."],
        );
        check(
            "The U.S. Army came. It left.",
            &["The U.S. Army came.", "It left."],
        );
        check(
            "He moved to the U.S. He liked it.",
            &["He moved to the U.S.", "He liked it."],
        );
        check("At 3 p.m. The bell rang.", &["At 3 p.m.", "The bell rang."]);
        check(
            "Use salt, e.g. Maldon. Stir.",
            &["Use salt, e.g. Maldon.", "Stir."],
        );
        check(
            "See No. 5 and Fig. 2. Then go.",
            &["See No. 5 and Fig. 2.", "Then go."],
        );
        check(
            "Apples, pears, etc. We ate them.",
            &["Apples, pears, etc.", "We ate them."],
        );
        check(
            "Acme Inc. Reported gains? No. He lied.",
            &["Acme Inc. Reported gains?", "No.", "He lied."],
        );
        check(
            "On Jan. 5 we met. It rained.",
            &["On Jan. 5 we met.", "It rained."],
        );
        check("So did I. We agreed.", &["So did I.", "We agreed."]);
    }

    #[test]
    fn quotations_and_brackets() {
        check(
            "\"Stop!\" he said. \"Why?\" She ran.",
            &["\"Stop!\" he said.", "\"Why?\"", "She ran."],
        );
        check(
            "“It ended.” Nobody spoke.",
            &["“It ended.”", "Nobody spoke."],
        );
        check(
            "It works (mostly.) Try it.",
            &["It works (mostly.)", "Try it."],
        );
        check(
            "He said '' go . '' She went .",
            &["He said '' go . ''", "She went ."],
        );
    }

    #[test]
    fn lines() {
        check("- one\n- two\n- three", &["- one", "- two", "- three"]);
        check(
            "1. First thing\n2. Second thing",
            &["1. First thing", "2. Second thing"],
        );
        check("# Title\nText here.", &["# Title", "Text here."]);
        check("Title\n\nText here.", &["Title", "Text here."]);
        check(
            "A line that is\nwrapped here. Next.",
            &["A line that is\nwrapped here.", "Next."],
        );
        check("Items:\nred", &["Items:", "red"]);
    }

    #[test]
    fn windows_keep_the_bound() {
        let check = |text: &str, max: usize, expected: &[&str]| {
            let found: Vec<&str> = windows(text, max)
                .into_iter()
                .map(|r| text[r].trim())
                .collect();
            assert_eq!(found, expected, "{text:?} {max}");
        };
        check("", 5, &[]);
        check(
            "One two. Three four. Five.",
            4,
            &["One two. Three four.", "Five."],
        );
        check(
            "One two three four five.",
            2,
            &["One two", "three four", "five."],
        );
        check("One two three. Four.", 2, &["One two", "three. Four."]);
        check("One. Two.", 0, &["One.", "Two."]);
    }

    #[test]
    fn questions_find_their_place() {
        let premise = "Cats sleep all day. Dogs bark at night. Birds sing at dawn.";
        let check = |hypothesis: &str, max: usize, expected: &[&str]| {
            let asked = questions(premise, hypothesis, max);
            let found: Vec<&str> = asked
                .iter()
                .map(|q| premise[q.premise.clone()].trim())
                .collect();
            assert_eq!(found, expected, "{hypothesis:?} {max}");
            let all: String = asked
                .iter()
                .map(|q| &hypothesis[q.hypothesis.clone()])
                .collect();
            assert_eq!(all, hypothesis);
        };
        check(
            "At dawn the birds sing. Dogs bark.",
            5,
            &["Birds sing at dawn.", "Dogs bark at night."],
        );
        check("Anything.", 50, &[premise]);
        check("", 5, &[]);
        assert!(questions("", "Something.", 5).is_empty());
    }
}
