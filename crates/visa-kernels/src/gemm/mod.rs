//! One product behind all of [`crate::matmul`]: `C[i, j] = Σ_k A[i, k] · B[j, k]`.
//!
//! Both factors are read through strides, of which one must be 1, so that the
//! gradients need no transposed copies: whatever the layout, packing brings the
//! numbers into the order in which the inner loop reads them.

#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod pack;
pub(crate) mod skinny;
pub(crate) mod tile;

use crate::matmul::Compute;

/// A factor: `rows × depth` numbers, `depth` being what is summed over.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
}

impl<'a> View<'a> {
    /// `data [rows, depth]`, summed over its last dimension.
    pub(crate) fn rows(data: &'a [f32], rows: usize, depth: usize) -> Self {
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
    pub(crate) fn columns(data: &'a [f32], depth: usize, rows: usize) -> Self {
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

/// What the result starts from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing.
    Zero,
    /// The same row of numbers in each row.
    Bias(&'a [f32]),
    /// What the result already holds.
    Add,
}

/// The right factor, prepared for as many products as wanted.
pub(crate) enum Right<'a> {
    /// Read as it is.
    Plain(View<'a>),
    /// Rounded to bf16 and packed.
    #[cfg(target_arch = "x86_64")]
    Packed(bf16::Packed<'a>),
}

/// Prepares `b` and lends it to `f`.
pub(crate) fn with_right<R>(b: View<'_>, compute: Compute, f: impl FnOnce(&Right<'_>) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if compute == Compute::Bf16 && crate::isa::has_bf16() {
        return bf16::with_packed(b, |packed| f(&Right::Packed(packed)));
    }
    let _ = compute;
    f(&Right::Plain(b))
}

/// `c [a.rows, b.rows] = start + a · bᵀ`
pub(crate) fn product(a: View<'_>, b: &Right<'_>, start: Start<'_>, c: &mut [f32]) {
    match b {
        Right::Plain(b) => plain(a, *b, start, c),
        #[cfg(target_arch = "x86_64")]
        Right::Packed(b) => bf16::product(a, b, start, c),
    }
}

/// The product in `f32`, by the `gemm` crate.
fn plain(a: View<'_>, b: View<'_>, start: Start<'_>, c: &mut [f32]) {
    let (m, n, k) = (a.rows, b.rows, a.depth);
    assert_eq!(k, b.depth, "both factors have the same depth");
    assert_eq!(c.len(), m * n, "the result is {m} × {n}");
    if m == 0 || n == 0 {
        return;
    }
    let keep = match start {
        Start::Zero => false,
        Start::Add => true,
        Start::Bias(bias) => {
            for row in c.chunks_exact_mut(n) {
                row.copy_from_slice(bias);
            }
            true
        }
    };
    if k == 0 {
        if !keep {
            c.fill(0.0);
        }
        return;
    }
    // Waking threads costs more than a product of this size.
    let parallelism = if m * n * k < 1 << 18 {
        gemm::Parallelism::None
    } else {
        gemm::Parallelism::Rayon(0)
    };
    // SAFETY: the views were checked against their data, `c` against m and n.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            keep,
            a.data.as_ptr(),
            a.depth_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.depth_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
