//! The product of a linear layer and its gradients.
//!
//! ```text
//! y  = x · wᵀ + b      x [m, k], w [n, k], b [n], y [m, n]
//! dx = dy · w
//! dw = dyᵀ · x
//! db = Σ_rows dy
//! ```
//!
//! Each matrix may be `f32` or bf16 ([`Element`]); sums are `f32` in any case.
//! A weight that is used more often than it changes is better packed once:
//! [`crate::packed`].
//!
//! Errors: with [`Compute::F32`] that of summing `k` terms in `f32`; with
//! [`Compute::Bf16`] each factor is rounded by at most 2⁻⁸ of itself before
//! (relative half unit 2⁻⁹), so a sum is off by at most about `2⁻⁸ · Σ |x·w|`,
//! in the mean much less. Infinities and NaN propagate as in `f32`; bf16 has the
//! range of `f32`, so nothing overflows on the way.

use crate::element::Element;
use crate::gemm::{self, View, skinny};

/// What the factors are rounded to; sums are `f32` in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// No rounding.
    F32,
    /// bf16 where the processor multiplies it (see [`crate::isa::has_bf16`]),
    /// otherwise as [`Compute::F32`]; products of at most 16 rows as `F32` too,
    /// since they wait for memory and not for arithmetic.
    Bf16,
}

/// Sizes of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of `x` and `y`.
    pub m: usize,
    /// Outputs: rows of `w`, columns of `y`.
    pub n: usize,
    /// Inputs: columns of `x` and of `w`.
    pub k: usize,
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Nothing.
    Zero,
    /// The same row of numbers in each row of the result.
    Bias(&'a [f32]),
    /// What the result already holds.
    Add,
}

/// `y = start + x · wᵀ`
pub fn forward<X: Element, W: Element, Y: Element>(
    x: &[X],
    w: &[W],
    start: Start<'_>,
    y: &mut [Y],
    s: Sizes,
    c: Compute,
) {
    if s.m <= skinny::MOST_ROWS {
        return skinny::forward(x, w, start, y, (s.m, s.n, s.k));
    }
    let left = View::rows(x, s.m, s.k);
    gemm::with_right(View::rows(w, s.n, s.k), c, |right| {
        gemm::product(left, right, start, y);
    });
}

/// `dx = dy · w`, or `dx += dy · w` if `add`
pub fn grad_input<D: Element, W: Element, Y: Element>(
    dy: &[D],
    w: &[W],
    dx: &mut [Y],
    add: bool,
    s: Sizes,
    c: Compute,
) {
    let start = if add { Start::Add } else { Start::Zero };
    let left = View::rows(dy, s.m, s.n);
    gemm::with_right(View::columns(w, s.n, s.k), c, |right| {
        gemm::product(left, right, start, dx);
    });
}

/// `dw = dyᵀ · x`, or `dw += dyᵀ · x` if `add`
pub fn grad_weight<D: Element, X: Element>(
    dy: &[D],
    x: &[X],
    dw: &mut [f32],
    add: bool,
    s: Sizes,
    c: Compute,
) {
    let left = View::columns(dy, s.m, s.n);
    gemm::outer(left, View::columns(x, s.m, s.k), c, add, dw);
}
