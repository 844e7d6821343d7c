//! Products in `f32` on vectors of any width, written once.
//!
//! The left factor is always `f32`. The right one is `f32` too, or words of two
//! bf16 numbers ([`super::pack`]) of which a shift and a mask make two `f32`
//! vectors: weights of half the size, on processors that cannot multiply bf16.

use half::bf16;

use super::View;
use super::method::{Begin, Method, To};
use crate::element::{Element, sealed::Lanes};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Plain, Simd};

/// Columns of a panel of pairs, the same for all instruction sets.
pub(super) const PAIRS_WIDE: usize = 32;

/// Copies `count` numbers, rounding them as stored.
#[inline(always)]
pub(super) unsafe fn copy<S: Simd, T: Lanes>(from: *const f32, to: *mut T, count: usize) {
    let mut i = 0;
    while i < count {
        // SAFETY: the caller's pointers.
        unsafe { T::store(to.add(i), count - i, S::load_n(from.add(i), count - i)) };
        i += S::LANES;
    }
}

/// Packs panels of `TILE` rows as `panel[depth][row]`, depth filled up to `grain`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn pack_full<S: Simd, T: Element, const TILE: usize>(
    view: &View<'_, T>,
    first: usize,
    panels: usize,
    grain: usize,
    k0: usize,
    depth: usize,
    out: *mut f32,
) {
    let steps = depth.next_multiple_of(grain);
    // SAFETY: offsets stay inside the view by the counts given to `load`, and
    // inside `out` by the loop bounds; see `put` for what reaches further.
    unsafe {
        for p in 0..panels {
            let row = first + p * TILE;
            let real = view.rows.saturating_sub(row).min(TILE);
            let out = out.add(p * steps * TILE);
            if view.depth_stride == 1 {
                for at in (0..TILE).step_by(S::LANES) {
                    let rows = real.saturating_sub(at).min(S::LANES);
                    for k in (0..depth).step_by(S::LANES) {
                        let left = depth - k;
                        let mut x = [S::splat(0.0); 16];
                        for (i, x) in x.iter_mut().enumerate().take(rows) {
                            let at = (row + at + i) * view.row_stride + k0 + k;
                            *x = T::load(view.data.as_ptr().add(at), left);
                        }
                        S::transpose(&mut x);
                        for (j, x) in x.iter().enumerate().take(left.min(S::LANES)) {
                            put::<S, TILE>(out, k + j, steps, at, *x);
                        }
                    }
                }
            } else {
                for k in 0..depth {
                    let from = view.data.as_ptr().add((k0 + k) * view.depth_stride);
                    for at in (0..TILE).step_by(S::LANES) {
                        let x = if real <= at {
                            S::splat(0.0)
                        } else {
                            T::load(from.add(row + at), real - at)
                        };
                        put::<S, TILE>(out, k, steps, at, x);
                    }
                }
            }
            for k in depth..steps {
                std::slice::from_raw_parts_mut(out.add(k * TILE), TILE).fill(0.0);
            }
        }
    }
}

/// Stores a vector of a step. One that is wider than the panel may reach into
/// the next step, which is written later, but not past the last one.
#[inline(always)]
unsafe fn put<S: Simd, const TILE: usize>(out: *mut f32, k: usize, steps: usize, at: usize, x: S) {
    unsafe {
        let to = out.add(k * TILE + at);
        if k * TILE + at + S::LANES <= steps * TILE {
            x.store(to);
        } else {
            x.store_n(to, TILE - at);
        }
    }
}

/// Packs panels of 32 rows as words of two bf16 neighbours in depth.
#[inline(always)]
unsafe fn pack_pairs<S: Simd, T: Element>(
    view: &View<'_, T>,
    first: usize,
    panels: usize,
    grain: usize,
    k0: usize,
    depth: usize,
    out: *mut u32,
) {
    const STRIP: usize = 64;
    let steps = depth.next_multiple_of(grain) / 2;
    // SAFETY: as in `pack_full`.
    unsafe {
        for p in 0..panels {
            let row = first + p * PAIRS_WIDE;
            let real = view.rows.saturating_sub(row).min(PAIRS_WIDE);
            let out =
                std::slice::from_raw_parts_mut(out.add(p * steps * PAIRS_WIDE), steps * PAIRS_WIDE);
            out.fill(0);
            if view.depth_stride == 1 {
                for j in 0..real {
                    let from = view.data.as_ptr().add((row + j) * view.row_stride + k0);
                    for k in (0..depth).step_by(STRIP) {
                        let count = STRIP.min(depth - k);
                        let mut strip = [bf16::ZERO; STRIP];
                        round::<S, T>(from.add(k), strip.as_mut_ptr(), count);
                        for (i, pair) in strip[..count.next_multiple_of(2)]
                            .chunks_exact(2)
                            .enumerate()
                        {
                            out[(k / 2 + i) * PAIRS_WIDE + j] = word(pair[0], pair[1]);
                        }
                    }
                }
            } else {
                for k in 0..depth {
                    let from = view.data.as_ptr().add((k0 + k) * view.depth_stride + row);
                    let mut strip = [bf16::ZERO; PAIRS_WIDE];
                    round::<S, T>(from, strip.as_mut_ptr(), real);
                    for (j, x) in strip.iter().enumerate() {
                        out[k / 2 * PAIRS_WIDE + j] |= u32::from(x.to_bits()) << (16 * (k % 2));
                    }
                }
            }
        }
    }
}

fn word(even: bf16, odd: bf16) -> u32 {
    u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16
}

#[inline(always)]
unsafe fn round<S: Simd, T: Lanes>(from: *const T, to: *mut bf16, count: usize) {
    let mut i = 0;
    while i < count {
        // SAFETY: the caller's pointers.
        unsafe {
            let x: S = T::load(from.add(i), count - i);
            bf16::store(to.add(i), count - i, x);
        }
        i += S::LANES;
    }
}

/// Vector `j` of a row, of which `width` numbers exist.
#[inline(always)]
unsafe fn part<S: Simd, const W: usize>(row: *const f32, j: usize, width: usize) -> S {
    let at = j * S::LANES;
    // SAFETY: the caller's row.
    unsafe {
        if width >= W * S::LANES {
            S::load(row.add(at))
        } else if at < width {
            S::load_n(row.add(at), width - at)
        } else {
            S::splat(0.0)
        }
    }
}

/// Sums of `H × (W vectors)` over `depth`; the left panel has `HIGH` rows, the
/// right one `ld` columns, of which `width` count.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn sums<S: Simd, const H: usize, const W: usize, const HIGH: usize, const PAIRS: bool>(
    depth: usize,
    a: *const f32,
    b: *const u32,
    ld: usize,
    begin: Begin,
    c: *mut f32,
    ldc: usize,
    width: usize,
) {
    // SAFETY: panels hold their steps, and counts keep to `width` columns.
    unsafe {
        let mut s = [[S::splat(0.0); W]; H];
        match begin {
            Begin::Zero => {}
            Begin::Row(row) => {
                for s in &mut s {
                    for (j, s) in s.iter_mut().enumerate() {
                        *s = part::<S, W>(row, j, width);
                    }
                }
            }
            Begin::Result => {
                for (i, s) in s.iter_mut().enumerate() {
                    for (j, s) in s.iter_mut().enumerate() {
                        *s = part::<S, W>(c.add(i * ldc), j, width);
                    }
                }
            }
        }
        let (mut a, mut b) = (a, b);
        if PAIRS {
            for _ in 0..depth.div_ceil(2) {
                let mut even = [S::splat(0.0); W];
                let mut odd = even;
                for j in 0..W {
                    (even[j], odd[j]) = S::halves(b.add(j * S::LANES));
                }
                for (i, s) in s.iter_mut().enumerate() {
                    let x = S::splat(*a.add(i));
                    for j in 0..W {
                        s[j] = x.fma(even[j], s[j]);
                    }
                }
                for (i, s) in s.iter_mut().enumerate() {
                    let x = S::splat(*a.add(HIGH + i));
                    for j in 0..W {
                        s[j] = x.fma(odd[j], s[j]);
                    }
                }
                a = a.add(2 * HIGH);
                b = b.add(ld);
            }
        } else {
            for _ in 0..depth {
                let mut v = [S::splat(0.0); W];
                for (j, v) in v.iter_mut().enumerate() {
                    *v = S::load(b.cast::<f32>().add(j * S::LANES));
                }
                for (i, s) in s.iter_mut().enumerate() {
                    let x = S::splat(*a.add(i));
                    for j in 0..W {
                        s[j] = x.fma(v[j], s[j]);
                    }
                }
                a = a.add(HIGH);
                b = b.add(ld);
            }
        }
        for (i, s) in s.iter().enumerate() {
            for (j, s) in s.iter().enumerate() {
                let at = j * S::LANES;
                if width >= W * S::LANES {
                    s.store(c.add(i * ldc + at));
                } else if at < width {
                    s.store_n(c.add(i * ldc + at), width - at);
                }
            }
        }
    }
}

/// A method on vectors `$simd` with tiles of `$high × $vectors` vectors in
/// panels of `$wide` columns.
macro_rules! method {
    (
        $(#[$meta:meta])* $name:ident, $simd:ty, $high:literal, $vectors:literal, $wide:expr,
        $block:literal, $pairs:literal, [$($feature:literal)?], $($n:literal)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        $(#[$meta])*
        impl Method for $name {
            const HIGH: usize = $high;
            const WIDE: usize = $wide;
            const BLOCK: usize = $block;
            const GRAIN: usize = if $pairs { 2 } else { 1 };
            const LEFT: usize = 1;
            const RIGHT: usize = if $pairs { 2 } else { 1 };

            unsafe fn pack_left<T: Element>(
                view: &View<'_, T>,
                first: usize,
                panels: usize,
                k0: usize,
                depth: usize,
                out: *mut u32,
            ) {
                $(#[target_feature(enable = $feature)])?
                unsafe fn go<T: Element>(
                    view: &View<'_, T>,
                    first: usize,
                    panels: usize,
                    k0: usize,
                    depth: usize,
                    out: *mut u32,
                ) {
                    let grain = <$name as Method>::GRAIN;
                    unsafe {
                        pack_full::<$simd, T, $high>(
                            view, first, panels, grain, k0, depth, out.cast(),
                        );
                    }
                }
                unsafe { go(view, first, panels, k0, depth, out) }
            }

            unsafe fn pack_right<T: Element>(
                view: &View<'_, T>,
                first: usize,
                panels: usize,
                k0: usize,
                depth: usize,
                out: *mut u32,
            ) {
                $(#[target_feature(enable = $feature)])?
                unsafe fn go<T: Element>(
                    view: &View<'_, T>,
                    first: usize,
                    panels: usize,
                    k0: usize,
                    depth: usize,
                    out: *mut u32,
                ) {
                    let grain = <$name as Method>::GRAIN;
                    unsafe {
                        if $pairs {
                            pack_pairs::<$simd, T>(view, first, panels, grain, k0, depth, out);
                        } else {
                            pack_full::<$simd, T, { $wide }>(
                                view, first, panels, grain, k0, depth, out.cast(),
                            );
                        }
                    }
                }
                unsafe { go(view, first, panels, k0, depth, out) }
            }

            unsafe fn tile(
                high: usize,
                depth: usize,
                a: *const u32,
                b: *const u32,
                begin: Begin,
                to: To,
            ) {
                $(#[target_feature(enable = $feature)])?
                unsafe fn go<const H: usize>(
                    depth: usize,
                    a: *const f32,
                    b: *const u32,
                    begin: Begin,
                    c: *mut f32,
                    ldc: usize,
                    width: usize,
                ) {
                    const STEP: usize = $vectors * <$simd as Simd>::LANES;
                    for at in (0..width).step_by(STEP) {
                        let begin = match begin {
                            Begin::Row(row) => Begin::Row(row.wrapping_add(at)),
                            other => other,
                        };
                        unsafe {
                            sums::<$simd, H, $vectors, $high, $pairs>(
                                depth, a, b.add(at), $wide, begin, c.add(at), ldc,
                                (width - at).min(STEP),
                            );
                        }
                    }
                }
                match high {
                    $($n => unsafe { go::<$n>(depth, a.cast(), b, begin, to.c, to.ldc, to.width) },)*
                    _ => unreachable!("a tile has 1 to {} rows", $high),
                }
            }

            unsafe fn write<T: Element>(from: *const f32, to: *mut T, count: usize) {
                $(#[target_feature(enable = $feature)])?
                unsafe fn go<T: Element>(from: *const f32, to: *mut T, count: usize) {
                    unsafe { copy::<$simd, T>(from, to, count) }
                }
                unsafe { go(from, to, count) }
            }
        }
    };
}

method! {
    /// AVX-512, both factors `f32`.
    #[cfg(target_arch = "x86_64")]
    Full512, Avx512, 12, 2, 32, 256, false,
    ["avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"], 1 2 3 4 5 6 7 8 9 10 11 12
}
method! {
    /// AVX-512 without BF16, right factor bf16.
    #[cfg(target_arch = "x86_64")]
    Mixed512, Avx512, 12, 2, PAIRS_WIDE, 384, true,
    ["avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"], 1 2 3 4 5 6 7 8 9 10 11 12
}
method! {
    /// AVX2 with FMA, both factors `f32`.
    #[cfg(target_arch = "x86_64")]
    Full256, Avx2, 6, 2, 16, 384, false, ["avx2,fma"], 1 2 3 4 5 6
}
method! {
    /// AVX2 with FMA, right factor bf16.
    #[cfg(target_arch = "x86_64")]
    Mixed256, Avx2, 6, 2, PAIRS_WIDE, 384, true, ["avx2,fma"], 1 2 3 4 5 6
}
method! {
    /// Any processor, both factors `f32`.
    FullPlain, Plain, 4, 1, 8, 384, false, [], 1 2 3 4
}
method! {
    /// Any processor, right factor bf16.
    MixedPlain, Plain, 4, 1, PAIRS_WIDE, 384, true, [], 1 2 3 4
}
