//! A small `f32` product without packing, for the blocks inside attention:
//! `c [m, n] (+)= a [m, k] · b [k, n]`, the columns of `b` and `c` contiguous,
//! `a` with any strides.

use crate::simd::Simd;

/// Left factor of [`multiply`]: pointer, row stride, depth stride.
#[derive(Clone, Copy)]
pub(crate) struct Left(pub(crate) *const f32, pub(crate) usize, pub(crate) usize);

/// Runs the product, tile by tile.
///
/// # Safety
/// The pointers are valid for the numbers that the sizes and strides name, and
/// `c` overlaps neither factor.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd>(
    (m, n, k): (usize, usize, usize),
    a: Left,
    b: *const f32,
    ldb: usize,
    c: *mut f32,
    ldc: usize,
    add: bool,
) {
    unsafe {
        let mut j = 0;
        while j < n {
            let (bp, w) = (b.add(j), n - j);
            let vectors = w.div_ceil(S::LANES);
            let wide = S::LANES == 16;
            // Height by width fills the registers: 24 sums of 32, or 8 of 16.
            macro_rules! column {
                ($high:literal, $vectors:literal) => {{
                    let mut i = 0;
                    while i < m {
                        let left = m - i;
                        let at = Left(a.0.add(i * a.1), a.1, a.2);
                        let cp = c.add(i * ldc + j);
                        i += if left >= $high {
                            tile::<S, $high, $vectors>(k, at, bp, ldb, cp, ldc, w, add);
                            $high
                        } else if left >= 4 {
                            tile::<S, 4, $vectors>(k, at, bp, ldb, cp, ldc, w, add);
                            4
                        } else {
                            tile::<S, 1, $vectors>(k, at, bp, ldb, cp, ldc, w, add);
                            1
                        };
                    }
                    $vectors
                }};
            }
            let done = match vectors {
                1 if wide => column!(12, 1),
                2 if wide => column!(12, 2),
                3 if wide => column!(8, 3),
                _ if wide => column!(6, 4),
                1 => column!(8, 1),
                _ => column!(4, 2),
            };
            j += done * S::LANES;
        }
    }
}

/// `H × (W vectors)` results; the last vector may be cut at `width`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn tile<S: Simd, const H: usize, const W: usize>(
    k: usize,
    a: Left,
    b: *const f32,
    ldb: usize,
    c: *mut f32,
    ldc: usize,
    width: usize,
    add: bool,
) {
    unsafe {
        let mut s = [[S::splat(0.0); W]; H];
        if add {
            for (i, row) in s.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    *v = S::load_n(c.add(i * ldc + j * S::LANES), width - j * S::LANES);
                }
            }
        }
        if width >= W * S::LANES {
            for p in 0..k {
                let mut bs = [S::splat(0.0); W];
                for (j, v) in bs.iter_mut().enumerate() {
                    *v = S::load(b.add(p * ldb + j * S::LANES));
                }
                for (i, row) in s.iter_mut().enumerate() {
                    let x = S::splat(*a.0.add(i * a.1 + p * a.2));
                    for j in 0..W {
                        row[j] = x.fma(bs[j], row[j]);
                    }
                }
            }
        } else {
            for p in 0..k {
                let mut bs = [S::splat(0.0); W];
                for (j, v) in bs.iter_mut().enumerate() {
                    *v = S::load_n(b.add(p * ldb + j * S::LANES), width - j * S::LANES);
                }
                for (i, row) in s.iter_mut().enumerate() {
                    let x = S::splat(*a.0.add(i * a.1 + p * a.2));
                    for j in 0..W {
                        row[j] = x.fma(bs[j], row[j]);
                    }
                }
            }
        }
        for (i, row) in s.iter().enumerate() {
            for (j, v) in row.iter().enumerate() {
                v.store_n(c.add(i * ldc + j * S::LANES), width - j * S::LANES);
            }
        }
    }
}
