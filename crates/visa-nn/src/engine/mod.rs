//! Inference of a decoder on plain slices: weights packed once, no tape.
//!
//! An [`Engine`] holds a decoder's weights in the form in which products read
//! them fastest, adapters merged; [`Engine::refresh`] takes over changed weights
//! into the same memory. Sequences live in a [`KvCache`], where continuations of
//! one prompt share its keys and values. It computes on the CPU, wherever the
//! decoder lives. Drawing tokens is in [`crate::sample`].

mod attend;
mod cache;
mod matrix;
mod read;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use visa_kernels::int8::Activations;
use visa_kernels::matmul::Compute;
use visa_kernels::{Element, activation, norm, rope};

use crate::decoder::{Layer, Net, Tap};
use crate::{Decoder, DecoderConfig, Error, Result, ops};

use attend::{New, attend};
pub use cache::KvCache;
use cache::{Rows, Stored, Work};
pub use matrix::WeightType;
pub(crate) use matrix::{Matrix, numbers};

/// Rows of activations that one task splits or activates.
const ROWS: usize = 16;

/// Whose hidden states a pass returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Those of the last token of each feed.
    Last,
    /// Those of every token.
    All,
}

/// New tokens of one sequence of a [`KvCache`].
pub type Feed<'a> = (usize, &'a [u32]);

#[derive(Debug)]
struct Block {
    attention_norm: Vec<f32>,
    /// Queries, keys and values from one product.
    qkv: Matrix,
    o: Matrix,
    feed_norm: Vec<f32>,
    gate_up: Matrix,
    down: Matrix,
}

impl Block {
    fn new(layer: &Layer, stored: WeightType) -> Result<Self> {
        let mut block = Self {
            attention_norm: Vec::new(),
            qkv: Matrix::new(stored, Activations::Words),
            o: Matrix::new(stored, Activations::Words),
            feed_norm: Vec::new(),
            gate_up: Matrix::new(stored, Activations::Words),
            down: Matrix::new(stored, Activations::Words),
        };
        block.fill(layer)?;
        Ok(block)
    }

    fn fill(&mut self, layer: &Layer) -> Result<()> {
        self.attention_norm = numbers(&layer.attention_norm)?;
        self.qkv.fill(&[&layer.q, &layer.k, &layer.v])?;
        self.o.fill(&[&layer.o])?;
        self.feed_norm = numbers(&layer.feed_norm)?;
        self.gate_up.fill(&[&layer.gate, &layer.up])?;
        self.down.fill(&[&layer.down])
    }
}

/// A decoder ready for fast inference.
#[derive(Debug)]
pub struct Engine {
    config: DecoderConfig,
    stored: WeightType,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Matrix,
}

impl Engine {
    /// Packs the weights of `decoder`, with its adapter merged into them.
    pub fn new(decoder: &Decoder, stored: WeightType) -> Result<Self> {
        let net = decoder.net();
        let blocks = net.layers.iter().map(|layer| Block::new(layer, stored));
        let mut engine = Self {
            config: decoder.config().clone(),
            stored,
            embedding: net.embedding.detach(),
            blocks: blocks.collect::<Result<_>>()?,
            norm: Vec::new(),
            head: Matrix::new(stored, Activations::Words),
        };
        engine.fill_ends(net)?;
        Ok(engine)
    }

    /// Takes over the present weights of a decoder of the same shape, in place:
    /// to be called after each update, before the engine is used again.
    pub fn refresh(&mut self, decoder: &Decoder) -> Result<()> {
        if decoder.config() != &self.config {
            return Err(Error::Input(
                "the engine was made for a decoder of another shape; make a new one".to_owned(),
            ));
        }
        let net = decoder.net();
        for (block, layer) in self.blocks.iter_mut().zip(&net.layers) {
            block.fill(layer)?;
        }
        self.fill_ends(net)
    }

    fn fill_ends(&mut self, net: &Net) -> Result<()> {
        // The table shares the decoder's storage: only single rows are read.
        self.embedding = net.embedding.detach().to_device(&Device::Cpu)?;
        self.norm = numbers(&net.norm)?;
        self.head.fill_tensor(&net.head)
    }

    /// An empty cache. Like training, it holds `f32` if the weights are `f32`, and
    /// otherwise bf16.
    pub fn cache(&self) -> KvCache {
        match self.stored {
            WeightType::F32 => KvCache::f32(&self.config),
            WeightType::Bf16 | WeightType::Int8 => KvCache::bf16(&self.config),
        }
    }

    /// The shape of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Feeds new tokens behind what the cache holds of their rows and returns
    /// the hidden state behind the final norm of the last token of each feed,
    /// `[feeds, H]`. Each row at most once, each with at least one token; rows
    /// may get different numbers of them. The first feed of a row is its prefill.
    pub fn step(&self, cache: &mut KvCache, feeds: &[Feed<'_>]) -> Result<Vec<f32>> {
        self.check(cache, feeds)?;
        // Inside the pool, so that each kernel starts without waking it first.
        let mut result = Ok(Vec::new());
        rayon::scope(|_| result = self.run(cache, feeds, Keep::Last, None));
        result
    }

    /// As [`Engine::step`], with a hook behind each layer.
    pub fn step_tapped(
        &self,
        cache: &mut KvCache,
        feeds: &[Feed<'_>],
        tap: &mut dyn Tap,
    ) -> Result<Vec<f32>> {
        self.check(cache, feeds)?;
        self.run(cache, feeds, Keep::Last, Some(tap))
    }

    /// Logits `[rows, V]` of hidden states `[rows, H]`.
    pub fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let mut logits = Vec::new();
        self.head.forward(hidden, &mut logits);
        logits
    }

    fn check(&self, cache: &KvCache, feeds: &[Feed<'_>]) -> Result<()> {
        let wrong = |detail: String| Err(Error::Input(detail));
        let mut rows: Vec<usize> = feeds.iter().map(|(row, _)| *row).collect();
        rows.sort_unstable();
        if rows.is_empty() || rows.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong(format!(
                "a step feeds rows {rows:?}; feed at least one row, and each once"
            ));
        }
        for (row, tokens) in feeds {
            let Some(seen) = cache.len(*row) else {
                return wrong(format!("row {row} is not in the cache; add it first"));
            };
            if tokens.is_empty() {
                return wrong(format!("row {row} is fed no token; give it at least one"));
            }
            let limit = self.config.max_position_embeddings;
            if seen + tokens.len() > limit {
                return wrong(format!(
                    "a sequence of {} tokens is longer than the {limit} positions of the decoder; shorten it",
                    seen + tokens.len()
                ));
            }
            if let Some(id) = tokens
                .iter()
                .find(|&&t| t as usize >= self.config.vocab_size)
            {
                return wrong(format!(
                    "token {id} is not below the vocabulary of {}; use the model's own tokenizer",
                    self.config.vocab_size
                ));
            }
        }
        Ok(())
    }

    fn run(
        &self,
        cache: &mut KvCache,
        feeds: &[Feed<'_>],
        keep: Keep,
        tap: Option<&mut dyn Tap>,
    ) -> Result<Vec<f32>> {
        match &mut cache.0 {
            Stored::F32(rows) => self.run_stored(Compute::F32, rows, feeds, keep, tap),
            Stored::Bf16(rows) => self.run_stored(Compute::Bf16, rows, feeds, keep, tap),
        }
    }

    fn run_stored<T: Element>(
        &self,
        compute: Compute,
        cache: &mut Rows<T>,
        feeds: &[Feed<'_>],
        keep: Keep,
        mut tap: Option<&mut dyn Tap>,
    ) -> Result<Vec<f32>> {
        let config = &self.config;
        let (h, eps) = (config.hidden_size, config.rms_norm_eps as f32);
        let positions: Vec<u32> = feeds
            .iter()
            .flat_map(|(row, tokens)| {
                let start = cache.len(*row).unwrap_or(0);
                start as u32..(start + tokens.len()) as u32
            })
            .collect();
        let fewer = keep == Keep::Last && positions.len() > feeds.len();
        let mut work = std::mem::take(&mut cache.work);
        ops::read(&self.embedding, |table| {
            work.x.clear();
            for id in feeds.iter().flat_map(|(_, tokens)| *tokens) {
                let at = *id as usize * h;
                work.x.extend_from_slice(&table[at..at + h]);
            }
        })?;
        for (i, block) in self.blocks.iter().enumerate() {
            work.normed.resize(work.x.len(), T::default());
            norm::rms_forward(&work.x, &block.attention_norm, eps, &mut work.normed);
            block.qkv.forward(&work.normed, &mut work.wide);
            self.rotate(&positions, &mut work);
            cache.append(i, feeds, &work.keys, &work.values);
            let new = New {
                q: &work.q,
                keys: &work.keys,
                values: &work.values,
            };
            attend(config, compute, cache, i, feeds, &new, &mut work.attended);
            // Behind the last attention only what is kept matters.
            if i + 1 == self.blocks.len() && tap.is_none() && fewer {
                last_rows(&mut work.x, feeds, h);
                last_rows(
                    &mut work.attended,
                    feeds,
                    config.num_attention_heads * config.head_dim,
                );
            }
            block.o.add_forward(&work.attended, &mut work.x);
            work.normed.resize(work.x.len(), T::default());
            norm::rms_forward(&work.x, &block.feed_norm, eps, &mut work.normed);
            block.gate_up.forward(&work.normed, &mut work.wide);
            self.activate(&mut work);
            block.down.add_forward(&work.inner, &mut work.x);
            if let Some(tap) = &mut tap {
                tapped(*tap, i, &mut work.x, h)?;
            }
        }
        cache.advance(feeds);
        if tap.is_some() && fewer {
            last_rows(&mut work.x, feeds, h);
        }
        let hidden = visa_kernels::new_vec(work.x.len(), |y| {
            norm::rms_forward(&work.x, &self.norm, eps, y);
        });
        cache.work = work;
        Ok(hidden)
    }

    /// Splits the rows `[q | k | v]` in `wide` and rotates queries and keys.
    fn rotate<T: Element>(&self, positions: &[u32], work: &mut Work<T>) {
        let c = &self.config;
        let (heads, kv_heads, dim) = (c.num_attention_heads, c.num_key_value_heads, c.head_dim);
        let (q, kv, theta) = (heads * dim, kv_heads * dim, c.rope_theta as f32);
        let n = positions.len();
        work.q.resize(n * q, T::default());
        work.keys.resize(n * kv, T::default());
        work.values.resize(n * kv, T::default());
        let parts = (work.q.par_chunks_mut(ROWS * q))
            .zip(work.keys.par_chunks_mut(ROWS * kv))
            .zip(work.values.par_chunks_mut(ROWS * kv))
            .zip(work.wide.par_chunks(ROWS * (q + 2 * kv)))
            .zip(positions.par_chunks(ROWS));
        parts.for_each(|((((qs, ks), vs), from), positions)| {
            let rows = (qs.chunks_exact_mut(q))
                .zip(ks.chunks_exact_mut(kv))
                .zip(vs.chunks_exact_mut(kv))
                .zip(from.chunks_exact(q + 2 * kv));
            for (((q_row, k_row), v_row), from) in rows {
                q_row.copy_from_slice(&from[..q]);
                k_row.copy_from_slice(&from[q..q + kv]);
                v_row.copy_from_slice(&from[q + kv..]);
            }
            rope::rotate(qs, positions, (heads, dim), theta, false);
            rope::rotate(ks, positions, (kv_heads, dim), theta, false);
        });
    }

    /// `silu(gate) · up` of the rows `[gate | up]` in `wide`.
    fn activate<T: Element>(&self, work: &mut Work<T>) {
        let f = self.config.intermediate_size;
        work.inner.resize(work.wide.len() / 2, T::default());
        work.inner
            .par_chunks_mut(ROWS * f)
            .zip(work.wide.par_chunks(ROWS * 2 * f))
            .for_each(|(inner, wide)| {
                for (inner, wide) in inner.chunks_exact_mut(f).zip(wide.chunks_exact(2 * f)) {
                    let (gate, up) = wide.split_at(f);
                    activation::swiglu_forward(gate, up, inner);
                }
            });
    }
}

/// Keeps the row of the last token of each feed.
fn last_rows<T: Copy>(x: &mut Vec<T>, feeds: &[Feed<'_>], width: usize) {
    let mut end = 0;
    for (i, (_, tokens)) in feeds.iter().enumerate() {
        end += tokens.len();
        x.copy_within((end - 1) * width..end * width, i * width);
    }
    x.truncate(feeds.len() * width);
}

/// Shows the hidden states `[T, H]` to the tap and takes what it returns.
fn tapped(tap: &mut dyn Tap, layer: usize, x: &mut [f32], width: usize) -> Result<()> {
    let shape = (1, x.len() / width, width);
    let hidden = Tensor::from_slice(x, shape, &Device::Cpu)?;
    if let Some(changed) = tap.layer(layer, &hidden)? {
        if changed.dims() != hidden.dims() {
            return Err(Error::Input(format!(
                "a tap behind layer {layer} returned {:?} for {:?}; keep the shape",
                changed.dims(),
                hidden.dims()
            )));
        }
        ops::read(&changed, |values| x.copy_from_slice(values))?;
    }
    Ok(())
}
