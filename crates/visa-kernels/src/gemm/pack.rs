//! Rounding to bf16 and packing in one pass, with AVX-512 and BF16.
//!
//! The inner loop multiplies pairs along the depth, so a panel is stored as
//! words of two neighbours: `panel[pair][row] = (x[row, 2·pair], x[row, 2·pair + 1])`.
//! Rows and depth are filled up with zeros.

use std::arch::x86_64::*;

use super::View;
use crate::element::Element;
use crate::simd::transpose;

/// Packs rows `first ..` of `view` into `panels` panels of `tile` rows (at most
/// 32), depth `k0 .. k0 + depth` filled up to a multiple of `grain` (even, at
/// most 32); a panel starts where the last one ends.
///
/// # Safety
/// AVX-512 F, BW, VL and BF16 exist; `out` has room for the panels; the depth range
/// lies inside the view.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pack<T: Element>(
    view: &View<'_, T>,
    first: usize,
    panels: usize,
    tile: usize,
    grain: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    let pairs = depth.next_multiple_of(grain) / 2;
    // SAFETY: offsets below stay inside the view by the row and depth masks,
    // and inside `out` by the loop bounds.
    unsafe {
        if view.depth_stride == 1 {
            for p in 0..panels {
                let row = first + p * tile;
                along_depth(view, row, tile, pairs, k0, depth, out.add(p * pairs * tile));
            }
        } else {
            assert_eq!(view.row_stride, 1, "one stride of a factor is 1");
            along_rows(view, first, panels, tile, pairs, k0, depth, out);
        }
    }
}

/// Bytes that packing reads ahead along the depth.
const AHEAD: usize = 256;
/// Pairs that packing reads ahead where the rows are contiguous.
const AHEAD_PAIRS: usize = 4;

/// Mask of the lanes `at ..` of `n`.
#[inline(always)]
fn lanes(n: usize, at: usize) -> __mmask16 {
    match n.saturating_sub(at) {
        left if left >= 16 => u16::MAX,
        left => (1u16 << left) - 1,
    }
}

/// Up to 16 rows from `row` on, 32 numbers from `k` on: a word of two in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn square<T: Element>(
    view: &View<'_, T>,
    row: usize,
    count: usize,
    k: usize,
    (m0, m1): (__mmask16, __mmask16),
) -> [__m512i; 16] {
    let mut x = [_mm512_setzero_si512(); 16];
    // SAFETY: the caller's rows exist, and the masks keep to the depth.
    unsafe {
        let from = view.data.as_ptr().wrapping_add(row * view.row_stride + k);
        let mut load = |i: usize, m0, m1| {
            let p = from.wrapping_add(i * view.row_stride);
            // Sixteen streams are more than the hardware follows.
            let ahead = p.cast::<i8>().wrapping_add(AHEAD);
            _mm_prefetch::<_MM_HINT_T0>(ahead);
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
            x[i] = T::neighbours(p, m0, m1);
        };
        if count == 16 && m1 == u16::MAX {
            for i in 0..16 {
                load(i, u16::MAX, u16::MAX);
            }
        } else {
            for i in 0..count {
                load(i, m0, m1);
            }
        }
    }
    x
}

/// The depth is contiguous: sixteen rows by sixteen pairs are transposed in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn along_depth<T: Element>(
    view: &View<'_, T>,
    row: usize,
    tile: usize,
    pairs: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    let real = view.rows.saturating_sub(row).min(tile);
    for at in (0..tile).step_by(16) {
        let keep = lanes(tile, at);
        let rows = real.saturating_sub(at).min(16);
        for k in (0..depth).step_by(32) {
            let masks = (lanes(depth, k), lanes(depth, k + 16));
            // SAFETY: as in `pack`.
            unsafe {
                let x = transpose(square(view, row + at, rows, k0 + k, masks));
                let count = (pairs - k / 2).min(16);
                let base = out.add(k / 2 * tile + at);
                if count == 16 && keep == u16::MAX {
                    for (i, x) in x.iter().enumerate() {
                        _mm512_storeu_si512(base.add(i * tile).cast(), *x);
                    }
                } else {
                    for (i, x) in x.iter().enumerate().take(count) {
                        _mm512_mask_storeu_epi32(base.add(i * tile).cast(), keep, *x);
                    }
                }
            }
        }
    }
}

/// The rows are contiguous: two neighbours in depth are interleaved.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn along_rows<T: Element>(
    view: &View<'_, T>,
    first: usize,
    panels: usize,
    tile: usize,
    pairs: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    for pair in 0..pairs {
        let stride = view.depth_stride;
        let even = view
            .data
            .as_ptr()
            .wrapping_add((k0 + 2 * pair) * stride + first);
        let (one, both) = (2 * pair < depth, 2 * pair + 1 < depth);
        for p in 0..panels {
            let row = p * tile;
            let real = view.rows.saturating_sub(first + row).min(tile);
            for at in (0..tile).step_by(16) {
                let m = lanes(real, at);
                let from = even.wrapping_add(row + at);
                // SAFETY: as in `pack`.
                unsafe {
                    // The next numbers in depth lie a row of the matrix, often pages, away.
                    let ahead = from.wrapping_add(2 * AHEAD_PAIRS * stride);
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(stride).cast());
                    let x = T::woven(
                        from,
                        from.wrapping_add(stride),
                        if one { m } else { 0 },
                        if both { m } else { 0 },
                    );
                    let to = out.add((p * pairs + pair) * tile + at);
                    _mm512_mask_storeu_epi32(to.cast(), lanes(tile, at), x);
                }
            }
        }
    }
}

/// Rows of a left panel for tiles; see [`pack_tiles`].
pub(super) const TILE_ROWS: usize = 32;

/// Packs left panels for tiles: `panel[block of 32 in depth][32 rows][32 numbers]`.
///
/// # Safety
/// As for [`pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pack_tiles<T: Element>(
    view: &View<'_, T>,
    first: usize,
    panels: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    let blocks = depth.div_ceil(32);
    for p in 0..panels {
        for block in 0..blocks {
            let k = 32 * block;
            for half in 0..2 {
                let row = first + p * TILE_ROWS + 16 * half;
                let real = view.rows.saturating_sub(row).min(16);
                // SAFETY: as in `pack`.
                unsafe {
                    let x = if view.depth_stride == 1 {
                        let masks = (lanes(depth, k), lanes(depth, k + 16));
                        square(view, row, real, k0 + k, masks)
                    } else {
                        transpose(woven_square(view, row, real, k0 + k, depth - k))
                    };
                    let to = out.add(((p * blocks + block) * 2 + half) * 256);
                    for (i, x) in x.iter().enumerate() {
                        _mm512_storeu_si512(to.add(16 * i).cast(), *x);
                    }
                }
            }
        }
    }
}

/// Up to 16 contiguous rows, up to 32 numbers in depth: a vector for each pair.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn woven_square<T: Element>(
    view: &View<'_, T>,
    row: usize,
    count: usize,
    k: usize,
    depth: usize,
) -> [__m512i; 16] {
    let mut x = [_mm512_setzero_si512(); 16];
    let m = lanes(count, 0);
    for (pair, x) in x.iter_mut().enumerate() {
        let even = view
            .data
            .as_ptr()
            .wrapping_add((k + 2 * pair) * view.depth_stride + row);
        let odd = even.wrapping_add(view.depth_stride);
        let (one, both) = (2 * pair < depth, 2 * pair + 1 < depth);
        // SAFETY: the masks keep to the rows and the depth.
        *x = unsafe { T::woven(even, odd, if one { m } else { 0 }, if both { m } else { 0 }) };
    }
    x
}
