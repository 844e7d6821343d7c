//! A linear head and the log-probability of given tokens in one, without all
//! the logits: what reinforcement learning wants of a language model.
//!
//! ```text
//! l = h · wᵀ      p = softmax(l)      log p_t = l_t − log Σ_j e^(l_j)
//! H = −Σ_j p_j log p_j = log Σ_j e^(l_j) − Σ_j p_j l_j
//! dl = g · (onehot(t) − p) − e · p ∘ (log p + H)      dh = dl · w      dw = dlᵀ · h
//! ```
//!
//! `g` and `e` are the upstream gradients of `log p_t` and of the entropy `H`.

use crate::buffer::Shared;
use crate::element::Element;
use crate::head::{self, Rows, Slope, log_sum};
pub use crate::head::{Gradients, Weight};
use crate::matmul::{Compute, Sizes};

/// Where results go, each `[m]`.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// Log-probability of the token, in nats.
    pub log_p: &'a mut [f32],
    /// Logarithm of the sum of exponentials, for the backward pass.
    pub lse: &'a mut [f32],
    /// Entropy of the distribution in nats, if wanted.
    pub entropy: Option<&'a mut [f32]>,
}

/// Log-probabilities of `tokens [m]`, each below `n`, for `h [m, k]`.
pub fn forward<H: Element>(
    h: &[H],
    w: Weight<'_>,
    tokens: &[u32],
    s: Sizes,
    compute: Compute,
    to: Outputs<'_>,
) {
    check(h.len(), w, tokens, s);
    assert!(to.log_p.len() == s.m && to.lse.len() == s.m);
    assert!(to.entropy.as_ref().is_none_or(|e| e.len() == s.m));
    let (log_p, lse) = (Shared::new(to.log_p), Shared::new(to.lse));
    let entropy = to.entropy.map(Shared::new);
    head::each_row(h, w, s, compute, |i, logits| {
        let (log, mean) = log_sum(logits, entropy.is_some());
        // SAFETY: each row has a place of its own, inside slices of `m`.
        unsafe {
            *lse.get().add(i) = log;
            *log_p.get().add(i) = logits[tokens[i] as usize] - log;
            if let Some(entropy) = entropy {
                *entropy.get().add(i) = log - mean;
            }
        }
    });
}

fn check(h: usize, w: Weight<'_>, tokens: &[u32], s: Sizes) {
    w.check(s);
    assert!(h == s.m * s.k && tokens.len() == s.m && s.n > 0);
    assert!(
        tokens.iter().all(|t| (*t as usize) < s.n),
        "each token is below {}",
        s.n
    );
}

/// Gradients of the results of [`forward`], each `[m]`.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// Of the log-probabilities.
    pub log_p: &'a [f32],
    /// Of the entropies, if there is one, and the entropies themselves.
    pub entropy: Option<(&'a [f32], &'a [f32])>,
}

/// Gradients of `h` and `w`; `lse` is [`forward`]'s. Rows without upstream
/// gradient (prompts, padding) are left out altogether.
#[allow(clippy::too_many_arguments)]
pub fn backward<H: Element>(
    h: &[H],
    w: Weight<'_>,
    tokens: &[u32],
    lse: &[f32],
    upstream: Upstream<'_>,
    s: Sizes,
    compute: Compute,
    to: Gradients<'_>,
) {
    check(h.len(), w, tokens, s);
    assert!(lse.len() == s.m && upstream.log_p.len() == s.m);
    if let Some((e, entropy)) = upstream.entropy {
        assert!(e.len() == s.m && entropy.len() == s.m);
    }
    let slopes: Vec<Slope> = (0..s.m)
        .map(|i| {
            let g = upstream.log_p[i];
            let (all, tilt) = match upstream.entropy {
                Some((e, entropy)) if e[i] != 0.0 => (-g - e[i] * (entropy[i] - lse[i]), -e[i]),
                _ => (-g, 0.0),
            };
            Slope { all, tilt, one: g }
        })
        .collect();
    let rows = Rows {
        h,
        tokens,
        lse,
        slopes: &slopes,
    };
    head::backward(rows, w, s, compute, to);
}
