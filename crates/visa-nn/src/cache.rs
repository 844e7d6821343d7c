//! Keys and values of the tokens that a decoder has seen.
//!
//! One row a sequence; rows may have different lengths. Each layer owns one
//! tensor `[B, capacity, Hkv, D]` that is written in place, so that a step
//! copies only the new tokens. Keys and values carry no gradient.

use candle_core::{DType, Device, Tensor};

use crate::{DecoderConfig, Error, Result};

/// The cache of one batch of sequences.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    lens: Vec<usize>,
    capacity: usize,
}

impl KvCache {
    /// An empty cache of `rows` sequences with room for `capacity` tokens each.
    pub fn new(
        config: &DecoderConfig,
        rows: usize,
        capacity: usize,
        device: &Device,
    ) -> Result<Self> {
        if rows == 0 || capacity == 0 || capacity > config.max_position_embeddings {
            return Err(Error::Input(format!(
                "a cache of {rows} rows of {capacity} tokens is not possible; the decoder has {} positions",
                config.max_position_embeddings
            )));
        }
        let shape = (rows, capacity, config.num_key_value_heads, config.head_dim);
        let layers = (0..config.num_hidden_layers)
            .map(|_| {
                Ok((
                    Tensor::zeros(shape, DType::F32, device)?,
                    Tensor::zeros(shape, DType::F32, device)?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            lens: vec![0; rows],
            capacity,
        })
    }

    /// Tokens seen in each row.
    pub fn lens(&self) -> &[usize] {
        &self.lens
    }

    /// Tokens that a row can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// A cache of the given rows in the given order, with repetitions: `[0, 0,
    /// 0]` starts three continuations of one prompt. Copies what was seen.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        if rows.is_empty() || rows.iter().any(|&row| row >= self.lens.len()) {
            return Err(Error::Input(format!(
                "cannot select rows {rows:?} of a cache of {}",
                self.lens.len()
            )));
        }
        let layers = self
            .layers
            .iter()
            .map(|(k, v)| Ok((self.gather(k, rows)?, self.gather(v, rows)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            lens: rows.iter().map(|&row| self.lens[row]).collect(),
            capacity: self.capacity,
        })
    }

    fn gather(&self, from: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let (_, capacity, heads, width) = from.dims4()?;
        let shape = (rows.len(), capacity, heads, width);
        let to = Tensor::zeros(shape, from.dtype(), from.device())?;
        for (at, &row) in rows.iter().enumerate() {
            if self.lens[row] > 0 {
                let seen = from.narrow(0, row, 1)?.narrow(1, 0, self.lens[row])?;
                to.narrow(0, at, 1)?.slice_set(&seen, 1, 0)?;
            }
        }
        Ok(to)
    }

    /// Forgets the tokens of a row beyond `len`.
    pub fn truncate(&mut self, row: usize, len: usize) {
        self.lens[row] = self.lens[row].min(len);
    }

    /// Makes room for at least `capacity` tokens a row.
    pub(crate) fn reserve(&mut self, capacity: usize, limit: usize) -> Result<()> {
        if capacity <= self.capacity {
            return Ok(());
        }
        // Doubling, so that growing token by token copies each key twice at most.
        self.capacity = capacity.max(2 * self.capacity).min(limit).max(capacity);
        let rows = self.lens.len();
        for (k, v) in &mut self.layers {
            for tensor in [k, v] {
                let (_, _, heads, width) = tensor.dims4()?;
                let shape = (rows, self.capacity, heads, width);
                let grown = Tensor::zeros(shape, tensor.dtype(), tensor.device())?;
                grown.slice_set(tensor, 1, 0)?;
                *tensor = grown;
            }
        }
        Ok(())
    }

    /// Writes the new keys and values of one layer, packed row after row as
    /// `[1, sum(counts), Hkv, D]`, behind what each row holds.
    pub(crate) fn write(
        &self,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
        counts: &[usize],
    ) -> Result<()> {
        let (cached_k, cached_v) = &self.layers[layer];
        for (cached, new) in [(cached_k, k.detach()), (cached_v, v.detach())] {
            let mut at = 0;
            for (row, &count) in counts.iter().enumerate() {
                let new = new.narrow(1, at, count)?;
                cached
                    .narrow(0, row, 1)?
                    .slice_set(&new, 1, self.lens[row])?;
                at += count;
            }
        }
        Ok(())
    }

    /// Keys and values of one layer `[B, capacity, Hkv, D]`.
    pub(crate) fn layer(&self, layer: usize) -> (&Tensor, &Tensor) {
        let (k, v) = &self.layers[layer];
        (k, v)
    }

    /// Counts the tokens that every layer has written.
    pub(crate) fn advance(&mut self, counts: &[usize]) {
        for (len, count) in self.lens.iter_mut().zip(counts) {
            *len += count;
        }
    }
}
