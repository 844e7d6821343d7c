//! Inference of an encoder on plain slices: weights packed once, no padding, no
//! tape.
//!
//! The real tokens of all texts lie one after the other; attention goes text by
//! text. Texts are taken in stretches whose activations stay in the cache, and
//! stretches run beside each other.

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use visa_kernels::int8::Activations;
use visa_kernels::matmul::Compute;
use visa_kernels::{Element, activation, attention, bf16, new_vec, norm};

use super::{Batch, Encoder, Layer, Norm};
use crate::engine::{Matrix, numbers};
use crate::{EncoderConfig, Error, Result, WeightType, ops};

/// Most tokens of a stretch, but for a text that is longer by itself.
const STRETCH: usize = 512;

#[derive(Debug)]
struct NormWeights {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl NormWeights {
    fn new(norm: &Norm) -> Result<Self> {
        Ok(Self {
            weight: numbers(&norm.weight)?,
            bias: numbers(&norm.bias)?,
            eps: norm.eps as f32,
        })
    }

    fn forward(&self, x: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        new_vec(x.len(), |y| {
            norm::layer_forward(x, residual, &self.weight, &self.bias, self.eps, y);
        })
    }
}

#[derive(Debug)]
struct Block {
    qkv: Matrix,
    attention_out: Matrix,
    attention_norm: NormWeights,
    up: Matrix,
    down: Matrix,
    out_norm: NormWeights,
}

impl Block {
    fn new(layer: &Layer, stored: WeightType) -> Result<Self> {
        let matrix = |parts: &[&crate::layers::Linear]| {
            let mut matrix = Matrix::new(stored, Activations::Bytes);
            matrix.fill(parts)?;
            Ok::<_, Error>(matrix)
        };
        Ok(Self {
            qkv: matrix(&[&layer.query, &layer.key, &layer.value])?,
            attention_out: matrix(&[&layer.attention_out])?,
            attention_norm: NormWeights::new(&layer.attention_norm)?,
            up: matrix(&[&layer.up])?,
            down: matrix(&[&layer.down])?,
            out_norm: NormWeights::new(&layer.out_norm)?,
        })
    }
}

/// An encoder ready for fast inference, its adapter merged.
#[derive(Debug)]
pub struct EncoderEngine {
    config: EncoderConfig,
    words: Tensor,
    positions: Vec<f32>,
    types: Vec<f32>,
    norm: NormWeights,
    blocks: Vec<Block>,
    /// Of attention; what lies between products is stored in the same precision.
    compute: Compute,
}

impl EncoderEngine {
    /// Packs the present weights of `encoder`.
    pub fn new(encoder: &Encoder, stored: WeightType) -> Result<Self> {
        let net = &encoder.net;
        let blocks = net.layers.iter().map(|layer| Block::new(layer, stored));
        Ok(Self {
            config: encoder.config.clone(),
            // Shared with the encoder: only single rows are read.
            words: net.words.detach().to_device(&Device::Cpu)?,
            positions: numbers(&net.positions)?,
            types: numbers(&net.types)?,
            norm: NormWeights::new(&net.norm)?,
            blocks: blocks.collect::<Result<_>>()?,
            compute: match stored {
                WeightType::F32 => Compute::F32,
                WeightType::Bf16 | WeightType::Int8 => Compute::Bf16,
            },
        })
    }

    /// Hidden states `[B, S, H]` of the last layer, zero beyond a text's length.
    pub fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let (rows, width) = batch.ids.dims2()?;
        let ids = batch.ids.to_vec2::<u32>()?;
        let types = match &batch.type_ids {
            Some(types) => Some(types.to_vec2::<u32>()?),
            None => None,
        };
        let mut texts = Vec::with_capacity(rows);
        for (row, (ids, &len)) in ids.iter().zip(&batch.lens).enumerate() {
            let types = types.as_ref().map(|types| &types[row][..len]);
            texts.push((&ids[..len], types));
        }
        let h = self.config.hidden_size;
        let mut hidden = vec![0.0; rows * width * h];
        let out = hidden.chunks_mut((width * h).max(1));
        for (out, states) in out.zip(self.hidden(&texts)?) {
            out[..states.len()].copy_from_slice(&states);
        }
        Ok(Tensor::from_vec(hidden, (rows, width, h), &Device::Cpu)?)
    }

    /// Hidden states `[tokens, H]` of each text, given as token ids and segments
    /// (segment 0 throughout if `None`). Texts of any lengths, at least one token
    /// each; nothing is padded.
    pub fn hidden(&self, texts: &[(&[u32], Option<&[u32]>)]) -> Result<Vec<Vec<f32>>> {
        for (i, (ids, types)) in texts.iter().enumerate() {
            self.check(ids, *types)
                .map_err(|detail| Error::Input(format!("text {i} {detail}")))?;
        }
        let total: usize = texts.iter().map(|(ids, _)| ids.len()).sum();
        // Several stretches a thread, so that none waits long for the last.
        let most = total.div_ceil(4 * rayon::current_num_threads());
        let most = most.clamp(64, STRETCH);
        let mut stretches = Vec::new();
        let (mut first, mut tokens) = (0, 0);
        for (i, (ids, _)) in texts.iter().enumerate() {
            if i > first && tokens + ids.len() > most {
                stretches.push(&texts[first..i]);
                (first, tokens) = (i, 0);
            }
            tokens += ids.len();
        }
        stretches.push(&texts[first..]);
        let done = stretches.into_par_iter().map(|texts| match self.compute {
            Compute::F32 => self.stretch::<f32>(texts),
            Compute::Bf16 => self.stretch::<bf16>(texts),
        });
        let done: Vec<Vec<Vec<f32>>> = done.collect::<Result<_>>()?;
        Ok(done.into_iter().flatten().collect())
    }

    fn check(&self, ids: &[u32], types: Option<&[u32]>) -> std::result::Result<(), String> {
        let c = &self.config;
        let beyond = |ids: &[u32], limit| ids.iter().copied().find(|&id| id as usize >= limit);
        if ids.is_empty() || ids.len() > c.max_position_embeddings {
            return Err(format!(
                "has {} tokens, but the encoder takes 1 to {}; cut it into windows",
                ids.len(),
                c.max_position_embeddings
            ));
        }
        if types.is_some_and(|types| types.len() != ids.len()) {
            return Err("has another number of segments than of tokens".to_owned());
        }
        let wrong = beyond(ids, c.vocab_size)
            .or_else(|| types.and_then(|types| beyond(types, c.type_vocab_size)));
        match wrong {
            Some(id) => Err(format!(
                "has token or segment {id}, which the encoder does not know; use its own tokenizer"
            )),
            None => Ok(()),
        }
    }

    fn stretch<T: Element>(&self, texts: &[(&[u32], Option<&[u32]>)]) -> Result<Vec<Vec<f32>>> {
        let h = self.config.hidden_size;
        let mut x = self.embed(texts)?;
        let lens: Vec<usize> = texts.iter().map(|(ids, _)| ids.len()).collect();
        let heads = self.config.num_attention_heads;
        let shape = (heads, h / heads);
        let (mut wide, mut out) = (Vec::<T>::new(), Vec::new());
        for block in &self.blocks {
            block.qkv.forward(&x, &mut wide);
            let attended: Vec<T> = new_vec(x.len(), |out| {
                attention::bidirectional(&wide, &lens, shape, self.compute, out);
            });
            block.attention_out.forward(&attended, &mut out);
            let mid = block.attention_norm.forward(&out, Some(&x));
            block.up.forward(&mid, &mut wide);
            let inner: Vec<T> = new_vec(wide.len(), |y| activation::gelu_forward(&wide, y));
            block.down.forward(&inner, &mut out);
            x = block.out_norm.forward(&out, Some(&mid));
        }
        let mut rest = &x[..];
        let split = lens.iter().map(|len| {
            let (states, next) = rest.split_at(len * h);
            rest = next;
            states.to_vec()
        });
        Ok(split.collect())
    }

    /// Words, positions and segments, summed and normalised.
    fn embed(&self, texts: &[(&[u32], Option<&[u32]>)]) -> Result<Vec<f32>> {
        let h = self.config.hidden_size;
        let mut x = Vec::new();
        ops::read(&self.words, |words| {
            for (ids, types) in texts {
                for (at, id) in ids.iter().enumerate() {
                    let kind = types.map_or(0, |types| types[at] as usize);
                    let start = x.len();
                    x.extend_from_slice(&words[*id as usize * h..][..h]);
                    let more = self.positions[at * h..].iter().zip(&self.types[kind * h..]);
                    for (x, (position, kind)) in x[start..].iter_mut().zip(more) {
                        *x += position + kind;
                    }
                }
            }
        })?;
        Ok(self.norm.forward(&x, None))
    }
}
