//! BERT encoders: token ids to hidden states, trainable whole or by adapter.
//!
//! Devlin et al. 2018, arXiv 1810.04805; post-norm, absolute positions, exact
//! GELU, no pooler and no head. Heads belong to the tasks that train them.

mod batch;
mod serve;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use candle_core::{Device, Tensor, Var};

use crate::layers::{Linear, Module, Weights};
use crate::ops::{self, Mask};
use crate::params::StoreType;
use crate::random::Init;
use crate::{EncoderConfig, Error, Lora, Params, Result, WeightType, files};

pub use batch::Batch;
pub use serve::EncoderEngine;

#[derive(Debug, Clone)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    fn new(params: &Params, name: &str, width: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: params.get_shaped(&format!("{name}.weight"), &[width])?,
            bias: params.get_shaped(&format!("{name}.bias"), &[width])?,
            eps,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight, &self.bias, self.eps)?)
    }

    fn add_forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        Ok(ops::add_layer_norm(
            x,
            residual,
            &self.weight,
            &self.bias,
            self.eps,
        )?)
    }
}

#[derive(Debug, Clone)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    out_norm: Norm,
}

/// The tensors of the model, sharing storage with its [`Weights`].
#[derive(Debug, Clone)]
struct Net {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
}

/// A BERT encoder. Cloning shares the weights, so that several adapters can
/// stand over one trunk.
#[derive(Debug, Clone)]
pub struct Encoder {
    config: EncoderConfig,
    weights: Weights,
    net: Net,
    /// Made when a frozen encoder first computes in bf16.
    engine: Arc<OnceLock<Arc<EncoderEngine>>>,
}

impl Encoder {
    /// Loads `config.json` and `model.safetensors` in `dir`; all frozen.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        Self::new(EncoderConfig::load(dir)?, Params::load(dir, device)?)
    }

    /// Builds the encoder over weights with Hugging Face names, with or without
    /// the prefix `bert.`.
    pub fn new(config: EncoderConfig, mut params: Params) -> Result<Self> {
        params.rename(plain_name);
        let weights = Weights::new(params);
        let net = Net::new(&config, &weights)?;
        Ok(Self {
            config,
            weights,
            net,
            engine: Arc::default(),
        })
    }

    /// A random encoder (normal, 0.02), all trainable.
    pub fn new_random(config: &EncoderConfig, seed: u64, device: &Device) -> Result<Self> {
        let mut params = Params::new("random encoder", device);
        let mut init = Init::new(seed);
        let (h, eps) = (config.hidden_size, 0.02);
        let norm = |params: &mut Params, name: &str| -> Result<()> {
            let ones = Tensor::ones(h, candle_core::DType::F32, device)?;
            params.insert(format!("{name}.weight"), &ones)?;
            params.insert(format!("{name}.bias"), &ones.zeros_like()?)
        };
        for (name, rows) in [
            ("word", config.vocab_size),
            ("position", config.max_position_embeddings),
            ("token_type", config.type_vocab_size),
        ] {
            let table = init.normal(&[rows, h], eps, device)?;
            params.insert(format!("embeddings.{name}_embeddings.weight"), &table)?;
        }
        norm(&mut params, "embeddings.LayerNorm")?;
        for layer in 0..config.num_hidden_layers {
            norm(
                &mut params,
                &format!("encoder.layer.{layer}.attention.output.LayerNorm"),
            )?;
            norm(
                &mut params,
                &format!("encoder.layer.{layer}.output.LayerNorm"),
            )?;
        }
        for (module, out, inputs) in modules(config) {
            let weight = init.normal(&[out, inputs], eps, device)?;
            params.insert(format!("{module}.weight"), &weight)?;
            let bias = Tensor::zeros(out, candle_core::DType::F32, device)?;
            params.insert(format!("{module}.bias"), &bias)?;
        }
        params.set_trainable(|_| true)?;
        Self::new(config.clone(), params)
    }

    /// The shape of the model.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Where the weights live.
    pub fn device(&self) -> &Device {
        self.weights.base.device()
    }

    /// The base weights, in plain names without `bert.`.
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
    /// hidden states do not change until it is trained.
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

    /// As [`Encoder::with_adapter`], from what was read already.
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
    /// save it beside with [`Encoder::save_adapter`].
    pub fn save(&self, dir: &Path, dtype: StoreType) -> Result<()> {
        self.weights.base.save(dir, dtype)?;
        files::write_atomic(&dir.join("config.json"), self.config.to_json().as_bytes())
    }

    /// Writes the adapter in PEFT's format.
    pub fn save_adapter(&self, dir: &Path, dtype: StoreType) -> Result<()> {
        self.weights.save_adapter(dir, dtype, "FEATURE_EXTRACTION")
    }

    fn rebuild(&mut self) -> Result<()> {
        self.net = Net::new(&self.config, &self.weights)?;
        self.engine = Arc::default();
        Ok(())
    }

    /// The engine of a frozen encoder; `None` if a weight is trainable.
    fn frozen_engine(&self) -> Result<Option<Arc<EncoderEngine>>> {
        if !self.vars().is_empty() || !self.device().is_cpu() {
            return Ok(None);
        }
        if let Some(engine) = self.engine.get() {
            return Ok(Some(engine.clone()));
        }
        let engine = Arc::new(EncoderEngine::new(self, WeightType::Bf16)?);
        Ok(Some(self.engine.get_or_init(|| engine).clone()))
    }

    /// Hidden states `[B, S, H]` of the last layer. Rows beyond a text's length
    /// hold numbers that mean nothing. A frozen encoder computes by an
    /// [`EncoderEngine`] under [`ops::Precision::Bf16`].
    pub fn forward(&self, batch: &Batch) -> Result<Tensor> {
        self.check_width(batch)?;
        if ops::precision() == ops::Precision::Bf16
            && let Some(engine) = self.frozen_engine()?
        {
            return engine.forward(batch);
        }
        self.tracked(batch)
    }

    fn check_width(&self, batch: &Batch) -> Result<()> {
        let (_, width) = batch.ids.dims2()?;
        if width > self.config.max_position_embeddings {
            return Err(Error::Input(format!(
                "a text of {width} tokens is longer than the {} positions of the encoder; cut it into windows",
                self.config.max_position_embeddings
            )));
        }
        Ok(())
    }

    /// The pass that a backward pass can follow.
    fn tracked(&self, batch: &Batch) -> Result<Tensor> {
        let (_, width) = batch.ids.dims2()?;
        let net = &self.net;
        let words = ops::embedding(&net.words, &batch.ids)?;
        let positions = net.positions.narrow(0, 0, width)?;
        let x = match &batch.type_ids {
            // One table of positions plus segment 0, instead of a lookup a token.
            None => words.broadcast_add(&positions.broadcast_add(&net.types.narrow(0, 0, 1)?)?)?,
            Some(types) => {
                (words + ops::embedding(&net.types, types)?)?.broadcast_add(&positions)?
            }
        };
        let mut x = net.norm.forward(&x)?;
        let full = batch.lens.iter().all(|&len| len == width);
        let mask = Mask::Bidirectional {
            lens: (!full).then(|| batch.lens.clone()),
        };
        for layer in &net.layers {
            x = self.layer(layer, &x, &mask)?;
        }
        Ok(x)
    }

    fn layer(&self, layer: &Layer, x: &Tensor, mask: &Mask) -> Result<Tensor> {
        let (b, s, h) = x.dims3()?;
        let heads = (
            b,
            s,
            self.config.num_attention_heads,
            self.config.head_dim(),
        );
        let q = layer.query.forward(x)?.reshape(heads)?;
        let k = layer.key.forward(x)?.reshape(heads)?;
        let v = layer.value.forward(x)?.reshape(heads)?;
        let attended = ops::attention(&q, &k, &v, mask)?.reshape((b, s, h))?;
        let attended = layer.attention_out.forward(&attended)?;
        let x = layer.attention_norm.add_forward(&attended, x)?;
        let inner = ops::gelu(&layer.up.forward(&x)?)?;
        layer.out_norm.add_forward(&layer.down.forward(&inner)?, &x)
    }
}

impl Net {
    fn new(config: &EncoderConfig, weights: &Weights) -> Result<Self> {
        let base = &weights.base;
        let (h, eps) = (config.hidden_size, config.layer_norm_eps);
        let table = |name: &str, rows: usize| {
            base.get_shaped(&format!("embeddings.{name}_embeddings.weight"), &[rows, h])
        };
        let layers = (0..config.num_hidden_layers)
            .map(|i| {
                let name = |rest: &str| format!("encoder.layer.{i}.{rest}");
                let linear = |rest: &str, out: usize, inputs: usize| {
                    weights.linear(&name(rest), out, inputs, true)
                };
                let norm = |rest: &str| Norm::new(base, &name(rest), h, eps);
                Ok(Layer {
                    query: linear("attention.self.query", h, h)?,
                    key: linear("attention.self.key", h, h)?,
                    value: linear("attention.self.value", h, h)?,
                    attention_out: linear("attention.output.dense", h, h)?,
                    attention_norm: norm("attention.output.LayerNorm")?,
                    up: linear("intermediate.dense", config.intermediate_size, h)?,
                    down: linear("output.dense", h, config.intermediate_size)?,
                    out_norm: norm("output.LayerNorm")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.max_position_embeddings)?,
            types: table("token_type", config.type_vocab_size)?,
            norm: Norm::new(base, "embeddings.LayerNorm", h, eps)?,
            layers,
        })
    }
}

/// The linear modules of the layers, which adapters may target.
fn modules(config: &EncoderConfig) -> Vec<Module> {
    let (h, wide) = (config.hidden_size, config.intermediate_size);
    let mut modules = Vec::new();
    for i in 0..config.num_hidden_layers {
        for (rest, out, inputs) in [
            ("attention.self.query", h, h),
            ("attention.self.key", h, h),
            ("attention.self.value", h, h),
            ("attention.output.dense", h, h),
            ("intermediate.dense", wide, h),
            ("output.dense", h, wide),
        ] {
            modules.push((format!("encoder.layer.{i}.{rest}"), out, inputs));
        }
    }
    modules
}

/// Names as `BertModel` writes them: without `bert.`, and with `weight` and
/// `bias` where the first checkpoints said `gamma` and `beta`.
fn plain_name(name: &str) -> String {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    name.replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias")
}

/// Mean of the real tokens of each row: `hidden [B, S, H]` to `[B, H]`;
/// differentiable.
pub fn mean_pool(hidden: &Tensor, lens: &[usize]) -> Result<Tensor> {
    let (rows, width, _) = hidden.dims3()?;
    if lens.len() != rows || lens.iter().any(|&len| len == 0 || len > width) {
        return Err(Error::Input(format!(
            "mean_pool has lengths {lens:?} for {rows} rows of {width} tokens; give one length a row, from 1 to {width}"
        )));
    }
    let mut weights = vec![0f32; rows * width];
    for (row, &len) in lens.iter().enumerate() {
        weights[row * width..row * width + len].fill(1.0 / len as f32);
    }
    let weights = Tensor::from_vec(weights, (rows, 1, width), hidden.device())?;
    Ok(weights.matmul(hidden)?.squeeze(1)?)
}
