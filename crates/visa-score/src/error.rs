//! Why a score could not be computed.

use thiserror::Error;

/// A score is finite or one of these.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// A consistency is no probability.
    #[error("{direction} consistency is {got}; entailment probabilities lie between 0 and 1")]
    Consistency {
        /// `forward` or `backward`.
        direction: &'static str,
        /// The number given.
        got: f32,
    },
    /// A weight cannot be used.
    #[error("{name} of the score is {got}; give {wanted}")]
    Weight {
        /// `weight value`, `weight consistency` or `gate`.
        name: &'static str,
        /// The number given.
        got: f32,
        /// What to give instead.
        wanted: &'static str,
    },
}
