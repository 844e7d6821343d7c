//! Decoding with a cache: only the new tokens are computed.

use candle_core::Tensor;

use super::{Decoder, Tap, tapped};
use crate::cache::KvCache;
use crate::ops::{self, Mask};
use crate::{Error, Result};

impl Decoder {
    /// Feeds new tokens of every row behind what the cache holds, and returns
    /// the hidden state of the last token of each row, `[B, H]`. The first call
    /// is the prefill; rows may get different numbers of tokens, at least one.
    pub fn step(&self, cache: &mut KvCache, new: &[&[u32]]) -> Result<Tensor> {
        self.step_tapped(cache, new, None)
    }

    /// As [`Decoder::step`], with a hook behind each layer.
    pub fn step_tapped(
        &self,
        cache: &mut KvCache,
        new: &[&[u32]],
        mut tap: Option<&mut dyn Tap>,
    ) -> Result<Tensor> {
        let rows = cache.lens().len();
        let counts: Vec<usize> = new.iter().map(|ids| ids.len()).collect();
        if counts.len() != rows || counts.contains(&0) {
            return Err(Error::Input(format!(
                "a step over {rows} cached rows got {counts:?} new tokens; give each row at least one"
            )));
        }
        let starts = cache.lens().to_vec();
        let ends: Vec<usize> = starts.iter().zip(&counts).map(|(s, n)| s + n).collect();
        let longest = ends.iter().copied().max().unwrap_or(0);
        self.check_positions(longest)?;
        cache.reserve(longest, self.config.max_position_embeddings)?;

        // The new tokens of all rows lie packed in one row, without padding.
        let total: usize = counts.iter().sum();
        let device = self.device();
        let ids: Vec<u32> = new.iter().flat_map(|ids| ids.iter().copied()).collect();
        let ids = Tensor::from_vec(ids, (1, total), device)?;
        let positions: Vec<u32> = starts
            .iter()
            .zip(&ends)
            .flat_map(|(&start, &end)| start as u32..end as u32)
            .collect();
        let positions = Tensor::from_vec(positions, (1, total), device)?;

        let mut x = ops::embedding(&self.net.embedding, &ids)?;
        for (i, layer) in self.net.layers.iter().enumerate() {
            let normed = ops::rms_norm(&x, &layer.attention_norm, self.config.rms_norm_eps)?;
            let (q, k, v) = self.project(layer, &normed, &positions)?;
            cache.write(i, &k, &v, &counts)?;
            let attended = self.attend_cached(cache, i, &q, &counts, &starts)?;
            x = self.rest(layer, x, &attended)?;
            x = tapped(&mut tap, i, x)?;
        }
        cache.advance(&counts);

        let x = x.squeeze(0)?;
        let last = if total == rows {
            x
        } else {
            let mut end = 0;
            let last: Vec<u32> = counts
                .iter()
                .map(|count| {
                    end += count;
                    end as u32 - 1
                })
                .collect();
            x.index_select(&Tensor::from_vec(last, rows, device)?, 0)?
        };
        Ok(ops::rms_norm(
            &last,
            &self.net.norm,
            self.config.rms_norm_eps,
        )?)
    }

    /// Attention of packed queries `[1, T, Hq, D]` over the cached rows.
    fn attend_cached(
        &self,
        cache: &KvCache,
        layer: usize,
        q: &Tensor,
        counts: &[usize],
        starts: &[usize],
    ) -> Result<Tensor> {
        let (keys, values) = cache.layer(layer);
        let (_, total, heads, width) = q.dims4()?;
        let rows = counts.len();
        if total == rows {
            // One new token a row: one call, the lengths hide what is not written.
            let q = q.reshape((rows, 1, heads, width))?;
            let lens = Some(starts.iter().map(|start| start + 1).collect());
            let attended = ops::attention(&q, keys, values, &Mask::Bidirectional { lens })?;
            return Ok(attended.reshape((1, total, heads, width))?);
        }
        let mut at = 0;
        let mut parts = Vec::with_capacity(rows);
        for (row, (&count, &start)) in counts.iter().zip(starts).enumerate() {
            let seen = |t: &Tensor| t.narrow(0, row, 1)?.narrow(1, 0, start + count);
            let mask = Mask::Causal {
                lens: None,
                offset: start,
            };
            let q = q.narrow(1, at, count)?;
            parts.push(ops::attention(&q, &seen(keys)?, &seen(values)?, &mask)?);
            at += count;
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(Tensor::cat(&parts, 1)?),
        }
    }
}
