//! What [`crate::cross_entropy`] and [`crate::log_probability`] share: a linear
//! head whose logits exist for a chunk of rows at a time, never all of them.
//!
//! Backward computes the logits again from `h` and the kept logarithms. To form
//! the gradients in the forward pass would save one product of four, but that of
//! `w` would need the upstream gradient of each row, which is not known then.

use half::bf16;
use rayon::prelude::*;

use crate::buffer::{Scratch, with_scratch};
use crate::element::Element;
use crate::gemm::{Panels, View, outer, product, with_right};
use crate::math::{exp, largest};
use crate::matmul::{Compute, Sizes, Start};
use crate::packed::PackedMatrix;

/// The weight `w [n, k]` of a head.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// As it lies; packed by each call.
    Plain(&'a [f32]),
    /// Packed once; for the gradient of `h` it must have been packed for
    /// [`crate::packed::Uses::ForwardAndGradient`].
    Packed(&'a PackedMatrix),
}

impl Weight<'_> {
    pub(crate) fn check(&self, s: Sizes) {
        match self {
            Self::Plain(w) => assert_eq!(w.len(), s.n * s.k, "a head of {} × {}", s.n, s.k),
            Self::Packed(w) => assert_eq!((w.n(), w.k()), (s.n, s.k), "sizes of the head"),
        }
    }

    /// The right factor of the logits.
    fn with<R>(&self, s: Sizes, compute: Compute, f: impl FnOnce(Panels<'_>) -> R) -> R {
        match self {
            Self::Plain(w) => with_right(View::rows(w, s.n, s.k), compute, f),
            Self::Packed(w) => f(w.right()),
        }
    }

    /// And that of the gradient of `h`, if it is wanted.
    fn with_back<R>(
        &self,
        wanted: bool,
        s: Sizes,
        compute: Compute,
        f: impl FnOnce(Option<Panels<'_>>) -> R,
    ) -> R {
        match self {
            _ if !wanted => f(None),
            Self::Plain(w) => with_right(View::columns(w, s.n, s.k), compute, |back| f(Some(back))),
            Self::Packed(w) => f(Some(w.right_back().expect(
                "the head was packed for forward alone; use Uses::ForwardAndGradient",
            ))),
        }
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

/// Logits that exist at one time: 4 MiB stay in the cache.
const LOGITS: usize = 1 << 20;
/// Slopes that exist at one time. Each chunk of them adds to all of `dw`, so
/// chunks of few rows would move more than they compute.
const SLOPES: usize = 1 << 22;
const LEAST_ROWS: usize = 256;

fn chunk_rows(numbers: usize, least: usize, vocabulary: usize) -> usize {
    (numbers / vocabulary.max(1)).clamp(least, 1024)
}

/// Calls `row(i, logits)` for each row, which may change its logits.
pub(crate) fn each_row<H: Element>(
    h: &[H],
    w: Weight<'_>,
    s: Sizes,
    compute: Compute,
    row: impl Fn(usize, &mut [f32]) + Sync,
) {
    w.with(s, compute, |across| {
        with_scratch(|scratch| logits(h, across, (0, s.m), s, scratch, &row));
    });
}

/// The same for rows `from .. to`.
fn logits<H: Element>(
    h: &[H],
    across: Panels<'_>,
    (from, to): (usize, usize),
    s: Sizes,
    scratch: &mut Scratch,
    row: &(impl Fn(usize, &mut [f32]) + Sync),
) {
    let chunk = chunk_rows(LOGITS, 32, s.n);
    for start in (from..to).step_by(chunk) {
        let rows = chunk.min(to - start);
        let logits = scratch.f32s(rows * s.n);
        let part = &h[start * s.k..(start + rows) * s.k];
        product(View::rows(part, rows, s.k), across, Start::Zero, logits);
        logits
            .par_chunks_exact_mut(s.n)
            .enumerate()
            .for_each(|(i, logits)| row(start + i, logits));
    }
}

/// The gradient of a row's logits `l`, `p` being their softmax:
/// `dl[j] = p[j] · (all + tilt · l[j])`, and `one` more at the token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slope {
    pub(crate) all: f32,
    pub(crate) tilt: f32,
    pub(crate) one: f32,
}

/// Rows of a head and what is kept of them.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, H> {
    pub(crate) h: &'a [H],
    pub(crate) tokens: &'a [u32],
    pub(crate) lse: &'a [f32],
    pub(crate) slopes: &'a [Slope],
}

/// The gradients of `h` and `w`. Rows without slope (prompts, padding) are left
/// out altogether.
pub(crate) fn backward<H: Element>(
    rows: Rows<'_, H>,
    w: Weight<'_>,
    s: Sizes,
    compute: Compute,
    mut to: Gradients<'_>,
) {
    assert!(to.dh.as_ref().is_none_or(|dh| dh.len() == rows.h.len()));
    assert!(to.dw.as_ref().is_none_or(|dw| dw.len() == s.n * s.k));
    let active: Vec<usize> = (0..s.m)
        .filter(|i| {
            let Slope { all, tilt, one } = rows.slopes[*i];
            all != 0.0 || tilt != 0.0 || one != 0.0
        })
        .collect();
    if active.len() == s.m {
        return dense(rows, w, s, compute, to);
    }
    let k = s.k;
    let mut h = Vec::with_capacity(active.len() * k);
    for i in &active {
        h.extend_from_slice(&rows.h[i * k..(i + 1) * k]);
    }
    let mut few_dh = to.dh.is_some().then(|| vec![0.0; active.len() * k]);
    let few = Rows {
        h: &h,
        tokens: &active.iter().map(|i| rows.tokens[*i]).collect::<Vec<_>>(),
        lse: &active.iter().map(|i| rows.lse[*i]).collect::<Vec<_>>(),
        slopes: &active.iter().map(|i| rows.slopes[*i]).collect::<Vec<_>>(),
    };
    let m = active.len();
    let gradients = Gradients {
        dh: few_dh.as_deref_mut(),
        dw: to.dw.as_deref_mut(),
    };
    dense(few, w, Sizes { m, ..s }, compute, gradients);
    if let (Some(dh), Some(few_dh)) = (to.dh, few_dh) {
        dh.fill(0.0);
        for (i, row) in active.iter().zip(few_dh.chunks_exact(k.max(1))) {
            dh[i * k..(i + 1) * k].copy_from_slice(row);
        }
    }
}

fn dense<H: Element>(
    rows: Rows<'_, H>,
    w: Weight<'_>,
    s: Sizes,
    compute: Compute,
    to: Gradients<'_>,
) {
    if s.m == 0 {
        if let Some(dw) = to.dw {
            dw.fill(0.0);
        }
        return;
    }
    // Slopes that will be rounded to bf16 anyway are stored as such.
    if compute == Compute::Bf16 && crate::isa::has_bf16() {
        run::<H, bf16>(rows, w, s, compute, to);
    } else {
        run::<H, f32>(rows, w, s, compute, to);
    }
}

fn run<H: Element, D: Element>(
    rows: Rows<'_, H>,
    w: Weight<'_>,
    s: Sizes,
    compute: Compute,
    mut to: Gradients<'_>,
) {
    let chunk = chunk_rows(SLOPES, LEAST_ROWS, s.n);
    let wants_h = to.dh.is_some();
    let mut run = |across: Panels<'_>, back: Option<Panels<'_>>| {
        for start in (0..s.m).step_by(chunk) {
            let end = s.m.min(start + chunk);
            let wide = start * s.k..end * s.k;
            with_scratch(|scratch| {
                let slopes = scratch.numbers::<D>((end - start) * s.n);
                let out = crate::buffer::Shared::new(&mut *slopes);
                with_scratch(|scratch| {
                    logits(rows.h, across, (start, end), s, scratch, &|i, logits| {
                        // SAFETY: each row of `slopes` is written by one call.
                        let to = unsafe {
                            let to = out.get().add((i - start) * s.n);
                            std::slice::from_raw_parts_mut(to, s.n)
                        };
                        let token = rows.tokens[i] as usize;
                        let slope = rows.slopes[i];
                        let at_token = slope_at(logits[token], rows.lse[i], slope) + slope.one;
                        slope_row::<D>(logits, rows.lse[i], slope, to);
                        to[token] = D::from_f32(at_token);
                    });
                });
                let slopes = &*slopes;
                if let (Some(dh), Some(back)) = (to.dh.as_deref_mut(), back) {
                    let left = View::rows(slopes, end - start, s.n);
                    product(left, back, Start::Zero, &mut dh[wide.clone()]);
                }
                if let Some(dw) = to.dw.as_deref_mut() {
                    let left = View::columns(slopes, end - start, s.n);
                    let right = View::columns(&rows.h[wide], end - start, s.k);
                    outer(left, right, compute, start > 0, dw);
                }
            });
        }
    };
    w.with(s, compute, |across| {
        w.with_back(wants_h, s, compute, |back| run(across, back));
    });
}

fn slope_at(l: f32, lse: f32, slope: Slope) -> f32 {
    (l - lse).exp() * (slope.all + slope.tilt * l)
}

kernel! {
    /// Logits of a row to their gradients, but for the token's own part.
    fn slope_row<S; D: Element>(logits: &[f32], lse: f32, slope: Slope, to: &mut [D]) {
        let (p, n) = (logits.as_ptr(), logits.len());
        let shift = S::splat(lse);
        let (all, tilt) = (S::splat(slope.all), S::splat(slope.tilt));
        let mut i = 0;
        while i < n {
            let l = S::load_n(p.add(i), n - i);
            let x = exp(l.sub(shift)).mul(l.fma(tilt, all));
            D::store(to.as_mut_ptr().add(i), n - i, x);
            i += S::LANES;
        }
    }
}

kernel! {
    /// The logarithm of the sum of exponentials, and the softmax's mean logit.
    pub(crate) fn log_sum<S>(row: &[f32], with_mean: bool) -> (f32, f32) {
        let (p, n) = (row.as_ptr(), row.len());
        let max = largest::<S>(row);
        let shift = S::splat(max);
        let (mut sum, mut mean) = (S::splat(0.0), S::splat(0.0));
        let mut i = 0;
        while i + S::LANES <= n {
            let l = S::load(p.add(i)).sub(shift);
            let e = exp(l);
            sum = sum.add(e);
            if with_mean {
                mean = e.fma(l, mean);
            }
            i += S::LANES;
        }
        let (mut sum, mut mean) = (sum.sum(), mean.sum());
        for x in &row[i..] {
            let e = (x - max).exp();
            sum += e;
            mean += e * (x - max);
        }
        (max + sum.ln(), max + mean / sum)
    }
}
