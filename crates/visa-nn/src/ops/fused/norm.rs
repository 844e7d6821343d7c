//! RMS norm and layer norm.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Tensor, bail};
use visa_kernels::{new_vec, norm};

use super::{Grad, Output, floats, gradient, output, slice};

struct RmsNorm(f32);

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Output {
        let (x, w) = (slice(x, xl)?, slice(w, wl)?);
        let y = new_vec(x.len(), |y| norm::rms_forward(x, w, self.0, y));
        output(y, xl.shape())
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        let grad = grad.contiguous()?;
        floats!(xs, x);
        floats!(ws, w);
        floats!(dy, grad);
        let mut dw = w.track_op().then(|| vec![0.0; ws.len()]);
        let dx = new_vec(xs.len(), |dx| {
            norm::rms_backward(xs, ws, self.0, dy, dx, dw.as_deref_mut());
        });
        let dx = if x.track_op() { gradient(dx, x)? } else { None };
        Ok((dx, dw.map(|dw| gradient(dw, w)).transpose()?.flatten()))
    }
}

/// The last dimension fits the weight of a norm.
fn check_norm(x: &Tensor, w: &Tensor) -> Result<()> {
    if w.dims().len() != 1 || x.dims().last() != w.dims().first() {
        bail!(
            "norm: the input {:?} does not fit the weight {:?}",
            x.shape(),
            w.shape()
        );
    }
    Ok(())
}

/// See [`crate::ops::rms_norm`].
pub(in crate::ops) fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    check_norm(x, w)?;
    x.contiguous()?
        .apply_op2(&w.contiguous()?, RmsNorm(eps as f32))
}

struct LayerNorm(f32);

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
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
        let (x, w, b) = (slice(x, xl)?, slice(w, wl)?, slice(b, bl)?);
        let y = new_vec(x.len(), |y| norm::layer_forward(x, None, w, b, self.0, y));
        output(y, xl.shape())
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
        floats!(xs, x);
        floats!(ws, w);
        floats!(dy, grad);
        let wanted = w.track_op() || b.track_op();
        let mut sums = wanted.then(|| (vec![0.0; ws.len()], vec![0.0; ws.len()]));
        let dx = new_vec(xs.len(), |dx| {
            let sums = sums.as_mut().map(|(dw, db)| (&mut dw[..], &mut db[..]));
            norm::layer_backward(xs, None, ws, self.0, dy, dx, sums);
        });
        let dx = if x.track_op() { gradient(dx, x)? } else { None };
        let Some((dw, db)) = sums else {
            return Ok((dx, None, None));
        };
        let dw = if w.track_op() { gradient(dw, w)? } else { None };
        let db = if b.track_op() { gradient(db, b)? } else { None };
        Ok((dx, dw, db))
    }
}

/// See [`crate::ops::layer_norm`].
pub(in crate::ops) fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> Result<Tensor> {
    check_norm(x, w)?;
    check_norm(x, b)?;
    x.contiguous()?
        .apply_op3(&w.contiguous()?, &b.contiguous()?, LayerNorm(eps as f32))
}

/// Arguments `x`, `residual` and `[weight; bias]`, since candle's custom ops
/// take three at most.
struct AddLayerNorm(f32);

impl CustomOp3 for AddLayerNorm {
    fn name(&self) -> &'static str {
        "add and layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        r: &CpuStorage,
        rl: &Layout,
        wb: &CpuStorage,
        wbl: &Layout,
    ) -> Output {
        let (x, r, wb) = (slice(x, xl)?, slice(r, rl)?, slice(wb, wbl)?);
        let (w, b) = wb.split_at(wb.len() / 2);
        let y = new_vec(x.len(), |y| {
            norm::layer_forward(x, Some(r), w, b, self.0, y)
        });
        output(y, xl.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        r: &Tensor,
        wb: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Grad, Grad, Grad)> {
        let grad = grad.contiguous()?;
        floats!(xs, x);
        floats!(rs, r);
        floats!(wbs, wb);
        floats!(dy, grad);
        let d = wbs.len() / 2;
        let mut dwb = wb.track_op().then(|| vec![0.0; 2 * d]);
        let dx = new_vec(xs.len(), |dx| {
            let sums = dwb.as_mut().map(|dwb| dwb.split_at_mut(d));
            norm::layer_backward(xs, Some(rs), &wbs[..d], self.0, dy, dx, sums);
        });
        let dx = gradient(dx, x)?;
        let dwb = dwb.map(|dwb| gradient(dwb, wb)).transpose()?.flatten();
        Ok((
            if x.track_op() { dx.clone() } else { None },
            if r.track_op() { dx } else { None },
            dwb,
        ))
    }
}

/// See [`crate::ops::add_layer_norm`].
pub(in crate::ops) fn add_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    w: &Tensor,
    b: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    check_norm(x, w)?;
    check_norm(x, b)?;
    if x.shape() != residual.shape() {
        bail!(
            "add_layer_norm: {:?} and the residual {:?} differ",
            x.shape(),
            residual.shape()
        );
    }
    let wb = Tensor::stack(&[w, b], 0)?;
    x.contiguous()?
        .apply_op3(&residual.contiguous()?, &wb, AddLayerNorm(eps as f32))
}
