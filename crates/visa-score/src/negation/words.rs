//! Which words deny, by themselves or by their beginning.

use crate::lexicon::is_common;
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

/// Whether the word at `i` is a negation there.
pub(super) fn denies(tokens: &[Token<'_>], i: usize, word: &str) -> bool {
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
pub(super) fn denied_within(word: &str) -> Option<&str> {
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
