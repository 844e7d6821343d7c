//! Names: words whose capital means something.
//!
//! Inside a sentence every capital does. At its beginning (and after a colon or an opening quotation mark, and in lines
//! all in capitals) a word is a name if it is written unlike any common word, or if the same text writes it with a capital
//! inside a sentence. Each word of a name is compared by itself, in any case, with and without its plural or possessive s;
//! so `the President` may become `the president`, and `Britain's` may become `Britain`.

use std::collections::HashSet;

use crate::GuardKind;
use crate::lexicon::{is_common, is_function};
use crate::number::Fact;
use crate::token::{Kind, Token, normal};

/// Words with a capital that are no names, or that politeness adds and drops.
const NOT_NAMES: &[&str] = &[
    "i", "ive", "i'm", "i've", "i'd", "i'll", "mr", "mrs", "ms", "dr", "prof", "sir", "ok", "oh",
    "am", "pm", "a", "the", "eg", "ie", "etc", "ph", "phd", "nt", "st", "o",
];

/// Names of a text. `taken` tokens already are part of numbers or dates, `hidden` ones of URLs or code; `starts` tells
/// which tokens begin a sentence.
pub(crate) fn facts(
    tokens: &[Token<'_>],
    taken: &[bool],
    hidden: &[bool],
    starts: &[bool],
) -> Vec<Fact> {
    let initial = initials(tokens, starts);
    let shouted = shouted(tokens);
    let free = |i: usize| !taken[i] && !hidden[i] && tokens[i].is_word();
    let inside: HashSet<String> = (0..tokens.len())
        .filter(|&i| free(i) && tokens[i].is_capitalised() && !initial[i] && !shouted[i])
        .map(|i| key(tokens[i].text))
        .collect();
    (0..tokens.len())
        .filter(|&i| free(i))
        .filter_map(|i| {
            let token = &tokens[i];
            let plain = normal(token.text);
            if NOT_NAMES.contains(&plain.as_str()) {
                return None;
            }
            let key = key(token.text);
            let inner_capital = token.text.chars().skip(1).any(char::is_uppercase);
            let mixed = inner_capital && token.text.chars().any(char::is_lowercase)
                || token.text.chars().any(|c| c.is_ascii_digit());
            let is_name = if mixed {
                // "iPad", "McDonald", "B2B"; but "WOMEN's" is shouted.
                !is_common(&plain)
            } else if !token.is_capitalised() {
                false
            } else if shouted[i] {
                !is_common(&plain)
            } else if inner_capital {
                // Short capitals are acronyms even when they spell a word (US, IT); long ones are emphasis.
                plain.chars().count() <= 3 && !is_function(&plain)
                    || plain == "us"
                    || !is_common(&plain)
            } else if initial[i] {
                !is_common(&plain) && !is_function(&plain)
                    || inside.contains(&key) && !is_function(&plain)
            } else {
                // A lone letter is a name in "vitamin C" and an initial in "J. Smith"; "So I" was sorted out above.
                !is_function(&plain) || !tokens[i].text.is_ascii()
            };
            is_name.then(|| Fact {
                kind: GuardKind::Name,
                key,
                alias: None,
                unit: None,
                weak: false,
                from: i,
                to: i + 1,
            })
        })
        .collect()
}

/// The form by which a word of a name is compared.
pub(crate) fn key(word: &str) -> String {
    let dotless = normal(word);
    // "US" and "us" are different words, so short capitals keep theirs.
    let letters = dotless.trim_end_matches("'s");
    if letters.chars().count() <= 3
        && word
            .chars()
            .filter(|c| c.is_alphabetic())
            .take(2)
            .all(char::is_uppercase)
        && letters.chars().count() >= 2
        && is_common(letters)
    {
        return letters.to_uppercase();
    }
    let singular = dotless
        .strip_suffix("'s")
        .or_else(|| dotless.strip_suffix("s'"))
        .unwrap_or(&dotless);
    let singular = singular.strip_suffix('\'').unwrap_or(singular);
    match singular.strip_suffix('s') {
        Some(base) if base.chars().count() > 3 && !base.ends_with('s') => base.to_owned(),
        _ => singular.to_owned(),
    }
}

/// Tokens whose capital the position explains: the first word of a sentence, of a quotation, after a colon or a bullet.
fn initials(tokens: &[Token<'_>], starts: &[bool]) -> Vec<bool> {
    let mut expected = true;
    tokens
        .iter()
        .enumerate()
        .map(|(i, token)| {
            expected |= starts[i];
            let sign = token.kind == Kind::Sign;
            if sign
                && matches!(
                    token.text,
                    "\"" | "''"
                        | "``"
                        | "\u{201c}"
                        | "\u{201e}"
                        | "\u{2018}"
                        | "'"
                        | "«"
                        | ":"
                        | "—"
                        | "…"
                        | "."
                        | "!"
                        | "?"
                        | "*"
                        | "•"
                        | ">"
                        | "#"
                )
            {
                expected = true;
            }
            // Opening brackets and list numbers keep what was before them.
            let here = expected;
            let item = token.kind == Kind::Number && token.line;
            if !sign && !item {
                expected = false;
            }
            here && !sign
        })
        .collect()
}

/// Tokens in lines (of at least three words) where most letters are capitals: there capitals mean nothing.
fn shouted(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut flags = vec![false; tokens.len()];
    let mut from = 0;
    for to in 1..=tokens.len() {
        if to < tokens.len() && !tokens[to].line {
            continue;
        }
        let words: Vec<&Token<'_>> = tokens[from..to].iter().filter(|t| t.is_word()).collect();
        let (upper, letters) =
            words
                .iter()
                .flat_map(|t| t.text.chars())
                .fold((0, 0), |(u, n), c| {
                    (
                        u + usize::from(c.is_uppercase()),
                        n + usize::from(c.is_alphabetic()),
                    )
                });
        if words.len() >= 3 && upper * 10 >= letters * 7 {
            flags[from..to].fill(true);
        }
        // A heading in title case: three words or more, no end of sentence, hardly a word without a capital.
        let plain = words
            .iter()
            .filter(|t| !t.is_capitalised() && !is_function(&normal(t.text)))
            .count();
        let ended = tokens[to - 1].kind == Kind::Sign;
        if words.len() >= 3
            && words.len() <= 12
            && plain == 0
            && !ended
            && words.iter().filter(|t| is_common(&normal(t.text))).count() * 2 > words.len()
        {
            flags[from..to].fill(true);
        }
        from = to;
    }
    flags
}
