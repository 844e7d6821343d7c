//! One product behind all of [`crate::matmul`]: `C[i, j] = Σ_k A[i, k] · B[j, k]`.
//!
//! Both factors are read through strides, of which one must be 1, so that the
//! gradients need no transposed copies: whatever the layout, packing brings the
//! numbers into the order in which the inner loop reads them.
//!
//! [`across`] computes products whose left rows are contiguous (`y`, `dx`),
//! [`along`] those that sum over the rows of both factors (`dw`).

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod dot;
pub(crate) mod inside;
pub(crate) mod lanes;
#[macro_use]
pub(crate) mod method;
mod across;
mod along;
#[cfg(target_arch = "x86_64")]
mod pack;
mod panels;
pub(crate) mod skinny;
pub(crate) mod tile;

pub(crate) use panels::{Layout, Panels};

use crate::buffer::with_scratch;
use crate::element::Element;
use crate::matmul::{Compute, Start};
use method::Kind;

/// Products below this many multiplications stay on one thread: waking another
/// costs more.
const SERIAL: usize = 1 << 18;

/// A factor: `rows × depth` numbers, `depth` being what is summed over.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T = f32> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
}

impl<'a, T> View<'a, T> {
    /// `data [rows, depth]`, summed over its last dimension.
    pub(crate) fn rows(data: &'a [T], rows: usize, depth: usize) -> Self {
        assert_eq!(data.len(), rows * depth, "a factor of {rows} × {depth}");
        Self {
            data,
            rows,
            depth,
            row_stride: depth,
            depth_stride: 1,
        }
    }

    /// `data [depth, rows]`, summed over its first dimension.
    pub(crate) fn columns(data: &'a [T], depth: usize, rows: usize) -> Self {
        assert_eq!(data.len(), rows * depth, "a factor of {depth} × {rows}");
        Self {
            data,
            rows,
            depth,
            row_stride: 1,
            depth_stride: rows,
        }
    }
}

/// Packs the right factor `b` into scratch of this thread and lends it to `f`.
pub(crate) fn with_right<T: Element, R>(
    b: View<'_, T>,
    compute: Compute,
    f: impl FnOnce(Panels<'_>) -> R,
) -> R {
    let layout = Layout::new(Kind::best(compute), b.rows, b.depth);
    with_scratch(|scratch| {
        let words = scratch.u32s(layout.words());
        layout.pack(&b, words);
        f(layout.over(words))
    })
}

/// `c [a.rows, b.rows] = start + a · bᵀ`, the rows of `a` contiguous.
pub(crate) fn product<X: Element, Y: Element>(
    a: View<'_, X>,
    b: Panels<'_>,
    start: Start<'_>,
    c: &mut [Y],
) {
    with_method!(b.kind(), M => across::product::<M, X, Y>(&a, &b, start, c));
}

/// `c [a.rows, b.rows] = a · bᵀ`, or added to `c`; the rows of neither factor
/// are contiguous, their depth is not.
pub(crate) fn outer<X: Element, Y: Element>(
    a: View<'_, X>,
    b: View<'_, Y>,
    compute: Compute,
    add: bool,
    c: &mut [f32],
) {
    with_method!(Kind::best(compute), M => along::product::<M, X, Y>(&a, &b, add, c));
}
