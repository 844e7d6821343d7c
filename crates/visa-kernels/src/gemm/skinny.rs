//! `x · wᵀ` for a few rows of `x`, as in decoding: the weight is read once, in
//! order, and nothing is packed. Computes in `f32` at any precision, because
//! memory is the limit and not arithmetic.

use rayon::prelude::*;

use crate::buffer::Shared;
use crate::element::Element;
use crate::matmul::Start;
use crate::simd::Simd;

use super::method::Begin;

/// Rows of `x` up to which this path is the faster one.
pub(crate) const MOST_ROWS: usize = 16;
/// Outputs that one task computes.
const BLOCK: usize = 64;

/// `y [m, n] = start + x [m, k] · w [n, k]ᵀ`
pub(crate) fn forward<X: Element, W: Element, Y: Element>(
    x: &[X],
    w: &[W],
    start: Start<'_>,
    y: &mut [Y],
    (m, n, k): (usize, usize, usize),
) {
    assert!(x.len() == m * k && w.len() == n * k && y.len() == m * n);
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "a bias for each column");
    }
    let out = Shared::new(y);
    let run = |block: usize| {
        let j0 = block * BLOCK;
        columns(x, w, start, out, m, n, k, j0, BLOCK.min(n - j0));
    };
    let blocks = n.div_ceil(BLOCK);
    if n * k < 1 << 16 {
        (0..blocks).for_each(run);
    } else {
        (0..blocks).into_par_iter().for_each(run);
    }
}

kernel! {
    /// Columns `j0 .. j0 + count` of the result, which no other task writes.
    fn columns<S; X: Element, W: Element, Y: Element>(
        x: &[X],
        w: &[W],
        start: Start<'_>,
        y: Shared<Y>,
        m: usize,
        n: usize,
        k: usize,
        j0: usize,
        count: usize,
    ) {
        let mut j = j0;
        while j < j0 + count {
            let wide = if j0 + count - j >= 4 { 4 } else { 1 };
            let mut i = 0;
            while i < m {
                let high = if m - i >= 4 { 4 } else { 1 };
                let xp = x.as_ptr().add(i * k);
                let wp = w.as_ptr().add(j * k);
                let yp = y.get().add(i * n + j);
                let begin = match start {
                    Start::Zero => Begin::Zero,
                    Start::Add => Begin::Result,
                    Start::Bias(bias) => Begin::Row(bias.as_ptr().add(j)),
                };
                match (high, wide) {
                    (4, 4) => dots::<S, X, W, Y, 4, 4>(xp, wp, begin, yp, n, k),
                    (4, _) => dots::<S, X, W, Y, 4, 1>(xp, wp, begin, yp, n, k),
                    (_, 4) => dots::<S, X, W, Y, 1, 4>(xp, wp, begin, yp, n, k),
                    _ => dots::<S, X, W, Y, 1, 1>(xp, wp, begin, yp, n, k),
                }
                i += high;
            }
            j += wide;
        }
    }
}

/// `H × W` dot products over `k`.
#[inline(always)]
unsafe fn dots<S: Simd, X: Element, V: Element, Y: Element, const H: usize, const W: usize>(
    x: *const X,
    w: *const V,
    begin: Begin,
    y: *mut Y,
    n: usize,
    k: usize,
) {
    unsafe {
        let mut s = [[S::splat(0.0); W]; H];
        let mut at = 0;
        while at < k {
            let left = k - at;
            let mut xs = [S::splat(0.0); H];
            for (i, v) in xs.iter_mut().enumerate() {
                *v = X::load(x.add(i * k + at), left);
            }
            for j in 0..W {
                let v: S = V::load(w.add(j * k + at), left);
                for i in 0..H {
                    s[i][j] = v.fma(xs[i], s[i][j]);
                }
            }
            at += S::LANES;
        }
        for (i, row) in s.iter().enumerate() {
            for (j, v) in row.iter().enumerate() {
                let y = y.add(i * n + j);
                let begin = match begin {
                    Begin::Zero => 0.0,
                    Begin::Row(row) => *row.add(j),
                    Begin::Result => (*y).to_f32(),
                };
                *y = Y::from_f32(v.sum() + begin);
            }
        }
    }
}
