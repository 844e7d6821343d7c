//! A linear head and its cross-entropy in one, without all the logits.
//!
//! ```text
//! l = h · wᵀ      loss = log Σ_j e^(l_j) − l_target
//! dl = g · (softmax(l) − onehot(target))      dh = dl · w      dw = dlᵀ · h
//! ```
//!
//! The cross-entropy of a token is its negative log-probability:
//! [`crate::log_probability`] is the same for reinforcement learning.

pub use crate::head::{Gradients, Weight};
use crate::log_probability::{self, Outputs, Upstream};
use crate::matmul::{Compute, Sizes};

/// Writes the losses in nats and, for the backward pass, the logarithms of the
/// sums; `h [m, k]`, `w [n, k]`, `targets, losses, lse [m]`, each target below `n`.
pub fn forward(
    h: &[f32],
    w: &[f32],
    targets: &[u32],
    s: Sizes,
    compute: Compute,
    losses: &mut [f32],
    lse: &mut [f32],
) {
    let to = Outputs {
        log_p: losses,
        lse,
        entropy: None,
    };
    log_probability::forward(h, Weight::Plain(w), targets, s, compute, to);
    for loss in losses {
        *loss = -*loss;
    }
}

/// Gradients for the gradient `g [m]` of each loss. Rows with `g = 0` (prompts,
/// padding) are left out altogether.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    h: &[f32],
    w: &[f32],
    targets: &[u32],
    lse: &[f32],
    g: &[f32],
    s: Sizes,
    compute: Compute,
    to: Gradients<'_>,
) {
    let minus: Vec<f32> = g.iter().map(|g| -g).collect();
    let upstream = Upstream {
        log_p: &minus,
        entropy: None,
    };
    log_probability::backward(h, Weight::Plain(w), targets, lse, upstream, s, compute, to);
}
