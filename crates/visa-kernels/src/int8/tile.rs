//! Sums of bytes, and what becomes of them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::WIDE;
use crate::element::Element;
use crate::matmul::Start;
use crate::simd::Simd;

/// Rows of a tile of [`vnni`].
pub(super) const VNNI_HIGH: usize = 12;
/// Rows of a tile of [`widened`].
pub(super) const WIDENED_HIGH: usize = 6;

/// `high × 32` sums of `steps` words, those of `a` without signs, row by row.
///
/// # Safety
/// AVX-512 VNNI exists; the panels hold `steps` words, `sums` the sums.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn vnni(high: usize, steps: usize, a: *const u32, b: *const u32, sums: *mut i32) {
    macro_rules! pick {
        ($($n:literal $u:literal),*) => {
            match high {
                $($n => unsafe { vnni_tile::<$n, $u>(steps, a, b, sums) },)*
                _ => unreachable!("a tile has 1 to 12 rows"),
            }
        };
    }
    // Few sums wait for each other; a second set of them keeps the unit busy.
    pick!(1 4, 2 2, 3 2, 4 2, 5 1, 6 1, 7 1, 8 1, 9 1, 10 1, 11 1, 12 1)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni_tile<const H: usize, const U: usize>(
    steps: usize,
    a: *const u32,
    b: *const u32,
    sums: *mut i32,
) {
    // SAFETY: the caller's panels; `steps` is a multiple of 16, thus of `U`.
    unsafe {
        let mut s = [[[_mm512_setzero_si512(); 2]; H]; U];
        for step in (0..steps).step_by(U) {
            for (u, s) in s.iter_mut().enumerate() {
                let (a, b) = (a.add(step + u), b.add((step + u) * WIDE));
                let b0 = _mm512_load_si512(b.cast());
                let b1 = _mm512_load_si512(b.add(16).cast());
                for (i, s) in s.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(*a.add(i * steps) as i32);
                    s[0] = _mm512_dpbusd_epi32(s[0], x, b0);
                    s[1] = _mm512_dpbusd_epi32(s[1], x, b1);
                }
            }
        }
        for i in 0..H {
            for j in 0..2 {
                let mut sum = s[0][i][j];
                for s in &s[1..] {
                    sum = _mm512_add_epi32(sum, s[i][j]);
                }
                _mm512_storeu_si512(sums.add(i * WIDE + 16 * j).cast(), sum);
            }
        }
    }
}

kernel! {
    /// `high × 32` sums of the bytes of a panel with `f32` (or bf16) rows of `k`
    /// numbers, `k` apart. The pointers are valid for these.
    pub(super) fn widened<S; X: Element>(
        x: *const X,
        k: usize,
        high: usize,
        b: *const u32,
        sums: *mut f32,
    ) {
        let mut at = 0;
        while at < WIDE {
            let (b, sums) = (b.add(at), sums.add(at));
            match high {
                1 => widened_tile::<S, X, 1>(x, k, b, sums),
                2 => widened_tile::<S, X, 2>(x, k, b, sums),
                3 => widened_tile::<S, X, 3>(x, k, b, sums),
                4 => widened_tile::<S, X, 4>(x, k, b, sums),
                5 => widened_tile::<S, X, 5>(x, k, b, sums),
                _ => widened_tile::<S, X, 6>(x, k, b, sums),
            }
            at += 2 * S::LANES;
        }
    }
}

#[inline(always)]
unsafe fn widened_tile<S: Simd, X: Element, const H: usize>(
    x: *const X,
    k: usize,
    b: *const u32,
    sums: *mut f32,
) {
    unsafe {
        let mut s = [[S::splat(0.0); 2]; H];
        for step in 0..k.div_ceil(4) {
            let b = b.add(step * WIDE);
            let w = [S::bytes(b), S::bytes(b.add(S::LANES))];
            for byte in 0..4.min(k - 4 * step) {
                for (i, s) in s.iter_mut().enumerate() {
                    let x = S::splat((*x.add(i * k + 4 * step + byte)).to_f32());
                    s[0] = x.fma(w[0][byte], s[0]);
                    s[1] = x.fma(w[1][byte], s[1]);
                }
            }
        }
        for (i, s) in s.iter().enumerate() {
            s[0].store(sums.add(i * WIDE));
            s[1].store(sums.add(i * WIDE + S::LANES));
        }
    }
}

/// Where the results of some rows begin, and what they start from.
#[derive(Clone, Copy)]
pub(super) struct Results<'a, Y> {
    pub(super) y: *mut Y,
    /// Numbers from one row to the next.
    pub(super) stride: usize,
    pub(super) rows: usize,
    /// Columns, at most 32.
    pub(super) width: usize,
    pub(super) start: Start<'a>,
    /// Of the first column, if there is one.
    pub(super) bias: *const f32,
}

impl<Y: Element> Results<'_, Y> {
    /// What up to `n` results begin with.
    #[inline(always)]
    unsafe fn begin<S: Simd>(&self, row: usize, column: usize, n: usize) -> S {
        // SAFETY: the row and its columns exist.
        unsafe {
            match self.start {
                Start::Zero => S::splat(0.0),
                Start::Bias(_) => S::load_n(self.bias.add(column), n),
                Start::Add => Y::load(self.y.add(row * self.stride + column), n),
            }
        }
    }
}

kernel! {
    /// `y = start + sums · scales`
    pub(super) fn scale<S; Y: Element>(sums: *const f32, scales: *const f32, to: Results<'_, Y>) {
        for i in 0..to.rows {
            for j in (0..to.width).step_by(S::LANES) {
                let n = to.width - j;
                let sum = S::load(sums.add(i * WIDE + j));
                let y = sum.fma(S::load(scales.add(j)), to.begin(i, j, n));
                Y::store(to.y.add(i * to.stride + j), n, y);
            }
        }
    }
}

/// The sums of some rows in 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) sums: *const i32,
    /// 2 if a row of low bytes follows each of high ones.
    pub(super) parts: usize,
    /// What bytes without sign added to the sums of a column.
    pub(super) offsets: *const i32,
    /// One a row.
    pub(super) rows: *const f32,
}

kernel! {
    /// `y = start + (sums − offsets) · rows · scales`
    pub(super) fn finish<S; Y: Element>(from: Sums, scales: *const f32, to: Results<'_, Y>) {
        for j in (0..to.width).step_by(S::LANES) {
            let n = to.width - j;
            let scales = S::load(scales.add(j));
            for i in 0..to.rows {
                let sums = from.sums.add(i * from.parts * WIDE + j);
                let mut sum = S::difference(sums, from.offsets.add(j));
                if from.parts == 2 {
                    // A sum of 32 bits may not fit times 256.
                    let low = S::difference(sums.add(WIDE), from.offsets.add(j));
                    sum = sum.fma(S::splat(256.0), low);
                }
                let scale = scales.mul(S::splat(*from.rows.add(i)));
                let y = sum.fma(scale, to.begin(i, j, n));
                Y::store(to.y.add(i * to.stride + j), n, y);
            }
        }
    }
}
