//! The ops on fused CPU kernels: bindings of `visa_kernels` to candle's tape.
//!
//! Each op is a candle custom op whose `bwd` computes a gradient only for the
//! arguments that track one, so a frozen weight costs nothing. Arguments are
//! `f32` on the CPU; the parent module sends everything else to the composed
//! ops. Results and gradients are written once, without being cleared before.

use std::sync::OnceLock;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor,
    bail,
};
use visa_kernels::matmul::{self, Compute, Sizes};
use visa_kernels::{activation, attention as attend, cross_entropy, embedding as table};
use visa_kernels::{new_vec, norm, rope as rotary};

use super::{Mask, Precision};

type Output = Result<(CpuStorage, Shape)>;
type Grad = Option<Tensor>;

/// The contiguous numbers of an argument.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("a fused op needs contiguous tensors; call contiguous() first"),
    }
}

/// Binds a name to the numbers of a contiguous tensor on the CPU.
macro_rules! floats {
    ($name:ident, $tensor:expr) => {
        let (storage, layout) = $tensor.storage_and_layout();
        let $name = match &*storage {
            Storage::Cpu(storage) => slice(storage, layout)?,
            _ => bail!("a fused op needs tensors on the cpu"),
        };
    };
}

fn output(data: Vec<f32>, shape: impl Into<Shape>) -> Output {
    Ok((CpuStorage::F32(data), shape.into()))
}

fn gradient(data: Vec<f32>, like: &Tensor) -> Result<Grad> {
    Ok(Some(Tensor::from_vec(data, like.shape(), &Device::Cpu)?))
}

fn compute(precision: Precision) -> Compute {
    match precision {
        Precision::F32 => Compute::F32,
        Precision::Bf16 => Compute::Bf16,
    }
}

struct Linear(Compute);

impl Linear {
    fn sizes(x: &Shape, w: &Shape) -> Result<Sizes> {
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

    fn forward(&self, x: (&[f32], &Shape), w: (&[f32], &Shape), b: Option<&[f32]>) -> Output {
        let s = Self::sizes(x.1, w.1)?;
        if b.is_some_and(|b| b.len() != s.n) {
            bail!("linear: the bias does not fit the weight {:?}", w.1);
        }
        let y = new_vec(s.m * s.n, |y| matmul::forward(x.0, w.0, b, y, s, self.0));
        let mut dims = x.1.dims().to_vec();
        dims.pop();
        dims.push(s.n);
        output(y, dims)
    }

    fn backward(&self, x: &Tensor, w: &Tensor, grad: &Tensor) -> Result<(Grad, Grad)> {
        let s = Self::sizes(x.shape(), w.shape())?;
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

/// See [`super::linear`].
pub(super) fn linear(
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

/// See [`super::rms_norm`].
pub(super) fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
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

/// See [`super::layer_norm`].
pub(super) fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> Result<Tensor> {
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

/// See [`super::add_layer_norm`].
pub(super) fn add_layer_norm(
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

struct Rope {
    positions: Vec<u32>,
    theta: f32,
}

impl Rope {
    fn rotate(&self, x: &[f32], shape: &Shape, reverse: bool) -> Result<Vec<f32>> {
        let (_, _, heads, dim) = shape.dims4()?;
        Ok(new_vec(x.len(), |y| {
            rotary::rotate(x, &self.positions, (heads, dim), self.theta, reverse, y);
        }))
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

/// See [`super::rope`].
pub(super) fn rope(x: &Tensor, positions: &Tensor, theta: f32) -> Result<Tensor> {
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
    shape: attend::Shape,
    lens: Option<Vec<usize>>,
    causal: Option<usize>,
    lse: OnceLock<Vec<f32>>,
}

impl Attention {
    fn sight(&self) -> attend::Sight<'_> {
        attend::Sight {
            lens: self.lens.as_deref(),
            causal: self.causal,
        }
    }
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
        let lse = new_vec(self.shape.lse_len(), |lse| {
            out = new_vec(q.len(), |out| {
                attend::forward(q, k, v, &self.shape, &self.sight(), out, lse);
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
        let saved = attend::Saved {
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
                    attend::backward(&saved, &self.shape, &self.sight(), dq, dk, dv);
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

/// See [`super::attention`]; the mask is not an explicit one.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Mask) -> Result<Tensor> {
    let (batch, queries, heads, dim) = q.dims4()?;
    let (_, keys, kv_heads, _) = k.dims4()?;
    mask.check(batch, keys)?;
    let causal = match mask {
        Mask::Causal { offset, .. } => Some(*offset),
        Mask::Bidirectional { .. } => None,
        Mask::Explicit(_) => bail!("attention: an explicit mask has no fused kernel"),
    };
    let op = Attention {
        shape: attend::Shape {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            dim,
        },
        lens: mask.lens().map(<[usize]>::to_vec),
        causal,
        lse: OnceLock::new(),
    };
    q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

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

/// See [`super::swiglu`].
pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
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

/// See [`super::gelu`].
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
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

/// See [`super::add`].
pub(super) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
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

/// See [`super::embedding`].
pub(super) fn embedding(w: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(w.dim(1)?);
    let ids = ids.flatten_all()?.to_vec1::<u32>()?;
    let shape = shape.into();
    w.contiguous()?.apply_op1(Embedding { ids, shape })
}

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
        let s = Linear::sizes(hl.shape(), wl.shape())?;
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
        let s = Linear::sizes(h.shape(), w.shape())?;
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

/// See [`super::linear_cross_entropy`].
pub(super) fn linear_cross_entropy(
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
