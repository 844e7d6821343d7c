//! Rounding to bf16 and packing in one pass.
//!
//! A panel holds `T` rows of a factor. The inner loop multiplies pairs along
//! the depth (`vdpbf16ps`), so a panel is stored as words of two neighbours:
//! `panel[pair][row] = (x[row, 2·pair], x[row, 2·pair + 1])`. Rows and depth are
//! filled up with zeros.

use std::arch::x86_64::*;

use super::View;

/// Packs rows `first ..` of `view` into `panels` panels of `tile` rows (at most
/// 32), depth `k0 .. k0 + depth`; panel `p` starts at `out + p · depth/2 · tile`
/// (depth rounded up to even).
///
/// # Safety
/// AVX-512 F, BW and BF16 exist; `out` has room for the panels; the depth range
/// lies inside the view.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pack(
    view: &View<'_>,
    first: usize,
    panels: usize,
    tile: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    let pairs = depth.div_ceil(2);
    // SAFETY: offsets below stay inside the view by the row and depth masks,
    // and inside `out` by the loop bounds.
    unsafe {
        if view.depth_stride == 1 {
            for p in 0..panels {
                let row = first + p * tile;
                along_depth(view, row, tile, k0, depth, out.add(p * pairs * tile));
            }
        } else {
            assert_eq!(view.row_stride, 1, "one stride of a factor is 1");
            along_rows(view, first, panels, tile, k0, depth, out);
        }
    }
}

/// Numbers that packing reads ahead along the depth.
const AHEAD: usize = 64;
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

/// The depth is contiguous: sixteen rows by sixteen pairs are transposed in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn along_depth(
    view: &View<'_>,
    row: usize,
    tile: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    unsafe {
        let pairs = depth.div_ceil(2);
        let real = view.rows.saturating_sub(row).min(tile);
        for at in (0..tile).step_by(16) {
            let keep = lanes(tile, at);
            for k in (0..depth).step_by(32) {
                let (m0, m1) = (lanes(depth, k), lanes(depth, k + 16));
                let mut x = [_mm512_setzero_si512(); 16];
                let count = real.saturating_sub(at).min(16);
                if count == 16 && depth - k >= 32 {
                    let from = view
                        .data
                        .as_ptr()
                        .add((row + at) * view.row_stride + k0 + k);
                    for (i, x) in x.iter_mut().enumerate() {
                        let p = from.add(i * view.row_stride);
                        // Sixteen streams are more than the hardware follows.
                        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast());
                        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD + 16).cast());
                        let (lo, hi) = (_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16)));
                        *x = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(hi, lo));
                    }
                } else {
                    for (i, x) in x.iter_mut().enumerate().take(count) {
                        let p = view
                            .data
                            .as_ptr()
                            .add((row + at + i) * view.row_stride + k0 + k);
                        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast());
                        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD + 16).cast());
                        let lo = _mm512_maskz_loadu_ps(m0, p);
                        let hi = _mm512_maskz_loadu_ps(m1, p.wrapping_add(16));
                        *x = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(hi, lo));
                    }
                }
                let x = transpose(x);
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
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn along_rows(
    view: &View<'_>,
    first: usize,
    panels: usize,
    tile: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    const WEAVE: [u16; 32] = {
        let mut w = [0; 32];
        let mut i = 0;
        while i < 16 {
            w[2 * i] = i as u16;
            w[2 * i + 1] = 16 + i as u16;
            i += 1;
        }
        w
    };
    unsafe {
        let weave = _mm512_loadu_si512(WEAVE.as_ptr().cast());
        let pairs = depth.div_ceil(2);
        for pair in 0..pairs {
            let even = view.data.as_ptr().add((k0 + 2 * pair) * view.depth_stride);
            let odd = even.wrapping_add(view.depth_stride);
            let both = 2 * pair + 1 < depth;
            for p in 0..panels {
                let row = first + p * tile;
                let real = view.rows.saturating_sub(row).min(tile);
                let to = out.add((p * pairs + pair) * tile);
                for at in (0..tile).step_by(16) {
                    let m = lanes(real, at);
                    // The next numbers in depth lie a row of the matrix, often pages, away.
                    let ahead = even.wrapping_add(2 * AHEAD_PAIRS * view.depth_stride + row + at);
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(view.depth_stride).cast());
                    let lo = _mm512_maskz_loadu_ps(m, even.wrapping_add(row + at));
                    let hi =
                        _mm512_maskz_loadu_ps(if both { m } else { 0 }, odd.wrapping_add(row + at));
                    let x = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(hi, lo));
                    let x = _mm512_permutexvar_epi16(weave, x);
                    _mm512_mask_storeu_epi32(to.add(at).cast(), lanes(tile, at), x);
                }
            }
        }
    }
}

/// Transposes a square of sixteen by sixteen words.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(x: [__m512i; 16]) -> [__m512i; 16] {
    let mut a = x;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    // Now b[4g + c] holds, in its four quarters q, column 4q + c of rows 4g .. 4g+4.
    let mut t = b;
    for c in 0..4 {
        let lo01 = _mm512_shuffle_i32x4::<0x88>(b[c], b[4 + c]);
        let hi01 = _mm512_shuffle_i32x4::<0xdd>(b[c], b[4 + c]);
        let lo23 = _mm512_shuffle_i32x4::<0x88>(b[8 + c], b[12 + c]);
        let hi23 = _mm512_shuffle_i32x4::<0xdd>(b[8 + c], b[12 + c]);
        t[c] = _mm512_shuffle_i32x4::<0x88>(lo01, lo23);
        t[8 + c] = _mm512_shuffle_i32x4::<0xdd>(lo01, lo23);
        t[4 + c] = _mm512_shuffle_i32x4::<0x88>(hi01, hi23);
        t[12 + c] = _mm512_shuffle_i32x4::<0xdd>(hi01, hi23);
    }
    t
}
