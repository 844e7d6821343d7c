//! Losses of reinforcement learning and of preferences, as pure functions of log-probabilities.
//!
//! | module | what |
//! | --- | --- |
//! | [`advantage`] | rewards of groups to advantages |
//! | [`policy`] | GRPO: the clipped surrogate with a divergence from a reference |
//! | [`preference`] | DPO and SimPO on pairs |
//! | [`overlong`] | what happens to completions that were cut off or nearly so |
//!
//! Everything works on slices: log-probabilities of tokens, sequence after sequence, in the order in which
//! [`visa_nn::Decoder::group_logprobs`] gives them. A loss answers its value *and its derivative by each
//! log-probability*, computed in closed form and double precision. That is one representation for every backward
//! pass: on candle's tape, `Σ derivative · log-probability` has exactly the loss's gradient (see [`surrogate`]); a
//! fused head takes the derivatives as the weights of its rows; and tests need neither a model nor a tape. The losses
//! touch one number a token, so nothing is gained by running them on tensors.
//!
//! Nothing here draws, scores or updates.

pub mod advantage;
pub mod overlong;
pub mod policy;
pub mod preference;

use candle_core::Tensor;

use crate::trainer::Metrics;
use crate::{Error, Result};

/// A loss and its derivatives.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The value that is minimised.
    pub loss: f64,
    /// Its derivative by the log-probability of each token, in the order of the tokens.
    pub gradient: Vec<f32>,
    /// What a training log shows, under the names that TRL uses.
    pub metrics: Metrics,
}

/// A scalar whose backward pass is that of the objective: `Σ gradient · logprobs`. Its value means nothing.
pub fn surrogate(logprobs: &Tensor, gradient: &[f32]) -> Result<Tensor> {
    let weights = Tensor::from_slice(gradient, gradient.len(), logprobs.device())?;
    Ok((logprobs * weights)?.sum_all()?)
}

/// Refuses numbers that do not belong to the tokens of `lens`; `what` names them.
fn check_tokens(what: &str, values: &[f32], lens: &[usize]) -> Result<()> {
    let expected: usize = lens.iter().sum();
    if values.len() != expected {
        return Err(Error::Input(format!(
            "{what} has {} numbers for {expected} tokens; give one a token",
            values.len()
        )));
    }
    if let Some(i) = values.iter().position(|x| !x.is_finite()) {
        return Err(Error::Input(format!(
            "{what} is {} at token {i}; the model that gave it is broken, lower the learning rate",
            values[i]
        )));
    }
    Ok(())
}

/// Refuses sequences without a token, as a mean over them has no value.
fn check_lens(lens: &[usize]) -> Result<()> {
    match lens.iter().position(|len| *len == 0) {
        _ if lens.is_empty() => Err(Error::Input(
            "there is no sequence to learn from; give at least one".into(),
        )),
        Some(i) => Err(Error::Input(format!(
            "sequence {i} has no token; leave it out"
        ))),
        None => Ok(()),
    }
}

/// `log σ(x)` without overflow.
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// `σ(x)`.
fn sigmoid(x: f64) -> f64 {
    log_sigmoid(x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surrogate_has_the_gradient() {
        let var =
            candle_core::Var::from_slice(&[-0.5f32, -1.0, -2.0], 3, &candle_core::Device::Cpu)
                .unwrap();
        let gradient = [0.25, -1.5, 0.0];
        // Through a square, so that the chain rule has something to do.
        let loss = surrogate(&var.sqr().unwrap(), &gradient).unwrap();
        let grads = loss.backward().unwrap();
        let grad = grads.get(&var).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(grad, [-0.25, 3.0, 0.0]);
    }

    #[test]
    fn sigmoids_do_not_overflow() {
        for (x, expected) in [(0.0, -(2f64.ln())), (800.0, 0.0), (-800.0, -800.0)] {
            assert_eq!(log_sigmoid(x), expected);
        }
        assert!((sigmoid(1.0) - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-15);
    }
}
