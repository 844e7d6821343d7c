//! Rules that a rewrite must keep: what a text says in numbers, dates, names, negations, quotations, URLs and code.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a guard watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GuardKind {
    /// Numbers, in digits or words, with their units.
    Number,
    /// Dates, months, weekdays and times of day.
    Date,
    /// Names and acronyms.
    Name,
    /// Negations.
    Negation,
    /// Quotations.
    Quotation,
    /// Web and e-mail addresses.
    Url,
    /// Code between backticks.
    Code,
}

/// One thing a rewrite lost, changed or invented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardViolation {
    /// What the guard watches.
    pub kind: GuardKind,
    /// What happened, in plain words.
    pub detail: String,
}

/// A stretch of a text that a rewrite must keep word for word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protected {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Why it is protected.
    pub kind: GuardKind,
}

/// What `candidate` lost, changed or invented; empty if nothing.
pub fn guards(_original: &str, _candidate: &str) -> Vec<GuardViolation> {
    todo!()
}

/// What a rewrite of `text` must keep word for word: sorted, disjoint, in byte offsets.
pub fn protected_spans(_text: &str) -> Vec<Protected> {
    todo!()
}

/// Sentences as byte ranges that cover the text.
pub fn sentences(_text: &str) -> Vec<Range<usize>> {
    todo!()
}
