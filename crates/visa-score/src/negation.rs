//! Negations, as a ledger of what is denied.
//!
//! Each negation denies the next content word of its clause (`did not attend` denies *attend*; `unhappy` denies *happy*;
//! two on one word cancel). Two texts are compared word by word: a word that was denied in the original and is asserted in
//! the rewrite lost a negation, and the other way round gained one. So sentences may be split, merged and reordered, and
//! an added clause may have negations of its own. `complaints were not lodged` and `no complaints were lodged` deny
//! different words of one clause; such a pair is matched before anything is called a violation.

mod words;

use std::collections::HashMap;

use crate::lexicon::{is_function, stem};
use crate::token::{Kind, Token, normal};
use words::{denied_within, denies};

/// Words after which a negation before them no longer reaches.
const BOUNDS: &[&str] = &[
    "but", "because", "although", "though", "while", "whereas", "if", "when", "unless", "since",
    "so", "which", "who", "until",
];

/// Content words after a negation among which its counterpart in a paraphrase is looked for, and before it.
const REACH: usize = 5;
const BACK: usize = 3;

/// Words looked at in search of what a negation denies.
const SEARCH: usize = 12;

/// A negation and what it denies.
pub(crate) struct Mark {
    /// Token of the negation.
    pub(crate) token: usize,
    /// Token of the word denied.
    pub(crate) denied: usize,
    /// The word denied, as a stem.
    head: String,
    /// Other content words of its clause, as stems.
    near: Vec<String>,
}

/// What one text asserts and denies.
pub(crate) struct Ledger {
    pub(crate) marks: Vec<Mark>,
    /// For each stem how often it is asserted and how often denied.
    counts: HashMap<String, (u32, u32)>,
}

/// One word of the text that is no negation.
struct Entry {
    token: usize,
    stem: String,
    content: bool,
    clause: u32,
}

/// A negation as found.
struct Negation {
    token: usize,
    /// The entry that follows it (or is denied by its own beginning).
    at: usize,
    clause: u32,
    /// Whether the word denies itself, as `unhappy` does.
    own: bool,
}

impl Ledger {
    /// Reads a text; `hidden` tokens belong to URLs or code, `starts` begin a sentence.
    pub(crate) fn new(tokens: &[Token<'_>], hidden: &[bool], starts: &[bool]) -> Self {
        let (entries, negations) = read(tokens, hidden, starts);
        let mut flips = vec![0_u32; entries.len()];
        let mut marks = Vec::with_capacity(negations.len());
        for negation in &negations {
            let found = if negation.own {
                Some(negation.at)
            } else {
                head(&entries, negation)
            };
            let Some(found) = found else { continue };
            flips[found] += 1;
            marks.push(Mark {
                token: negation.token,
                denied: entries[found].token,
                head: entries[found].stem.clone(),
                near: nearby(&entries, negation, found),
            });
        }
        let mut counts: HashMap<String, (u32, u32)> = HashMap::new();
        for (entry, flips) in entries.into_iter().zip(flips) {
            let count = counts.entry(entry.stem).or_default();
            if flips % 2 == 1 {
                count.1 += 1
            } else {
                count.0 += 1
            }
        }
        Ledger { marks, counts }
    }

    fn count(&self, stem: &str) -> (u32, u32) {
        self.counts.get(stem).copied().unwrap_or_default()
    }

    /// For each denied stem of `self` how many denials `other` turned into assertions, and how many it merely lacks.
    fn against<'a>(&'a self, other: &Ledger) -> HashMap<&'a str, Balance> {
        self.marks
            .iter()
            .map(|mark| {
                let ((asserted, denied), (asserted_there, denied_there)) =
                    (self.count(&mark.head), other.count(&mark.head));
                let missing = denied.saturating_sub(denied_there);
                let turned = missing.min(asserted_there.saturating_sub(asserted));
                (mark.head.as_str(), Balance { missing, turned })
            })
            .collect()
    }
}

#[derive(Clone, Copy)]
struct Balance {
    missing: u32,
    turned: u32,
}

/// Negations that a rewrite lost and gained: marks of the original, marks of the candidate.
pub(crate) fn compare<'a>(
    original: &'a Ledger,
    candidate: &'a Ledger,
) -> (Vec<&'a Mark>, Vec<&'a Mark>) {
    let mut lost = original.against(candidate);
    let mut gained = candidate.against(original);
    settle(&original.marks, &mut lost, &mut gained);
    settle(&candidate.marks, &mut gained, &mut lost);
    (
        turned(&original.marks, lost),
        turned(&candidate.marks, gained),
    )
}

/// Matches denials that moved to another word of the same clause: the word denied here is asserted there and a neighbour
/// of it denied there instead, or the word denied here is gone and its neighbour denied in its place.
fn settle(marks: &[Mark], here: &mut HashMap<&str, Balance>, there: &mut HashMap<&str, Balance>) {
    for mark in marks {
        let Some(own) = here.get_mut(mark.head.as_str()).filter(|b| b.missing > 0) else {
            continue;
        };
        let turned = own.turned > 0;
        let partner = mark.near.iter().find(|w| {
            there
                .get(w.as_str())
                .is_some_and(|b| if turned { b.missing > 0 } else { b.turned > 0 })
        });
        if let Some(other) = partner.and_then(|w| there.get_mut(w.as_str())) {
            for balance in [own, other] {
                balance.missing -= 1;
                balance.turned = balance.turned.saturating_sub(1);
            }
        }
    }
}

/// The marks whose denial was turned, in order, each stem as often as it was.
fn turned<'a>(marks: &'a [Mark], mut balances: HashMap<&str, Balance>) -> Vec<&'a Mark> {
    marks
        .iter()
        .filter(|mark| {
            balances.get_mut(mark.head.as_str()).is_some_and(|balance| {
                let any = balance.turned > 0;
                balance.turned = balance.turned.saturating_sub(1);
                any
            })
        })
        .collect()
}

/// Words with their clauses, and negations.
fn read(tokens: &[Token<'_>], hidden: &[bool], starts: &[bool]) -> (Vec<Entry>, Vec<Negation>) {
    let mut entries = Vec::with_capacity(tokens.len());
    let mut negations = Vec::new();
    let mut clause = 0;
    for (i, token) in tokens.iter().enumerate() {
        clause += u32::from(starts[i]);
        if hidden[i] {
            continue;
        }
        if token.kind == Kind::Sign {
            let hyphen = matches!(token.text, "-" | "'" | "\"" | "''" | "%" | "$" | "/" | "&");
            clause += u32::from(!hyphen || token.text == "-" && token.spaced);
            continue;
        }
        let word = normal(token.text);
        if token.is_word() && denies(tokens, i, &word) {
            negations.push(Negation {
                token: i,
                at: entries.len(),
                clause,
                own: false,
            });
            // "cannot attend", "can't": the auxiliary inside is no word of its own.
            continue;
        }
        clause += u32::from(BOUNDS.contains(&word.as_str()));
        let positive = denied_within(&word);
        if positive.is_some() {
            negations.push(Negation {
                token: i,
                at: entries.len(),
                clause,
                own: true,
            });
        }
        let content = !is_function(&word);
        let stem = stem(positive.unwrap_or(&word)).into_owned();
        entries.push(Entry {
            token: i,
            stem,
            content,
            clause,
        });
    }
    (entries, negations)
}

/// The entry a negation denies: the next content word of its clause, else the last one before, else the next word of the
/// clause (`without them`), else what comes next at all.
fn head(entries: &[Entry], negation: &Negation) -> Option<usize> {
    let ahead = || (negation.at..entries.len()).take(SEARCH);
    let back = || {
        (0..negation.at)
            .rev()
            .take(SEARCH)
            .take_while(|&i| entries[i].clause == negation.clause)
    };
    ahead()
        .take_while(|&i| entries[i].clause == negation.clause)
        .find(|&i| entries[i].content)
        .or_else(|| back().find(|&i| entries[i].content))
        .or_else(|| {
            ahead()
                .next()
                .filter(|&i| entries[i].clause == negation.clause)
        })
        .or_else(|| ahead().find(|&i| entries[i].content))
        .or_else(|| ahead().next())
        .or_else(|| back().next())
}

/// Content words of the clause around a negation, without the one denied.
fn nearby(entries: &[Entry], negation: &Negation, denied: usize) -> Vec<String> {
    let clause = entries[denied].clause;
    let content = |i: &usize| entries[*i].content && entries[*i].clause == clause && *i != denied;
    let ahead = (negation.at..entries.len())
        .take(2 * SEARCH)
        .filter(content)
        .take(REACH);
    let back = (0..negation.at)
        .rev()
        .take(SEARCH)
        .filter(content)
        .take(BACK);
    ahead.chain(back).map(|i| entries[i].stem.clone()).collect()
}
