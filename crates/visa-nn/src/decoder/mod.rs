//! Llama decoders: token ids to hidden states, logits and losses, trainable
//! whole or by adapter, with or without a cache.
//!
//! Touvron et al. 2023, arXiv 2302.13971: pre-norm by RMSNorm, rotary
//! positions, grouped-query attention, SwiGLU, a tied or untied head. Sampling
//! is in [`crate::sample`].

mod block;
mod groups;
mod grow;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor, Var};

use crate::layers::{Linear, Module, Weights};
use crate::ops::{self, Mask};
use crate::params::StoreType;
use crate::random::Init;
use crate::{DecoderConfig, Engine, Error, Lora, Params, Result, WeightType, files};

use block::{Pass, block};
pub use groups::Group;

/// Reads or shifts the residual stream behind each layer.
pub trait Tap {
    /// Called with the hidden states behind `layer` (counted from 0): `[B, S,
    /// H]`, or the new tokens of all rows packed as `[1, T, H]` when decoding
    /// with a cache. A tensor of the same shape that is returned takes their
    /// place.
    fn layer(&mut self, layer: usize, hidden: &Tensor) -> Result<Option<Tensor>>;
}

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Tensor,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) o: Linear,
    pub(crate) feed_norm: Tensor,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

impl Layer {
    fn modules(&self) -> [&Linear; 7] {
        [
            &self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down,
        ]
    }
}

/// The tensors of the model, sharing storage with its [`Weights`].
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) embedding: Tensor,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor,
    pub(crate) head: Tensor,
}

/// A Llama decoder. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Decoder {
    config: DecoderConfig,
    weights: Weights,
    net: Net,
    engines: Engines,
    checkpointing: bool,
}

/// Engines over frozen weights, made when first asked for: one a weight type.
type Engines = Arc<[OnceLock<Arc<Engine>>; 2]>;

impl Decoder {
    /// Loads `config.json` and `model.safetensors` in `dir`; all frozen.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        Self::new(DecoderConfig::load(dir)?, Params::load(dir, device)?)
    }

    /// Builds the decoder over weights with Hugging Face names.
    pub fn new(config: DecoderConfig, mut params: Params) -> Result<Self> {
        config
            .check()
            .map_err(|detail| Error::config(params.path(), detail))?;
        params.rename(plain_name);
        if config.tie_word_embeddings {
            // Some writers store the shared head a second time.
            params.remove("lm_head.weight");
        }
        let weights = Weights::new(params);
        let net = Net::new(&config, &weights)?;
        Ok(Self {
            config,
            weights,
            net,
            engines: Engines::default(),
            checkpointing: false,
        })
    }

    /// A random decoder, all trainable: normal with 0.02, the projections back
    /// into the residual stream narrower by `sqrt(2 · layers)` (Radford et al.
    /// 2019), norms at one.
    pub fn new_random(config: &DecoderConfig, seed: u64, device: &Device) -> Result<Self> {
        let mut params = Params::new("random decoder", device);
        let mut init = Init::new(seed);
        let (h, std) = (config.hidden_size, 0.02);
        let narrow = std / (2.0 * config.num_hidden_layers as f64).sqrt();
        let table = init.normal(&[config.vocab_size, h], std, device)?;
        params.insert("model.embed_tokens.weight", &table)?;
        if !config.tie_word_embeddings {
            let head = init.normal(&[config.vocab_size, h], std, device)?;
            params.insert("lm_head.weight", &head)?;
        }
        let ones = Tensor::ones(h, DType::F32, device)?;
        params.insert("model.norm.weight", &ones)?;
        for i in 0..config.num_hidden_layers {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                params.insert(format!("model.layers.{i}.{norm}.weight"), &ones.copy()?)?;
            }
        }
        for (module, out, inputs) in modules(config) {
            let back = module.ends_with("o_proj") || module.ends_with("down_proj");
            let weight = init.normal(&[out, inputs], if back { narrow } else { std }, device)?;
            params.insert(format!("{module}.weight"), &weight)?;
            if has_bias(config, &module) {
                let bias = Tensor::zeros(out, DType::F32, device)?;
                params.insert(format!("{module}.bias"), &bias)?;
            }
        }
        params.set_trainable(|_| true)?;
        Self::new(config.clone(), params)
    }

    /// The shape of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where the weights live.
    pub fn device(&self) -> &Device {
        self.weights.base.device()
    }

    /// The base weights, in Hugging Face names.
    pub fn params(&self) -> &Params {
        &self.weights.base
    }

    /// The adapter's weights, in PEFT's names.
    pub fn adapter(&self) -> Option<(&Lora, &Params)> {
        self.weights.lora().zip(self.weights.adapter_params())
    }

    /// Makes exactly the base tensors that `select` names trainable. An adapter
    /// keeps its state.
    pub fn set_trainable(&mut self, select: impl Fn(&str) -> bool) -> Result<()> {
        self.weights.base.set_trainable(select)?;
        self.rebuild()
    }

    /// Puts a fresh trainable adapter over the base, which is frozen. The
    /// logits do not change until it is trained.
    pub fn with_lora(mut self, lora: &Lora, seed: u64) -> Result<Self> {
        self.weights
            .add_adapter(lora, &modules(&self.config), seed)?;
        self.rebuild()?;
        Ok(self)
    }

    /// Reads a PEFT adapter in `dir` and puts it, frozen, over the base.
    pub fn with_adapter(mut self, dir: &Path) -> Result<Self> {
        self.weights
            .load_adapter(dir, &modules(&self.config), plain_name)?;
        self.rebuild()?;
        Ok(self)
    }

    /// As [`Decoder::with_adapter`], from what was read already.
    pub fn with_adapter_params(mut self, lora: Lora, params: Params) -> Result<Self> {
        let modules = modules(&self.config);
        self.weights
            .set_adapter(lora, params, &modules, plain_name)?;
        self.rebuild()?;
        Ok(self)
    }

    /// Makes the adapter trainable again and freezes the base.
    pub fn train_adapter(&mut self) -> Result<()> {
        self.weights.train_adapter()?;
        self.rebuild()
    }

    /// Adds the adapter's update to the weights: the fastest form for use.
    /// Weights that are not adapted stay shared.
    pub fn merged(mut self) -> Result<Self> {
        self.weights.merge()?;
        self.rebuild()?;
        Ok(self)
    }

    /// Drops the adapter: the base again.
    pub fn without_adapter(mut self) -> Result<Self> {
        self.weights.drop_adapter();
        self.rebuild()?;
        Ok(self)
    }

    /// The trainable tensors of base and adapter, in order of name.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.weights.vars()
    }

    /// Writes `config.json` and `model.safetensors`. Merge an adapter first, or
    /// save it beside with [`Decoder::save_adapter`].
    pub fn save(&self, dir: &Path, dtype: StoreType) -> Result<()> {
        self.weights.base.save(dir, dtype)?;
        let json = self.config.to_json(dtype == StoreType::Int8);
        files::write_atomic(&dir.join("config.json"), json.as_bytes())
    }

    /// Writes the adapter in PEFT's format.
    pub fn save_adapter(&self, dir: &Path, dtype: StoreType) -> Result<()> {
        self.weights.save_adapter(dir, dtype, "CAUSAL_LM")
    }

    fn rebuild(&mut self) -> Result<()> {
        self.net = Net::new(&self.config, &self.weights)?;
        self.engines = Engines::default();
        Ok(())
    }

    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    /// An engine over the present weights, for the precision set in
    /// [`ops::set_precision`]. That of a frozen decoder is made once and kept;
    /// trainable weights may change, so theirs is made anew at each call (keep
    /// one and [`Engine::refresh`] it).
    pub fn engine(&self) -> Result<Arc<Engine>> {
        let stored = WeightType::of(ops::precision());
        if !self.vars().is_empty() {
            return Ok(Arc::new(Engine::new(self, stored)?));
        }
        let kept = &self.engines[usize::from(stored == WeightType::Bf16)];
        if let Some(engine) = kept.get() {
            return Ok(engine.clone());
        }
        let engine = Arc::new(Engine::new(self, stored)?);
        Ok(kept.get_or_init(|| engine).clone())
    }

    /// Hidden states `[B, S, H]` behind the final norm, of `ids [B, S]` padded on
    /// the right to `lens`; `None` means no padding.
    pub fn forward(&self, ids: &Tensor, lens: Option<&[usize]>) -> Result<Tensor> {
        self.forward_tapped(ids, lens, None)
    }

    /// As [`Decoder::forward`], with a hook behind each layer.
    pub fn forward_tapped(
        &self,
        ids: &Tensor,
        lens: Option<&[usize]>,
        tap: Option<&mut dyn Tap>,
    ) -> Result<Tensor> {
        let (rows, width) = ids.dims2()?;
        let mask = Mask::Causal {
            lens: lens
                .filter(|lens| lens.iter().any(|&len| len != width))
                .map(<[usize]>::to_vec),
            offset: 0,
        };
        let positions: Vec<u32> = (0..rows).flat_map(|_| 0..width as u32).collect();
        let positions = Tensor::from_vec(positions, (rows, width), ids.device())?;
        self.forward_masked(ids, &positions, &mask, tap)
    }

    /// The general forward pass: `positions [B, S]` (`u32`) and any mask, for
    /// packed documents or other layouts.
    pub fn forward_masked(
        &self,
        ids: &Tensor,
        positions: &Tensor,
        mask: &Mask,
        mut tap: Option<&mut dyn Tap>,
    ) -> Result<Tensor> {
        let numbers = positions.flatten_all()?.to_vec1::<u32>()?;
        let last = numbers.iter().max().copied();
        self.check_positions(last.map_or(0, |p| p as usize + 1))?;
        let mut x = ops::embedding(&self.net.embedding, ids)?;
        let pass = Pass::new(&self.config, &x, &numbers, mask, self.checkpointing)?;
        for (i, layer) in self.net.layers.iter().enumerate() {
            let whole = match &pass {
                Some(pass) => block(layer, pass, &x)?,
                None => None,
            };
            x = match whole {
                Some(x) => x,
                None => self.composed(layer, x, positions, mask)?,
            };
            x = tapped(&mut tap, i, x)?;
        }
        Ok(ops::rms_norm(&x, &self.net.norm, self.config.rms_norm_eps)?)
    }

    /// A layer op by op: where no kernel computes it whole.
    fn composed(
        &self,
        layer: &Layer,
        x: Tensor,
        positions: &Tensor,
        mask: &Mask,
    ) -> Result<Tensor> {
        let normed = ops::rms_norm(&x, &layer.attention_norm, self.config.rms_norm_eps)?;
        let (q, k, v) = self.project(layer, &normed, positions)?;
        let attended = ops::attention(&q, &k, &v, mask)?;
        self.rest(layer, x, &attended)
    }

    /// Keeps no activations but the inputs of layers for the backward pass, and
    /// computes the others again: on the model of `visa bench` (12 layers, 4,096
    /// tokens) four tenths more time, and the process holds 465 MB in place of 812.
    pub fn set_checkpointing(&mut self, on: bool) {
        self.checkpointing = on;
    }

    fn check_positions(&self, len: usize) -> Result<()> {
        let limit = self.config.max_position_embeddings;
        if len > limit {
            return Err(Error::Input(format!(
                "a sequence of {len} tokens is longer than the {limit} positions of the decoder; shorten it"
            )));
        }
        Ok(())
    }

    /// Queries `[B, S, Hq, D]`, keys and values `[B, S, Hkv, D]`, rotated.
    fn project(
        &self,
        layer: &Layer,
        x: &Tensor,
        positions: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (b, s, _) = x.dims3()?;
        let config = &self.config;
        let heads = |t: Tensor, count: usize| t.reshape((b, s, count, config.head_dim));
        let q = heads(layer.q.forward(x)?, config.num_attention_heads)?;
        let k = heads(layer.k.forward(x)?, config.num_key_value_heads)?;
        let v = heads(layer.v.forward(x)?, config.num_key_value_heads)?;
        let theta = config.rope_theta as f32;
        Ok((
            ops::rope(&q, positions, theta)?,
            ops::rope(&k, positions, theta)?,
            v,
        ))
    }

    /// Everything in a layer behind the attention itself.
    fn rest(&self, layer: &Layer, x: Tensor, attended: &Tensor) -> Result<Tensor> {
        let (b, s, heads, width) = attended.dims4()?;
        let attended = attended.reshape((b, s, heads * width))?;
        let x = (x + layer.o.forward(&attended)?)?;
        let normed = ops::rms_norm(&x, &layer.feed_norm, self.config.rms_norm_eps)?;
        let inner = ops::swiglu(&layer.gate.forward(&normed)?, &layer.up.forward(&normed)?)?;
        Ok((x + layer.down.forward(&inner)?)?)
    }

    /// Logits `[.., V]` of hidden states `[.., H]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(hidden, &self.net.head, None)?)
    }

    /// Loss of each token in nats, `[B, S]`: `−log p(targets[b, s] | ids[b, ..=s])`.
    /// `targets` are the next tokens, so already shifted by the caller.
    pub fn token_losses(
        &self,
        ids: &Tensor,
        targets: &Tensor,
        lens: Option<&[usize]>,
    ) -> Result<Tensor> {
        let shape = ids.dims2()?;
        let hidden = self.forward(ids, lens)?;
        let rows = hidden.reshape(((), self.config.hidden_size))?;
        let losses = ops::linear_cross_entropy(&rows, &self.net.head, &targets.flatten_all()?)?;
        Ok(losses.reshape(shape)?)
    }

    /// Weighted mean loss in nats, a scalar: `Σ w·loss / Σ w` over `ids`,
    /// `targets` (shifted by the caller, `u32`) and `weights` (`f32`), all `[B,
    /// S]`. Tokens of weight zero cost no output product. Weights that sum to
    /// nothing are an error, not a loss of zero.
    pub fn loss(&self, ids: &Tensor, targets: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let (sum, weight) = self.loss_sum(ids, targets, weights, None)?;
        Ok((sum / weight)?)
    }

    /// `Σ w·loss` (a scalar tensor) and `Σ w`: for sums over several batches.
    pub fn loss_sum(
        &self,
        ids: &Tensor,
        targets: &Tensor,
        weights: &Tensor,
        lens: Option<&[usize]>,
    ) -> Result<(Tensor, f64)> {
        let hidden = self.forward(ids, lens)?;
        self.hidden_loss_sum(&hidden, targets, weights)
    }

    /// As [`Decoder::loss_sum`], of hidden states from any forward pass.
    pub fn hidden_loss_sum(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
        weights: &Tensor,
    ) -> Result<(Tensor, f64)> {
        let mut rows = hidden.reshape(((), self.config.hidden_size))?;
        let mut targets = targets.flatten_all()?;
        let mut weights = weights.flatten_all()?;
        let values = weights.to_vec1::<f32>()?;
        let total: f64 = values.iter().map(|&w| f64::from(w)).sum();
        if !(total.is_finite() && total > 0.0) {
            return Err(Error::Input(format!(
                "the weights of the loss sum to {total}; give at least one token a positive weight"
            )));
        }
        let used: Vec<u32> = (0u32..)
            .zip(&values)
            .filter(|(_, w)| **w != 0.0)
            .map(|(i, _)| i)
            .collect();
        // Gathering rows costs a copy; worth it when it spares the vocabulary.
        if used.len() * 10 < values.len() * 9 {
            let count = used.len();
            let used = Tensor::from_vec(used, count, hidden.device())?;
            rows = rows.index_select(&used, 0)?;
            targets = targets.index_select(&used, 0)?;
            weights = weights.index_select(&used, 0)?;
        }
        let losses = ops::linear_cross_entropy(&rows, &self.net.head, &targets)?;
        Ok(((losses * weights)?.sum_all()?, total))
    }
}

fn tapped(tap: &mut Option<&mut dyn Tap>, layer: usize, x: Tensor) -> Result<Tensor> {
    let Some(tap) = tap else {
        return Ok(x);
    };
    match tap.layer(layer, &x)? {
        None => Ok(x),
        Some(new) if new.dims() == x.dims() => Ok(new.contiguous()?),
        Some(new) => Err(Error::Input(format!(
            "the tap returned shape {:?} behind layer {layer}, expected {:?}",
            new.dims(),
            x.dims()
        ))),
    }
}

impl Net {
    fn new(config: &DecoderConfig, weights: &Weights) -> Result<Self> {
        let base = &weights.base;
        let (h, vocab) = (config.hidden_size, config.vocab_size);
        let sizes = modules(config);
        let per_layer = sizes.len() / config.num_hidden_layers;
        let layers = (0..config.num_hidden_layers)
            .map(|i| {
                let mut linear =
                    sizes[i * per_layer..(i + 1) * per_layer]
                        .iter()
                        .map(|(name, out, inputs)| {
                            weights.linear(name, *out, *inputs, has_bias(config, name))
                        });
                let mut next = || {
                    linear.next().unwrap_or_else(|| {
                        Err(Error::Input(format!("layer {i} lacks a linear module")))
                    })
                };
                let norm =
                    |name: &str| base.get_shaped(&format!("model.layers.{i}.{name}.weight"), &[h]);
                Ok(Layer {
                    attention_norm: norm("input_layernorm")?,
                    q: next()?,
                    k: next()?,
                    v: next()?,
                    o: next()?,
                    feed_norm: norm("post_attention_layernorm")?,
                    gate: next()?,
                    up: next()?,
                    down: next()?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let embedding = base.get_shaped("model.embed_tokens.weight", &[vocab, h])?;
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => base.get_shaped("lm_head.weight", &[vocab, h])?,
        };
        Ok(Self {
            embedding,
            layers,
            norm: base.get_shaped("model.norm.weight", &[h])?,
            head,
        })
    }
}

/// The linear modules of the layers in order, which adapters may target.
fn modules(config: &DecoderConfig) -> Vec<Module> {
    let (h, wide) = (config.hidden_size, config.intermediate_size);
    let q = config.num_attention_heads * config.head_dim;
    let kv = config.num_key_value_heads * config.head_dim;
    let mut modules = Vec::new();
    for i in 0..config.num_hidden_layers {
        for (rest, out, inputs) in [
            ("self_attn.q_proj", q, h),
            ("self_attn.k_proj", kv, h),
            ("self_attn.v_proj", kv, h),
            ("self_attn.o_proj", h, q),
            ("mlp.gate_proj", wide, h),
            ("mlp.up_proj", wide, h),
            ("mlp.down_proj", h, wide),
        ] {
            modules.push((format!("model.layers.{i}.{rest}"), out, inputs));
        }
    }
    modules
}

fn has_bias(config: &DecoderConfig, module: &str) -> bool {
    if module.contains(".mlp.") {
        config.mlp_bias
    } else {
        config.attention_bias
    }
}

/// Names as `LlamaForCausalLM` writes them; `LlamaModel` alone lacks `model.`.
fn plain_name(name: &str) -> String {
    let bare = ["layers.", "embed_tokens.", "norm."];
    if bare.iter().any(|start| name.starts_with(start)) {
        format!("model.{name}")
    } else {
        name.to_owned()
    }
}
