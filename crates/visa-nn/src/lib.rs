//! Encoder and decoder transformers on candle and fused kernels: loading, LoRA, KV cache, sampling, tokenizers, chat templates
pub mod ops;
