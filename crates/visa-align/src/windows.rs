//! Texts cut for models that read a limited number of tokens: into windows of whole sentences, and into clauses.
//!
//! Pure functions of text and token counts; nothing here knows a model.

use std::ops::Range;

use visa_nn::Encoding;

use crate::error::Result;
use crate::trunk::HeadModel;

/// A stretch of a text and its tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) range: Range<usize>,
    pub(crate) ids: Vec<u32>,
}

/// Cuts a text into windows of at most `limit` tokens: the whole text if it fits, else whole sentences together, and a
/// sentence that does not fit by itself between tokens.
pub(crate) fn windows(model: &HeadModel, text: &str, limit: usize) -> Result<Vec<Window>> {
    // No tokenizer makes more than a token a byte, so short texts need no second look; texts with more than sixteen
    // bytes a token do not occur, so long ones go to sentences at once.
    if text.len() <= limit * 16 {
        let [ids] = <[Vec<u32>; 1]>::try_from(model.tokens(&[text])?).unwrap_or_default();
        if ids.len() <= limit {
            return Ok(vec![Window {
                range: 0..text.len(),
                ids,
            }]);
        }
    }
    let sentences = visa_score::sentences(text);
    let texts: Vec<&str> = sentences.iter().map(|r| &text[r.clone()]).collect();
    let mut pieces = Vec::new();
    for (range, ids) in sentences.iter().zip(model.tokens(&texts)?) {
        if ids.len() <= limit {
            pieces.push(Window {
                range: range.clone(),
                ids,
            });
        } else {
            pieces.extend(cut(model, &text[range.clone()], range.start, limit)?);
        }
    }
    Ok(pack(pieces, limit))
}

fn cut(model: &HeadModel, sentence: &str, start: usize, limit: usize) -> Result<Vec<Window>> {
    let Encoding { ids, offsets, .. } = model.encode(sentence)?;
    Ok(ids
        .chunks(limit)
        .zip(offsets.chunks(limit))
        .map(|(ids, offsets)| Window {
            range: start + offsets[0].0..start + offsets[offsets.len() - 1].1,
            ids: ids.to_vec(),
        })
        .collect())
}

/// Joins neighbours as long as they fit.
fn pack(pieces: Vec<Window>, limit: usize) -> Vec<Window> {
    let mut packed: Vec<Window> = Vec::new();
    for piece in pieces {
        match packed.last_mut() {
            Some(last) if last.ids.len() + piece.ids.len() <= limit => {
                last.range.end = piece.range.end;
                last.ids.extend(piece.ids);
            }
            _ => packed.push(piece),
        }
    }
    packed
}

/// Words that begin a clause which can stand or go by itself.
const OPENERS: [&str; 18] = [
    "because",
    "since",
    "so that",
    "in order to",
    "out of respect for",
    "which",
    "who",
    "while",
    "whereas",
    "although",
    "though",
    "but",
    "unless",
    "so",
    "to keep",
    "to make",
    "for the sake of",
    "rather than",
];

/// Fewest words of a clause: less is an interjection or a list item.
const CLAUSE_WORDS: usize = 3;

/// Byte ranges of the clauses of a text, trimmed of blanks, in order and without overlap.
pub(crate) fn clauses(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for sentence in visa_score::sentences(text) {
        let mut start = sentence.start;
        for at in breaks(&text[sentence.clone()]) {
            let at = sentence.start + at;
            if words(&text[start..at]) >= CLAUSE_WORDS
                && words(&text[at..sentence.end]) >= CLAUSE_WORDS
            {
                found.extend(trimmed(text, start..at));
                start = at;
            }
        }
        found.extend(trimmed(text, start..sentence.end));
    }
    found
}

/// Places in a sentence where a clause may begin.
fn breaks(sentence: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut before = ' ';
    for (at, c) in sentence.char_indices() {
        if c.is_whitespace() {
            let rest = sentence[at..].trim_start();
            let next = sentence.len() - rest.len();
            let opens = OPENERS.iter().any(|opener| {
                rest.get(..opener.len())
                    .is_some_and(|r| r.eq_ignore_ascii_case(opener))
                    && rest[opener.len()..].starts_with(char::is_whitespace)
            });
            if matches!(before, ',' | ';' | ':' | '—' | '–') || opens {
                places.push(next);
            }
        }
        before = c;
    }
    places
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let inside = &text[range.clone()];
    let start = range.start + inside.len() - inside.trim_start().len();
    let end = range.end - (inside.len() - inside.trim_end().len());
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = clauses(text).into_iter().map(|r| &text[r]).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn clauses_of_sentences() {
        check("Go home now.", &["Go home now."]);
        check(
            "Wear a helmet because it keeps your head safe. It is fun!",
            &[
                "Wear a helmet",
                "because it keeps your head safe.",
                "It is fun!",
            ],
        );
        check(
            "Red, green, and blue are colours.",
            &["Red, green, and blue are colours."],
        );
        check(
            "We should share more of it, so that nobody goes hungry.",
            &["We should share more of it,", "so that nobody goes hungry."],
        );
        check("", &[]);
    }

    #[test]
    fn packing_fills_windows_in_order() {
        let piece = |start: usize, n: usize| Window {
            range: start..start + n,
            ids: vec![1; n],
        };
        let packed = pack(vec![piece(0, 3), piece(3, 4), piece(7, 2), piece(9, 9)], 7);
        let sizes: Vec<_> = packed
            .iter()
            .map(|w| (w.range.clone(), w.ids.len()))
            .collect();
        assert_eq!(sizes, [(0..7, 7), (7..9, 2), (9..18, 9)]);
    }

    proptest! {
        #[test]
        fn clauses_are_ordered_parts(text in "([A-Za-zé]{1,8}|because|so that|, |\\. |; |\n| ){0,30}") {
            let mut end = 0;
            for range in clauses(&text) {
                prop_assert!(range.start >= end && range.end <= text.len());
                prop_assert_eq!(text[range.clone()].trim(), &text[range.clone()]);
                end = range.end;
            }
        }
    }
}
