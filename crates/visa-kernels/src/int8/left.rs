//! Activations as the tiles of bytes read them.

use rayon::prelude::*;

use super::{Activations, GRAIN, WIDE, larger, tile};
use crate::buffer::{Scratch, Shared};
use crate::element::Element;
#[cfg(target_arch = "x86_64")]
use crate::gemm::amx::Hardware;
#[cfg(all(test, target_arch = "x86_64"))]
use crate::gemm::amx::Software;
use crate::isa::{self, Isa};
use crate::simd::Simd;

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Tiles of bytes.
    #[cfg(target_arch = "x86_64")]
    Tiles,
    /// The same in software.
    #[cfg(all(test, target_arch = "x86_64"))]
    SoftTiles,
    /// Words of four bytes, those of activations without sign.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// `f32`; the weights are widened.
    Widened,
}

impl Style {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if isa::isa() == Isa::Amx {
                return Self::Tiles;
            }
            if isa::isa() == Isa::Avx512 && is_x86_feature_detected!("avx512vnni") {
                return Self::Vnni;
            }
        }
        let _ = (isa::isa(), Isa::Portable);
        Self::Widened
    }

    /// Rows of a tile.
    pub(super) fn high(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Tiles => 32,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::SoftTiles => 32,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => tile::VNNI_HIGH,
            Self::Widened => tile::WIDENED_HIGH,
        }
    }

    /// Whether bytes of activations have no sign: 128 is added to each.
    pub(super) fn unsigned(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self == Self::Vnni
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            false
        }
    }
}

/// Activations `x [m, k]`, rounded and packed if the style asks for it. Rounded
/// to words, a row becomes two: the high bytes and the low ones.
pub(super) struct Left<'a, X> {
    pub(super) style: Style,
    /// Rows that one row of `x` takes.
    pub(super) parts: usize,
    /// Of each row of `x`.
    pub(super) scales: &'a [f32],
    words: &'a [u32],
    x: &'a [X],
    k: usize,
}

impl<'a, X: Element> Left<'a, X> {
    pub(super) fn new(
        x: &'a [X],
        m: usize,
        k: usize,
        activations: Activations,
        scratch: &'a mut Scratch,
    ) -> Self {
        Self::with_style(Style::best(), x, m, k, activations, scratch)
    }

    pub(super) fn with_style(
        style: Style,
        x: &'a [X],
        m: usize,
        k: usize,
        activations: Activations,
        scratch: &'a mut Scratch,
    ) -> Self {
        let unsigned = style.unsigned();
        let plain = Self {
            style,
            parts: 1,
            scales: &[],
            words: &[],
            x,
            k,
        };
        if style == Style::Widened {
            return plain;
        }
        let parts = match activations {
            Activations::Bytes => 1,
            Activations::Words => 2,
        };
        let steps = k.next_multiple_of(GRAIN) / 4;
        let rows = (m * parts).next_multiple_of(style.high());
        let all = scratch.u32s(rows * steps + m);
        let (words, scales) = all.split_at_mut(rows * steps);
        // SAFETY: any bits are a valid f32, and the length is the same.
        let scales: &mut [f32] =
            unsafe { std::slice::from_raw_parts_mut(scales.as_mut_ptr().cast(), m) };
        let out = Shared::new(words);
        let pack = |(i, (row, scale)): (usize, (&[X], &mut f32))| {
            *scale = pack_row(row, i * parts, parts, unsigned, style.high(), steps, out);
        };
        if m * k < 1 << 16 {
            x.chunks_exact(k.max(1))
                .zip(scales.iter_mut())
                .enumerate()
                .for_each(pack);
        } else {
            x.par_chunks_exact(k)
                .zip(scales.par_iter_mut())
                .enumerate()
                .for_each(pack);
        }
        if k == 0 {
            scales.fill(0.0);
        }
        Self {
            parts,
            scales,
            words,
            ..plain
        }
    }

    /// Sums of rows `row .. row + high` (of the packed rows) with a panel.
    ///
    /// # Safety
    /// `row` is a multiple of the height of tiles and the rows exist; the panel
    /// holds `steps` words of 32 columns; `sums` has room for `high × 32`.
    pub(super) unsafe fn tile(
        &self,
        row: usize,
        high: usize,
        panel: *const u32,
        steps: usize,
        sums: *mut u32,
    ) {
        let words = || self.words[row * steps..].as_ptr();
        // SAFETY: `best` names what the processor has; the caller's pointers.
        unsafe {
            match self.style {
                #[cfg(target_arch = "x86_64")]
                Style::Tiles => {
                    crate::gemm::amx::bytes::<Hardware>(high, steps, words(), panel, sums);
                }
                #[cfg(all(test, target_arch = "x86_64"))]
                Style::SoftTiles => {
                    crate::gemm::amx::bytes::<Software>(high, steps, words(), panel, sums);
                }
                #[cfg(target_arch = "x86_64")]
                Style::Vnni => tile::vnni(high, steps, words(), panel, sums.cast()),
                Style::Widened => {
                    let x = self.x[row * self.k..].as_ptr();
                    tile::widened::<X>(x, self.k, high, panel, sums.cast());
                }
            }
        }
    }
}

kernel! {
    /// Rounds a row and puts its bytes in their places, which are its own; its scale.
    fn pack_row<S; X: Element>(
        x: &[X],
        row: usize,
        parts: usize,
        unsigned: bool,
        high: usize,
        steps: usize,
        out: Shared<u32>,
    ) -> f32 {
        let most = if parts == 1 { 127.0 } else { 32_639.0 };
        let top = magnitude::<S, X>(x);
        let inverse = S::splat(if top > 0.0 { most / top } else { 0.0 });
        let flip = if unsigned { 0x80 } else { 0 };
        for at in (0..4 * steps).step_by(GRAIN) {
            let mut q = [0i32; GRAIN];
            let n = x.len().saturating_sub(at).min(GRAIN);
            let mut i = 0;
            while i < n {
                let v: S = X::load(x.as_ptr().add(at + i), n - i);
                v.mul(inverse).store_integers(q.as_mut_ptr().add(i));
                i += S::LANES;
            }
            let step = at / 4;
            for part in 0..parts {
                // The low byte has a sign, so the high one is rounded.
                let bytes = match part + 1 == parts {
                    true => q.map(|q| q as u8 ^ flip),
                    false => q.map(|q| ((q + 128) >> 8) as u8 ^ flip),
                };
                let row = row + part;
                let place = if unsigned {
                    row * steps + step
                } else {
                    row / high * high * steps + (step / 16 * high + row % high) * 16
                };
                out.get().add(place).cast::<[u8; GRAIN]>().write(bytes);
            }
        }
        top / most
    }
}

/// The largest magnitude; NaN if any number is.
#[inline(always)]
unsafe fn magnitude<S: Simd, X: Element>(x: &[X]) -> f32 {
    // SAFETY: the loads keep to the row.
    unsafe {
        let (mut top, mut wrong) = (S::splat(0.0), S::splat(0.0));
        let mut i = 0;
        while i < x.len() {
            let v: S = X::load(x.as_ptr().add(i), x.len() - i);
            top = top.max(v.abs());
            // Zero, but NaN for what is not finite.
            wrong = wrong.add(v.sub(v));
            i += S::LANES;
        }
        if wrong.sum() == 0.0 {
            top.top()
        } else {
            x.iter().fold(0.0, |top, x| larger(top, x.to_f32()))
        }
    }
}

const _: () = assert!(WIDE == 32 && GRAIN.is_multiple_of(64));
