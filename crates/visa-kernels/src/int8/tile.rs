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

/// `high × 32` sums of `steps` words, those of `a` without signs, as `[step][12]`.
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
        let (mut a, mut b) = (a, b);
        for _ in 0..steps / U {
            for s in &mut s {
                let b0 = _mm512_load_si512(b.cast());
                let b1 = _mm512_load_si512(b.add(16).cast());
                for (i, s) in s.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(*a.add(i) as i32);
                    s[0] = _mm512_dpbusd_epi32(s[0], x, b0);
                    s[1] = _mm512_dpbusd_epi32(s[1], x, b1);
                }
                a = a.add(VNNI_HIGH);
                b = b.add(WIDE);
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

kernel! {
    /// `y = start + sums · scales`, a row of up to 32 columns.
    pub(super) fn scale<S; Y: Element>(
        sums: *const f32,
        scales: *const f32,
        bias: *const f32,
        start: Start<'_>,
        y: *mut Y,
        width: usize,
    ) {
        let mut j = 0;
        while j < width {
            let n = width - j;
            let from: S = begin(bias, start, y, j, n);
            let sum = S::load(sums.add(j)).fma(S::load(scales.add(j)), from);
            Y::store(y.add(j), n, sum);
            j += S::LANES;
        }
    }
}

/// What a result starts from.
#[inline(always)]
unsafe fn begin<S: Simd, Y: Element>(
    bias: *const f32,
    start: Start<'_>,
    y: *mut Y,
    j: usize,
    n: usize,
) -> S {
    unsafe {
        match start {
            Start::Zero => S::splat(0.0),
            Start::Bias(_) => S::load_n(bias.add(j), n),
            Start::Add => Y::load(y.add(j), n),
        }
    }
}

/// The sums of a row in 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) sums: *const i32,
    /// 2 if a row of low bytes follows that of the high ones.
    pub(super) parts: usize,
    /// What bytes without sign added to each sum; null if nothing.
    pub(super) offsets: *const i32,
    /// Of the row.
    pub(super) scale: f32,
}

kernel! {
    /// `y = start + (sums − offsets) · scale · scales`, a row of up to 32 columns.
    pub(super) fn finish<S; Y: Element>(
        sums: Sums,
        scales: *const f32,
        bias: *const f32,
        start: Start<'_>,
        y: *mut Y,
        width: usize,
    ) {
        let mut real = [0f32; WIDE];
        for j in 0..WIDE {
            let offset = if sums.offsets.is_null() { 0 } else { *sums.offsets.add(j) };
            let high = (*sums.sums.add(j) - offset) as f32;
            real[j] = if sums.parts == 1 {
                high
            } else {
                // A sum of 32 bits may not fit times 256.
                high * 256.0 + (*sums.sums.add(WIDE + j) - offset) as f32
            };
        }
        let factor = S::splat(sums.scale);
        let mut j = 0;
        while j < width {
            let n = width - j;
            let from: S = begin(bias, start, y, j, n);
            let scales = S::load(scales.add(j)).mul(factor);
            Y::store(y.add(j), n, S::load(real.as_ptr().add(j)).fma(scales, from));
            j += S::LANES;
        }
    }
}
