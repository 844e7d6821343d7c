//! DPO (arXiv 2305.18290) and SimPO (arXiv 2405.14734): which of two answers is better, learned without a reward model.
//!
//! With `C` and `R` the sums of the log-probabilities of the chosen and the rejected answer, `c` and `r` their means a
//! token, and `₀` marking the reference:
//!
//! ```text
//! DPO     margin = β·((C − C₀) − (R − R₀))
//! SimPO   margin = β·(c − r) − γ
//! loss = −log σ(margin), a mean over pairs
//! ```
//!
//! SimPO needs no reference, and its means keep long answers from being preferred for their length.

use serde::{Deserialize, Serialize};

use super::{Objective, check_lens, check_tokens, log_sigmoid, sigmoid};
use crate::{Error, Result};

/// Which loss, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "lowercase", deny_unknown_fields)]
pub enum Preference {
    /// Direct preference optimisation.
    Dpo {
        /// How strongly the reference holds the policy.
        beta: f64,
    },
    /// Simple preference optimisation.
    Simpo {
        /// Scale of the mean log-probability.
        beta: f64,
        /// By how much the chosen answer should lead.
        gamma: f64,
    },
}

impl Preference {
    /// As the paper and TRL start.
    pub const DPO: Self = Self::Dpo { beta: 0.1 };
    /// The paper's setting for instruction-tuned models: β 2.5, γ/β 0.55.
    pub const SIMPO: Self = Self::Simpo {
        beta: 2.5,
        gamma: 1.375,
    };

    fn beta(self) -> f64 {
        match self {
            Self::Dpo { beta } | Self::Simpo { beta, .. } => beta,
        }
    }

    fn check(self) -> Result<()> {
        let beta = self.beta();
        if !(beta.is_finite() && beta > 0.0) {
            return Err(Error::Input(format!(
                "beta is {beta}; give a number above 0"
            )));
        }
        match self {
            Self::Simpo { gamma, .. } if !(gamma.is_finite() && gamma >= 0.0) => Err(Error::Input(
                format!("gamma is {gamma}; give a number of at least 0"),
            )),
            _ => Ok(()),
        }
    }
}

/// Pairs of answers: chosen, rejected, chosen, rejected …, tokens one answer after the other.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// Tokens of each answer, an even number of them.
    pub lens: &'a [usize],
    /// Log-probabilities now, in nats.
    pub logprobs: &'a [f32],
    /// Under the reference; DPO needs them, SimPO has no use for them.
    pub reference: Option<&'a [f32]>,
}

/// The loss of pairs, which are all of a batch of `whole` pairs or a part of it: the losses and gradients of parts add
/// up.
///
/// # Errors
/// Numbers of another count than the tokens, numbers that are not finite, a missing reference, an answer without its
/// other, settings out of range.
pub fn loss(pairs: &Pairs<'_>, whole: usize, preference: Preference) -> Result<Objective> {
    preference.check()?;
    let Pairs {
        lens,
        logprobs,
        reference,
    } = *pairs;
    check_lens(lens)?;
    check_tokens("the log-probability", logprobs, lens)?;
    if !lens.len().is_multiple_of(2) || lens.len() / 2 > whole {
        return Err(Error::Input(format!(
            "{} answers are not the pairs of a batch of {whole}; give chosen and rejected in turn, and count the whole batch",
            lens.len()
        )));
    }
    let reference = match (preference, reference) {
        (Preference::Dpo { .. }, None) => {
            return Err(Error::Input(
                "dpo compares with a reference; give its log-probabilities, or take simpo".into(),
            ));
        }
        (Preference::Dpo { .. }, Some(reference)) => {
            check_tokens("the reference's log-probability", reference, lens)?;
            Some(reference)
        }
        (Preference::Simpo { .. }, _) => None,
    };

    let mut gradient = vec![0f32; logprobs.len()];
    let mut sums = Sums::default();
    let mut at = 0;
    for pair in lens.chunks_exact(2) {
        let answers = [at..at + pair[0], at + pair[0]..at + pair[0] + pair[1]];
        at += pair[0] + pair[1];
        // The reward that an answer has implicitly, and its slope by each of its tokens.
        let [chosen, rejected] = answers.clone().map(|tokens| {
            let len = tokens.len() as f64;
            let sum: f64 = tokens
                .map(|t| f64::from(logprobs[t]) - reference.map_or(0.0, |r| f64::from(r[t])))
                .sum();
            match preference {
                Preference::Dpo { beta } => (beta * sum, beta),
                Preference::Simpo { beta, .. } => (beta * sum / len, beta / len),
            }
        });
        let gamma = match preference {
            Preference::Dpo { .. } => 0.0,
            Preference::Simpo { gamma, .. } => gamma,
        };
        let margin = chosen.0 - rejected.0 - gamma;
        let pull = sigmoid(-margin) / whole as f64;
        let [chosen_tokens, rejected_tokens] = answers;
        gradient[chosen_tokens].fill((-pull * chosen.1) as f32);
        gradient[rejected_tokens].fill((pull * rejected.1) as f32);
        sums.add(-log_sigmoid(margin) / whole as f64, chosen.0, rejected.0);
    }
    Ok(sums.objective(gradient))
}

#[derive(Default)]
struct Sums {
    loss: f64,
    pairs: f64,
    chosen: f64,
    rejected: f64,
    right: f64,
}

impl Sums {
    fn add(&mut self, loss: f64, chosen: f64, rejected: f64) {
        self.loss += loss;
        self.pairs += 1.0;
        self.chosen += chosen;
        self.rejected += rejected;
        self.right += f64::from(u8::from(chosen > rejected));
    }

    fn objective(self, gradient: Vec<f32>) -> Objective {
        let mean = |name: &str, sum: f64| (name.to_owned(), sum / self.pairs);
        Objective {
            loss: self.loss,
            gradient,
            metrics: vec![
                mean("rewards/chosen", self.chosen),
                mean("rewards/rejected", self.rejected),
                mean("rewards/accuracies", self.right),
                mean("rewards/margins", self.chosen - self.rejected),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENS: [usize; 4] = [2, 1, 1, 3];
    const LOGPROBS: [f32; 7] = [-1.0, -0.5, -2.0, -0.75, -1.5, -0.25, -0.5];
    const REFERENCE: [f32; 7] = [-1.25, -0.5, -1.5, -1.0, -1.25, -0.5, -0.5];

    fn pairs<'a>(logprobs: &'a [f32], reference: Option<&'a [f32]>) -> Pairs<'a> {
        Pairs {
            lens: &LENS,
            logprobs,
            reference,
        }
    }

    #[test]
    fn by_hand() {
        let check = |preference, margins: [f64; 2], accuracy: f64| {
            let found = loss(&pairs(&LOGPROBS, Some(&REFERENCE)), 2, preference).unwrap();
            let expected = margins.map(|m| (1.0 + (-m).exp()).ln());
            let expected = (expected[0] + expected[1]) / 2.0;
            assert!((found.loss - expected).abs() < 1e-12, "{preference:?}");
            assert_eq!(
                found.metrics[2],
                ("rewards/accuracies".to_owned(), accuracy)
            );
        };
        // Log-ratios of the answers: .25, −.5, .25, 0.
        check(Preference::Dpo { beta: 2.0 }, [1.5, 0.5], 1.0);
        // Means: −.75, −2, −.75, −.75.
        check(
            Preference::Simpo {
                beta: 2.0,
                gamma: 0.5,
            },
            [2.0, -0.5],
            0.5,
        );
    }

    #[test]
    fn no_movement_is_log_two() {
        let found = loss(&pairs(&LOGPROBS, Some(&LOGPROBS)), 2, Preference::DPO).unwrap();
        assert!((found.loss - 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_the_loss_by_each_log_probability() {
        for preference in [
            Preference::DPO,
            Preference::Dpo { beta: 1.5 },
            Preference::SIMPO,
        ] {
            let value =
                |logprobs: &[f32]| loss(&pairs(logprobs, Some(&REFERENCE)), 2, preference).unwrap();
            let gradient = value(&LOGPROBS).gradient;
            let h = 1.0 / 512.0;
            for (t, found) in gradient.into_iter().enumerate() {
                let shifted = |by: f32| {
                    let mut logprobs = LOGPROBS;
                    logprobs[t] += by;
                    value(&logprobs).loss
                };
                let expected = (shifted(h) - shifted(-h)) / (2.0 * f64::from(h));
                let found = f64::from(found);
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{preference:?} token {t}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let run = |lens: &[usize], tokens: std::ops::Range<usize>| {
            let pairs = Pairs {
                lens,
                logprobs: &LOGPROBS[tokens.clone()],
                reference: Some(&REFERENCE[tokens]),
            };
            loss(&pairs, 2, Preference::DPO).unwrap()
        };
        let (all, first, rest) = (
            run(&LENS, 0..7),
            run(&LENS[..2], 0..3),
            run(&LENS[2..], 3..7),
        );
        assert!((all.loss - first.loss - rest.loss).abs() < 1e-15);
        assert_eq!(all.gradient, [first.gradient, rest.gradient].concat());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |pairs: &Pairs<'_>, whole, preference, part: &str| {
            let error = loss(pairs, whole, preference).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        };
        let good = pairs(&LOGPROBS, Some(&REFERENCE));
        refused(&pairs(&LOGPROBS, None), 2, Preference::DPO, "reference");
        refused(
            &pairs(&LOGPROBS[..6], None),
            2,
            Preference::SIMPO,
            "6 numbers for 7",
        );
        refused(&good, 1, Preference::DPO, "batch of 1");
        let odd = Pairs {
            lens: &[2, 1, 4],
            ..good
        };
        refused(&odd, 2, Preference::DPO, "3 answers");
        refused(&good, 2, Preference::Dpo { beta: 0.0 }, "beta is 0");
        refused(
            &good,
            2,
            Preference::Simpo {
                beta: 1.0,
                gamma: -1.0,
            },
            "gamma",
        );
    }
}
