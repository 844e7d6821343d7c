//! The linear layer.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use visa_kernels::matmul::{self, Compute, Sizes, Start};
use visa_kernels::{activation, new_vec};

use super::{Grad, Output, compute, floats, gradient, output, slice};
use crate::ops::Precision;

struct Linear(Compute);

/// What a product of `x [.., K]` with `w [N, K]` computes.
pub(super) fn sizes(x: &Shape, w: &Shape) -> Result<Sizes> {
    let (n, k) = w.dims2()?;
    let Some((&last, rest)) = x.dims().split_last() else {
        bail!("linear: the input is a scalar");
    };
    if last != k {
        bail!("linear: the input {x:?} does not fit the weight {w:?}");
    }
    Ok(Sizes {
        m: rest.iter().product(),
        n,
        k,
    })
}

impl Linear {
    fn forward(&self, x: (&[f32], &Shape), w: (&[f32], &Shape), b: Option<&[f32]>) -> Output {
        let s = sizes(x.1, w.1)?;
        if b.is_some_and(|b| b.len() != s.n) {
            bail!("linear: the bias does not fit the weight {:?}", w.1);
        }
        let start = b.map_or(Start::Zero, Start::Bias);
        let y = new_vec(s.m * s.n, |y| {
            matmul::forward(x.0, w.0, start, y, s, self.0)
        });
        let mut dims = x.1.dims().to_vec();
        dims.pop();
        dims.push(s.n);
        output(y, dims)
    }

    fn backward(&self, x: &Tensor, w: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        let s = sizes(x.shape(), w.shape())?;
        floats!(dy, grad);
        let dx = if x.track_op() {
            floats!(w, w);
            let dx = new_vec(s.m * s.k, |dx| {
                matmul::grad_input(dy, w, dx, false, s, self.0);
            });
            gradient(dx, x)?
        } else {
            None
        };
        let dw = if w.track_op() {
            floats!(x, x);
            let dw = new_vec(s.n * s.k, |dw| {
                matmul::grad_weight(dy, x, dw, false, s, self.0);
            });
            gradient(dw, w)?
        } else {
            None
        };
        Ok((dx, dw))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Output {
        self.forward(
            (slice(x, xl)?, xl.shape()),
            (slice(w, wl)?, wl.shape()),
            None,
        )
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        self.backward(x, w, &grad.contiguous()?)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear with bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Output {
        let (x, w) = ((slice(x, xl)?, xl.shape()), (slice(w, wl)?, wl.shape()));
        self.forward(x, w, Some(slice(b, bl)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Grad, Grad, Grad)> {
        let grad = grad.contiguous()?;
        let (dx, dw) = self.backward(x, w, &grad)?;
        let db = if b.track_op() {
            floats!(dy, grad);
            gradient(
                new_vec(b.elem_count(), |db| activation::column_sums(dy, db)),
                b,
            )?
        } else {
            None
        };
        Ok((dx, dw, db))
    }
}

/// See [`crate::ops::linear`].
pub(in crate::ops) fn linear(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let op = Linear(compute(precision));
    match b {
        Some(b) => x.apply_op3(&w, &b.contiguous()?, op),
        None => x.apply_op2(&w, op),
    }
}
