//! Sentences, as byte ranges.
//!
//! Sentences are contiguous and cover the text: each range takes the white space that follows it, and leading white
//! space belongs to the first, so that the slices joined are the text again. The rules know abbreviations, initials,
//! decimals, quotations, bullets, headings and blank lines; they do not know languages without spaces beyond their full
//! stops.

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
}
