//! The ops written from candle primitives, so that candle derives the gradients.
//!
//! They are the reference that the fused kernels are tested against, and the
//! path for tensors that are not contiguous `f32` on the CPU. Nothing here is
//! fast; candle's own fused softmax, norms and rotary embedding are avoided
//! because their gradient silently stops.

use candle_core::{D, DType, Result, Tensor};

use super::Mask;

/// `y = x · wᵀ + b` with `x [.., K]`, `w [N, K]`, `b [N]`.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    let (n, k) = w.dims2()?;
    let mut shape = x.dims().to_vec();
    let last = shape.len() - 1;
    shape[last] = n;
    let y = x.reshape(((), k))?.matmul(&w.t()?)?;
    let y = match b {
        Some(b) => y.broadcast_add(b)?,
        None => y,
    };
    y.reshape(shape)
}

/// `y = x / sqrt(mean(x²) + eps) · w` over the last dimension.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(w)
}

/// `y = (x − mean) / sqrt(var + eps) · w + b` over the last dimension.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let var = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred
        .broadcast_div(&(var + eps)?.sqrt()?)?
        .broadcast_mul(w)?
        .broadcast_add(b)
}

/// `layer_norm(x + residual)`.
pub fn add_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    w: &Tensor,
    b: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    layer_norm(&(x + residual)?, w, b, eps)
}

/// Rotary embedding, half-split as in Llama checkpoints: the pair is
/// `(x[i], x[i + D/2])`, the angle `position · theta^(−2i/D)`.
pub fn rope(x: &Tensor, positions: &Tensor, theta: f32) -> Result<Tensor> {
    let (b, s, _, d) = x.dims4()?;
    let half = d / 2;
    let inverse: Vec<f32> = (0..half)
        .map(|i| (f64::from(theta)).powf(-2.0 * i as f64 / d as f64) as f32)
        .collect();
    let inverse = Tensor::from_vec(inverse, (1, 1, 1, half), x.device())?;
    let angles = positions
        .to_dtype(DType::F32)?
        .reshape((b, s, 1, 1))?
        .broadcast_mul(&inverse)?;
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let lo = x.narrow(D::Minus1, 0, half)?;
    let hi = x.narrow(D::Minus1, half, half)?;
    let new_lo = (lo.broadcast_mul(&cos)? - hi.broadcast_mul(&sin)?)?;
    let new_hi = (hi.broadcast_mul(&cos)? + lo.broadcast_mul(&sin)?)?;
    Tensor::cat(&[&new_lo, &new_hi], D::Minus1)
}

/// Softmax over the last dimension.
pub fn softmax_last(x: &Tensor) -> Result<Tensor> {
    // The maximum only steadies the exponentials; no gradient flows through it.
    let max = x.max_keepdim(D::Minus1)?.detach();
    let exp = x.broadcast_sub(&max)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// Logarithm of the softmax over the last dimension.
pub fn log_softmax_last(x: &Tensor) -> Result<Tensor> {
    let max = x.max_keepdim(D::Minus1)?.detach();
    let centred = x.broadcast_sub(&max)?;
    let log_sum = centred.exp()?.sum_keepdim(D::Minus1)?.log()?;
    centred.broadcast_sub(&log_sum)
}

/// `softmax(q · kᵀ / sqrt(D) + mask) · v`, heads of `q` grouped over those of `k`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Mask) -> Result<Tensor> {
    let (b, sq, hq, d) = q.dims4()?;
    let (_, sk, hkv, _) = k.dims4()?;
    let group = hq / hkv;
    let spread = |t: &Tensor| -> Result<Tensor> {
        t.transpose(1, 2)?
            .unsqueeze(2)?
            .broadcast_as((b, hkv, group, sk, d))?
            .contiguous()?
            .reshape((b, hq, sk, d))
    };
    let (k, v) = (spread(k)?, spread(v)?);
    let q = q.transpose(1, 2)?.contiguous()?;
    let scores = (q.matmul(&k.transpose(2, 3)?)? * (1.0 / (d as f64).sqrt()))?;
    let (bias, keep) = mask.bias(b, sq, sk, q.device())?;
    let scores = match bias {
        Some(bias) => scores.broadcast_add(&bias)?,
        None => scores,
    };
    let mut weights = softmax_last(&scores)?;
    if let Some(keep) = keep {
        weights = weights.broadcast_mul(&keep)?;
    }
    weights.matmul(&v)?.transpose(1, 2)?.contiguous()
}

/// `silu(gate) · up`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

/// `x · Φ(x)` with the exact normal distribution function.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// Rows of `w [V, D]` picked by `ids [..]`: `[.., D]`.
pub fn embedding(w: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(w.dim(1)?);
    w.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
}

/// `−log softmax(h · wᵀ)[target]` for each row: `h [N, K]`, `w [V, K]`,
/// `targets [N]`, result `[N]` in nats.
pub fn linear_cross_entropy(h: &Tensor, w: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let log_probs = log_softmax_last(&h.matmul(&w.t()?)?)?;
    log_probs
        .gather(&targets.unsqueeze(1)?, 1)?
        .squeeze(1)?
        .neg()
}
