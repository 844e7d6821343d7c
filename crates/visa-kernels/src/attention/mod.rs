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
//! of the sum of exponentials (Dao, arXiv 2307.08691). Products are `f32`: at
//! the head sizes and lengths of small models they are a few per cent of a step.

mod decode;

use rayon::prelude::*;

pub use decode::{Batch, Cache, Row, decode};

use crate::buffer::{Scratch, Shared, with_scratch};
use crate::element::sealed::Lanes;
use crate::gemm::tile::{Left, multiply};
use crate::math::exp;
use crate::simd::Simd;

/// Queries whose scores exist at one time: a multiple of the heights of tiles.
const BLOCK: usize = 48;

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
    /// Number of leading keys that query `i` of batch row `b` sees.
    fn visible(&self, b: usize, i: usize, keys: usize) -> usize {
        let len = self.lens.map_or(keys, |lens| lens[b].min(keys));
        self.causal.map_or(len, |offset| len.min(offset + i + 1))
    }
}

fn check(shape: &Shape, q: &[f32], k: &[f32], v: &[f32], sight: &Sight<'_>) {
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

/// Writes `out` and, for the backward pass, `lse [batch, heads, queries]`.
pub fn forward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: &Shape,
    sight: &Sight<'_>,
    out: &mut [f32],
    lse: &mut [f32],
) {
    check(shape, q, k, v, sight);
    assert!(out.len() == q.len() && lse.len() == shape.lse_len());
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    each_group(shape, |b, g, scratch| {
        forward_group(q, k, v, shape, sight, b, g, scratch, out, lse)
    });
}

kernel! {
    /// Writes the outputs of the query heads of key head `g`, batch row `b`.
    fn forward_group<S>(
        q: &[f32],
        k: &[f32],
        v: &[f32],
        shape: &Shape,
        sight: &Sight<'_>,
        b: usize,
        g: usize,
        scratch: &mut Scratch,
        out: Shared<f32>,
        lse: Shared<f32>,
    ) {
        let &Shape { queries, keys, heads, kv_heads, dim, .. } = shape;
        let group = heads / kv_heads;
        let (q_row, kv_row) = (heads * dim, kv_heads * dim);
        let scale = 1.0 / (dim as f32).sqrt();
        let seen = sight.visible(b, queries.saturating_sub(1), keys);
        let ld = seen.next_multiple_of(16);
        let (kt, scores) = scratch.f32s((dim + BLOCK) * ld).split_at_mut(dim * ld);
        let kp = k.as_ptr().add((b * keys * kv_heads + g) * dim);
        let vp = v.as_ptr().add((b * keys * kv_heads + g) * dim);
        // A transposed copy pays from a few queries on.
        let few = queries * group < 4;
        if !few {
            transpose::<S, f32>(kp, kv_row, seen, dim, kt.as_mut_ptr(), ld);
        }
        let s = scores.as_mut_ptr();
        for h in g * group..(g + 1) * group {
            for i0 in (0..queries).step_by(BLOCK) {
                let rows = BLOCK.min(queries - i0);
                let most = sight.visible(b, i0 + rows - 1, keys);
                let at = ((b * queries + i0) * heads + h) * dim;
                let (qp, op) = (q.as_ptr().add(at), out.get().add(at));
                if few {
                    for i in 0..rows {
                        dots::<S>(qp.add(i * q_row), kp, kv_row, dim, most, s.add(i * ld));
                    }
                } else {
                    let left = Left(qp, q_row, 1);
                    multiply::<S>((rows, most, dim), left, kt.as_ptr(), ld, s, ld, false);
                }
                let mut inverse = [0.0; BLOCK];
                for i in 0..rows {
                    let visible = sight.visible(b, i0 + i, keys);
                    let row = std::slice::from_raw_parts_mut(s.add(i * ld), most);
                    let (log, sum) = softmax::<S>(row, visible, scale);
                    *lse.get().add((b * heads + h) * queries + i0 + i) = log;
                    inverse[i] = if visible == 0 { 0.0 } else { 1.0 / sum };
                }
                multiply::<S>((rows, dim, most), Left(s, ld, 1), vp, kv_row, op, q_row, false);
                for (i, factor) in inverse.iter().enumerate().take(rows) {
                    let factor = S::splat(*factor);
                    let mut d = 0;
                    while d < dim {
                        let p = op.add(i * q_row + d);
                        S::load_n(p, dim - d).mul(factor).store_n(p, dim - d);
                        d += S::LANES;
                    }
                }
            }
        }
    }
}

/// `to [dim, ld] = fromᵀ` for `count` rows of `from`, `stride` apart; `ld` is at
/// least `count` rounded up to whole vectors, which are all written.
#[inline(always)]
unsafe fn transpose<S: Simd, T: Lanes>(
    from: *const T,
    stride: usize,
    count: usize,
    dim: usize,
    to: *mut f32,
    ld: usize,
) {
    for j in (0..count).step_by(S::LANES) {
        for d in (0..dim).step_by(S::LANES) {
            // SAFETY: the caller's rows, and the parts of them that exist.
            unsafe {
                let mut x = [S::splat(0.0); 16];
                for (i, x) in x.iter_mut().enumerate().take(S::LANES.min(count - j)) {
                    *x = T::load(from.add((j + i) * stride + d), dim - d);
                }
                S::transpose(&mut x);
                for (i, x) in x.iter().enumerate().take(S::LANES.min(dim - d)) {
                    x.store(to.add((d + i) * ld + j));
                }
            }
        }
    }
}

/// `s[j] = q · k_j`, reading the keys as they lie.
#[inline(always)]
unsafe fn dots<S: Simd>(
    q: *const f32,
    k: *const f32,
    stride: usize,
    dim: usize,
    count: usize,
    s: *mut f32,
) {
    unsafe {
        for j in 0..count {
            let mut sum = S::splat(0.0);
            let mut d = 0;
            while d < dim {
                let x = S::load_n(q.add(d), dim - d);
                sum = x.fma(S::load_n(k.add(j * stride + d), dim - d), sum);
                d += S::LANES;
            }
            *s.add(j) = sum.sum();
        }
    }
}

/// Turns the first `visible` scores of a row into exponentials, the others into
/// zeros: the logarithm of the sum of the unshifted exponentials, and the sum.
#[inline(always)]
unsafe fn softmax<S: Simd>(row: &mut [f32], visible: usize, scale: f32) -> (f32, f32) {
    unsafe {
        let (row, rest) = row.split_at_mut(visible.min(row.len()));
        rest.fill(0.0);
        let n = row.len();
        if n == 0 {
            return (f32::INFINITY, 0.0);
        }
        let p = row.as_mut_ptr();
        let mut top = S::splat(f32::NEG_INFINITY);
        let mut i = 0;
        while i + S::LANES <= n {
            top = top.max(S::load(p.add(i)));
            i += S::LANES;
        }
        let max = row[i..].iter().copied().fold(top.top(), f32::max);
        let (shift, factor) = (S::splat(-max * scale), S::splat(scale));
        let mut sum = S::splat(0.0);
        let mut i = 0;
        while i < n {
            exp(S::load_n(p.add(i), n - i).fma(factor, shift)).store_n(p.add(i), n - i);
            // Read again, because a part has zeros past its end only then.
            sum = sum.add(S::load_n(p.add(i), n - i));
            i += S::LANES;
        }
        let sum = sum.sum();
        (max * scale + sum.ln(), sum)
    }
}

/// What the backward pass reads.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// Result of [`forward`].
    pub out: &'a [f32],
    /// Logarithms of [`forward`].
    pub lse: &'a [f32],
    /// Gradient of the result.
    pub grad: &'a [f32],
}

/// Writes the gradients of `q`, `k` and `v`.
pub fn backward(
    saved: &Saved<'_>,
    shape: &Shape,
    sight: &Sight<'_>,
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    check(shape, saved.q, saved.k, saved.v, sight);
    let (n, kv) = (shape.q_len(), shape.kv_len());
    assert!(saved.out.len() == n && saved.grad.len() == n && dq.len() == n);
    assert!(saved.lse.len() == shape.lse_len() && dk.len() == kv && dv.len() == kv);
    let (dq, dk, dv) = (Shared::new(dq), Shared::new(dk), Shared::new(dv));
    each_group(shape, |b, g, scratch| {
        backward_group(saved, shape, sight, b, g, scratch, dq, dk, dv);
    });
}

kernel! {
    /// Writes `dk`, `dv` of key head `g` and `dq` of its query heads, batch row `b`.
    fn backward_group<S>(
        saved: &Saved<'_>,
        shape: &Shape,
        sight: &Sight<'_>,
        b: usize,
        g: usize,
        scratch: &mut Scratch,
        dq: Shared<f32>,
        dk: Shared<f32>,
        dv: Shared<f32>,
    ) {
        let &Shape { queries, keys, heads, kv_heads, dim, .. } = shape;
        let group = heads / kv_heads;
        let (q_row, kv_row) = (heads * dim, kv_heads * dim);
        let scale = 1.0 / (dim as f32).sqrt();
        let seen = sight.visible(b, queries.saturating_sub(1), keys);
        let ld = seen.next_multiple_of(16);
        let (kt, rest) = scratch.f32s(2 * (dim + BLOCK) * ld).split_at_mut(dim * ld);
        let (vt, rest) = rest.split_at_mut(dim * ld);
        let (probabilities, slopes) = rest.split_at_mut(BLOCK * ld);
        let (p, ds) = (probabilities.as_mut_ptr(), slopes.as_mut_ptr());
        let kv_at = (b * keys * kv_heads + g) * dim;
        let (kp, vp) = (saved.k.as_ptr().add(kv_at), saved.v.as_ptr().add(kv_at));
        let (dkp, dvp) = (dk.get().add(kv_at), dv.get().add(kv_at));
        transpose::<S, f32>(kp, kv_row, seen, dim, kt.as_mut_ptr(), ld);
        transpose::<S, f32>(vp, kv_row, seen, dim, vt.as_mut_ptr(), ld);
        for j in 0..keys {
            std::slice::from_raw_parts_mut(dkp.add(j * kv_row), dim).fill(0.0);
            std::slice::from_raw_parts_mut(dvp.add(j * kv_row), dim).fill(0.0);
        }
        for h in g * group..(g + 1) * group {
            for i0 in (0..queries).step_by(BLOCK) {
                let rows = BLOCK.min(queries - i0);
                let most = sight.visible(b, i0 + rows - 1, keys);
                let at = ((b * queries + i0) * heads + h) * dim;
                let qp = saved.q.as_ptr().add(at);
                let (gp, op) = (saved.grad.as_ptr().add(at), saved.out.as_ptr().add(at));
                let (qs, gs) = (Left(qp, q_row, 1), Left(gp, q_row, 1));
                multiply::<S>((rows, most, dim), qs, kt.as_ptr(), ld, p, ld, false);
                multiply::<S>((rows, most, dim), gs, vt.as_ptr(), ld, ds, ld, false);
                for i in 0..rows {
                    let visible = sight.visible(b, i0 + i, keys);
                    let log = saved.lse[(b * heads + h) * queries + i0 + i];
                    let mut dot = S::splat(0.0);
                    let mut d = 0;
                    while d < dim {
                        let o = S::load_n(op.add(i * q_row + d), dim - d);
                        dot = o.fma(S::load_n(gp.add(i * q_row + d), dim - d), dot);
                        d += S::LANES;
                    }
                    let dot = S::splat(dot.sum());
                    let (factor, shift) = (S::splat(scale), S::splat(-log));
                    let (p, ds) = (p.add(i * ld), ds.add(i * ld));
                    let mut j = 0;
                    while j < visible {
                        let n = visible - j;
                        let weight = exp(S::load_n(p.add(j), n).fma(factor, shift));
                        let slope = S::load_n(ds.add(j), n).sub(dot);
                        weight.store_n(p.add(j), n);
                        weight.mul(slope).mul(factor).store_n(ds.add(j), n);
                        j += S::LANES;
                    }
                    std::slice::from_raw_parts_mut(p.add(visible), most - visible).fill(0.0);
                    std::slice::from_raw_parts_mut(ds.add(visible), most - visible).fill(0.0);
                }
                let dqp = dq.get().add(at);
                multiply::<S>((rows, dim, most), Left(ds, ld, 1), kp, kv_row, dqp, q_row, false);
                multiply::<S>((most, dim, rows), Left(ds, 1, ld), qp, q_row, dkp, kv_row, true);
                multiply::<S>((most, dim, rows), Left(p, 1, ld), gp, q_row, dvp, kv_row, true);
            }
        }
    }
}
