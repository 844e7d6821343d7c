//! What differs between the instruction sets, and which of them multiplies.

use half::bf16;

use super::View;
use crate::element::Element;
use crate::isa::{self, Isa};
use crate::matmul::Compute;

/// What the sums of a tile start from.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    /// Zero.
    Zero,
    /// This row of numbers, in each row.
    Row(*const f32),
    /// What `c` already holds.
    Result,
}

/// Where a tile's results go.
#[derive(Clone, Copy)]
pub(crate) struct To {
    /// The first of them.
    pub(crate) c: *mut f32,
    /// Numbers from one row to the next.
    pub(crate) ldc: usize,
    /// Columns.
    pub(crate) width: usize,
    /// Where they go instead, rounded, and its numbers from one row to the next;
    /// for a [`Method`] that [rounds](Method::ROUNDS).
    pub(crate) rounded: Option<(*mut bf16, usize)>,
}

/// How factors are packed, and what computes a tile of the result.
///
/// A panel holds `HIGH` rows of the left factor, or `WIDE` of the right one,
/// over one block in depth, in the order in which [`Method::tile`] reads them.
/// Rows and depth are filled up with zeros.
///
/// # Safety
/// The methods may run only where [`Kind::best`] names them. Pointers are valid
/// for what the sizes say; no panel holds more than `WIDE` or `HIGH` rows times
/// the steps of its depth.
pub(crate) trait Method: Copy + Send + Sync + 'static {
    /// Rows of the left factor in a tile.
    const HIGH: usize;
    /// Rows of the right factor, thus columns of the result, in a tile.
    const WIDE: usize;
    /// Largest block in depth: a right panel of it stays in the first cache.
    const BLOCK: usize;
    /// The depth of a block is filled up to a multiple of this.
    const GRAIN: usize;
    /// Numbers that a word of the left factor holds.
    const LEFT: usize;
    /// Numbers that a word of the right factor holds.
    const RIGHT: usize;
    /// Whether tiles can be written rounded.
    const ROUNDS: bool = false;

    /// Words of a left row over `depth`.
    #[inline(always)]
    fn left_steps(depth: usize) -> usize {
        depth.next_multiple_of(Self::GRAIN) / Self::LEFT
    }
    /// Words of a right row over `depth`.
    #[inline(always)]
    fn right_steps(depth: usize) -> usize {
        depth.next_multiple_of(Self::GRAIN) / Self::RIGHT
    }

    /// Packs `panels` left panels from row `first` on, `depth` from `k0` on.
    unsafe fn pack_left<T: Element>(
        view: &View<'_, T>,
        first: usize,
        panels: usize,
        k0: usize,
        depth: usize,
        out: *mut u32,
    );
    /// The same for right panels.
    unsafe fn pack_right<T: Element>(
        view: &View<'_, T>,
        first: usize,
        panels: usize,
        k0: usize,
        depth: usize,
        out: *mut u32,
    );
    /// Whether [`Method::tile_unpacked`] can read the rows of `view` as they lie.
    #[inline(always)]
    fn reads<T: Element>(_: &View<'_, T>) -> bool {
        false
    }
    /// [`Method::tile`] with rows of the left factor as they lie, from row `first`
    /// and depth `k0` on.
    #[allow(clippy::too_many_arguments)]
    unsafe fn tile_unpacked<T: Element>(
        _: &View<'_, T>,
        (_first, _k0): (usize, usize),
        _high: usize,
        _depth: usize,
        _b: *const u32,
        _begin: Begin,
        _to: To,
    ) {
        unreachable!("`reads` says no")
    }
    /// `high` rows of results from a panel each.
    unsafe fn tile(high: usize, depth: usize, a: *const u32, b: *const u32, begin: Begin, to: To);
    /// Copies `count` numbers, rounding them as stored.
    unsafe fn write<T: Element>(from: *const f32, to: *mut T, count: usize);
}

/// A method by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tiles of bf16.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// The same in software.
    #[cfg(all(test, target_arch = "x86_64"))]
    SoftTiles,
    /// Pairs of bf16 by `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Dot,
    /// Left factor `f32`, right factor pairs of bf16 that are widened.
    #[cfg(target_arch = "x86_64")]
    Mixed512,
    #[cfg(target_arch = "x86_64")]
    Mixed256,
    MixedPlain,
    /// Both `f32`.
    #[cfg(target_arch = "x86_64")]
    Full512,
    #[cfg(target_arch = "x86_64")]
    Full256,
    FullPlain,
}

impl Kind {
    /// The method for a product whose factors are both packed for it alone.
    pub(crate) fn best(compute: Compute) -> Self {
        #[cfg(target_arch = "x86_64")]
        if compute == Compute::Bf16 && isa::has_bf16() {
            return match isa::isa() {
                Isa::Amx => Self::Amx,
                _ => Self::Dot,
            };
        }
        let _ = compute;
        match isa::isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512 => Self::Full512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self::Full256,
            _ => Self::FullPlain,
        }
    }

    /// The method for a right factor kept as pairs of bf16, whose blocks were
    /// filled up to a multiple of `grain`.
    pub(crate) fn pairs(grain: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        if isa::has_bf16() {
            return match isa::isa() {
                Isa::Amx if grain.is_multiple_of(32) => Self::Amx,
                _ => Self::Dot,
            };
        }
        let _ = grain;
        match isa::isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512 => Self::Mixed512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self::Mixed256,
            _ => Self::MixedPlain,
        }
    }
}

/// Runs an expression with the type of a method by its [`Kind`].
macro_rules! with_method {
    ($kind:expr, $M:ident => $body:expr) => {{
        #[cfg(target_arch = "x86_64")]
        use $crate::gemm::{amx, dot};
        use $crate::gemm::{lanes, method::Kind};
        match $kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => {
                type $M = amx::Amx<amx::Hardware>;
                $body
            }
            #[cfg(all(test, target_arch = "x86_64"))]
            Kind::SoftTiles => {
                type $M = amx::Amx<amx::Software>;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Dot => {
                type $M = dot::Dot;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Mixed512 => {
                type $M = lanes::Mixed512;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Mixed256 => {
                type $M = lanes::Mixed256;
                $body
            }
            Kind::MixedPlain => {
                type $M = lanes::MixedPlain;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Full512 => {
                type $M = lanes::Full512;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Full256 => {
                type $M = lanes::Full256;
                $body
            }
            Kind::FullPlain => {
                type $M = lanes::FullPlain;
                $body
            }
        }
    }};
}
