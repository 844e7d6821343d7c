//! Value-bearing clauses that follow an ordinary sentence, for the embedded rewriter.
//!
//! The clause heads are written by hand (`data/clauses.toml`), with alternatives inside them; this
//! module expands them, fits them to the kind of sentence before (an order, somebody who acts, a
//! thing; past or not) and pairs them with stems of our own or of the caller. A mild clause shifts
//! its value by ±0.4, a strong one by ±0.8, two clauses in a row by the sum over both values.
//! It does not judge whether clause and stem fit in meaning: the heads are written to fit widely.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use visa_values::NAMES;

use super::ShiftArray;
use super::inflect::article;
use super::phrases::pick;
use super::stem::{Stem, StemKind};

/// What a mild clause moves: level 1 of the rewriter's control tokens.
pub const MILD: f32 = 0.4;
/// What a strong clause moves: level 2.
pub const STRONG: f32 = 0.8;

/// A sentence taken apart: what is kept, the clause that speaks a value, and the end mark.
#[derive(Clone, Debug, PartialEq)]
pub struct ClauseExample {
    /// Up to two preceding sentences; may be empty.
    pub context: String,
    /// The sentence without its final punctuation.
    pub stem: String,
    /// The clause with its leading "," or " ".
    pub clause: String,
    /// The final punctuation.
    pub terminator: String,
    /// The shift that the clause causes, circle order, each in −1..=1.
    pub shift: ShiftArray,
}

/// Which sentences a head may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Any,
    /// Purposes and manners want somebody who acts.
    Acting,
    /// Remarks on what was said ("which …") want a statement.
    Statement,
}

#[derive(Clone, Debug)]
struct Head {
    fits: Fits,
    strong: bool,
    pattern: String,
}

#[derive(Deserialize)]
struct HeadList {
    heads: String,
}

/// `[value][0 embraced, 1 turned down]`
static HEADS: LazyLock<Vec<[Vec<Head>; 2]>> = LazyLock::new(|| {
    let file: BTreeMap<String, BTreeMap<String, HeadList>> =
        toml::from_str(include_str!("data/clauses.toml")).expect("data/clauses.toml parses");
    let read = |name: &str, polarity: &str| {
        file[name][polarity]
            .heads
            .lines()
            .filter(|l| !l.trim().is_empty())
            .map(head)
            .collect()
    };
    NAMES
        .iter()
        .map(|name| ["plus", "minus"].map(|polarity| read(name, polarity)))
        .collect()
});

fn head(line: &str) -> Head {
    let mut head = Head {
        fits: Fits::Any,
        strong: false,
        pattern: String::new(),
    };
    let mut rest = line.trim();
    loop {
        match rest.as_bytes().first() {
            Some(b'!') => head.strong = true,
            Some(b'@') => head.fits = Fits::Acting,
            Some(b'%') => head.fits = Fits::Statement,
            _ => break,
        }
        rest = rest[1..].trim_start();
    }
    // Purposes and manners want somebody who acts, also after a comma; "which …" comments on a
    // statement, and after an order it has nothing to comment on.
    const PURPOSES: [&str; 10] = [
        ", to ",
        ", so as ",
        ", at all ",
        ", in strict",
        ", in full",
        ", in open",
        ", in total",
        ", rather than",
        ", out of ",
        ", for the greatest",
    ];
    if PURPOSES.iter().any(|lead| rest.starts_with(lead)) {
        head.fits = Fits::Acting;
    } else if rest.starts_with(", which ") || rest.starts_with(", and that ") {
        head.fits = Fits::Statement;
    }
    head.pattern = rest.to_owned();
    head
}

/// A source of clause examples over our own stems and, where given, the caller's.
pub struct Clauses {
    seed: u64,
    stems: Vec<Stem>,
    own: usize,
}

impl Clauses {
    /// A generator over the committed stems.
    pub fn new(seed: u64) -> Self {
        let stems = super::stem::committed();
        let own = stems.len();
        Self { seed, stems, own }
    }

    /// Adds external stems: pairs of (context, whole sentence with its final punctuation).
    /// Questions and sentences that cannot carry a clause (too short or long, already with a
    /// reason, unbalanced quotation marks or brackets) are skipped. Where there are external
    /// stems, four fifths of the examples use them.
    pub fn with_stems(mut self, stems: impl IntoIterator<Item = (String, String)>) -> Self {
        self.stems.extend(
            stems
                .into_iter()
                .filter_map(|(context, sentence)| Stem::read(&context, &sentence)),
        );
        self
    }

    /// How many stems there are, the committed ones first.
    pub fn stem_count(&self) -> usize {
        self.stems.len()
    }

    /// `count` examples without repeats of stem and clause together. About 4 % have no clause and
    /// no shift, about 12 % speak two values.
    ///
    /// It may return fewer when `count` exceeds what stems and heads can combine to.
    pub fn generate(&self, count: usize) -> Vec<ClauseExample> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(20) {
            if found.len() == count {
                break;
            }
            let example = self.example(&mut rng);
            if seen.insert((example.stem.clone(), example.clause.clone())) {
                found.push(example);
            }
        }
        found
    }

    /// Pairs of clauses for one stem: the first turns a value down, the second embraces it as strongly. The design is
    /// ConVA's (arXiv 2507.11316): the same opening, and only the value differs.
    pub fn contrasts(&self, count: usize) -> Vec<[ClauseExample; 2]> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x636f_6e74);
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(20) {
            if found.len() == count {
                break;
            }
            let stem = self.stem(&mut rng);
            let (value, strong) = (rng.random_range(0..10), rng.random_bool(0.4));
            let context = stem.context(&mut rng);
            let pair = [true, false].map(|minus| {
                let mut shift = [0.0; 10];
                let clause = polar(value, (minus, strong), &mut shift, stem, &mut rng);
                ClauseExample {
                    context: context.clone(),
                    stem: stem.text.clone(),
                    clause,
                    terminator: stem.terminator.clone(),
                    shift,
                }
            });
            if seen.insert((
                stem.text.clone(),
                pair[0].clause.clone(),
                pair[1].clause.clone(),
            )) {
                found.push(pair);
            }
        }
        found
    }

    fn stem<R: Rng>(&self, rng: &mut R) -> &Stem {
        let external = self.stems.len() > self.own && rng.random_bool(0.8);
        let range = if external {
            self.own..self.stems.len()
        } else {
            0..self.own
        };
        &self.stems[rng.random_range(range)]
    }

    fn example<R: Rng>(&self, rng: &mut R) -> ClauseExample {
        let stem = self.stem(rng);
        let mut shift = [0.0; 10];
        let mut clause = String::new();
        if !rng.random_bool(0.04) {
            let value = rng.random_range(0..10);
            clause = draw(value, &mut shift, stem, rng);
            if rng.random_bool(0.12) {
                let second = (value + rng.random_range(1..10)) % 10;
                let more = draw(second, &mut shift, stem, rng);
                match joined(&clause, &more) {
                    Some(both) => clause = both,
                    None => shift[second] = 0.0,
                }
            }
        }
        ClauseExample {
            context: stem.context(rng),
            stem: stem.text.clone(),
            clause,
            terminator: stem.terminator.clone(),
            shift,
        }
    }
}

/// Two clauses in a row read well when the first is short and their connectives differ.
fn joined(first: &str, second: &str) -> Option<String> {
    let lead = |clause: &str| {
        clause
            .trim_start_matches([',', ' '])
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let short = |clause: &str| clause.split_whitespace().count() <= 9;
    let finite = ["because", "since", "for", "as", "so", "and"];
    let (a, b) = (lead(first), lead(second));
    let clash = a == b || (finite.contains(&a.as_str()) && finite.contains(&b.as_str()));
    (short(first) && short(second) && second.starts_with(',') && !clash)
        .then(|| format!("{first}{second}"))
}

/// A clause for one value and random polarity that fits the stem; records what it shifts.
fn draw<R: Rng>(value: usize, shift: &mut ShiftArray, stem: &Stem, rng: &mut R) -> String {
    let minus = rng.random_bool(0.4);
    let strong = rng.random_bool(0.4);
    polar(value, (minus, strong), shift, stem, rng)
}

/// The same for a given polarity and strength.
fn polar<R: Rng>(
    value: usize,
    (minus, strong): (bool, bool),
    shift: &mut ShiftArray,
    stem: &Stem,
    rng: &mut R,
) -> String {
    let heads: Vec<&Head> = HEADS[value][usize::from(minus)]
        .iter()
        .filter(|h| h.strong == strong && fits(h.fits, stem.kind))
        .collect();
    let head = pick(&heads, rng);
    let size = if strong { STRONG } else { MILD };
    shift[value] = if minus { -size } else { size };
    led(articles(&expand(&head.pattern, stem.past, rng)))
}

/// Any clause that can follow a statement, whatever value it speaks.
pub(super) fn any_clause<R: Rng>(rng: &mut R) -> String {
    let heads = &HEADS[rng.random_range(0..10)][rng.random_range(0..2)];
    let fitting: Vec<&Head> = heads.iter().filter(|h| h.fits == Fits::Any).collect();
    led(articles(&expand(&pick(&fitting, rng).pattern, false, rng)))
}

/// A clause begins with its comma or with a blank.
fn led(clause: String) -> String {
    if clause.starts_with(',') {
        clause
    } else {
        format!(" {clause}")
    }
}

fn fits(fits: Fits, kind: StemKind) -> bool {
    match fits {
        Fits::Any => true,
        Fits::Acting => matches!(kind, StemKind::Order | StemKind::Acting),
        Fits::Statement => kind != StemKind::Order,
    }
}

/// Chooses among "{a|b}" and takes "<present/past>" by tense.
fn expand<R: Rng>(pattern: &str, past: bool, rng: &mut R) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '<']) {
        out.push_str(&rest[..at]);
        let braces = rest.as_bytes()[at] == b'{';
        let end = at
            + rest[at..]
                .find(if braces { '}' } else { '>' })
                .expect("clause heads close what they open");
        let inner = &rest[at + 1..end];
        if braces {
            let options: Vec<&str> = inner.split('|').collect();
            let option = pick(&options, rng);
            out.push_str(&expand(option, past, rng));
        } else {
            let (present, before) = inner.split_once('/').expect("tense pairs have a stroke");
            out.push_str(if past { before } else { present });
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

/// "a orderly street" → "an orderly street": the alternatives do not know what stands before them.
fn articles(clause: &str) -> String {
    let words: Vec<&str> = clause.split(' ').collect();
    let fixed = words
        .iter()
        .enumerate()
        .map(|(i, word)| match (*word, words.get(i + 1)) {
            ("a" | "an", Some(next)) => article(next),
            _ => word,
        });
    fixed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "clauses/tests.rs"]
mod tests;
