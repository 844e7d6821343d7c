//! Softmax attention with grouped heads, forward and backward.
//!
//! ```text
//! P = softmax(q · kᵀ / sqrt(D)) over the keys in sight      o = P · v
//! dv = Pᵀ · do      dP = do · vᵀ      dS = P ∘ (dP − Σ_d do ∘ o) / sqrt(D)
//! dq = dS · k       dk = dSᵀ · q
//! ```
//!
//! One task computes a key head of a batch row, a block of queries at a time;
//! scores exist for one block only. Backward recomputes `P` from the logarithm
//! of the sum of exponentials (Dao, arXiv 2307.08691). The products are those of
//! [`crate::matmul`], so their factors are rounded as [`Compute`] says, but for
//! `P` in the forward pass, which is multiplied in two parts; scores, weights and
//! sums are `f32`.

mod decode;
mod group;
mod prefix;
mod rows;

use rayon::prelude::*;

pub use decode::{Batch, Cache, Row, decode};

use crate::buffer::{Scratch, Shared, with_scratch};
use crate::element::Element;
use crate::gemm::method::Kind;
use crate::matmul::Compute;
use group::{Gradients, Group, backward_group, few, forward_group};
pub use prefix::Prefix;

/// Up to so many query vectors of a key head, keys are read as they lie.
const FEW: usize = 3;

/// Sizes: `q, o [batch, queries, heads, dim]`, `k, v [batch, keys, kv_heads, dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of the batch.
    pub batch: usize,
    /// Positions of `q`.
    pub queries: usize,
    /// Positions of `k` and `v`.
    pub keys: usize,
    /// Heads of `q`, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of `k` and `v`.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub dim: usize,
}

impl Shape {
    /// Length of `q`.
    pub fn q_len(&self) -> usize {
        self.batch * self.queries * self.heads * self.dim
    }

    /// Length of `k` or `v`.
    pub fn kv_len(&self) -> usize {
        self.batch * self.keys * self.kv_heads * self.dim
    }

    /// Length of the logarithms kept for the backward pass.
    pub fn lse_len(&self) -> usize {
        self.batch * self.heads * self.queries
    }
}

/// Which keys a query sees: always the first so many.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Real keys of each batch row; all if `None`.
    pub lens: Option<&'a [usize]>,
    /// For causal attention, the key position of query 0.
    pub causal: Option<usize>,
}

impl Sight<'_> {
    /// Keys of batch row `b` that exist.
    fn keys(&self, b: usize, keys: usize) -> usize {
        self.lens.map_or(keys, |lens| lens[b].min(keys))
    }
}

fn check<T>(shape: &Shape, q: &[T], k: &[T], v: &[T], sight: &Sight<'_>) {
    assert!(shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads));
    assert!(q.len() == shape.q_len() && k.len() == shape.kv_len() && v.len() == k.len());
    assert!(sight.lens.is_none_or(|lens| lens.len() == shape.batch));
}

/// Runs `task(batch row, key head, scratch)` for all of them.
fn each_group(shape: &Shape, task: impl Fn(usize, usize, &mut Scratch) + Sync) {
    let tasks = shape.batch * shape.kv_heads;
    let run = |t: usize| with_scratch(|s| task(t / shape.kv_heads, t % shape.kv_heads, s));
    // Decoding a few tokens is over before another thread wakes.
    if shape.batch * shape.heads * shape.queries * shape.keys * shape.dim < 1 << 17 {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().for_each(run);
    }
}

impl Shape {
    /// The query heads of key head `g` in batch row `b`.
    fn group<'a, T>(
        &self,
        [q, k, v]: [&'a [T]; 3],
        sight: &Sight<'_>,
        b: usize,
        g: usize,
    ) -> Group<'a, T> {
        let (dim, kv_row) = (self.dim, self.kv_heads * self.dim);
        let kv = ((b * self.keys * self.kv_heads + g) * dim).min(k.len());
        Group {
            q: &q[self.first(b, g).min(q.len())..],
            q_row: self.heads * dim,
            k: &k[kv..],
            v: &v[kv..],
            kv_row,
            queries: self.queries,
            keys: sight.keys(b, self.keys),
            heads: self.heads / self.kv_heads,
            dim,
            causal: sight.causal,
        }
    }

    /// Where the queries of key head `g` in batch row `b` begin.
    fn first(&self, b: usize, g: usize) -> usize {
        (b * self.queries * self.heads + g * (self.heads / self.kv_heads)) * self.dim
    }

    /// Where their logarithms begin.
    fn first_log(&self, b: usize, g: usize) -> usize {
        (b * self.heads + g * (self.heads / self.kv_heads)) * self.queries
    }
}

/// Writes `out` and, for the backward pass, `lse [batch, heads, queries]`.
#[allow(clippy::too_many_arguments)]
pub fn forward<T: Element, Y: Element>(
    q: &[T],
    k: &[T],
    v: &[T],
    shape: &Shape,
    sight: &Sight<'_>,
    compute: Compute,
    out: &mut [Y],
    lse: &mut [f32],
) {
    check(shape, q, k, v, sight);
    assert!(out.len() == q.len() && lse.len() == shape.lse_len());
    if q.is_empty() {
        return;
    }
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    let is_few = shape.queries * (shape.heads / shape.kv_heads) <= FEW;
    let kind = Kind::best(compute);
    with_method!(kind, M => each_group(shape, |b, g, scratch| {
        let group = shape.group([q, k, v], sight, b, g);
        // SAFETY: the method is one that this processor has; each task writes
        // the outputs and logarithms of its own heads.
        unsafe {
            let out = out.get().add(shape.first(b, g));
            let lse = lse.get().add(shape.first_log(b, g));
            if is_few {
                few(&group, out, shape.heads * shape.dim, lse, scratch);
            } else {
                forward_group::<M, T, Y, true>(kind, &group, out, shape.heads * shape.dim, lse, scratch);
            }
        }
    }));
}

/// Attention of texts to themselves, without padding and without a mask: rows
/// `[q | k | v]` of `3 · heads · dim` numbers, text after text, `lens` tokens
/// each; outputs of `heads · dim` numbers. For inference: here `P` is rounded too.
pub fn bidirectional<T: Element, Y: Element>(
    qkv: &[T],
    lens: &[usize],
    (heads, dim): (usize, usize),
    compute: Compute,
    out: &mut [Y],
) {
    let width = heads * dim;
    let tokens: usize = lens.iter().sum();
    assert!(qkv.len() == 3 * tokens * width && out.len() == tokens * width);
    let firsts: Vec<usize> = lens
        .iter()
        .scan(0, |at, len| {
            *at += len;
            Some(*at - len)
        })
        .collect();
    let out = Shared::new(out);
    let kind = Kind::best(compute);
    with_method!(kind, M => {
        let run = |task: usize| with_scratch(|scratch| {
            let (text, head) = (task / heads, task % heads);
            let (first, len) = (firsts[text], lens[text]);
            if len == 0 {
                return;
            }
            let of = |part: usize| &qkv[(3 * first + part) * width + head * dim..];
            let group = Group {
                q: of(0),
                q_row: 3 * width,
                k: of(1),
                v: of(2),
                kv_row: 3 * width,
                queries: len,
                keys: len,
                heads: 1,
                dim,
                causal: None,
            };
            // SAFETY: as above; nobody asks for the logarithms.
            unsafe {
                let out = out.get().add(first * width + head * dim);
                forward_group::<M, T, Y, false>(kind, &group, out, width, std::ptr::null_mut(), scratch);
            }
        });
        // Short texts are over before another thread wakes.
        let each = (tokens / lens.len().max(1)).pow(2).max(1) * dim;
        (0..lens.len() * heads)
            .into_par_iter()
            .with_min_len((1 << 20) / each + 1)
            .for_each(run)
    });
}

/// What the backward pass reads.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a, T = f32> {
    /// Queries.
    pub q: &'a [T],
    /// Keys.
    pub k: &'a [T],
    /// Values.
    pub v: &'a [T],
    /// Result of [`forward`].
    pub out: &'a [T],
    /// Logarithms of [`forward`].
    pub lse: &'a [f32],
    /// Gradient of the result.
    pub grad: &'a [T],
}

/// Writes the gradients of `q`, `k` and `v`.
pub fn backward<T: Element>(
    saved: &Saved<'_, T>,
    shape: &Shape,
    sight: &Sight<'_>,
    compute: Compute,
    dq: &mut [T],
    dk: &mut [T],
    dv: &mut [T],
) {
    check(shape, saved.q, saved.k, saved.v, sight);
    let (n, kv) = (shape.q_len(), shape.kv_len());
    assert!(saved.out.len() == n && saved.grad.len() == n && dq.len() == n);
    assert!(saved.lse.len() == shape.lse_len() && dk.len() == kv && dv.len() == kv);
    let (dq, dk, dv) = (Shared::new(dq), Shared::new(dk), Shared::new(dv));
    let kind = Kind::best(compute);
    with_method!(kind, M => each_group(shape, |b, g, scratch| {
        let group = shape.group([saved.q, saved.k, saved.v], sight, b, g);
        let (first, log) = (shape.first(b, g), shape.first_log(b, g));
        let kv = (b * shape.keys * shape.kv_heads + g) * shape.dim;
        // SAFETY: the method is one that this processor has; each task writes
        // the gradients of its own heads, whose rows lie as in what was saved.
        unsafe {
            let gradients = Gradients {
                out: saved.out.as_ptr().wrapping_add(first),
                grad: &saved.grad[first.min(n)..],
                lse: &saved.lse[log..],
                dq: dq.get().wrapping_add(first),
                dk: dk.get().wrapping_add(kv),
                dv: dv.get().wrapping_add(kv),
                all_keys: shape.keys,
            };
            backward_group::<M, T>(kind, &group, &gradients, scratch);
        }
    }));
}
