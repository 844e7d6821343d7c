//! What attention does to rows: scores to weights, and the plain sums over keys
//! that are read as they lie.

use half::bf16;

use crate::element::{Element, sealed::Lanes};
use crate::math::{exp, largest};
use crate::simd::Simd;

/// `to [dim, ld] = fromᵀ` for `count` rows of `from`, `stride` apart; `ld` is at
/// least `count` rounded up to whole vectors, which are all written.
#[inline(always)]
pub(super) unsafe fn transpose<S: Simd, T: Lanes>(
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

/// Turns the first `visible` scores of a row into exponentials, the others into
/// zeros: the logarithm of the sum of the unshifted exponentials, and the sum.
#[inline(always)]
pub(super) unsafe fn softmax<S: Simd>(row: &mut [f32], visible: usize, scale: f32) -> (f32, f32) {
    unsafe {
        let (row, rest) = row.split_at_mut(visible.min(row.len()));
        rest.fill(0.0);
        let n = row.len();
        if n == 0 {
            return (f32::INFINITY, 0.0);
        }
        let p = row.as_mut_ptr();
        let max = largest::<S>(row);
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

/// `s[j] = q · k_j`, reading the keys as they lie, a vector of them at a time.
#[inline(always)]
pub(super) unsafe fn dots<S: Simd, Q: Lanes, T: Lanes>(
    q: *const Q,
    k: *const T,
    stride: usize,
    dim: usize,
    count: usize,
    s: *mut f32,
) {
    unsafe {
        let mut j = 0;
        while j < count {
            let n = S::LANES.min(count - j);
            let k = k.add(j * stride);
            let sums = if dim.is_multiple_of(S::LANES) {
                whole_dots::<S, Q, T>(q, k, stride, dim, n - 1)
            } else {
                let mut sums = [S::splat(0.0); 16];
                for (i, sum) in sums.iter_mut().enumerate().take(n) {
                    let mut d = 0;
                    while d < dim {
                        let x: S = Q::load(q.add(d), dim - d);
                        *sum = x.fma(T::load(k.add(i * stride + d), dim - d), *sum);
                        d += S::LANES;
                    }
                }
                sums
            };
            turned_sum(sums).store_n(s.add(j), n);
            j += S::LANES;
        }
    }
}

/// Products of `q` with a vector of keys, each as lanes that are to be summed; the
/// key `last` is the last one that exists, and stands for those behind it. No count
/// here varies, so that the sums stay in registers.
#[inline(always)]
unsafe fn whole_dots<S: Simd, Q: Lanes, T: Lanes>(
    q: *const Q,
    k: *const T,
    stride: usize,
    dim: usize,
    last: usize,
) -> [S; 16] {
    unsafe {
        let mut sums = [S::splat(0.0); 16];
        let mut d = 0;
        while d < dim {
            let x: S = Q::load(q.add(d), S::LANES);
            for i in 0..S::LANES {
                sums[i] = x.fma(T::load(k.add(i.min(last) * stride + d), S::LANES), sums[i]);
            }
            d += S::LANES;
        }
        sums
    }
}

/// The sum over the lanes of each vector, in the lane of its place.
#[inline(always)]
unsafe fn turned_sum<S: Simd>(mut sums: [S; 16]) -> S {
    unsafe {
        S::transpose(&mut sums);
        let mut all = sums[0];
        for sum in &sums[1..S::LANES] {
            all = all.add(*sum);
        }
        all
    }
}

/// `acc += Σ_j p[j] · v_j`
#[inline(always)]
pub(super) unsafe fn weigh<S: Simd, T: Lanes>(
    p: *const f32,
    v: *const T,
    stride: usize,
    dim: usize,
    count: usize,
    acc: *mut f32,
) {
    unsafe {
        let mut d = 0;
        while d < dim {
            let wide = dim - d >= 4 * S::LANES;
            if wide {
                weigh_columns::<S, T, 4>(p, v.add(d), stride, dim - d, count, acc.add(d));
            } else {
                weigh_columns::<S, T, 1>(p, v.add(d), stride, dim - d, count, acc.add(d));
            }
            d += if wide { 4 * S::LANES } else { S::LANES };
        }
    }
}

#[inline(always)]
unsafe fn weigh_row<S: Simd, T: Lanes, const W: usize>(
    sums: &mut [S; W],
    weight: f32,
    v: *const T,
    width: usize,
) {
    unsafe {
        let weight = S::splat(weight);
        for (i, sum) in sums.iter_mut().enumerate() {
            let at = i * S::LANES;
            *sum = weight.fma(T::load(v.add(at), width - at), *sum);
        }
    }
}

/// [`weigh`] for `W` vectors of a row, of which `width` numbers exist. Sums stay in
/// registers, in two sets, so that few wait for the one before.
#[inline(always)]
unsafe fn weigh_columns<S: Simd, T: Lanes, const W: usize>(
    p: *const f32,
    v: *const T,
    stride: usize,
    width: usize,
    count: usize,
    acc: *mut f32,
) {
    unsafe {
        let mut sums = [[S::splat(0.0); W]; 2];
        let mut j = 0;
        while j + 2 <= count {
            weigh_row(&mut sums[0], *p.add(j), v.add(j * stride), width);
            weigh_row(&mut sums[1], *p.add(j + 1), v.add((j + 1) * stride), width);
            j += 2;
        }
        if j < count {
            weigh_row(&mut sums[0], *p.add(j), v.add(j * stride), width);
        }
        for i in 0..W {
            let (to, n) = (acc.add(i * S::LANES), width - i * S::LANES);
            S::load_n(to, n)
                .add(sums[0][i].add(sums[1][i]))
                .store_n(to, n);
        }
    }
}

kernel! {
    /// Scores of `visible.len()` queries to exponentials, zero behind those that a
    /// query sees and up to `most`; writes the logarithms of the sums of the
    /// unshifted ones to `logs`, and what the rows are to be multiplied with.
    pub(super) fn weights<S>(
        s: *mut f32,
        ld: usize,
        most: usize,
        visible: &[usize],
        scale: f32,
        logs: &mut [f32],
        factors: &mut [f32],
    ) {
        for (i, visible) in visible.iter().enumerate() {
            let row = std::slice::from_raw_parts_mut(s.add(i * ld), most);
            let (log, sum) = softmax::<S>(row, *visible, scale);
            logs[i] = log;
            factors[i] = if *visible == 0 { 0.0 } else { 1.0 / sum };
        }
    }
}

kernel! {
    /// What rounding to bf16 takes from each of `count` rows of `most` numbers.
    pub(super) fn remainders<S>(s: *mut f32, ld: usize, most: usize, count: usize) {
        let mut rounded = [bf16::ZERO; 16];
        for i in 0..count {
            let mut j = 0;
            while j < most {
                let (p, n) = (s.add(i * ld + j), most - j);
                let x = S::load_n(p, n);
                x.store_bf16(rounded.as_mut_ptr());
                x.sub(S::load_bf16(rounded.as_ptr())).store_n(p, n);
                j += S::LANES;
            }
        }
    }
}

kernel! {
    /// `to_i = factor_i · from_i` for rows of `dim` numbers.
    pub(super) fn store<S; T: Element>(
        from: *const f32,
        factors: &[f32],
        dim: usize,
        to: *mut T,
        row: usize,
    ) {
        for (i, factor) in factors.iter().enumerate() {
            let factor = S::splat(*factor);
            let mut d = 0;
            while d < dim {
                let x = S::load_n(from.add(i * dim + d), dim - d).mul(factor);
                T::store(to.add(i * row + d), dim - d, x);
                d += S::LANES;
            }
        }
    }
}

kernel! {
    /// From scores `p` and `dP` in `ds`, both `[visible.len(), ld]`: the weights
    /// `P = e^(s · scale − log)` and `P ∘ (dP − Σ_d do ∘ o) · scale` in their
    /// places, zero behind those that a query sees and up to `most`.
    pub(super) fn slopes<S; T: Element>(
        p: *mut f32,
        ds: *mut f32,
        ld: usize,
        most: usize,
        visible: &[usize],
        scale: f32,
        logs: &[f32],
        out: *const T,
        grad: *const T,
        row: usize,
        dim: usize,
    ) {
        for (i, &visible) in visible.iter().enumerate() {
            let mut dot = S::splat(0.0);
            let mut d = 0;
            while d < dim {
                let o: S = T::load(out.add(i * row + d), dim - d);
                dot = o.fma(T::load(grad.add(i * row + d), dim - d), dot);
                d += S::LANES;
            }
            let dot = S::splat(dot.sum());
            let (factor, shift) = (S::splat(scale), S::splat(-logs[i]));
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
    }
}

kernel! {
    /// The output of one query over keys that are read as they lie.
    pub(super) fn one<S; T: Element, Y: Element>(
        q: *const T,
        k: *const T,
        v: *const T,
        stride: usize,
        dim: usize,
        visible: usize,
        scale: f32,
        s: &mut [f32],
        acc: &mut [f32],
        out: *mut Y,
    ) -> f32 {
        dots::<S, T, T>(q, k, stride, dim, visible, s.as_mut_ptr());
        let (log, sum) = softmax::<S>(&mut s[..visible], visible, scale);
        acc.fill(0.0);
        weigh::<S, T>(s.as_ptr(), v, stride, dim, visible, acc.as_mut_ptr());
        let factor = S::splat(if visible == 0 { 0.0 } else { 1.0 / sum });
        let mut d = 0;
        while d < dim {
            let x = S::load_n(acc.as_ptr().add(d), dim - d).mul(factor);
            Y::store(out.add(d), dim - d, x);
            d += S::LANES;
        }
        log
    }
}
