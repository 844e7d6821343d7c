//! Sentence pairs for the bidirectional consistency checker.

/// Whether the premise entails the hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NliLabel {
    /// The hypothesis follows.
    Entailment,
    /// It neither follows nor conflicts.
    Neutral,
    /// It conflicts.
    Contradiction,
}

/// One directed pair.
#[derive(Clone, Debug, PartialEq)]
pub struct NliExample {
    /// What is given.
    pub premise: String,
    /// What is claimed.
    pub hypothesis: String,
    /// The relation.
    pub label: NliLabel,
    /// The rule that made the pair, for analysis.
    pub kind: &'static str,
}

/// Up to `count` pairs, balanced over the labels, made from running `texts` (one paragraph each)
/// and from `splits` (a sentence, and the two or more sentences that say the same).
pub fn nli(
    seed: u64,
    count: usize,
    texts: impl IntoIterator<Item = String>,
    splits: impl IntoIterator<Item = (String, String)>,
) -> Vec<NliExample> {
    let _ = (
        seed,
        count,
        texts.into_iter().count(),
        splits.into_iter().count(),
    );
    todo!()
}
