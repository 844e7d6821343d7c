//! A linear module on plain slices, forward and backward, for ops that span
//! several of them.

use candle_core::{Result, Tensor};
use visa_kernels::matmul::{self, Compute, Sizes};
use visa_kernels::{activation, adamw, new_vec};

use super::Linear;
use crate::ops::{Slot, floats, fused_fits, slice};

fn sizes(x: &[f32], w: &Tensor) -> Result<Sizes> {
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

    /// Whether the slices below can be read.
    pub(crate) fn fits(&self) -> bool {
        self.tensors()
            .all(|t| fused_fits(&[t]) && t.is_contiguous())
    }

    /// `x W · b` with the low-rank update, of `x [m, K]`: `[m, N]`.
    pub(crate) fn forward_slice(&self, x: &[f32], c: Compute) -> Result<Vec<f32>> {
        floats!(w, self.weight);
        let s = sizes(x, &self.weight)?;
        let mut y = match &self.bias {
            Some(bias) => {
                floats!(bias, bias);
                new_vec(s.m * s.n, |y| matmul::forward(x, w, Some(bias), y, s, c))
            }
            None => new_vec(s.m * s.n, |y| matmul::forward(x, w, None, y, s, c)),
        };
        if let Some(update) = &self.update {
            floats!(b, update.b);
            let low = self.low(x, c)?;
            let s = sizes(&low, &update.b)?;
            let more = new_vec(y.len(), |y| matmul::forward(&low, b, None, y, s, c));
            adamw::accumulate(&mut y, &more, 1.0);
        }
        Ok(y)
    }

    /// `scale · x Aᵀ`; empty without an update.
    fn low(&self, x: &[f32], c: Compute) -> Result<Vec<f32>> {
        let Some(update) = &self.update else {
            return Ok(Vec::new());
        };
        floats!(a, update.a);
        let s = sizes(x, &update.a)?;
        let mut low = new_vec(s.m * s.n, |low| matmul::forward(x, a, None, low, s, c));
        adamw::scale(&mut low, update.scale as f32);
        Ok(low)
    }

    /// From the gradient `dy [m, N]` of the result: writes (or, if `add`, adds)
    /// that of `x` to `dx`, and leaves those of the trained tensors in `slot`.
    pub(crate) fn backward_slice(
        &self,
        x: &[f32],
        dy: &[f32],
        (dx, add): (&mut [f32], bool),
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
