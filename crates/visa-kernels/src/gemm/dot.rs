//! Tiles of bf16 pairs on `vdpbf16ps`: 12 × 32 results, whose 24 sums fill the
//! vector registers.

use std::arch::x86_64::*;

use super::View;
use super::method::{Begin, Method, To};
use super::pack::pack;
use crate::element::{Element, sealed::Lanes};

/// AVX-512 with BF16.
#[derive(Clone, Copy)]
pub(crate) struct Dot;

impl Method for Dot {
    const HIGH: usize = 12;
    const WIDE: usize = 32;
    const BLOCK: usize = 384;
    const GRAIN: usize = 2;
    const LEFT: usize = 2;
    const RIGHT: usize = 2;
    const ROUNDS: bool = true;

    unsafe fn pack_left<T: Element>(
        view: &View<'_, T>,
        first: usize,
        panels: usize,
        k0: usize,
        depth: usize,
        out: *mut u32,
    ) {
        unsafe { pack(view, first, panels, Self::HIGH, Self::GRAIN, k0, depth, out) }
    }

    unsafe fn pack_right<T: Element>(
        view: &View<'_, T>,
        first: usize,
        panels: usize,
        k0: usize,
        depth: usize,
        out: *mut u32,
    ) {
        unsafe { pack(view, first, panels, Self::WIDE, Self::GRAIN, k0, depth, out) }
    }

    #[inline]
    unsafe fn tile(high: usize, depth: usize, a: *const u32, b: *const u32, begin: Begin, to: To) {
        // SAFETY: the caller's panels.
        unsafe { any_tile::<true>(high, depth, (a, 1), b, begin, to) }
    }

    #[inline(always)]
    fn reads<T: Element>(view: &View<'_, T>) -> bool {
        // A word of two neighbours is what is multiplied.
        !T::FULL && view.depth_stride == 1 && (view.depth | view.row_stride).is_multiple_of(2)
    }

    #[inline]
    unsafe fn tile_unpacked<T: Element>(
        view: &View<'_, T>,
        (first, k0): (usize, usize),
        high: usize,
        depth: usize,
        b: *const u32,
        begin: Begin,
        to: To,
    ) {
        // SAFETY: the rows and their depth lie inside the view.
        unsafe {
            let at = view.data.as_ptr().add(first * view.row_stride + k0);
            let left = (at.cast(), view.row_stride / 2);
            any_tile::<false>(high, depth, left, b, begin, to);
        }
    }

    unsafe fn write<T: Element>(from: *const f32, to: *mut T, count: usize) {
        unsafe { write(from, to, count) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn write<T: Lanes>(from: *const f32, to: *mut T, count: usize) {
    unsafe { T::rounded(from, to, count) }
}

#[allow(clippy::too_many_arguments)]
#[inline]
unsafe fn any_tile<const PACKED: bool>(
    high: usize,
    depth: usize,
    left: (*const u32, usize),
    b: *const u32,
    begin: Begin,
    to: To,
) {
    let steps = depth.div_ceil(2);
    macro_rules! pick {
        ($($n:literal $u:literal),*) => {
            match high {
                // SAFETY: the caller's.
                $($n => unsafe {
                    tile::<$n, $u, PACKED>(steps, left, b, begin, to);
                },)*
                _ => unreachable!("a tile has 1 to 12 rows"),
            }
        };
    }
    // Few sums wait for each other; a second set of them keeps the unit busy.
    pick!(1 4, 2 2, 3 2, 4 2, 5 1, 6 1, 7 1, 8 1, 9 1, 10 1, 11 1, 12 1);
}

/// `H × width` results: `steps` words of two factors in depth, `U` sets of sums. The left words are packed, or lie in
/// rows so many words apart.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile<const H: usize, const U: usize, const PACKED: bool>(
    steps: usize,
    (a, row): (*const u32, usize),
    b: *const u32,
    begin: Begin,
    to: To,
) {
    let To {
        c,
        ldc,
        width,
        rounded,
    } = to;
    // SAFETY: the panels hold `steps` words; masks keep to `width` columns.
    unsafe {
        let m0 = if width >= 16 {
            u16::MAX
        } else {
            (1 << width) - 1
        };
        let m1 = match width.saturating_sub(16) {
            16 => u16::MAX,
            left => (1 << left) - 1,
        };
        let mut s = [[[_mm512_setzero_ps(); 2]; H]; U];
        match begin {
            Begin::Zero => {}
            Begin::Row(row) => {
                let r = [
                    _mm512_maskz_loadu_ps(m0, row),
                    _mm512_maskz_loadu_ps(m1, row.wrapping_add(16)),
                ];
                s[0] = [r; H];
            }
            Begin::Result => {
                for (i, s) in s[0].iter_mut().enumerate() {
                    let row = c.add(i * ldc);
                    s[0] = _mm512_maskz_loadu_ps(m0, row);
                    s[1] = _mm512_maskz_loadu_ps(m1, row.wrapping_add(16));
                }
            }
        }
        let (next, row) = if PACKED { (Dot::HIGH, 1) } else { (1, row) };
        let (mut a, mut b) = (a, b);
        for _ in 0..steps / U {
            for s in &mut s {
                step(a, row, b, s);
                a = a.add(next);
                b = b.add(Dot::WIDE);
            }
        }
        for _ in 0..steps % U {
            step(a, row, b, &mut s[0]);
            a = a.add(next);
            b = b.add(Dot::WIDE);
        }
        for u in 1..U {
            for i in 0..H {
                for j in 0..2 {
                    s[0][i][j] = _mm512_add_ps(s[0][i][j], s[u][i][j]);
                }
            }
        }
        let s = &s[0];
        if let Some((to, stride)) = rounded {
            let mask = u32::from(m0) | u32::from(m1) << 16;
            for (i, s) in s.iter().enumerate() {
                let both = _mm512_cvtne2ps_pbh(s[1], s[0]);
                let both = std::mem::transmute::<__m512bh, __m512i>(both);
                _mm512_mask_storeu_epi16(to.add(i * stride).cast(), mask, both);
            }
        } else if width == Dot::WIDE {
            for (i, s) in s.iter().enumerate() {
                let row = c.add(i * ldc);
                _mm512_storeu_ps(row, s[0]);
                _mm512_storeu_ps(row.add(16), s[1]);
            }
        } else {
            for (i, s) in s.iter().enumerate() {
                let row = c.add(i * ldc);
                _mm512_mask_storeu_ps(row, m0, s[0]);
                _mm512_mask_storeu_ps(row.wrapping_add(16), m1, s[1]);
            }
        }
    }
}

/// Adds the products of one word of each row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn step<const H: usize>(a: *const u32, row: usize, b: *const u32, s: &mut [[__m512; 2]; H]) {
    // SAFETY: as in `tile`.
    unsafe {
        let b0 = std::mem::transmute::<__m512i, __m512bh>(_mm512_load_si512(b.cast()));
        let b1 = std::mem::transmute::<__m512i, __m512bh>(_mm512_load_si512(b.add(16).cast()));
        for (i, s) in s.iter_mut().enumerate() {
            let x = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(
                a.add(i * row).read_unaligned() as i32,
            ));
            s[0] = _mm512_dpbf16_ps(s[0], x, b0);
            s[1] = _mm512_dpbf16_ps(s[1], x, b1);
        }
    }
}
