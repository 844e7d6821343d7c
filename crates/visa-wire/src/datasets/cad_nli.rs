//! The NLI part of the counterfactually augmented data: sentence pairs with one of three relations.

use super::{Format, Result};

/// What the first sentence says about the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The second follows.
    Entailment,
    /// It neither follows nor conflicts.
    Neutral,
    /// It conflicts.
    Contradiction,
}

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What is given.
    pub premise: String,
    /// What is claimed.
    pub hypothesis: String,
    /// The relation.
    pub relation: Relation,
}

/// Reads `NLI/*/{train,dev,test}.tsv`.
///
/// # Errors
/// The line that is not a pair.
pub fn pairs(text: &str) -> Result<Vec<Pair>> {
    let relations = [
        ("entailment", Relation::Entailment),
        ("neutral", Relation::Neutral),
        ("contradiction", Relation::Contradiction),
    ];
    Format::tsv("counterfactually-augmented-data").table(text, |row| {
        Ok(Pair {
            premise: row.text("sentence1")?,
            hypothesis: row.text("sentence2")?,
            relation: row.one_of("gold_label", &relations)?,
        })
    })
}
