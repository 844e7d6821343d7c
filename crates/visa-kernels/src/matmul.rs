//! The product of a linear layer and its gradients.
//!
//! ```text
//! y  = x · wᵀ + b      x [m, k], w [n, k], b [n], y [m, n]
//! dx = dy · w
//! dw = dyᵀ · x
//! db = Σ_rows dy
//! ```

use crate::gemm::{self, Start, View, skinny};

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

/// `y = x · wᵀ + bias`
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], s: Sizes, c: Compute) {
    if s.m <= skinny::MOST_ROWS {
        return skinny::forward(x, w, bias, y, (s.m, s.n, s.k));
    }
    let start = bias.map_or(Start::Zero, Start::Bias);
    let left = View::rows(x, s.m, s.k);
    gemm::with_right(View::rows(w, s.n, s.k), c, |right| {
        gemm::product(left, right, start, y);
    });
}

/// `dx = dy · w`, or `dx += dy · w` if `add`
pub fn grad_input(dy: &[f32], w: &[f32], dx: &mut [f32], add: bool, s: Sizes, c: Compute) {
    let start = if add { Start::Add } else { Start::Zero };
    let left = View::rows(dy, s.m, s.n);
    gemm::with_right(View::columns(w, s.n, s.k), c, |right| {
        gemm::product(left, right, start, dx);
    });
}

/// `dw = dyᵀ · x`, or `dw += dyᵀ · x` if `add`
pub fn grad_weight(dy: &[f32], x: &[f32], dw: &mut [f32], add: bool, s: Sizes, c: Compute) {
    let start = if add { Start::Add } else { Start::Zero };
    let left = View::columns(dy, s.m, s.n);
    gemm::with_right(View::columns(x, s.m, s.k), c, |right| {
        gemm::product(left, right, start, dw);
    });
}
