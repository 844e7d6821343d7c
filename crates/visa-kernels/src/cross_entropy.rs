//! A linear head and its cross-entropy in one: the logits of a chunk of rows
//! exist at a time, never all of them.
//!
//! ```text
//! l = h · wᵀ      loss = log Σ_j e^(l_j) − l_target
//! dl = g · (softmax(l) − onehot(target))      dh = dl · w      dw = dlᵀ · h
//! ```
//!
//! Backward computes the logits again from `h` and the kept logarithms. To form
//! `dh` and `dw` in the forward pass would save one product of four, but `dw`
//! would need the gradient `g` of each row, which is not known then. Rows with
//! `g = 0` (prompts, padding) are left out altogether.

use rayon::prelude::*;

use crate::buffer::with_scratch;
use crate::gemm::{Panels, View, outer, product, with_right};
use crate::math::exp;
use crate::matmul::{Compute, Sizes, Start};

/// Logits that exist at one time in the forward pass: 4 MiB stay in the cache.
const FORWARD: usize = 1 << 20;
/// And in the backward pass, where each chunk adds to all of `dw`: 16 MiB.
const BACKWARD: usize = 1 << 22;

fn chunk_rows(logits: usize, vocabulary: usize) -> usize {
    (logits / vocabulary.max(1)).clamp(32, 1024)
}

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
    check(h, w, targets, s);
    assert!(losses.len() == s.m && lse.len() == s.m);
    with_right(View::rows(w, s.n, s.k), compute, |right| {
        let chunk = chunk_rows(FORWARD, s.n);
        for start in (0..s.m).step_by(chunk) {
            let range = start..s.m.min(start + chunk);
            let rows = range.len();
            with_scratch(|scratch| {
                let logits = scratch.f32s(rows * s.n);
                let left = View::rows(&h[range.start * s.k..range.end * s.k], rows, s.k);
                product(left, right, Start::Zero, logits);
                logits
                    .par_chunks_exact(s.n)
                    .zip(&targets[range.clone()])
                    .zip(losses[range.clone()].par_iter_mut().zip(&mut lse[range]))
                    .for_each(|((row, target), (loss, log))| {
                        *log = log_sum(row);
                        *loss = *log - row[*target as usize];
                    });
            });
        }
    });
}

fn check(h: &[f32], w: &[f32], targets: &[u32], s: Sizes) {
    assert!(h.len() == s.m * s.k && w.len() == s.n * s.k && targets.len() == s.m && s.n > 0);
    assert!(
        targets.iter().all(|t| (*t as usize) < s.n),
        "each target is below {}",
        s.n
    );
}

kernel! {
    fn log_sum<S>(row: &[f32]) -> f32 {
        let (p, n) = (row.as_ptr(), row.len());
        let mut top = S::splat(f32::NEG_INFINITY);
        let mut i = 0;
        while i + S::LANES <= n {
            top = top.max(S::load(p.add(i)));
            i += S::LANES;
        }
        let max = row[i..].iter().copied().fold(top.top(), f32::max);
        let shift = S::splat(max);
        let mut sum = S::splat(0.0);
        let mut i = 0;
        while i + S::LANES <= n {
            sum = sum.add(exp(S::load(p.add(i)).sub(shift)));
            i += S::LANES;
        }
        let rest: f32 = row[i..].iter().map(|x| (x - max).exp()).sum();
        max + (sum.sum() + rest).ln()
    }
}

/// Where the gradients go; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct Gradients<'a> {
    /// Of `h`, overwritten.
    pub dh: Option<&'a mut [f32]>,
    /// Of `w`, overwritten.
    pub dw: Option<&'a mut [f32]>,
}

/// Gradients for the gradient `g [m]` of each loss.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    h: &[f32],
    w: &[f32],
    targets: &[u32],
    lse: &[f32],
    g: &[f32],
    s: Sizes,
    compute: Compute,
    mut to: Gradients<'_>,
) {
    check(h, w, targets, s);
    assert!(lse.len() == s.m && g.len() == s.m);
    assert!(to.dh.as_ref().is_none_or(|dh| dh.len() == h.len()));
    assert!(to.dw.as_ref().is_none_or(|dw| dw.len() == w.len()));
    let active: Vec<usize> = (0..s.m).filter(|i| g[*i] != 0.0).collect();
    if active.len() == s.m {
        return dense(h, w, targets, lse, g, s, compute, to);
    }
    let k = s.k;
    let pick = |from: &[f32]| -> Vec<f32> { active.iter().map(|i| from[*i]).collect() };
    let mut few_h = Vec::with_capacity(active.len() * k);
    for i in &active {
        few_h.extend_from_slice(&h[i * k..(i + 1) * k]);
    }
    let few_targets: Vec<u32> = active.iter().map(|i| targets[*i]).collect();
    let mut few_dh = to.dh.is_some().then(|| vec![0.0; active.len() * k]);
    let few = Sizes {
        m: active.len(),
        ..s
    };
    let gradients = Gradients {
        dh: few_dh.as_deref_mut(),
        dw: to.dw.as_deref_mut(),
    };
    dense(
        &few_h,
        w,
        &few_targets,
        &pick(lse),
        &pick(g),
        few,
        compute,
        gradients,
    );
    if let (Some(dh), Some(few_dh)) = (to.dh, few_dh) {
        dh.fill(0.0);
        for (i, row) in active.iter().zip(few_dh.chunks_exact(k)) {
            dh[i * k..(i + 1) * k].copy_from_slice(row);
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn dense(
    h: &[f32],
    w: &[f32],
    targets: &[u32],
    lse: &[f32],
    g: &[f32],
    s: Sizes,
    compute: Compute,
    mut to: Gradients<'_>,
) {
    if s.m == 0 {
        if let Some(dw) = to.dw {
            dw.fill(0.0);
        }
        return;
    }
    let wants_h = to.dh.is_some();
    let mut run = |across: Panels<'_>, back: Option<Panels<'_>>| {
        let chunk = chunk_rows(BACKWARD, s.n);
        for start in (0..s.m).step_by(chunk) {
            let range = start..s.m.min(start + chunk);
            let rows = range.len();
            let wide = range.start * s.k..range.end * s.k;
            let part = &h[wide.clone()];
            with_scratch(|scratch| {
                let logits = scratch.f32s(rows * s.n);
                product(View::rows(part, rows, s.k), across, Start::Zero, logits);
                logits
                    .par_chunks_exact_mut(s.n)
                    .zip(&targets[range.clone()])
                    .zip(lse[range.clone()].par_iter().zip(&g[range.clone()]))
                    .for_each(|((row, target), (log, g))| slopes(row, *target as usize, *log, *g));
                if let (Some(dh), Some(back)) = (to.dh.as_deref_mut(), back) {
                    product(
                        View::rows(logits, rows, s.n),
                        back,
                        Start::Zero,
                        &mut dh[wide],
                    );
                }
                if let Some(dw) = to.dw.as_deref_mut() {
                    let left = View::columns(logits, rows, s.n);
                    let right = View::columns(part, rows, s.k);
                    outer(left, right, compute, start > 0, dw);
                }
            });
        }
    };
    with_right(View::rows(w, s.n, s.k), compute, |across| {
        if wants_h {
            with_right(View::columns(w, s.n, s.k), compute, |back| {
                run(across, Some(back))
            });
        } else {
            run(across, None);
        }
    });
}

kernel! {
    /// Logits of a row to their gradients.
    fn slopes<S>(row: &mut [f32], target: usize, log: f32, g: f32) {
        let (p, n) = (row.as_mut_ptr(), row.len());
        let (shift, factor) = (S::splat(log), S::splat(g));
        let mut i = 0;
        while i < n {
            let l = S::load_n(p.add(i), n - i);
            exp(l.sub(shift)).mul(factor).store_n(p.add(i), n - i);
            i += S::LANES;
        }
        row[target] -= g;
    }
}
