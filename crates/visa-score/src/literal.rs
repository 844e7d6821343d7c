//! What must survive letter by letter: URLs, e-mail addresses, code, and the words of quotations.

use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;

use crate::GuardKind;
use crate::token::{Kind, Token, normal};

/// Longest quotation in bytes; beyond it a quotation mark is taken for a stray one.
const LONGEST: usize = 1000;

/// A stretch that is compared as written.
#[derive(Clone, Debug)]
pub(crate) struct Literal {
    pub(crate) kind: GuardKind,
    pub(crate) range: Range<usize>,
}

fn pattern() -> &'static Regex {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    PATTERN.get_or_init(|| {
        Regex::new(concat!(
            r"(?P<fence>```[\s\S]*?(?:```|\z))",
            r"|(?P<code>`[^`\n]+`)",
            r"|(?P<mail>[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)",
            r"|(?P<url>(?:https?://|ftp://|www\.)[^\s<>\x22“”»]+)",
            r"|(?P<domain>\b(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|info|io|dev|co\.uk|ac\.uk|org\.uk|de|fr|eu)\b(?:/[^\s<>\x22“”»]*)?)",
        ))
        .expect("the pattern is a constant")
    })
}

/// URLs, addresses and code of a text, in order and disjoint.
pub(crate) fn addresses_and_code(text: &str) -> Vec<Literal> {
    pattern()
        .captures_iter(text)
        .filter_map(|found| {
            let whole = found.get(0)?;
            let code = found.name("fence").or_else(|| found.name("code")).is_some();
            let (kind, end) = if code {
                (GuardKind::Code, whole.end())
            } else {
                (
                    GuardKind::Url,
                    whole.start() + trimmed(whole.as_str()).len(),
                )
            };
            Some(Literal {
                kind,
                range: whole.start()..end,
            })
        })
        .collect()
}

/// A URL without the punctuation of the sentence around it; a closing bracket stays if its opening one is inside.
fn trimmed(url: &str) -> &str {
    let mut url = url;
    let opened = url.matches('(').count();
    let mut closed = url.matches(')').count();
    loop {
        let cut = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '’', '*', '_']);
        if cut.ends_with(')') && opened < closed {
            closed -= 1;
            url = &cut[..cut.len() - 1];
        } else {
            return cut;
        }
    }
}

/// Quotations: byte ranges of what stands between quotation marks, marks not included. Straight marks are paired by the
/// white space around them; a paragraph's end closes whatever is open.
pub(crate) fn quotations(text: &str, tokens: &[Token<'_>], hidden: &[bool]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    for (i, token) in tokens.iter().enumerate() {
        if token.line && i > 0 && text[tokens[i - 1].end()..token.start].matches('\n').count() >= 2
        {
            open = None;
        }
        if hidden[i] || token.kind != Kind::Sign {
            continue;
        }
        if let Some((start, closing)) = open {
            if token.start - start > LONGEST {
                // Too long ago: that mark was a stray one, and this token may open.
            } else if token.text == closing && closes_here(text, token) {
                let inside = start..token.start;
                if !text[inside.clone()].trim().is_empty() {
                    found.push(inside);
                }
                open = None;
                continue;
            } else {
                continue;
            }
        }
        let next_glued = text[token.end()..]
            .chars()
            .next()
            .is_some_and(|c| !c.is_whitespace());
        let free = token.spaced
            || i > 0 && matches!(tokens[i - 1].text, "(" | "[" | "-" | "—" | "–" | ":" | "/");
        let closing = match token.text {
            "\u{201c}" | "\u{201e}" => Some("\u{201d}"),
            "«" => Some("»"),
            "``" | "''" => Some("''"),
            // Glued to a number it means inches.
            "\"" if free => Some("\""),
            // Single marks are apostrophes unless they open before a letter.
            "\u{2018}" if next_glued => Some("\u{2019}"),
            "'" if free && next_glued => Some("'"),
            _ => None,
        };
        open = closing.map(|mark| (token.end(), mark));
    }
    found
}

/// A single mark closes only where no letter follows, so that apostrophes inside do not.
fn closes_here(text: &str, token: &Token<'_>) -> bool {
    !matches!(token.text, "'" | "\u{2019}")
        || !token.spaced
            && text[token.end()..]
                .chars()
                .next()
                .is_none_or(|c| !c.is_alphanumeric())
}

/// Hashes of all runs of up to four words, by which quotations are found in another text in linear time.
pub(crate) struct Runs(std::collections::HashSet<u64>);

/// Words in a run.
const RUN: usize = 4;

impl Runs {
    /// Runs of a text's words and numbers; signs are passed over.
    pub(crate) fn new(tokens: &[Token<'_>]) -> Self {
        let words = hashes(tokens);
        let mut runs = std::collections::HashSet::with_capacity(words.len() * RUN);
        for from in 0..words.len() {
            for to in from + 1..=words.len().min(from + RUN) {
                runs.insert(combine(&words[from..to]));
            }
        }
        Runs(runs)
    }

    /// Whether the words of `tokens` stand in the text in this order without others between.
    pub(crate) fn contain(&self, tokens: &[Token<'_>]) -> bool {
        let words = hashes(tokens);
        let length = words.len().min(RUN);
        length == 0
            || words
                .windows(length)
                .all(|run| self.0.contains(&combine(run)))
    }
}

fn hashes(tokens: &[Token<'_>]) -> Vec<u64> {
    tokens
        .iter()
        .filter(|t| t.kind != Kind::Sign)
        .map(|t| fnv(normal(t.text).as_bytes(), 0xcbf2_9ce4_8422_2325))
        .collect()
}

fn combine(run: &[u64]) -> u64 {
    run.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| {
        fnv(&word.to_le_bytes(), hash)
    })
}

/// FNV-1a: the same on every machine, and no collision matters beyond a missed violation.
fn fnv(bytes: &[u8], start: u64) -> u64 {
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
