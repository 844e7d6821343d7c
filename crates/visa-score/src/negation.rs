//! Negations, as a ledger of what is denied.
//!
//! Each negation denies the next content word of its clause (`did not attend` denies *attend*; `unhappy` denies *happy*;
//! two on one word cancel). Two texts are compared word by word: a word that was denied in the original and is asserted in
//! the rewrite lost a negation, and the other way round gained one. So sentences may be split, merged and reordered, and
//! an added clause may have negations of its own. `complaints were not lodged` and `no complaints were lodged` deny
//! different words of one clause; such a pair is matched before anything is called a violation.

use std::collections::HashMap;

use crate::lexicon::{is_common, is_function, stem};
use crate::token::{Kind, Token, normal};

/// Words that deny.
const NEGATORS: &[&str] = &[
    "not", "no", "never", "without", "neither", "nor", "nobody", "none", "nothing", "nowhere",
    "cannot", "hardly", "barely", "scarcely", "rarely", "seldom", "cant", "wont", "dont", "doesnt",
    "didnt", "isnt", "wasnt", "arent", "werent", "hasnt", "havent", "hadnt", "couldnt", "wouldnt",
    "shouldnt", "ain't", "n't", "lack", "lacks", "lacked", "lacking", "absence", "unable", "non",
    "noone",
];

/// Two words of which the second completes no denial: `not only … but also`, `no doubt`.
const IDIOMS: &[(&str, &str)] = &[
    ("not", "only"),
    ("not", "just"),
    ("not", "merely"),
    ("not", "simply"),
    ("not", "solely"),
    ("not", "least"),
    ("no", "doubt"),
    ("no", "matter"),
    ("no", "wonder"),
    ("not", "to mention"),
    ("nothing", "but"),
    ("none", "other"),
];

/// Beginnings that deny what follows, with the words in which they do. `un` and `non` deny any common word.
const DENIED: &[(&str, &[&str])] = &[
    (
        "in",
        &[
            "complete",
            "correct",
            "ability",
            "accurate",
            "adequate",
            "appropriate",
            "capable",
            "consistent",
            "direct",
            "effective",
            "efficient",
            "expensive",
            "formal",
            "human",
            "secure",
            "sensitive",
            "sufficient",
            "tolerant",
            "valid",
            "visible",
            "active",
            "justice",
            "equality",
            "experienced",
            "significant",
            "compatible",
            "accessible",
            "eligible",
            "flexible",
            "frequent",
            "offensive",
            "sane",
            "soluble",
            "tangible",
            "voluntary",
        ],
    ),
    (
        "im",
        &[
            "possible",
            "perfect",
            "moral",
            "patient",
            "polite",
            "proper",
            "practical",
            "mature",
            "probable",
            "mortal",
            "pure",
            "balance",
            "mobile",
            "partial",
        ],
    ),
    (
        "il",
        &["legal", "liberal", "legitimate", "logical", "literate"],
    ),
    (
        "ir",
        &[
            "regular",
            "relevant",
            "responsible",
            "rational",
            "religious",
            "reversible",
            "replaceable",
        ],
    ),
    (
        "dis",
        &[
            "agree",
            "agreed",
            "agrees",
            "like",
            "liked",
            "likes",
            "honest",
            "loyal",
            "obey",
            "obeyed",
            "respect",
            "approve",
            "approved",
            "approves",
            "believe",
            "allow",
            "allowed",
            "advantage",
            "satisfied",
            "connected",
            "continue",
            "continued",
            "trust",
            "regard",
            "similar",
            "obedient",
            "comfort",
            "honour",
            "honor",
        ],
    ),
];

/// Common words that begin with `un` or `non` and deny nothing.
const NOT_DENIED: &[&str] = &[
    "until",
    "unless",
    "under",
    "union",
    "unions",
    "unit",
    "units",
    "unite",
    "united",
    "unites",
    "unity",
    "unique",
    "uniform",
    "uncle",
    "unto",
    "universal",
    "universe",
    "understand",
    "undergo",
    "undertake",
    "untold",
    "nonetheless",
    "unison",
    "unction",
    "unified",
    "unify",
    "unanimous",
];

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

/// Whether the word at `i` is a negation there.
fn denies(tokens: &[Token<'_>], i: usize, word: &str) -> bool {
    let next = |k: usize| {
        tokens
            .get(i + k)
            .filter(|t| t.is_word())
            .map(|t| normal(t.text))
            .unwrap_or_default()
    };
    if matches!(word, "fail" | "fails" | "failed" | "failing") {
        return next(1) == "to";
    }
    if !NEGATORS.contains(&word) && !word.ends_with("n't") {
        return false;
    }
    // "isn't only" is "is not only"; but "cannot just" denies.
    let can = word.starts_with("ca")
        || i > 0 && matches!(normal(tokens[i - 1].text).as_str(), "ca" | "can");
    let plain = match word {
        _ if can => "",
        _ if word.ends_with("n't") || word.len() > 3 && word.ends_with("nt") => "not",
        _ => word,
    };
    let idiom = IDIOMS.iter().any(|(first, second)| {
        *first == plain
            && (next(1) == *second
                || *second == "to mention" && next(1) == "to" && next(2) == "mention")
    });
    // "No. 5" is a number.
    let numero = word == "no"
        && tokens.get(i + 1).is_some_and(|t| t.is(".") && !t.spaced)
        && tokens.get(i + 2).is_some_and(|t| t.kind == Kind::Number);
    // "whether or not", "…, or not?"
    let before = |k: usize| {
        i.checked_sub(k)
            .map(|b| normal(tokens[b].text))
            .unwrap_or_default()
    };
    let either =
        word == "not" && before(1) == "or" && (before(2) == "whether" || next(1).is_empty());
    !idiom && !numero && !either
}

/// The common word that a beginning denies: `happy` of `unhappy`.
fn denied_within(word: &str) -> Option<&str> {
    for prefix in ["un", "non"] {
        let positive = word
            .strip_prefix(prefix)
            .filter(|p| p.len() >= 4 && p.is_ascii());
        if let Some(positive) = positive {
            return (is_common(positive) && !NOT_DENIED.contains(&word)).then_some(positive);
        }
    }
    DENIED.iter().find_map(|(prefix, positives)| {
        let rest = word.strip_prefix(prefix)?;
        let listed = |w: &str| positives.contains(&w);
        (listed(rest) || rest.strip_suffix("ly").is_some_and(listed)).then_some(rest)
    })
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
