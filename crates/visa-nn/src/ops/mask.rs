//! Which keys a query may attend to.
//!
//! The mask is described, not materialised: the fused kernels read the bounds
//! of each row, and only the composed reference turns them into a tensor.

use candle_core::{DType, Device, Result, Tensor, bail};

/// The keys that each query sees.
///
/// Lengths count keys of each batch row from the left; keys at or beyond the
/// length are padding and are seen by no query. A query that sees no key at
/// all (a length of zero) yields zeros.
#[derive(Debug, Clone)]
pub enum Mask {
    /// Query `i` sees the keys `0 ..= i + offset`.
    Causal {
        /// Number of real keys in each batch row; `None` means all of them.
        lens: Option<Vec<usize>>,
        /// Key position of query 0: the length of the cache before this call.
        offset: usize,
    },
    /// Every query sees every real key.
    Bidirectional {
        /// Number of real keys in each batch row; `None` means all of them.
        lens: Option<Vec<usize>>,
    },
    /// One row in which each group of texts that share a beginning lies packed
    /// as `[prompt | completion | completion | …]`, without padding. A prompt
    /// sees itself causally, a completion its prompt and itself causally.
    Groups(Vec<GroupLens>),
    /// A tensor broadcastable to `[B, Hq, Sq, Sk]`: `f32` is added to the
    /// scaled scores, `u8` keeps the keys where it is not zero. Each query must
    /// see at least one key.
    Explicit(Tensor),
}

/// Tokens of a group in [`Mask::Groups`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLens {
    /// Tokens that the completions share; at least one.
    pub prompt: usize,
    /// Tokens of each completion.
    pub completions: Vec<usize>,
}

impl GroupLens {
    /// Tokens of all completions.
    pub fn completed(&self) -> usize {
        self.completions.iter().sum()
    }

    /// Tokens of the group.
    pub fn total(&self) -> usize {
        self.prompt + self.completed()
    }
}

impl Mask {
    /// Causal, no padding, no cache.
    pub fn causal() -> Self {
        Self::Causal {
            lens: None,
            offset: 0,
        }
    }

    /// Bidirectional, no padding.
    pub fn bidirectional() -> Self {
        Self::Bidirectional { lens: None }
    }

    /// Lengths of the rows, if the mask carries any.
    pub fn lens(&self) -> Option<&[usize]> {
        match self {
            Self::Causal { lens, .. } | Self::Bidirectional { lens } => lens.as_deref(),
            Self::Groups(_) | Self::Explicit(_) => None,
        }
    }

    /// Refuses lengths that do not fit the batch.
    pub(super) fn check(&self, batch: usize, keys: usize) -> Result<()> {
        if let Self::Groups(groups) = self {
            let total: usize = groups.iter().map(GroupLens::total).sum();
            if batch != 1 || total != keys || groups.iter().any(|group| group.prompt == 0) {
                bail!(
                    "attention mask has groups of {total} tokens for {batch} rows of {keys}; pack them in one row, each with a prompt"
                );
            }
        }
        let Some(lens) = self.lens() else {
            return Ok(());
        };
        if lens.len() != batch {
            bail!(
                "attention mask has {} lengths for a batch of {batch} rows",
                lens.len()
            );
        }
        if let Some(bad) = lens.iter().find(|&&len| len > keys) {
            bail!(
                "attention mask has a length of {bad} for {keys} keys; pad the keys to the longest row"
            );
        }
        Ok(())
    }

    /// Number of leading keys that query `i` of batch row `b` sees.
    pub(super) fn visible(&self, b: usize, i: usize, keys: usize) -> usize {
        let len = self.lens().map_or(keys, |lens| lens[b]);
        match self {
            Self::Causal { offset, .. } => len.min(i + offset + 1),
            Self::Bidirectional { .. } | Self::Groups(_) | Self::Explicit(_) => len,
        }
    }

    /// The additive bias and, where a query may see nothing, the 0/1 factor
    /// that clears its row; both broadcastable to `[B, Hq, Sq, Sk]`.
    pub(super) fn bias(
        &self,
        batch: usize,
        queries: usize,
        keys: usize,
        device: &Device,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.check(batch, keys)?;
        if let Self::Explicit(mask) = self {
            let bias = match mask.dtype() {
                DType::U8 => {
                    let off = Tensor::full(DENIED, mask.shape(), device)?;
                    let on = off.zeros_like()?;
                    mask.where_cond(&on, &off)?
                }
                _ => mask.to_dtype(DType::F32)?,
            };
            return Ok((Some(bias), None));
        }
        if let Self::Groups(groups) = self {
            let mut bias = vec![DENIED; queries * keys];
            let mut start = 0;
            for group in groups {
                let mut at = start;
                for (own, shared) in std::iter::once((group.prompt, 0))
                    .chain(group.completions.iter().map(|len| (*len, group.prompt)))
                {
                    for i in at..at + own {
                        bias[i * keys + start..i * keys + start + shared].fill(0.0);
                        bias[i * keys + at..=i * keys + i].fill(0.0);
                    }
                    at += own;
                }
                start = at;
            }
            let bias = Tensor::from_vec(bias, (1, 1, queries, keys), device)?;
            return Ok((Some(bias), None));
        }
        let rows = if self.lens().is_some() { batch } else { 1 };
        let mut bias = vec![DENIED; rows * queries * keys];
        let mut keep = vec![1f32; rows * queries];
        for b in 0..rows {
            for i in 0..queries {
                let seen = self.visible(b, i, keys);
                let row = b * queries + i;
                bias[row * keys..row * keys + seen].fill(0.0);
                if seen == 0 {
                    keep[row] = 0.0;
                }
            }
        }
        let keep = if keep.contains(&0.0) {
            Some(Tensor::from_vec(keep, (rows, 1, queries, 1), device)?)
        } else {
            None
        };
        if bias.iter().all(|&x| x == 0.0) {
            return Ok((None, keep));
        }
        let bias = Tensor::from_vec(bias, (rows, 1, queries, keys), device)?;
        Ok((Some(bias), keep))
    }
}

/// Finite, so that a row of denied keys gives no NaN; low enough that `exp`
/// of it is zero beside any real score.
const DENIED: f32 = -1e30;
