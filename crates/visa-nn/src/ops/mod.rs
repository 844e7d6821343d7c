//! The differentiable ops that every model here is made of.
//!
//! Each takes and returns candle tensors, keeps `f32` outside, and has a
//! gradient for every float argument that tracks one. Models use these and no
//! fused op of candle's, whose gradients silently stop. No op knows of a model,
//! a parameter name or a value.

pub mod composed;
mod fused;
mod mask;

use std::sync::atomic::{AtomicU8, Ordering};

use candle_core::{DType, Device, Result, Storage, Tensor, bail};

pub(crate) use fused::{Sight, Slot, bundle_gradient, floats, slice};
pub use mask::{GroupLens, Mask};

/// The numbers that matrix products multiply; sums are always `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Multiply as `f32`.
    #[default]
    F32,
    /// Round both factors to `bf16`, where the processor has instructions for
    /// it (AVX-512 BF16); elsewhere the same as [`Precision::F32`].
    Bf16,
}

static PRECISION: AtomicU8 = AtomicU8::new(0);

/// Sets the precision of matrix products for the whole process.
pub fn set_precision(precision: Precision) {
    PRECISION.store(u8::from(precision == Precision::Bf16), Ordering::Relaxed);
}

/// The precision set by [`set_precision`]; [`Precision::F32`] at first.
pub fn precision() -> Precision {
    match PRECISION.load(Ordering::Relaxed) {
        0 => Precision::F32,
        _ => Precision::Bf16,
    }
}

/// Whether the kernels can take these arguments: `f32` on the CPU.
pub(crate) fn fused_fits(tensors: &[&Tensor]) -> bool {
    tensors
        .iter()
        .all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// Lends the numbers of an `f32` tensor in row-major order to `f`; copies them
/// first only if they are not on the CPU and contiguous.
pub(crate) fn read<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(fused::slice(storage, layout)?)),
        _ => bail!("a tensor that was moved to the cpu is elsewhere"),
    }
}

/// `y = x · wᵀ + b` with `x [.., K]`, `w [N, K]`, `b [N]`: `[.., N]`.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    if fused_fits(&[x, w]) && b.is_none_or(|b| fused_fits(&[b])) {
        return fused::linear(x, w, b, precision());
    }
    composed::linear(x, w, b)
}

/// `y = x / sqrt(mean(x²) + eps) · w` over the last dimension, `w [D]`.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    if fused_fits(&[x, w]) {
        return fused::rms_norm(x, w, eps);
    }
    composed::rms_norm(x, w, eps)
}

/// `y = (x − mean) / sqrt(var + eps) · w + b` over the last dimension, `w, b [D]`.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> Result<Tensor> {
    if fused_fits(&[x, w, b]) {
        return fused::layer_norm(x, w, b, eps);
    }
    composed::layer_norm(x, w, b, eps)
}

/// `layer_norm(x + residual)` in one pass.
pub fn add_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    w: &Tensor,
    b: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    if fused_fits(&[x, residual, w, b]) {
        return fused::add_layer_norm(x, residual, w, b, eps);
    }
    composed::add_layer_norm(x, residual, w, b, eps)
}

/// Rotary embedding of `x [B, S, H, D]` at `positions [B, S]` (`u32`), half-split
/// as in Llama checkpoints: the pair is `(x[i], x[i + D/2])`.
pub fn rope(x: &Tensor, positions: &Tensor, theta: f32) -> Result<Tensor> {
    if fused_fits(&[x]) {
        return fused::rope(x, positions, theta);
    }
    composed::rope(x, positions, theta)
}

/// `softmax(q · kᵀ / sqrt(D) + mask) · v` with `q [B, Sq, Hq, D]`,
/// `k, v [B, Sk, Hkv, D]`, `Hq` a multiple of `Hkv`: `[B, Sq, Hq, D]`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Mask) -> Result<Tensor> {
    let (_, _, hq, d) = q.dims4()?;
    let (_, sk, hkv, dk) = k.dims4()?;
    if k.shape() != v.shape() || k.dim(0)? != q.dim(0)? || dk != d || hkv == 0 || hq % hkv != 0 {
        bail!(
            "attention: q {:?}, k {:?} and v {:?} do not fit",
            q.shape(),
            k.shape(),
            v.shape()
        );
    }
    mask.check(q.dim(0)?, sk)?;
    if fused_fits(&[q, k, v]) && !matches!(mask, Mask::Explicit(_)) {
        return fused::attention(q, k, v, mask, precision());
    }
    composed::attention(q, k, v, mask)
}

/// `silu(gate) · up`, element by element.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if fused_fits(&[gate, up]) {
        return fused::swiglu(gate, up);
    }
    composed::swiglu(gate, up)
}

/// `x · Φ(x)` with the exact normal distribution function.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if fused_fits(&[x]) {
        return fused::gelu(x);
    }
    composed::gelu(x)
}

/// Rows of `w [V, D]` picked by `ids [..]` (`u32`): `[.., D]`.
pub fn embedding(w: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if fused_fits(&[w]) {
        return fused::embedding(w, ids);
    }
    composed::embedding(w, ids)
}

/// `−log softmax(h · wᵀ)[target]` of each row, in nats: `h [N, K]`, `w [V, K]`,
/// `targets [N]` (`u32`), result `[N]`.
pub fn linear_cross_entropy(h: &Tensor, w: &Tensor, targets: &Tensor) -> Result<Tensor> {
    if fused_fits(&[h, w]) {
        return fused::linear_cross_entropy(h, w, targets, precision());
    }
    composed::linear_cross_entropy(h, w, targets)
}

/// `a + b` of one shape, on all threads.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if fused_fits(&[a, b]) {
        return fused::add(a, b);
    }
    a + b
}

/// Softmax over the last dimension.
pub fn softmax_last(x: &Tensor) -> Result<Tensor> {
    composed::softmax_last(x)
}

/// Logarithm of the softmax over the last dimension.
pub fn log_softmax_last(x: &Tensor) -> Result<Tensor> {
    composed::log_softmax_last(x)
}

#[cfg(test)]
mod tests;
