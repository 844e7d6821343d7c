//! The edits: each takes a sentence and says what became of it and of entailment.

mod against;
mod less;
mod same;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::edit::Edit;
use crate::generate::clauses;
use crate::generate::phrases::pick;

use against::{antonym, name, negate, number};
use less::{conjunct, drop_adjective, drop_clause, hypernym, weaken};
use same::{case, contraction, reorder, synonym};

pub(super) use less::reason;

type Rule = fn(&str, &mut ChaCha8Rng) -> Option<Edit>;

/// Lets the generic caller use plain function pointers: the rules draw from a generator of their
/// own, seeded by the caller's.
pub(super) struct Draw(Rule);

impl Draw {
    pub(super) fn call<R: Rng>(&self, sentence: &str, rng: &mut R) -> Option<Edit> {
        use rand::SeedableRng;
        (self.0)(sentence, &mut ChaCha8Rng::seed_from_u64(rng.random()))
    }
}

/// Every rule that edits one sentence.
pub(super) static RULES: [Draw; 16] = [
    Draw(synonym),
    Draw(contraction),
    Draw(reorder),
    Draw(case),
    Draw(drop_clause),
    Draw(drop_adjective),
    Draw(hypernym),
    Draw(weaken),
    Draw(negate),
    Draw(negate),
    Draw(antonym),
    Draw(antonym),
    Draw(number),
    Draw(number),
    Draw(name),
    Draw(conjunct),
];

/// One meaning-keeping change, for chains of them.
pub(super) fn reworded<R: Rng>(sentence: &str, rng: &mut R) -> Option<String> {
    let rule = pick(&[0, 0, 1, 2, 3], rng);
    RULES[*rule].call(sentence, rng).map(|edit| edit.text)
}

/// The sentence with another clause before its full stop.
pub(super) fn append(sentence: &str, clause: &str) -> Option<String> {
    let body = sentence.strip_suffix('.')?;
    Some(format!("{body}{clause}."))
}

/// A clause of the kind that our own rewriter adds.
pub(super) fn value_clause<R: Rng>(rng: &mut R) -> String {
    clauses::any_clause(rng)
}
