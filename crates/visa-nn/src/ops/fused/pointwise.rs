//! Activations, sums and lookups.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use visa_kernels::{activation, embedding as table, new_vec};

use super::{Grad, Output, floats, gradient, output, slice};

struct Swiglu;

impl CustomOp2 for Swiglu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, g: &CpuStorage, gl: &Layout, u: &CpuStorage, ul: &Layout) -> Output {
        let (g, u) = (slice(g, gl)?, slice(u, ul)?);
        let y = new_vec(g.len(), |y| activation::swiglu_forward(g, u, y));
        output(y, gl.shape())
    }

    fn bwd(&self, g: &Tensor, u: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        let grad = grad.contiguous()?;
        floats!(gs, g);
        floats!(us, u);
        floats!(dy, grad);
        let mut du = Vec::new();
        let dg = new_vec(gs.len(), |dg| {
            du = new_vec(gs.len(), |du| {
                activation::swiglu_backward(gs, us, dy, dg, du)
            });
        });
        Ok((
            if g.track_op() { gradient(dg, g)? } else { None },
            if u.track_op() { gradient(du, u)? } else { None },
        ))
    }
}

/// See [`crate::ops::swiglu`].
pub(in crate::ops) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        bail!("swiglu: {:?} and {:?} differ", gate.shape(), up.shape());
    }
    gate.contiguous()?.apply_op2(&up.contiguous()?, Swiglu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Output {
        let x = slice(x, xl)?;
        output(
            new_vec(x.len(), |y| activation::gelu_forward(x, y)),
            xl.shape(),
        )
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Grad> {
        let grad = grad.contiguous()?;
        floats!(xs, x);
        floats!(dy, grad);
        gradient(
            new_vec(xs.len(), |dx| activation::gelu_backward(xs, dy, dx)),
            x,
        )
    }
}

/// See [`crate::ops::gelu`].
pub(in crate::ops) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gelu)
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Output {
        let (a, b) = (slice(a, al)?, slice(b, bl)?);
        output(new_vec(a.len(), |y| activation::add(a, b, y)), al.shape())
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        let pick = |t: &Tensor| t.track_op().then(|| grad.clone());
        Ok((pick(a), pick(b)))
    }
}

/// See [`crate::ops::add`].
pub(in crate::ops) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.shape() != b.shape() {
        bail!("add: {:?} and {:?} differ", a.shape(), b.shape());
    }
    a.contiguous()?.apply_op2(&b.contiguous()?, Add)
}

struct Embedding {
    ids: Vec<u32>,
    shape: Shape,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, w: &CpuStorage, wl: &Layout) -> Output {
        let (rows, d) = wl.shape().dims2()?;
        if let Some(id) = self.ids.iter().find(|id| **id as usize >= rows) {
            bail!("embedding: id {id} is not below the {rows} rows of the table");
        }
        let w = slice(w, wl)?;
        let y = new_vec(self.ids.len() * d, |y| table::forward(w, d, &self.ids, y));
        output(y, self.shape.clone())
    }

    fn bwd(&self, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Grad> {
        let grad = grad.contiguous()?;
        floats!(dy, grad);
        let mut dw = vec![0.0; w.elem_count()];
        table::backward(dy, w.dim(1)?, &self.ids, &mut dw);
        gradient(dw, w)
    }
}

/// See [`crate::ops::embedding`].
pub(in crate::ops) fn embedding(w: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(w.dim(1)?);
    let ids = ids.flatten_all()?.to_vec1::<u32>()?;
    let shape = shape.into();
    w.contiguous()?.apply_op1(Embedding { ids, shape })
}
