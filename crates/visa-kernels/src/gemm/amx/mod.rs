//! Tiles of bf16 on AMX: 32 × 32 results in four tiles.
//!
//! The right factor is packed as for `vdpbf16ps`; two tiles of a panel lie side
//! by side, rows 128 bytes apart. The left factor is packed as it lies, 32 rows
//! by 32 numbers in one piece. Both are filled up with zeros, so a tile is
//! always whole, and its sums go through a block of scratch to the result.
//!
//! What is tested where: [`Software`] stands in for the five instructions, so
//! packing, blocking and tails are tested on any processor with AVX-512 BF16;
//! the encodings of [`Hardware`] run in tests only where AMX is found.

mod tiles;

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::View;
use super::method::{Begin, Method, To};
use super::pack::{TILE_ROWS, pack, pack_tiles};
use crate::element::Element;
#[cfg(test)]
pub(crate) use tiles::Software;
pub(crate) use tiles::{Hardware, Tiles, available};

/// Products on tiles `T`.
pub(crate) struct Amx<T>(PhantomData<T>);

impl<T> Clone for Amx<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Amx<T> {}

/// Numbers in depth that a tile holds.
const DEPTH: usize = 32;

/// The sums of a block.
#[repr(C, align(64))]
struct Block([f32; TILE_ROWS * TILE_ROWS]);

impl<T: Tiles> Method for Amx<T> {
    const HIGH: usize = TILE_ROWS;
    const WIDE: usize = 32;
    const BLOCK: usize = 384;
    const GRAIN: usize = DEPTH;
    const LEFT: usize = 2;
    const RIGHT: usize = 2;

    unsafe fn pack_left<X: Element>(
        view: &View<'_, X>,
        first: usize,
        panels: usize,
        k0: usize,
        depth: usize,
        out: *mut u32,
    ) {
        unsafe { pack_tiles(view, first, panels, k0, depth, out) }
    }

    unsafe fn pack_right<X: Element>(
        view: &View<'_, X>,
        first: usize,
        panels: usize,
        k0: usize,
        depth: usize,
        out: *mut u32,
    ) {
        unsafe { pack(view, first, panels, Self::WIDE, DEPTH, k0, depth, out) }
    }

    unsafe fn tile(high: usize, depth: usize, a: *const u32, b: *const u32, begin: Begin, to: To) {
        let To { c, ldc, width, .. } = to;
        let mut block = Block([0.0; TILE_ROWS * TILE_ROWS]);
        let sums = block.0.as_mut_ptr();
        // SAFETY: the panels hold `depth` filled up to whole tiles; `finish`
        // keeps to `high` rows and `width` columns.
        unsafe {
            let blocks = depth.div_ceil(DEPTH);
            match (high > 16, width > 16) {
                (true, true) => multiply::<T, true, true, false>(blocks, a, b, sums),
                (true, false) => multiply::<T, true, false, false>(blocks, a, b, sums),
                (false, true) => multiply::<T, false, true, false>(blocks, a, b, sums),
                (false, false) => multiply::<T, false, false, false>(blocks, a, b, sums),
            }
            finish(sums, high, begin, c, ldc, width);
        }
    }

    unsafe fn write<X: Element>(from: *const f32, to: *mut X, count: usize) {
        unsafe { super::dot::write(from, to, count) }
    }
}

/// One to four tiles of sums over `blocks` tiles in depth.
#[inline(always)]
unsafe fn multiply<T: Tiles, const TALL: bool, const WIDE: bool, const BYTES: bool>(
    blocks: usize,
    a: *const u32,
    b: *const u32,
    sums: *mut f32,
) {
    /// Bytes between the rows of a left tile, a right tile, the sums.
    const LEFT: usize = 64;
    const RIGHT: usize = 128;
    const SUMS: usize = TILE_ROWS * 4;
    // SAFETY: a tile in depth takes 32 · 16 words of each panel.
    unsafe {
        let mut t = T::start();
        t.zero::<0>();
        t.zero::<1>();
        t.zero::<2>();
        t.zero::<3>();
        let (mut a, mut b) = (a, b);
        for _ in 0..blocks {
            t.load::<4>(a.cast(), LEFT);
            t.load::<6>(b.cast(), RIGHT);
            if TALL {
                t.load::<5>(a.add(256).cast(), LEFT);
            }
            dot::<T, BYTES, 0, 4, 6>(&mut t);
            if WIDE {
                t.load::<7>(b.add(16).cast(), RIGHT);
            }
            if TALL {
                dot::<T, BYTES, 2, 5, 6>(&mut t);
            }
            if WIDE {
                dot::<T, BYTES, 1, 4, 7>(&mut t);
            }
            if TALL && WIDE {
                dot::<T, BYTES, 3, 5, 7>(&mut t);
            }
            a = a.add(512);
            b = b.add(512);
        }
        t.store::<0>(sums.cast(), SUMS);
        if WIDE {
            t.store::<1>(sums.add(16).cast(), SUMS);
        }
        if TALL {
            t.store::<2>(sums.add(16 * TILE_ROWS).cast(), SUMS);
        }
        if TALL && WIDE {
            t.store::<3>(sums.add(16 * TILE_ROWS + 16).cast(), SUMS);
        }
    }
}

#[inline(always)]
unsafe fn dot<T: Tiles, const BYTES: bool, const C: usize, const A: usize, const B: usize>(
    t: &mut T,
) {
    // SAFETY: tiles exist by the caller's word.
    unsafe {
        if BYTES {
            t.dot_bytes::<C, A, B>();
        } else {
            t.dot::<C, A, B>();
        }
    }
}

/// Sums of bytes, `high × 32` of 32 bits at `sums`, rows 32 apart: `a` is a
/// panel `[steps / 16][32 rows][16 words]`, `b` one of `[steps][32]` words.
///
/// # Safety
/// Tiles `T` exist; the panels hold `steps` words, a multiple of 16.
pub(crate) unsafe fn bytes<T: Tiles>(
    high: usize,
    steps: usize,
    a: *const u32,
    b: *const u32,
    sums: *mut u32,
) {
    let mut block = Block([0.0; TILE_ROWS * TILE_ROWS]);
    let all = block.0.as_mut_ptr();
    // SAFETY: a row of words is moved as it is.
    unsafe {
        if high > 16 {
            multiply::<T, true, true, true>(steps / 16, a, b, all);
        } else {
            multiply::<T, false, true, true>(steps / 16, a, b, all);
        }
        std::ptr::copy_nonoverlapping(all.cast(), sums, high * TILE_ROWS);
    }
}

/// `c = begin + sums`, `high × width` of them.
#[target_feature(enable = "avx512f")]
unsafe fn finish(
    sums: *const f32,
    high: usize,
    begin: Begin,
    c: *mut f32,
    ldc: usize,
    width: usize,
) {
    for at in (0..width).step_by(16) {
        let mask = match width - at {
            left if left >= 16 => u16::MAX,
            left => (1 << left) - 1,
        };
        for i in 0..high {
            // SAFETY: the mask keeps to the columns.
            unsafe {
                let x = _mm512_loadu_ps(sums.add(i * TILE_ROWS + at));
                let to = c.add(i * ldc + at);
                let from = match begin {
                    Begin::Zero => _mm512_setzero_ps(),
                    Begin::Row(row) => _mm512_maskz_loadu_ps(mask, row.add(at)),
                    Begin::Result => _mm512_maskz_loadu_ps(mask, to),
                };
                _mm512_mask_storeu_ps(to, mask, _mm512_add_ps(x, from));
            }
        }
    }
}

#[cfg(test)]
mod tests;
