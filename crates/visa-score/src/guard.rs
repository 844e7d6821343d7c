//! Rules that a rewrite must keep: what a text says in numbers, dates, names, negations, quotations, URLs and code.
//!
//! A guard compares what two whole texts say and not where, so that sentences may be reordered, split and merged. What the
//! original says the rewrite must say, and it may say no more: an added number or name is an invention. The rules prove
//! nothing about the rest of the meaning; that is the consistency model's part. Time and memory are linear.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::literal::{self, Literal, Runs};
use crate::negation::{self, Ledger, Mark};
use crate::number::{self, Fact};
use crate::token::{self, Kind, Token};
use crate::units::ESSENTIAL;
use crate::{name, sentence};

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

impl GuardKind {
    /// The word for it: `number`, `date`, …
    pub const fn name(self) -> &'static str {
        match self {
            GuardKind::Number => "number",
            GuardKind::Date => "date",
            GuardKind::Name => "name",
            GuardKind::Negation => "negation",
            GuardKind::Quotation => "quotation",
            GuardKind::Url => "url",
            GuardKind::Code => "code",
        }
    }
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

/// What `candidate` lost, changed or invented; empty if nothing. Violations come kind by kind, in the order of the texts.
/// A text has no violation against itself.
pub fn guards(original: &str, candidate: &str) -> Vec<GuardViolation> {
    Original::new(original).guards(candidate)
}

/// An original that was read once, to compare many candidates with it.
pub struct Original<'a>(Reading<'a>);

impl<'a> Original<'a> {
    /// Reads the original.
    pub fn new(text: &'a str) -> Self {
        Original(Reading::new(text))
    }

    /// As [`guards`].
    pub fn guards(&self, candidate: &str) -> Vec<GuardViolation> {
        let (original, candidate) = (&self.0, Reading::new(candidate));
        let mut found = Vec::new();
        numbers(original, &candidate, &mut found);
        names(original, &candidate, &mut found);
        negations(original, &candidate, &mut found);
        quotations(original, &candidate, &mut found);
        literals(original, &candidate, &mut found);
        found
    }
}

/// What a rewrite of `text` must keep word for word: sorted, disjoint, in byte offsets. Where kinds overlap the larger
/// stretch wins (a number inside a quotation is part of the quotation). Neighbouring words of a name are one stretch.
/// Negations are reported too; a rewrite may word them otherwise as long as [`guards`] finds nothing.
pub fn protected_spans(text: &str) -> Vec<Protected> {
    let reading = Reading::new(text);
    let tokens = &reading.tokens;
    let mut spans: Vec<Protected> = reading
        .literals
        .iter()
        .map(|l| Protected {
            start: l.range.start,
            end: l.range.end,
            kind: l.kind,
        })
        .collect();
    spans.extend(reading.quotations.iter().map(|q| Protected {
        start: q.start,
        end: q.end,
        kind: GuardKind::Quotation,
    }));
    for fact in reading
        .numbers
        .iter()
        .chain(&reading.names)
        .filter(|f| !f.weak)
    {
        let (start, end) = (tokens[fact.from].start, tokens[fact.to - 1].end());
        // "Robert the Bruce" is three stretches, "Bruce Springsteen" one.
        match spans.last_mut() {
            Some(last)
                if last.kind == fact.kind
                    && last.end < start
                    && is_joint(&text[last.end..start], fact.kind) =>
            {
                last.end = end;
            }
            _ => spans.push(Protected {
                start,
                end,
                kind: fact.kind,
            }),
        }
    }
    spans.extend(reading.ledger.marks.iter().map(|m| {
        let token = &tokens[m.token];
        Protected {
            start: token.start,
            end: token.end(),
            kind: GuardKind::Negation,
        }
    }));
    // Longer first where two begin together; then every span that begins inside an earlier one is dropped.
    spans.sort_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
    let mut kept: Vec<Protected> = Vec::with_capacity(spans.len());
    for span in spans {
        match kept.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => kept.push(span),
        }
    }
    kept
}

/// Whether the gap between two neighbouring facts joins them.
fn is_joint(gap: &str, kind: GuardKind) -> bool {
    match kind {
        GuardKind::Name => gap.chars().all(|c| c == ' ') && gap.len() == 1 || gap == "-",
        GuardKind::Date => matches!(gap, " " | ", " | " of "),
        _ => false,
    }
}

/// A text with everything the guards know about it.
struct Reading<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    literals: Vec<Literal>,
    quotations: Vec<std::ops::Range<usize>>,
    numbers: Vec<Fact>,
    names: Vec<Fact>,
    ledger: Ledger,
    /// All words in the form in which names are compared, for "in any case".
    words: HashSet<String>,
    /// Made when the other text has a quotation.
    runs: OnceLock<Runs>,
}

impl<'a> Reading<'a> {
    fn new(text: &'a str) -> Self {
        let tokens = token::tokens(text);
        let literals = literal::addresses_and_code(text);
        let hidden = covered(&tokens, literals.iter().map(|l| &l.range));
        let mut starts = vec![false; tokens.len()];
        let mut at = 0;
        for range in sentence::ranges(text, &tokens) {
            while at < tokens.len() && tokens[at].start < range.start {
                at += 1;
            }
            if let Some(start) = starts.get_mut(at) {
                *start = true;
            }
        }
        let quotations = literal::quotations(text, &tokens, &hidden);
        let numbers = number::facts(&tokens, &hidden);
        let mut taken = vec![false; tokens.len()];
        for fact in numbers.iter().filter(|f| !f.weak) {
            taken[fact.from..fact.to].fill(true);
        }
        let names = name::facts(&tokens, &taken, &hidden, &starts);
        let ledger = Ledger::new(&tokens, &hidden, &starts);
        let words = tokens
            .iter()
            .zip(&hidden)
            .filter(|(t, hidden)| t.kind != Kind::Sign && !**hidden)
            .map(|(t, _)| name::key(t.text))
            .collect();
        Reading {
            text,
            tokens,
            literals,
            quotations,
            numbers,
            names,
            ledger,
            words,
            runs: OnceLock::new(),
        }
    }

    /// How a fact is written.
    fn written(&self, fact: &Fact) -> &'a str {
        &self.text[self.tokens[fact.from].start..self.tokens[fact.to - 1].end()]
    }

    fn runs(&self) -> &Runs {
        self.runs.get_or_init(|| Runs::new(&self.tokens))
    }

    fn slice(&self, range: &std::ops::Range<usize>) -> &[Token<'a>] {
        let from = self.tokens.partition_point(|t| t.start < range.start);
        let to = self.tokens.partition_point(|t| t.start < range.end);
        &self.tokens[from..to]
    }
}

/// Which tokens lie in the ranges, which are sorted and disjoint.
fn covered<'r>(
    tokens: &[Token<'_>],
    ranges: impl Iterator<Item = &'r std::ops::Range<usize>>,
) -> Vec<bool> {
    let mut flags = vec![false; tokens.len()];
    let mut at = 0;
    for range in ranges {
        while at < tokens.len() && tokens[at].end() <= range.start {
            at += 1;
        }
        while at < tokens.len() && tokens[at].start < range.end {
            flags[at] = true;
            at += 1;
        }
    }
    flags
}

fn numbers(original: &Reading<'_>, candidate: &Reading<'_>, found: &mut Vec<GuardViolation>) {
    let (theirs, ours) = (units(&original.numbers), units(&candidate.numbers));
    let mut told = HashSet::new();
    for fact in original
        .numbers
        .iter()
        .filter(|f| !f.weak && !said(f, &ours))
    {
        if told.insert(fact.key.as_str()) {
            found.push(violation(fact.kind, original.written(fact), "is missing"));
        }
    }
    told.clear();
    for fact in candidate.numbers.iter().filter(|f| !f.weak) {
        if !told.insert(fact.key.as_str()) {
            continue;
        }
        if !said(fact, &theirs) {
            found.push(violation(
                fact.kind,
                candidate.written(fact),
                "is not in the original",
            ));
            continue;
        }
        let Some(wanted) = theirs.get(fact.key.as_str()) else {
            continue;
        };
        let used = &ours[fact.key.as_str()];
        let changed = wanted.iter().any(|unit| {
            let kept = used.contains(unit);
            !kept && (ESSENTIAL.contains(unit) || used.iter().any(|u| !wanted.contains(u)))
        }) || used
            .iter()
            .any(|u| ESSENTIAL.contains(u) && !wanted.contains(u));
        if changed {
            found.push(violation(
                fact.kind,
                candidate.written(fact),
                "has another unit than in the original",
            ));
        }
    }
}

/// Whether a number is among those of the other text, under either key.
fn said(fact: &Fact, there: &HashMap<&str, Vec<&'static str>>) -> bool {
    let has = |key: &str| there.contains_key(key);
    has(&fact.key) || fact.alias.as_deref().is_some_and(has)
}

/// Units with which each number is written.
fn units(facts: &[Fact]) -> HashMap<&str, Vec<&'static str>> {
    let mut units: HashMap<&str, Vec<&'static str>> = HashMap::new();
    for fact in facts {
        if let Some(alias) = &fact.alias {
            units.entry(alias.as_str()).or_default();
        }
        let known = units.entry(fact.key.as_str()).or_default();
        if let Some(unit) = fact.unit.filter(|u| !known.contains(u)) {
            known.push(unit);
        }
    }
    units
}

fn names(original: &Reading<'_>, candidate: &Reading<'_>, found: &mut Vec<GuardViolation>) {
    for (from, to, what) in [
        (original, candidate, "is missing"),
        (candidate, original, "is not in the original"),
    ] {
        let mut told = HashSet::new();
        for fact in &from.names {
            if !to.words.contains(&fact.key) && told.insert(fact.key.as_str()) {
                found.push(violation(GuardKind::Name, from.written(fact), what));
            }
        }
    }
}

fn negations(original: &Reading<'_>, candidate: &Reading<'_>, found: &mut Vec<GuardViolation>) {
    let (lost, gained) = negation::compare(&original.ledger, &candidate.ledger);
    for (marks, reading, what) in [
        (lost, original, "was denied and is now asserted"),
        (gained, candidate, "was asserted and is now denied"),
    ] {
        found.extend(marks.into_iter().map(|mark: &Mark| {
            let (a, b) = (mark.token.min(mark.denied), mark.token.max(mark.denied));
            let text = &reading.text[reading.tokens[a].start..reading.tokens[b].end()];
            GuardViolation {
                kind: GuardKind::Negation,
                detail: format!("\"{}\": what {what}", shown(text)),
            }
        }));
    }
}

fn quotations(original: &Reading<'_>, candidate: &Reading<'_>, found: &mut Vec<GuardViolation>) {
    for (from, to, what) in [
        (original, candidate, "is missing or changed"),
        (candidate, original, "is not in the original"),
    ] {
        for range in &from.quotations {
            if !to.runs().contain(from.slice(range)) {
                found.push(violation(
                    GuardKind::Quotation,
                    from.text[range.clone()].trim(),
                    what,
                ));
            }
        }
    }
}

fn literals(original: &Reading<'_>, candidate: &Reading<'_>, found: &mut Vec<GuardViolation>) {
    let all = |reading: &Reading<'_>| -> HashSet<String> {
        reading
            .literals
            .iter()
            .map(|l| literal_key(&reading.text[l.range.clone()], l.kind))
            .collect()
    };
    for (from, to, what) in [
        (original, all(candidate), "is missing or changed"),
        (candidate, all(original), "is not in the original"),
    ] {
        let mut told = HashSet::new();
        for literal in &from.literals {
            let text = &from.text[literal.range.clone()];
            let key = literal_key(text, literal.kind);
            if !to.contains(&key) && told.insert(key) {
                found.push(violation(literal.kind, text, what));
            }
        }
    }
}

/// Code as written; addresses without case, since hosts have none and a wrong path is still a different word.
fn literal_key(text: &str, kind: GuardKind) -> String {
    if kind == GuardKind::Code {
        text.trim().to_owned()
    } else {
        text.to_lowercase()
    }
}

fn violation(kind: GuardKind, text: &str, what: &str) -> GuardViolation {
    GuardViolation {
        kind,
        detail: format!("the {} \"{}\" {what}", kind.name(), shown(text)),
    }
}

/// At most 80 characters on one line.
fn shown(text: &str) -> String {
    let mut short: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = short.char_indices().nth(80) {
        short.truncate(cut);
        short.push('…');
    }
    short
}
