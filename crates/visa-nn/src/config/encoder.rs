//! `config.json` of BERT encoders.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Fields;
use crate::{Result, files};

/// Shape of a BERT encoder with absolute positions and exact GELU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Longest input in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the segment embedding.
    pub type_vocab_size: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Id that pads batches.
    pub pad_token_id: u32,
}

impl EncoderConfig {
    /// Reads `config.json` in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        Self::parse(&files::read_text(&path)?, &path)
    }

    /// Parses the text of a `config.json`; errors name `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let fields = Fields::parse(text, path)?;
        fields.model_type("bert", "encoder")?;
        fields.only("hidden_act", &["gelu"])?;
        fields.only("position_embedding_type", &["absolute"])?;
        for flag in ["is_decoder", "add_cross_attention"] {
            if fields.flag(flag)? {
                return Err(fields.error(format!(
                    "field `{flag}` is true, which is not supported; choose a bidirectional encoder"
                )));
            }
        }
        let config = Self {
            vocab_size: fields.size("vocab_size")?,
            hidden_size: fields.size("hidden_size")?,
            num_hidden_layers: fields.size("num_hidden_layers")?,
            num_attention_heads: fields.size("num_attention_heads")?,
            intermediate_size: fields.size("intermediate_size")?,
            max_position_embeddings: fields.size("max_position_embeddings")?,
            type_vocab_size: fields.size_or_none("type_vocab_size")?.unwrap_or(2),
            layer_norm_eps: fields.number("layer_norm_eps")?.unwrap_or(1e-12),
            pad_token_id: fields
                .token_ids("pad_token_id")?
                .first()
                .copied()
                .unwrap_or(0),
        };
        if !config
            .hidden_size
            .is_multiple_of(config.num_attention_heads)
        {
            return Err(fields.error(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                config.hidden_size, config.num_attention_heads
            )));
        }
        if config.pad_token_id as usize >= config.vocab_size {
            return Err(fields.error(format!(
                "pad_token_id {} is outside the vocabulary of {}",
                config.pad_token_id, config.vocab_size
            )));
        }
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// The text of a `config.json` that `transformers` reads.
    pub fn to_json(&self) -> String {
        let json = serde_json::json!({
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "layer_norm_eps": self.layer_norm_eps,
            "pad_token_id": self.pad_token_id,
            "hidden_act": "gelu",
            "position_embedding_type": "absolute",
        });
        format!("{json:#}\n")
    }
}
