//! The seams of the loop: what proposes rewrites, what reads values, what judges consistency and sense.
//!
//! Small traits, so that the loop can be tested without a model and other models can take a place. They hold no
//! logic.

use std::sync::Arc;

use visa_score::Consistency;
use visa_values::{Profile, Target};

use crate::acts::Acts;
use crate::detector::Text;
use crate::error::Result;

/// What a backend is asked for in one round.
#[derive(Clone, Debug)]
pub struct Proposal<'a> {
    /// The text to rewrite, as the caller gave it.
    pub text: &'a str,
    /// What the text answers, if known.
    pub query: Option<&'a str>,
    /// The profile of the text.
    pub before: &'a Profile,
    /// The profile wanted.
    pub target: &'a Target,
    /// Target minus the profile of the best candidate so far (of the text itself in the first round); circle order,
    /// each in −2..=2.
    pub gap: [f32; 10],
    /// The best candidate so far, none in the first round.
    pub best: Option<&'a str>,
    /// The round, from 0.
    pub round: usize,
    /// How many candidates are wanted; a backend may give fewer.
    pub n: usize,
    /// Seed of this round: the same proposal with the same seed gives the same candidates where the backend can.
    pub seed: u64,
}

/// Proposes rewrites of a text.
pub trait Backend {
    /// Up to `n` candidates, each a whole text. Candidates are judged by the caller; an empty list means that the
    /// backend sees nothing it could change.
    ///
    /// # Errors
    /// Whatever kept the backend from answering at all.
    fn propose(&mut self, proposal: &Proposal<'_>) -> Result<Vec<String>>;

    /// A short name for reports.
    fn name(&self) -> String;
}

/// Reads the values of texts.
pub trait Values {
    /// One profile a text, in order.
    ///
    /// # Errors
    /// A model failure or an unusable text.
    fn profiles(&self, texts: &[Text]) -> Result<Vec<Profile>>;
}

/// Judges what sentences do and whether clauses belong where they stand.
pub trait Sensible: std::fmt::Debug + Send + Sync {
    /// For each text up to the end of a stem the acts that its last sentence may perform, in order; none where no remark suits.
    ///
    /// # Errors
    /// A model failure.
    fn acts(&self, before: &[&str]) -> Result<Vec<Acts>>;

    /// For each text up to the end of a stem, with a clause behind it, the log-odds that the clause belongs there, in order.
    ///
    /// # Errors
    /// A model failure.
    fn sense(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>>;

    /// What texts are about: for each a vector of length 1, in order. Those of texts about like things have a large product.
    ///
    /// # Errors
    /// A model failure.
    fn about(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>>;
}

/// Judges whether two texts say the same.
pub trait Consistent {
    /// One judgement a pair (original, candidate), in order.
    ///
    /// # Errors
    /// A model failure or an unusable text.
    fn consistency(&self, pairs: &[(&str, &str)]) -> Result<Vec<Consistency>>;
}
