//! Windows of whole sentences, and the entailment questions between those of two texts.

use std::collections::HashMap;
use std::ops::Range;

use crate::sentence::ranges;
use crate::token::{self, Kind, Token, normal};

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
