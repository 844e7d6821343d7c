//! The shapes that are measured: random weights, so that everything runs anywhere without data.

use clap::ValueEnum;
use visa_nn::{DecoderConfig, EncoderConfig};

/// How large the models are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// The shapes that our figures speak of: a decoder of 27.5 M weights, MiniLM
    Standard,
    /// A smoke test in seconds; its figures mean nothing
    Tiny,
}

/// Every number that a measurement depends on.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) decoder: DecoderConfig,
    pub(super) encoder: EncoderConfig,
    /// Sequences and tokens of a training step.
    pub(super) train: (usize, usize),
    /// Tokens of a prompt, and of its completion.
    pub(super) prompt: usize,
    pub(super) completion: usize,
    /// Prompts, and completions of each.
    pub(super) prompts: usize,
    pub(super) group: usize,
    /// Texts in a batch of the encoder.
    pub(super) texts: usize,
    /// Rows of a matrix product, and numbers that do not fit a cache.
    pub(super) rows: usize,
    pub(super) numbers: usize,
    /// Contexts of the growth rows, and their tokens in a step.
    pub(super) contexts: Vec<usize>,
    pub(super) context_tokens: usize,
    /// Layers and widths of the growth rows, and the sequences of 256 tokens or the like in their step.
    pub(super) grown: Vec<(usize, usize)>,
    pub(super) grown_train: (usize, usize),
}

impl Size {
    pub(super) fn sizes(self) -> Sizes {
        match self {
            Size::Standard => Sizes {
                decoder: decoder(12, 384, 6, 1024, 8192, 2048),
                encoder: encoder(6, 384, 12, 1536, 30_522),
                train: (16, 256),
                prompt: 128,
                completion: 64,
                prompts: 4,
                group: 8,
                texts: 64,
                rows: 4096,
                numbers: 12 << 20,
                contexts: vec![256, 512, 1024, 2048],
                context_tokens: 4096,
                grown: vec![(6, 192), (12, 384), (12, 768), (24, 1024), (26, 1280)],
                grown_train: (8, 256),
            },
            Size::Tiny => Sizes {
                decoder: decoder(2, 32, 2, 64, 96, 64),
                encoder: encoder(2, 32, 2, 64, 96),
                train: (2, 16),
                prompt: 8,
                completion: 4,
                prompts: 2,
                group: 2,
                texts: 4,
                rows: 32,
                numbers: 1 << 14,
                contexts: vec![8, 16],
                context_tokens: 32,
                grown: vec![(1, 32), (2, 64)],
                grown_train: (2, 8),
            },
        }
    }
}

/// A Llama decoder with heads of their own keys and an untied head, as the peers build it.
pub(super) fn decoder(
    layers: usize,
    hidden: usize,
    heads: usize,
    wide: usize,
    vocabulary: usize,
    positions: usize,
) -> DecoderConfig {
    DecoderConfig {
        vocab_size: vocabulary,
        hidden_size: hidden,
        intermediate_size: wide,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: hidden / heads,
        max_position_embeddings: positions,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    }
}

fn encoder(
    layers: usize,
    hidden: usize,
    heads: usize,
    wide: usize,
    vocabulary: usize,
) -> EncoderConfig {
    EncoderConfig {
        vocab_size: vocabulary,
        hidden_size: hidden,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        intermediate_size: wide,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        pad_token_id: 0,
    }
}

/// Floating-point operations of the forward pass on one token that sees `seen` tokens on average: two for each weight
/// of a matrix product, and four for each number of a seen key in each layer.
pub(super) fn decoder_flops(config: &DecoderConfig, seen: f64) -> f64 {
    let width = config.num_attention_heads * config.head_dim * config.num_hidden_layers;
    2.0 * multiplied(config) as f64 + 4.0 * width as f64 * seen
}

/// Weights of a decoder that matrix products read: all but the embedding, of which a token reads one row.
pub(super) fn multiplied(config: &DecoderConfig) -> usize {
    let read = if config.tie_word_embeddings { 0 } else { 1 };
    config.parameters() - read * config.vocab_size * config.hidden_size
}

/// As [`decoder_flops`], of an encoder in which every token sees `seen`.
pub(super) fn encoder_flops(config: &EncoderConfig, seen: f64) -> f64 {
    let (h, wide) = (config.hidden_size, config.intermediate_size);
    let layer = 2.0 * (4 * h * h + 2 * h * wide) as f64 + 4.0 * h as f64 * seen;
    layer * config.num_hidden_layers as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_decoder_is_the_peers() {
        let config = Size::Standard.sizes().decoder;
        assert_eq!(config.parameters(), 27_534_720);
        // 24.4 M weights at two operations, and 12 layers · 384 · 4 for each seen token.
        let per_token = 2.0 * 24_388_992.0 + 18_432.0 * 128.0;
        assert_eq!(decoder_flops(&config, 128.0), per_token);
    }

    #[test]
    fn minilm_needs_as_much_as_arithmetic_says() {
        let config = Size::Standard.sizes().encoder;
        // Six layers of 1,769,472 weights.
        assert_eq!(
            encoder_flops(&config, 24.0),
            6.0 * (2.0 * 1_769_472.0 + 4.0 * 384.0 * 24.0)
        );
    }
}
