//! The Score of a rewrite: value precision, consistency both ways, guards, and their combination.
//!
//! Everything here is a pure function of texts and numbers. Profiles come from a detector and entailment probabilities
//! from a consistency model, both elsewhere; the [`guards`] are rules and need no model. This crate generates nothing
//! and reads no file.

mod calendar;
pub mod cases;
mod combine;
mod error;
mod guard;
mod lexicon;
mod literal;
mod name;
mod negation;
mod number;
mod sentence;
mod token;
mod units;
mod verdict;
mod window;

pub use combine::{Consistency, Score, ValueScore, Weights, score};
pub use error::ScoreError;
pub use guard::{GuardKind, GuardViolation, Original, Protected, guards, protected_spans};
pub use sentence::sentences;
pub use verdict::{Acceptance, Verdict};
pub use window::{Question, questions, windows};
