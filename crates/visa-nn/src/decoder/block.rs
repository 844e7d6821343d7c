//! A layer of the decoder as one op with its own backward pass.
//!
//! ```text
//! m = x + O · attention(rope(Q·n), rope(K·n), V·n)      n  = rms_norm(x)
//! y = m + D · (silu(G·n') ∘ U·n')                       n' = rms_norm(m)
//! ```
//!
//! The tape sees one op instead of fifteen, so that only what the backward pass
//! must have is kept: rotated queries, keys, values, the attention and its
//! logarithms, `m`, `G·n'` and `U·n'`, in bf16 where products round to it
//! anyway. Norms and activations are computed again. With checkpointing nothing
//! but `x` is kept, and the whole layer is computed again.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use half::bf16;
use visa_kernels::attention::Saved;
use visa_kernels::matmul::Compute;
use visa_kernels::{activation, adamw, convert, new_vec, norm, rope};

use super::Layer;
use crate::DecoderConfig;
use crate::ops::{self, Mask, Precision, Sight, Slot, bundle_gradient, floats, slice};

/// Activations until the backward pass.
enum Kept {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Kept {
    fn new(x: Vec<f32>, c: Compute) -> Self {
        match c {
            Compute::F32 => Self::F32(x),
            Compute::Bf16 => Self::Bf16(convert::to_vec(&x)),
        }
    }

    fn numbers(&self) -> Cow<'_, [f32]> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => Cow::Owned(convert::to_vec(x)),
        }
    }
}

struct Activations {
    q: Kept,
    k: Kept,
    v: Kept,
    attended: Kept,
    lse: Vec<f32>,
    mid: Kept,
    gate: Kept,
    up: Kept,
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

    fn rotate(&self, x: Vec<f32>, heads: usize, reverse: bool) -> Vec<f32> {
        new_vec(x.len(), |y| {
            let shape = (heads, self.dim);
            rope::rotate(&x, &self.positions, shape, self.theta, reverse, y);
        })
    }

    fn rms(&self, x: &[f32], w: &[f32]) -> Vec<f32> {
        new_vec(x.len(), |y| norm::rms_forward(x, w, self.eps, y))
    }
}

struct Block {
    layer: Layer,
    pass: Arc<Pass>,
    slot: Slot,
    kept: Mutex<Option<Activations>>,
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
    let op = Block {
        layer: layer.clone(),
        pass: pass.clone(),
        slot,
        kept: Mutex::new(None),
        trained: bundle.is_some() || x.track_op(),
    };
    let x = x.contiguous()?;
    Ok(Some(match bundle {
        Some(bundle) => x.apply_op2(&bundle, op)?,
        None => x.apply_op1(op)?,
    }))
}

impl Block {
    /// The output, and what the backward pass needs.
    fn compute(&self, x: &[f32]) -> Result<(Vec<f32>, Activations)> {
        let (layer, pass, c) = (&self.layer, &self.pass, self.pass.compute);
        floats!(attention_norm, layer.attention_norm);
        floats!(feed_norm, layer.feed_norm);
        let normed = pass.rms(x, attention_norm);
        let q = pass.rotate(layer.q.forward_slice(&normed, c)?, pass.heads, false);
        let k = pass.rotate(layer.k.forward_slice(&normed, c)?, pass.kv_heads, false);
        let v = layer.v.forward_slice(&normed, c)?;
        drop(normed);
        let mut attended = Vec::new();
        let lse = new_vec(pass.sight.lse_len(), |lse| {
            attended = new_vec(q.len(), |out| pass.sight.forward([&q, &k, &v], out, lse));
        });
        let keep = |x: Vec<f32>| Kept::new(x, c);
        let (q, k, v) = (keep(q), keep(k), keep(v));
        let mut mid = layer.o.forward_slice(&attended, c)?;
        adamw::accumulate(&mut mid, x, 1.0);
        let normed = pass.rms(&mid, feed_norm);
        let gate = layer.gate.forward_slice(&normed, c)?;
        let up = layer.up.forward_slice(&normed, c)?;
        drop(normed);
        let inner = new_vec(gate.len(), |y| activation::swiglu_forward(&gate, &up, y));
        let (gate, up) = (keep(gate), keep(up));
        let mut y = layer.down.forward_slice(&inner, c)?;
        adamw::accumulate(&mut y, &mid, 1.0);
        let kept = Activations {
            q,
            k,
            v,
            attended: keep(attended),
            lse,
            mid: keep(mid),
            gate,
            up,
        };
        Ok((y, kept))
    }

    fn forward(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, kept) = self.compute(slice(x, layout)?)?;
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
        let kept = match kept {
            Some(kept) => kept,
            None => self.compute(xs)?.1,
        };
        let d_mid = self.feed_backward(&kept, dy)?;
        let dx = self.attention_backward(kept, xs, &d_mid)?;
        Tensor::from_vec(dx, x.shape(), x.device())
    }

    /// The gradient of `m`.
    fn feed_backward(&self, kept: &Activations, dy: &[f32]) -> Result<Vec<f32>> {
        let (layer, slot, c) = (&self.layer, &self.slot, self.pass.compute);
        floats!(weight, layer.feed_norm);
        let (gate, up, mid) = (kept.gate.numbers(), kept.up.numbers(), kept.mid.numbers());
        let mut inner = new_vec(gate.len(), |y| activation::swiglu_forward(&gate, &up, y));
        let mut d_inner = new_vec(gate.len(), |_| ());
        layer
            .down
            .backward_slice(&inner, dy, (&mut d_inner, false), slot, c)?;
        let mut d_gate = std::mem::take(&mut inner);
        let mut d_up = new_vec(gate.len(), |_| ());
        activation::swiglu_backward(&gate, &up, &d_inner, &mut d_gate, &mut d_up);
        drop((gate, up, d_inner));
        let normed = self.pass.rms(&mid, weight);
        let mut d_normed = new_vec(mid.len(), |_| ());
        layer
            .gate
            .backward_slice(&normed, &d_gate, (&mut d_normed, false), slot, c)?;
        layer
            .up
            .backward_slice(&normed, &d_up, (&mut d_normed, true), slot, c)?;
        let mut d_mid = self.norm_backward(&mid, &layer.feed_norm, &d_normed)?;
        adamw::accumulate(&mut d_mid, dy, 1.0);
        Ok(d_mid)
    }

    /// The gradient of `x` from that of `m`.
    fn attention_backward(&self, kept: Activations, x: &[f32], d_mid: &[f32]) -> Result<Vec<f32>> {
        let (layer, pass, slot) = (&self.layer, &self.pass, &self.slot);
        let c = pass.compute;
        floats!(weight, layer.attention_norm);
        let attended = kept.attended.numbers();
        let mut d_attended = new_vec(attended.len(), |_| ());
        layer
            .o
            .backward_slice(&attended, d_mid, (&mut d_attended, false), slot, c)?;
        let (q, k, v) = (kept.q.numbers(), kept.k.numbers(), kept.v.numbers());
        let saved = Saved {
            q: &q,
            k: &k,
            v: &v,
            out: &attended,
            lse: &kept.lse,
            grad: &d_attended,
        };
        let (mut dk, mut dv) = (Vec::new(), Vec::new());
        let dq = new_vec(q.len(), |dq| {
            dk = new_vec(k.len(), |dk| {
                dv = new_vec(v.len(), |dv| pass.sight.backward(&saved, dq, dk, dv));
            });
        });
        drop((q, k, v, attended, d_attended));
        let dq = pass.rotate(dq, pass.heads, true);
        let dk = pass.rotate(dk, pass.kv_heads, true);
        let normed = pass.rms(x, weight);
        let mut d_normed = new_vec(x.len(), |_| ());
        let to = [(&layer.q, &dq), (&layer.k, &dk), (&layer.v, &dv)];
        for (i, (module, gradient)) in to.into_iter().enumerate() {
            module.backward_slice(&normed, gradient, (&mut d_normed, i > 0), slot, c)?;
        }
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

impl CustomOp1 for Block {
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

impl CustomOp2 for Block {
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
