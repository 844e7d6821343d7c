//! A trunk with its adapter and head while they are trained: weights, tokens, logits, files.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_align::head::{FORMAT, Head, HeadConfig, HeadKind, Output};
use visa_nn::{Batch, Encoder, Encoding, Lora, StoreType, Tokenizer};

use super::Recipe;
use crate::checkpoint::sha256_file;
use crate::{Error, Result};

/// Padded tokens of one batch when predicting.
const PREDICT_TOKENS: usize = 4096;

/// The weights' names of the head among all trainable tensors.
const HEAD: &str = "head.";

/// A model read back from its files, as inference sees it: merged, calibrated probabilities.
pub struct Trained {
    model: Model,
}

impl Trained {
    /// Reads a model folder over the trunk in `encoder`.
    ///
    /// # Errors
    /// Files that are missing or do not fit.
    pub fn load(dir: &Path, encoder: &Path) -> Result<Self> {
        let head = Head::load(dir, &Device::Cpu).map_err(|e| Error::Input(e.to_string()))?;
        let mut tokenizer = Tokenizer::load(encoder)?;
        tokenizer.set_max_len(Some(head.config.max_tokens))?;
        let pad = tokenizer.require("[PAD]")?;
        let encoder = Encoder::load(encoder, &Device::Cpu)?
            .with_adapter(dir)?
            .merged()?;
        tokenizer.check_fits(encoder.config().vocab_size)?;
        Ok(Self {
            model: Model {
                tokenizer,
                encoder,
                head,
                head_vars: BTreeMap::new(),
                pad,
            },
        })
    }

    /// The head's configuration.
    pub fn config(&self) -> &HeadConfig {
        &self.model.head.config
    }

    /// Raw logits of tokens: `[output][text][logit]`.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn logits(&self, tokens: &[Encoding]) -> Result<Vec<Vec<Vec<f32>>>> {
        self.model.predict(&tokens.iter().collect::<Vec<_>>())
    }

    /// Calibrated probabilities: `[output][text][label × class]`.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn predict<S: AsRef<str>>(&self, texts: &[(S, Option<S>)]) -> Result<Vec<Vec<Vec<f32>>>> {
        let tokens = self.model.encode(texts)?;
        let logits = self.model.predict(&tokens.iter().collect::<Vec<_>>())?;
        let outputs = &self.config().outputs;
        Ok((outputs.iter().zip(logits))
            .map(|(o, rows)| rows.iter().map(|z| o.calibrate(z)).collect())
            .collect())
    }
}

/// Encoder, adapter, head and tokenizer.
pub struct Model {
    /// The tokenizer, which cuts to the head's `max_tokens`.
    pub tokenizer: Tokenizer,
    /// The trunk with its trainable adapter.
    pub encoder: Encoder,
    /// The head; its tensors are trainable too.
    pub head: Head,
    head_vars: BTreeMap<String, Var>,
    pad: u32,
}

impl Model {
    /// The trunk of the recipe under a fresh adapter, with a small random head for `outputs`.
    ///
    /// # Errors
    /// When the trunk cannot be loaded.
    pub fn new(recipe: &Recipe, kind: HeadKind, outputs: Vec<Output>) -> Result<Self> {
        let device = Device::Cpu;
        let dir = &recipe.encoder;
        let mut tokenizer = Tokenizer::load(dir)?;
        tokenizer.set_max_len(Some(recipe.head.max_tokens))?;
        let pad = tokenizer.require("[PAD]")?;
        let mut lora = Lora::new(recipe.adapter.rank, recipe.adapter.alpha, &["all-linear"]);
        lora.base = Some("../encoder".into());
        let encoder = Encoder::load(dir, &device)?.with_lora(&lora, recipe.seed)?;
        tokenizer.check_fits(encoder.config().vocab_size)?;
        let config = HeadConfig {
            format: FORMAT,
            kind,
            base: "../encoder".into(),
            base_sha256: sha256_file(&dir.join("model.safetensors"))?,
            hidden: encoder.config().hidden_size,
            pooling: recipe.head.pooling,
            inner: recipe.head.inner,
            max_tokens: recipe.head.max_tokens,
            outputs,
            presence_share: 0.0,
            about: BTreeMap::new(),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x4EAD);
        let mut head_vars = BTreeMap::new();
        for (name, shape) in Head::shapes(&config) {
            let n: usize = shape.iter().product();
            // Uniform in ±2/√inputs: wide enough for a head that learns within two or three epochs.
            let bound = if shape.len() == 2 {
                2.0 / (shape[1] as f32).sqrt()
            } else {
                0.0
            };
            let data: Vec<f32> = (0..n)
                .map(|_| bound * rng.random_range(-1.0..=1.0f32))
                .collect();
            head_vars.insert(name, Var::from_vec(data, shape, &device)?);
        }
        let tensors = head_vars
            .iter()
            .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
            .collect();
        let head = Head::from_tensors(config, tensors).map_err(Error::Input)?;
        Ok(Self {
            tokenizer,
            encoder,
            head,
            head_vars,
            pad,
        })
    }

    /// Everything that is trained; the head's tensors begin with `head.`.
    pub fn vars(&self) -> Vec<(String, Var)> {
        let head = self
            .head_vars
            .iter()
            .map(|(name, var)| (format!("{HEAD}{name}"), var.clone()));
        self.encoder.vars().into_iter().chain(head).collect()
    }

    /// Whether a trainable tensor belongs to the head.
    pub fn is_head(name: &str) -> bool {
        name.starts_with(HEAD)
    }

    /// A tensor of the head.
    pub fn head_var(&self, name: &str) -> Option<&Var> {
        self.head_vars.get(name)
    }

    /// Tokens of texts, alone or with a second text, cut to the head's `max_tokens`.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn encode<S: AsRef<str>>(&self, texts: &[(S, Option<S>)]) -> Result<Vec<Encoding>> {
        let mut out = vec![Encoding::default(); texts.len()];
        let (mut single, mut pairs) = (Vec::new(), Vec::new());
        for (i, (first, second)) in texts.iter().enumerate() {
            match second {
                Some(second) => pairs.push((i, (first.as_ref(), second.as_ref()))),
                None => single.push((i, first.as_ref())),
            }
        }
        let firsts: Vec<&str> = single.iter().map(|x| x.1).collect();
        for ((i, _), encoding) in single.iter().zip(self.tokenizer.encode_batch(&firsts)?) {
            out[*i] = encoding;
        }
        let both: Vec<(&str, &str)> = pairs.iter().map(|x| x.1).collect();
        for ((i, _), encoding) in pairs.iter().zip(self.tokenizer.encode_pair_batch(&both)?) {
            out[*i] = encoding;
        }
        Ok(out)
    }

    /// The id that fills short rows.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Logits `[B, n]` of each output, differentiable.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn logits(&self, batch: &Batch) -> Result<Vec<Tensor>> {
        let hidden = self.encoder.forward(batch)?;
        let types = match &batch.type_ids {
            Some(types) => types.clone(),
            None => batch.ids.zeros_like()?,
        };
        Ok(self.head.forward(&hidden, &types, &batch.lens)?)
    }

    /// Logits of many texts: `[output][text][logit]`.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn predict(&self, texts: &[&Encoding]) -> Result<Vec<Vec<Vec<f32>>>> {
        let lens: Vec<usize> = texts.iter().map(|t| t.len()).collect();
        let mut all = vec![vec![Vec::new(); texts.len()]; self.head.config.outputs.len()];
        for rows in Batch::buckets(&lens, PREDICT_TOKENS) {
            let group: Vec<&Encoding> = rows.iter().map(|&i| texts[i]).collect();
            let batch = Batch::new(&group, self.pad, self.encoder.device())?;
            for (output, logits) in all.iter_mut().zip(self.logits(&batch)?) {
                for (&row, values) in rows.iter().zip(logits.to_vec2::<f32>()?) {
                    output[row] = values;
                }
            }
        }
        Ok(all)
    }

    /// Writes adapter and head as `f16`, with `config` in place of the head's own (calibrated, described).
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path, config: &HeadConfig) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        self.encoder.save_adapter(dir, StoreType::F16)?;
        let head = Head::from_tensors(config.clone(), self.head.tensors().clone())
            .map_err(Error::Input)?;
        head.save(dir, candle_core::DType::F16)
            .map_err(|e| Error::Input(e.to_string()))
    }
}
