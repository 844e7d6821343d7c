//! The product of bf16 factors with `f32` sums on `vdpbf16ps`.
//!
//! Blocking after BLIS: the right factor is packed once, in panels of 32 rows
//! and blocks of at most 384 in depth (24 KiB a panel, which stays in the first
//! cache); the left factor is packed in panels of 12, by the task that needs it
//! (second cache) or as a whole; tasks run tiles of 12 × 32, whose 24 sums fill the vector registers.
//! Sums over the depth go block by block through the result, always in the same
//! order, so the result does not depend on the number of threads.

use std::arch::x86_64::*;

use rayon::prelude::*;

use super::pack::pack;
use super::{Start, View};
use crate::buffer::{Shared, with_scratch};

/// Rows of the left factor in a tile.
const MR: usize = 12;
/// Rows of the right factor, thus columns of the result, in a tile.
const NR: usize = 32;
/// Largest block in depth.
const KC: usize = 384;
/// Largest block of left rows that a task takes.
const MC: usize = 96;
/// Products below this many multiplications stay on one thread.
const SERIAL: usize = 1 << 19;

/// A right factor in panels; see the module.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    words: &'a [u32],
    rows: usize,
    depth: usize,
    block: usize,
}

/// Even blocks of about equal size: a last block of a few would waste the tile's set-up.
fn block_size(depth: usize) -> usize {
    depth
        .div_ceil(depth.div_ceil(KC).max(1))
        .next_multiple_of(2)
        .max(2)
}

/// Packs `b` into scratch of this thread and lends it to `f`.
pub(super) fn with_packed<R>(b: View<'_>, f: impl FnOnce(Packed<'_>) -> R) -> R {
    with_scratch(|scratch| {
        let words = scratch.u32s(b.rows.next_multiple_of(NR) * b.depth.div_ceil(2));
        pack_all(&b, NR, words);
        f(Packed {
            words,
            rows: b.rows,
            depth: b.depth,
            block: block_size(b.depth),
        })
    })
}

/// Packs all of `view` in panels of `tile` rows: block after block in depth,
/// in each block panel after panel.
fn pack_all(view: &View<'_>, tile: usize, words: &mut [u32]) {
    let panels = view.rows.div_ceil(tile);
    let block = block_size(view.depth);
    assert!(words.len() >= panels * tile * view.depth.div_ceil(2));
    let out = Shared::new(words);
    // Where rows are contiguous, panels side by side read whole pages of them.
    let group = 384 / tile;
    let blocks = view.depth.div_ceil(block);
    let tasks = blocks * panels.div_ceil(group);
    let run = |task: usize| {
        let k0 = task % blocks * block;
        let p0 = task / blocks * group;
        let depth = block.min(view.depth - k0);
        let count = group.min(panels - p0);
        let at = k0 / 2 * panels * tile + p0 * depth.div_ceil(2) * tile;
        // SAFETY: bf16 products run only where the instructions exist; each
        // task writes its own panels of its own block, inside `words`.
        unsafe { pack(view, p0 * tile, count, tile, k0, depth, out.get().add(at)) }
    };
    if view.rows * view.depth < 1 << 16 {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().for_each(run);
    }
}

/// `c = start + a · bᵀ`
pub(super) fn product(a: View<'_>, b: &Packed<'_>, start: Start<'_>, c: &mut [f32]) {
    let (m, n, k) = (a.rows, b.rows, a.depth);
    assert_eq!(k, b.depth, "both factors have the same depth");
    assert_eq!(c.len(), m * n, "the result is {m} × {n}");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "a bias for each column");
    }
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        match start {
            Start::Zero => c.fill(0.0),
            Start::Add => {}
            Start::Bias(bias) => c
                .chunks_exact_mut(n)
                .for_each(|row| row.copy_from_slice(bias)),
        }
        return;
    }
    if a.depth_stride == 1 {
        return blocks(&Left::View(a), m, b, start, c);
    }
    // A task's few columns of a left factor with contiguous rows would touch a
    // page for each number in depth; packed as a whole, it is read in order.
    with_scratch(|scratch| {
        let words = scratch.u32s(m.next_multiple_of(MR) * k.div_ceil(2));
        pack_all(&a, MR, words);
        blocks(&Left::Packed(words), m, b, start, c);
    });
}

/// The left factor of [`blocks`].
enum Left<'a> {
    /// Each task packs its rows.
    View(View<'a>),
    /// Packed by [`pack_all`].
    Packed(&'a [u32]),
}

/// Cuts the result into tasks and runs them.
fn blocks(a: &Left<'_>, m: usize, b: &Packed<'_>, start: Start<'_>, c: &mut [f32]) {
    let panels = b.rows.div_ceil(NR);
    let threads = rayon::current_num_threads();
    let mc = m.div_ceil(4 * threads).next_multiple_of(MR).min(MC);
    let row_tasks = m.div_ceil(mc);
    let wanted = (2 * threads).div_ceil(row_tasks);
    let group = panels.div_ceil(wanted).max(2);
    let column_tasks = panels.div_ceil(group);
    let out = Shared::new(c);
    let run = |task: usize| {
        let i0 = task / column_tasks * mc;
        let p0 = task % column_tasks * group;
        let count = group.min(panels - p0);
        // SAFETY: as in `pack_all`; each task writes its own rows and columns.
        unsafe { rows(a, m, i0, mc.min(m - i0), b, p0, count, start, out.get()) };
    };
    let tasks = row_tasks * column_tasks;
    if m * b.rows * b.depth < SERIAL {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().for_each(run);
    }
}

/// Rows `i0 .. i0 + m` of the `all_rows` of the result, panels `p0 .. p0 +
/// panels` of its columns.
#[allow(clippy::too_many_arguments)]
unsafe fn rows(
    a: &Left<'_>,
    all_rows: usize,
    i0: usize,
    m: usize,
    b: &Packed<'_>,
    p0: usize,
    panels: usize,
    start: Start<'_>,
    c: *mut f32,
) {
    let n = b.rows;
    let (all_columns, all_rows) = (n.next_multiple_of(NR), all_rows.next_multiple_of(MR));
    let tiles = m.div_ceil(MR);
    with_scratch(|scratch| {
        let own = match a {
            Left::View(_) => tiles * MR * b.block / 2,
            Left::Packed(_) => 0,
        };
        let own = scratch.u32s(own).as_mut_ptr();
        for k0 in (0..b.depth).step_by(b.block) {
            let depth = b.block.min(b.depth - k0);
            let pairs = depth.div_ceil(2);
            // SAFETY: `own` has room for the tiles; panels and the rows of `c`
            // lie inside their slices by the bounds of the caller.
            unsafe {
                let left = match a {
                    Left::View(a) => {
                        pack(a, i0, tiles, MR, k0, depth, own);
                        own.cast_const()
                    }
                    Left::Packed(words) => words.as_ptr().add(k0 / 2 * all_rows + i0 * pairs),
                };
                for p in p0..p0 + panels {
                    let panel = b.words.as_ptr().add(k0 / 2 * all_columns + p * pairs * NR);
                    let column = p * NR;
                    let width = NR.min(n - column);
                    let from = match start {
                        _ if k0 > 0 => From::Result,
                        Start::Zero => From::Zero,
                        Start::Add => From::Result,
                        Start::Bias(bias) => From::Row(bias.as_ptr().add(column)),
                    };
                    for t in 0..tiles {
                        let high = MR.min(m - t * MR);
                        let to = c.add((i0 + t * MR) * n + column);
                        tile_of(
                            high,
                            pairs,
                            left.add(t * MR * pairs),
                            panel,
                            from,
                            to,
                            n,
                            width,
                        );
                    }
                }
            }
        }
    });
}

/// What the sums of a tile start from.
#[derive(Clone, Copy)]
enum From {
    Zero,
    Row(*const f32),
    Result,
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn tile_of(
    high: usize,
    pairs: usize,
    a: *const u32,
    b: *const u32,
    from: From,
    c: *mut f32,
    ldc: usize,
    width: usize,
) {
    macro_rules! pick {
        ($($n:literal)*) => {
            match high {
                $($n => unsafe { tile::<$n>(pairs, a, b, from, c, ldc, width) },)*
                _ => unreachable!("a tile has 1 to {MR} rows"),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// `H × width` results: `pairs` steps, each a word of two factors in depth.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile<const H: usize>(
    pairs: usize,
    a: *const u32,
    b: *const u32,
    from: From,
    c: *mut f32,
    ldc: usize,
    width: usize,
) {
    // SAFETY: the panels hold `pairs` steps; masks keep to `width` columns.
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
        let mut s = [[_mm512_setzero_ps(); 2]; H];
        match from {
            From::Zero => {}
            From::Row(row) => {
                let r = [
                    _mm512_maskz_loadu_ps(m0, row),
                    _mm512_maskz_loadu_ps(m1, row.wrapping_add(16)),
                ];
                s = [r; H];
            }
            From::Result => {
                for (i, s) in s.iter_mut().enumerate() {
                    let row = c.add(i * ldc);
                    s[0] = _mm512_maskz_loadu_ps(m0, row);
                    s[1] = _mm512_maskz_loadu_ps(m1, row.wrapping_add(16));
                }
            }
        }
        let (mut a, mut b) = (a, b);
        for _ in 0..pairs {
            let b0 = std::mem::transmute::<__m512i, __m512bh>(_mm512_load_si512(b.cast()));
            let b1 = std::mem::transmute::<__m512i, __m512bh>(_mm512_load_si512(b.add(16).cast()));
            for (i, s) in s.iter_mut().enumerate() {
                let x =
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(*a.add(i) as i32));
                s[0] = _mm512_dpbf16_ps(s[0], x, b0);
                s[1] = _mm512_dpbf16_ps(s[1], x, b1);
            }
            a = a.add(MR);
            b = b.add(NR);
        }
        if width == NR {
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
