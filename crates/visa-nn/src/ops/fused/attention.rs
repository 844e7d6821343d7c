//! Rotary positions and attention.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use visa_kernels::attention::Saved;
use visa_kernels::matmul::Compute;
use visa_kernels::{new_vec, rope as rotary};

use super::sight::Sight;
use super::{Grad, Output, compute, floats, gradient, output, slice};
use crate::ops::{Mask, Precision};

struct Rope {
    positions: Vec<u32>,
    theta: f32,
}

impl Rope {
    fn rotate(&self, x: &[f32], shape: &Shape, reverse: bool) -> Result<Vec<f32>> {
        let (_, _, heads, dim) = shape.dims4()?;
        let mut y = x.to_vec();
        rotary::rotate(&mut y, &self.positions, (heads, dim), self.theta, reverse);
        Ok(y)
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Output {
        output(self.rotate(slice(x, xl)?, xl.shape(), false)?, xl.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Grad> {
        let grad = grad.contiguous()?;
        floats!(dy, grad);
        gradient(self.rotate(dy, x.shape(), true)?, x)
    }
}

/// See [`crate::ops::rope`].
pub(in crate::ops) fn rope(x: &Tensor, positions: &Tensor, theta: f32) -> Result<Tensor> {
    let (b, s, _, d) = x.dims4()?;
    if positions.elem_count() != b * s || d % 2 != 0 {
        bail!(
            "rope: positions {:?} do not fit {:?}, or the head is odd",
            positions.shape(),
            x.shape()
        );
    }
    let positions = positions.flatten_all()?.to_vec1::<u32>()?;
    x.contiguous()?.apply_op1(Rope { positions, theta })
}

struct Attention {
    sight: Sight,
    compute: Compute,
    lse: OnceLock<Vec<f32>>,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Output {
        let (q, k, v) = (slice(q, ql)?, slice(k, kl)?, slice(v, vl)?);
        let mut out = Vec::new();
        let lse = new_vec(self.sight.lse_len(), |lse| {
            out = new_vec(q.len(), |out| {
                self.sight.forward([q, k, v], self.compute, out, lse);
            });
        });
        // An op runs forward once; a second run would find the same numbers.
        let _ = self.lse.set(lse);
        output(out, ql.shape())
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Grad, Grad, Grad)> {
        let grad_tensor = grad.contiguous()?;
        floats!(qs, q);
        floats!(ks, k);
        floats!(vs, v);
        floats!(out, out);
        floats!(grad, grad_tensor);
        let Some(lse) = self.lse.get() else {
            bail!("attention: backward without forward");
        };
        let saved = Saved {
            q: qs,
            k: ks,
            v: vs,
            out,
            lse,
            grad,
        };
        let (mut dk, mut dv) = (Vec::new(), Vec::new());
        let dq = new_vec(qs.len(), |dq| {
            dk = new_vec(ks.len(), |dk| {
                dv = new_vec(vs.len(), |dv| {
                    self.sight.backward(&saved, self.compute, [dq, dk, dv]);
                });
            });
        });
        Ok((
            if q.track_op() { gradient(dq, q)? } else { None },
            if k.track_op() { gradient(dk, k)? } else { None },
            if v.track_op() { gradient(dv, v)? } else { None },
        ))
    }
}

/// See [`crate::ops::attention`]; the mask is not an explicit one.
pub(in crate::ops) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Mask,
    precision: Precision,
) -> Result<Tensor> {
    let op = Attention {
        sight: Sight::new(q.dims4()?, k.dims4()?, mask)?,
        compute: compute(precision),
        lse: OnceLock::new(),
    };
    q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}
