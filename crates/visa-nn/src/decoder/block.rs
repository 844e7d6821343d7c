//! A layer of the decoder as one op with its own backward pass.
//!
//! ```text
//! m = x + O · attention(rope(Q·n), rope(K·n), V·n)      n  = rms_norm(x)
//! y = m + D · (silu(G·n') ∘ U·n')                       n' = rms_norm(m)
//! ```
//!
//! The tape sees one op instead of fifteen, so that only what the backward pass
//! must have is kept: rotated queries, keys, values, the attention and its
//! logarithms, `m`, `G·n'` and `U·n'`. But for `m` and the logarithms they are bf16
//! where products round to it anyway, and no f32 copy is ever made. Norms and activations are computed again. With checkpointing nothing
//! but `x` is kept, and the whole layer is computed again.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use half::bf16;
use visa_kernels::attention::Saved;
use visa_kernels::matmul::Compute;
use visa_kernels::{Element, activation, adamw, new_vec, norm, rope};

use super::Layer;
use crate::DecoderConfig;
use crate::layers::Linear;
use crate::ops::{self, Mask, Precision, Sight, Slot, bundle_gradient, floats, slice};

/// What the backward pass reads, stored as `T`.
struct Activations<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    attended: Vec<T>,
    lse: Vec<f32>,
    mid: Vec<f32>,
    gate: Vec<T>,
    up: Vec<T>,
}

/// What all layers of a pass have in common.
pub(super) struct Pass {
    sight: Sight,
    positions: Vec<u32>,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    theta: f32,
    eps: f32,
    compute: Compute,
    checkpoint: bool,
}

impl Pass {
    /// `None` where the kernels cannot compute it.
    pub(super) fn new(
        config: &DecoderConfig,
        x: &Tensor,
        positions: &[u32],
        mask: &Mask,
        checkpoint: bool,
    ) -> Result<Option<Arc<Self>>> {
        if matches!(mask, Mask::Explicit(_)) || !ops::fused_fits(&[x]) {
            return Ok(None);
        }
        let (b, s, _) = x.dims3()?;
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let dim = config.head_dim;
        Ok(Some(Arc::new(Self {
            sight: Sight::new((b, s, heads, dim), (b, s, kv_heads, dim), mask)?,
            positions: positions.to_vec(),
            heads,
            kv_heads,
            dim,
            theta: config.rope_theta as f32,
            eps: config.rms_norm_eps as f32,
            compute: match ops::precision() {
                Precision::F32 => Compute::F32,
                Precision::Bf16 => Compute::Bf16,
            },
            checkpoint,
        })))
    }

    fn rotate<T: Element>(&self, x: &mut [T], heads: usize, reverse: bool) {
        let shape = (heads, self.dim);
        rope::rotate(x, &self.positions, shape, self.theta, reverse);
    }

    fn rms<T: Element>(&self, x: &[f32], w: &[f32]) -> Vec<T> {
        new_vec(x.len(), |y| norm::rms_forward(x, w, self.eps, y))
    }
}

/// A layer whose activations are stored as `T`.
struct Block<T> {
    layer: Layer,
    pass: Arc<Pass>,
    slot: Slot,
    kept: Mutex<Option<Activations<T>>>,
    /// Whether a backward pass will come.
    trained: bool,
}

/// The layer's output for `x [B, S, H]`; `None` if a weight does not fit the
/// kernels.
pub(super) fn block(layer: &Layer, pass: &Arc<Pass>, x: &Tensor) -> Result<Option<Tensor>> {
    let modules = layer.modules();
    let norms = [&layer.attention_norm, &layer.feed_norm];
    if !ops::fused_fits(&norms) || !modules.iter().all(|module| module.fits()) {
        return Ok(None);
    }
    let slot = Slot::default();
    let weights: Vec<&Tensor> = modules
        .iter()
        .flat_map(|m| m.tensors())
        .chain(norms)
        .collect();
    let bundle = slot.bundle(&weights)?;
    let x = x.contiguous()?;
    Ok(Some(match pass.compute {
        Compute::F32 => apply::<f32>(layer, pass, slot, &x, bundle)?,
        Compute::Bf16 => apply::<bf16>(layer, pass, slot, &x, bundle)?,
    }))
}

fn apply<T: Element>(
    layer: &Layer,
    pass: &Arc<Pass>,
    slot: Slot,
    x: &Tensor,
    bundle: Option<Tensor>,
) -> Result<Tensor> {
    let op = Block::<T> {
        layer: layer.clone(),
        pass: pass.clone(),
        slot,
        kept: Mutex::new(None),
        trained: bundle.is_some() || x.track_op(),
    };
    match bundle {
        Some(bundle) => x.apply_op2(&bundle, op),
        None => x.apply_op1(op),
    }
}

/// `n` numbers that `fill` writes.
fn filled<T: Element>(n: usize, fill: impl FnOnce(&mut [T]) -> Result<()>) -> Result<Vec<T>> {
    let mut done = Ok(());
    let x = new_vec(n, |x| done = fill(x));
    done.map(|()| x)
}

impl<T: Element> Block<T> {
    /// The output, and what the backward pass needs.
    fn compute(&self, x: &[f32]) -> Result<(Vec<f32>, Activations<T>)> {
        let (layer, pass, c) = (&self.layer, &self.pass, self.pass.compute);
        floats!(attention_norm, layer.attention_norm);
        floats!(feed_norm, layer.feed_norm);
        let tokens = pass.positions.len();
        let times = |module: &Linear, x: &[T]| {
            filled(tokens * module.outputs()?, |y| {
                module.forward_slice(x, (y, false), c)
            })
        };
        let normed = pass.rms(x, attention_norm);
        let mut q = times(&layer.q, &normed)?;
        pass.rotate(&mut q, pass.heads, false);
        let mut k = times(&layer.k, &normed)?;
        pass.rotate(&mut k, pass.kv_heads, false);
        let v = times(&layer.v, &normed)?;
        drop(normed);
        let mut attended = Vec::new();
        let lse = new_vec(pass.sight.lse_len(), |lse| {
            attended = new_vec(q.len(), |out| {
                pass.sight.forward([&q, &k, &v], c, out, lse);
            });
        });
        let mut mid = x.to_vec();
        layer.o.forward_slice(&attended, (&mut mid, true), c)?;
        let normed = pass.rms(&mid, feed_norm);
        let gate = times(&layer.gate, &normed)?;
        let up = times(&layer.up, &normed)?;
        drop(normed);
        let inner: Vec<T> = new_vec(gate.len(), |y| activation::swiglu_forward(&gate, &up, y));
        let mut y = mid.clone();
        layer.down.forward_slice(&inner, (&mut y, true), c)?;
        let kept = Activations {
            q,
            k,
            v,
            attended,
            lse,
            mid,
            gate,
            up,
        };
        Ok((y, kept))
    }

    fn forward(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        // Inside the pool, so that each kernel starts without waking it first.
        let (y, kept) = rayon::scope(|_| self.compute(x))?;
        if self.trained && !self.pass.checkpoint {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// The gradient of `x` from that of the result; those of the weights go to
    /// the slot.
    fn backward(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let grad = grad.contiguous()?;
        floats!(xs, x);
        floats!(dy, grad);
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let dx = rayon::scope(|_| {
            let kept = match kept {
                Some(kept) => kept,
                None => self.compute(xs)?.1,
            };
            let d_mid = self.feed_backward(&kept, dy)?;
            self.attention_backward(&kept, xs, &d_mid)
        })?;
        Tensor::from_vec(dx, x.shape(), x.device())
    }

    /// The gradient of `m`.
    fn feed_backward(&self, kept: &Activations<T>, dy: &[f32]) -> Result<Vec<f32>> {
        let (layer, slot, c) = (&self.layer, &self.slot, self.pass.compute);
        floats!(weight, layer.feed_norm);
        let Activations { gate, up, mid, .. } = kept;
        let mut inner: Vec<T> = new_vec(gate.len(), |y| activation::swiglu_forward(gate, up, y));
        let d_inner: Vec<T> = filled(gate.len(), |dx| {
            layer.down.backward_slice(&inner, dy, (dx, false), slot, c)
        })?;
        let mut d_up: Vec<T> = new_vec(gate.len(), |_| ());
        activation::swiglu_backward(gate, up, &d_inner, &mut inner, &mut d_up);
        drop(d_inner);
        let d_gate = inner;
        let normed: Vec<T> = self.pass.rms(mid, weight);
        let d_normed: Vec<f32> = filled(mid.len(), |dx| {
            (layer.gate).backward_slice(&normed, &d_gate, (&mut *dx, false), slot, c)?;
            (layer.up).backward_slice(&normed, &d_up, (dx, true), slot, c)
        })?;
        let mut d_mid = self.norm_backward(mid, &layer.feed_norm, &d_normed)?;
        adamw::accumulate(&mut d_mid, dy, 1.0);
        Ok(d_mid)
    }

    /// The gradient of `x` from that of `m`.
    fn attention_backward(
        &self,
        kept: &Activations<T>,
        x: &[f32],
        d_mid: &[f32],
    ) -> Result<Vec<f32>> {
        let (layer, pass, slot) = (&self.layer, &self.pass, &self.slot);
        let c = pass.compute;
        floats!(weight, layer.attention_norm);
        let Activations {
            q,
            k,
            v,
            attended,
            lse,
            ..
        } = kept;
        let d_attended: Vec<T> = filled(attended.len(), |dx| {
            (layer.o).backward_slice(attended, d_mid, (dx, false), slot, c)
        })?;
        let saved = Saved {
            q,
            k,
            v,
            out: attended,
            lse,
            grad: &d_attended,
        };
        let (mut dk, mut dv): (Vec<T>, Vec<T>) = Default::default();
        let mut dq: Vec<T> = new_vec(q.len(), |dq| {
            dk = new_vec(k.len(), |dk| {
                dv = new_vec(v.len(), |dv| pass.sight.backward(&saved, c, [dq, dk, dv]));
            });
        });
        drop(d_attended);
        pass.rotate(&mut dq, pass.heads, true);
        pass.rotate(&mut dk, pass.kv_heads, true);
        let normed: Vec<T> = pass.rms(x, weight);
        let d_normed: Vec<f32> = filled(x.len(), |dx| {
            let to = [(&layer.q, &dq), (&layer.k, &dk), (&layer.v, &dv)];
            for (i, (module, gradient)) in to.into_iter().enumerate() {
                module.backward_slice(&normed, gradient, (&mut *dx, i > 0), slot, c)?;
            }
            Ok(())
        })?;
        let mut dx = self.norm_backward(x, &layer.attention_norm, &d_normed)?;
        adamw::accumulate(&mut dx, d_mid, 1.0);
        Ok(dx)
    }

    fn norm_backward(&self, x: &[f32], weight: &Tensor, dy: &[f32]) -> Result<Vec<f32>> {
        floats!(w, weight);
        let mut dw = weight.track_op().then(|| vec![0.0; w.len()]);
        let dx = new_vec(x.len(), |dx| {
            norm::rms_backward(x, w, self.pass.eps, dy, dx, dw.as_deref_mut());
        });
        if let Some(dw) = dw {
            self.slot.leave(weight, || dw)?;
        }
        Ok(dx)
    }
}

impl<T: Element> CustomOp1 for Block<T> {
    fn name(&self) -> &'static str {
        "decoder layer"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(x, layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.backward(x, grad).map(Some)
    }
}

impl<T: Element> CustomOp2 for Block<T> {
    fn name(&self) -> &'static str {
        "decoder layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(x, layout)
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = self.backward(x, grad)?;
        Ok((x.track_op().then_some(dx), Some(bundle_gradient()?)))
    }
}
