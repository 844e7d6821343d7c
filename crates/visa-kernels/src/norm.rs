//! RMS norm and layer norm over the rows of `[rows, d]`.
//!
//! Backward recomputes the statistics of a row while it is in the cache, so
//! that nothing but the input is kept. Weight gradients are summed per block of
//! rows and then over the blocks in order: the result does not depend on threads.

use rayon::prelude::*;

use crate::element::Element;
use crate::simd::Simd;

/// Rows of a block; fixed, so that sums are always grouped in the same way.
fn block_rows(rows: usize, d: usize) -> usize {
    rows.div_ceil(64).max((1 << 14) / d.max(1)).max(1)
}

/// Adds up the partial sums `parts [blocks, d]` into `out [d]`.
fn gather(parts: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for part in parts.chunks_exact(out.len()) {
        for (o, p) in out.iter_mut().zip(part) {
            *o += p;
        }
    }
}

/// `y = x · r · w` with `r = 1 / sqrt(mean(x²) + eps)`; `x, y [rows, d]`, `w [d]`.
pub fn rms_forward<Y: Element>(x: &[f32], w: &[f32], eps: f32, y: &mut [Y]) {
    let d = w.len();
    assert!(d > 0 && x.len() == y.len() && x.len().is_multiple_of(d));
    let block = block_rows(x.len() / d, d) * d;
    y.par_chunks_mut(block)
        .zip(x.par_chunks(block))
        .for_each(|(y, x)| rms_forward_rows(x, w, eps, y));
}

kernel! {
    fn rms_forward_rows<S; Y: Element>(x: &[f32], w: &[f32], eps: f32, y: &mut [Y]) {
        let d = w.len();
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            let r = S::splat(rms_scale::<S>(x, eps));
            let mut i = 0;
            while i < d {
                let n = d - i;
                let v = S::load_n(x.as_ptr().add(i), n).mul(r);
                Y::store(y.as_mut_ptr().add(i), n, v.mul(S::load_n(w.as_ptr().add(i), n)));
                i += S::LANES;
            }
        }
    }
}

#[inline(always)]
unsafe fn rms_scale<S: Simd>(x: &[f32], eps: f32) -> f32 {
    unsafe {
        let mut s = S::splat(0.0);
        let mut i = 0;
        while i < x.len() {
            let v = S::load_n(x.as_ptr().add(i), x.len() - i);
            s = v.fma(v, s);
            i += S::LANES;
        }
        1.0 / (s.sum() / x.len() as f32 + eps).sqrt()
    }
}

/// Gradients of [`rms_forward`]. With `g = dy · w` and `x̂ = x · r`:
/// `dx = r · (g − x̂ · mean(g · x̂))`, `dw = Σ_rows dy · x̂` (left out if `None`).
pub fn rms_backward(
    x: &[f32],
    w: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dw: Option<&mut [f32]>,
) {
    let d = w.len();
    assert!(d > 0 && x.len() == dy.len() && x.len() == dx.len() && x.len().is_multiple_of(d));
    let rows = x.len() / d;
    let block = block_rows(rows, d);
    let mut parts = vec![
        0.0;
        if dw.is_some() {
            rows.div_ceil(block) * d
        } else {
            0
        }
    ];
    let chunks = dx
        .par_chunks_mut(block * d)
        .zip(x.par_chunks(block * d))
        .zip(dy.par_chunks(block * d));
    match dw {
        Some(dw) => {
            chunks
                .zip(parts.par_chunks_mut(d))
                .for_each(|(((dx, x), dy), part)| rms_backward_rows(x, w, eps, dy, dx, part));
            gather(&parts, dw);
        }
        None => chunks.for_each(|((dx, x), dy)| rms_backward_rows(x, w, eps, dy, dx, &mut [])),
    }
}

kernel! {
    fn rms_backward_rows<S>(
        x: &[f32],
        w: &[f32],
        eps: f32,
        dy: &[f32],
        dx: &mut [f32],
        dw: &mut [f32],
    ) {
        let d = w.len();
        for ((x, dy), dx) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let r = rms_scale::<S>(x, eps);
            let mut dot = S::splat(0.0);
            let mut i = 0;
            while i < d {
                let n = d - i;
                let g = S::load_n(dy.as_ptr().add(i), n).mul(S::load_n(w.as_ptr().add(i), n));
                dot = g.fma(S::load_n(x.as_ptr().add(i), n), dot);
                i += S::LANES;
            }
            let along = S::splat(-dot.sum() * r * r / d as f32);
            let r = S::splat(r);
            let mut i = 0;
            while i < d {
                let n = d - i;
                let (xv, dyv) = (S::load_n(x.as_ptr().add(i), n), S::load_n(dy.as_ptr().add(i), n));
                let g = dyv.mul(S::load_n(w.as_ptr().add(i), n));
                r.mul(along.fma(xv, g)).store_n(dx.as_mut_ptr().add(i), n);
                if !dw.is_empty() {
                    let p = dw.as_mut_ptr().add(i);
                    dyv.fma(xv.mul(r), S::load_n(p, n)).store_n(p, n);
                }
                i += S::LANES;
            }
        }
    }
}

/// `y = (s − mean) · r · w + b` with `s = x + residual` and
/// `r = 1 / sqrt(var + eps)`; `x, residual, y [rows, d]`, `w, b [d]`.
pub fn layer_forward(
    x: &[f32],
    residual: Option<&[f32]>,
    w: &[f32],
    b: &[f32],
    eps: f32,
    y: &mut [f32],
) {
    let d = w.len();
    assert!(d > 0 && b.len() == d && x.len() == y.len() && x.len().is_multiple_of(d));
    assert!(residual.is_none_or(|r| r.len() == x.len()));
    let block = block_rows(x.len() / d, d) * d;
    let parts = y.par_chunks_mut(block).zip(x.par_chunks(block));
    match residual {
        Some(r) => parts
            .zip(r.par_chunks(block))
            .for_each(|((y, x), r)| layer_forward_rows(x, r, w, b, eps, y)),
        None => parts.for_each(|(y, x)| layer_forward_rows(x, &[], w, b, eps, y)),
    }
}

/// Mean and `1 / sqrt(var + eps)` of a row.
#[inline(always)]
unsafe fn moments<S: Simd>(x: &[f32], eps: f32) -> (f32, f32) {
    unsafe {
        let d = x.len();
        let mut s = S::splat(0.0);
        let mut i = 0;
        while i < d {
            s = s.add(S::load_n(x.as_ptr().add(i), d - i));
            i += S::LANES;
        }
        let mean = s.sum() / d as f32;
        let mut s = S::splat(0.0);
        let m = S::splat(mean);
        let mut i = 0;
        // A second pass over a row in the cache; the one-pass formula cancels.
        while i + S::LANES <= d {
            let v = S::load(x.as_ptr().add(i)).sub(m);
            s = v.fma(v, s);
            i += S::LANES;
        }
        let rest: f32 = x[i..].iter().map(|v| (v - mean) * (v - mean)).sum();
        (mean, 1.0 / ((s.sum() + rest) / d as f32 + eps).sqrt())
    }
}

/// `to = x + r`, or a copy of `x` if `r` is empty.
#[inline(always)]
unsafe fn sum_row<S: Simd>(x: &[f32], r: &[f32], to: &mut [f32]) {
    unsafe {
        if r.is_empty() {
            to.copy_from_slice(x);
            return;
        }
        let d = x.len();
        let mut i = 0;
        while i < d {
            let n = d - i;
            S::load_n(x.as_ptr().add(i), n)
                .add(S::load_n(r.as_ptr().add(i), n))
                .store_n(to.as_mut_ptr().add(i), n);
            i += S::LANES;
        }
    }
}

/// Row `i` of `r`, or nothing if `r` is empty.
#[inline(always)]
fn row(r: &[f32], i: usize, d: usize) -> &[f32] {
    if r.is_empty() {
        r
    } else {
        &r[i * d..(i + 1) * d]
    }
}

kernel! {
    fn layer_forward_rows<S>(
        x: &[f32],
        r: &[f32],
        w: &[f32],
        b: &[f32],
        eps: f32,
        y: &mut [f32],
    ) {
        let d = w.len();
        for (at, (x, y)) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).enumerate() {
            sum_row::<S>(x, row(r, at, d), y);
            let (mean, scale) = moments::<S>(y, eps);
            let (mean, scale) = (S::splat(mean), S::splat(scale));
            let mut i = 0;
            while i < d {
                let n = d - i;
                let p = y.as_mut_ptr().add(i);
                S::load_n(p, n)
                    .sub(mean)
                    .mul(scale)
                    .fma(S::load_n(w.as_ptr().add(i), n), S::load_n(b.as_ptr().add(i), n))
                    .store_n(p, n);
                i += S::LANES;
            }
        }
    }
}

/// Gradients of [`layer_forward`]. With `g = dy · w` and `x̂` the normalised row:
/// `dx = r · (g − mean(g) − x̂ · mean(g · x̂))`, which is the gradient of the
/// residual too, `dw = Σ_rows dy · x̂`, `db = Σ_rows dy` (both left out if `None`).
#[allow(clippy::too_many_arguments)]
pub fn layer_backward(
    x: &[f32],
    residual: Option<&[f32]>,
    w: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dwb: Option<(&mut [f32], &mut [f32])>,
) {
    let d = w.len();
    assert!(d > 0 && x.len() == dy.len() && x.len() == dx.len() && x.len().is_multiple_of(d));
    assert!(residual.is_none_or(|r| r.len() == x.len()));
    let rows = x.len() / d;
    let block = block_rows(rows, d);
    let sums = if dwb.is_some() { 2 * d } else { 0 };
    let mut parts = vec![0.0; rows.div_ceil(block) * sums];
    let run = |at: usize, dx: &mut [f32], part: &mut [f32]| {
        let range = at * block * d..at * block * d + dx.len();
        let r = residual.map_or(&[][..], |r| &r[range.clone()]);
        layer_backward_rows(&x[range.clone()], r, w, eps, &dy[range], dx, part);
    };
    let chunks = dx.par_chunks_mut(block * d).enumerate();
    match dwb {
        Some((dw, db)) => {
            chunks
                .zip(parts.par_chunks_mut(sums))
                .for_each(|((at, dx), part)| run(at, dx, part));
            let mut both = vec![0.0; sums];
            gather(&parts, &mut both);
            dw.copy_from_slice(&both[..d]);
            db.copy_from_slice(&both[d..]);
        }
        None => chunks.for_each(|(at, dx)| run(at, dx, &mut [])),
    }
}

kernel! {
    fn layer_backward_rows<S>(
        x: &[f32],
        r: &[f32],
        w: &[f32],
        eps: f32,
        dy: &[f32],
        dx: &mut [f32],
        sums: &mut [f32],
    ) {
        let d = w.len();
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
        for (at, ((x, dy), dx)) in rows.enumerate() {
            sum_row::<S>(x, row(r, at, d), dx);
            let (mean, scale) = moments::<S>(dx, eps);
            let (m, s) = (S::splat(mean), S::splat(scale));
            let (mut total, mut dot) = (S::splat(0.0), S::splat(0.0));
            let mut i = 0;
            while i < d {
                let n = d - i;
                let g = S::load_n(dy.as_ptr().add(i), n).mul(S::load_n(w.as_ptr().add(i), n));
                // Lanes past the end hold −mean · s, but g is zero there.
                let hat = S::load_n(dx.as_ptr().add(i), n).sub(m).mul(s);
                total = total.add(g);
                dot = g.fma(hat, dot);
                i += S::LANES;
            }
            let shift = S::splat(-total.sum() / d as f32);
            let along = S::splat(-dot.sum() / d as f32);
            let mut i = 0;
            while i < d {
                let n = d - i;
                let p = dx.as_mut_ptr().add(i);
                let dyv = S::load_n(dy.as_ptr().add(i), n);
                let hat = S::load_n(p, n).sub(m).mul(s);
                let g = dyv.fma(S::load_n(w.as_ptr().add(i), n), shift);
                s.mul(along.fma(hat, g)).store_n(p, n);
                if !sums.is_empty() {
                    let p = sums.as_mut_ptr().add(i);
                    dyv.fma(hat, S::load_n(p, n)).store_n(p, n);
                    let p = p.add(d);
                    dyv.add(S::load_n(p, n)).store_n(p, n);
                }
                i += S::LANES;
            }
        }
    }
}
