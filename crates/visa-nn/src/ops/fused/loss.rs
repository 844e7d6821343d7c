//! A linear head with its cross-entropy.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Tensor, bail};
use visa_kernels::matmul::Compute;
use visa_kernels::{cross_entropy, new_vec};

use super::linear::sizes;
use super::{Grad, Output, compute, floats, gradient, output, slice};
use crate::ops::Precision;

struct LinearCrossEntropy {
    targets: Vec<u32>,
    compute: Compute,
    lse: OnceLock<Vec<f32>>,
}

impl CustomOp2 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear cross entropy"
    }

    fn cpu_fwd(&self, h: &CpuStorage, hl: &Layout, w: &CpuStorage, wl: &Layout) -> Output {
        let s = sizes(hl.shape(), wl.shape())?;
        if self.targets.len() != s.m {
            bail!(
                "linear_cross_entropy: {} targets for {} rows",
                self.targets.len(),
                s.m
            );
        }
        if let Some(target) = self.targets.iter().find(|t| **t as usize >= s.n) {
            bail!(
                "linear_cross_entropy: target {target} is not below the {} rows of the head",
                s.n
            );
        }
        let (h, w) = (slice(h, hl)?, slice(w, wl)?);
        let mut losses = Vec::new();
        let lse = new_vec(s.m, |lse| {
            losses = new_vec(s.m, |losses| {
                cross_entropy::forward(h, w, &self.targets, s, self.compute, losses, lse);
            });
        });
        let _ = self.lse.set(lse);
        output(losses, s.m)
    }

    fn bwd(&self, h: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        let grad = grad.contiguous()?;
        let s = sizes(h.shape(), w.shape())?;
        floats!(hs, h);
        floats!(ws, w);
        floats!(g, grad);
        let Some(lse) = self.lse.get() else {
            bail!("linear_cross_entropy: backward without forward");
        };
        let mut dh = h.track_op().then(|| new_vec(hs.len(), |_| ()));
        let mut dw = w.track_op().then(|| new_vec(ws.len(), |_| ()));
        let to = cross_entropy::Gradients {
            dh: dh.as_deref_mut(),
            dw: dw.as_deref_mut(),
        };
        cross_entropy::backward(hs, ws, &self.targets, lse, g, s, self.compute, to);
        Ok((
            dh.map(|dh| gradient(dh, h)).transpose()?.flatten(),
            dw.map(|dw| gradient(dw, w)).transpose()?.flatten(),
        ))
    }
}

/// See [`crate::ops::linear_cross_entropy`].
pub(in crate::ops) fn linear_cross_entropy(
    h: &Tensor,
    w: &Tensor,
    targets: &Tensor,
    precision: Precision,
) -> Result<Tensor> {
    let op = LinearCrossEntropy {
        targets: targets.to_vec1::<u32>()?,
        compute: compute(precision),
        lse: OnceLock::new(),
    };
    h.contiguous()?.apply_op2(&w.contiguous()?, op)
}
