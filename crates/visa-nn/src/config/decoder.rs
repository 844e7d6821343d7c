//! `config.json` of Llama decoders.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Fields;
use crate::{Result, files};

/// Shape of a Llama decoder: RMSNorm, rotary positions, grouped-query
/// attention, SwiGLU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Longest sequence in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the feed-forward projections have biases.
    #[serde(default)]
    pub mlp_bias: bool,
    /// Token that begins a text, if any.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text.
    #[serde(default)]
    pub eos_token_ids: Vec<u32>,
    /// Token that pads batches, if any.
    #[serde(default)]
    pub pad_token_id: Option<u32>,
}

impl DecoderConfig {
    /// Reads `config.json` in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        Self::parse(&files::read_text(&path)?, &path)
    }

    /// Parses the text of a `config.json`; errors name `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let fields = Fields::parse(text, path)?;
        fields.model_type("llama", "decoder")?;
        fields.only("hidden_act", &["silu", "swish"])?;
        if fields.size_or_none("pretraining_tp")?.unwrap_or(1) != 1 {
            return Err(
                fields.error("pretraining_tp is not 1, which is not supported; merge the slices")
            );
        }
        if let Some(quantised) = fields.get("quantization_config") {
            let is = |key: &str, value: &str| quantised.get(key).is_some_and(|v| v == value);
            if !is("quant_method", "compressed-tensors") || !is("format", "int-quantized") {
                return Err(fields.error(
                    "field `quantization_config` asks for another layout than int-quantized of compressed-tensors, the only one that is supported; choose that, or f32, f16 or bf16 weights",
                ));
            }
        }
        let hidden_size = fields.size("hidden_size")?;
        let heads = fields.size("num_attention_heads")?;
        let head_dim = match fields.size_or_none("head_dim")? {
            Some(width) => width,
            None if hidden_size % heads == 0 => hidden_size / heads,
            None => {
                return Err(fields.error(format!(
                    "hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}, and head_dim is absent"
                )));
            }
        };
        let config = Self {
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_hidden_layers: fields.size("num_hidden_layers")?,
            num_attention_heads: heads,
            num_key_value_heads: fields.size_or_none("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            max_position_embeddings: fields
                .size_or_none("max_position_embeddings")?
                .unwrap_or(2048),
            rms_norm_eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: rope_theta(&fields)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?,
            attention_bias: fields.flag("attention_bias")?,
            mlp_bias: fields.flag("mlp_bias")?,
            bos_token_id: fields.token_ids("bos_token_id")?.first().copied(),
            eos_token_ids: fields.token_ids("eos_token_id")?,
            // Llama checkpoints without padding write -1 or nothing.
            pad_token_id: match fields.get("pad_token_id").and_then(Json::as_i64) {
                Some(-1) => None,
                _ => fields.token_ids("pad_token_id")?.first().copied(),
            },
        };
        config.check().map_err(|detail| fields.error(detail))?;
        Ok(config)
    }

    /// Refuses shapes that do not fit together.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let (q, kv) = (self.num_attention_heads, self.num_key_value_heads);
        if kv == 0 || q % kv != 0 {
            return Err(format!(
                "num_attention_heads {q} is not a multiple of num_key_value_heads {kv}"
            ));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!(
                "head_dim {} is not even and positive",
                self.head_dim
            ));
        }
        let ids = self
            .bos_token_id
            .iter()
            .chain(&self.eos_token_ids)
            .chain(&self.pad_token_id);
        for &id in ids {
            if id as usize >= self.vocab_size {
                return Err(format!(
                    "special token id {id} is outside the vocabulary of {}",
                    self.vocab_size
                ));
            }
        }
        Ok(())
    }

    /// Number of weights, the tied head counted once.
    pub fn parameters(&self) -> usize {
        let (h, d) = (self.hidden_size, self.head_dim);
        let (q, kv) = (self.num_attention_heads * d, self.num_key_value_heads * d);
        let mut layer = 2 * h * q + 2 * h * kv + 3 * h * self.intermediate_size + 2 * h;
        if self.attention_bias {
            layer += q + 2 * kv + h;
        }
        if self.mlp_bias {
            layer += 2 * self.intermediate_size + h;
        }
        let embeddings = self.vocab_size * h * if self.tie_word_embeddings { 1 } else { 2 };
        self.num_hidden_layers * layer + embeddings + h
    }

    /// The text of a `config.json` that `transformers` reads; `bytes` says that
    /// matrices are stored as [`crate::StoreType::Int8`].
    pub fn to_json(&self, bytes: bool) -> String {
        let eos = match self.eos_token_ids.as_slice() {
            [] => Json::Null,
            [one] => (*one).into(),
            many => many.to_vec().into(),
        };
        let mut json = serde_json::json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "pad_token_id": self.pad_token_id,
            "hidden_act": "silu",
        });
        if bytes {
            json["quantization_config"] = serde_json::json!({
                "quant_method": "compressed-tensors",
                "format": "int-quantized",
                "quantization_status": "compressed",
                "config_groups": {"matrices": {
                    "targets": ["Linear", "Embedding"],
                    "weights": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel"},
                }},
            });
        }
        format!("{json:#}\n")
    }
}

/// The base of the rotary angles: a field of its own, or inside
/// `rope_parameters` as transformers 5 writes it. Any scaling is refused.
fn rope_theta(fields: &Fields) -> Result<f64> {
    let mut theta = fields.number("rope_theta")?;
    for name in ["rope_scaling", "rope_parameters"] {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let kind = ["rope_type", "type"].iter().find_map(|key| value.get(key));
        match kind {
            None => {}
            Some(Json::String(kind)) if kind == "default" => {}
            Some(kind) => {
                return Err(fields.error(format!(
                    "{name} asks for rope type {kind}, which is not supported; choose a model with unscaled rotary positions (type \"default\" or null)"
                )));
            }
        }
        if value.get("factor").is_some() && kind.is_none() {
            return Err(fields.error(format!(
                "{name} has a factor but no rope_type; only unscaled rotary positions are supported"
            )));
        }
        if let Some(inner) = value.get("rope_theta") {
            let inner = inner.as_f64().filter(|x| x.is_finite() && *x > 0.0);
            theta = Some(inner.ok_or_else(|| {
                fields.error(format!("{name}.rope_theta must be a positive number"))
            })?);
        }
    }
    Ok(theta.unwrap_or(10_000.0))
}
