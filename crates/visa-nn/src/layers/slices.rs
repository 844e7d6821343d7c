//! A linear module on plain slices, forward and backward, for ops that span
//! several of them.

use candle_core::{Result, Tensor};
use visa_kernels::matmul::{self, Compute, Sizes, Start};
use visa_kernels::{Element, activation, adamw, new_vec};

use super::Linear;
use crate::ops::{Slot, floats, fused_fits, slice};

fn sizes<T>(x: &[T], w: &Tensor) -> Result<Sizes> {
    let (n, k) = w.dims2()?;
    Ok(Sizes {
        m: x.len() / k,
        n,
        k,
    })
}

impl Linear {
    /// Every tensor that may be trained.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let update = self.update.iter().flat_map(|update| [&update.a, &update.b]);
        std::iter::once(&self.weight)
            .chain(&self.bias)
            .chain(update)
    }

    /// Numbers in a row of the result.
    pub(crate) fn outputs(&self) -> Result<usize> {
        self.weight.dim(0)
    }

    /// Whether the slices below can be read.
    pub(crate) fn fits(&self) -> bool {
        self.tensors()
            .all(|t| fused_fits(&[t]) && t.is_contiguous())
    }

    /// Writes `x Wᵀ + b` with the low-rank update, of `x [m, K]`, to `y [m, N]`, or
    /// adds it to what is there.
    pub(crate) fn forward_slice<X: Element, Y: Element>(
        &self,
        x: &[X],
        (y, add): (&mut [Y], bool),
        c: Compute,
    ) -> Result<()> {
        floats!(w, self.weight);
        let s = sizes(x, &self.weight)?;
        match (&self.bias, add) {
            (None, false) => matmul::forward(x, w, Start::Zero, y, s, c),
            (None, true) => matmul::forward(x, w, Start::Add, y, s, c),
            (Some(bias), false) => {
                floats!(bias, bias);
                matmul::forward(x, w, Start::Bias(bias), y, s, c);
            }
            (Some(bias), true) => {
                floats!(bias, bias);
                matmul::forward(x, w, Start::Add, y, s, c);
                for row in y.chunks_exact_mut(s.n) {
                    for (y, b) in row.iter_mut().zip(bias) {
                        *y = Y::from_f32(y.to_f32() + b);
                    }
                }
            }
        }
        if let Some(update) = &self.update {
            floats!(b, update.b);
            let low = self.low(x, c)?;
            let s = sizes(&low, &update.b)?;
            matmul::forward(&low, b, Start::Add, y, s, c);
        }
        Ok(())
    }

    /// `scale · x Aᵀ`; empty without an update.
    fn low<X: Element>(&self, x: &[X], c: Compute) -> Result<Vec<f32>> {
        let Some(update) = &self.update else {
            return Ok(Vec::new());
        };
        floats!(a, update.a);
        let s = sizes(x, &update.a)?;
        let mut low = new_vec(s.m * s.n, |low| {
            matmul::forward(x, a, Start::Zero, low, s, c);
        });
        adamw::scale(&mut low, update.scale as f32);
        Ok(low)
    }

    /// From the gradient `dy [m, N]` of the result: writes (or, if `add`, adds)
    /// that of `x` to `dx`, and leaves those of the trained tensors in `slot`.
    pub(crate) fn backward_slice<X: Element, D: Element, Y: Element>(
        &self,
        x: &[X],
        dy: &[D],
        (dx, add): (&mut [Y], bool),
        slot: &Slot,
        c: Compute,
    ) -> Result<()> {
        floats!(w, self.weight);
        let s = sizes(x, &self.weight)?;
        matmul::grad_input(dy, w, dx, add, s, c);
        slot.leave(&self.weight, || {
            new_vec(s.n * s.k, |dw| matmul::grad_weight(dy, x, dw, false, s, c))
        })?;
        if let Some(bias) = &self.bias {
            slot.leave(bias, || new_vec(s.n, |db| activation::column_sums(dy, db)))?;
        }
        if let Some(update) = &self.update {
            floats!(a, update.a);
            floats!(b, update.b);
            let low = self.low(x, c)?;
            let narrow = sizes(&low, &update.b)?;
            slot.leave(&update.b, || {
                new_vec(narrow.n * narrow.k, |db| {
                    matmul::grad_weight(dy, &low, db, false, narrow, c);
                })
            })?;
            let mut dlow = new_vec(low.len(), |dlow| {
                matmul::grad_input(dy, b, dlow, false, narrow, c);
            });
            adamw::scale(&mut dlow, update.scale as f32);
            let s = sizes(x, &update.a)?;
            slot.leave(&update.a, || {
                new_vec(s.n * s.k, |da| {
                    matmul::grad_weight(&dlow, x, da, false, s, c);
                })
            })?;
            matmul::grad_input(&dlow, a, dx, true, s, c);
        }
        Ok(())
    }
}
