//! Hidden states of a text's tokens → one vector.

use candle_core::{D, DType, Tensor};
use serde::{Deserialize, Serialize};

/// How token states become one vector a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of all tokens: `H` wide.
    Mean,
    /// The mean of the first segment with its specials, so that a context informs the text and is not itself read: `H`.
    First,
    /// Means a, b of both segments, |a − b| and a·b: `4H` wide. Only for pairs.
    Segments,
    /// The first token, the mean, and the maximum of all tokens: `3H` wide.
    Rich,
}

impl Pooling {
    /// Width of the pooled vector over hidden states of width `hidden`.
    pub fn width(self, hidden: usize) -> usize {
        match self {
            Pooling::Mean | Pooling::First => hidden,
            Pooling::Segments => 4 * hidden,
            Pooling::Rich => 3 * hidden,
        }
    }
}

/// Pools hidden states `[B, S, H]` to `[B, width]`; see [`Pooling`].
///
/// # Errors
/// Those of the tensor library.
pub fn pool(
    pooling: Pooling,
    hidden: &Tensor,
    type_ids: &Tensor,
    lens: &[usize],
) -> candle_core::Result<Tensor> {
    let (b, s, _) = hidden.dims3()?;
    let mask: Vec<f32> = lens
        .iter()
        .flat_map(|&len| (0..s).map(move |i| if i < len { 1.0 } else { 0.0 }))
        .collect();
    let all = Tensor::from_vec(mask, (b, s), hidden.device())?;
    let second = || (type_ids.to_dtype(DType::F32)? * &all)?.contiguous();
    let first = || &all - second()?;
    match pooling {
        Pooling::Mean => masked_mean(hidden, &all),
        Pooling::First => masked_mean(hidden, &first()?),
        Pooling::Segments => {
            let (x, y) = (
                masked_mean(hidden, &first()?)?,
                masked_mean(hidden, &second()?)?,
            );
            let (apart, product) = ((&x - &y)?.abs()?, (&x * &y)?);
            Tensor::cat(&[&x, &y, &apart, &product], D::Minus1)
        }
        Pooling::Rich => {
            let cls = hidden.narrow(1, 0, 1)?.squeeze(1)?;
            let low = all.affine(1e4, -1e4)?.unsqueeze(2)?;
            let most = hidden.broadcast_add(&low)?.max(1)?;
            Tensor::cat(&[&cls, &masked_mean(hidden, &all)?, &most], D::Minus1)
        }
    }
}

fn masked_mean(hidden: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
    let count = mask.sum_keepdim(1)?.clamp(1f32, f32::MAX)?;
    hidden
        .broadcast_mul(&mask.unsqueeze(2)?)?
        .sum(1)?
        .broadcast_div(&count)
}
